/* http.c: GNU libmicrohttpd (MHD) on the GLib loop, with the guards that it lacks (libraries.md 1 and 6).
 *
 *      MHD's epoll set ────┐
 *      our epoll set ──────┼──▶ one GSource ──▶ pump: MHD_run, hang-ups and room in sockets, deadlines
 *      earliest deadline ──┘
 *
 * MHD reads, frames and writes; it calls on_request with the head, with pieces of the body, and once more when the body is whole.  A request
 * without an answer by then rests: its connection is suspended, which takes it out of MHD's epoll set, and resumed to be answered.  What
 * MHD does not do is done around it: it sees no disconnect while a connection is suspended (our set does), has no deadline for a whole
 * head and none that answers 408 (the deadline queues do, so MHD's own timer stays off), reads ambiguous heads (head.c), takes bodies of
 * any size (body.c), queues without end (stream_max_bytes in answer.c) and closes with unread bytes (linger.c).
 *
 * Nothing that a handler calls runs MHD at once: it marks the server pending, and the loop's next turn pumps.  So a request lives at least
 * until the handler has returned to the loop, and `closed` is never told from inside one of the handler's own calls. */
#include "net/http-parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_HEAD    (16 * 1024)
#define POOL_SIZE   (32 * 1024) /* MHD's per connection; one of 16 KiB holds no head of 12 000 bytes */
#define DRAIN_MAX   (64 * 1024) /* a refused body up to here is read and dropped, so that the connection can stay */
#define PUMP_ROUNDS 8           /* before other sources get their turn */

typedef struct {
    GSource source; /* first: GLib casts */
    HttpServer *server;
} PumpSource;

/* ---- the pump -------------------------------------------------------------------------------------------------------------- */

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
        connections_serve_watches (server);
    connections_expire (server);
    run_mhd (server);
    server->pumping = FALSE;
    if (server->free_after_pump)
        server_destroy (server);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs pump_funcs = { .prepare = pump_prepare, .check = pump_check, .dispatch = pump_dispatch };

void
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
    g_clear_pointer (&request->answer, g_bytes_unref);
    g_free (request->content_type);
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
            g_source_set_ready_time (server->source, -1);
        }
    }
}

/* ---- streams and WebSockets ------------------------------------------------------------------------------------------------- */

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

/* ---- what MHD calls ---------------------------------------------------------------------------------------------------------- */

static enum MHD_Result
add_fact (void *data, enum MHD_ValueKind kind, const char *name, const char *value)
{
    head_facts_add (data, name, value);
    return MHD_YES;
}

static void
add_headers (HttpRequest *request, struct MHD_Response *response)
{
    if (request->content_type)
        MHD_add_response_header (response, "Content-Type", request->content_type);
    for (guint i = 0; request->headers && i < request->headers->len; i++) {
        const AnswerHeader *header = &g_array_index (request->headers, AnswerHeader, i);
        if (MHD_add_response_header (response, header->name, header->value) != MHD_YES)
            g_debug ("http: the header %s cannot be sent", header->name); /* a line end or a tab in the value */
    }
}

static enum MHD_Result
queue_answer (HttpRequest *request)
{
    struct MHD_Response *response;
    if (request->take) {
        response = MHD_create_response_for_upgrade (on_upgrade, request);
    } else if (request->streaming) {
        response = MHD_create_response_from_callback (MHD_SIZE_UNKNOWN, POOL_SIZE, pull, request, NULL);
        MHD_set_response_options (response, MHD_RF_SEND_KEEP_ALIVE_HEADER, MHD_RO_END);
    } else {
        gsize length;
        const void *bytes = g_bytes_get_data (request->answer, &length); /* which live until on_completed */
        response = MHD_create_response_from_buffer (length, (void *) bytes, MHD_RESPMEM_PERSISTENT);
    }
    add_headers (request, response);
    request->queued = TRUE;
    if (request->phase == PHASE_HEAD)
        request->connection->unread = TRUE;
    connection_wait (request->connection, WAIT_SEND);
    enum MHD_Result result = MHD_queue_response (request->mhd, request->status, response);
    MHD_destroy_response (response); /* ours of the two references */
    return result;
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
        request_refuse (request, 400, why);
        return;
    }
    if (size && size->header_size > MAX_HEAD) {
        request_refuse (request, 431, "the head is larger than 16 KiB");
        return;
    }
    request->told_head = TRUE;
    gboolean wanted = server->handler->head (request, server->data);
    if (request->answered)
        return;
    if (!wanted)
        request_refuse (request, 400, "refused");
    else if (facts->n_length > 0 && facts->length > request->max_body)
        request_refuse (request, 413, "the body is too large");
    else if (facts->encoding == HEAD_FOREIGN)
        request_refuse (request, 415, "the only Content-Encoding taken is gzip");
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
            request_refuse (request, 413, "the body is too large");
        else if (status == BODY_BROKEN)
            request_refuse (request, 400, "the body is not in gzip form");
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
            request_refuse (request, 400, "the body is not in gzip form");
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

const char *
http_request_header (HttpRequest *request, const char *name)
{
    return request->told_closed ? NULL : MHD_lookup_connection_value (request->mhd, MHD_HEADER_KIND, name);
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

const char *
http_reason (guint status)
{
    return MHD_get_reason_phrase_for (status);
}

static void
log_mhd (void *data, const char *format, va_list arguments)
{
    g_autofree char *text = g_strdup_vprintf (format, arguments);
    g_debug ("http: %s", g_strchomp (text));
}

/* ---- the server ------------------------------------------------------------------------------------------------------------ */

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
    GSource *source = server->source = g_source_new (&pump_funcs, sizeof (PumpSource));
    ((PumpSource *) source)->server = server;
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
    g_source_destroy (server->source);
    for (Wait wait = 0; wait < N_WAITS; wait++) /* MHD aborts the program if a connection is still suspended */
        for (GList *link = server->waiting[wait].head; link; link = link->next)
            if (((Connection *) link->data)->request)
                request_resume (((Connection *) link->data)->request);
    MHD_stop_daemon (server->mhd);
    g_source_unref (server->source);
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
