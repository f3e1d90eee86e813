/* sandbox: what a sandboxed process may and may not do.  Each case runs in a child of its own, which enters a stage and then tries. */
#include "engine/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *folder, *inside, *outside; /* a folder that may be read, a file in it, a file elsewhere */

/* Each attempt answers 0 when it was let through, else errno. */
static int
try_socket (void)
{
    return socket (AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : errno;
}

static int
try_unix_socket (void)
{
    int pair[2];
    return socketpair (AF_UNIX, SOCK_STREAM, 0, pair) == 0 ? 0 : errno;
}

static int
try_exec (void)
{
    execl ("/bin/true", "true", (char *) NULL);
    return errno;
}

static int
try_fork (void)
{
    pid_t pid = fork ();
    if (pid == 0)
        _exit (0);
    return pid > 0 ? 0 : errno;
}

static int
try_kill_parent (void)
{
    return kill (getppid (), 0) == 0 ? 0 : errno;
}

static int
try_open_inside (void)
{
    int fd = open (inside, O_RDONLY);
    char byte;
    return fd >= 0 && read (fd, &byte, 1) == 1 && byte == 'i' ? 0 : errno;
}

static int
try_open_outside (void)
{
    return open (outside, O_RDONLY) >= 0 ? 0 : errno;
}

static int
try_list_outside (void)
{
    return open ("/etc", O_RDONLY | O_DIRECTORY) >= 0 ? 0 : errno;
}

static int
try_open_for_writing (void)
{
    return open (inside, O_WRONLY) >= 0 ? 0 : errno;
}

static int
try_create (void)
{
    g_autofree char *path = g_build_filename (folder, "new", NULL);
    return open (path, O_WRONLY | O_CREAT, 0600) >= 0 ? 0 : errno;
}

static int
try_unlink (void)
{
    return unlink (inside) == 0 ? 0 : errno;
}

static int
try_new_code (void)
{
    return mmap (NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ? 0 : errno;
}

static int
try_turn_data_into_code (void)
{
    void *page = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect (page, 4096, PROT_READ | PROT_EXEC) == 0 ? 0 : errno;
}

static int
try_ptrace (void)
{
    return syscall (SYS_ptrace, 16 /* PTRACE_ATTACH */, getppid (), 0, 0) == 0 ? 0 : errno;
}

static int
try_io_uring (void)
{
    return syscall (SYS_io_uring_setup, 1, NULL) >= 0 ? 0 : errno;
}

static void *
add_one (void *number)
{
    ++*(int *) number;
    return NULL;
}

static int
try_thread (void)
{
    pthread_t thread;
    int number = 41, result = pthread_create (&thread, NULL, add_one, &number);
    if (result == 0)
        pthread_join (thread, NULL);
    return result ? result : number == 42 ? 0 : EINVAL;
}

static int
try_memory (void)
{
    gsize size = 64 * 1024 * 1024;
    char *memory = malloc (size);
    memset (memory, 7, size);
    memory = realloc (memory, size * 2);
    int good = memory[size - 1] == 7;
    free (memory);
    return good ? 0 : ENOMEM;
}

static int
try_map_file (void)
{
    int fd = open (inside, O_RDONLY);
    if (fd < 0)
        return errno;
    char *map = mmap (NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    return map != MAP_FAILED && *map == 'i' ? 0 : errno;
}

static int
try_print (void)
{
    time_t now = time (NULL);
    char text[64];
    strftime (text, sizeof text, "%c", localtime (&now));
    return printf ("# %s\n", text) > 0 && fflush (stdout) == 0 ? 0 : errno;
}

enum { DENIED = -1, RUNS = 0 };

static const struct {
    const char *name;
    int (*attempt) (void);
    int stage1, stage2;
} attempts[] = {
    { "a socket", try_socket, DENIED, DENIED },
    { "a pair of sockets", try_unix_socket, DENIED, DENIED },
    { "another program", try_exec, DENIED, DENIED },
    { "another process", try_fork, DENIED, DENIED },
    { "a signal to another process", try_kill_parent, DENIED, DENIED },
    { "reading the model", try_open_inside, RUNS, DENIED },
    { "reading elsewhere", try_open_outside, DENIED, DENIED },
    { "listing elsewhere", try_list_outside, DENIED, DENIED },
    { "opening for writing", try_open_for_writing, DENIED, DENIED },
    { "creating a file", try_create, DENIED, DENIED },
    { "removing a file", try_unlink, DENIED, DENIED },
    { "mapping new code", try_new_code, DENIED, DENIED },
    { "turning data into code", try_turn_data_into_code, DENIED, DENIED },
    { "tracing", try_ptrace, DENIED, DENIED },
    { "io_uring", try_io_uring, DENIED, DENIED },
    { "a thread", try_thread, RUNS, RUNS },
    { "memory", try_memory, RUNS, RUNS },
    { "mapping the model", try_map_file, RUNS, DENIED },
    { "printing the date", try_print, RUNS, RUNS },
};

/* Runs @body in a child; its exit code, or minus the signal that ended it. */
static int
in_child (int (*body) (gconstpointer data), gconstpointer data)
{
    fflush (stdout);
    pid_t pid = fork ();
    g_assert_cmpint (pid, >=, 0);
    if (pid == 0)
        _exit (body (data));
    int status;
    g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
    return WIFEXITED (status) ? WEXITSTATUS (status) : -WTERMSIG (status);
}

typedef struct {
    int (*attempt) (void);
    int stage;
} Case;

static int
enter_and_try (gconstpointer data)
{
    const Case *c = data;
    g_autoptr (GError) error = NULL;
    if (!sandbox_prepare (getppid (), -1, &error) ||
        !sandbox_enter_model ((const char *const[]){ folder, "/does/not/exist", NULL }, &error) ||
        (c->stage == 2 && !sandbox_enter_running (&error))) {
        g_printerr ("%s\n", error->message);
        return 200;
    }
    return sandbox_level () == c->stage ? c->attempt () : 201;
}

static void
check (int expected, int result, const char *name)
{
#ifdef SANDBOX_KILLS
    if (expected == DENIED && result == -SIGSYS)
        return;
#endif
    if (expected == RUNS ? result != 0 : !(result == EACCES || result == ENOSYS))
        g_error ("%s: %s", name,
                 result == 0  ? "was let through"
                 : result > 0 ? g_strerror (result)
                              : "killed the process");
}

static void
test_stages (gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE (data);
    check (attempts[i].stage1, in_child (enter_and_try, &(Case){ attempts[i].attempt, 1 }), attempts[i].name);
#ifndef __SANITIZE_ADDRESS__ /* its reports open files in stage 2 */
    check (attempts[i].stage2, in_child (enter_and_try, &(Case){ attempts[i].attempt, 2 }), attempts[i].name);
#else
    if (attempts[i].attempt != try_open_inside && attempts[i].attempt != try_map_file)
        check (attempts[i].stage2, in_child (enter_and_try, &(Case){ attempts[i].attempt, 2 }), attempts[i].name);
#endif
}

/* Each attempt works without a sandbox, so that the table above proves something. */
static int
try_bare (gconstpointer data)
{
    return ((const Case *) data)->attempt ();
}

static void
test_without (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (attempts); i++) {
        if (attempts[i].attempt == try_ptrace || attempts[i].attempt == try_io_uring ||
            attempts[i].attempt == try_unlink || attempts[i].attempt == try_new_code)
            continue; /* not every machine lets anybody; or they would spoil the files */
        int result = in_child (try_bare, &(Case){ attempts[i].attempt, 0 });
        if (result != 0)
            g_error ("%s does not work outside either: %s", attempts[i].name, g_strerror (result));
        g_autofree char *made = g_build_filename (folder, "new", NULL);
        g_unlink (made);
    }
}

static int
one_thread_binds_all (gconstpointer data)
{
    /* A thread that is there already may not do more than the one that enters stage 2. */
    static int (*const attempt) (void) = try_socket;
    if (!sandbox_enter_model ((const char *const[]){ folder, NULL }, NULL))
        return 200;
    int pipes[2];
    if (pipe (pipes) != 0) /* unlisted: as an older kernel */
        return errno == ENOSYS ? attempt () : 202;
    return 203;
}

static void
test_unlisted_calls_are_unknown (void)
{
    int result = in_child (one_thread_binds_all, NULL);
    check (DENIED, result, "a socket");
}

static int
prepare_and_look (gconstpointer data)
{
    int kept = dup2 (STDOUT_FILENO, 37), other = dup2 (STDOUT_FILENO, 38);
    struct rlimit core, stack;
    if (kept != 37 || other != 38 || !sandbox_prepare (getppid (), 37, NULL))
        return 1;
    getrlimit (RLIMIT_CORE, &core);
    getrlimit (RLIMIT_STACK, &stack);
    int death = 0;
    prctl (PR_GET_PDEATHSIG, &death);
    return fcntl (37, F_GETFD) < 0                             ? 2
           : fcntl (38, F_GETFD) >= 0                          ? 3
           : core.rlim_cur != 0 || core.rlim_max != 0          ? 4
           : prctl (PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1      ? 5
           : death != SIGKILL                                  ? 6
           : stack.rlim_cur < MIN (stack.rlim_max, 100u << 20) ? 7
                                                               : 0;
}

static void
test_prepare (void)
{
    g_assert_cmpint (in_child (prepare_and_look, NULL), ==, 0);
}

static int
prepare_orphan (gconstpointer data)
{
    g_autoptr (GError) error = NULL;
    return !sandbox_prepare (getpid (), -1, &error) && g_error_matches (error, SANDBOX_ERROR, SANDBOX_ERROR_ORPHAN) ? 0
                                                                                                                    : 1;
}

static void
test_orphan (void)
{
    g_assert_cmpint (in_child (prepare_orphan, NULL), ==, 0);
}

/* A grandchild that has prepared itself dies when its parent does. */
static int
parent_of_sleeper (gconstpointer data)
{
    int out = GPOINTER_TO_INT (data), ready[2];
    if (pipe (ready) != 0)
        return 1;
    pid_t me = getpid (), pid = fork ();
    if (pid == 0) {
        if (!sandbox_prepare (me, ready[1], NULL) || write (ready[1], "r", 1) != 1)
            _exit (1);
        for (;;)
            pause ();
    }
    char byte;
    if (read (ready[0], &byte, 1) != 1 || write (out, &pid, sizeof pid) != sizeof pid)
        return 1;
    return 0;
}

static void
test_dies_with_parent (void)
{
    int out[2];
    g_assert_cmpint (pipe (out), ==, 0);
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    g_assert_cmpint (in_child (parent_of_sleeper, GINT_TO_POINTER (out[1])), ==, 0);
    pid_t pid;
    g_assert_cmpint (read (out[0], &pid, sizeof pid), ==, sizeof pid);
    int status;
    g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
    g_assert_true (WIFSIGNALED (status));
    g_assert_cmpint (WTERMSIG (status), ==, SIGKILL);
    close (out[0]);
    close (out[1]);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    folder = g_dir_make_tmp ("sandbox-XXXXXX", NULL);
    g_autofree char *elsewhere = g_dir_make_tmp ("outside-XXXXXX", NULL);
    inside = g_build_filename (folder, "model.gguf", NULL);
    outside = g_build_filename (elsewhere, "secret", NULL);
    g_assert_true (g_file_set_contents (inside, "inside", -1, NULL));
    g_assert_true (g_file_set_contents (outside, "outside", -1, NULL));

    g_test_add_func ("/sandbox/without-it-everything-works", test_without);
    for (gsize i = 0; i < G_N_ELEMENTS (attempts); i++) {
        g_autofree char *path = g_strdelimit (g_strdup_printf ("/sandbox/stages/%s", attempts[i].name), " ", '-');
        g_test_add_data_func (path, GSIZE_TO_POINTER (i), test_stages);
    }
    g_test_add_func ("/sandbox/unlisted-calls-are-unknown", test_unlisted_calls_are_unknown);
    g_test_add_func ("/sandbox/prepare", test_prepare);
    g_test_add_func ("/sandbox/an-orphan-is-told", test_orphan);
    g_test_add_func ("/sandbox/dies-with-its-parent", test_dies_with_parent);
    int result = g_test_run ();
    g_unlink (inside);
    g_unlink (outside);
    g_rmdir (folder);
    g_rmdir (elsewhere);
    g_free (folder);
    g_free (inside);
    g_free (outside);
    return result;
}
