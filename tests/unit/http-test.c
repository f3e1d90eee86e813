/* net/http: a server in this process, clients that are bare sockets, both driven by one loop.  The hostile suite of libraries.md 3.2 stands
 * here row by row.  No test asserts a time: where a deadline is the point, it is made small and the order of events is asserted. */
#include "net/body.h"
#include "net/head.h"
#include "net/http.h"
#include "net/ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

/* ---- the server under test: what a path does, and what was told in which order ----------------------------------------- */

typedef struct {
    HttpServer *server;
    guint16 port;
    GString *told;        /* "head /x;request /x;closed /x done;" */
    HttpRequest *resting; /* the last one that was left without an answer, or streams; NULL when it closed */
    guint n_open, n_requests;
    guint n_fds;       /* of the process, when no client is connected */
    gsize body_length; /* of the last request */
    char *body;
    guint n_drained;
    gboolean free_in_request, end_when_drained;
    guint n_upgraded, n_gone, n_ws_closed;
    Ws *ws;
} Fixture;

static const char *const how_names[] = { "done", "gone", "shutdown" };

static void
on_ws_message (Ws *ws, const char *text, gsize length, gpointer data)
{
    ws_send (ws, text, length);
}

static void
on_ws_closed (Ws *ws, guint16 code, const char *reason, gpointer data)
{
    Fixture *fixture = data;
    fixture->n_ws_closed++;
    fixture->ws = NULL;
}

static const WsHandler ws_handler = { on_ws_message, on_ws_closed, NULL };

static void
on_taken (int fd, const void *extra, gsize extra_length, void (*release) (gpointer), gpointer release_data,
          gpointer data)
{
    Fixture *fixture = data;
    fixture->n_upgraded++;
    g_string_append (fixture->told, "taken;");
    fixture->ws = ws_new_server (fd, extra, extra_length, release, release_data, NULL, &ws_handler, fixture);
}

static void
on_gone (gpointer data)
{
    ((Fixture *) data)->n_gone++;
}

static void
on_stream_drained (HttpRequest *request, gpointer data)
{
    Fixture *fixture = data;
    fixture->n_drained++;
    if (fixture->end_when_drained) {
        http_stream_write (request, "last", 4);
        http_stream_finish (request);
    }
}

static gboolean
on_head (HttpRequest *request, gpointer data)
{
    Fixture *fixture = data;
    const char *path = http_request_path (request);
    g_string_append_printf (fixture->told, "head %s;", path);
    fixture->n_open++;
    if (g_str_has_prefix (path, "/refuse")) {
        http_reply (request, 403, "text/plain", "no", 2);
        return FALSE;
    }
    if (g_str_has_prefix (path, "/small"))
        http_request_set_max_body (request, 1000);
    return TRUE;
}

static void
on_request (HttpRequest *request, gpointer data)
{
    Fixture *fixture = data;
    const char *path = http_request_path (request);
    GBytes *body = http_request_body (request);
    g_string_append_printf (fixture->told, "request %s;", path);
    fixture->n_requests++;
    g_free (fixture->body);
    fixture->body = g_strndup (g_bytes_get_data (body, NULL) ?: "", g_bytes_get_size (body));
    fixture->body_length = g_bytes_get_size (body);
    if (g_str_has_prefix (path, "/rest")) {
        fixture->resting = request;
    } else if (http_request_is_websocket (request)) {
        http_request_upgrade (request, on_taken, on_gone, fixture);
    } else if (g_str_has_prefix (path, "/big")) {
        g_autofree char *big = g_strnfill (8 * 1024 * 1024, 'b');
        http_reply (request, 200, "text/plain", big, 8 * 1024 * 1024);
    } else if (g_str_has_prefix (path, "/stream")) {
        fixture->resting = request;
        http_stream_begin (request, 200, "text/event-stream");
        http_stream_on_drained (request, on_stream_drained, fixture);
        if (g_str_has_suffix (path, "/early")) { /* before the head is out */
            g_autofree char *block = g_strnfill (100000, 'x');
            http_stream_write (request, block, 100000);
        }
    } else {
        http_request_set_header (request, "x-request-id", "first");
        http_request_set_header (request, "X-Request-Id", "req_1");
        g_autofree char *answer = g_strdup_printf ("%s %s?%s %s", http_request_method (request), path,
                                                   http_request_query (request) ?: "-", fixture->body);
        http_reply (request, 200, "text/plain", answer, strlen (answer));
    }
    if (fixture->free_in_request)
        g_clear_pointer (&fixture->server, http_server_free);
}

static void
on_refused (HttpRequest *request, guint status, const char *why, gpointer data)
{
    Fixture *fixture = data;
    g_string_append_printf (fixture->told, "refused %u;", status);
    g_autofree char *body = g_strdup_printf ("{\"why\":\"%s\"}", why);
    http_request_set_header (request, "x-request-id", "req_2");
    http_reply (request, status, "application/json", body, strlen (body));
}

static void
on_closed (HttpRequest *request, HttpClosed how, gpointer data)
{
    Fixture *fixture = data;
    g_string_append_printf (fixture->told, "closed %s %s;", http_request_path (request), how_names[how]);
    fixture->n_open--;
    if (fixture->resting == request)
        fixture->resting = NULL;
}

static const HttpHandler handler = { on_head, on_request, on_refused, on_closed };

static guint
n_fds (void)
{
    guint n = 0;
    g_autoptr (GDir) dir = g_dir_open ("/proc/self/fd", 0, NULL);
    while (g_dir_read_name (dir))
        n++;
    return n;
}

static Fixture *
fixture_new (const HttpOptions *options)
{
    Fixture *fixture = g_new0 (Fixture, 1);
    fixture->told = g_string_new (NULL);
    g_autoptr (GError) error = NULL;
    int fd = http_listen ("127.0.0.1", &fixture->port, &error);
    g_assert_no_error (error);
    fixture->server = http_server_new (fd, options, &handler, fixture, &error);
    g_assert_no_error (error);
    fixture->n_fds = n_fds ();
    return fixture;
}

static void turn (void);

/* The clients have gone: the server lets go of every one of their connections by itself. */
static void
fixture_free (Fixture *fixture)
{
    gint64 patience = g_get_monotonic_time () + 30 * G_USEC_PER_SEC;
    while (fixture->server && n_fds () > fixture->n_fds) {
        turn ();
        if (g_get_monotonic_time () > patience)
            g_error ("%u descriptors were left behind", n_fds () - fixture->n_fds);
    }
    http_server_free (fixture->server);
    g_assert_cmpuint (fixture->n_open, ==, 0); /* whatever was opened was told to be closed */
    g_string_free (fixture->told, TRUE);
    g_free (fixture->body);
    g_free (fixture);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Fixture, fixture_free)

/* ---- the client ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    int fd;
    GString *in;
    gboolean ended; /* by FIN or reset */
    gboolean deaf;  /* reads nothing */
} Client;

static GPtrArray *clients;

static Client *
client_new (const Fixture *fixture)
{
    Client *client = g_new0 (Client, 1);
    client->in = g_string_new (NULL);
    client->fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons (fixture->port) };
    to.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
    g_assert_cmpint (connect (client->fd, (struct sockaddr *) &to, sizeof to), ==, 0);
    fcntl (client->fd, F_SETFL, O_NONBLOCK);
    g_ptr_array_add (clients, client);
    return client;
}

static void
client_drop (Client *client)
{
    if (client->fd >= 0)
        close (client->fd);
    client->fd = -1;
}

static void
client_free (Client *client)
{
    client_drop (client);
    g_ptr_array_remove (clients, client);
    g_string_free (client->in, TRUE);
    g_free (client);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Client, client_free)

static void
client_read (Client *client)
{
    char buffer[65536];
    while (client->fd >= 0 && !client->deaf && !client->ended) {
        ssize_t n = recv (client->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            client->ended = TRUE;
        else
            g_string_append_len (client->in, buffer, n);
    }
}

/* One turn of the world. */
static void
turn (void)
{
    gboolean busy = g_main_context_iteration (NULL, FALSE);
    for (guint i = 0; i < clients->len; i++)
        client_read (g_ptr_array_index (clients, i));
    if (!busy)
        g_usleep (200);
}

/* Goes on until @condition holds; that it comes to hold at all is the assertion. */
#define UNTIL(condition)                                                           \
    do {                                                                           \
        gint64 patience = g_get_monotonic_time () + 30 * G_USEC_PER_SEC;           \
        while (!(condition)) {                                                     \
            turn ();                                                               \
            if (g_get_monotonic_time () > patience)                                \
                g_error ("%s:%d: never came: %s", __FILE__, __LINE__, #condition); \
        }                                                                          \
    } while (FALSE)

static void
client_send_bytes (Client *client, const char *bytes, gsize length)
{
    while (length > 0 && !client->ended) {
        ssize_t n = send (client->fd, bytes, length, MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            length -= n;
        } else if (errno == EAGAIN) {
            turn ();
        } else {
            return; /* the server has closed: the test looks at what it said */
        }
    }
}

static void
client_send (Client *client, const char *text)
{
    client_send_bytes (client, text, strlen (text));
}

/* How many answers lie in what was received. */
static guint
n_answers (const Client *client)
{
    guint n = 0;
    for (const char *at = client->in->str; (at = strstr (at, "HTTP/1.1 ")); at++)
        n++;
    return n;
}

static gboolean
has (const Client *client, const char *text)
{
    return strstr (client->in->str, text) != NULL;
}

/* ---- plain requests ------------------------------------------------------------------------------------------------------ */

static void
test_get (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET /v1/models/a%2Fb?beta=true&x=%20 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    UNTIL (has (client, "GET /v1/models/a%2Fb?beta=true&x=%20 "));
    g_assert_true (g_str_has_prefix (client->in->str, "HTTP/1.1 200 OK\r\n"));
    g_assert_true (has (client, "x-request-id: req_1\r\n"));
    g_assert_false (has (client, "first"));
    UNTIL (fixture->n_open == 0);
    g_assert_cmpstr (fixture->told->str, ==,
                     "head /v1/models/a%2Fb;request /v1/models/a%2Fb;closed /v1/models/a%2Fb done;");
    g_string_truncate (client->in, 0);
    client_send (client, "GET /again HTTP/1.1\r\nHost: localhost\r\n\r\n"); /* the connection was kept */
    UNTIL (has (client, "GET /again?- "));
}

static void
test_pipelined (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                         "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (n_answers (client) == 3 && has (client, "GET /3?- "));
    g_assert_true (has (client, "POST /2?- abc"));
}

static void
test_answers_later (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (
        client,
        "POST /rest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
    UNTIL (fixture->resting);
    g_assert_cmpstr (fixture->body, ==, "abcde");
    http_reply (fixture->resting, 200, NULL, "late", 4);
    UNTIL (has (client, "\r\n\r\nlate"));
    UNTIL (fixture->n_open == 0);
}

static void
test_stream (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "Transfer-Encoding: chunked\r\n"));
    g_assert_true (has (client, "Content-Type: text/event-stream\r\n"));
    g_assert_true (http_stream_write (fixture->resting, "data: 1\n\n", 9));
    UNTIL (has (client, "9\r\ndata: 1\n\n\r\n"));
    g_assert_true (http_stream_write (fixture->resting, "data: 2\n\n", 9));
    http_stream_finish (fixture->resting);
    UNTIL (has (client, "9\r\ndata: 2\n\n\r\n0\r\n\r\n"));
    UNTIL (fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /stream done;"));
    client_send (client, "GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "GET /after?- "));
}

static void
test_peer_gone_while_resting (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET /rest HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->resting);
    client_drop (client);
    UNTIL (fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /rest gone;"));
}

static void
test_freed_with_everything_open (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) resting = client_new (fixture);
    g_autoptr (Client) streaming = client_new (fixture);
    g_autoptr (Client) idle = client_new (fixture);
    client_send (resting, "GET /rest HTTP/1.1\r\nHost: a\r\n\r\n");
    client_send (streaming, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    client_send (idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->n_open == 2 && has (streaming, "chunked") && has (idle, "200"));
    g_clear_pointer (&fixture->server, http_server_free);
    g_assert_cmpuint (fixture->n_open, ==, 0);
    g_assert_nonnull (strstr (fixture->told->str, "closed /rest shutdown;"));
    g_assert_nonnull (strstr (fixture->told->str, "closed /stream shutdown;"));
    UNTIL (resting->ended && streaming->ended && idle->ended);
}

/* ---- heads -------------------------------------------------------------------------------------------------------------- */

#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct {
    const char *name, *head;
    guint status;    /* of the answer; 0: closed without one */
    gboolean by_mhd; /* which writes the head of its answer twice, and closes */
} bad_heads[] = {
    { "length-and-chunked",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, FALSE },
    { "chunked-and-length",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, FALSE },
    { "two-lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 40\r\n\r\nabcde", 400, FALSE },
    { "same-length-twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nabcde", 400,
      FALSE },
    { "length-list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde", 400, TRUE },
    { "length-plus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +30\r\n\r\nabcde", 400, TRUE },
    { "length-minus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nabcde", 400, TRUE },
    { "length-letters", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12abc\r\n\r\nabcde", 400, TRUE },
    { "length-hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde", 400, TRUE },
    { "length-empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabcde", 400, TRUE },
    { "length-2^63", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nabcde", 400, FALSE },
    { "length-2^64", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nabcde", 413, TRUE },
    { "coding-gzip", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabcde", 400, FALSE },
    { "coding-list", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, FALSE },
    { "coding-identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\nabcde", 400, FALSE },
    { "coding-twice",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400,
      FALSE },
    { "coding-vertical-tab",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b"
      "chunked\r\n\r\n0\r\n\r\n",
      400, FALSE },
    { "chunked-in-1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, FALSE },
    { "two-hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, FALSE },
    { "same-host-twice", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, FALSE },
    { "no-host", "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", 400, FALSE },
    { "space-in-target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, FALSE },
    { "no-colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400, FALSE },
    { "one-word", "GET\r\n\r\n", 0, FALSE },
    { "http-2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, FALSE },
    { "space-before-colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nabcde", 400, FALSE },
    { "control-in-value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n", 400, FALSE },
    { "tls", "\x16\x03\x01\x02\r\n\r\n", 0, FALSE },
};

/* A head that is not plain is refused before its body, and nothing behind it runs: not the smuggled request either. */
static void
test_bad_head (gconstpointer data)
{
    gsize row = GPOINTER_TO_SIZE (data);
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, bad_heads[row].head);
    client_send (client, SMUGGLED);
    UNTIL (client->ended);
    g_assert_cmpuint (fixture->n_requests, ==, 0);
    if (bad_heads[row].status == 0)
        g_assert_cmpstr (client->in->str, ==, "");
    else if (!bad_heads[row].by_mhd)
        g_assert_cmpuint (n_answers (client), ==, 1);
    g_autofree char *line = g_strdup_printf ("HTTP/1.1 %u ", bad_heads[row].status);
    if (bad_heads[row].status)
        g_assert_true (g_str_has_prefix (client->in->str, line));
    g_assert_null (strstr (fixture->told->str, "head")); /* not even asked */
}

static const struct {
    const char *name, *bytes;
    gsize length;
} odd_heads[] = {
#define ODD(name, text)             \
    {                               \
        name, text, sizeof text - 1 \
    }
    ODD ("nul-in-header", "POST / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\nContent-Length: 5\r\n\r\nabcde"),
    ODD ("nul-in-length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\0 0\r\n\r\nabcde"),
    ODD ("nul-in-name", "POST / HTTP/1.1\r\nHost: a\r\nContent\0-Length: 5\r\nContent-Length: 5\r\n\r\nabcde"),
    ODD ("folded", "POST / HTTP/1.1\r\nHost: a\r\nX: a\r\n Content-Length: 50\r\nContent-Length: 5\r\n\r\nabcde"),
    ODD ("bare-lf-in-head", "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nabcde"),
    ODD ("bare-lf-in-chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nabcde\n0\n\n"),
    ODD ("chunk-extension",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"\n\"\r\nabcde\r\n0\r\n\r\n"),
    ODD ("trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n5\r\nabcde\r\n0\r\nContent-Length: 40\r\n\r\n"),
    ODD ("chunk-size-space",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nabcde\r\n0\r\n\r\n"),
    ODD ("chunk-size-minus",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n"),
    ODD ("chunk-size-huge",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabcde\r\n0\r\n\r\n"),
    ODD ("chunk-too-long",
         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n0\r\n\r\n"),
#undef ODD
};

/* What MHD 0.9.75 is lenient about (NUL, folding, a bare LF; 1.0 refuses them).  Lenient or not, the body never runs into a request of its
 * own: at most the request and the one that really follows are seen, in that order, with the right body. */
static void
test_odd_head (gconstpointer data)
{
    gsize row = GPOINTER_TO_SIZE (data);
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send_bytes (client, odd_heads[row].bytes, odd_heads[row].length);
    client_send (client, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (client->ended || has (client, "GET /next"));
    g_test_message ("%s", fixture->told->str);
    g_assert_cmpuint (fixture->n_requests, <=, 2);
    if (fixture->n_requests > 0)
        g_assert_true (has (client, "POST /?- abcde"));
    UNTIL (fixture->n_open == 0);
}

static void
test_head_sizes (void)
{
    static const struct {
        gsize size; /* of the whole head */
        guint status;
        gboolean worded; /* by the handler; MHD has no room left to ask it */
    } rows[] = {
        { 8000, 200, FALSE }, { 16384, 200, FALSE }, { 16385, 431, TRUE }, { 20000, 431, TRUE }, { 200000, 431, FALSE }
    };
    for (gsize i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_autoptr (Fixture) fixture = fixture_new (NULL);
        g_autoptr (Client) client = client_new (fixture);
        g_autoptr (GString) head = g_string_new ("GET / HTTP/1.1\r\nHost: a\r\n");
        while (head->len + 1100 < rows[i].size) {
            g_autofree char *value = g_strnfill (1000, 'x');
            g_string_append_printf (head, "X-%zu: %s\r\n", head->len, value);
        }
        g_autofree char *last = g_strnfill (rows[i].size - head->len - 7, 'y');
        g_string_append_printf (head, "L: %s\r\n\r\n", last);
        g_assert_cmpuint (head->len, ==, rows[i].size);
        client_send_bytes (client, head->str, head->len);
        g_autofree char *line = g_strdup_printf ("HTTP/1.1 %u ", rows[i].status);
        UNTIL (has (client, line) && (rows[i].status == 200 || client->ended));
        g_assert_cmpint (has (client, "\"why\":"), ==, rows[i].worded);
        g_assert_cmpuint (fixture->n_requests, ==, rows[i].status == 200);
        UNTIL (fixture->n_open == 0);
    }
}

static void
test_slow_head (void)
{
    HttpOptions options = { .head_timeout_ms = 50 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET / HTTP/1.1\r\nHost: a\r\n");
    while (!client->ended) { /* never silent, never done */
        client_send (client, "x");
        turn ();
    }
    g_assert_cmpstr (client->in->str, ==, "");
    g_assert_cmpstr (fixture->told->str, ==, "");
    g_autoptr (Client) silent = client_new (fixture);
    UNTIL (silent->ended);
    g_autoptr (Client) good = client_new (fixture);
    client_send (good, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (good, "200 OK"));
}

static void
test_slow_second_head (void)
{
    HttpOptions options = { .head_timeout_ms = 50, .idle_timeout_ms = 60 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "200 OK"));
    while (!client->ended) {
        client_send (client, "G");
        turn ();
    }
    g_assert_cmpuint (fixture->n_requests, ==, 1);
}

static void
test_idle_connection_is_closed (void)
{
    HttpOptions options = { .idle_timeout_ms = 50 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "200 OK") && client->ended);
    g_assert_cmpuint (n_answers (client), ==, 1);
}

/* What poll would be given: -1 is "sleep until something happens". */
static int
loop_timeout (void)
{
    GPollFD fds[16];
    int priority, timeout_ms;
    GMainContext *context = g_main_context_default ();
    g_assert_true (g_main_context_acquire (context));
    g_main_context_prepare (context, &priority);
    int n = g_main_context_query (context, priority, &timeout_ms, fds, G_N_ELEMENTS (fds));
    g_assert_cmpint (n, <=, 4); /* the context's own, and two epoll sets: connections are no sources */
    g_main_context_check (context, priority, fds, n);
    g_main_context_release (context);
    return timeout_ms;
}

static void
test_idle_server_sleeps (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    while (g_main_context_iteration (NULL, FALSE))
        ;
    g_assert_cmpint (loop_timeout (), ==, -1);
    {
        g_autoptr (Client) client = client_new (fixture);
        g_autoptr (Client) resting = client_new (fixture);
        client_send (client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client_send (resting, "GET /rest HTTP/1.1\r\nHost: a\r\n\r\n");
        UNTIL (has (client, "200 OK") && fixture->resting);
        while (g_main_context_iteration (NULL, FALSE))
            ;
        g_assert_cmpint (loop_timeout (), >, 1000); /* a deadline far away, nothing that spins */
    }
    UNTIL (fixture->n_open == 0 && loop_timeout () == -1);
}

/* ---- bodies -------------------------------------------------------------------------------------------------------------- */

static GByteArray *
gzip (const char *bytes, gsize length)
{
    GByteArray *out = g_byte_array_new ();
    z_stream stream = { 0 };
    g_assert_cmpint (deflateInit2 (&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), ==, Z_OK);
    g_byte_array_set_size (out, deflateBound (&stream, length));
    stream.next_in = (Bytef *) bytes;
    stream.avail_in = length;
    stream.next_out = out->data;
    stream.avail_out = out->len;
    g_assert_cmpint (deflate (&stream, Z_FINISH), ==, Z_STREAM_END);
    g_byte_array_set_size (out, stream.total_out);
    deflateEnd (&stream);
    return out;
}

static void
send_body (Client *client, const char *encoding, const guint8 *bytes, gsize length)
{
    g_autofree char *head = g_strdup_printf (
        "POST /small HTTP/1.1\r\nHost: a\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n", encoding, length);
    client_send (client, head);
    client_send_bytes (client, (const char *) bytes, length);
}

static void
test_gzip (void)
{
    static const struct {
        gsize plain, cut, junk; /* bytes before, bytes left off at the end, bytes added behind */
        guint status;
    } rows[] = {
        { 3, 0, 0, 200 },
        { 0, 0, 0, 200 },
        { 1000, 0, 0, 200 },
        { 1001, 0, 0, 413 },
        { 64 * 1024 * 1024, 0, 0, 413 },
        { 3, 1, 0, 400 },
        { 500, 500, 0, 400 },
        { 3, 0, 1, 400 },
    };
    for (gsize i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_autoptr (Fixture) fixture = fixture_new (NULL);
        g_autoptr (Client) client = client_new (fixture);
        g_autofree char *plain = g_strnfill (rows[i].plain, 'g');
        g_autoptr (GByteArray) bytes = gzip (plain, rows[i].plain);
        g_byte_array_set_size (bytes, bytes->len - MIN (bytes->len - 1, rows[i].cut));
        for (gsize j = 0; j < rows[i].junk; j++)
            g_byte_array_append (bytes, (const guint8 *) "j", 1);
        if (bytes->len > 1000)
            g_byte_array_set_size (bytes, 1000); /* the bomb's first kilobyte is enough */
        send_body (client, "gzip", bytes->data, bytes->len);
        g_autofree char *line = g_strdup_printf ("HTTP/1.1 %u ", rows[i].status);
        UNTIL (has (client, line));
        if (rows[i].status == 200)
            g_assert_cmpstr (fixture->body, ==, plain);
        else
            g_assert_true (has (client, "\"why\":"));
        g_assert_cmpuint (fixture->n_requests, ==, rows[i].status == 200);
        UNTIL (fixture->n_open == 0);
    }
}

static void
test_foreign_encoding (void)
{
    static const char *const encodings[] = { "br", "deflate", "gzip, gzip", "gzip\r\nContent-Encoding: gzip" };
    for (gsize i = 0; i < G_N_ELEMENTS (encodings); i++) {
        g_autoptr (Fixture) fixture = fixture_new (NULL);
        g_autoptr (Client) client = client_new (fixture);
        send_body (client, encodings[i], (const guint8 *) "abc", 3);
        UNTIL (has (client, "HTTP/1.1 415 ") && has (client, "\"why\":"));
        g_assert_cmpuint (fixture->n_requests, ==, 0);
        UNTIL (fixture->n_open == 0);
    }
}

static void
test_length_over_the_limit_is_not_read (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"); /* and not a byte of it */
    UNTIL (has (client, "HTTP/1.1 413 ") && has (client, "\"why\":") && client->ended);
    g_assert_true (has (client, "x-request-id: req_2\r\n"));
    g_assert_cmpstr (fixture->told->str, ==, "head /small;refused 413;closed /small done;");
    g_autoptr (Client) exact = client_new (fixture);
    g_autofree char *body = g_strnfill (1000, 'x');
    client_send (exact, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    client_send (exact, body);
    UNTIL (has (exact, "200 OK"));
}

static gsize
resident_kib (void)
{
    g_autofree char *text = NULL;
    g_assert_true (g_file_get_contents ("/proc/self/statm", &text, NULL, NULL));
    return g_ascii_strtoull (strchr (text, ' '), NULL, 10) * 4;
}

static void
test_endless_body (gconstpointer data)
{
    gboolean chunked = GPOINTER_TO_INT (data);
    HttpOptions options = { .max_body = 1024 * 1024 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    g_autofree char *block = g_strnfill (65536, 'x');
    gsize before = resident_kib ();
    client_send (client, chunked ? "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n");
    for (guint i = 0; i < 1600 && !client->ended; i++) { /* 100 MiB */
        if (chunked)
            client_send (client, "10000\r\n");
        client_send_bytes (client, block, 65536);
        if (chunked)
            client_send (client, "\r\n");
        turn ();
    }
    UNTIL (has (client, "HTTP/1.1 413 ") && has (client, "\"why\":")); /* although the client is still sending */
    UNTIL (client->ended);
    g_assert_cmpuint (resident_kib () - before, <, 32 * 1024);
    g_assert_cmpstr (fixture->told->str, ==, "head /;refused 413;closed / done;");
}

static void
test_body_stops_coming (void)
{
    HttpOptions options = { .body_timeout_ms = 50 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    UNTIL (client->ended);
    g_assert_true (g_str_has_prefix (client->in->str, "HTTP/1.1 408 "));
    g_assert_true (has (client, "\"why\":"));
    UNTIL (fixture->n_open == 0);
    g_assert_cmpstr (fixture->told->str, ==, "head /;refused 408;closed / done;");
    g_autoptr (Client) chunked = client_new (fixture);
    client_send (chunked, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    UNTIL (chunked->ended && has (chunked, " 408 "));
}

static void
test_broken_chunks (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" SMUGGLED);
    UNTIL (client->ended && fixture->n_open == 0);
    g_assert_true (g_str_has_prefix (client->in->str, "HTTP/1.1 400 "));
    g_assert_cmpstr (fixture->told->str, ==, "head /;closed / gone;");
}

static void
test_body_cut_short (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    UNTIL (fixture->n_open == 1);
    client_drop (client);
    UNTIL (fixture->n_open == 0);
    g_assert_cmpstr (fixture->told->str, ==, "head /;closed / gone;");
}

static void
test_expect_continue (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    UNTIL (has (client, "HTTP/1.1 100 Continue\r\n\r\n"));
    client_send (client, "abc");
    UNTIL (has (client, "POST /x?- abc"));
    g_autoptr (Client) refused = client_new (fixture);
    client_send (refused, "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    UNTIL (refused->ended);
    g_assert_true (g_str_has_prefix (refused->in->str, "HTTP/1.1 403 "));
}

static void
test_refused_by_the_handler (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    /* Without a body, and with a small one, the connection stays. */
    client_send (
        client,
        "GET /refuse HTTP/1.1\r\nHost: a\r\n\r\nPOST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "GET /next?- "));
    g_assert_cmpuint (n_answers (client), ==, 3);
    UNTIL (fixture->n_open == 0);
    g_assert_cmpstr (fixture->told->str, ==,
                     "head /refuse;closed /refuse done;head /refuse;closed /refuse done;"
                     "head /next;request /next;closed /next done;");
    /* A large one is not waited for. */
    client_send (client, "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
    UNTIL (n_answers (client) == 4 && client->ended);
}

/* ---- methods and versions ------------------------------------------------------------------------------------------------ */

static void
test_head_method (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "\r\n\r\n"));
    UNTIL (fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (client->in->str, "\r\n\r\n")); /* no body */
    g_assert_true (has (client, "Content-Length: 10\r\n"));         /* "HEAD /x?- " */
    client_send (client, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "GET /next?- "));
    UNTIL (fixture->n_open == 0);
    g_assert_cmpuint (n_answers (client), ==, 3);
}

static void
test_http_1_0 (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET /x HTTP/1.0\r\n\r\n"); /* no Host needed */
    UNTIL (client->ended && has (client, "GET /x?- "));
    g_autoptr (Client) streaming = client_new (fixture);
    client_send (streaming, "GET /stream HTTP/1.0\r\nHost: a\r\n\r\n");
    UNTIL (fixture->resting);
    http_stream_write (fixture->resting, "data: 1\n\n", 9);
    http_stream_finish (fixture->resting);
    UNTIL (streaming->ended);
    g_assert_true (g_str_has_suffix (streaming->in->str, "\r\n\r\ndata: 1\n\n")); /* not in chunks */
}

/* One pipelined conversation, fed in two pieces cut at every point, and byte by byte: always the same answers. */
static void
test_cut_everywhere (void)
{
    static const char bytes[] =
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
        "GET /c?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const gsize length = sizeof bytes - 1;
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    for (gsize cut = 0; cut <= length; cut++) {
        g_autoptr (Client) client = client_new (fixture);
        if (cut == 0) {
            for (gsize i = 0; i < length; i++) {
                client_send_bytes (client, bytes + i, 1);
                turn ();
            }
        } else {
            client_send_bytes (client, bytes, cut);
            for (int i = 0; i < 3; i++)
                turn ();
            client_send_bytes (client, bytes + cut, length - cut);
        }
        UNTIL (client->ended);
        g_assert_cmpuint (n_answers (client), ==, 3);
        g_assert_true (has (client, "POST /a?- abc") && has (client, "POST /b?- def") && has (client, "GET /c?q "));
    }
}

/* Good bytes with some turned over: whatever comes of it, the server answers the next client. */
static void
test_garbage (void)
{
    static const char bytes[] =
        "POST /a?x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
        "POST /rest HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /stream HTTP/1.1\r\nHost: a\r\n\r\n";
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    for (guint round = 0; round < 500; round++) {
        g_autoptr (Client) client = client_new (fixture);
        g_autofree char *copy = g_memdup2 (bytes, sizeof bytes - 1);
        for (int i = g_test_rand_int_range (1, 4); i > 0; i--)
            copy[g_test_rand_int_range (0, sizeof bytes - 1)] = g_test_rand_int_range (0, 256);
        gsize cut = g_test_rand_int_range (0, sizeof bytes);
        client_send_bytes (client, copy, cut);
        turn ();
        client_send_bytes (client, copy + cut, sizeof bytes - 1 - cut);
        for (int i = 0; i < 3; i++)
            turn ();
        if (fixture->resting && round % 2)
            http_reply (fixture->resting, 200, NULL, "x", 1);
    }
    UNTIL (fixture->n_open == 0);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET /alive HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "GET /alive?- "));
}

/* ---- the client goes, or does not read ------------------------------------------------------------------------------------ */

static void
test_gone_while_streaming (gconstpointer data)
{
    gboolean silent = GPOINTER_TO_INT (data);
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (client, "chunked"));
    http_stream_write (fixture->resting, "data: 1\n\n", 9);
    UNTIL (has (client, "data: 1"));
    client_drop (client);
    while (fixture->n_open > 0) {
        if (!silent && fixture->resting)
            http_stream_write (fixture->resting, "data: 2\n\n", 9);
        turn ();
    }
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /stream gone;"));
}

static void
test_half_close (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    /* Answered at once: answered. */
    g_autoptr (Client) quick = client_new (fixture);
    client_send (quick, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown (quick->fd, SHUT_WR);
    UNTIL (quick->ended && has (quick, "GET /x?- "));
    /* Resting or streaming: gone (http.md 1.9). */
    g_autoptr (Client) resting = client_new (fixture);
    client_send (resting, "GET /rest HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown (resting->fd, SHUT_WR);
    UNTIL (fixture->n_requests == 2 && fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /rest gone;"));
    g_autoptr (Client) streaming = client_new (fixture);
    client_send (streaming, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->resting);
    shutdown (streaming->fd, SHUT_WR);
    UNTIL (fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /stream gone;"));
}

static void
test_reader_that_never_reads_is_cut_off (void)
{
    HttpOptions options = { .stream_high_bytes = 64 * 1024, .stream_max_bytes = 256 * 1024 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    g_autofree char *block = g_strnfill (10000, 'x');
    client->deaf = TRUE;
    client_send (client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->resting);
    gboolean slowed = FALSE;
    gsize most = 0;
    while (fixture->resting) {
        slowed |= !http_stream_write (fixture->resting, block, 10000);
        most = MAX (most, http_stream_unsent (fixture->resting));
        turn ();
    }
    g_assert_true (slowed);
    g_assert_cmpuint (most, <=, options.stream_max_bytes);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /stream gone;"));
    g_assert_cmpuint (fixture->n_drained, ==, 0);
}

static void
test_slow_reader_is_told_to_be_slow (void)
{
    HttpOptions options = { .stream_high_bytes = 64 * 1024 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    g_autofree char *block = g_strnfill (10000, 'x');
    client->deaf = TRUE;
    client_send (client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->resting);
    while (http_stream_write (fixture->resting, block, 10000))
        turn ();
    client->deaf = FALSE;
    UNTIL (fixture->n_drained == 1);
    g_assert_cmpuint (http_stream_unsent (fixture->resting), <, options.stream_high_bytes / 2);
    http_stream_finish (fixture->resting);
    UNTIL (g_str_has_suffix (client->in->str, "\r\n0\r\n\r\n"));
    UNTIL (fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /stream done;"));
}

static void
test_stream_ended_when_drained (void)
{
    HttpOptions options = { .stream_high_bytes = 64 * 1024 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    fixture->end_when_drained = TRUE;
    g_autoptr (Client) early = client_new (fixture);
    client_send (early, "GET /stream/early HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (g_str_has_suffix (early->in->str, "\r\n4\r\nlast\r\n0\r\n\r\n") && fixture->n_open == 0);

    g_autoptr (Client) client = client_new (fixture);
    g_autofree char *block = g_strnfill (100000, 'x');
    client->deaf = TRUE;
    client_send (client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->resting);
    while (http_stream_write (fixture->resting, block, 100000))
        turn ();
    client->deaf = FALSE;
    UNTIL (g_str_has_suffix (client->in->str, "\r\n4\r\nlast\r\n0\r\n\r\n") && fixture->n_open == 0);
    g_assert_cmpuint (fixture->n_drained, ==, 2);
}

static void
test_stream_that_nobody_reads_any_more (void)
{
    HttpOptions options = { .idle_timeout_ms = 50,
                            .stream_high_bytes = 16 * 1024 * 1024,
                            .stream_max_bytes = 32 * 1024 * 1024 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    g_autofree char *block = g_strnfill (100000, 'x');
    client->deaf = TRUE;
    client_send (client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->resting);
    while (http_stream_write (fixture->resting, block, 100000))
        ; /* below the ceiling, and then nothing more */
    http_stream_finish (fixture->resting);
    UNTIL (fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /stream gone;"));
}

static void
test_large_answer_that_nobody_reads (void)
{
    HttpOptions options = { .idle_timeout_ms = 50 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) client = client_new (fixture);
    client->deaf = TRUE;
    client_send (client, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->n_requests == 1 && fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /big gone;"));
    g_autoptr (Client) reading = client_new (fixture);
    client_send (reading, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (reading->in->len > 8 * 1024 * 1024);
    UNTIL (fixture->n_open == 0);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /big done;"));
}

static void
test_stream_aborted (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send (client, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (fixture->resting);
    HttpRequest *request = fixture->resting;
    http_stream_write (request, "data: 1\n\n", 9);
    http_stream_abort (request);
    http_stream_abort (request);
    http_stream_finish (request);
    g_assert_true (http_stream_write (request, "late", 4));
    UNTIL (client->ended);
    g_assert_true (g_str_has_suffix (client->in->str, "9\r\ndata: 1\n\n\r\n")); /* what was queued, and no end */
    UNTIL (fixture->n_open == 0);
}

/* ---- limits and ends ------------------------------------------------------------------------------------------------------- */

static void
test_connection_limit (void)
{
    HttpOptions options = { .max_connections = 2 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) one = client_new (fixture);
    g_autoptr (Client) two = client_new (fixture);
    client_send (one, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    client_send (two, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (one, "200") && has (two, "200"));
    g_autoptr (Client) three = client_new (fixture); /* waits at the door */
    client_send (three, "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 20; i++)
        turn ();
    g_assert_cmpuint (fixture->n_requests, ==, 2);
    client_drop (one);
    UNTIL (has (three, "200"));
}

static void
test_limit_per_address (void)
{
    HttpOptions options = { .max_per_address = 1 };
    g_autoptr (Fixture) fixture = fixture_new (&options);
    g_autoptr (Client) one = client_new (fixture);
    client_send (one, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (has (one, "200"));
    g_autoptr (Client) two = client_new (fixture);
    UNTIL (two->ended);
}

static void
test_freed_inside_a_callback (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    fixture->free_in_request = TRUE;
    client_send (client, "GET /rest HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL (client->ended);
    g_assert_true (g_str_has_suffix (fixture->told->str, "closed /rest shutdown;"));
}

static void
test_port_in_use (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (GError) error = NULL;
    guint16 port = fixture->port;
    g_assert_cmpint (http_listen ("127.0.0.1", &port, &error), ==, -1);
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
    g_clear_error (&error);
    g_assert_cmpint (http_listen ("nonsense", &port, &error), ==, -1);
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

#define HANDSHAKE                                                                              \
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static void
test_upgrade (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    client_send_bytes (client, HANDSHAKE "\x81\x82\0\0\0\0hi",
                       strlen (HANDSHAKE) + 8); /* a frame right behind the head */
    UNTIL (has (client, "\r\n\r\n\x81\x02hi"));
    g_assert_true (g_str_has_prefix (client->in->str, "HTTP/1.1 101 "));
    g_assert_true (has (client, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")); /* RFC 6455 1.3 */
    g_assert_cmpstr (fixture->told->str, ==, "head /ws;request /ws;closed /ws done;taken;");
    /* The socket outlives the server. */
    g_clear_pointer (&fixture->server, http_server_free);
    client_send_bytes (client, "\x81\x83\0\0\0\0two", 9);
    UNTIL (has (client, "\x81\x03two"));
    client_drop (client);
    UNTIL (fixture->n_ws_closed == 1);
    g_assert_cmpuint (fixture->n_gone, ==, 0);
}

static void
test_upgrade_gone (void)
{
    g_autoptr (Fixture) fixture = fixture_new (NULL);
    g_autoptr (Client) client = client_new (fixture);
    fixture->free_in_request = TRUE; /* the server goes before the 101 is out */
    client_send (client, HANDSHAKE);
    UNTIL (fixture->n_open == 0 && fixture->n_requests == 1 && !fixture->server);
    g_assert_cmpuint (fixture->n_upgraded + fixture->n_gone, ==, 1); /* the one or the other */
    client_drop (client);
    UNTIL (fixture->n_ws_closed == fixture->n_upgraded);
}

static void
test_upgrade_refused (void)
{
    static const char *const heads[] = {
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
        "8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
        "13\r\nSec-WebSocket-Key: short\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
        "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "POST /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
        "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        "GET /ws HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
        "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    };
    for (gsize i = 0; i < G_N_ELEMENTS (heads); i++) {
        g_autoptr (Fixture) fixture = fixture_new (NULL);
        g_autoptr (Client) client = client_new (fixture);
        client_send (client, heads[i]);
        UNTIL (has (client, " 200 OK")); /* an ordinary request */
        g_assert_cmpuint (fixture->n_upgraded, ==, 0);
    }
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    clients = g_ptr_array_new ();
    g_test_add_func ("/http/get", test_get);
    g_test_add_func ("/http/pipelined", test_pipelined);
    g_test_add_func ("/http/answers-later", test_answers_later);
    g_test_add_func ("/http/stream", test_stream);
    g_test_add_func ("/http/gone-while-resting", test_peer_gone_while_resting);
    g_test_add_func ("/http/freed-with-everything-open", test_freed_with_everything_open);
    g_test_add_func ("/http/upgrade/frame-behind-the-head", test_upgrade);
    g_test_add_func ("/http/upgrade/gone", test_upgrade_gone);
    g_test_add_func ("/http/upgrade/refused", test_upgrade_refused);
    for (gsize i = 0; i < G_N_ELEMENTS (bad_heads); i++) {
        g_autofree char *name = g_strconcat ("/http/bad-head/", bad_heads[i].name, NULL);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_bad_head);
    }
    for (gsize i = 0; i < G_N_ELEMENTS (odd_heads); i++) {
        g_autofree char *name = g_strconcat ("/http/odd-head/", odd_heads[i].name, NULL);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_odd_head);
    }
    g_test_add_func ("/http/head/sizes", test_head_sizes);
    g_test_add_func ("/http/head/slow", test_slow_head);
    g_test_add_func ("/http/head/slow-second", test_slow_second_head);
    g_test_add_func ("/http/idle/closed", test_idle_connection_is_closed);
    g_test_add_func ("/http/idle/sleeps", test_idle_server_sleeps);
    g_test_add_func ("/http/body/gzip", test_gzip);
    g_test_add_func ("/http/body/foreign-encoding", test_foreign_encoding);
    g_test_add_func ("/http/body/over-the-limit", test_length_over_the_limit_is_not_read);
    g_test_add_data_func ("/http/body/endless/length", GINT_TO_POINTER (FALSE), test_endless_body);
    g_test_add_data_func ("/http/body/endless/chunked", GINT_TO_POINTER (TRUE), test_endless_body);
    g_test_add_func ("/http/body/stops-coming", test_body_stops_coming);
    g_test_add_func ("/http/body/broken-chunks", test_broken_chunks);
    g_test_add_func ("/http/body/cut-short", test_body_cut_short);
    g_test_add_func ("/http/body/expect-continue", test_expect_continue);
    g_test_add_func ("/http/body/refused-by-the-handler", test_refused_by_the_handler);
    g_test_add_func ("/http/method-head", test_head_method);
    g_test_add_func ("/http/version-1.0", test_http_1_0);
    g_test_add_func ("/http/cut-everywhere", test_cut_everywhere);
    g_test_add_func ("/http/garbage", test_garbage);
    g_test_add_data_func ("/http/gone/streaming", GINT_TO_POINTER (FALSE), test_gone_while_streaming);
    g_test_add_data_func ("/http/gone/streaming-silently", GINT_TO_POINTER (TRUE), test_gone_while_streaming);
    g_test_add_func ("/http/gone/half-close", test_half_close);
    g_test_add_func ("/http/slow/never-reads", test_reader_that_never_reads_is_cut_off);
    g_test_add_func ("/http/slow/high-mark", test_slow_reader_is_told_to_be_slow);
    g_test_add_func ("/http/slow/ended-when-drained", test_stream_ended_when_drained);
    g_test_add_func ("/http/slow/stalled", test_stream_that_nobody_reads_any_more);
    g_test_add_func ("/http/slow/large-answer", test_large_answer_that_nobody_reads);
    g_test_add_func ("/http/stream-aborted", test_stream_aborted);
    g_test_add_func ("/http/limit/connections", test_connection_limit);
    g_test_add_func ("/http/limit/per-address", test_limit_per_address);
    g_test_add_func ("/http/freed-inside-a-callback", test_freed_inside_a_callback);
    g_test_add_func ("/http/port-in-use", test_port_in_use);
    int result = g_test_run ();
    g_ptr_array_unref (clients);
    return result;
}
