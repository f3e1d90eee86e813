/* sandbox.c: what an engine may still ask of the kernel, written down as two tables.
 *
 * Three answers: a call in `allowed` runs; one in `forbidden` is what only an intruder would try, and kills the process in release
 * builds; every other gives ENOSYS, as an older kernel would, so that libraries which try something new fall back.  Calls whose
 * arguments decide stand in their own functions below the tables.  Landlock knows paths, which a filter cannot read. */
#include "engine/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

G_DEFINE_QUARK (sandbox - error - quark, sandbox_error)

#if defined(__SANITIZE_ADDRESS__)
#define CHECKED_BUILD 1
#else
#define CHECKED_BUILD 0
#endif

#ifdef SANDBOX_KILLS /* release builds, see meson.build */
#define FORBIDDEN SCMP_ACT_KILL_PROCESS
#else
#define FORBIDDEN SCMP_ACT_ERRNO (EACCES)
#endif

#define STACK_BYTES (120u << 20) /* below the 128 MiB that the kernel keeps free under the stack */

static int level;
static gboolean landlocked;

static gboolean
fail (GError **error, const char *what)
{
    g_set_error (error, SANDBOX_ERROR, SANDBOX_ERROR_SYSTEM, "sandbox: %s: %s", what, g_strerror (errno));
    return FALSE;
}

/* ---- before all ----------------------------------------------------------------------------------------------------------- */

static void
close_others (int keep_fd)
{
    if (keep_fd < 3)
        close_range (3, ~0u, 0);
    else {
        if (keep_fd > 3)
            close_range (3, (unsigned) keep_fd - 1, 0);
        close_range ((unsigned) keep_fd + 1, ~0u, 0);
    }
}

/* Templates, schemas and replies are read by recursive parsers: give them room.  Threads have their own stacks. */
static void
raise_stack (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_STACK, &limit) != 0 || (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur >= STACK_BYTES))
        return;
    limit.rlim_cur = MIN ((rlim_t) STACK_BYTES, limit.rlim_max);
    setrlimit (RLIMIT_STACK, &limit);
}

gboolean
sandbox_prepare (pid_t parent, int keep_fd, GError **error)
{
    if (prctl (PR_SET_PDEATHSIG, SIGKILL) != 0)
        return fail (error, "PR_SET_PDEATHSIG");
    if (parent && getppid () != parent) { /* it died before the line above */
        g_set_error_literal (error, SANDBOX_ERROR, SANDBOX_ERROR_ORPHAN,
                             "sandbox: the process that started this one is gone");
        return FALSE;
    }
    if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail (error, "PR_SET_NO_NEW_PRIVS");
    if (!CHECKED_BUILD && prctl (PR_SET_DUMPABLE, 0) != 0)
        return fail (error, "PR_SET_DUMPABLE");
    if (setrlimit (RLIMIT_CORE, &(struct rlimit){ 0, 0 }) != 0)
        return fail (error, "RLIMIT_CORE");
    raise_stack ();
    close_others (keep_fd);
    tzset (); /* templates print the date: read the time zone while files may be opened */
    time_t now = time (NULL);
    (void) localtime (&now);
    return TRUE;
}

/* ---- Landlock --------------------------------------------------------------------------------------------------------------- */

/* Newer than Debian 12's header. */
#define ACCESS_FS_TRUNCATE  (1ULL << 14) /* ABI 3 */
#define ACCESS_FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define ACCESS_NET_TCP      3ULL         /* bind, connect: ABI 4 */
#define SCOPE_ALL           3ULL         /* abstract sockets, signals: ABI 6 */

typedef struct {
    guint64 fs, net, scoped;
} Ruleset; /* struct landlock_ruleset_attr as it is since ABI 6; older kernels take its beginning */

#define READ_FILE (LANDLOCK_ACCESS_FS_READ_FILE)
#define READ_TREE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static gboolean
add_path (int ruleset, const char *path, GError **error)
{
    int fd = open (path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return TRUE; /* opening it will say so */
    struct landlock_path_beneath_attr rule = { .allowed_access = READ_TREE, .parent_fd = fd };
    long result = syscall (SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    if (result != 0 && errno == EINVAL) { /* a file: it cannot be listed */
        rule.allowed_access = READ_FILE;
        result = syscall (SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    int saved = errno;
    close (fd);
    errno = saved;
    return result == 0 || fail (error, path);
}

/* What the address checker reads when it has something to tell: where code lies, and its names. */
static gboolean
add_checker_paths (int ruleset, GError **error)
{
    static const char *const paths[] = { "/proc/self", "/usr", "/lib", "/lib64", NULL };
    g_autofree char *program = g_file_read_link ("/proc/self/exe", NULL);
    for (int i = 0; paths[i]; i++)
        if (!add_path (ruleset, paths[i], error))
            return FALSE;
    return !program || add_path (ruleset, program, error);
}

static gboolean
restrict_paths (const char *const *read_paths, GError **error)
{
    long abi = syscall (SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return TRUE; /* a kernel without; READY says so */
    Ruleset all = { .fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 };
    size_t size = sizeof all.fs;
    if (abi >= 2)
        all.fs |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        all.fs |= ACCESS_FS_TRUNCATE;
    if (abi >= 4)
        all.net = ACCESS_NET_TCP, size = sizeof all.fs + sizeof all.net;
    if (abi >= 5)
        all.fs |= ACCESS_FS_IOCTL_DEV;
    if (abi >= 6)
        all.scoped = SCOPE_ALL, size = sizeof all;

    int ruleset = (int) syscall (SYS_landlock_create_ruleset, &all, size, 0);
    if (ruleset < 0)
        return fail (error, "landlock_create_ruleset");
    gboolean good = TRUE;
    for (int i = 0; good && read_paths && read_paths[i]; i++)
        good = add_path (ruleset, read_paths[i], error);
    if (good && CHECKED_BUILD)
        good = add_checker_paths (ruleset, error);
    if (good && syscall (SYS_landlock_restrict_self, ruleset, 0) != 0)
        good = fail (error, "landlock_restrict_self");
    close (ruleset);
    landlocked = good;
    return good;
}

/* ---- seccomp ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int number;
    int until; /* allowed in stages 1 to this one */
} Allowed;

#define C(name)            \
    {                      \
        SCMP_SYS (name), 2 \
    }
#define LOADS(name)        \
    {                      \
        SCMP_SYS (name), 1 \
    } /* while a model is being loaded */

/* clang-format off */
static const Allowed allowed[] = {
    /* memory; what maps code is below */
    C (brk), C (munmap), C (mremap), C (madvise), C (mincore), C (mlock), C (mlock2), C (munlock), C (membarrier), C (get_mempolicy),
    /* open descriptors */
    C (read), C (readv), C (pread64), C (preadv), C (write), C (writev), C (pwrite64), C (pwritev), C (lseek), C (fstat), C (close),
    C (fsync), C (fdatasync), C (fadvise64), C (readahead), C (fcntl), C (poll), C (ppoll), C (select), C (pselect6), C (eventfd2),
    C (recvmsg), C (sendmsg), C (recvfrom), C (shutdown), C (dup), C (close_range),
    /* names of files, not their contents */
    C (newfstatat), C (statx), LOADS (stat), LOADS (lstat), LOADS (statfs), LOADS (fstatfs), LOADS (access), LOADS (faccessat),
    LOADS (faccessat2), LOADS (readlink), LOADS (readlinkat), LOADS (getdents64), LOADS (getcwd),
    /* threads */
    C (futex), C (futex_waitv), C (set_robust_list), C (rseq), C (sched_yield), C (sched_getaffinity), C (sched_setaffinity),
    C (sched_getparam), C (sched_getscheduler), C (sched_setscheduler), C (sched_get_priority_max), C (sched_get_priority_min),
    C (getpriority), C (setpriority), C (exit), C (exit_group), C (gettid), C (getpid), C (getppid), C (getcpu), C (set_tid_address),
    /* signals to ourselves; tgkill is below */
    C (rt_sigaction), C (rt_sigprocmask), C (rt_sigreturn), C (rt_sigtimedwait), C (sigaltstack), C (restart_syscall),
    /* clocks, facts */
    C (clock_gettime), C (clock_getres), C (clock_nanosleep), C (nanosleep), C (gettimeofday), C (time), C (getrandom),
    C (getrusage), C (getrlimit), C (times), C (sysinfo), C (uname), C (getuid), C (geteuid), C (getgid), C (getegid),
    /* more rules on top of these */
    LOADS (seccomp),
};

#define N(name) SCMP_SYS (name)
static const int forbidden[] = {
    /* the network, other programs, other processes */
    N (socket), N (socketpair), N (connect), N (bind), N (listen), N (accept), N (accept4), N (execve), N (execveat), N (fork), N (vfork),
    N (ptrace), N (process_vm_readv), N (process_vm_writev), N (pidfd_open), N (pidfd_getfd), N (pidfd_send_signal), N (kill), N (tkill),
    /* large doors into the kernel */
    N (bpf), N (io_uring_setup), N (io_uring_enter), N (io_uring_register), N (perf_event_open), N (userfaultfd), N (keyctl), N (add_key),
    N (request_key), N (init_module), N (finit_module), N (kexec_load), N (mount), N (umount2), N (pivot_root), N (chroot), N (unshare),
    N (setns), N (open_by_handle_at), N (setuid), N (setgid), N (setresuid), N (setresgid),
    /* changing what lies on disk */
    N (rename), N (renameat), N (renameat2), N (unlink), N (unlinkat), N (rmdir), N (mkdir), N (mkdirat), N (mknod), N (mknodat), N (link),
    N (linkat), N (symlink), N (symlinkat), N (truncate), N (creat), N (chmod), N (fchmodat), N (chown), N (lchown), N (fchownat),
    /* new code */
    N (pkey_mprotect), N (memfd_create), N (memfd_secret),
};
/* clang-format on */

/* A rule that must hold: one the kernel's architecture lacks is passed over by libseccomp itself. */
static int
rule (scmp_filter_ctx filter, uint32_t action, int number, unsigned n, const struct scmp_arg_cmp *args)
{
    return seccomp_rule_add_array (filter, action, number, n, args);
}

#define MASKED(arg, mask, value) SCMP_CMP64 (arg, SCMP_CMP_MASKED_EQ, mask, value)
#define EQUALS(arg, value)       SCMP_CMP64 (arg, SCMP_CMP_EQ, value)

/* @number runs when argument @arg has none of the bits of @mask, else @refused. */
static int
rule_without_bits (scmp_filter_ctx filter, int number, unsigned arg, uint64_t mask, uint32_t refused)
{
    int result = rule (filter, SCMP_ACT_ALLOW, number, 1, &MASKED (arg, mask, 0));
    for (uint64_t bit = 1; result == 0 && bit <= mask; bit <<= 1)
        if (mask & bit)
            result = rule (filter, refused, number, 1, &MASKED (arg, bit, bit));
    return result;
}

static int
rule_equals (scmp_filter_ctx filter, int number, unsigned arg, uint64_t value)
{
    return rule (filter, SCMP_ACT_ALLOW, number, 1, &EQUALS (arg, value));
}

#define OPEN_WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define PR_VMA      0x53564d41 /* PR_SET_VMA: glibc names its stacks */

/* Calls whose arguments decide. */
static int
rules_by_argument (scmp_filter_ctx filter, int stage)
{
    int bad = 0;
    bad |= rule_without_bits (filter, SCMP_SYS (mmap), 2, PROT_EXEC, FORBIDDEN);
    bad |= rule_without_bits (filter, SCMP_SYS (mprotect), 2, PROT_EXEC, FORBIDDEN);
    if (stage == 1 || CHECKED_BUILD) {
        bad |= rule_without_bits (filter, SCMP_SYS (openat), 2, OPEN_WRITES, FORBIDDEN);
        bad |= rule_without_bits (filter, SCMP_SYS (open), 1, OPEN_WRITES, FORBIDDEN);
    } else {
        bad |= rule (filter, SCMP_ACT_ERRNO (EACCES), SCMP_SYS (openat), 0, NULL);
        bad |= rule (filter, SCMP_ACT_ERRNO (EACCES), SCMP_SYS (open), 0, NULL);
    }
    /* A thread, not a process.  clone3, which hides its flags in memory, is unknown here: then glibc uses clone. */
    bad |= rule (filter, SCMP_ACT_ALLOW, SCMP_SYS (clone), 1, &MASKED (0, CLONE_THREAD, CLONE_THREAD));
    bad |= rule (filter, FORBIDDEN, SCMP_SYS (clone), 1, &MASKED (0, CLONE_THREAD, 0));
    /* abort and raise; another process would be an attack */
    bad |= rule_equals (filter, SCMP_SYS (tgkill), 0, (uint64_t) getpid ());
    bad |= rule (filter, FORBIDDEN, SCMP_SYS (tgkill), 1, &SCMP_CMP64 (0, SCMP_CMP_NE, (uint64_t) getpid ()));
    /* the one socket is connected: no addresses */
    bad |= rule_equals (filter, SCMP_SYS (sendto), 4, 0);
    /* limits and names of our own, read or harmless */
    bad |= rule_equals (filter, SCMP_SYS (prlimit64), 2, 0);
    bad |= rule_equals (filter, SCMP_SYS (prctl), 0, PR_SET_NAME);
    bad |= rule_equals (filter, SCMP_SYS (prctl), 0, PR_GET_NAME);
    bad |= rule_equals (filter, SCMP_SYS (prctl), 0, PR_VMA);
    if (stage == 1) /* what loading the second filter does first */
        bad |= rule_equals (filter, SCMP_SYS (prctl), 0, PR_SET_NO_NEW_PRIVS);
    bad |= rule_equals (filter, SCMP_SYS (ioctl), 1, TCGETS); /* stdio: is it a terminal? */
    bad |= rule_equals (filter, SCMP_SYS (ioctl), 1, FIONREAD);
    return bad;
}

/* A checked build may read names of files even in stage 2: its reports do. */
static gboolean
is_allowed (const Allowed *row, int stage)
{
    return stage <= row->until || (CHECKED_BUILD && row->number != SCMP_SYS (seccomp));
}

static gboolean
filter_calls (int stage, GError **error)
{
    scmp_filter_ctx filter = seccomp_init (SCMP_ACT_ERRNO (ENOSYS));
    if (!filter)
        return fail (error, "seccomp_init");
    int bad = seccomp_attr_set (filter, SCMP_FLTATR_CTL_TSYNC, 1); /* all threads */
    for (gsize i = 0; i < G_N_ELEMENTS (allowed); i++)
        if (is_allowed (&allowed[i], stage))
            bad |= rule (filter, SCMP_ACT_ALLOW, allowed[i].number, 0, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS (forbidden); i++)
        bad |= rule (filter, FORBIDDEN, forbidden[i], 0, NULL);
    bad |= rules_by_argument (filter, stage);
    int loaded = bad ? -EINVAL : seccomp_load (filter);
    seccomp_release (filter);
    if (loaded == 0)
        return TRUE;
    errno = -loaded;
    return fail (error, bad ? "a rule of the filter" : "seccomp_load");
}

/* ---- stages ------------------------------------------------------------------------------------------------------------------ */

gboolean
sandbox_enter_model (const char *const *read_paths, GError **error)
{
    g_return_val_if_fail (level == 0, FALSE);
    if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail (error, "PR_SET_NO_NEW_PRIVS");
    if (!restrict_paths (read_paths, error) || !filter_calls (1, error))
        return FALSE;
    level = 1;
    return TRUE;
}

gboolean
sandbox_enter_running (GError **error)
{
    g_return_val_if_fail (level == 1, FALSE);
    if (!filter_calls (2, error))
        return FALSE;
    level = 2;
    return TRUE;
}

int
sandbox_level (void)
{
    return level;
}

gboolean
sandbox_has_landlock (void)
{
    return landlocked;
}
