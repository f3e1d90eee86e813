/* One load with its spinner and its Ctrl-C, for `load` and `chat` (spec: cli.md 4, sdk.md 7.2). */
#pragma once

#include "cli/client.h"

typedef enum { LOADING_DONE, LOADING_FAILED, LOADING_CANCELLED } LoadingOutcome;

/* Opens channel @endpoint ("loadModel" or "getOrLoad") with @creation, which is taken over, and waits for its end.  The spinner says
 * "Loading @label 42%".  @info gets the instance (a new reference) when it is done, @error what went wrong when it failed.  Ctrl-C
 * cancels: the model is not loaded when this returns, even if the cancel crossed the success. */
LoadingOutcome loading_run (Client *client, const char *namespace, const char *endpoint, json_t *creation,
                            const char *label, json_t **info, GError **error);
