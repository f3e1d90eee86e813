/* How many threads compute (spec: engine.md 1 "CPU threads on a busy machine", 3).
 *
 * Workers meet at a barrier after every operation, so one that is scheduled out holds up all.  Hence: never all cores of a small
 * machine, never more than the cgroup grants, and fewer as soon as a decode takes much longer than it used to. */
#pragma once

#include <glib.h>
#include <llama.h>

/* ---- how many there are: read before the sandbox closes ------------------------------------------------------------------- */

/* Physical cores that this process may use; at least 1. */
guint threads_cores (void);
/* CPUs that the cgroup grants, rounded down but at least 1; 0: no limit. */
guint threads_quota (void);
/* Pure: cores minus one on machines with 4 or fewer, never above the quota; at least 1. */
guint threads_default (guint n_cores, guint quota);

/* ---- adapting: pure, the clock is the caller's ----------------------------------------------------------------------------- */

typedef struct {
    guint most, now;
    double usual_ms[64][4]; /* by thread count and rows (1, 2, 3-4, more): what a decode of streams takes */
    guint n_slow;           /* slow decodes in a row */
    gint64 calm_us;         /* not before then one more is tried */
    gint64 patience_us;     /* grows with each try in vain */
    gboolean trying;
} ThreadGovernor;

void thread_governor_init (ThreadGovernor *governor, guint most);
/* A decode of @n_rows stream rows and nothing else took @ms.  Returns how many threads the next one should have. */
guint thread_governor_note (ThreadGovernor *governor, guint n_rows, double ms, gint64 now_us);

/* ---- the pool of a context ------------------------------------------------------------------------------------------------- */

typedef struct Threads Threads;

/* A pool of @n threads, attached to @context.  @adaptive: threads_note may take fewer. */
Threads *threads_new (struct llama_context *context, guint n, gboolean adaptive);
/* Before the context is freed. */
void threads_free (Threads *threads);
guint threads_now (const Threads *threads);
void threads_set (Threads *threads, guint n, gboolean adaptive);
/* After each decode that computed: only then has the library let go of a pool that was replaced. */
void threads_computed (Threads *threads);
void threads_note (Threads *threads, guint n_rows, double ms, gint64 now_us);
