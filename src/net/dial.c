/* dial.c: see dial.h. */
#include "net/dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

G_DEFINE_QUARK (net - error - quark, net_error)

static gboolean
fail (GError **error, int reason, const char *doing)
{
    int code = reason == ECONNREFUSED ? NET_ERROR_REFUSED
               : reason == ETIMEDOUT  ? NET_ERROR_TIMED_OUT
                                      : NET_ERROR_FAILED;
    g_set_error (error, NET_ERROR, code, "%s: %s", doing, g_strerror (reason));
    return FALSE;
}

static gboolean
wait_for (int fd, short events, gint64 deadline_us, GError **error)
{
    for (;;) {
        gint64 left_us = deadline_us - g_get_monotonic_time ();
        struct pollfd one = { .fd = fd, .events = events };
        int n = left_us <= 0 ? 0 : poll (&one, 1, (left_us + 999) / 1000);
        if (n > 0)
            return TRUE;
        if (n == 0) {
            g_set_error_literal (error, NET_ERROR, NET_ERROR_TIMED_OUT, "no answer in time");
            return FALSE;
        }
        if (errno != EINTR)
            return fail (error, errno, "poll");
    }
}

static int
connect_one (const struct addrinfo *to, gint64 deadline_us, GError **error)
{
    int fd = socket (to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, reason = 0;
    socklen_t length = sizeof reason;
    if (fd < 0)
        return fail (error, errno, "socket"), -1;
    if (connect (fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS) {
        fail (error, errno, "cannot connect");
    } else if (wait_for (fd, POLLOUT, deadline_us, error)) {
        getsockopt (fd, SOL_SOCKET, SO_ERROR, &reason, &length);
        if (reason == 0) {
            setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return fd;
        }
        fail (error, reason, "cannot connect");
    }
    close (fd);
    return -1;
}

int
dial_connect (const char *host, guint16 port, gint64 deadline_us, GError **error)
{
    const char *name = strcmp (host, "localhost") == 0 ? "127.0.0.1" : host;
    g_autofree char *service = g_strdup_printf ("%u", port);
    struct addrinfo wanted = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV }, *all = NULL;
    int problem = getaddrinfo (name, service, &wanted, &all);
    if (problem == EAI_NONAME) {
        wanted.ai_flags = AI_NUMERICSERV;
        problem = getaddrinfo (name, service, &wanted, &all);
    }
    if (problem != 0) {
        g_set_error (error, NET_ERROR, NET_ERROR_HOST_NOT_FOUND, "cannot find %s: %s", host, gai_strerror (problem));
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *to = all; to && fd < 0; to = to->ai_next) {
        g_clear_error (error); /* the last address's reason is told */
        fd = connect_one (to, deadline_us, error);
    }
    freeaddrinfo (all);
    return fd;
}

gboolean
dial_send (int fd, const char *bytes, gsize length, gint64 deadline_us, GError **error)
{
    while (length > 0) {
        ssize_t n = send (fd, bytes, length, MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            length -= n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return fail (error, errno, "cannot send");
        } else if (!wait_for (fd, POLLOUT, deadline_us, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

gssize
dial_receive (int fd, char *bytes, gsize room, gint64 deadline_us, GError **error)
{
    for (;;) {
        ssize_t n = recv (fd, bytes, room, 0);
        if (n >= 0)
            return n;
        if (errno != EAGAIN && errno != EINTR)
            return fail (error, errno, "cannot receive"), -1;
        if (!wait_for (fd, POLLIN, deadline_us, error))
            return -1;
    }
}

guint
dial_status (const char *answer)
{
    if (strncmp (answer, "HTTP/1.", 7) != 0 || !g_ascii_isdigit (answer[7]) || answer[8] != ' ')
        return 0;
    guint status = 0;
    for (const char *at = answer + 9; at < answer + 12; at++) {
        if (!g_ascii_isdigit (*at))
            return 0;
        status = status * 10 + (*at - '0');
    }
    return status;
}

char *
dial_authority (const char *host, guint16 port)
{
    return g_strdup_printf (strchr (host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}
