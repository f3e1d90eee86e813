/* Blocking steps of a small client, each bounded by one deadline on g_get_monotonic_time's clock: connect, send, receive.  For probe.c and
 * the handshake of ws_connect, in programs that have nothing else to do meanwhile.  Errors are NET_ERROR. */
#pragma once

#include "net/error.h"

/* A connected, non-blocking socket, or -1.  @host is a name or an address; all its addresses are tried.  Names are looked up by
 * getaddrinfo, which keeps to no deadline, but only if @host is no address and not "localhost". */
int dial_connect (const char *host, guint16 port, gint64 deadline_us, GError **error);

gboolean dial_send (int fd, const char *bytes, gsize length, gint64 deadline_us, GError **error);

/* At least one byte, 0 at the end, -1 and @error otherwise. */
gssize dial_receive (int fd, char *bytes, gsize room, gint64 deadline_us, GError **error);

/* The status of an answer that begins "HTTP/1.x NNN"; 0 when it begins otherwise. */
guint dial_status (const char *answer);

/* "host:port" for a Host field, with brackets round an IPv6 address; the caller frees. */
char *dial_authority (const char *host, guint16 port);
