/* How many threads: the default by machine, and the governor against simulated machines, idle and busy. */
#include "engine/threads.h"

static void
default_by_machine (void)
{
    static const struct {
        guint cores, quota, expected;
    } rows[] = {
        { 1, 0, 1 },   { 2, 0, 1 },  { 3, 0, 2 }, { 4, 0, 3 },  { 5, 0, 5 },
        { 64, 0, 64 }, { 64, 2, 2 }, { 8, 1, 1 }, { 2, 16, 1 },
    };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
        g_assert_cmpuint (threads_default (rows[i].cores, rows[i].quota), ==, rows[i].expected);
}

static void
this_machine_has_some (void)
{
    g_assert_cmpuint (threads_cores (), >=, 1);
    g_assert_cmpuint (threads_cores (), <=, g_get_num_processors ());
}

/* A machine on which a decode takes 40 ms divided by the threads, unless more of them want to run than there are cores free: then
 * the barrier makes it 20 times as long. */
static double
decode_ms (guint n_threads, guint n_free)
{
    return n_threads <= n_free ? 40.0 / n_threads : 20 * 40.0 / n_threads;
}

/* Runs for @seconds and returns how many threads were usual in the last second of it. */
static guint
run (ThreadGovernor *governor, guint n_rows, guint n_free, double seconds, gint64 *now_us)
{
    const gint64 end = *now_us + seconds * G_USEC_PER_SEC;
    guint64 sum = 0, n = 0;
    while (*now_us < end) {
        const guint n_threads = governor->now;
        const double ms = decode_ms (n_threads, n_free);
        *now_us += ms * 1000;
        thread_governor_note (governor, n_rows, ms, *now_us);
        if (*now_us > end - G_USEC_PER_SEC) {
            sum += n_threads;
            n++;
        }
    }
    return (sum + n / 2) / n;
}

static void
it_gives_way_and_comes_back (void)
{
    for (guint most = 2; most <= 8; most++)
        for (guint n_rows = 1; n_rows <= 8; n_rows += 7) {
            ThreadGovernor governor;
            gint64 now = G_USEC_PER_SEC;
            thread_governor_init (&governor, most);
            g_assert_cmpuint (run (&governor, n_rows, most, 10, &now), ==, most); /* idle: all */
            g_assert_cmpuint (run (&governor, n_rows, most - 1, 10, &now), ==, most - 1);
            g_assert_cmpuint (run (&governor, n_rows, most, 200, &now), ==, most); /* idle again */
        }
}

/* While it stays busy, tries for one more grow rare: few decodes are slow. */
static void
tries_in_vain_grow_rare (void)
{
    ThreadGovernor governor;
    gint64 now = G_USEC_PER_SEC, n_slow = 0, n = 0;
    thread_governor_init (&governor, 2);
    run (&governor, 1, 2, 10, &now);
    const gint64 end = now + 600 * G_USEC_PER_SEC;
    for (; now < end; n++) {
        const double ms = decode_ms (governor.now, 1);
        n_slow += ms > 100;
        now += ms * 1000;
        thread_governor_note (&governor, 1, ms, now);
    }
    g_assert_cmpint (n_slow * 100, <, n);
}

/* A context that grows makes every decode a little slower: that is no busy machine. */
static void
a_longer_context_is_not_taken_for_a_busy_machine (void)
{
    ThreadGovernor governor;
    gint64 now = G_USEC_PER_SEC;
    thread_governor_init (&governor, 4);
    for (guint i = 0; i < 20000; i++) {
        const double ms = 10 + i * 0.005;
        now += ms * 1000;
        g_assert_cmpuint (thread_governor_note (&governor, 1, ms, now), ==, 4);
    }
}

static void
one_slow_decode_says_nothing (void)
{
    ThreadGovernor governor;
    gint64 now = G_USEC_PER_SEC;
    thread_governor_init (&governor, 2);
    for (guint i = 0; i < 1000; i++)
        g_assert_cmpuint (thread_governor_note (&governor, 1, i % 4 == 3 ? 500 : 10, now += 10000), ==, 2);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/threads/default", default_by_machine);
    g_test_add_func ("/threads/this-machine", this_machine_has_some);
    g_test_add_func ("/threads/governor/gives-way-and-comes-back", it_gives_way_and_comes_back);
    g_test_add_func ("/threads/governor/tries-grow-rare", tries_in_vain_grow_rare);
    g_test_add_func ("/threads/governor/longer-context", a_longer_context_is_not_taken_for_a_busy_machine);
    g_test_add_func ("/threads/governor/one-slow-decode", one_slow_decode_says_nothing);
    return g_test_run ();
}
