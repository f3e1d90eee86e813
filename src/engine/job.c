/* job.c: one request from its frame to its last word.
 *
 * A job ends by DONE or FAIL, exactly once.  Whoever finds out that it is over only says so (job_end, job_fail; the first one counts);
 * retire, at a border of the loop, gives back what the job held and sends the frame. */
#include "engine/engine.h"

#include "engine/overflow.h"

#include <string.h>

G_DEFINE_QUARK (engine - error - quark, engine_error)

static const char *const error_kinds[] = {
    [ENGINE_ERROR_INVALID] = "invalid",   [ENGINE_ERROR_CONTEXT] = "context",   [ENGINE_ERROR_TEMPLATE] = "template",
    [ENGINE_ERROR_GRAMMAR] = "grammar",   [ENGINE_ERROR_UNLOADED] = "unloaded", [ENGINE_ERROR_MEMORY] = "memory",
    [ENGINE_ERROR_INTERNAL] = "internal",
};

const char *
engine_error_kind (const GError *error)
{
    if (error->domain == JSON_PARSE_ERROR)
        return "invalid";
    return error->domain == ENGINE_ERROR ? error_kinds[error->code] : "internal";
}

void
engine_error_take (GError **error, const char *kind, char *sentence)
{
    int code = ENGINE_ERROR_INTERNAL;
    for (guint i = 0; i < G_N_ELEMENTS (error_kinds); i++)
        if (g_strcmp0 (kind, error_kinds[i]) == 0)
            code = i;
    g_set_error_literal (error, ENGINE_ERROR, code, sentence ? sentence : "The library failed without a reason.");
    g_free (sentence);
}

/* ---- from the frame ------------------------------------------------------------------------------------------------------- */

#define MAX_STOP_BYTES  4096
#define MAX_OWNER_BYTES 256
#define REPLY_ROOM      256 /* tokens that a conversation cut to fit leaves for the reply, or an eighth of the context */

static gboolean
refuse (GError **error, const char *sentence)
{
    g_set_error_literal (error, ENGINE_ERROR, ENGINE_ERROR_INVALID, sentence);
    return FALSE;
}

/* Adds the strings of @array, which may be NULL. */
static gboolean
add_strings (GPtrArray *strings, const json_t *array, GError **error)
{
    if (array && !json_is_array (array))
        return refuse (error, "The stop strings are no list.");
    size_t i;
    json_t *value;
    json_array_foreach (array, i, value) {
        gsize length = json_string_length (value);
        if (!json_is_string (value) || length > MAX_STOP_BYTES || strlen (json_string_value (value)) != length)
            return refuse (error, "A stop string must be a text of at most 4096 bytes.");
        if (strings->len >= ENGINE_MAX_STOPS)
            return refuse (error, "There are too many stop strings.");
        if (length > 0)
            g_ptr_array_add (strings, (char *) json_string_value (value));
    }
    return TRUE;
}

static gboolean
make_readers (Job *job, const json_t *payload, const json_t *info, GError **error)
{
    g_autoptr (GPtrArray) stops = g_ptr_array_new (), ends = g_ptr_array_new ();
    if (!add_strings (stops, json_object_get (payload, "stop"), error) ||
        !add_strings (stops, json_object_get (info, "stops"), error) ||
        !add_strings (ends, json_object_get (info, "thinking_ends"), error))
        return FALSE;
    job->own_stops = json_incref (json_object_get (payload, "stop"));
    g_ptr_array_add (stops, NULL);
    g_ptr_array_add (ends, NULL);
    job->scout = text_stops_new ((const char *const *) stops->pdata);
    job->stops = text_stops_new ((const char *const *) stops->pdata);
    job->thinking = text_thinking_new (json_peek_string (info, "thinking_start"), (const char *const *) ends->pdata,
                                       json_peek_bool (info, "thinking_open", FALSE));
    return TRUE;
}

static LbTurn *
make_turn (Engine *g, json_t *request, GError **error)
{
    json_t *sampling = json_object_get (request, "sampling");
    if (g->seed && json_is_object (sampling) && !json_object_get (sampling, "seed"))
        json_object_set (sampling, "seed", g->seed);
    g_autofree char *text = json_print (request, NULL);
    char *sentence = NULL;
    const char *kind = NULL;
    LbTurn *turn = lb_turn_new (g->chat, text, &sentence, &kind);
    if (!turn)
        engine_error_take (error, kind, sentence);
    return turn;
}

Job *
job_new (Engine *g, guint32 id, const json_t *payload, GError **error)
{
    json_t *request = json_object_get (payload, "request");
    const char *owner = json_peek_string (payload, "owner");
    if (!json_is_object (request))
        return refuse (error, "The job has no request."), NULL;
    if (owner && (!*owner || strlen (owner) > MAX_OWNER_BYTES))
        return refuse (error, "The job's owner must be a text of 1 to 256 bytes."), NULL;

    Job *job = g_new0 (Job, 1);
    job->id = id;
    job->arrived_us = g_get_monotonic_time ();
    job->arrival = ++g->n_arrived;
    job->owner = g_strdup (owner ? owner : "local");
    job->priority = CLAMP (json_peek_int (payload, "priority", 0), -1000, 1000);
    job->max_tokens = MAX (json_peek_int (payload, "max_tokens", -1), -1);
    job->n_logprobs = CLAMP (json_peek_int (payload, "n_logprobs", -1), -1, ENGINE_MAX_LOGPROBS);
    job->want_prompt = json_peek_bool (payload, "want_prompt", FALSE);
    job->keep_special = json_peek_bool (payload, "keep_special", FALSE);
    job->one_call = json_array_size (json_object_get (request, "tools")) > 0 &&
                    !json_peek_bool (request, "parallel_tool_calls", TRUE);
    job->row = job->last_call = -1;
    job->unparsed = g_string_new (NULL);
    job->call_zero = g_string_new (NULL);
    job->deltas = json_array ();
    g_queue_init (&job->logprobs_open);

    if (!json_object_get (payload, "overflow")) /* a text that cannot fit by far need not be tokenised */
        json_object_set_new (request, "n_ctx", json_integer (g->n_ctx));
    job->turn = make_turn (g, request, error);
    if (job->turn) {
        job->view = lb_turn_view (job->turn);
        job->n_prompt = job->view.n_tokens;
        job->tokens = g_array_new (FALSE, FALSE, sizeof (llama_token));
        job->scores_prompt = job->n_logprobs >= 0 && json_peek_bool (payload, "prompt_logprobs", FALSE);
        g_array_append_vals (job->tokens, job->view.tokens, job->scores_prompt ? 1 : job->view.n_tokens);
        g_autoptr (json_t) info = json_parse (job->view.info_json, strlen (job->view.info_json), NULL);
        if (make_readers (job, payload, info, error))
            return job;
    }
    job_free (job);
    return NULL;
}

/* Rendering tells how long a conversation is, and costs milliseconds: so the number of messages to drop is found by halving. */
Job *
job_new_fitting (Engine *g, guint32 id, json_t *payload, GError **error)
{
    Job *whole = job_new (g, id, payload, error);
    const Overflow policy = overflow_from_name (json_peek_string (payload, "overflow"));
    if (!whole || (guint) whole->n_prompt < g->n_ctx || policy == OVERFLOW_STOP)
        return whole;

    json_t *request = json_object_get (payload, "request");
    g_autoptr (json_t) messages = json_incref (json_object_get (request, "messages"));
    const guint limit = g->n_ctx - MIN (g->n_ctx / 8, REPLY_ROOM);
    Job *best = NULL;
    for (guint low = 1, high = overflow_n_droppable (messages, policy); low <= high;) {
        const guint n = low + (high - low) / 2;
        json_object_set_new (request, "messages", overflow_drop (messages, policy, n));
        Job *shorter = job_new (g, id, payload, NULL);
        if (shorter && (guint) shorter->n_prompt < limit) {
            g_clear_pointer (&best, job_free);
            best = shorter;
            high = n - 1;
        } else {
            g_clear_pointer (&shorter, job_free);
            low = n + 1;
        }
    }
    json_object_set (request, "messages", messages);
    if (!best)
        return whole;
    job_free (whole);
    return best;
}

static void
logprobs_free (gpointer data)
{
    TokenLogprobs *entry = data;
    json_decref (entry->json);
    g_free (entry);
}

void
job_free (Job *job)
{
    g_assert (!job->seq);
    lb_turn_free (job->turn);
    g_clear_pointer (&job->tokens, g_array_unref);
    text_stops_free (job->scout);
    text_stops_free (job->stops);
    text_thinking_free (job->thinking);
    g_queue_clear_full (&job->logprobs_open, logprobs_free);
    json_decref (job->own_stops);
    json_decref (job->deltas);
    json_decref (job->logprobs);
    g_string_free (job->unparsed, TRUE);
    g_string_free (job->call_zero, TRUE);
    g_clear_error (&job->error);
    g_free (job->stop_string);
    g_free (job->owner);
    g_free (job);
}

/* ---- while it runs -------------------------------------------------------------------------------------------------------- */

Job *
job_find (Engine *g, guint32 id)
{
    for (guint i = 0; i < g->jobs->len; i++) {
        Job *job = g_ptr_array_index (g->jobs, i);
        if (job->id == id)
            return job;
    }
    return NULL;
}

gboolean
job_has_place (const Job *job)
{
    return job->state != JOB_QUEUED;
}

static gboolean
is_over (const Job *job)
{
    return job->limit || job->end || job->error || job->cancelled;
}

gboolean
job_may_run (const Job *job)
{
    return !job->paused && !job->lagging && !is_over (job);
}

void
job_end (Job *job, const char *reason)
{
    if (!job->end && !job->error)
        job->end = reason;
}

void
job_fail (Job *job, GError *error)
{
    if (job->end || job->error)
        g_error_free (error);
    else
        job->error = error;
}

/* ---- its last word -------------------------------------------------------------------------------------------------------- */

/* A reply that its model ended is one of calls if the first of them is whole (http.md 3.6). */
static const char *
done_reason (const Job *job)
{
    if (!g_str_equal (job->end, "stop") || job->last_call < 0)
        return job->end;
    g_autoptr (json_t) arguments = json_parse (job->call_zero->str, job->call_zero->len, NULL);
    return job->last_call > 0 || json_is_object (arguments) ? "call" : "stop";
}

static void
send_done (Engine *g, const Job *job)
{
    const gint64 now = g_get_monotonic_time ();
    const gint64 started = job->started_us ? job->started_us : now, first = job->first_us ? job->first_us : now;
    g_autoptr (json_t) done =
        json_pack ("{s:s, s:{s:i, s:i, s:i, s:i}, s:{s:f, s:f, s:f, s:f}}", "reason", done_reason (job), "usage",
                   "prompt", job->n_prompt, "cached", job->n_cached, "completion", job->n_completion, "reasoning",
                   text_thinking_count (job->thinking), "times", "queue_ms", (started - job->arrived_us) / 1000.0,
                   "prompt_ms", (first - started) / 1000.0, "first_ms", (first - job->arrived_us) / 1000.0,
                   "generate_ms", (now - first) / 1000.0);
    if (job->stop_string)
        json_set_text (done, "stop_string", job->stop_string, strlen (job->stop_string));
    if (lb_turn_parse_failed (job->turn))
        json_object_set_new (done, "parse_failed", json_true ());
    link_send_json (g->link, LINK_DONE, job->id, done);
}

/* An owner without jobs loses its turn number: the table stays as small as the queue. */
static void
forget_turn (Engine *g, const char *owner)
{
    for (guint i = 0; i < g->jobs->len; i++)
        if (g_str_equal (((Job *) g_ptr_array_index (g->jobs, i))->owner, owner))
            return;
    g_hash_table_remove (g->turns, owner);
}

static void
retire_one (Engine *g, guint index)
{
    Job *job = g_ptr_array_steal_index (g->jobs, index);
    for (guint i = 0; i < g->jobs->len; i++) {
        Job *follower = g_ptr_array_index (g->jobs, i);
        if (follower->leader == job)
            follower->leader = NULL;
    }
    cells_release (g, job);
    emit_last (g, job);
    if (job->error)
        send_fail (g, job->id, job->error);
    else
        send_done (g, job);
    forget_turn (g, job->owner);
    job_free (job);
    g->n_ended++;
}

void
retire (Engine *g)
{
    const gint64 now = g_get_monotonic_time ();
    for (guint i = 0; i < g->jobs->len;) {
        Job *job = g_ptr_array_index (g->jobs, i);
        gboolean held = job->paused || job->lagging;
        if (!held)
            job->held_since_us = 0;
        else if (!job->held_since_us)
            job->held_since_us = now;
        else if (now - job->held_since_us > ENGINE_LAG_MAX_MS * G_GINT64_CONSTANT (1000))
            job_fail (job, g_error_new_literal (ENGINE_ERROR, ENGINE_ERROR_INTERNAL,
                                                "The reader of this reply did not read for a minute."));
        if (job->cancelled)
            job_end (job, "cancelled");
        if (job->end || job->error)
            retire_one (g, i);
        else
            i++;
    }
}
