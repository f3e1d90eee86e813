/* One small blocking GET, for `lms` looking for the daemon and for lmsd looking for another: no libcurl, no loop. */
#pragma once

#include "net/error.h"

/* GET http://@host:@port@path.  The body of a 200 (at most 64 KiB; the caller frees), or NULL and @error (NET_ERROR) for anything else
 * within @timeout_ms. */
char *probe_get (const char *host, guint16 port, const char *path, guint timeout_ms, GError **error);
