/* ws.c: any bytes from a WebSocket client, in pieces; every message is whole UTF-8 below the limit, and the end is told exactly once.
 *
 * The first byte is the size of the pieces (0: all at once). */
#include "fuzz.h"

#include "net/ws.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_MESSAGE 4096
#define MAX_TURNS   10000 /* of the loop, at the end: more is a spin */

typedef struct {
    guint n_closed;
} Seen;

static void
on_message (Ws *ws, const char *text, gsize length, gpointer data)
{
    Seen *seen = data;
    g_assert_cmpuint (seen->n_closed, ==, 0);
    g_assert_cmpuint (length, <=, MAX_MESSAGE);
    for (gsize at = 0; at < length;) { /* NUL is a character like others */
        gsize run = strnlen (text + at, length - at);
        g_assert_true (g_utf8_validate_len (text + at, run, NULL));
        at += run + 1;
    }
    ws_send (ws, text, length);
}

static void
on_closed (Ws *ws, guint16 code, const char *reason, gpointer data)
{
    Seen *seen = data;
    seen->n_closed++;
}

static void
turn (void)
{
    while (g_main_context_iteration (NULL, FALSE))
        ;
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    static const WsHandler handler = { .message = on_message, .closed = on_closed };
    static const WsOptions options = { .max_message = MAX_MESSAGE };
    int ends[2];
    if (size == 0)
        return 0;
    g_assert_no_errno (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
    Seen seen = { 0 };
    ws_new_server (ends[0], NULL, 0, NULL, NULL, &options, &handler, &seen);
    gsize piece = data[0] ? data[0] : size;
    for (gsize at = 1; at < size && seen.n_closed == 0; at += MIN (piece, size - at)) {
        if (send (ends[1], data + at, MIN (piece, size - at), MSG_NOSIGNAL) < 0)
            break; /* it reads no more, or the socket is full of what it has not read */
        turn ();
        char answer[4096];
        while (recv (ends[1], answer, sizeof answer, MSG_DONTWAIT) > 0)
            turn ();
    }
    close (ends[1]);
    for (guint i = 0; seen.n_closed == 0; i++) {
        g_assert_cmpuint (i, <, MAX_TURNS);
        g_main_context_iteration (NULL, TRUE);
    }
    turn ();
    g_assert_cmpuint (seen.n_closed, ==, 1);
    return 0;
}
