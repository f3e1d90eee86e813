/* Errors of outgoing connections: ws_connect and probe_get.  A domain of our own, because GIO's would link libgio with its ten libraries into
 * lms, which must start in a millisecond. */
#pragma once

#include <glib.h>

#define NET_ERROR (net_error_quark ())
GQuark net_error_quark (void);
enum {
    NET_ERROR_FAILED, /* whatever else: the message says what */
    NET_ERROR_REFUSED,
    NET_ERROR_TIMED_OUT,
    NET_ERROR_HOST_NOT_FOUND,
};
