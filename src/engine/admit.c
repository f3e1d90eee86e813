/* admit.c: who gets a place, and what of its prompt is known already.
 *
 * A place is one of `parallel`; owners take turns for it.  A job with a place looks for the longest beginning of its prompt in all
 * sequences, running or parked.  If a job whose prompt is being computed now will soon hold much more of it, this one follows: it
 * waits until the leader is that far, then shares its cells and computes only the rest (engine.md 4, case d). */
#include "engine/engine.h"

#define FOLLOW_MIN 32 /* tokens that waiting must save */

/* Queued jobs in the order of their turns: priority, then the owner that was served longest ago, then age. */
static Job *
next_queued (Engine *g)
{
    Job *best = NULL;
    guint64 best_turn = 0;
    for (guint i = 0; i < g->jobs->len; i++) {
        Job *job = g_ptr_array_index (g->jobs, i);
        if (job->state != JOB_QUEUED || !job_may_run (job))
            continue;
        guint64 turn = GPOINTER_TO_SIZE (g_hash_table_lookup (g->turns, job->owner));
        if (!best || job->priority > best->priority || (job->priority == best->priority && turn < best_turn)) {
            best = job;
            best_turn = turn;
        }
    }
    return best;
}

static void
give_places (Engine *g)
{
    guint n_places = 0;
    for (guint i = 0; i < g->jobs->len; i++)
        n_places += job_has_place (g_ptr_array_index (g->jobs, i));
    for (Job *job; n_places < g->parallel && (job = next_queued (g)); n_places++) {
        job->state = JOB_WAIT;
        g_hash_table_replace (g->turns, g_strdup (job->owner), GSIZE_TO_POINTER (++g->n_admitted));
    }
}

/* The text of a prompt that came as tokens. */
static void
set_prompt_text (Engine *g, Job *job, json_t *start)
{
    g_autofree char *text = NULL;
    gint32 size = 16, n = -1;
    while (n < 0) {
        size = MAX (-n, 2 * size);
        text = g_realloc (text, size);
        n = llama_detokenize (g->vocab, job->view.tokens, job->view.n_tokens, text, size, false, true);
    }
    json_set_text (start, "prompt", text, n);
}

static void
send_start (Engine *g, Job *job)
{
    g_autoptr (json_t) start = json_pack ("{s:i, s:i, s:f}", "n_prompt", job->n_prompt, "n_cached", job->n_cached,
                                          "queue_ms", (job->started_us - job->arrived_us) / 1000.0);
    if (job->want_prompt && job->view.prompt)
        json_set_text (start, "prompt", job->view.prompt, job->view.prompt_length);
    else if (job->want_prompt)
        set_prompt_text (g, job, start);
    link_send_json (g->link, LINK_START, job->id, start);
}

static void
begin_prompt (Engine *g, Job *job, Sequence *source, guint n)
{
    cells_give (g, job, source, n);
    job->state = JOB_PROMPT;
    job->leader = NULL;
    if (job->started_us)
        return; /* it was preempted, and is known to the daemon already */
    job->started_us = g_get_monotonic_time ();
    job->n_cached = n;
    send_start (g, job);
}

/* What is there for @job's tokens: in @source @n tokens that can be shared now; in @leader @n_coming that soon can. */
static void
look_around (Engine *g, Job *job, Sequence **source, guint *n, Job **leader, guint *n_coming)
{
    const guint n_most = job->tokens->len - 1; /* the last one is always computed: its logits are wanted */
    PrefixMatch matches[PREFIX_TREE_MAX_IDS];
    cells_list_all (g);
    guint n_matches =
        prefix_tree_find (g->tree, job->owner, (const gint32 *) (void *) job->tokens->data, n_most, matches);
    for (guint i = 0; i < n_matches; i++) {
        Sequence *seq = &g->seqs[matches[i].id];
        guint usable = cells_usable (g, seq, matches[i].n_tokens);
        gboolean whole = seq->state == SEQ_PARKED && usable == seq->n_kv; /* can be moved, which saves an id */
        if (usable > *n || (usable == *n && usable > 0 && whole)) {
            *source = seq;
            *n = usable;
        }
        if (g->memory == MEMORY_FULL && seq->state == SEQ_BUSY && seq->job->state == JOB_PROMPT &&
            job_may_run (seq->job) && matches[i].n_tokens > *n_coming) {
            *leader = seq->job;
            *n_coming = matches[i].n_tokens;
        }
    }
}

static gboolean
still_follows (const Job *job)
{
    const Job *leader = job->leader;
    return leader && leader->state == JOB_PROMPT && job_may_run (leader) && leader->seq->n_kv < job->n_shared;
}

gboolean
admit_must_wait (const Engine *g, const Job *job)
{
    if (job->state != JOB_PREEMPTED || g->n_ended != job->n_shared)
        return FALSE;
    for (guint i = 0; i < g->jobs->len; i++)
        if (((Job *) g_ptr_array_index (g->jobs, i))->seq)
            return TRUE;
    return FALSE;
}

void
admit (Engine *g)
{
    if (!g->tree)
        return;
    give_places (g);
    for (guint i = 0; i < g->jobs->len; i++) {
        Job *job = g_ptr_array_index (g->jobs, i);
        if (!job_may_run (job))
            continue;
        if (!(job->state == JOB_WAIT || (job->state == JOB_FOLLOW && !still_follows (job)) ||
              (job->state == JOB_PREEMPTED && !admit_must_wait (g, job))))
            continue;
        Sequence *source = NULL;
        Job *leader = NULL;
        guint n = 0, n_coming = 0;
        look_around (g, job, &source, &n, &leader, &n_coming);
        if (leader && n_coming >= n + FOLLOW_MIN) {
            job->state = JOB_FOLLOW;
            job->leader = leader;
            job->n_shared = n_coming;
        } else {
            begin_prompt (g, job, source, n);
        }
    }
}
