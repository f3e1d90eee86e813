/* draw.c: from logits to a token, and whether the reply goes on. */
#include "engine/engine.h"

static json_t *
bytes_of (const Engine *g, llama_token token, const char *piece, gsize n)
{
    json_t *bytes = json_array ();
    for (gsize i = 0; i < n; i++)
        json_array_append_new (bytes, json_integer ((guint8) piece[i]));
    return bytes;
}

/* A token's bytes; those of a special one only if @special.  The caller frees @large, when it had to be made. */
static const char *
token_piece (const Engine *g, llama_token token, gboolean special, char small[64], char **large, gsize *length)
{
    gint32 n = llama_token_to_piece (g->vocab, token, small, 64, 0, special);
    if (n >= 0) {
        *length = n;
        return small;
    }
    *large = g_malloc (-n);
    *length = MAX (0, llama_token_to_piece (g->vocab, token, *large, -n, 0, special));
    return *large;
}

static json_t *
logprob_entry (const Engine *g, llama_token token, float logprob)
{
    char small[64];
    g_autofree char *large = NULL;
    gsize n;
    const char *piece = token_piece (g, token, TRUE, small, &large, &n);
    return json_pack ("{s:i, s:o, s:f}", "id", (int) token, "bytes", bytes_of (g, token, piece, n), "logprob",
                      (double) logprob);
}

/* What the job's row says of @token and its rivals; NULL when the row has no logits. */
static json_t *
logprobs_of (Engine *g, Job *job, llama_token token)
{
    llama_token ids[ENGINE_MAX_LOGPROBS];
    float chosen = 0, logprobs[ENGINE_MAX_LOGPROBS];
    int n = lb_logprobs (g->context, job->row, token, &chosen, job->n_logprobs, ids, logprobs);
    if (n < 0)
        return NULL;
    json_t *json = logprob_entry (g, token, chosen), *top = json_array ();
    for (int i = 0; i < n; i++)
        json_array_append_new (top, logprob_entry (g, ids[i], logprobs[i]));
    json_object_set_new (json, "top", top);
    return json;
}

static void
note_logprobs (Engine *g, Job *job, llama_token token, gsize n_bytes)
{
    json_t *json = logprobs_of (g, job, token);
    if (!json)
        return;

    TokenLogprobs *entry = g_new0 (TokenLogprobs, 1);
    entry->json = json;
    entry->n_bytes = n_bytes;
    g_queue_push_tail (&job->logprobs_open, entry);
}

static void
take_token (Engine *g, Job *job, llama_token token)
{
    char small[64];
    g_autofree char *large = NULL;
    gsize n;
    gboolean special = job->keep_special || lb_turn_preserves (job->turn, token);
    const char *piece = token_piece (g, token, special, small, &large, &n);

    g_array_append_val (job->tokens, token);
    job->n_completion++;
    job->n_unsent++;
    text_thinking_token (job->thinking, piece, n);
    if (job->n_logprobs >= 0)
        note_logprobs (g, job, token, n);

    gsize had = job->unparsed->len;
    text_gate_feed (&job->gate, piece, n, job->unparsed);
    g_autoptr (GString) ignored = g_string_new (NULL);
    if (text_stops_feed (job->scout, job->unparsed->str + had, job->unparsed->len - had, ignored)) {
        job->feed_now = TRUE;
        text_stops_reset (job->scout);
    }
    if (job->n_logprobs >= 0 || job->one_call)
        job->feed_now = TRUE; /* what belongs to which token must be known, and no token may come after the call */

    if (job->max_tokens >= 0 && job->n_completion >= job->max_tokens)
        job->limit = "length";
    else if (job->tokens->len >= g->n_ctx)
        job->limit = "context_full";
}

/* The next token of a prompt that is scored, in place of one drawn.  FALSE: the prompt is whole. */
static gboolean
take_given (Engine *g, Job *job)
{
    if (!job->logprobs)
        job->logprobs = json_array ();
    if (job->n_scored == 0) { /* nothing stands before the first one */
        json_t *first = logprob_entry (g, job->view.tokens[0], 0);
        json_object_set_new (first, "logprob", json_null ());
        json_array_append_new (job->logprobs, first);
        job->n_scored = 1;
    }
    if (job->n_scored >= job->n_prompt)
        return FALSE;
    const llama_token token = job->view.tokens[job->n_scored++];
    json_t *entry = logprobs_of (g, job, token);
    if (entry)
        json_array_append_new (job->logprobs, entry);
    g_array_append_val (job->tokens, token);
    job->state = JOB_STREAM;
    return TRUE;
}

static void
draw_one (Engine *g, Job *job)
{
    if (job->scores_prompt && take_given (g, job))
        return;
    if (job->max_tokens == 0) {
        job->limit = "length";
        return;
    }
    llama_token token;
    char *sentence = NULL;
    const gint32 row = job->row;
    if (lb_turn_draw (job->turn, g->context, &row, NULL, 0, &token, &sentence) != 1) {
        GError *error = NULL;
        engine_error_take (&error, "internal", sentence);
        job_fail (job, error);
        return;
    }
    job->state = JOB_STREAM;
    if (!job->first_us)
        job->first_us = g_get_monotonic_time ();
    if (llama_vocab_is_eog (g->vocab, token))
        job->limit = "stop";
    else
        take_token (g, job, token);
}

void
draw (Engine *g)
{
    for (guint i = 0; i < g->n_parts; i++) {
        Job *job = g->part_jobs[i];
        if (job->row >= 0 && !job->cancelled)
            draw_one (g, job);
        job->row = -1;
    }
}
