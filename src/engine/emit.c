/* emit.c: from text to deltas, and out.
 *
 *   tokens ─▶ whole characters ─▶ reply parser ─▶ content ─▶ stop strings ─▶ deltas ─▶ DELTA
 *             (draw.c)            (the bridge)    reasoning, calls ────────▶
 *
 * The parser reads the whole reply again each time it is fed, so it is fed at the first text, then every 20 ms or so, and at once when
 * a stop string may have come.  Nothing here ever waits: what the socket does not take gathers in the job, neighbours joined, and a
 * job whose text lags too far behind its reader stops sampling until that has caught up. */
#include "engine/engine.h"

#include <string.h>

#define LOGPROB_BYTES 80 /* about what one candidate takes on the link */

/* ---- deltas --------------------------------------------------------------------------------------------------------------- */

/* Appends @text to a string member. */
static void
append_text (json_t *object, const char *key, const char *text, gsize length)
{
    const json_t *had = json_object_get (object, key);
    g_autoptr (GString) joined = g_string_new_len (json_string_value (had), json_string_length (had));
    g_string_append_len (joined, text, length);
    json_set_text (object, key, joined->str, joined->len);
}

/* The last delta, if it is one of @key, and for calls of number @call. */
static json_t *
last_delta (const Job *job, const char *key, gint64 call)
{
    json_t *last = json_array_get (job->deltas, json_array_size (job->deltas) - 1);
    if (!last || (call < 0 ? !json_object_get (last, key) : json_peek_int (last, "call", -1) != call))
        return NULL;
    return last;
}

static void
add_text (Job *job, const char *key, const char *text, gsize length)
{
    if (length == 0)
        return;
    json_t *delta = last_delta (job, key, -1);
    if (!delta)
        json_array_append_new (job->deltas, delta = json_object ());
    append_text (delta, key, text, length);
    job->n_waiting_bytes += length;
}

static void
flush_stops (Job *job)
{
    g_autoptr (GString) safe = g_string_new (NULL);
    text_stops_flush (job->stops, safe);
    add_text (job, "content", safe->str, safe->len);
    job->n_shown += safe->len;
}

static gboolean
is_own_stop (const Job *job, const char *stop)
{
    size_t i;
    json_t *own;
    json_array_foreach (job->own_stops, i, own)
        if (g_strcmp0 (json_string_value (own), stop) == 0)
            return TRUE;
    return FALSE;
}

static void
take_content (Job *job, const json_t *text)
{
    g_autoptr (GString) safe = g_string_new (NULL);
    const char *stop = text_stops_feed (job->stops, json_string_value (text), json_string_length (text), safe);
    add_text (job, "content", safe->str, safe->len);
    job->n_content += json_string_length (text);
    job->n_shown += safe->len;
    if (!stop)
        return;
    if (is_own_stop (job, stop))
        job->stop_string = g_strdup (stop);
    job_end (job, job->stop_string ? "stop_string" : "stop");
}

static void
take_reasoning (Job *job, const json_t *text)
{
    flush_stops (job);
    add_text (job, "reasoning", json_string_value (text), json_string_length (text));
}

static void
take_call (Job *job, const json_t *delta)
{
    gint64 index = json_peek_int (delta, "call", 0);
    if (job->one_call && index > 0) {
        job_end (job, "call");
        return;
    }
    flush_stops (job);
    const json_t *arguments = json_object_get (delta, "args");
    const char *text = json_string_value (arguments);
    const gsize length = json_string_length (arguments);
    if (index == 0 && text)
        g_string_append_len (job->call_zero, text, length);

    json_t *last = index == job->last_call ? last_delta (job, NULL, index) : NULL;
    if (last && text)
        append_text (last, "args", text, length);
    else
        json_array_append (job->deltas, (json_t *) delta);
    job->last_call = index;
    job->n_waiting_bytes += length;
}

/* ---- the parser ----------------------------------------------------------------------------------------------------------- */

/* @n_content bytes of content were settled together with the open tokens: of these, the last that make up so many bytes are visible,
 * those before were marks.  Without content all were something else. */
static void
settle_logprobs (Job *job, gsize n_content)
{
    gsize n_left = n_content;
    for (GList *at = job->logprobs_open.tail, *before; at; at = before) {
        before = at->prev;
        TokenLogprobs *entry = at->data;
        if (entry->settled)
            return;
        if (n_left > 0) {
            entry->settled = TRUE;
            entry->content_end = job->n_content;
            n_left -= MIN (n_left, entry->n_bytes);
            continue;
        }
        json_decref (entry->json);
        g_free (entry);
        g_queue_delete_link (&job->logprobs_open, at);
    }
}

/* The entries whose text has gone through the stops go out with it. */
static void
show_logprobs (Job *job)
{
    for (TokenLogprobs *entry; (entry = g_queue_peek_head (&job->logprobs_open));) {
        if (!entry->settled || entry->content_end > job->n_shown)
            return;
        if (!job->logprobs)
            job->logprobs = json_array ();
        json_array_append_new (job->logprobs, entry->json);
        job->n_waiting_bytes += LOGPROB_BYTES * (1 + json_array_size (json_object_get (entry->json, "top")));
        g_free (g_queue_pop_head (&job->logprobs_open));
    }
}

static void
take_deltas (Job *job, const json_t *deltas)
{
    const gsize n_content = job->n_content;
    size_t i;
    json_t *delta;
    json_array_foreach (deltas, i, delta) {
        if (job->end)
            break;
        const json_t *content = json_object_get (delta, "content"), *reasoning = json_object_get (delta, "reasoning");
        if (json_object_get (delta, "call"))
            take_call (job, delta);
        else if (json_is_string (reasoning))
            take_reasoning (job, reasoning);
        else if (json_is_string (content))
            take_content (job, content);
    }
    if (json_array_size (deltas) > 0)
        settle_logprobs (job, job->n_content - n_content);
}

static void
feed (Job *job, gboolean last)
{
    if (job->fed_last)
        return;
    const gint64 begin = g_get_monotonic_time ();
    char *sentence = NULL;
    char *text = lb_turn_feed (job->turn, job->unparsed->str, job->unparsed->len, last, &sentence);
    g_string_truncate (job->unparsed, 0);
    job->fed_last = last;
    job->feed_now = FALSE;
    job->fed_us = g_get_monotonic_time ();
    job->feed_cost_us = job->fed_us - begin;
    if (!text) {
        GError *error = NULL;
        engine_error_take (&error, "internal", sentence);
        job_fail (job, error);
        return;
    }
    g_autoptr (json_t) deltas = json_parse (text, strlen (text), NULL);
    free (text);
    take_deltas (job, deltas);
    if (last && !job->end)
        flush_stops (job);
    show_logprobs (job);
}

/* A twentieth of the time at most goes into parsing. */
static gboolean
feed_is_due (const Job *job, gint64 now)
{
    return job->unparsed->len > 0 &&
           (job->feed_now || !job->fed_us || now - job->fed_us >= MAX (ENGINE_FEED_MS * 1000, 20 * job->feed_cost_us));
}

/* ---- out ------------------------------------------------------------------------------------------------------------------ */

static void
send_deltas (Engine *g, Job *job)
{
    if (json_array_size (job->deltas) == 0 && json_array_size (job->logprobs) == 0)
        return;
    g_autoptr (json_t) payload =
        json_pack ("{s:o, s:i}", "deltas", g_steal_pointer (&job->deltas), "tokens", job->n_unsent);
    if (job->logprobs)
        json_object_set_new (payload, "logprobs", g_steal_pointer (&job->logprobs));
    link_send_json (g->link, LINK_DELTA, job->id, payload);
    job->deltas = json_array ();
    job->n_unsent = 0;
    job->n_waiting_bytes = 0;
    job->lagging = FALSE;
}

void
emit (Engine *g)
{
    const gint64 now = g_get_monotonic_time ();
    for (guint i = 0; i < g->jobs->len; i++) {
        Job *job = g_ptr_array_index (g->jobs, i);
        if (job->end || job->error)
            continue;
        if (job->limit) {
            text_gate_finish (&job->gate, job->unparsed);
            feed (job, TRUE);
            job_end (job, job->limit);
        } else if (feed_is_due (job, now)) {
            feed (job, FALSE);
        }
        if (link_queued_bytes (g->link) < ENGINE_OUT_LOW)
            send_deltas (g, job);
        else if (job->n_waiting_bytes > ENGINE_LAG_MAX)
            job->lagging = TRUE;
    }
}

void
emit_last (Engine *g, Job *job)
{
    /* A reply that was cut off keeps what was sampled; one that ended at a stop string, or at its only call, has said all. */
    const gboolean cut_off = !job->end || g_str_equal (job->end, "cancelled") || g_str_equal (job->end, "context_full");
    if (cut_off && job->n_completion > 0) {
        text_gate_finish (&job->gate, job->unparsed);
        feed (job, TRUE);
    }
    send_deltas (g, job);
}
