/* http.c: GNU libmicrohttpd (MHD) on the GLib loop, with the guards that it lacks (libraries.md 1 and 6).
 *
 *      MHD's epoll set ────┐
 *      our epoll set ──────┼──▶ one GSource ──▶ pump: MHD_run, hang-ups and room in sockets, deadlines
 *      earliest deadline ──┘
 *
 * MHD reads, frames and writes; it calls on_request with the head, with pieces of the body, and once more when the body is whole.  A request
 * without an answer by then rests: its connection is suspended, which takes it out of MHD's epoll set, and resumed to be answered.  What
 * MHD does not do is done here: it sees no disconnect while a connection is suspended (our set does), has no deadline for a whole
 * head and none that answers 408 (the deadline queues do, so MHD's own timer stays off), reads ambiguous heads (head.c), takes bodies of
 * any size (body.c), queues without end (stream_max_bytes) and closes with unread bytes (linger.c).
 *
 * Nothing that a handler calls runs MHD at once: it marks the server pending, and the loop's next turn pumps.  So a request lives at least
 * until the handler has returned to the loop, and `closed` is never told from inside one of the handler's own calls. */
#include "net/http.h"

#include "net/body.h"
#include "net/handshake.h"
#include "net/head.h"
#include "net/linger.h"
#include "net/outlet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/tcp.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024
#define MAX_HEAD       (16 * 1024)
#define POOL_SIZE \
    (32 *         \
     1024) /* MHD's per connection: the head, its table and the answer's head; 16 KiB hold no head of 12 000 bytes */
#define DRAIN_MAX   (64 * 1024) /* a refused body up to here is read and dropped, so that the connection can stay */
#define PUMP_ROUNDS 8           /* before other sources get their turn */

/* What a connection waits for.  Each has one length of time, so each queue is in order of deadline; the handler's time has no end. */
typedef enum {
    WAIT_HEAD,
    WAIT_IDLE,
    WAIT_BODY,
    WAIT_SEND,
    N_DEADLINES,
    WAIT_HANDLER = N_DEADLINES,
    N_WAITS,
    WAIT_CUT = N_WAITS
} Wait;

typedef struct {
    HttpServer *server;
    int fd;
    HttpRequest *request; /* the current one, from its request line on; NULL between requests */
    Wait wait;
    gint64 since_us, deadline_us;
    guint64 acked; /* bytes that the peer had acknowledged when it was last asked */
    GList link;    /* in server->waiting[wait] */
    gboolean hung_up;
    gboolean wants_out; /* the watch set tells when the socket takes bytes again */
    gboolean unread;    /* closes with a part of a body unread */
    gboolean upgraded;  /* the socket lives on: what it holds unread is not ours */
} Connection;

typedef struct {
    GSource source; /* first: GLib casts */
    HttpServer *server;
} PumpSource;

struct HttpServer {
    struct MHD_Daemon *mhd;
    const HttpHandler *handler;
    gpointer data;
    HttpOptions options; /* no zeros left */

    PumpSource *source;
    gpointer mhd_tag, watch_tag; /* of the two epoll sets in @source */
    int watch_fd; /* epoll: every connection, for its hang-up and for room in its socket; each told once until asked again */
    gboolean pending; /* MHD has something to do that no descriptor shows */
    gboolean pumping, stopping, free_after_pump;

    GQueue waiting[N_WAITS];
    gint64 limit_us[N_WAITS];
    gint64 armed_us; /* the source's ready time; -1: none */
    guint n_connections;
    guint *n_upgraded; /* rc box: shared with the sockets that outlive the server */
    Lingerers *lingerers;
};

typedef enum {
    PHASE_HEAD,    /* until `head` has answered */
    PHASE_BODY,    /* the body is coming in */
    PHASE_REFUSED, /* answered before the body: what comes of it is dropped */
    PHASE_WHOLE,   /* the handler has it, or has had it */
} Phase;

typedef struct {
    char *name, *value;
} AnswerHeader;

struct HttpRequest {
    HttpServer *server;
    Connection *connection;
    struct MHD_Connection *mhd;
    char *method, *path; /* owned */
    const char *query;   /* in @path's block; NULL: none */
    gboolean is_1_1;
    HeadFacts facts;
    Phase phase;
    gboolean told_head, told_closed;
    gsize max_body;
    Body *body;
    GBytes *whole; /* the body, once it is there */

    GArray *headers;               /* AnswerHeader, for the answer; NULL: none */
    struct MHD_Response *response; /* the answer, from http_reply or http_stream_begin on */
    guint status;
    gboolean refused;          /* by net, not by the handler */
    gboolean answered, queued; /* queued: MHD has it */
    gboolean sent_raw;         /* answered past MHD, in the middle of a body */
    gboolean suspended;        /* MHD has let go of it until we resume it */
    gboolean cut;              /* to be closed as soon as MHD asks */

    gboolean streaming;
    gboolean direct;            /* MHD has sent the head: between that and the end, the socket is ours to write to */
    gboolean finished, aborted; /* after what is unsent: the end in good order, or a cut */
    gboolean over_high;
    Outlet outlet; /* in chunks already */
    void (*drained) (HttpRequest *request, gpointer data);
    gpointer drained_data;

    HttpUpgradeFunc take;
    GDestroyNotify gone;
    gpointer upgrade_data;

    gpointer data;
    GDestroyNotify destroy;
};

/* ---- deadlines ----------------------------------------------------------------------------------------------------------- */

static void
arm (HttpServer *server, gint64 deadline_us)
{
    if (server->armed_us >= 0 && server->armed_us <= deadline_us)
        return; /* it will be found when that one is due */
    server->armed_us = deadline_us;
    g_source_set_ready_time ((GSource *) server->source, deadline_us);
}

static void
connection_wait (Connection *connection, Wait wait)
{
    HttpServer *server = connection->server;
    if (connection->wait != WAIT_CUT)
        g_queue_unlink (&server->waiting[connection->wait], &connection->link);
    connection->wait = wait;
    if (wait == WAIT_CUT)
        return;
    g_queue_push_tail_link (&server->waiting[wait], &connection->link);
    if (wait < N_DEADLINES) {
        connection->since_us = g_get_monotonic_time ();
        connection->deadline_us = connection->since_us + server->limit_us[wait];
        arm (server, connection->deadline_us);
    }
}

static void request_resume (HttpRequest *request);

/* Ends the connection at TCP level.  MHD sees that in its epoll set, or when it goes on with a suspended request, and cleans up. */
static void
connection_cut (Connection *connection)
{
    HttpRequest *request = connection->request;
    connection_wait (connection, WAIT_CUT);
    shutdown (connection->fd, SHUT_RDWR);
    if (request) {
        request->cut = TRUE;
        request_resume (request);
    }
    connection->server->pending = TRUE;
}

static void
peek_tcp (const Connection *connection, struct tcp_info *info)
{
    socklen_t length = sizeof *info;
    memset (info, 0, sizeof *info);
    getsockopt (connection->fd, IPPROTO_TCP, TCP_INFO, info, &length);
}

static void refuse (HttpRequest *request, guint status, const char *why);

static void
connection_expired (Connection *connection)
{
    HttpRequest *request = connection->request;
    struct tcp_info info;
    switch (connection->wait) {
    case WAIT_IDLE:
        /* Bytes that came after the last answer are the beginning of a head: it has its own time. */
        peek_tcp (connection, &info);
        if ((g_get_monotonic_time () - connection->since_us) / 1000 - info.tcpi_last_data_recv > 20)
            connection_wait (connection, WAIT_HEAD);
        else
            connection_cut (connection);
        break;
    case WAIT_BODY:
        if (request->phase == PHASE_BODY)
            refuse (request, 408, "the body stopped coming");
        connection_cut (connection);
        break;
    case WAIT_SEND:
        /* Time without progress, not time in all, ends a slow reader. */
        peek_tcp (connection, &info);
        if ((request && request->suspended && http_stream_unsent (request) == 0) ||
            info.tcpi_bytes_acked != connection->acked) {
            connection->acked = info.tcpi_bytes_acked;
            connection_wait (connection, WAIT_SEND);
        } else {
            connection_cut (connection);
        }
        break;
    default:
        /* MHD tells nobody of a head before it is complete, so a slow one can be closed but not answered. */
        connection_cut (connection);
    }
}

static void
expire (HttpServer *server)
{
    gint64 now = g_get_monotonic_time ();
    if (server->armed_us < 0 || server->armed_us > now)
        return;
    server->armed_us = -1;
    gint64 next = -1;
    for (Wait wait = 0; wait < N_DEADLINES; wait++) {
        Connection *first;
        while ((first = g_queue_peek_head (&server->waiting[wait])) && first->deadline_us <= now)
            connection_expired (first);
        if (first && (next < 0 || first->deadline_us < next))
            next = first->deadline_us;
    }
    server->armed_us = next;
    g_source_set_ready_time ((GSource *) server->source, next);
}

/* ---- the pump -------------------------------------------------------------------------------------------------------------- */

static void
on_hangup (Connection *connection)
{
    HttpRequest *request = connection->request;
    connection->hung_up = TRUE;
    if (request && (request->suspended || request->streaming))
        connection_cut (connection);
    else
        /* MHD stops reading at a short read and so can miss an end that came in one piece with the bytes before it.  This makes it look
         * again, once it has served what it has read. */
        shutdown (connection->fd, SHUT_RD);
}

static void stream_go_on (HttpRequest *request);

/* Whose peer has shut down its writing side, or all of it; whose socket has room again.  Nothing is freed in here. */
static void
serve_watches (HttpServer *server)
{
    struct epoll_event events[64];
    int n;
    do {
        n = epoll_wait (server->watch_fd, events, G_N_ELEMENTS (events), 0);
        for (int i = 0; i < n; i++) {
            Connection *connection = events[i].data.ptr;
            connection->wants_out = FALSE;
            if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                on_hangup (connection);
            else if (connection->request && connection->request->direct)
                stream_go_on (connection->request);
        }
    } while (n == G_N_ELEMENTS (events));
}

static void
connection_watch (Connection *connection, gboolean for_room)
{
    struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT | (for_room ? EPOLLOUT : 0),
                                 .data.ptr = connection };
    connection->wants_out = for_room;
    epoll_ctl (connection->server->watch_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

static void
run_mhd (HttpServer *server)
{
    for (guint round = 0; server->pending && round < PUMP_ROUNDS; round++) {
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        server->pending = FALSE;
        MHD_run (server->mhd);
        if (MHD_get_timeout (server->mhd, &timeout_ms) == MHD_YES)
            server->pending = TRUE; /* with no time-out of its own set, it can only be 0 */
    }
}

static void server_destroy (HttpServer *server);

static gboolean
pump_prepare (GSource *source, int *timeout_ms)
{
    *timeout_ms = -1;
    return ((PumpSource *) source)->server->pending;
}

static gboolean
pump_check (GSource *source)
{
    HttpServer *server = ((PumpSource *) source)->server;
    return server->pending || g_source_query_unix_fd (source, server->mhd_tag) ||
           g_source_query_unix_fd (source, server->watch_tag);
}

static gboolean
pump_dispatch (GSource *source, GSourceFunc callback, gpointer data)
{
    HttpServer *server = ((PumpSource *) source)->server;
    if (server->pumping)
        return G_SOURCE_CONTINUE; /* a handler runs the loop */
    server->pumping = TRUE;
    /* MHD goes first, so that a request answered at once is answered even to a client that has shut down its writing side. */
    server->pending |= g_source_query_unix_fd (source, server->mhd_tag) != 0;
    run_mhd (server);
    if (g_source_query_unix_fd (source, server->watch_tag))
        serve_watches (server);
    expire (server);
    run_mhd (server);
    server->pumping = FALSE;
    if (server->free_after_pump)
        server_destroy (server);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs pump_funcs = { .prepare = pump_prepare, .check = pump_check, .dispatch = pump_dispatch };

static void
request_resume (HttpRequest *request)
{
    if (!request->suspended)
        return;
    request->suspended = FALSE;
    MHD_resume_connection (request->mhd);
    request->server->pending = TRUE;
}

/* ---- a request's beginning and end --------------------------------------------------------------------------------------- */

static Connection *
connection_of (struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info (mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* MHD has the request line, @target as it was sent.  What is returned comes back as the request's context. */
static void *
on_request_line (void *data, const char *target, struct MHD_Connection *mhd)
{
    Connection *connection = connection_of (mhd);
    HttpRequest *request = g_new0 (HttpRequest, 1);
    request->server = data;
    request->connection = connection;
    request->mhd = mhd;
    request->max_body = request->server->options.max_body;
    request->path = g_strdup (target);
    char *mark = strchr (request->path, '?');
    if (mark) {
        *mark = '\0';
        request->query = mark + 1;
    }
    connection->request = request;
    return request;
}

static void
request_tell_closed (HttpRequest *request, HttpClosed how)
{
    if (request->told_closed)
        return;
    request->told_closed = TRUE;
    if (request->told_head && request->server->handler->closed)
        request->server->handler->closed (request, how, request->server->data);
}

static void
request_free (HttpRequest *request)
{
    if (request->gone)
        request->gone (request->upgrade_data);
    if (request->destroy)
        request->destroy (request->data);
    if (request->response)
        MHD_destroy_response (request->response);
    for (guint i = 0; request->headers && i < request->headers->len; i++) {
        g_free (g_array_index (request->headers, AnswerHeader, i).name);
        g_free (g_array_index (request->headers, AnswerHeader, i).value);
    }
    g_clear_pointer (&request->headers, g_array_unref);
    outlet_clear (&request->outlet);
    g_clear_pointer (&request->whole, g_bytes_unref);
    body_free (request->body);
    g_free (request->method);
    g_free (request->path);
    g_free (request);
}

static void
on_completed (void *data, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
    HttpRequest *request = *context;
    if (!request)
        return;
    *context = NULL;
    Connection *connection = request->connection;
    gboolean done =
        request->sent_raw || (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && request->queued && !request->cut);
    request_tell_closed (request, done                        ? HTTP_CLOSED_DONE
                                  : request->server->stopping ? HTTP_CLOSED_SHUTDOWN
                                                              : HTTP_CLOSED_GONE);
    connection->request = NULL;
    connection_wait (connection, WAIT_IDLE);
    request_free (request);
}

static void
on_connection (void *data, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code)
{
    HttpServer *server = data;
    Connection *connection = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        connection = g_new0 (Connection, 1);
        connection->server = server;
        connection->fd = MHD_get_connection_info (mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        connection->wait = WAIT_CUT;
        connection->link.data = connection;
        struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = connection };
        epoll_ctl (server->watch_fd, EPOLL_CTL_ADD, connection->fd, &event);
        connection_wait (connection, WAIT_HEAD);
        server->n_connections++;
        *context = connection;
    } else if (connection) {
        int unread = 0;
        connection_wait (connection, WAIT_CUT);
        epoll_ctl (server->watch_fd, EPOLL_CTL_DEL, connection->fd, NULL);
        if (!server->stopping && !connection->upgraded &&
            (connection->unread || (ioctl (connection->fd, FIONREAD, &unread) == 0 && unread > 0)))
            lingerers_add (server->lingerers, connection->fd);
        g_free (connection);
        *context = NULL;
        server->pending = TRUE;                                  /* at its limit, MHD listens again in its next run */
        if (--server->n_connections == 0 && !server->stopping) { /* an idle server has no timer */
            server->armed_us = -1;
            g_source_set_ready_time ((GSource *) server->source, -1);
        }
    }
}

/* ---- answering ------------------------------------------------------------------------------------------------------------- */

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

static void
add_headers (HttpRequest *request, const char *content_type)
{
    if (content_type)
        MHD_add_response_header (request->response, "Content-Type", content_type);
    for (guint i = 0; request->headers && i < request->headers->len; i++) {
        const AnswerHeader *header = &g_array_index (request->headers, AnswerHeader, i);
        if (MHD_add_response_header (request->response, header->name, header->value) != MHD_YES)
            g_debug ("http: the header %s cannot be sent", header->name); /* a line end or a tab in the value */
    }
}

/* MHD takes no answer in the middle of a body, but nothing of another answer can be under way then: the bytes are sent past it, as much of
 * them as the socket takes at once, and the connection is closed. */
static void
reply_raw (HttpRequest *request, guint status, const char *content_type, const char *body, gsize length)
{
    g_autoptr (GString) out = g_string_new (NULL);
    g_string_printf (out, "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Length: %zu\r\n", status,
                     MHD_get_reason_phrase_for (status), length);
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
    request->response = MHD_create_response_from_buffer (length, (void *) (body ? body : ""), MHD_RESPMEM_MUST_COPY);
    add_headers (request, content_type);
    request_resume (request);
}

/* Refuses in the name of net.  The handler words it; without one, or without its words, the sentence is the body. */
static void
refuse (HttpRequest *request, guint status, const char *why)
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
static gboolean
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
static void
stream_go_on (HttpRequest *request)
{
    if (!stream_flush (request))
        request_resume (request); /* pull ends it */
    else if (!request->connection->wants_out)
        connection_watch (request->connection, FALSE);
}

/* MHD, having sent the head, asks for the body.  It is not told any: it rests while the stream is written past it, chunk by chunk, since a
 * turn of MHD for every event costs more than the event.  It is asked again for the end, the last chunk and what follows on the connection. */
static ssize_t
pull (void *data, uint64_t position, char *out, size_t max)
{
    HttpRequest *request = data;
    request->direct = TRUE;
    if (stream_flush (request)) {
        request->suspended = TRUE;
        MHD_suspend_connection (request->mhd);
        return 0;
    }
    request->direct = FALSE;
    if (request->finished && !request->cut)
        return MHD_CONTENT_READER_END_OF_STREAM;
    /* MHD has a return value for this, but forgets a connection that ends by it (0.9.75, with epoll).  A write that fails it handles well:
     * what is returned goes nowhere. */
    request->cut = TRUE;
    shutdown (request->connection->fd, SHUT_RDWR);
    *out = '.';
    return 1;
}

void
http_stream_begin (HttpRequest *request, guint status, const char *content_type)
{
    if (request->answered)
        return;
    request->answered = TRUE;
    request->status = status;
    request->streaming = TRUE;
    request->response = MHD_create_response_from_callback (MHD_SIZE_UNKNOWN, POOL_SIZE, pull, request, NULL);
    MHD_set_response_options (request->response, MHD_RF_SEND_KEEP_ALIVE_HEADER, MHD_RO_END);
    add_headers (request, content_type);
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

struct upgraded {
    int fd;
    guint *n_upgraded;
};

static void
upgraded_release (gpointer data)
{
    struct upgraded *socket = data;
    close (socket->fd);
    (*socket->n_upgraded)--;
    g_rc_box_release (socket->n_upgraded);
    g_free (socket);
}

/* The 101 is out.  MHD would close its descriptor when the daemon stops, so the socket goes on as a duplicate. */
static void
on_upgrade (void *data, struct MHD_Connection *mhd, void *context, const char *extra, size_t extra_length,
            MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
    HttpRequest *request = data;
    HttpServer *server = request->server;
    int copy = fcntl (fd, F_DUPFD_CLOEXEC, 3);
    request->connection->upgraded = copy >= 0;
    epoll_ctl (server->watch_fd, EPOLL_CTL_DEL, fd, NULL); /* it watches what the duplicate shares */
    MHD_upgrade_action (handle, MHD_UPGRADE_ACTION_CLOSE);
    server->pending = TRUE;
    if (copy < 0)
        return; /* `closed` and `gone` follow from on_completed */
    int on = 1;
    setsockopt (copy, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct upgraded *socket = g_new (struct upgraded, 1);
    *socket = (struct upgraded){ .fd = copy, .n_upgraded = g_rc_box_acquire (server->n_upgraded) };
    (*server->n_upgraded)++;
    HttpUpgradeFunc take = request->take;
    gpointer take_data = request->upgrade_data;
    request->gone = NULL;
    g_autofree char *rest = g_memdup2 (extra, extra_length);
    request_tell_closed (request, HTTP_CLOSED_DONE);
    take (copy, rest, extra_length, upgraded_release, socket, take_data);
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
    request->status = MHD_HTTP_SWITCHING_PROTOCOLS;
    request->response = MHD_create_response_for_upgrade (on_upgrade, request);
    g_autofree char *accept = handshake_accept (http_request_header (request, "Sec-WebSocket-Key"));
    MHD_add_response_header (request->response, "Upgrade", "websocket");
    MHD_add_response_header (request->response, "Sec-WebSocket-Accept", accept);
    add_headers (request, NULL);
    request_resume (request);
}

/* ---- what MHD calls ---------------------------------------------------------------------------------------------------------- */

static enum MHD_Result
add_fact (void *data, enum MHD_ValueKind kind, const char *name, const char *value)
{
    head_facts_add (data, name, value);
    return MHD_YES;
}

static enum MHD_Result
queue_answer (HttpRequest *request)
{
    request->queued = TRUE;
    if (request->phase == PHASE_HEAD)
        request->connection->unread = TRUE;
    connection_wait (request->connection, WAIT_SEND);
    return MHD_queue_response (request->mhd, request->status, request->response);
}

/* Answers if there is an answer, else lets the connection rest until there is. */
static enum MHD_Result
answer_or_rest (HttpRequest *request)
{
    if (request->answered)
        return request->queued ? MHD_YES : queue_answer (request);
    if (request->cut || request->connection->hung_up)
        return MHD_NO;
    connection_wait (request->connection, WAIT_HANDLER);
    request->suspended = TRUE;
    MHD_suspend_connection (request->mhd);
    return MHD_YES;
}

/* Judges the head, and asks the handler about it. */
static void
take_head (HttpRequest *request, const char *version)
{
    HttpServer *server = request->server;
    HeadFacts *facts = &request->facts;
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info (request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    MHD_get_connection_values (request->mhd, MHD_HEADER_KIND, add_fact, facts);
    const char *why = head_facts_judge (facts, request->path, version);
    if (why) {
        refuse (request, 400, why);
        return;
    }
    if (size && size->header_size > MAX_HEAD) {
        refuse (request, 431, "the head is larger than 16 KiB");
        return;
    }
    request->told_head = TRUE;
    gboolean wanted = server->handler->head (request, server->data);
    if (request->answered)
        return;
    if (!wanted)
        refuse (request, 400, "refused");
    else if (facts->n_length > 0 && facts->length > request->max_body)
        refuse (request, 413, "the body is too large");
    else if (facts->encoding == HEAD_FOREIGN)
        refuse (request, 415, "the only Content-Encoding taken is gzip");
}

static enum MHD_Result
on_head (HttpRequest *request, const char *version)
{
    const HeadFacts *facts = &request->facts;
    take_head (request, version);
    if (!request->answered) {
        request->phase = PHASE_BODY;
        request->body = body_new (facts->encoding == HEAD_GZIP && head_facts_has_body (facts), request->max_body);
        connection_wait (request->connection, WAIT_BODY);
        return MHD_YES;
    }
    /* MHD closes the connection after an answer that is queued now.  With no body to come, or little of one, it is queued after that. */
    gboolean little = facts->n_transfer == 0 && facts->length <= DRAIN_MAX && !facts->expects_continue;
    if (!request->refused && (little || !head_facts_has_body (facts))) {
        request->phase = PHASE_REFUSED;
        connection_wait (request->connection, WAIT_BODY);
        return MHD_YES;
    }
    return queue_answer (request);
}

static enum MHD_Result
on_body (HttpRequest *request, const char *bytes, size_t *length)
{
    connection_wait (request->connection, WAIT_BODY);
    if (request->phase == PHASE_BODY && !request->cut) {
        BodyStatus status = body_add (request->body, bytes, *length);
        if (status == BODY_TOO_LARGE)
            refuse (request, 413, "the body is too large");
        else if (status == BODY_BROKEN)
            refuse (request, 400, "the body is not in gzip form");
    }
    *length = 0;
    return request->cut ? MHD_NO : MHD_YES;
}

static enum MHD_Result
on_whole (HttpRequest *request)
{
    if (request->phase == PHASE_BODY) {
        if (request->cut)
            return MHD_NO;
        request->phase = PHASE_WHOLE;
        if (body_end (request->body, &request->whole) != BODY_OK)
            refuse (request, 400, "the body is not in gzip form");
        else
            request->server->handler->request (request, request->server->data);
    }
    return answer_or_rest (request);
}

static enum MHD_Result
on_request (void *data, struct MHD_Connection *mhd, const char *url, const char *method, const char *version,
            const char *bytes, size_t *length, void **context)
{
    HttpRequest *request = *context;
    if (!request->method) {
        request->method = g_strdup (method);
        request->is_1_1 = strcmp (version, "HTTP/1.1") == 0;
        return on_head (request, version);
    }
    return *length > 0 ? on_body (request, bytes, length) : on_whole (request);
}

/* Percent signs are the handler's to decode: MHD would turn %2F into a slash before anyone can tell the two apart. */
static size_t
leave_escaped (void *data, struct MHD_Connection *mhd, char *text)
{
    return strlen (text);
}

static void
log_mhd (void *data, const char *format, va_list arguments)
{
    g_autofree char *text = g_strdup_vprintf (format, arguments);
    g_debug ("http: %s", g_strchomp (text));
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

const char *
http_request_header (HttpRequest *request, const char *name)
{
    return request->told_closed ? NULL : MHD_lookup_connection_value (request->mhd, MHD_HEADER_KIND, name);
}

GBytes *
http_request_body (HttpRequest *request)
{
    return request->whole;
}

char *
http_request_peer (HttpRequest *request)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info (request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char text[INET6_ADDRSTRLEN] = "?";
    if (info && info->client_addr->sa_family == AF_INET)
        inet_ntop (AF_INET, &((struct sockaddr_in *) info->client_addr)->sin_addr, text, sizeof text);
    else if (info && info->client_addr->sa_family == AF_INET6)
        inet_ntop (AF_INET6, &((struct sockaddr_in6 *) info->client_addr)->sin6_addr, text, sizeof text);
    return g_strdup (text);
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

/* ---- the server ------------------------------------------------------------------------------------------------------------ */

int
http_listen (const char *address, guint16 *port, GError **error)
{
    g_autoptr (GInetAddress) host = g_inet_address_new_from_string (address);
    if (!host) {
        g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%s is not an IP address", address);
        return -1;
    }
    g_autoptr (GSocketAddress) wanted = g_inet_socket_address_new (host, *port);
    struct sockaddr_storage native;
    socklen_t length = g_socket_address_get_native_size (wanted);
    if (!g_socket_address_to_native (wanted, &native, sizeof native, error))
        return -1;
    int fd = socket (native.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0 && setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind (fd, (struct sockaddr *) &native, length) == 0 && listen (fd, LISTEN_BACKLOG) == 0 &&
        getsockname (fd, (struct sockaddr *) &native, &length) == 0) {
        *port = ntohs (native.ss_family == AF_INET6 ? ((struct sockaddr_in6 *) &native)->sin6_port
                                                    : ((struct sockaddr_in *) &native)->sin_port);
        return fd;
    }
    int reason = errno;
    if (fd >= 0)
        close (fd);
    if (reason == EADDRINUSE)
        g_set_error (error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE, "port %u on %s is in use", *port, address);
    else
        g_set_error (error, G_IO_ERROR, g_io_error_from_errno (reason), "cannot listen on %s port %u: %s", address,
                     *port, g_strerror (reason));
    return -1;
}

static const HttpOptions defaults = {
    .max_body = 64 * 1024 * 1024,
    .head_timeout_ms = 30 * 1000,
    .body_timeout_ms = 30 * 1000,
    .idle_timeout_ms = 75 * 1000,
    .stream_high_bytes = 1024 * 1024,
    .stream_max_bytes = 8 * 1024 * 1024,
    .max_connections = 1024,
};

static HttpOptions
fill_options (const HttpOptions *given)
{
    HttpOptions options = given ? *given : defaults;
#define DEFAULT(field) options.field = options.field ? options.field : defaults.field
    DEFAULT (max_body);
    DEFAULT (head_timeout_ms);
    DEFAULT (body_timeout_ms);
    DEFAULT (idle_timeout_ms);
    DEFAULT (stream_high_bytes);
    DEFAULT (stream_max_bytes);
    DEFAULT (max_connections);
#undef DEFAULT
    return options;
}

HttpServer *
http_server_new (int listen_fd, const HttpOptions *options, const HttpHandler *handler, gpointer data, GError **error)
{
    HttpServer *server = g_new0 (HttpServer, 1);
    server->handler = handler;
    server->data = data;
    server->options = fill_options (options);
    server->armed_us = -1;
    for (Wait wait = 0; wait < N_WAITS; wait++)
        g_queue_init (&server->waiting[wait]);
    server->limit_us[WAIT_HEAD] = server->options.head_timeout_ms * G_GINT64_CONSTANT (1000);
    server->limit_us[WAIT_BODY] = server->options.body_timeout_ms * G_GINT64_CONSTANT (1000);
    server->limit_us[WAIT_IDLE] = server->options.idle_timeout_ms * G_GINT64_CONSTANT (1000);
    server->limit_us[WAIT_SEND] = server->limit_us[WAIT_IDLE];

    server->mhd = MHD_start_daemon (
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
        server, MHD_OPTION_EXTERNAL_LOGGER, log_mhd, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) POOL_SIZE, MHD_OPTION_CONNECTION_LIMIT,
        server->options.max_connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT, server->options.max_per_address,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_END);
    if (!server->mhd) {
        g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "the HTTP server cannot start: %s", g_strerror (errno));
        g_free (server);
        return NULL;
    }
    server->watch_fd = epoll_create1 (EPOLL_CLOEXEC);
    server->n_upgraded = g_rc_box_new0 (guint);
    server->lingerers = lingerers_new ();
    server->source = (PumpSource *) g_source_new (&pump_funcs, sizeof (PumpSource));
    server->source->server = server;
    GSource *source = (GSource *) server->source;
    int mhd_fd = MHD_get_daemon_info (server->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    server->mhd_tag = g_source_add_unix_fd (source, mhd_fd, G_IO_IN);
    server->watch_tag = g_source_add_unix_fd (source, server->watch_fd, G_IO_IN);
    g_source_set_static_name (source, "http");
    /* For a source that can't recurse GLib takes its descriptors out of the poll before each dispatch and puts them back after it, at the
     * price of a write to its wake-up descriptor each time: four, and a read, for a GET. */
    g_source_set_can_recurse (source, TRUE);
    g_source_attach (source, NULL);
    server->pending = TRUE; /* the first run puts the listening socket into MHD's set */
    return server;
}

static void
server_destroy (HttpServer *server)
{
    server->stopping = TRUE;
    g_source_destroy ((GSource *) server->source);
    for (Wait wait = 0; wait < N_WAITS; wait++) /* MHD aborts the program if a connection is still suspended */
        for (GList *link = server->waiting[wait].head; link; link = link->next)
            if (((Connection *) link->data)->request)
                request_resume (((Connection *) link->data)->request);
    MHD_stop_daemon (server->mhd);
    g_source_unref ((GSource *) server->source);
    lingerers_free (server->lingerers);
    close (server->watch_fd);
    g_rc_box_release (server->n_upgraded);
    g_free (server);
}

void
http_server_free (HttpServer *server)
{
    if (!server)
        return;
    if (server->pumping)
        server->free_after_pump = TRUE; /* MHD is on the stack */
    else
        server_destroy (server);
}
