/* run.c: the life of a generating request.
 *
 *             ┌─ events ─▶ printer->event ─▶ sse_send ──┐ too fast: pause the jobs until the client has read
 *   jobs ─────┤                                         ├─▶ client
 *             └─ events ─▶ fold ─▶ printer->whole ──────┘
 *
 *   a failure before the first byte is a status, after it an event; a client that has gone drops the jobs. */
#include "api/run.h"

#include "api/sse.h"
#include "home/log.h"

typedef struct ApiRun ApiRun;

typedef struct {
    ApiRun *run;
    guint index;
    Job *job;       /* NULL: not asked yet, or its last event came */
    ChatFold *fold; /* NULL for streams */
} Choice;

struct ApiRun {
    ApiCall *call; /* NULL: closed, or answered */
    const ApiPrinter *type;
    gpointer printer;
    gboolean stream, started, paused, watches_drain;
    const char *prompt_field;
    char *what, *identifier;
    Sse sse;
    GString *out; /* one event's bytes; kept, so that a token costs no allocation */
    guint n, n_done;
    Choice choices[];
};

/* ---- ends -------------------------------------------------------------------------------------------------------------------- */

static void
run_clear (gpointer data)
{
    ApiRun *run = data;
    for (guint i = 0; i < run->n; i++)
        chat_fold_free (run->choices[i].fold);
    run->type->free (run->printer);
    g_string_free (run->out, TRUE);
    g_free (run->what);
    g_free (run->identifier);
}

static void
run_unref (ApiRun *run)
{
    g_rc_box_release_full (run, run_clear);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ApiRun, run_unref)

static void
drop_jobs (ApiRun *run)
{
    for (guint i = 0; i < run->n; i++) {
        Job *job = g_steal_pointer (&run->choices[i].job);
        if (job)
            job_drop (job);
    }
}

/* The request is closed: nobody listens any more. */
static void
run_closed (ApiCall *call, HttpClosed how)
{
    g_autoptr (ApiRun) run = g_steal_pointer (&call->work);
    if (how == HTTP_CLOSED_GONE && run->n_done < run->n && run->call)
        log_line (LOG_INFO, run->identifier, "Client disconnected. Stopping generation of %s.", run->what);
    run->call = NULL;
    sse_clear (&run->sse);
    drop_jobs (run);
}

/* From here on the answer is whole: takes the call away from whatever may still come.  The caller unrefs it. */
static ApiCall *
take_call (ApiRun *run)
{
    sse_clear (&run->sse);
    drop_jobs (run);
    return api_call_ref (g_steal_pointer (&run->call));
}

static void
fail (ApiRun *run, const ChatFailure *failure)
{
    g_auto (ApiError) error = { 0 };
    api_error_from_failure (&error, failure);
    if (error.kind == API_CONTEXT_LENGTH && run->prompt_field) {
        g_free (error.param);
        error.param = g_strdup (run->prompt_field);
    }
    g_autoptr (ApiCall) call = take_call (run);
    if (!run->sse.begun) {
        api_call_fail (call, &error);
        return;
    }
    g_autoptr (GString) event = g_string_sized_new (512);
    api_error_print_event (&error, call->family, event);
    log_line (LOG_ERROR, run->identifier, "%s", event->str);
    http_stream_write (call->http, event->str, event->len);
    if (call->http)
        http_stream_finish (call->http);
}

/* ---- streams ----------------------------------------------------------------------------------------------------------------- */

static void
pause_jobs (ApiRun *run)
{
    run->paused = TRUE;
    for (guint i = 0; i < run->n; i++)
        if (run->choices[i].job)
            job_pause (run->choices[i].job);
}

static void
drained (HttpRequest *http, gpointer data)
{
    ApiRun *run = data;
    if (!run->paused)
        return;
    run->paused = FALSE;
    for (guint i = 0; i < run->n; i++)
        if (run->choices[i].job)
            job_resume (run->choices[i].job);
}

static void
send (ApiRun *run)
{
    if (run->out->len == 0 || !run->call)
        return;
    gboolean flowing = sse_send (&run->sse, run->out->str, run->out->len);
    g_string_truncate (run->out, 0);
    if (!run->call)
        return; /* cut off for not reading */
    if (!run->watches_drain)
        http_stream_on_drained (run->call->http, drained, run);
    run->watches_drain = TRUE;
    if (!flowing && !run->paused)
        pause_jobs (run);
}

static void
stream_event (ApiRun *run, guint choice, const ChatEvent *event)
{
    run->type->event (run->printer, choice, event, run->out);
    if (run->n_done == run->n)
        run->type->end (run->printer, run->out);
    send (run);
    if (run->n_done < run->n || !run->call)
        return;
    log_line (LOG_INFO, run->identifier, "Finished streaming response");
    g_autoptr (ApiCall) call = take_call (run);
    http_stream_finish (call->http);
}

/* ---- one body ---------------------------------------------------------------------------------------------------------------- */

static void
fold_event (ApiRun *run, guint choice, const ChatEvent *event)
{
    chat_fold_add (run->choices[choice].fold, event);
    if (run->n_done < run->n)
        return;
    g_autofree const ChatFold **folds = g_new (const ChatFold *, run->n);
    for (guint i = 0; i < run->n; i++)
        folds[i] = run->choices[i].fold;
    run->type->whole (run->printer, folds, run->out);
    if (log_wants (LOG_INFO)) {
        g_autofree char *body = api_loggable (run->out->str, run->out->len);
        log_line (LOG_INFO, run->identifier, "Generated prediction: %s", body);
    }
    g_autoptr (ApiCall) call = take_call (run);
    api_call_reply (call, 200, run->out->str, run->out->len);
}

/* ---- events ------------------------------------------------------------------------------------------------------------------ */

static void
name_instance (ApiRun *run, Job *job)
{
    const Instance *instance = job_instance (job);
    if (instance && !run->identifier)
        run->identifier = g_strdup (instance->identifier);
}

/* The printer learns who answers before it prints anything. */
static void
start (ApiRun *run, Job *job)
{
    run->started = TRUE;
    name_instance (run, job);
    run->type->start (run->printer, job_instance (job));
}

static void
log_event (ApiRun *run, const ChatEvent *event)
{
    switch (event->type) {
    case CHAT_STARTED:
        log_line (LOG_INFO, run->identifier, "Running %s.", run->what);
        break;
    case CHAT_PROMPT_PROGRESS:
        if (event->n_prompt > 0)
            log_line (LOG_INFO, run->identifier, "Prompt processing progress: %.1f%%",
                      100.0 * event->n_done / event->n_prompt);
        break;
    case CHAT_CALL_BEGIN:
        log_line (LOG_INFO, run->identifier, "Model generated a tool call.");
        break;
    default:
        break;
    }
}

static void
take_event (const ChatEvent *event, gpointer data)
{
    Choice *choice = data;
    g_autoptr (ApiRun) run = g_rc_box_acquire (choice->run);
    if (!run->call || !choice->job)
        return;
    if (event->type == CHAT_FAILED) {
        choice->job = NULL;
        fail (run, event->failure);
        return;
    }
    if (event->type == CHAT_STARTED)
        name_instance (run, choice->job);
    log_event (run, event);
    if (!run->started && event->type >= CHAT_REASONING)
        start (run, choice->job);
    if (event->type == CHAT_DONE) {
        choice->job = NULL;
        run->n_done++;
    }
    if (run->stream)
        stream_event (run, choice->index, event);
    else
        fold_event (run, choice->index, event);
}

void
api_run (ApiCall *call, const ApiRunOptions *options)
{
    g_return_if_fail (!call->work);
    ApiRun *run = g_rc_box_alloc0 (sizeof *run + options->n * sizeof (Choice));
    run->call = call;
    run->type = options->type;
    run->printer = options->printer;
    run->stream = options->stream;
    run->what = g_strdup (options->what);
    run->prompt_field = options->prompt_field;
    run->out = g_string_sized_new (1024);
    run->n = options->n;
    call->work = run;
    call->closed = run_closed;
    if (run->stream)
        sse_wait (&run->sse, call->http, run->type->keep_alive);
    for (guint i = 0; i < run->n; i++) {
        Choice *choice = &run->choices[i];
        choice->run = run;
        choice->index = i;
        choice->fold = run->stream ? NULL : chat_fold_new ();
        choice->job = instances_chat (call->api->instances, &options->want, options->requests[i], take_event, choice);
    }
}
