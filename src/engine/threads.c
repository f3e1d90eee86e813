/* threads.c: how many threads compute, and the pool they live in.  Why so few: threads.h. */
#include "engine/threads.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <ggml-cpu.h>

#define MAX_CPUS      1024
#define SLOW_FACTOR   2.0
#define SLOW_IN_A_ROW 4
#define FIRST_CALM_US (5 * G_USEC_PER_SEC)
#define LAST_CALM_US  (120 * G_USEC_PER_SEC)

/* ---- what the machine has -------------------------------------------------------------------------------------------------- */

/* A small number in a file of the kernel's; @fallback when there is none. */
static gint64
read_number (const char *path, gint64 fallback)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents (path, &text, NULL, NULL))
        return fallback;
    char *end = NULL;
    gint64 number = g_ascii_strtoll (text, &end, 10);
    return end == text ? fallback : number;
}

guint
threads_cores (void)
{
    cpu_set_t allowed;
    CPU_ZERO (&allowed);
    if (sched_getaffinity (0, sizeof allowed, &allowed) != 0)
        return 1;
    /* Two CPUs of one core share its (package, core) number. */
    g_autoptr (GHashTable) cores = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    for (int cpu = 0; cpu < MIN (MAX_CPUS, CPU_SETSIZE); cpu++) {
        if (!CPU_ISSET (cpu, &allowed))
            continue;
        g_autofree char *core = g_strdup_printf ("/sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
        g_autofree char *package = g_strdup_printf ("/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
        /* Where the kernel does not tell, each CPU is a core. */
        g_hash_table_add (cores, g_strdup_printf ("%" G_GINT64_FORMAT "/%" G_GINT64_FORMAT, read_number (package, 0),
                                                  read_number (core, -1 - cpu)));
    }
    return MAX (1, g_hash_table_size (cores));
}

guint
threads_quota (void)
{
    /* Version 2: "max 100000" or "150000 100000"; the tightest on the way up counts.  Version 1: two files. */
    g_autofree char *membership = NULL, *limits = NULL;
    double least = 0;
    if (g_file_get_contents ("/proc/self/cgroup", &membership, NULL, NULL)) {
        char *own = strstr (membership, "0::/");
        g_autofree char *path = own ? g_strndup (own + 3, strcspn (own + 3, "\n")) : g_strdup ("/");
        for (;;) {
            g_autofree char *file = g_build_filename ("/sys/fs/cgroup", path, "cpu.max", NULL);
            g_autofree char *text = NULL;
            gint64 quota, period;
            if (g_file_get_contents (file, &text, NULL, NULL) &&
                sscanf (text, "%" G_GINT64_FORMAT " %" G_GINT64_FORMAT, &quota, &period) == 2 && period > 0 &&
                (least == 0 || (double) quota / period < least))
                least = (double) quota / period;
            if (strlen (path) <= 1)
                break;
            g_autofree char *parent = g_path_get_dirname (path);
            g_free (g_steal_pointer (&path));
            path = g_steal_pointer (&parent);
        }
    }
    gint64 quota = read_number ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1);
    gint64 period = read_number ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", 0);
    if (quota > 0 && period > 0 && (least == 0 || (double) quota / period < least))
        least = (double) quota / period;
    return least > 0 ? MAX (1, (guint) least) : 0;
}

guint
threads_default (guint n_cores, guint quota)
{
    guint n = n_cores <= 4 ? n_cores - 1 : n_cores;
    if (quota > 0)
        n = MIN (n, quota);
    return CLAMP (n, 1, 512);
}

/* ---- adapting -------------------------------------------------------------------------------------------------------------- */

void
thread_governor_init (ThreadGovernor *governor, guint most)
{
    *governor = (ThreadGovernor){ .most = most, .now = most, .patience_us = FIRST_CALM_US };
}

static double *
usual_of (ThreadGovernor *governor, guint n_rows)
{
    guint bucket = n_rows <= 2 ? n_rows - 1 : n_rows <= 4 ? 2 : 3;
    return &governor->usual_ms[MIN (governor->now, 64) - 1][bucket];
}

guint
thread_governor_note (ThreadGovernor *governor, guint n_rows, double ms, gint64 now_us)
{
    if (n_rows == 0 || governor->most <= 1)
        return governor->now;
    double *usual = usual_of (governor, n_rows);
    gboolean slow = *usual > 0 && ms > SLOW_FACTOR * *usual;
    /* What is usual follows slowly, so that a longer context is not mistaken for a busy machine, and a busy one not for usual. */
    *usual = *usual == 0 ? ms : *usual + (slow ? 0.01 : 0.1) * (ms - *usual);
    governor->n_slow = slow ? governor->n_slow + 1 : 0;

    if (governor->n_slow >= SLOW_IN_A_ROW && governor->now > 1) {
        governor->now--;
        governor->n_slow = 0;
        if (governor->trying)
            governor->patience_us = MIN (2 * governor->patience_us, LAST_CALM_US);
        governor->trying = FALSE;
        governor->calm_us = now_us + governor->patience_us;
    } else if (governor->now < governor->most && now_us >= governor->calm_us) {
        if (governor->trying)
            governor->patience_us = FIRST_CALM_US; /* the last try held all the time */
        governor->now++;
        governor->trying = TRUE;
        governor->calm_us = now_us + governor->patience_us;
    }
    return governor->now;
}

/* ---- the pool -------------------------------------------------------------------------------------------------------------- */

typedef struct ggml_threadpool *(*PoolNew) (struct ggml_threadpool_params *params);
typedef void (*PoolFree) (struct ggml_threadpool *pool);

struct Threads {
    struct llama_context *context;
    struct ggml_threadpool *pool; /* NULL: the library makes its threads itself */
    GPtrArray *replaced; /* pools that the library may still hold: it lets go of one when it computes with the next */
    PoolNew pool_new;
    PoolFree pool_free;
    gboolean adaptive;
    ThreadGovernor governor;
};

/* The pool's functions are in the CPU plug-in, which nobody links to. */
static void
find_pool_functions (Threads *threads)
{
    ggml_backend_dev_t device = ggml_backend_dev_by_type (GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t registry = device ? ggml_backend_dev_backend_reg (device) : NULL;
    if (!registry)
        return;
    threads->pool_new = (PoolNew) ggml_backend_reg_get_proc_address (registry, "ggml_threadpool_new");
    threads->pool_free = (PoolFree) ggml_backend_reg_get_proc_address (registry, "ggml_threadpool_free");
}

/* The pool has exactly as many threads as compute: idle ones would poll beside them. */
static void
apply (Threads *threads)
{
    const int n = threads->governor.now;
    llama_detach_threadpool (threads->context);
    if (threads->pool)
        g_ptr_array_add (threads->replaced, g_steal_pointer (&threads->pool));
    if (threads->pool_new && threads->pool_free) {
        struct ggml_threadpool_params params = ggml_threadpool_params_default (n);
        threads->pool = threads->pool_new (&params);
    }
    if (threads->pool)
        llama_attach_threadpool (threads->context, threads->pool, threads->pool);
    llama_set_n_threads (threads->context, n, n);
}

void
threads_computed (Threads *threads)
{
    for (guint i = 0; i < threads->replaced->len; i++)
        threads->pool_free (g_ptr_array_index (threads->replaced, i));
    g_ptr_array_set_size (threads->replaced, 0);
}

Threads *
threads_new (struct llama_context *context, guint n, gboolean adaptive)
{
    Threads *threads = g_new0 (Threads, 1);
    threads->context = context;
    threads->adaptive = adaptive;
    threads->replaced = g_ptr_array_new ();
    find_pool_functions (threads);
    thread_governor_init (&threads->governor, MAX (n, 1));
    apply (threads);
    return threads;
}

void
threads_free (Threads *threads)
{
    llama_detach_threadpool (threads->context);
    threads_computed (threads);
    if (threads->pool)
        threads->pool_free (threads->pool);
    g_ptr_array_unref (threads->replaced);
    g_free (threads);
}

guint
threads_now (const Threads *threads)
{
    return threads->governor.now;
}

void
threads_set (Threads *threads, guint n, gboolean adaptive)
{
    threads->adaptive = adaptive;
    const guint before = threads->governor.now;
    thread_governor_init (&threads->governor, MAX (n, 1));
    if (threads->governor.now != before)
        apply (threads);
}

void
threads_note (Threads *threads, guint n_rows, double ms, gint64 now_us)
{
    const guint before = threads->governor.now;
    if (threads->adaptive && thread_governor_note (&threads->governor, n_rows, ms, now_us) != before)
        apply (threads);
}
