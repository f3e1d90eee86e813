/* trace.c: which files and sockets a program opens, for tests that it opens none.
 *
 *   trace OUTPUT PROGRAM [ARGUMENT..]
 *
 * Writes "open PATH" for every file that was opened with success, "socket FAMILY", "connect" to OUTPUT, one a line, of the first thread only.
 * The exit code is the program's.  x86-64 and arm64. */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    long number, result;
    unsigned long arguments[2];
} Call;

static int
read_call (pid_t pid, Call *call)
{
    struct user_regs_struct regs;
    struct iovec vector = { &regs, sizeof regs };
    if (ptrace (PTRACE_GETREGSET, pid, (void *) NT_PRSTATUS, &vector) != 0)
        return -1;
#if defined(__x86_64__)
    *call = (Call){ (long) regs.orig_rax, (long) regs.rax, { regs.rdi, regs.rsi } };
#elif defined(__aarch64__)
    *call = (Call){ (long) regs.regs[8], (long) regs.regs[0], { regs.regs[0], regs.regs[1] } };
#else
#error "trace.c does not know this machine's registers"
#endif
    return 0;
}

static void
read_text (pid_t pid, unsigned long address, char *text, size_t size)
{
    for (size_t i = 0; i + 1 < size; i += sizeof (long)) {
        errno = 0;
        long word = ptrace (PTRACE_PEEKDATA, pid, address + i, NULL);
        size_t n = size - 1 - i < sizeof word ? size - 1 - i : sizeof word;
        memcpy (text + i, &word, n);
        text[i + n] = '\0';
        if (errno || memchr (&word, 0, sizeof word))
            break;
    }
}

/* One finished call; @entered are its arguments as they were at its start. */
static void
report (pid_t pid, const Call *entered, long result, FILE *out)
{
    char path[4096] = "";
    if (result < 0)
        return;
    if (entered->number == SYS_openat)
        read_text (pid, entered->arguments[1], path, sizeof path);
#ifdef SYS_open
    if (entered->number == SYS_open)
        read_text (pid, entered->arguments[0], path, sizeof path);
#endif
    if (*path)
        fprintf (out, "open %s\n", path);
    if (entered->number == SYS_socket)
        fprintf (out, "socket %lu\n", entered->arguments[0]);
    if (entered->number == SYS_connect)
        fputs ("connect\n", out);
}

int
main (int argc, char **argv)
{
    FILE *out = argc > 2 ? fopen (argv[1], "w") : NULL;
    if (!out) {
        fputs ("usage: trace OUTPUT PROGRAM [ARGUMENT..]\n", stderr);
        return 2;
    }
    pid_t child = fork ();
    if (child == 0) {
        ptrace (PTRACE_TRACEME, 0, NULL, NULL);
        execvp (argv[2], argv + 2);
        _exit (127);
    }
    int status, inside = 0;
    Call entered = { 0 };
    if (waitpid (child, &status, 0) != child || !WIFSTOPPED (status) ||
        ptrace (PTRACE_SETOPTIONS, child, NULL, (void *) (PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) != 0) {
        fputs ("trace: cannot trace\n", stderr);
        return 2;
    }
    for (int signal = 0; ptrace (PTRACE_SYSCALL, child, NULL, (void *) (long) signal) == 0; signal = 0) {
        if (waitpid (child, &status, 0) != child || WIFEXITED (status) || WIFSIGNALED (status))
            break;
        Call call;
        if (WSTOPSIG (status) != (SIGTRAP | 0x80)) {
            signal = WSTOPSIG (status);
        } else if (read_call (child, &call) == 0) {
            if (inside)
                report (child, &entered, call.result, out);
            else
                entered = call;
            inside = !inside;
        }
    }
    fclose (out);
    return WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status);
}
