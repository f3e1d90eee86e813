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
    gsize body_length; /* of the last request */
    char *body;
    guint n_drained;
    gboolean free_in_request;
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
    fixture->body = g_strndup (g_bytes_get_data (body, NULL), g_bytes_get_size (body));
    fixture->body_length = g_bytes_get_size (body);
    if (g_str_has_prefix (path, "/rest")) {
        fixture->resting = request;
    } else if (http_request_is_websocket (request)) {
        http_request_upgrade (request, on_taken, on_gone, fixture);
    } else if (g_str_has_prefix (path, "/stream")) {
        fixture->resting = request;
        http_stream_begin (request, 200, "text/event-stream");
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
    return fixture;
}

static void
fixture_free (Fixture *fixture)
{
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
    g_test_add_func ("/http/upgrade", test_upgrade);
    int result = g_test_run ();
    g_ptr_array_unref (clients);
    return result;
}
