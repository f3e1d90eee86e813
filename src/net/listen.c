/* listen.c: a listening socket, whose failure has a sentence of its own (http.h). */
#include "net/http.h"

#include <errno.h>
#include <gio/gio.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024

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
