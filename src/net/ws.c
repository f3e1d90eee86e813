/* ws.c: wslay between a socket and a handler, on one GSource.
 *
 *      readable ─▶ recv ─▶ wslay ─▶ message          ws_send ─▶ wslay ─▶ out ─▶ send ─┐
 *                                                    writable ─────────────────▶──────┘
 *
 * wslay only turns bytes into frames and back: it never waits for the socket and never keeps a message.  What arrives gathers in `message`
 * (wslay's own gathering spends 64 bytes on each fragment of one byte); what leaves gathers in `out`, which is all that counts as unsent.
 *
 *      OPEN ──ws_close, peer's close, protocol error──▶ CLOSING ──both closes seen, or EOF, or a second──▶ OVER
 *        └───────────────────── EOF, reset, too slow a reader ────────────────────────────────────────────▶ OVER
 *
 * `closed` is told, and the Ws freed, only from the loop's dispatch in OVER, so no call of the handler's can lose the Ws under its feet. */
#include "net/ws.h"

#include "net/dial.h"
#include "net/handshake.h"
#include "net/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#define CLOSE_MS       1000
#define MAX_REASON     123 /* bytes: RFC 6455 5.5.1 */
#define READ_CHUNK     (64 * 1024)
#define KEEP_BUFFER    (64 * 1024) /* a buffer that grew beyond it is given back when it is empty */
#define MAX_ANSWER     (16 * 1024) /* the head of the server's answer to ws_connect */
#define STATUS_NONE    1005
#define STATUS_DROPPED 1006

typedef enum { OPEN, CLOSING, OVER } State;

typedef struct {
    GSource source; /* first: GLib casts */
    Ws *ws;
} WsSource;

struct Ws {
    int fd;
    gboolean is_server;
    void (*release) (gpointer); /* in place of close; may be NULL */
    gpointer release_data;
    const WsHandler *handler;
    gpointer data;
    WsOptions options; /* no zeros left */

    WsSource *source;
    gpointer tag; /* of @fd in @source */
    wslay_event_context_ptr wslay;
    State state;
    guint16 code; /* for `closed` */
    char *reason;

    GBytes *early;                 /* read before there was a Ws; NULL once it is fed */
    const guint8 *feed, *feed_end; /* what wslay may read */
    GByteArray *message;           /* fragments of the current one */
    gboolean in_control, is_text;  /* the frame that is coming in; the message that is */
    Outlet out;
    gboolean over_high;
    gboolean dispatching;
};

/* ---- leaving --------------------------------------------------------------------------------------------------------------- */

static void
watch (Ws *ws)
{
    GIOCondition events = ws->state == OVER ? 0 : G_IO_IN;
    if (ws->state != OVER && ws_unsent (ws) > 0)
        events |= G_IO_OUT;
    g_source_modify_unix_fd ((GSource *) ws->source, ws->tag, events);
}

/* The end, to be told by the next dispatch. */
static void
set_over (Ws *ws, guint16 code)
{
    if (ws->state == OVER)
        return;
    if (ws->state == OPEN)
        ws->code = code;
    ws->state = OVER;
    watch (ws);
    g_source_set_ready_time ((GSource *) ws->source, 0);
}

static void
set_closing (Ws *ws, guint16 code, const char *reason, gsize length)
{
    if (ws->state != OPEN)
        return;
    ws->state = CLOSING;
    ws->code = code;
    ws->reason = g_utf8_make_valid (reason ? reason : "", length);
    g_source_set_ready_time ((GSource *) ws->source, g_get_monotonic_time () + CLOSE_MS * 1000);
}

gsize
ws_unsent (Ws *ws)
{
    return outlet_unsent (&ws->out);
}

static void
flush (Ws *ws)
{
    if (ws->state != OVER && !outlet_flush (&ws->out, ws->fd))
        set_over (ws, STATUS_DROPPED);
}

/* Whatever wslay has queued goes into @out, and as much of that as possible to the socket. */
static void
push (Ws *ws)
{
    wslay_event_send (ws->wslay);
    flush (ws);
    if (ws_unsent (ws) > ws->options.max_unsent)
        set_over (ws, STATUS_DROPPED); /* a reader that doesn't read; pongs count too */
    ws->over_high |= ws_unsent (ws) > ws->options.high_bytes;
    watch (ws);
}

static ssize_t
on_wslay_send (wslay_event_context_ptr wslay, const uint8_t *bytes, size_t length, int flags, void *data)
{
    Ws *ws = data;
    outlet_keep (&ws->out, bytes, length);
    return length;
}

static int
on_wslay_mask (wslay_event_context_ptr wslay, uint8_t *mask, size_t length, void *data)
{
    return getrandom (mask, length, 0) == (ssize_t) length ? 0 : -1;
}

/* ---- arriving -------------------------------------------------------------------------------------------------------------- */

static ssize_t
on_wslay_recv (wslay_event_context_ptr wslay, uint8_t *bytes, size_t room, int flags, void *data)
{
    Ws *ws = data;
    gsize n = MIN (room, (gsize) (ws->feed_end - ws->feed));
    if (n == 0) {
        wslay_event_set_error (wslay, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy (bytes, ws->feed, n);
    ws->feed += n;
    return n;
}

static void
fail (Ws *ws, guint16 code)
{
    wslay_event_shutdown_read (ws->wslay);
    wslay_event_queue_close (ws->wslay, code, NULL, 0);
    set_closing (ws, code, NULL, 0);
}

static void
on_wslay_frame (wslay_event_context_ptr wslay, const struct wslay_event_on_frame_recv_start_arg *frame, void *data)
{
    Ws *ws = data;
    ws->in_control = wslay_is_ctrl_frame (frame->opcode);
    if (ws->in_control)
        return;
    if (frame->opcode != WSLAY_CONTINUATION_FRAME)
        ws->is_text = frame->opcode == WSLAY_TEXT_FRAME;
    if (frame->payload_length > ws->options.max_message - ws->message->len)
        fail (ws, WSLAY_CODE_MESSAGE_TOO_BIG);
}

static void
on_wslay_chunk (wslay_event_context_ptr wslay, const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *data)
{
    Ws *ws = data;
    if (!ws->in_control && ws->state == OPEN)
        g_byte_array_append (ws->message, chunk->data, chunk->data_length);
}

/* GLib's check takes a NUL for the end; here it is a character. */
static gboolean
is_utf8 (const char *text, gsize length)
{
    const char *end = text + length, *stop;
    while (!g_utf8_validate_len (text, end - text, &stop)) {
        if (stop == end || *stop != '\0')
            return FALSE;
        text = stop + 1;
    }
    return TRUE;
}

static void
on_wslay_message (wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *arg, void *data)
{
    Ws *ws = data;
    if (arg->opcode == WSLAY_CONNECTION_CLOSE) {
        gboolean has_reason = arg->msg_length > 2;
        set_closing (ws, arg->status_code ? arg->status_code : STATUS_NONE,
                     has_reason ? (const char *) arg->msg + 2 : NULL, has_reason ? arg->msg_length - 2 : 0);
    } else if (arg->opcode == WSLAY_PING) {
        wslay_event_send (wslay); /* the pong, before a close behind the ping makes wslay forget it */
    } else if (!wslay_is_ctrl_frame (arg->opcode) && ws->state == OPEN) {
        const char *text = ws->message->len > 0 ? (const char *) ws->message->data : "";
        if (!ws->is_text && !is_utf8 (text, ws->message->len)) /* wslay has looked at text */
            fail (ws, WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA);
        else
            ws->handler->message (ws, text, ws->message->len, ws->data);
        if (ws->message->len > KEEP_BUFFER) {
            g_byte_array_unref (ws->message);
            ws->message = g_byte_array_new ();
        }
        g_byte_array_set_size (ws->message, 0);
    }
}

static const struct wslay_event_callbacks wslay_callbacks = {
    .recv_callback = on_wslay_recv,
    .send_callback = on_wslay_send,
    .genmask_callback = on_wslay_mask,
    .on_frame_recv_start_callback = on_wslay_frame,
    .on_frame_recv_chunk_callback = on_wslay_chunk,
    .on_msg_recv_callback = on_wslay_message,
};

static void
start_wslay (Ws *ws)
{
    int (*init) (wslay_event_context_ptr *, const struct wslay_event_callbacks *, void *) =
        ws->is_server ? wslay_event_context_server_init : wslay_event_context_client_init;
    if (init (&ws->wslay, &wslay_callbacks, ws) != 0)
        g_error ("out of memory");
    wslay_event_config_set_no_buffering (ws->wslay, 1);
    wslay_event_config_set_max_recv_msg_length (ws->wslay, ws->options.max_message);
}

/* Gives wslay all of @bytes. */
static void
feed (Ws *ws, const guint8 *bytes, gsize length)
{
    ws->feed = bytes;
    ws->feed_end = bytes + length;
    if (wslay_event_want_read (ws->wslay) && wslay_event_recv (ws->wslay) != 0 && ws->state == OPEN) {
        /* Not a frame at all.  wslay has queued a close without a status for it; a fresh context says 1002.  None of its frames can
         * be half sent, since on_wslay_send takes them whole. */
        wslay_event_context_free (ws->wslay);
        start_wslay (ws);
        fail (ws, WSLAY_CODE_PROTOCOL_ERROR);
    }
    if (ws->state == OPEN && !wslay_event_want_read (ws->wslay)) {
        /* wslay found a fault and queued its close; what it says is known once it is sent. */
        wslay_event_send (ws->wslay);
        set_closing (ws, wslay_event_get_status_code_sent (ws->wslay), NULL, 0);
    }
    push (ws);
}

static void
receive (Ws *ws)
{
    guint8 bytes[READ_CHUNK];
    ssize_t n = recv (ws->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
        feed (ws, bytes, n); /* while closing for a fault they are dropped: unread, they would make the kernel reset */
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        set_over (ws, STATUS_DROPPED);
}

/* ---- the source -------------------------------------------------------------------------------------------------------------- */

static void
finish (Ws *ws)
{
    ws->handler->closed (ws, ws->code, ws->reason ? ws->reason : "", ws->data);
    g_source_destroy ((GSource *) ws->source);
    g_source_unref ((GSource *) ws->source);
    if (ws->release)
        ws->release (ws->release_data);
    else
        close (ws->fd);
    wslay_event_context_free (ws->wslay);
    g_clear_pointer (&ws->early, g_bytes_unref);
    g_byte_array_unref (ws->message);
    outlet_clear (&ws->out);
    g_free (ws->reason);
    g_free (ws);
}

static gboolean
source_prepare (GSource *source, int *timeout_ms)
{
    *timeout_ms = -1;
    return ((WsSource *) source)->ws->early != NULL;
}

static gboolean
source_check (GSource *source)
{
    Ws *ws = ((WsSource *) source)->ws;
    return ws->early || g_source_query_unix_fd (source, ws->tag);
}

static gboolean
source_dispatch (GSource *source, GSourceFunc callback, gpointer data)
{
    Ws *ws = ((WsSource *) source)->ws;
    if (ws->dispatching)
        return G_SOURCE_CONTINUE; /* a handler runs the loop */
    ws->dispatching = TRUE;
    gint64 ready = g_source_get_ready_time (source);
    GIOCondition events = g_source_query_unix_fd (source, ws->tag);
    if (ws->early) {
        g_autoptr (GBytes) early = g_steal_pointer (&ws->early);
        gsize length;
        const guint8 *bytes = g_bytes_get_data (early, &length);
        feed (ws, bytes, length);
    }
    if (ws->state != OVER && (events & G_IO_OUT)) {
        flush (ws);
        watch (ws);
        if (ws->over_high && ws->state == OPEN && ws_unsent (ws) < ws->options.high_bytes / 2) {
            ws->over_high = FALSE;
            if (ws->handler->drained)
                ws->handler->drained (ws, ws->data);
        }
    }
    if (ws->state != OVER && (events & (G_IO_IN | G_IO_HUP | G_IO_ERR)))
        receive (ws);
    if (ws->state == CLOSING) {
        gboolean agreed = wslay_event_get_close_sent (ws->wslay) && wslay_event_get_close_received (ws->wslay);
        if ((agreed && ws_unsent (ws) == 0) || (ready >= 0 && ready <= g_get_monotonic_time ()))
            set_over (ws, STATUS_DROPPED);
    }
    ws->dispatching = FALSE;
    if (ws->state == OVER)
        finish (ws);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = { .prepare = source_prepare, .check = source_check, .dispatch = source_dispatch };

static Ws *
ws_new (int fd, gboolean is_server, const void *early, gsize early_length, const WsOptions *options,
        const WsHandler *handler, gpointer data)
{
    Ws *ws = g_new0 (Ws, 1);
    ws->fd = fd;
    ws->is_server = is_server;
    ws->handler = handler;
    ws->data = data;
    if (options)
        ws->options = *options;
    ws->options.max_message = ws->options.max_message ? ws->options.max_message : 64 * 1024 * 1024;
    ws->options.high_bytes = ws->options.high_bytes ? ws->options.high_bytes : 1024 * 1024;
    ws->options.max_unsent = ws->options.max_unsent ? ws->options.max_unsent : 32 * 1024 * 1024;
    ws->message = g_byte_array_new ();
    if (early_length > 0)
        ws->early = g_bytes_new (early, early_length);
    start_wslay (ws);

    fcntl (fd, F_SETFL, fcntl (fd, F_GETFL) | O_NONBLOCK);
    ws->source = (WsSource *) g_source_new (&source_funcs, sizeof (WsSource));
    ws->source->ws = ws;
    ws->tag = g_source_add_unix_fd ((GSource *) ws->source, fd, G_IO_IN);
    g_source_set_static_name ((GSource *) ws->source, "ws");
    g_source_set_can_recurse ((GSource *) ws->source, TRUE); /* http.c says why */
    g_source_attach ((GSource *) ws->source, g_main_context_get_thread_default ());
    return ws;
}

/* ---- what the header promises ------------------------------------------------------------------------------------------------ */

Ws *
ws_new_server (int fd, const void *extra, gsize extra_length, void (*release) (gpointer), gpointer release_data,
               const WsOptions *options, const WsHandler *handler, gpointer data)
{
    Ws *ws = ws_new (fd, TRUE, extra, extra_length, options, handler, data);
    ws->release = release;
    ws->release_data = release_data;
    /* A peer whose machine vanished is found by the kernel, without a timer of ours. */
    int on = 1, idle_s = 60, interval_s = 20, n_probes = 3;
    setsockopt (fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt (fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt (fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt (fd, IPPROTO_TCP, TCP_KEEPCNT, &n_probes, sizeof n_probes);
    return ws;
}

gboolean
ws_send (Ws *ws, const char *text, gsize length)
{
    if (ws->state != OPEN)
        return TRUE;
    struct wslay_event_msg message = { WSLAY_TEXT_FRAME, (const uint8_t *) text, length };
    wslay_event_queue_msg (ws->wslay, &message);
    push (ws);
    return ws_unsent (ws) <= ws->options.high_bytes;
}

void
ws_close (Ws *ws, guint16 code, const char *reason)
{
    if (ws->state != OPEN)
        return;
    gsize length = reason ? strlen (reason) : 0;
    if (length > MAX_REASON)
        for (length = MAX_REASON; length > 0 && ((guchar) reason[length] & 0xC0) == 0x80;)
            length--; /* not inside a character */
    gboolean sendable = code != 0 && code != STATUS_NONE && code != STATUS_DROPPED;
    wslay_event_queue_close (ws->wslay, sendable ? code : 0, (const uint8_t *) reason, sendable ? length : 0);
    set_closing (ws, code, reason, length);
    push (ws);
}

/* ---- the client's handshake -------------------------------------------------------------------------------------------------- */

/* The value of header @name in @head, trimmed; NULL when it is not there.  The caller frees. */
static char *
find_header (char **lines, const char *name)
{
    gsize n = strlen (name);
    for (; *lines; lines++)
        if (g_ascii_strncasecmp (*lines, name, n) == 0 && (*lines)[n] == ':')
            return g_strstrip (g_strdup (*lines + n + 1));
    return NULL;
}

static gboolean
check_answer (const char *head, const char *key, const char *path, GError **error)
{
    guint status = dial_status (head);
    if (status != 101) {
        g_set_error (error, NET_ERROR, NET_ERROR_FAILED,
                     status ? "the server refused the WebSocket %s with status %u"
                            : "the server's answer for the WebSocket %s is not HTTP",
                     path, status);
        return FALSE;
    }
    g_auto (GStrv) lines = g_strsplit (head, "\r\n", -1);
    g_autofree char *wanted = handshake_accept (key);
    g_autofree char *accept = find_header (lines, "Sec-WebSocket-Accept");
    g_autofree char *upgrade = find_header (lines, "Upgrade");
    g_autofree char *extensions = find_header (lines, "Sec-WebSocket-Extensions");
    g_autofree char *protocol = find_header (lines, "Sec-WebSocket-Protocol");
    if (g_strcmp0 (accept, wanted) != 0 || !upgrade || g_ascii_strcasecmp (upgrade, "websocket") != 0 ||
        (extensions && *extensions) || (protocol && *protocol)) {
        g_set_error (error, NET_ERROR, NET_ERROR_FAILED, "the server's answer for the WebSocket %s breaks RFC 6455",
                     path);
        return FALSE;
    }
    return TRUE;
}

/* The handshake on a connected socket; @answer gets the answer's head and what came behind it, whose place is returned.  -1 and @error. */
static gssize
shake_hands (int fd, const char *host, guint16 port, const char *path, gint64 deadline_us, GString *answer,
             GError **error)
{
    g_autofree char *key = handshake_new_key ();
    g_autofree char *authority = dial_authority (host, port);
    g_autofree char *head =
        g_strdup_printf ("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
                         path, authority, key);
    if (!dial_send (fd, head, strlen (head), deadline_us, error))
        return -1;
    const char *end;
    while (!(end = strstr (answer->str, "\r\n\r\n"))) {
        char bytes[4096];
        gssize n = dial_receive (fd, bytes, sizeof bytes, deadline_us, error);
        if (n < 0)
            return -1;
        if (n == 0 || answer->len + n > MAX_ANSWER) {
            g_set_error (error, NET_ERROR, NET_ERROR_FAILED, "the server's answer for the WebSocket %s has no end",
                         path);
            return -1;
        }
        g_string_append_len (answer, bytes, n);
    }
    gssize length = end + 4 - answer->str;
    answer->str[length - 2] = '\0'; /* the head is a string of its own */
    return check_answer (answer->str, key, path, error) ? length : -1;
}

Ws *
ws_connect (const char *host, guint16 port, const char *path, guint timeout_ms, const WsOptions *options,
            const WsHandler *handler, gpointer data, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time () + timeout_ms * G_GINT64_CONSTANT (1000);
    int fd = dial_connect (host, port, deadline_us, error);
    if (fd < 0)
        return NULL;
    g_autoptr (GString) answer = g_string_new (NULL);
    gssize head_length = shake_hands (fd, host, port, path, deadline_us, answer, error);
    if (head_length < 0) {
        close (fd);
        return NULL;
    }
    return ws_new (fd, FALSE, answer->str + head_length, answer->len - head_length, options, handler, data);
}
