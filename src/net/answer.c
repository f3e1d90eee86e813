/* answer.c: a request as its handler sees it: what it reads of it, and the answers it gives: whole, as a stream, as a WebSocket.
 *
 * An answer is noted here; http.c gives it to MHD in the loop's next turn.  Two kinds of bytes go past MHD, straight to the socket: the events
 * of a stream, between the head and the end that MHD sends, and a refusal in the middle of a body. */
#include "net/http-parts.h"

#include "net/handshake.h"

#include <string.h>
#include <sys/socket.h>

void
http_request_set_header (HttpRequest *request, const char *name, const char *value)
{
    if (!request->headers)
        request->headers = g_array_new (FALSE, FALSE, sizeof (AnswerHeader));
    for (guint i = 0; i < request->headers->len; i++) {
        AnswerHeader *header = &g_array_index (request->headers, AnswerHeader, i);
        if (g_ascii_strcasecmp (header->name, name) == 0) {
            g_free (header->value);
            header->value = g_strdup (value);
            return;
        }
    }
    AnswerHeader header = { g_strdup (name), g_strdup (value) };
    g_array_append_val (request->headers, header);
}

/* MHD takes no answer in the middle of a body, but nothing of another answer can be under way then: the bytes are sent past it, as much of
 * them as the socket takes at once, and the connection is closed. */
static void
reply_raw (HttpRequest *request, guint status, const char *content_type, const char *body, gsize length)
{
    g_autoptr (GString) out = g_string_new (NULL);
    g_string_printf (out, "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Length: %zu\r\n", status,
                     http_reason (status), length);
    if (content_type)
        g_string_append_printf (out, "Content-Type: %s\r\n", content_type);
    for (guint i = 0; request->headers && i < request->headers->len; i++) {
        const AnswerHeader *header = &g_array_index (request->headers, AnswerHeader, i);
        if (!strpbrk (header->value, "\r\n"))
            g_string_append_printf (out, "%s: %s\r\n", header->name, header->value);
    }
    g_string_append (out, "\r\n");
    if (length > 0)
        g_string_append_len (out, body, length);
    ssize_t n = send (request->connection->fd, out->str, out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    request->sent_raw = n == (ssize_t) out->len;
    request->cut = TRUE;
    request->connection->unread = TRUE;
}

void
http_reply (HttpRequest *request, guint status, const char *content_type, const char *body, gsize length)
{
    if (request->answered)
        return;
    request->answered = TRUE;
    request->status = status;
    if (request->phase == PHASE_BODY) {
        reply_raw (request, status, content_type, body, length);
        return;
    }
    request->content_type = g_strdup (content_type);
    request->answer = g_bytes_new (body, length);
    request_resume (request);
}

/* Refuses in the name of net.  The handler words it; without one, or without its words, the sentence is the body. */
void
request_refuse (HttpRequest *request, guint status, const char *why)
{
    request->refused = TRUE;
    if (request->server->handler->refused)
        request->server->handler->refused (request, status, why, request->server->data);
    if (!request->answered)
        http_reply (request, status, "text/plain; charset=utf-8", why, strlen (why));
}

static gboolean
stream_is_over (const HttpRequest *request)
{
    gboolean ended = request->finished || request->aborted || request->connection->hung_up;
    return request->cut || (ended && outlet_unsent (&request->outlet) == 0);
}

/* Sends what is unsent, as far as it goes.  FALSE when the stream is at its end, the good one or the other. */
gboolean
stream_flush (HttpRequest *request)
{
    if (!request->cut && !outlet_flush (&request->outlet, request->connection->fd))
        request->cut = TRUE;
    gsize unsent = outlet_unsent (&request->outlet);
    if (!stream_is_over (request) && unsent > 0)
        connection_watch (request->connection, TRUE);
    if (!stream_is_over (request) && request->over_high && unsent < request->server->options.stream_high_bytes / 2) {
        request->over_high = FALSE;
        if (request->drained)
            request->drained (request, request->drained_data); /* which may write more, or end it */
    }
    return !stream_is_over (request);
}

/* The socket of a stream has room again. */
void
stream_go_on (HttpRequest *request)
{
    if (!stream_flush (request))
        request_resume (request); /* pull ends it */
    else if (!request->connection->wants_out)
        connection_watch (request->connection, FALSE);
}

void
http_stream_begin (HttpRequest *request, guint status, const char *content_type)
{
    if (request->answered)
        return;
    request->answered = TRUE;
    request->status = status;
    request->streaming = TRUE;
    request->content_type = g_strdup (content_type);
    request_resume (request);
}

gsize
http_stream_unsent (HttpRequest *request)
{
    return outlet_unsent (&request->outlet);
}

gboolean
http_stream_write (HttpRequest *request, const char *bytes, gsize length)
{
    if (!request->streaming || request->finished || request->aborted || request->cut || length == 0)
        return TRUE;
    char size[24];
    struct iovec pieces[] = { { size, 0 }, { (char *) bytes, length }, { "\r\n", 2 } };
    pieces[0].iov_len = g_snprintf (size, sizeof size, "%zX\r\n", length);
    const struct iovec *from = request->is_1_1 ? pieces : pieces + 1; /* HTTP/1.0 knows no chunks */
    guint n_pieces = request->is_1_1 ? 3 : 1;

    if (length > request->server->options.stream_max_bytes -
                     MIN (request->server->options.stream_max_bytes, http_stream_unsent (request))) {
        outlet_clear (&request->outlet);
        connection_cut (request->connection); /* a reader that doesn't read */
        return FALSE;
    }
    if (!request->direct) {
        for (guint i = 0; i < n_pieces; i++)
            outlet_keep (&request->outlet, from[i].iov_base, from[i].iov_len);
    } else if (!outlet_send (&request->outlet, request->connection->fd, from, n_pieces)) {
        connection_cut (request->connection);
        return FALSE;
    } else if (http_stream_unsent (request) > 0 && !request->connection->wants_out) {
        connection_watch (request->connection, TRUE);
    }
    gboolean over = http_stream_unsent (request) > request->server->options.stream_high_bytes;
    request->over_high |= over;
    return !over;
}

/* After the last write: pull ends the stream once nothing is unsent. */
static void
stream_end (HttpRequest *request)
{
    if (http_stream_unsent (request) == 0)
        request_resume (request);
}

void
http_stream_finish (HttpRequest *request)
{
    if (!request->streaming || request->aborted)
        return;
    request->finished = TRUE;
    stream_end (request);
}

void
http_stream_abort (HttpRequest *request)
{
    if (!request->streaming || request->finished)
        return;
    request->aborted = TRUE;
    stream_end (request);
}

void
http_stream_on_drained (HttpRequest *request, void (*drained) (HttpRequest *request, gpointer data), gpointer data)
{
    request->drained = drained;
    request->drained_data = data;
}

/* ---- WebSocket ------------------------------------------------------------------------------------------------------------- */

gboolean
http_request_is_websocket (HttpRequest *request)
{
    const char *version = http_request_header (request, "Sec-WebSocket-Version");
    const char *key = http_request_header (request, "Sec-WebSocket-Key");
    return request->is_1_1 && strcmp (http_request_method (request), "GET") == 0 &&
           !head_facts_has_body (&request->facts) &&
           head_list_has (http_request_header (request, "Upgrade"), "websocket") &&
           head_list_has (http_request_header (request, "Connection"), "upgrade") && version &&
           strcmp (version, "13") == 0 && key && handshake_key_is_valid (key);
}

void
http_request_upgrade (HttpRequest *request, HttpUpgradeFunc take, GDestroyNotify gone, gpointer data)
{
    request->gone = gone;
    request->upgrade_data = data;
    if (request->answered)
        return;
    if (*request->server->n_upgraded >= request->server->options.max_connections) {
        http_reply (request, 503, "text/plain; charset=utf-8", "too many WebSockets", strlen ("too many WebSockets"));
        return;
    }
    request->take = take;
    request->answered = TRUE;
    request->status = 101;
    g_autofree char *accept = handshake_accept (http_request_header (request, "Sec-WebSocket-Key"));
    http_request_set_header (request, "Upgrade", "websocket");
    http_request_set_header (request, "Sec-WebSocket-Accept", accept);
    request_resume (request);
}

/* ---- reading --------------------------------------------------------------------------------------------------------------- */

const char *
http_request_method (HttpRequest *request)
{
    return request->method;
}

const char *
http_request_path (HttpRequest *request)
{
    return request->path;
}

const char *
http_request_query (HttpRequest *request)
{
    return request->query;
}

GBytes *
http_request_body (HttpRequest *request)
{
    return request->whole;
}

void
http_request_set_max_body (HttpRequest *request, gsize max_body)
{
    request->max_body = max_body;
}

void
http_request_set_data (HttpRequest *request, gpointer data, GDestroyNotify destroy)
{
    if (request->destroy)
        request->destroy (request->data);
    request->data = data;
    request->destroy = destroy;
}

gpointer
http_request_get_data (HttpRequest *request)
{
    return request->data;
}
