/* http-bench: what net/http costs by itself, in CPU microseconds of the serving process: a GET, a POST that is answered with an error, an
 * event of a stream.  The clients are a child process, so that their time is not counted.  `http-bench [REQUESTS]`. */
#include "net/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_CLIENTS 256
#define TICK_MS     20 /* between two events of a stream: 50 tokens a second */

static GMainLoop *loop;
static guint n_done, n_wanted;
static HttpRequest *streams[MAX_CLIENTS];
static guint n_streams;

static gboolean
on_head (HttpRequest *request, gpointer data)
{
    return TRUE;
}

static void
count (void)
{
    if (++n_done >= n_wanted)
        g_main_loop_quit (loop);
}

static void
on_request (HttpRequest *request, gpointer data)
{
    static const char models[] = "{\"object\":\"list\",\"data\":[{\"id\":\"atelier-demo\",\"object\":\"model\"}]}";
    static const char error[] =
        "{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}";
    const char *path = http_request_path (request);
    http_request_set_header (request, "x-request-id", "req_000000000000000000000000");
    if (strcmp (path, "/stream") == 0) {
        http_stream_begin (request, 200, "text/event-stream; charset=utf-8");
        streams[n_streams++] = request;
    } else if (strcmp (path, "/bad") == 0) {
        http_reply (request, 400, "application/json; charset=utf-8", error, sizeof error - 1);
        count ();
    } else {
        http_reply (request, 200, "application/json; charset=utf-8", models, sizeof models - 1);
        count ();
    }
}

static void
on_closed (HttpRequest *request, HttpClosed how, gpointer data)
{
}

static const HttpHandler handler = { on_head, on_request, NULL, on_closed };

static gboolean
on_tick (gpointer data)
{
    static char event[200];
    memset (event, 'e', sizeof event);
    memcpy (event, "data: {", 7);
    memcpy (event + sizeof event - 3, "}\n\n", 3);
    for (guint i = 0; i < n_streams; i++) {
        http_stream_write (streams[i], event, sizeof event);
        count ();
    }
    return G_SOURCE_CONTINUE;
}

/* Each connection has one request out; when anything of an answer has come, the next goes.  A stream asks once. */
static void
client (guint16 port, const char *request, guint n_clients, gboolean once)
{
    struct pollfd fds[MAX_CLIENTS];
    for (guint i = 0; i < n_clients; i++) {
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons (port),
                                  .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
        fds[i] = (struct pollfd){ .fd = socket (AF_INET, SOCK_STREAM, 0), .events = POLLIN };
        if (connect (fds[i].fd, (struct sockaddr *) &to, sizeof to) != 0 ||
            write (fds[i].fd, request, strlen (request)) < 0)
            _exit (1);
    }
    for (;;) {
        if (poll (fds, n_clients, -1) < 0)
            _exit (1);
        for (guint i = 0; i < n_clients; i++) {
            char waste[65536];
            if (!(fds[i].revents & POLLIN))
                continue;
            if (read (fds[i].fd, waste, sizeof waste) <= 0)
                _exit (0);
            if (!once && write (fds[i].fd, request, strlen (request)) < 0)
                _exit (0);
        }
    }
}

static double
cpu_us (void)
{
    struct rusage usage;
    getrusage (RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void
measure (guint16 port, const char *name, const char *request, guint n_clients, guint n, gboolean is_stream)
{
    n_streams = 0;
    pid_t child = fork ();
    if (child == 0)
        client (port, request, n_clients, is_stream);
    guint tick = is_stream ? g_timeout_add (TICK_MS, on_tick, NULL) : 0;
    n_done = 0;
    n_wanted = MIN (n / 10, 2000); /* warm */
    g_main_loop_run (loop);
    n_done = 0;
    n_wanted = n;
    double before = cpu_us ();
    g_main_loop_run (loop);
    printf ("%-16s %3u clients  %6.2f us of CPU each\n", name, n_clients, (cpu_us () - before) / n_done);
    if (tick)
        g_source_remove (tick);
    kill (child, SIGKILL);
    waitpid (child, NULL, 0);
    for (guint i = 0; i < n_streams; i++)
        http_stream_abort (streams[i]);
    while (g_main_context_iteration (NULL, FALSE))
        ;
}

int
main (int argc, char **argv)
{
    setvbuf (stdout, NULL, _IOLBF, 0);
    guint n = argc > 1 ? atoi (argv[1]) : 100000;
    guint16 port = 0;
    g_autoptr (GError) error = NULL;
    int fd = http_listen ("127.0.0.1", &port, &error);
    HttpServer *server = fd >= 0 ? http_server_new (fd, NULL, &handler, NULL, &error) : NULL;
    if (!server)
        return fprintf (stderr, "http-bench: %s\n", error->message), 1;
    loop = g_main_loop_new (NULL, FALSE);
    const char *get = "GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
    const char *post = "POST /bad HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nContent-Type: "
                       "application/json\r\nContent-Length: 20\r\n\r\n"
                       "{\"model\":1234567890}";
    const char *stream = "GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    measure (port, "GET", get, 1, n, FALSE);
    measure (port, "GET", get, 32, n, FALSE);
    measure (port, "POST, refused", post, 1, n, FALSE);
    measure (port, "POST, refused", post, 32, n, FALSE);
    measure (port, "event, paced", stream, 1, MIN (n / 500, 200), TRUE);
    measure (port, "event, paced", stream, 32, n / 4, TRUE);
    measure (port, "event, paced", stream, 256, n, TRUE);
    http_server_free (server);
    g_main_loop_unref (loop);
    return 0;
}
