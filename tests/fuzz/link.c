/* link.c: any bytes from the other end of a link, in pieces; whole frames come out, or the link is called bad.
 *
 * The first byte is the size of the pieces (0: all at once), so that a frame is cut at every point. */
#include "fuzz.h"

#include "link/link.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Hands out all frames that are there; FALSE when the link has ended or is bad. */
static gboolean
read_frames (Link *link)
{
    for (;;) {
        g_autoptr (GError) error = NULL;
        LinkFrame frame;
        switch (link_read (link, &frame, &error)) {
        case LINK_GOT_FRAME:
            g_assert_nonnull (link_type_name (frame.type));
            g_assert_cmpuint (frame.length, <=, LINK_MAX_PAYLOAD);
            g_assert_cmpint (frame.fd, ==, -1);
            for (gsize i = 0; i < frame.length; i++)
                if (*(const volatile char *) (frame.payload + i) == 'x')
                    break; /* touched: the checker sees a payload that is not there */
            break;
        case LINK_WANTS_MORE:
            g_assert_no_error (error);
            return TRUE;
        case LINK_ENDED:
            return FALSE;
        case LINK_BAD:
            g_assert_error (error, LINK_ERROR, LINK_ERROR_PROTOCOL);
            return FALSE;
        }
    }
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    int ends[2];
    if (size == 0)
        return 0;
    g_assert_no_errno (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    g_autoptr (Link) link = link_new (ends[0]);
    gsize piece = data[0] ? data[0] : size;
    gboolean lives = TRUE;
    for (gsize at = 1; at < size && lives; at += MIN (piece, size - at)) {
        gssize sent = send (ends[1], data + at, MIN (piece, size - at), MSG_NOSIGNAL);
        g_assert_cmpint (sent, ==, MIN (piece, size - at));
        lives = read_frames (link);
    }
    close (ends[1]);
    if (lives)
        g_assert_false (read_frames (link)); /* an end in mid-frame is an end, too */
    return 0;
}
