/* sse.c: headers, silence, framing of event streams. */
#include "api/sse.h"

#include <string.h>

/* 10 s; tests that must not take so long set LMS_KEEPALIVE_MS. */
static gint64
period_us (void)
{
    static gint64 period;
    if (period == 0) {
        const char *given = g_getenv ("LMS_KEEPALIVE_MS");
        gint64 ms = given ? g_ascii_strtoll (given, NULL, 10) : 0;
        period = (ms > 0 ? MIN (ms, 3600 * 1000) : 10 * 1000) * 1000;
    }
    return period;
}

static void
begin (Sse *sse)
{
    if (sse->begun)
        return;
    sse->begun = TRUE;
    http_request_set_header (sse->http, "Cache-Control", "no-cache");
    http_request_set_header (sse->http, "Connection", "keep-alive");
    http_request_set_header (sse->http, "X-Accel-Buffering", "no");
    http_stream_begin (sse->http, 200, "text/event-stream; charset=utf-8");
}

/* The clock is not set back at every token: it looks, when it rings, how long the silence really was. */
static gboolean
look (gpointer data)
{
    Sse *sse = data;
    gint64 left = sse->sent_at + period_us () - g_get_monotonic_time ();
    if (left > 0) {
        sse->timer = g_timeout_add (left / 1000 + 1, look, sse);
        return G_SOURCE_REMOVE;
    }
    sse->timer = g_timeout_add (period_us () / 1000, look, sse);
    sse_send (sse, sse->keep_alive,
              strlen (sse->keep_alive)); /* the last line: a client that never reads is cut off here */
    return G_SOURCE_REMOVE;
}

void
sse_wait (Sse *sse, HttpRequest *http, const char *keep_alive)
{
    *sse = (Sse){ .http = http, .keep_alive = keep_alive, .sent_at = g_get_monotonic_time () };
    sse->timer = g_timeout_add (period_us () / 1000, look, sse);
}

gboolean
sse_send (Sse *sse, const char *bytes, gsize length)
{
    begin (sse);
    sse->sent_at = g_get_monotonic_time ();
    return http_stream_write (sse->http, bytes, length);
}

void
sse_finish (Sse *sse)
{
    begin (sse);
    sse_clear (sse);
    http_stream_finish (sse->http);
}

void
sse_clear (Sse *sse)
{
    if (sse->timer)
        g_source_remove (sse->timer);
    sse->timer = 0;
}
