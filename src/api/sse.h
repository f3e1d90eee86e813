/* A stream of server-sent events (spec: http.md 1.8).
 *
 * THE STATUS LINE WAITS: headers go out with the first bytes, or when nothing was sent for 10 s; then, and after every further 10 s of silence,
 * goes what keeps proxies and clients patient.  Until then an error can still be a status. */
#pragma once

#include "net/http.h"

typedef struct {
    HttpRequest *http;
    const char *keep_alive; /* lent */
    gboolean begun;
    gint64 sent_at; /* monotonic microseconds */
    guint timer;
} Sse;

#define SSE_KEEP_ALIVE ": keep-alive\n\n" /* the comment that parsers drop; anthropic has an event of its own */

/* Begins to wait.  @sse must lie still until sse_clear. */
void sse_wait (Sse *sse, HttpRequest *http, const char *keep_alive);
/* Sends whole events.  FALSE: the client reads slowly. */
gboolean sse_send (Sse *sse, const char *bytes, gsize length);
/* The end of the answer; nothing is sent after it, and the request may be closed when it returns. */
void sse_finish (Sse *sse);
/* Stops the clock; without sse_finish when the client is gone, or an error was answered. */
void sse_clear (Sse *sse);
