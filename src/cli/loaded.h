/* Which models are at work, and on what: one question to lmsd, several to an official daemon (spec: cli.md 7, 16). */
#pragma once

#include "cli/client.h"

/* A question on its way.  Value type: nothing to free. */
typedef struct {
    Client *client;
    ClientCall *calls[2];
    guint n_calls;
} LoadedQuestion;

/* Asks, without waiting, so that other questions can be asked beside it. */
LoadedQuestion loaded_ask (Client *client);

/* Waits for the answer: a new array of instance infos (sdk.md 5), LLMs first.  With @state each also has `status`, `queued` and `parallel`
 * (null for embedding models).  NULL and @error. */
json_t *loaded_take (LoadedQuestion *question, gboolean state, GError **error);

/* "Local", or the name of the device that holds the model. */
const char *loaded_device (const json_t *info, const json_t *link_status);

/* The answer of repository.lmLinkStatus, where one of @infos lies on another device; else NULL.  Lent by the client. */
const json_t *loaded_link_status (Client *client, const json_t *infos);

/* "llm" or "embedding": the namespace that a model info belongs to. */
const char *loaded_namespace (const json_t *info);
