/* connection.c: how long a connection may wait, and when its peer is gone or ready for more.
 *
 * MHD is asked for none of it: its timer knows only silence, and it does not look at a connection that is suspended.  Here each connection
 * stands in one queue (Wait), in order of deadline, with one ready time of the server's source for all of them; and each is in our own epoll
 * set, once, for as long as it lives. */
#include "net/http-parts.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static void
arm (HttpServer *server, gint64 deadline_us)
{
    if (server->armed_us >= 0 && server->armed_us <= deadline_us)
        return; /* it will be found when that one is due */
    server->armed_us = deadline_us;
    g_source_set_ready_time (server->source, deadline_us);
}

void
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

/* Ends the connection at TCP level.  MHD sees that in its epoll set, or when it goes on with a suspended request, and cleans up. */
void
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
            request_refuse (request, 408, "the body stopped coming");
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

void
connections_expire (HttpServer *server)
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
    g_source_set_ready_time (server->source, next);
}

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

/* Whose peer has shut down its writing side, or all of it; whose socket has room again.  Nothing is freed in here. */
void
connections_serve_watches (HttpServer *server)
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

void
connection_watch (Connection *connection, gboolean for_room)
{
    struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT | (for_room ? EPOLLOUT : 0),
                                 .data.ptr = connection };
    connection->wants_out = for_room;
    epoll_ctl (connection->server->watch_fd, EPOLL_CTL_MOD, connection->fd, &event);
}
