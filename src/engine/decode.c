/* decode.c: the batch, and what the cache makes of it.
 *
 * plan asks the pure planner which rows go in; decode fills the batch, computes, and answers llama_decode's results as the table of
 * engine.md 3 has them.  No room means: first whoever is parked goes, then the prompt's part is halved, then the youngest job gives
 * back its cells and computes them again when another has ended.  A single job always fits, since none may be longer than the cache. */
#include "engine/engine.h"

#include <string.h>

/* ---- plan ----------------------------------------------------------------------------------------------------------------- */

void
plan (Engine *g)
{
    PlanSeq seqs[ENGINE_MAX_PARALLEL];
    Job *jobs[ENGINE_MAX_PARALLEL];
    guint n_seqs = 0, n_streams = 0;
    for (guint i = 0; i < g->jobs->len; i++) {
        Job *job = g_ptr_array_index (g->jobs, i);
        job->row = -1;
        if (!job->seq || !job_may_run (job))
            continue;
        guint n_left = job->tokens->len - job->seq->n_kv;
        if (job->state == JOB_STREAM) {
            seqs[n_seqs] = (PlanSeq){ .n_rows = n_left, .order = job->served };
            n_streams++;
        } else {
            seqs[n_seqs] = (PlanSeq){ .n_prompt = n_left, .order = job->arrival };
        }
        jobs[n_seqs++] = job;
    }
    PlanLimits limits = {
        .n_batch = g->n_batch,
        .chunk = MIN (plan_chunk (n_streams, g->chunk_ms, g->rates, g->n_ubatch, g->n_batch), g->chunk_limit),
    };
    g->n_parts = plan_batch (seqs, n_seqs, limits, g->parts);
    for (guint i = 0; i < g->n_parts; i++)
        g->part_jobs[i] = jobs[g->parts[i].index];
}

/* ---- the batch ------------------------------------------------------------------------------------------------------------ */

static void
fill_batch (Engine *g)
{
    struct llama_batch *batch = &g->batch;
    batch->n_tokens = 0;
    g->n_prompt_rows = g->n_stream_rows = 0;
    for (guint i = 0; i < g->n_parts; i++) {
        Job *job = g->part_jobs[i];
        const guint n = g->parts[i].n_tokens, begin = job->seq->n_kv;
        const llama_token *tokens = (const llama_token *) (void *) job->tokens->data;
        for (guint k = begin; k < begin + n; k++) {
            gint32 row = batch->n_tokens++;
            batch->token[row] = tokens[k];
            batch->pos[row] = k;
            batch->n_seq_id[row] = 1;
            batch->seq_id[row][0] = job->seq->id;
            batch->logits[row] = k + 1 == job->tokens->len;
            if (batch->logits[row])
                job->row = row;
        }
        *(job->state == JOB_STREAM ? &g->n_stream_rows : &g->n_prompt_rows) += n;
    }
}

/* The rows of ended or unfinished decodes must not be drawn from. */
static void
forget_batch (Engine *g)
{
    for (guint i = 0; i < g->n_parts; i++)
        g->part_jobs[i]->row = -1;
    g->n_parts = 0;
}

static void
fail_batch (Engine *g, const char *sentence)
{
    for (guint i = 0; i < g->n_parts; i++)
        job_fail (g->part_jobs[i], g_error_new_literal (ENGINE_ERROR, ENGINE_ERROR_INTERNAL, sentence));
    forget_batch (g);
}

/* ---- what went wrong ------------------------------------------------------------------------------------------------------ */

static Job *
youngest_with_cells (Engine *g, guint *n)
{
    Job *youngest = NULL;
    *n = 0;
    for (guint i = 0; i < g->jobs->len; i++) {
        Job *job = g_ptr_array_index (g->jobs, i);
        if (!job->seq)
            continue;
        (*n)++;
        if (!youngest || job->arrival > youngest->arrival)
            youngest = job;
    }
    return youngest;
}

static void
make_room (Engine *g)
{
    if (cells_evict (g))
        return;
    if (g->n_prompt_rows > PLAN_CHUNK_MIN) {
        g->chunk_limit = g->n_prompt_rows / 2;
        return;
    }
    guint n;
    Job *youngest = youngest_with_cells (g, &n);
    if (n <= 1) {
        job_end (youngest, "context_full");
        return;
    }
    cells_free (g, g_steal_pointer (&youngest->seq));
    youngest->state = JOB_PREEMPTED;
    youngest->n_shared = g->n_ended;
}

static void
read_back (Engine *g)
{
    for (guint i = 0; i < g->n_parts; i++)
        cells_read_back (g, g->part_jobs[i]->seq);
    forget_batch (g);
}

/* A batch that the library refuses is our bug: what we gave it goes into the log. */
static void
refuse_batch (Engine *g)
{
    g_autoptr (GString) text = g_string_new (NULL);
    for (guint i = 0; i < g->n_parts; i++) {
        const Job *job = g->part_jobs[i];
        g_string_append_printf (text, " [job %u seq %d at %u: %u]", job->id, job->seq->id, job->seq->n_kv,
                                g->parts[i].n_tokens);
    }
    g_printerr ("lms-engine: the library refused a batch:%s\n", text->str);
    fail_batch (g, "The engine made a batch that its library refused.");
}

/* Nothing that the cache holds can be trusted any more.  Twice in a row, and neither can we. */
static void
lose_everything (Engine *g, int result)
{
    g_autofree char *reason = g_strdup (lb_last_log_error ());
    g_printerr ("lms-engine: computing failed (%d): %s\n", result, reason);
    for (guint i = 0; i < g->jobs->len; i++) {
        Job *job = g_ptr_array_index (g->jobs, i);
        if (job->seq)
            job_fail (job, g_error_new (ENGINE_ERROR, ENGINE_ERROR_INTERNAL, "Computing failed. %s", reason));
        job->seq = NULL;
    }
    g->n_parts = 0;
    cells_clear (g);
    llama_memory_clear (g->cache, true);
    cells_init (g);
    if (++g->n_failed_decodes > 1)
        g_error ("computing failed twice in a row");
}

/* ---- decode --------------------------------------------------------------------------------------------------------------- */

static void
measure (Engine *g, double ms, gint64 now)
{
    g->n_decode++;
    g->n_tokens_decoded += g->batch.n_tokens;
    threads_computed (g->threads);
    plan_note (&g->rates, g->n_prompt_rows, g->batch.n_tokens, ms);
    if (g->n_prompt_rows == 0)
        threads_note (g->threads, g->n_stream_rows, ms, now);
}

static void
report_prompts (Engine *g, gint64 now)
{
    for (guint i = 0; i < g->n_parts; i++) {
        Job *job = g->part_jobs[i];
        if (job->state != JOB_PROMPT || job->first_us || now - job->progress_us < 200000)
            continue;
        job->progress_us = now;
        g_autoptr (json_t) progress =
            json_pack ("{s:i, s:i}", "done", (int) MIN (job->seq->n_kv, (guint) job->n_prompt), "total", job->n_prompt);
        link_send_json (g->link, LINK_PREFILL, job->id, progress);
    }
}

static void
take_result (Engine *g, double ms, gint64 now)
{
    g->n_failed_decodes = 0;
    g->chunk_limit = G_MAXUINT;
    for (guint i = 0; i < g->n_parts; i++) {
        Job *job = g->part_jobs[i];
        job->seq->n_kv += g->parts[i].n_tokens;
        job->served = g->n_decode + 1;
#ifdef __SANITIZE_ADDRESS__
        g_assert_cmpint (llama_memory_seq_pos_max (g->cache, job->seq->id) + 1, ==, job->seq->n_kv);
#endif
    }
    measure (g, ms, now);
    report_prompts (g, now);
}

gboolean
decode (Engine *g)
{
    if (g->n_parts == 0)
        return FALSE;
    fill_batch (g);
    const gint64 begin = g->peeked_us = g_get_monotonic_time ();
    int result = llama_decode (g->context, g->batch);
    llama_synchronize (g->context);
    const gint64 now = g_get_monotonic_time ();

    if (result == 0)
        take_result (g, (now - begin) / 1000.0, now);
    else if (result == 1)
        make_room (g);
    else if (result == 2)
        read_back (g);
    else if (result == -1)
        refuse_batch (g);
    else
        lose_everything (g, result);
    return result == 0;
}
