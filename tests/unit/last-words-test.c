/* A failed assertion of the library: its text arrives as a FATAL frame, and the process dies of SIGABRT. */
#include "engine/backend.h"
#include "engine/last_words.h"

#include <fcntl.h>
#include <ggml.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Lets a child die by an assertion; @before is sent first, and its frame only partly taken by the socket when it is large. */
static Link *
dying_child (gsize n_before, int *status)
{
    int fds[2];
    g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    pid_t child = fork ();
    if (child == 0) {
        setrlimit (RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        setenv ("GGML_NO_BACKTRACE", "1", 1);
        signal (SIGABRT, SIG_DFL);
        dup2 (open ("/dev/null", O_WRONLY), STDERR_FILENO);
        Link *link = link_new (fds[1]);
        last_words_set_link (link);
        if (!backend_load (last_words, NULL))
            _exit (3);
        g_autofree char *before = g_malloc0 (n_before);
        link_send (link, LINK_DELTA, 1, before, n_before);
        ggml_abort ("some-file.c", 42, "GGML_ASSERT(%s) failed", "a == b");
    }
    close (fds[1]);
    g_assert_cmpint (waitpid (child, status, 0), ==, child);
    return link_new (fds[0]);
}

static void
they_arrive (void)
{
    int status;
    g_autoptr (Link) link = dying_child (10, &status);
    LinkFrame frame;
    g_assert_cmpint (link_read (link, &frame, NULL), ==, LINK_GOT_FRAME);
    g_assert_cmpint (frame.type, ==, LINK_DELTA);
    g_assert_cmpint (link_read (link, &frame, NULL), ==, LINK_GOT_FRAME);
    g_assert_cmpint (frame.type, ==, LINK_FATAL);
    g_autofree char *words = g_strndup (frame.payload, frame.length);
    g_assert_nonnull (strstr (words, "GGML_ASSERT(a == b) failed"));
    g_assert_cmpint (link_read (link, &frame, NULL), ==, LINK_ENDED);
    g_assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGABRT);
}

/* The socket has taken half of a frame: nothing may be written into it. */
static void
they_never_break_another_frame (void)
{
    int status;
    g_autoptr (Link) link = dying_child (8 * 1024 * 1024, &status);
    LinkFrame frame;
    g_assert_cmpint (link_read (link, &frame, NULL), ==, LINK_ENDED);
    g_assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGABRT);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/last-words/arrive", they_arrive);
    g_test_add_func ("/last-words/no-frame-broken", they_never_break_another_frame);
    return g_test_run ();
}
