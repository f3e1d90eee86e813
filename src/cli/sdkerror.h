/* Errors that a daemon sends, as sentences (spec: sdk.md 4).  Pure. */
#pragma once

#include "base/json.h"

#define SDK_ERROR (sdk_error_quark ())
GQuark sdk_error_quark (void);
enum {
    SDK_ERROR_REMOTE,   /* the daemon refused; the message is what it says */
    SDK_ERROR_NO_MODEL, /* ... because no model has that key, identifier or property */
    SDK_ERROR_CLOSED,   /* the connection ended, or could not be made */
};

/* The error object of an rpcError or channelError as a GError: the title, or our own sentence for a known displayData code; then a block
 * "(!) SUGGESTION" and a block "(X) CAUSE" where there are such.  Members of a wrong type count as absent. */
GError *sdk_error_new (const json_t *error);
