/* outlet.c: see outlet.h. */
#include "net/outlet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define KEEP_BUFFER (64 * 1024) /* a buffer that grew beyond it is given back when it is empty */
#define MAX_PIECES  8

void
outlet_clear (Outlet *outlet)
{
    g_clear_pointer (&outlet->kept, g_byte_array_unref);
    outlet->start = 0;
}

gsize
outlet_unsent (const Outlet *outlet)
{
    return outlet->kept ? outlet->kept->len - outlet->start : 0;
}

void
outlet_keep (Outlet *outlet, const void *bytes, gsize length)
{
    if (!outlet->kept)
        outlet->kept = g_byte_array_new ();
    g_byte_array_append (outlet->kept, bytes, length);
}

/* How many bytes went; -1 when the connection is broken. */
static gssize
send_pieces (int fd, struct iovec *pieces, guint n_pieces)
{
    struct msghdr message = { .msg_iov = pieces, .msg_iovlen = n_pieces };
    ssize_t n;
    do
        n = sendmsg (fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN ? 0 : -1;
}

gboolean
outlet_send (Outlet *outlet, int fd, const struct iovec *pieces, guint n_pieces)
{
    struct iovec copy[MAX_PIECES];
    g_assert (n_pieces <= MAX_PIECES);
    memcpy (copy, pieces, n_pieces * sizeof *pieces);
    gssize sent = outlet_unsent (outlet) > 0 ? 0 : send_pieces (fd, copy, n_pieces);
    if (sent < 0) {
        outlet_clear (outlet);
        return FALSE;
    }
    for (guint i = 0; i < n_pieces; i++) {
        gsize skip = MIN ((gsize) sent, pieces[i].iov_len);
        if (skip < pieces[i].iov_len)
            outlet_keep (outlet, (const char *) pieces[i].iov_base + skip, pieces[i].iov_len - skip);
        sent -= skip;
    }
    return TRUE;
}

gboolean
outlet_flush (Outlet *outlet, int fd)
{
    while (outlet_unsent (outlet) > 0) {
        struct iovec rest = { outlet->kept->data + outlet->start, outlet_unsent (outlet) };
        gssize n = send_pieces (fd, &rest, 1);
        if (n < 0) {
            outlet_clear (outlet);
            return FALSE;
        }
        if (n == 0)
            break;
        outlet->start += n;
    }
    gsize unsent = outlet_unsent (outlet);
    if (unsent == 0 && outlet->kept && outlet->kept->len > KEEP_BUFFER) {
        outlet_clear (outlet);
    } else if (outlet->start > unsent) { /* so that every byte is moved at most once on average */
        g_byte_array_remove_range (outlet->kept, 0, outlet->start);
        outlet->start = 0;
    }
    return TRUE;
}
