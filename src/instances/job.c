/* job.c: one request on its way, from a name to its last event.
 *
 *   UNRESOLVED ─▶ WAITING_FOR_LOAD ─▶ SENT ─▶ STARTED ─▶ GENERATING ─▶ ENDED
 *
 * It sits in exactly one list: the table's unresolved ones, or its instance's jobs.  The last event takes it out and frees it; a job whose
 * caller left (job_drop) stays until its engine has said the last word, for its place is taken until then. */
#include "instances/internal.h"

#include "home/log.h"

#include <string.h>

static gboolean job_begins (gpointer data);

static void
job_free (Job *job)
{
    g_clear_handle_id (&job->soon, g_source_remove);
    g_free (job->model_name);
    g_free (job->reference);
    json_decref (job->payload);
    chat_reader_free (job->reader);
    if (job->output)
        g_string_free (job->output, TRUE);
    g_free (job);
}

/* Out of its list; the instance may be idle now. */
static void
job_leave (Job *job)
{
    job->state = JOB_ENDED;
    if (!job->inst) {
        job->all->unresolved = g_list_remove (job->all->unresolved, job);
        return;
    }
    Inst *inst = job->inst;
    inst->jobs = g_list_remove (inst->jobs, job);
    inst->public.last_used_ms = g_get_real_time () / 1000;
    inst_touch (inst);
}

static Job *
job_new (Instances *all, const InstanceWant *want, gpointer data)
{
    Job *job = g_new0 (Job, 1);
    job->all = all;
    if (++all->next_job == 0)
        all->next_job = 1;
    job->id = all->next_job;
    job->model_name = g_strdup (want->model);
    job->reference = g_strdup (want->reference);
    job->type = want->type;
    job->may_load = want->may_load;
    job->ttl_seconds = want->ttl_seconds;
    job->data = data;
    all->unresolved = g_list_append (all->unresolved, job);
    job->soon = g_idle_add_full (G_PRIORITY_DEFAULT, job_begins, job, NULL);
    return job;
}

Job *
instances_chat (Instances *all, const InstanceWant *want, ChatRequest *request, ChatEventFunc func, gpointer data)
{
    Job *job = job_new (all, want, data);
    job->link_type = LINK_JOB;
    job->event = func;
    job->reader = chat_reader_new ();
    if (all->watches->len > 0)
        request->want_prompt = TRUE;
    job->payload = chat_request_to_job (request);
    chat_request_free (request);
    return job;
}

Job *
instances_ask (Instances *all, const InstanceWant *want, guint link_type, const json_t *payload,
               InstanceAnswerFunc answered, gpointer data)
{
    Job *job = job_new (all, want, data);
    job->link_type = link_type;
    job->answered = answered;
    job->payload = json_incref ((json_t *) payload);
    return job;
}

const Instance *
job_instance (Job *job)
{
    return job->inst ? &job->inst->public : NULL;
}

Job *
job_find (Inst *inst, guint32 id)
{
    for (GList *l = inst->jobs; l; l = l->next)
        if (((Job *) l->data)->id == id)
            return l->data;
    return NULL;
}

/* ---- telling the caller ------------------------------------------------------------------------------------------------ */

static void
watch_event (Job *job, const ChatEvent *event)
{
    const GArray *watches = job->all->watches;
    if (event->type == CHAT_STARTED && event->text)
        for (guint i = 0; i < watches->len; i++) {
            struct watch *watch = &g_array_index (watches, struct watch, i);
            watch->funcs.input (&job->inst->public, event->text, event->length, watch->data);
        }
    if (watches->len > 0 &&
        (event->type == CHAT_CONTENT || event->type == CHAT_REASONING || event->type == CHAT_CALL_ARGUMENTS)) {
        if (!job->output)
            job->output = g_string_new (NULL);
        g_string_append_len (job->output, event->text, event->length);
    }
    if (event->type == CHAT_DONE)
        for (guint i = 0; i < watches->len; i++) {
            struct watch *watch = &g_array_index (watches, struct watch, i);
            watch->funcs.output (&job->inst->public, job->output ? job->output->str : "",
                                 job->output ? job->output->len : 0, event->result, watch->data);
        }
}

static void
tell (const ChatEvent *event, gpointer data)
{
    Job *job = data;
    if (event->type == CHAT_STARTED && job->state == JOB_SENT) {
        job->state = JOB_STARTED;
        inst_touch (job->inst);
    } else if (job->state == JOB_STARTED &&
               (event->type == CHAT_CONTENT || event->type == CHAT_REASONING || event->type == CHAT_CALL_BEGIN)) {
        job->state = JOB_GENERATING;
        inst_touch (job->inst);
    }
    watch_event (job, event);
    /* The last event is told after the job has left its place, so that a caller who looks sees it gone. */
    if (event->type == CHAT_DONE || event->type == CHAT_FAILED)
        job_leave (job);
    if (!job->dropped)
        job->event (event, job->data);
}

static void
give_failure (Job *job, const ChatFailure *failure)
{
    Inst *inst = job->inst;
    if (job->state != JOB_ENDED)
        job_leave (job);
    if (!job->dropped) {
        if (job->event)
            job->event (&(ChatEvent){ .type = CHAT_FAILED, .failure = failure }, job->data);
        else
            job->answered (inst ? &inst->public : NULL, NULL, NULL, failure, job->data);
    }
    job_free (job);
}

void
job_fail (Job *job, ChatFailKind kind, const char *message)
{
    give_failure (job, &(ChatFailure){ .kind = kind, .message = (char *) message });
}

void
job_load_progress (Job *job, double fraction)
{
    if (!job->dropped && job->event && job->state == JOB_WAITING_FOR_LOAD)
        job->event (&(ChatEvent){ .type = CHAT_LOADING, .progress = fraction }, job->data);
}

/* ---- on the way -------------------------------------------------------------------------------------------------------- */

static void
index_is_ready (gpointer data)
{
    Instances *all = data;
    g_autoptr (GList) jobs = g_list_copy (all->unresolved);
    for (GList *l = jobs; l; l = l->next) {
        Job *job = l->data;
        if (g_list_find (all->unresolved, job) && !job->soon)
            job->soon = g_idle_add_full (G_PRIORITY_DEFAULT, job_begins, job, NULL);
    }
}

static gboolean
job_begins (gpointer data)
{
    Job *job = data;
    Instances *all = job->all;
    job->soon = 0;
    ChatFailure failure = { 0 };
    gboolean wait = FALSE;
    Inst *inst = resolve_job (job, &failure, &wait);
    if (wait) {
        models_when_ready (all->models, index_is_ready, all);
        return G_SOURCE_REMOVE;
    }
    if (!inst) {
        give_failure (job, &failure);
        g_free (failure.message);
        g_free (failure.param);
        return G_SOURCE_REMOVE;
    }
    if (g_list_length (inst->jobs) >= inst->public.parallel + INSTANCES_MAX_WAITING) {
        job_fail (job, CHAT_FAIL_OVERLOADED, "Too many requests wait for this model. Try again later.");
        return G_SOURCE_REMOVE;
    }
    all->unresolved = g_list_remove (all->unresolved, job);
    inst->jobs = g_list_append (inst->jobs, job);
    job->inst = inst;
    job->state = JOB_WAITING_FOR_LOAD;
    if (inst->public.state == INSTANCE_READY)
        job_send (job);
    else
        job_load_progress (job, inst->public.load_progress);
    inst_touch (inst);
    return G_SOURCE_REMOVE;
}

void
job_send (Job *job)
{
    job->state = JOB_SENT;
    engine_send (job->inst->engine, job->link_type, job->id, job->payload);
    g_clear_pointer (&job->payload, json_decref); /* a long conversation need not be kept twice */
    if (job->paused)
        engine_send (job->inst->engine, LINK_PAUSE, job->id, NULL);
}

/* An answer to a question, or its failure. */
static void
take_answer (Job *job, const LinkFrame *frame)
{
    if (frame->type == LINK_START || frame->type == LINK_PREFILL)
        return;
    g_autoptr (GBytes) bytes = frame->type == LINK_VECTOR ? g_bytes_new (frame->payload, frame->length) : NULL;
    g_autoptr (json_t) answer = bytes ? NULL : json_parse (frame->payload, frame->length, NULL);
    if (frame->type == LINK_FAIL) {
        ChatFailure failure;
        chat_failure_read (&failure, answer);
        give_failure (job, &failure);
        return;
    }
    Inst *inst = job->inst;
    job_leave (job);
    if (!job->dropped)
        job->answered (&inst->public, answer, bytes, NULL, job->data);
    job_free (job);
}

void
job_take_frame (Job *job, const LinkFrame *frame)
{
    if (job->link_type != LINK_JOB) {
        take_answer (job, frame);
        return;
    }
    g_autoptr (json_t) payload = json_parse (frame->payload, frame->length, NULL);
    if (chat_reader_take (job->reader, frame->type, payload, tell, job))
        job_free (job);
}

static gboolean
cancel_unsent (gpointer data)
{
    Job *job = data;
    job->soon = 0;
    if (job->event) {
        ChatResult result = { .stop = CHAT_STOP_CANCELLED };
        job_leave (job);
        if (!job->dropped)
            job->event (&(ChatEvent){ .type = CHAT_DONE, .result = &result }, job->data);
        job_free (job);
    } else {
        job_fail (job, CHAT_FAIL_INVALID, "The request was cancelled.");
    }
    return G_SOURCE_REMOVE;
}

void
job_cancel (Job *job)
{
    if (job->cancelled)
        return;
    job->cancelled = TRUE;
    if (job->state == JOB_SENT || job->state == JOB_STARTED || job->state == JOB_GENERATING) {
        if (job->inst->engine)
            engine_send (job->inst->engine, LINK_CANCEL, job->id, NULL);
        return;
    }
    g_clear_handle_id (&job->soon, g_source_remove);
    job->soon = g_idle_add_full (G_PRIORITY_DEFAULT, cancel_unsent, job, NULL);
}

void
job_drop (Job *job)
{
    job->dropped = TRUE;
    job_cancel (job);
}

static void
set_paused (Job *job, gboolean paused)
{
    if (job->paused == paused)
        return;
    job->paused = paused;
    if (job->state >= JOB_SENT && job->inst->engine)
        engine_send (job->inst->engine, paused ? LINK_PAUSE : LINK_RESUME, job->id, NULL);
}

void
job_pause (Job *job)
{
    set_paused (job, TRUE);
}

void
job_resume (Job *job)
{
    set_paused (job, FALSE);
}
