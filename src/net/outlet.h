/* Bytes on their way into a non-blocking socket: sent at once as far as the socket takes them, kept in order otherwise.  The ceiling is the
 * owner's: outlet_unsent says how much is kept. */
#pragma once

#include <glib.h>
#include <sys/uio.h>

typedef struct {
    GByteArray *kept; /* from @start on not yet sent; NULL when nothing ever was */
    gsize start;
} Outlet;

void outlet_clear (Outlet *outlet); /* forgets what is kept */

gsize outlet_unsent (const Outlet *outlet);

/* Keeps @length bytes behind the others, without sending. */
void outlet_keep (Outlet *outlet, const void *bytes, gsize length);

/* Sends the pieces (at most 8), or as much of them as goes, and keeps the rest.  FALSE when the connection is broken; nothing is kept then. */
gboolean outlet_send (Outlet *outlet, int fd, const struct iovec *pieces, guint n_pieces);

/* Sends what is kept, as far as it goes: to be called when the socket is writable.  FALSE when the connection is broken. */
gboolean outlet_flush (Outlet *outlet, int fd);
