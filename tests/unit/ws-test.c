/* net/ws: a Ws on one end of a socket, bare bytes or another Ws on the other.  What a hostile peer may send stands in tables; everything that
 * may arrive in pieces is fed whole, byte by byte and cut at every point. */
#include "net/probe.h"
#include "net/ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a Ws and what it told ---------------------------------------------------------------------------------------------------- */

typedef struct {
    Ws *ws;        /* NULL once it is closed */
    GString *told; /* "message hello;closed 1000 bye;" */
    guint n_closed, n_messages, n_drained, n_released;
    gsize message_length;
    gboolean echo, close_in_message;
} End;

static void
on_message (Ws *ws, const char *text, gsize length, gpointer data)
{
    End *end = data;
    end->n_messages++;
    end->message_length = length;
    if (length < 200)
        g_string_append_len (g_string_append_len (g_string_append (end->told, "message "), text, length), ";", 1);
    if (end->echo)
        ws_send (ws, text, length);
    if (end->close_in_message)
        ws_close (ws, 1000, "enough");
}

static void
on_closed (Ws *ws, guint16 code, const char *reason, gpointer data)
{
    End *end = data;
    g_string_append_printf (end->told, "closed %u %s;", code, reason);
    end->n_closed++;
    end->ws = NULL;
    ws_send (ws, "late", 4); /* does nothing, and does no harm */
    ws_close (ws, 1000, NULL);
}

static void
on_drained (Ws *ws, gpointer data)
{
    ((End *) data)->n_drained++;
}

static const WsHandler handler = { on_message, on_closed, on_drained };

static void
end_clear (End *end)
{
    g_string_free (end->told, TRUE);
}

/* ---- the bare peer ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    int fd; /* -1: dropped */
    GByteArray *in;
    gboolean ended, deaf;
} Peer;

static void
peer_read (Peer *peer)
{
    guint8 bytes[65536];
    while (peer->fd >= 0 && !peer->ended && !peer->deaf) {
        ssize_t n = recv (peer->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            peer->ended = TRUE;
        else
            g_byte_array_append (peer->in, bytes, n);
    }
}

static void
peer_clear (Peer *peer)
{
    if (peer->fd >= 0)
        close (peer->fd);
    g_byte_array_unref (peer->in);
}

typedef struct {
    End end;
    Peer peer;
    int fd; /* the Ws's */
} Pair;

static void
release (gpointer data)
{
    Pair *pair = data;
    pair->end.n_released++;
    close (pair->fd);
}

static Pair *
pair_new (const WsOptions *options, const void *extra, gsize extra_length)
{
    Pair *pair = g_new0 (Pair, 1);
    int fds[2];
    g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    pair->fd = fds[0];
    pair->peer = (Peer){ .fd = fds[1], .in = g_byte_array_new () };
    pair->end.told = g_string_new (NULL);
    pair->end.ws = ws_new_server (fds[0], extra, extra_length, release, pair, options, &handler, &pair->end);
    return pair;
}

static void
turn (Peer *peer)
{
    gboolean busy = g_main_context_iteration (NULL, FALSE);
    if (peer)
        peer_read (peer);
    if (!busy)
        g_usleep (100);
}

/* Goes on until @condition holds; that it comes to hold at all is the assertion. */
#define UNTIL(peer, condition)                                                     \
    do {                                                                           \
        gint64 patience = g_get_monotonic_time () + 30 * G_USEC_PER_SEC;           \
        while (!(condition)) {                                                     \
            turn (peer);                                                           \
            if (g_get_monotonic_time () > patience)                                \
                g_error ("%s:%d: never came: %s", __FILE__, __LINE__, #condition); \
        }                                                                          \
    } while (FALSE)

/* Ends the pair: the peer goes if it has not. */
static void
pair_free (Pair *pair)
{
    if (pair->peer.fd >= 0)
        shutdown (pair->peer.fd, SHUT_RDWR);
    UNTIL (NULL, pair->end.n_closed == 1);
    g_assert_cmpuint (pair->end.n_released, ==, 1);
    end_clear (&pair->end);
    peer_clear (&pair->peer);
    g_free (pair);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Pair, pair_free)

static void
peer_send (Pair *pair, const void *bytes, gsize length)
{
    const guint8 *at = bytes;
    while (length > 0) {
        ssize_t n = send (pair->peer.fd, at, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            length -= n;
        } else if (errno == EAGAIN) {
            turn (&pair->peer);
        } else {
            return; /* the Ws has closed: the test looks at what it said */
        }
    }
}

/* A masked frame as a client sends it. */
static void
add_frame (GByteArray *out, guint8 first, const void *payload, gsize length)
{
    static const guint8 mask[4] = { 0x12, 0x34, 0x56, 0x78 };
    guint8 head[14] = { first };
    gsize n = 2;
    if (length < 126) {
        head[1] = 0x80 | length;
    } else if (length < 65536) {
        head[1] = 0x80 | 126;
        head[2] = length >> 8;
        head[3] = length;
        n = 4;
    } else {
        head[1] = 0x80 | 127;
        for (int i = 0; i < 8; i++)
            head[2 + i] = (guint64) length >> (56 - 8 * i);
        n = 10;
    }
    memcpy (head + n, mask, 4);
    g_byte_array_append (out, head, n + 4);
    guint had = out->len;
    g_byte_array_set_size (out, had + length);
    for (gsize i = 0; i < length; i++)
        out->data[had + i] = ((const guint8 *) payload)[i] ^ mask[i % 4];
}

#define FIN   0x80
#define TEXT  0x1
#define BIN   0x2
#define CLOSE 0x8
#define PING  0x9
#define PONG  0xA

/* ---- good frames -------------------------------------------------------------------------------------------------------------- */

static void
test_echo (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    g_autoptr (GByteArray) frames = g_byte_array_new ();
    pair->end.echo = TRUE;
    add_frame (frames, FIN | TEXT, "hello", 5);
    peer_send (pair, frames->data, frames->len);
    UNTIL (&pair->peer, pair->peer.in->len == 7);
    g_assert_cmpmem (pair->peer.in->data, 7, "\x81\x05hello", 7);
}

/* One conversation: fragments with a ping inside, a binary message, an empty one, one with a NUL, a close. */
static GByteArray *
conversation (void)
{
    GByteArray *frames = g_byte_array_new ();
    add_frame (frames, TEXT, "f\xC3", 2); /* a character cut in two */
    add_frame (frames, FIN | PING, "hey", 3);
    add_frame (frames, 0, NULL, 0);
    add_frame (frames, FIN, "\xBCr", 2);
    add_frame (frames, FIN | BIN, "binary", 6);
    add_frame (frames, FIN | TEXT, NULL, 0);
    add_frame (frames, FIN | PONG, NULL, 0);
    add_frame (frames, FIN | TEXT, "a\0b", 3);
    add_frame (frames, FIN | CLOSE,
               "\x03\xE8"
               "bye",
               5);
    return frames;
}

static void
assert_conversed (Pair *pair)
{
    static const char answers[] = "\x8A\x03hey\x88\x05\x03\xE8"
                                  "bye";
    UNTIL (&pair->peer, pair->end.n_closed == 1 && pair->peer.ended);
    g_assert_cmpmem (pair->end.told->str, pair->end.told->len,
                     "message f\xC3\xBCr;message binary;message ;message a\0b;closed 1000 bye;",
                     sizeof "message f\xC3\xBCr;message binary;message ;message a\0b;closed 1000 bye;" - 1);
    g_assert_cmpmem (pair->peer.in->data, pair->peer.in->len, answers, sizeof answers - 1);
}

static void
test_conversation_whole (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    g_autoptr (GByteArray) frames = conversation ();
    peer_send (pair, frames->data, frames->len);
    assert_conversed (pair);
}

static void
test_conversation_as_extra (void)
{
    g_autoptr (GByteArray) frames = conversation ();
    g_autoptr (Pair) pair = pair_new (NULL, frames->data, frames->len);
    g_assert_cmpuint (pair->end.n_messages, ==, 0); /* nothing is told before ws_new_server has returned */
    assert_conversed (pair);
}

static void
test_conversation_cut_everywhere (void)
{
    g_autoptr (GByteArray) frames = conversation ();
    for (gsize cut = 1; cut < frames->len; cut++) {
        /* The first part as the bytes that were read too far, the second from the socket. */
        g_autoptr (Pair) pair = pair_new (NULL, frames->data, cut);
        for (int i = 0; i < 3; i++)
            turn (&pair->peer);
        peer_send (pair, frames->data + cut, frames->len - cut);
        assert_conversed (pair);
    }
}

static void
test_conversation_byte_by_byte (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    g_autoptr (GByteArray) frames = conversation ();
    for (gsize i = 0; i < frames->len; i++) {
        peer_send (pair, frames->data + i, 1);
        turn (&pair->peer);
    }
    assert_conversed (pair);
}

static void
test_large_messages (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    gsize length = 20 * 1024 * 1024;
    g_autofree char *big = g_malloc (length);
    memset (big, 'x', length);
    g_autoptr (GByteArray) frames = g_byte_array_new ();
    add_frame (frames, FIN | TEXT, big, length);
    pair->end.echo = TRUE;
    peer_send (pair, frames->data, frames->len);
    UNTIL (&pair->peer, pair->end.n_messages == 1);
    g_assert_cmpuint (pair->end.message_length, ==, length);
    UNTIL (&pair->peer, pair->peer.in->len == length + 10);
    g_assert_cmpuint (pair->end.n_drained, ==, 1); /* it was over the high mark, and fell below it once */
    g_assert_cmpuint (ws_unsent (pair->end.ws), ==, 0);
}

/* ---- bad frames ------------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    const char *bytes;
    gsize length;
    guint16 code; /* in the close frame that is sent, and told */
} faults[] = {
    { "unmasked", "\x81\x02hi", 4, 1002 },
    { "invalid-utf8", "\x81\x82\0\0\0\0\xC3\x28", 8, 1007 },
    { "utf8-cut-at-the-end", "\x81\x81\0\0\0\0\xC3", 7, 1007 },
    { "utf8-surrogate", "\x81\x83\0\0\0\0\xED\xA0\x80", 9, 1007 },
    { "binary-that-is-no-text", "\x82\x81\0\0\0\0\xFF", 7, 1007 },
    { "binary-nul-then-bad", "\x82\x83\0\0\0\0\0\xC3\x28", 9, 1007 },
    { "too-big-in-one", "\x81\xFE\x03\xE9\0\0\0\0x", 9, 1009 }, /* at the first byte, not the last */
    { "too-big-64-bit", "\x81\xFF\0\0\0\1\0\0\0\0\0\0\0\0x", 15, 1009 },
    { "too-big-in-two", "\x01\xFE\x03\xE8\0\0\0\0", 8, 0 }, /* 1000 bytes: allowed; the next row adds to them */
    { "length-with-the-top-bit", "\x81\xFF\x80\0\0\0\0\0\0\0\0\0\0\0", 14, 1002 },
    { "reserved-bit", "\xC1\x81\0\0\0\0x", 7, 1002 },
    { "reserved-opcode", "\x83\x80\0\0\0\0", 6, 1002 },
    { "reserved-control", "\x8B\x80\0\0\0\0", 6, 1002 },
    { "continuation-of-nothing", "\x80\x81\0\0\0\0x", 7, 1002 },
    { "text-inside-text", "\x01\x81\0\0\0\0x\x81\x81\0\0\0\0y", 14, 1002 },
    { "fragmented-ping", "\x09\x80\0\0\0\0", 6, 1002 },
    { "long-ping", "\x89\xFE\0\x7E\0\0\0\0", 8, 1002 },
    { "close-with-1005", "\x88\x82\0\0\0\0\x03\xED", 8, 1002 },
    { "close-reason-not-utf8", "\x88\x83\0\0\0\0\x03\xE8\xFF", 9, 1007 },
    { "http", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, 1002 },
};

static void
test_fault (gconstpointer data)
{
    gsize row = GPOINTER_TO_SIZE (data);
    WsOptions options = { .max_message = 1000 };
    g_autoptr (Pair) pair = pair_new (&options, NULL, 0);
    peer_send (pair, faults[row].bytes, faults[row].length);
    if (faults[row].code == 0) {
        g_autoptr (GByteArray) rest = g_byte_array_new ();
        g_autofree char *payload = g_strnfill (1000, 'x');
        for (gsize i = 0; i < 1000; i++)
            g_byte_array_append (rest, (const guint8 *) payload + i, 1); /* masked with zeros */
        add_frame (rest, FIN, "y", 1);
        peer_send (pair, rest->data, rest->len);
    }
    guint16 code = faults[row].code ? faults[row].code : 1009;
    UNTIL (&pair->peer, pair->peer.in->len >= 4);
    g_assert_cmphex (pair->peer.in->data[0], ==, 0x88);
    g_assert_cmpuint (pair->peer.in->data[2] << 8 | pair->peer.in->data[3], ==, code);
    /* What still comes does no harm. */
    g_autoptr (GByteArray) more = g_byte_array_new ();
    add_frame (more, FIN | TEXT, "more", 4);
    peer_send (pair, more->data, more->len);
    shutdown (pair->peer.fd, SHUT_WR);
    UNTIL (&pair->peer, pair->end.n_closed == 1);
    g_autofree char *told = g_strdup_printf ("closed %u ;", code);
    g_assert_cmpstr (pair->end.told->str, ==, told);
    g_assert_cmpuint (pair->end.n_messages, ==, 0);
}

/* Bytes by chance, and good frames with a bit turned over: it may close, it must not crash, hang or say anything twice. */
static void
test_garbage (void)
{
    g_autoptr (GByteArray) frames = conversation ();
    for (guint round = 0; round < 300; round++) {
        WsOptions options = { .max_message = 4096 };
        g_autoptr (Pair) pair = pair_new (&options, NULL, 0);
        pair->end.echo = round % 2;
        g_autoptr (GByteArray) bytes = g_byte_array_new ();
        if (round % 3 == 0)
            for (guint i = 0; i < 200; i++)
                g_byte_array_append (bytes, &(guint8){ g_test_rand_int_range (0, 256) }, 1);
        else
            g_byte_array_append (bytes, frames->data, frames->len);
        if (round % 3 == 1)
            bytes->data[g_test_rand_int_range (0, bytes->len)] ^= 1 << g_test_rand_int_range (0, 8);
        for (gsize at = 0; at < bytes->len;) {
            gsize n = MIN ((gsize) g_test_rand_int_range (1, 40), bytes->len - at);
            peer_send (pair, bytes->data + at, n);
            at += n;
            turn (&pair->peer);
        }
    }
}

/* ---- ends ---------------------------------------------------------------------------------------------------------------------- */

static void
test_drop (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    close (pair->peer.fd);
    pair->peer.fd = -1;
    UNTIL (NULL, pair->end.n_closed == 1);
    g_assert_cmpstr (pair->end.told->str, ==, "closed 1006 ;");
}

static void
test_close_without_a_code (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    peer_send (pair, "\x88\x80\0\0\0\0", 6);
    UNTIL (&pair->peer, pair->end.n_closed == 1 && pair->peer.ended);
    g_assert_cmpstr (pair->end.told->str, ==, "closed 1005 ;");
    g_assert_cmpmem (pair->peer.in->data, pair->peer.in->len, "\x88\x00", 2);
}

static void
test_we_close (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    ws_close (pair->end.ws, 4000, "go away");
    ws_close (pair->end.ws, 4001, "twice");
    g_assert_true (ws_send (pair->end.ws, "late", 4));
    UNTIL (&pair->peer, pair->peer.in->len == 11);
    g_assert_cmpmem (pair->peer.in->data, 11, "\x88\x09\x0F\xA0go away", 11);
    g_autoptr (GByteArray) frames = g_byte_array_new ();
    add_frame (frames, FIN | TEXT, "crossed", 7); /* on its way when the close came: not told any more */
    add_frame (frames, FIN | CLOSE, "\x0F\xA0", 2);
    peer_send (pair, frames->data, frames->len);
    UNTIL (&pair->peer, pair->end.n_closed == 1 && pair->peer.ended);
    g_assert_cmpstr (pair->end.told->str, ==, "closed 4000 go away;");
}

static void
test_we_close_and_nobody_answers (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    ws_close (pair->end.ws, 1001, NULL);
    g_assert_cmpuint (pair->end.n_closed, ==, 0);
    UNTIL (&pair->peer, pair->end.n_closed == 1); /* the peer is there and silent */
    g_assert_cmpstr (pair->end.told->str, ==, "closed 1001 ;");
}

static void
test_long_reason_is_cut_between_characters (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    g_autoptr (GString) reason = g_string_new ("x");
    for (int i = 0; i < 100; i++)
        g_string_append (reason, "\xC3\xA4");
    ws_close (pair->end.ws, 1008, reason->str);
    UNTIL (&pair->peer, pair->peer.in->len == 4 + 123);
    g_assert_true (g_utf8_validate ((const char *) pair->peer.in->data + 4, 123, NULL));
}

static void
test_close_inside_message (void)
{
    g_autoptr (Pair) pair = pair_new (NULL, NULL, 0);
    pair->end.close_in_message = TRUE;
    g_autoptr (GByteArray) frames = g_byte_array_new ();
    add_frame (frames, FIN | TEXT, "one", 3);
    add_frame (frames, FIN | TEXT, "two", 3);
    g_byte_array_append (frames, (const guint8 *) "\x83\x00", 2); /* and a fault behind it */
    peer_send (pair, frames->data, frames->len);
    UNTIL (&pair->peer, pair->peer.in->len == 10);
    shutdown (pair->peer.fd, SHUT_WR);
    UNTIL (&pair->peer, pair->end.n_closed == 1);
    g_assert_cmpstr (pair->end.told->str, ==, "message one;closed 1000 enough;");
}

/* ---- slow readers ---------------------------------------------------------------------------------------------------------------- */

static void
test_high_mark_and_drain (void)
{
    WsOptions options = { .high_bytes = 100 * 1024, .max_unsent = 64 * 1024 * 1024 };
    g_autoptr (Pair) pair = pair_new (&options, NULL, 0);
    g_autofree char *block = g_strnfill (10000, 'x');
    pair->peer.deaf = TRUE;
    guint sent = 0;
    do
        sent++;
    while (ws_send (pair->end.ws, block, 10000));
    g_assert_cmpuint (ws_unsent (pair->end.ws), >, options.high_bytes);
    g_assert_cmpuint (pair->end.n_drained, ==, 0);
    pair->peer.deaf = FALSE;
    UNTIL (&pair->peer, pair->end.n_drained == 1);
    UNTIL (&pair->peer, pair->peer.in->len == sent * (10000 + 4));
}

static void
test_reader_that_never_reads_is_cut_off (void)
{
    WsOptions options = { .high_bytes = 10 * 1024, .max_unsent = 100 * 1024 };
    g_autoptr (Pair) pair = pair_new (&options, NULL, 0);
    g_autofree char *block = g_strnfill (10000, 'x');
    pair->peer.deaf = TRUE;
    for (guint i = 0; i < 1000; i++)
        ws_send (pair->end.ws, block, 10000);
    g_assert_cmpuint (ws_unsent (pair->end.ws), <=, options.max_unsent + 10014);
    g_assert_cmpuint (pair->end.n_closed, ==, 0); /* not from inside ws_send */
    UNTIL (NULL, pair->end.n_closed == 1);
    g_assert_cmpstr (pair->end.told->str, ==, "closed 1006 ;");
}

static void
test_pings_that_nobody_reads_are_cut_off (void)
{
    WsOptions options = { .max_unsent = 50 * 1024 };
    g_autoptr (Pair) pair = pair_new (&options, NULL, 0);
    g_autoptr (GByteArray) pings = g_byte_array_new ();
    g_autofree char *payload = g_strnfill (125, 'p');
    for (guint i = 0; i < 20000; i++)
        add_frame (pings, FIN | PING, payload, 125);
    pair->peer.deaf = TRUE;
    peer_send (pair, pings->data, pings->len);
    UNTIL (&pair->peer, pair->end.n_closed == 1);
    g_assert_cmpstr (pair->end.told->str, ==, "closed 1006 ;");
}

/* ---- the client ------------------------------------------------------------------------------------------------------------------ */

typedef struct {
    int listen_fd;
    guint16 port;
    const char *answer; /* printf format with the accept value, or NULL: silence */
    const char *accept; /* in place of the right one */
    gboolean closes;    /* after the answer */
    int fd;             /* of the accepted connection */
} Scripted;

static gpointer
scripted_run (gpointer data)
{
    Scripted *scripted = data;
    scripted->fd = accept (scripted->listen_fd, NULL, NULL);
    GString *head = g_string_new (NULL);
    while (!strstr (head->str, "\r\n\r\n")) {
        char bytes[1024];
        ssize_t n = recv (scripted->fd, bytes, sizeof bytes, 0);
        if (n <= 0)
            break;
        g_string_append_len (head, bytes, n);
    }
    const char *key = strstr (head->str, "Sec-WebSocket-Key: ");
    g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA1);
    g_autofree char *accept = NULL;
    if (key) {
        g_checksum_update (sum, (const guchar *) key + strlen ("Sec-WebSocket-Key: "), 24);
        g_checksum_update (sum, (const guchar *) "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", -1);
        guint8 digest[20];
        gsize length = sizeof digest;
        g_checksum_get_digest (sum, digest, &length);
        accept = g_base64_encode (digest, length);
    }
    if (scripted->answer) {
        g_auto (GStrv) parts = g_strsplit (scripted->answer, "ACCEPT", -1);
        g_autofree char *text = g_strjoinv (scripted->accept ? scripted->accept : accept ? accept : "", parts);
        for (const char *at = text; *at; at++) /* byte by byte */
            send (scripted->fd, at, 1, MSG_NOSIGNAL);
    }
    if (scripted->closes)
        shutdown (scripted->fd, SHUT_WR);
    g_string_free (head, TRUE);
    return NULL;
}

static GThread *
scripted_start (Scripted *scripted)
{
    struct sockaddr_in here = { .sin_family = AF_INET };
    socklen_t length = sizeof here;
    here.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
    scripted->listen_fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint (bind (scripted->listen_fd, (struct sockaddr *) &here, sizeof here), ==, 0);
    g_assert_cmpint (listen (scripted->listen_fd, 5), ==, 0);
    getsockname (scripted->listen_fd, (struct sockaddr *) &here, &length);
    scripted->port = ntohs (here.sin_port);
    return g_thread_new ("scripted", scripted_run, scripted);
}

#define GOOD                                                                                                          \
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: Upgrade\r\nsec-websocket-accept:  ACCEPT " \
    "\r\n\r\n"

static void
test_client_and_server (void)
{
    Scripted scripted = { .answer = GOOD };
    GThread *thread = scripted_start (&scripted);
    End client = { .told = g_string_new (NULL) }, server = { .told = g_string_new (NULL), .echo = TRUE };
    g_autoptr (GError) error = NULL;
    client.ws = ws_connect ("localhost", scripted.port, "/system", 10000, NULL, &handler, &client, &error);
    g_assert_no_error (error);
    g_thread_join (thread);
    server.ws = ws_new_server (scripted.fd, NULL, 0, NULL, NULL, NULL, &handler, &server);
    ws_send (client.ws, "hello", 5);
    ws_send (client.ws, "world", 5);
    UNTIL (NULL, client.n_messages == 2);
    g_autofree char *big = g_strnfill (3 * 1024 * 1024, 'x');
    ws_send (client.ws, big, 3 * 1024 * 1024);
    UNTIL (NULL, client.n_messages == 3);
    g_assert_cmpuint (client.message_length, ==, 3 * 1024 * 1024);
    ws_close (client.ws, 1000, "bye");
    UNTIL (NULL, client.n_closed && server.n_closed);
    g_assert_cmpstr (client.told->str, ==, "message hello;message world;closed 1000 bye;");
    g_assert_cmpstr (server.told->str, ==, "message hello;message world;closed 1000 bye;");
    end_clear (&client);
    end_clear (&server);
    close (scripted.listen_fd);
}

static const struct {
    const char *name, *answer, *accept, *message;
    int code;
} refusals[] = {
    { "404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", NULL, "404", NET_ERROR_FAILED },
    { "not-http", "SSH-2.0-OpenSSH_9.2\r\n\r\n", NULL, "not HTTP", NET_ERROR_FAILED },
    { "wrong-accept", GOOD, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "6455", NET_ERROR_FAILED },
    { "no-upgrade", "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", NULL, "6455", NET_ERROR_FAILED },
    { "extension",
      "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: "
      "permessage-deflate\r\n\r\n",
      NULL, "6455", NET_ERROR_FAILED },
    { "silence", NULL, NULL, "in time", NET_ERROR_TIMED_OUT },
};

static void
test_client_refused (gconstpointer data)
{
    gsize row = GPOINTER_TO_SIZE (data);
    Scripted scripted = { .answer = refusals[row].answer, .accept = refusals[row].accept };
    GThread *thread = scripted_start (&scripted);
    g_autoptr (GError) error = NULL;
    guint timeout_ms = refusals[row].answer ? 10000 : 50;
    g_assert_null (ws_connect ("127.0.0.1", scripted.port, "/x", timeout_ms, NULL, &handler, NULL, &error));
    g_assert_error (error, NET_ERROR, refusals[row].code);
    g_assert_nonnull (strstr (error->message, refusals[row].message));
    g_thread_join (thread);
    close (scripted.fd);
    close (scripted.listen_fd);
}

static void
test_nobody_listens (void)
{
    Scripted scripted = { 0 };
    GThread *thread = scripted_start (&scripted);
    shutdown (scripted.listen_fd, SHUT_RDWR);
    g_thread_join (thread);
    close (scripted.listen_fd);
    g_autoptr (GError) error = NULL;
    g_assert_null (ws_connect ("127.0.0.1", scripted.port, "/x", 1000, NULL, &handler, NULL, &error));
    g_assert_error (error, NET_ERROR, NET_ERROR_REFUSED);
    g_clear_error (&error);
    g_assert_null (probe_get ("127.0.0.1", scripted.port, "/x", 1000, &error));
    g_assert_error (error, NET_ERROR, NET_ERROR_REFUSED);
}

static const struct {
    const char *name, *answer, *body;
} probes[] = {
    { "good", "HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\n{\"lmstudio\":true}", "{\"lmstudio\":true}" },
    { "404", "HTTP/1.1 404 No\r\n\r\n{\"lmstudio\":true}", NULL },
    { "not-http", "hello", NULL },
    { "cut", "HTTP/1.1 200 OK\r\nContent-", NULL },
};

static void
test_probe (gconstpointer data)
{
    gsize row = GPOINTER_TO_SIZE (data);
    Scripted scripted = { .answer = probes[row].answer, .closes = TRUE };
    GThread *thread = scripted_start (&scripted);
    g_autoptr (GError) error = NULL;
    g_autofree char *body = probe_get ("127.0.0.1", scripted.port, "/lmstudio-greeting", 10000, &error);
    g_assert_cmpstr (body, ==, probes[row].body);
    if (!probes[row].body)
        g_assert_error (error, NET_ERROR, NET_ERROR_FAILED);
    g_thread_join (thread);
    close (scripted.fd);
    close (scripted.listen_fd);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/ws/echo", test_echo);
    g_test_add_func ("/ws/conversation/whole", test_conversation_whole);
    g_test_add_func ("/ws/conversation/extra", test_conversation_as_extra);
    g_test_add_func ("/ws/conversation/cut-everywhere", test_conversation_cut_everywhere);
    g_test_add_func ("/ws/conversation/byte-by-byte", test_conversation_byte_by_byte);
    g_test_add_func ("/ws/large", test_large_messages);
    for (gsize i = 0; i < G_N_ELEMENTS (faults); i++) {
        g_autofree char *name = g_strconcat ("/ws/fault/", faults[i].name, NULL);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_fault);
    }
    g_test_add_func ("/ws/garbage", test_garbage);
    g_test_add_func ("/ws/drop", test_drop);
    g_test_add_func ("/ws/close/without-a-code", test_close_without_a_code);
    g_test_add_func ("/ws/close/ours", test_we_close);
    g_test_add_func ("/ws/close/unanswered", test_we_close_and_nobody_answers);
    g_test_add_func ("/ws/close/long-reason", test_long_reason_is_cut_between_characters);
    g_test_add_func ("/ws/close/inside-message", test_close_inside_message);
    g_test_add_func ("/ws/slow/high-mark", test_high_mark_and_drain);
    g_test_add_func ("/ws/slow/cut-off", test_reader_that_never_reads_is_cut_off);
    g_test_add_func ("/ws/slow/pongs", test_pings_that_nobody_reads_are_cut_off);
    g_test_add_func ("/ws/client/talks", test_client_and_server);
    for (gsize i = 0; i < G_N_ELEMENTS (refusals); i++) {
        g_autofree char *name = g_strconcat ("/ws/client/refused/", refusals[i].name, NULL);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_client_refused);
    }
    g_test_add_func ("/ws/client/nobody-listens", test_nobody_listens);
    for (gsize i = 0; i < G_N_ELEMENTS (probes); i++) {
        g_autofree char *name = g_strconcat ("/probe/", probes[i].name, NULL);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_probe);
    }
    return g_test_run ();
}
