/* link/: frames whole, in pieces, with descriptors, and garbage. */
#include "link/link.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void
pair (Link **a, int *b)
{
    int fds[2];
    g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    *a = link_new (fds[0]);
    *b = fds[1];
}

static void
test_frames_arrive_byte_by_byte (void)
{
    g_autoptr (Link) link = NULL;
    int other;
    pair (&link, &other);
    guint8 bytes[LINK_HEADER_SIZE + 5];
    link_pack_header (bytes, LINK_DELTA, 0, 7, 5);
    memcpy (bytes + LINK_HEADER_SIZE, "hello", 5);
    LinkFrame frame;
    for (int round = 0; round < 3; round++) {
        for (gsize i = 0; i < sizeof bytes; i++) {
            g_assert_cmpint (link_read (link, &frame, NULL), ==, LINK_WANTS_MORE);
            g_assert_cmpint (write (other, bytes + i, 1), ==, 1);
        }
        g_assert_cmpint (link_read (link, &frame, NULL), ==, LINK_GOT_FRAME);
        g_assert_cmpint (frame.type, ==, LINK_DELTA);
        g_assert_cmpuint (frame.job, ==, 7);
        g_assert_cmpmem (frame.payload, frame.length, "hello", 5);
    }
    close (other);
    g_assert_cmpint (link_read (link, &frame, NULL), ==, LINK_ENDED);
}

static void
test_many_frames_pass_a_full_socket (void)
{
    g_autoptr (Link) a = NULL;
    int other;
    pair (&a, &other);
    g_autoptr (Link) b = link_new (other);
    g_autofree char *big = g_malloc0 (300000);
    for (guint i = 0; i < 20; i++)
        link_send (a, LINK_JOB, i, big, 300000 - i);
    g_assert_cmpuint (link_queued_bytes (a), >, 0);
    guint seen = 0;
    while (seen < 20) {
        LinkFrame frame;
        LinkResult result = link_read (b, &frame, NULL);
        if (result == LINK_GOT_FRAME) {
            g_assert_cmpuint (frame.job, ==, seen);
            g_assert_cmpuint (frame.length, ==, 300000 - seen);
            seen++;
        } else {
            g_assert_cmpint (result, ==, LINK_WANTS_MORE);
            link_flush (a);
        }
    }
    g_assert_true (link_flush (a));
}

static void
test_descriptors_stay_with_their_frame (void)
{
    g_autoptr (Link) a = NULL;
    int other;
    pair (&a, &other);
    g_autoptr (Link) b = link_new (other);
    for (guint i = 0; i < 4; i++) {
        int pipe_ends[2];
        g_assert_cmpint (pipe (pipe_ends), ==, 0);
        char c = 'a' + i;
        g_assert_cmpint (write (pipe_ends[1], &c, 1), ==, 1);
        link_send_json (a, LINK_STATS, 100 + i, NULL);
        link_send_fd (a, LINK_FILE, i, NULL, pipe_ends[0]);
        close (pipe_ends[0]);
        close (pipe_ends[1]);
    }
    for (guint i = 0; i < 4; i++) {
        LinkFrame frame;
        g_assert_cmpint (link_read (b, &frame, NULL), ==, LINK_GOT_FRAME);
        g_assert_cmpint (frame.fd, ==, -1);
        g_assert_cmpint (link_read (b, &frame, NULL), ==, LINK_GOT_FRAME);
        char c = 0;
        g_assert_cmpint (read (frame.fd, &c, 1), ==, 1);
        g_assert_cmpint (c, ==, 'a' + (int) i);
        close (frame.fd);
    }
}

static void
test_garbage_is_refused (void)
{
    g_autoptr (Link) link = NULL;
    int other;
    pair (&link, &other);
    g_assert_cmpint (write (other, "GET / HTTP/1.1\r\n\r\n", 18), ==, 18);
    LinkFrame frame;
    g_autoptr (GError) error = NULL;
    g_assert_cmpint (link_read (link, &frame, &error), ==, LINK_BAD);
    g_assert_nonnull (error);
    close (other);
}

static void
test_sending_to_the_dead_is_quiet (void)
{
    g_autoptr (Link) link = NULL;
    int other;
    pair (&link, &other);
    close (other);
    link_send_json (link, LINK_STOP, 0, NULL);
    g_assert_true (link_flush (link));
    g_assert_cmpuint (link_queued_bytes (link), ==, 0);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/link/byte-by-byte", test_frames_arrive_byte_by_byte);
    g_test_add_func ("/link/full-socket", test_many_frames_pass_a_full_socket);
    g_test_add_func ("/link/descriptors", test_descriptors_stay_with_their_frame);
    g_test_add_func ("/link/garbage", test_garbage_is_refused);
    g_test_add_func ("/link/dead-peer", test_sending_to_the_dead_is_quiet);
    return g_test_run ();
}
