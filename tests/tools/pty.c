/* pty.c: runs a program on a terminal of its own, for tests of what `lms` does there.
 *
 *   pty ROWS COLUMNS PROGRAM [ARGUMENT..]
 *
 * What comes in goes to the terminal's keyboard, what the program shows goes out; the exit code is the program's, 128 + the signal when one
 * ended it. */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int
write_all (int fd, const char *bytes, ssize_t length)
{
    while (length > 0) {
        ssize_t n = write (fd, bytes, (size_t) length);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            bytes += n;
            length -= n;
        }
    }
    return 0;
}

/* Carries bytes both ways until the terminal's other end is closed. */
static void
carry (int terminal)
{
    struct pollfd fds[2] = { { .fd = terminal, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
    char bytes[4096];
    for (;;) {
        if (poll (fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[0].revents) {
            ssize_t n = read (terminal, bytes, sizeof bytes);
            if (n <= 0 || write_all (STDOUT_FILENO, bytes, n) != 0)
                return;
        }
        if (fds[1].revents) {
            ssize_t n = read (STDIN_FILENO, bytes, sizeof bytes);
            if (n <= 0)
                fds[1].fd = -1; /* no more keys; the program may go on */
            else if (write_all (terminal, bytes, n) != 0)
                return;
        }
    }
}

int
main (int argc, char **argv)
{
    if (argc < 4) {
        fputs ("usage: pty ROWS COLUMNS PROGRAM [ARGUMENT..]\n", stderr);
        return 2;
    }
    struct winsize size = { .ws_row = (unsigned short) atoi (argv[1]), .ws_col = (unsigned short) atoi (argv[2]) };
    int terminal;
    pid_t child = forkpty (&terminal, NULL, NULL, &size);
    if (child < 0) {
        perror ("pty");
        return 2;
    }
    if (child == 0) {
        execvp (argv[3], argv + 3);
        perror (argv[3]);
        _exit (127);
    }
    carry (terminal);
    close (terminal);
    int status = 0;
    while (waitpid (child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status);
}
