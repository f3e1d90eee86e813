/* A client of the SDK protocol (spec: sdk.md 2, 3): calls and channels over one WebSocket per namespace.
 *
 * Calls are sent at once and answered in any order; whoever needs several sends all of them first and then waits.  Everything runs on
 * the default main context, inside client_wait and client_finish. */
#pragma once

#include "cli/args.h"
#include "cli/daemon.h"
#include "cli/sdkerror.h"

typedef struct Client Client;
typedef struct ClientCall ClientCall; /* one rpc, or one channel; lives as long as its client */

/* Finds (or wakes) the daemon that @args ask for.  @first ("system", "llm", ...) is the namespace of the first call: connecting to it takes
 * the place of a probe where the daemon is known from its file.  NULL and @error with the sentence for the user. */
Client *client_new (const Args *args, DaemonWish wish, const char *first, GError **error);
/* The same with a daemon that is known already; @daemon is taken over and cleared.  Connects at the first call. */
Client *client_new_for (Daemon *daemon);
void client_free (Client *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Client, client_free)

/* TRUE when the daemon answers the endpoints of sdk.md 6.10. */
gboolean client_is_lmsd (const Client *client);

/* ---- rpc ---------------------------------------------------------------------------------------------------------------- */

/* Sends a call; @parameter is taken over, NULL leaves it out. */
ClientCall *client_call (Client *client, const char *namespace, const char *endpoint, json_t *parameter);

/* Waits for the answer.  Lends the result, which lives as long as the client.  NULL without @error: an answer without result. */
json_t *client_wait (ClientCall *call, GError **error);

/* Waits for all calls sent so far.  FALSE and the first failure in the order of sending. */
gboolean client_finish (Client *client, GError **error);

/* client_call and client_wait. */
json_t *client_ask (Client *client, const char *namespace, const char *endpoint, json_t *parameter, GError **error);

/* ---- channels ----------------------------------------------------------------------------------------------------------- */

/* @message is lent; @type is its "type". */
typedef void (*ClientMessageFunc) (ClientCall *channel, const char *type, json_t *message, gpointer data);

/* Opens a channel; @creation is taken over, NULL leaves it out. */
ClientCall *client_open (Client *client, const char *namespace, const char *endpoint, json_t *creation,
                         ClientMessageFunc on_message, gpointer data);

/* Sends {"type":@type} on the channel. */
void client_send (ClientCall *channel, const char *type);

/* Runs the main loop until the channel ends.  TRUE: closed in good order. */
gboolean client_wait_closed (ClientCall *channel, GError **error);

/* The same, but returns TRUE at once when *@stop becomes true (by a signal that the loop told about). */
gboolean client_wait_closed_unless (ClientCall *channel, const gboolean *stop, GError **error);

/* The same, but gives up after @timeout_ms: TRUE when it has ended, in whatever way. */
gboolean client_wait_ended (ClientCall *channel, guint timeout_ms);
