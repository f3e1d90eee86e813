/* frames.c: the daemon's words, taken one by one (payloads: link/link.h).
 *
 * A table says which type needs what to be loaded, and who answers it.  Frames that come while a load or a decode runs are read by
 * frames_peek, which only looks for CANCEL and STOP; they wait in the inbox, in order, and are handled at the loop's next border.  A
 * frame that makes no sense is answered by FAIL with a sentence, never by an abort: the payload is foreign input. */
#include "engine/engine.h"

#include "engine/backend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define HANDLE_MS 20 /* so long may frames be handled between two decodes */

typedef struct {
    LinkType type;
    guint32 job;
    gsize length;
    char *payload;
} Frame;

static void
frame_free (Frame *frame)
{
    g_free (frame->payload);
    g_free (frame);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Frame, frame_free)

void
send_fail (Engine *g, guint32 job, const GError *error)
{
    g_autoptr (json_t) fail = json_pack ("{s:s}", "kind", engine_error_kind (error));
    json_set_text (fail, "message", error->message, strlen (error->message));
    link_send_json (g->link, LINK_FAIL, job, fail);
}

static void G_GNUC_PRINTF (4, 5) send_failf (Engine *g, guint32 job, EngineError code, const char *format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    g_autoptr (GError) error = g_error_new_valist (ENGINE_ERROR, code, format, arguments);
    va_end (arguments);
    send_fail (g, job, error);
}

/* ---- the handlers --------------------------------------------------------------------------------------------------------- */

static void
take_load (Engine *g, guint32 id, json_t *payload)
{
    g_autoptr (GError) error = NULL;
    if (g->model)
        send_failf (g, 0, ENGINE_ERROR_INVALID, "This engine has loaded a model already.");
    else if (!engine_load (g, payload, &error))
        send_fail (g, 0, error);
}

static void
take_job (Engine *g, guint32 id, json_t *payload)
{
    if (id == 0 || job_find (g, id)) {
        send_failf (g, id, ENGINE_ERROR_INTERNAL, "The number of the job is taken.");
        return;
    }
    if (g->jobs->len >= ENGINE_MAX_JOBS) {
        send_failf (g, id, ENGINE_ERROR_INTERNAL, "The engine's queue is full.");
        return;
    }
    g_autoptr (GError) error = NULL;
    Job *job = job_new_fitting (g, id, payload, &error);
    if (!job) {
        send_fail (g, id, error);
        return;
    }
    if ((guint) job->n_prompt >= g->n_ctx) {
        g_autoptr (json_t) fail =
            json_pack ("{s:s, s:i, s:i}", "kind", "context", "n_prompt", job->n_prompt, "n_ctx", (int) g->n_ctx);
        g_autofree char *message =
            g_strdup_printf ("The prompt of %d tokens does not fit the context of %u tokens.", job->n_prompt, g->n_ctx);
        json_set_text (fail, "message", message, strlen (message));
        link_send_json (g->link, LINK_FAIL, id, fail);
        job_free (job);
        return;
    }
    if (job->max_tokens == 0 && !job->want_prompt && !job->scores_prompt)
        job_end (job, "length"); /* nothing to generate: nothing to compute */
    g_ptr_array_add (g->jobs, job);
}

static void
take_cancel (Engine *g, guint32 id, json_t *payload)
{
    Job *job = job_find (g, id);
    if (job)
        job->cancelled = TRUE;
    if (id != 0 && id == g->embed_job)
        g->embed_cancelled = TRUE;
}

static void
take_pause (Engine *g, guint32 id, json_t *payload)
{
    Job *job = job_find (g, id);
    if (job)
        job->paused = TRUE;
}

static void
take_resume (Engine *g, guint32 id, json_t *payload)
{
    Job *job = job_find (g, id);
    if (job)
        job->paused = FALSE;
}

static void
take_forget (Engine *g, guint32 id, json_t *payload)
{
    const char *owner = json_peek_string (payload, "owner");
    if (owner && g->tree)
        cells_forget (g, owner);
}

static void
take_tokenize (Engine *g, guint32 id, json_t *payload)
{
    const json_t *text = json_object_get (payload, "text");
    const gsize length = json_string_length (text);
    if (!json_is_string (text) || length > LINK_MAX_PAYLOAD / 8) {
        send_failf (g, id, ENGINE_ERROR_INVALID, "TOKENIZE needs a text of at most %u bytes.", LINK_MAX_PAYLOAD / 8);
        return;
    }
    const bool add = json_peek_bool (payload, "add_special", FALSE),
               parse = json_peek_bool (payload, "parse_special", TRUE);
    gint32 most = length + 8;
    g_autofree llama_token *tokens = g_new (llama_token, most);
    gint32 n = llama_tokenize (g->vocab, json_string_value (text), length, tokens, most, add, parse);
    if (n < 0 && n > G_MININT32) {
        most = -n;
        tokens = g_renew (llama_token, tokens, most);
        n = llama_tokenize (g->vocab, json_string_value (text), length, tokens, most, add, parse);
    }
    if (n < 0) {
        send_failf (g, id, ENGINE_ERROR_INVALID, "The text has too many tokens.");
        return;
    }
    json_t *list = json_array ();
    for (gint32 i = 0; i < n; i++)
        json_array_append_new (list, json_integer (tokens[i]));
    g_autoptr (json_t) answer = json_pack ("{s:o}", "tokens", list);
    link_send_json (g->link, LINK_TOKENS, id, answer);
}

static void
take_render (Engine *g, guint32 id, json_t *payload)
{
    const json_t *wanted = json_object_get (payload, "request");
    if (!json_is_object (wanted)) {
        send_failf (g, id, ENGINE_ERROR_INVALID, "RENDER has no request.");
        return;
    }
    g_autofree char *request = json_print (wanted, NULL);
    char *sentence = NULL;
    const char *kind = NULL;
    LbTurn *turn = lb_turn_new (g->chat, request, &sentence, &kind);
    if (!turn) {
        g_autoptr (GError) error = NULL;
        engine_error_take (&error, kind, sentence);
        send_fail (g, id, error);
        return;
    }
    LbView view = lb_turn_view (turn);
    g_autoptr (json_t) answer = json_pack ("{s:i}", "n_tokens", view.n_tokens);
    json_set_text (answer, "prompt", view.prompt ? view.prompt : "", view.prompt_length);
    link_send_json (g->link, LINK_RENDERED, id, answer);
    lb_turn_free (turn);
}

static void
take_tune (Engine *g, guint32 id, json_t *payload)
{
    gint64 n_threads = json_peek_int (payload, "threads", -1), chunk_ms = json_peek_int (payload, "chunk_ms", -1);
    if (n_threads >= 0)
        threads_set (g->threads, engine_n_threads (g, MIN (n_threads, 512)), n_threads == 0);
    if (chunk_ms > 0)
        g->chunk_ms = MIN (chunk_ms, 60000);
}

static void
take_stats (Engine *g, guint32 id, json_t *payload)
{
    gsize n_used = 0, n_parked = 0, n_parked_seqs = 0;
    guint n_queued = 0, n_streams = 0, n_following = 0;
    for (guint i = 0; i < g->jobs->len; i++) {
        const Job *job = g_ptr_array_index (g->jobs, i);
        n_queued += job->state == JOB_QUEUED;
        n_streams += job->state == JOB_STREAM;
        n_following += job->state == JOB_FOLLOW;
    }
    if (g->tree)
        cells_count (g, &n_used, &n_parked);
    for (guint i = 0; i < g->n_seqs; i++)
        n_parked_seqs += g->seqs[i].state == SEQ_PARKED;
    g_autoptr (json_t) state = json_pack (
        "{s:i, s:i, s:i, s:i, s:I, s:I, s:i, s:i, s:I, s:I, s:f, s:i, s:s}", "jobs", (int) g->jobs->len, "queued",
        (int) n_queued, "streams", (int) n_streams, "following", (int) n_following, "cells_used", (json_int_t) n_used,
        "cells_parked", (json_int_t) n_parked, "parked", (int) n_parked_seqs, "n_ctx", (int) g->n_ctx, "n_decode",
        (json_int_t) g->n_decode, "n_tokens_decoded", (json_int_t) g->n_tokens_decoded, "prompt_rate", g->rates.many,
        "threads", g->threads ? (int) threads_now (g->threads) : 0, "cpu", backend_cpu_name ());
    link_send_json (g->link, LINK_STATE, id, state);
}

static void
take_stop (Engine *g, guint32 id, json_t *payload)
{
    g->stopping = TRUE;
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

typedef enum { NEEDS_NOTHING, NEEDS_VOCABULARY, NEEDS_CHAT, NEEDS_CHAT_CONTEXT, NEEDS_EMBEDDING } Needs;

static void
take_embed (Engine *g, guint32 id, json_t *payload)
{
    embed (g, id, payload);
}

static const struct {
    LinkType type;
    Needs needs;
    gboolean has_payload;
    void (*take) (Engine *g, guint32 id, json_t *payload);
} handlers[] = {
    { LINK_LOAD, NEEDS_NOTHING, TRUE, take_load },      { LINK_JOB, NEEDS_CHAT_CONTEXT, TRUE, take_job },
    { LINK_CANCEL, NEEDS_NOTHING, FALSE, take_cancel }, { LINK_FORGET, NEEDS_NOTHING, TRUE, take_forget },
    { LINK_PAUSE, NEEDS_NOTHING, FALSE, take_pause },   { LINK_RESUME, NEEDS_NOTHING, FALSE, take_resume },
    { LINK_EMBED, NEEDS_EMBEDDING, TRUE, take_embed },  { LINK_TOKENIZE, NEEDS_VOCABULARY, TRUE, take_tokenize },
    { LINK_RENDER, NEEDS_CHAT, TRUE, take_render },     { LINK_TUNE, NEEDS_CHAT_CONTEXT, TRUE, take_tune },
    { LINK_STATS, NEEDS_NOTHING, FALSE, take_stats },   { LINK_STOP, NEEDS_NOTHING, FALSE, take_stop },
};

/* What is missing, as a sentence; NULL: nothing. */
static const char *
what_is_missing (const Engine *g, Needs needs)
{
    if (needs == NEEDS_NOTHING)
        return NULL;
    if (!g->model)
        return "No model is loaded.";
    if (needs == NEEDS_EMBEDDING)
        return g->embedding && g->context ? NULL : "This model was not loaded for embeddings.";
    if (needs != NEEDS_VOCABULARY && !g->chat)
        return "This model was loaded for embeddings only.";
    if (needs == NEEDS_CHAT_CONTEXT && !g->tree)
        return "Only the model's vocabulary is loaded.";
    return NULL;
}

static void
handle (Engine *g, const Frame *frame)
{
    for (guint i = 0; i < G_N_ELEMENTS (handlers); i++) {
        if (handlers[i].type != frame->type)
            continue;
        const char *missing = what_is_missing (g, handlers[i].needs);
        if (missing) {
            send_failf (g, frame->job, ENGINE_ERROR_INVALID, "%s", missing);
            return;
        }
        g_autoptr (GError) error = NULL;
        g_autoptr (json_t) payload = NULL;
        if (handlers[i].has_payload) {
            payload = json_parse (frame->payload, frame->length, &error);
            if (payload && !json_is_object (payload))
                g_set_error_literal (&error, ENGINE_ERROR, ENGINE_ERROR_INVALID, "The payload is no JSON object.");
            if (error) {
                g_prefix_error (&error, "%s: ", link_type_name (frame->type));
                send_fail (g, frame->job, error);
                return;
            }
        }
        handlers[i].take (g, frame->job, payload);
        return;
    }
    send_failf (g, frame->job, ENGINE_ERROR_INVALID, "This engine does not know what to do with %s.",
                link_type_name (frame->type));
}

/* ---- reading -------------------------------------------------------------------------------------------------------------- */

void
frames_peek (Engine *g)
{
    LinkFrame frame;
    g_autoptr (GError) error = NULL;
    while (!g->link_ended) {
        switch (link_read (g->link, &frame, &error)) {
        case LINK_WANTS_MORE:
            return;
        case LINK_BAD:
            g_printerr ("lms-engine: %s\n", error->message);
            g->link_bad = TRUE;
            G_GNUC_FALLTHROUGH;
        case LINK_ENDED:
            g->link_ended = TRUE;
            return;
        case LINK_GOT_FRAME:
            break;
        }
        if (frame.fd != -1)
            close (frame.fd);
        if (frame.type == LINK_CANCEL)
            take_cancel (g, frame.job, NULL);
        if (frame.type == LINK_STOP)
            g->stopping = TRUE;
        Frame *copy = g_new0 (Frame, 1);
        *copy = (Frame){ .type = frame.type, .job = frame.job, .length = frame.length };
        copy->payload = g_memdup2 (frame.payload, frame.length);
        g_queue_push_tail (&g->inbox, copy);
    }
}

/* ---- waiting -------------------------------------------------------------------------------------------------------------- */

/* How long there is nothing to do but wait: 0 ms while anything can be computed, sent or ended, for ever when there is no job. */
static int
idle_ms (const Engine *g)
{
    if (!g_queue_is_empty ((GQueue *) &g->inbox))
        return 0;
    guint n_places = 0;
    gboolean queued = FALSE;
    for (guint i = 0; i < g->jobs->len; i++) {
        const Job *job = g_ptr_array_index (g->jobs, i);
        if (job->end || job->error || job->cancelled)
            return 0;
        n_places += job_has_place (job);
        if (!job_may_run (job) || admit_must_wait (g, job))
            continue;
        if (job->state == JOB_QUEUED)
            queued = TRUE;
        else
            return 0;
    }
    if (queued && n_places < g->parallel)
        return 0;
    return g->jobs->len > 0 ? 1000 : -1; /* all are held: look at their time limit now and then */
}

static void
wait_for_link (Engine *g)
{
    struct pollfd pfd = { .fd = link_fd (g->link), .events = POLLIN };
    if (link_queued_bytes (g->link) > 0)
        pfd.events |= POLLOUT;
    while (poll (&pfd, 1, idle_ms (g)) < 0 && errno == EINTR)
        ;
    if (pfd.revents & POLLOUT)
        link_flush (g->link);
}

void
take_frames (Engine *g)
{
    wait_for_link (g);
    frames_peek (g);
    const gint64 until = g_get_monotonic_time () + HANDLE_MS * 1000;
    do {
        g_autoptr (Frame) frame = g_queue_pop_head (&g->inbox);
        if (!frame)
            break;
        handle (g, frame);
    } while (!g->stopping && g_get_monotonic_time () < until);
    if (g->link_ended && g_queue_is_empty (&g->inbox))
        g->stopping = TRUE;
}

void
frames_end (Engine *g)
{
    for (Frame *frame; (frame = g_queue_pop_head (&g->inbox)); frame_free (frame))
        if (frame->type == LINK_JOB || frame->type == LINK_EMBED)
            send_failf (g, frame->job, ENGINE_ERROR_UNLOADED, "The model is being unloaded.");
}
