/* instances.c: the table of instances, and each one's life.
 *
 *            READY                 unload
 *   LOADING ───────▶ READY ─────────────────▶ LEAVING ──▶ gone
 *      │               │ engine dies             ▲
 *      │ fails         ▼            unload       │
 *      ▼             DOWN ──────────────────────▶┘
 *    gone              └── the next request ──▶ LOADING, same identifier and reference
 *
 * Jobs wait for a load in the instance's own list, so ten requests for one model are one load. */
#include "instances/internal.h"

#include "base/ids.h"
#include "home/log.h"

#include <string.h>

#define STOP_GRACE_MS 2000

static void inst_free (gpointer data);
static gboolean start_engine (Inst *inst, GError **error);

/* ---- table ------------------------------------------------------------------------------------------------------------- */

Instances *
instances_new (SettingsStore *settings, Models *models, const char *engine_path)
{
    Instances *all = g_new0 (Instances, 1);
    all->settings = settings;
    all->models = models;
    all->engine_path = g_strdup (engine_path);
    all->table = g_ptr_array_new ();
    all->listed = g_ptr_array_new ();
    all->watches = g_array_new (FALSE, TRUE, sizeof (struct watch));
    all->observers = g_array_new (FALSE, TRUE, sizeof (struct observer));
    return all;
}

void
instances_free (Instances *all)
{
    if (!all)
        return;
    all->shutting_down = TRUE;
    while (all->unresolved)
        job_fail (all->unresolved->data, CHAT_FAIL_SHUTDOWN, "The server is shutting down.");
    for (guint i = 0; i < all->table->len; i++) {
        Inst *inst = g_ptr_array_index (all->table, i);
        while (inst->jobs)
            job_fail (inst->jobs->data, CHAT_FAIL_SHUTDOWN, "The server is shutting down.");
    }
    g_ptr_array_set_free_func (all->table, inst_free);
    g_ptr_array_unref (all->table);
    g_ptr_array_unref (all->listed);
    g_array_unref (all->watches);
    g_array_unref (all->observers);
    g_free (all->engine_path);
    g_free (all);
}

gboolean
inst_is_live (const Inst *inst)
{
    return inst->public.state == INSTANCE_LOADING || inst->public.state == INSTANCE_READY;
}

static int
by_identifier (gconstpointer a, gconstpointer b)
{
    const Instance *const *x = a, *const *y = b;
    return strcmp ((*x)->identifier, (*y)->identifier);
}

const GPtrArray *
instances_list (Instances *all)
{
    g_ptr_array_set_size (all->listed, 0);
    for (guint i = 0; i < all->table->len; i++) {
        Inst *inst = g_ptr_array_index (all->table, i);
        if (inst_is_live (inst))
            g_ptr_array_add (all->listed, &inst->public);
    }
    g_ptr_array_sort (all->listed, by_identifier);
    return all->listed;
}

const Instance *
instances_by_identifier (Instances *all, const char *identifier)
{
    for (guint i = 0; i < all->table->len; i++) {
        Inst *inst = g_ptr_array_index (all->table, i);
        if (inst_is_live (inst) && g_ascii_strcasecmp (inst->public.identifier, identifier) == 0)
            return &inst->public;
    }
    return NULL;
}

const Instance *
instances_by_reference (Instances *all, const char *reference)
{
    for (guint i = 0; i < all->table->len; i++) {
        Inst *inst = g_ptr_array_index (all->table, i);
        if (inst->public.state != INSTANCE_LEAVING && strcmp (inst->public.reference, reference) == 0)
            return &inst->public;
    }
    return NULL;
}

void
instances_on_changed (Instances *all, void (*changed) (gpointer data), gpointer data)
{
    struct observer observer = { changed, data };
    g_array_append_val (all->observers, observer);
}

void
inst_changed (Instances *all)
{
    for (guint i = 0; i < all->observers->len; i++) {
        struct observer *observer = &g_array_index (all->observers, struct observer, i);
        observer->changed (observer->data);
    }
}

guint
instances_watch (Instances *all, const InstanceWatch *watch, gpointer data)
{
    struct watch one = { ++all->next_watch, *watch, data };
    g_array_append_val (all->watches, one);
    return one.id;
}

void
instances_unwatch (Instances *all, guint id)
{
    for (guint i = 0; i < all->watches->len; i++)
        if (g_array_index (all->watches, struct watch, i).id == id) {
            g_array_remove_index (all->watches, i);
            return;
        }
}

/* ---- one instance ------------------------------------------------------------------------------------------------------ */

static void
inst_free (gpointer data)
{
    Inst *inst = data;
    g_clear_handle_id (&inst->ttl_timer, g_source_remove);
    while (inst->loads) {
        InstanceLoad *load = inst->loads->data;
        inst->loads = g_list_delete_link (inst->loads, inst->loads);
        g_clear_handle_id (&load->soon, g_source_remove);
        g_free (load);
    }
    if (inst->engine)
        engine_abandon (inst->engine);
    config_clear (&inst->config);
    json_decref (inst->ready);
    json_decref (inst->public.load_fields);
    model_unref (inst->public.model);
    g_free (inst->public.identifier);
    g_free (inst->public.reference);
    g_free (inst);
}

/* Takes it out of the table and frees it.  Nobody waits for it any more. */
static void
inst_remove (Inst *inst)
{
    Instances *all = inst->all;
    void (*unloaded) (gpointer) = inst->unloaded;
    gpointer unloaded_data = inst->unloaded_data;
    g_ptr_array_remove (all->table, inst);
    inst_free (inst);
    if (unloaded)
        unloaded (unloaded_data);
    inst_changed (all);
}

static gboolean
ttl_is_over (gpointer data)
{
    Inst *inst = data;
    inst->ttl_timer = 0;
    log_line (LOG_INFO, inst->public.identifier, "Idle for %" G_GINT64_FORMAT " s: unloading.",
              inst->public.ttl_ms / 1000);
    instances_unload (inst->all, inst->public.identifier, NULL, NULL);
    return G_SOURCE_REMOVE;
}

void
inst_touch (Inst *inst)
{
    guint running = 0, queued = 0;
    InstanceActivity activity = INSTANCE_IDLE;
    for (GList *l = inst->jobs; l; l = l->next) {
        const Job *job = l->data;
        if (job->state == JOB_GENERATING || job->state == JOB_STARTED)
            running++;
        else if (job->state != JOB_ENDED)
            queued++;
        if (job->link_type == LINK_EMBED)
            activity = INSTANCE_COMPUTING_EMBEDDING;
        else if (job->state == JOB_GENERATING)
            activity = INSTANCE_GENERATING;
        else if (job->state == JOB_STARTED && activity == INSTANCE_IDLE)
            activity = INSTANCE_PROCESSING_PROMPT;
    }
    inst->public.n_running = running;
    inst->public.n_queued = queued;
    inst->public.activity = activity;
    gboolean idle = !inst->jobs && inst->public.state == INSTANCE_READY && inst->public.ttl_ms >= 0;
    if (!idle)
        g_clear_handle_id (&inst->ttl_timer, g_source_remove);
    else if (!inst->ttl_timer)
        inst->ttl_timer = g_timeout_add (MIN (inst->public.ttl_ms, G_MAXUINT), ttl_is_over, inst);
}

static void
end_loads (Inst *inst, const ChatFailure *failure)
{
    g_autoptr (GList) loads = g_steal_pointer (&inst->loads);
    for (GList *l = loads; l; l = l->next) {
        InstanceLoad *load = l->data;
        if (failure)
            load->funcs.failed (failure, load->data);
        else
            load->funcs.done (&inst->public, load->data);
        g_clear_handle_id (&load->soon, g_source_remove);
        g_free (load);
    }
}

/* The load came to nothing: everybody who waited learns why, and the instance is gone. */
static void
fail_load (Inst *inst, ChatFailKind kind, const char *reason)
{
    log_line (LOG_ERROR, inst->public.identifier, "Failed to load model: %s", reason);
    g_autofree char *message = g_strdup_printf ("Failed to load model \"%s\": %s", inst->public.model->key, reason);
    ChatFailure failure = { .kind = kind, .message = message };
    inst->public.state = INSTANCE_LEAVING;
    while (inst->jobs)
        job_fail (inst->jobs->data, kind, message);
    end_loads (inst, &failure);
    inst_remove (inst);
}

static void
take_ready (Inst *inst, json_t *ready)
{
    json_decref (inst->ready);
    inst->ready = json_incref (ready);
    Instance *public = &inst->public;
    public->ready = inst->ready;
    public->n_ctx = json_peek_int (ready, "n_ctx", public->n_ctx);
    public->parallel = json_peek_int (ready, "parallel", public->parallel);
    json_decref (public->load_fields);
    public->load_fields = config_to_fields (&inst->config, public->model, public->n_ctx, public->parallel);
    public->state = INSTANCE_READY;
    public->load_progress = 1;
    log_line (LOG_INFO, public->identifier, "Model loaded: context %u, %u at once, CPU library %s, sandbox %d.",
              public->n_ctx, public->parallel,
              json_peek_string (ready, "cpu") ? json_peek_string (ready, "cpu") : "unknown",
              (int) json_peek_int (ready, "sandbox", 0));
    end_loads (inst, NULL);
    g_autoptr (GList) jobs = g_list_copy (inst->jobs);
    for (GList *l = jobs; l; l = l->next)
        if (((Job *) l->data)->state == JOB_WAITING_FOR_LOAD)
            job_send (l->data);
    inst_touch (inst);
    inst_changed (inst->all);
}

static void
take_progress (Inst *inst, double fraction)
{
    inst->public.load_progress = CLAMP (fraction, inst->public.load_progress, 1);
    g_autoptr (GList) loads = g_list_copy (inst->loads);
    for (GList *l = loads; l; l = l->next) {
        InstanceLoad *load = l->data;
        if (g_list_find (inst->loads, load) && load->funcs.progress)
            load->funcs.progress (inst->public.load_progress, load->data);
    }
    g_autoptr (GList) jobs = g_list_copy (inst->jobs);
    for (GList *l = jobs; l; l = l->next)
        if (g_list_find (inst->jobs, l->data))
            job_load_progress (l->data, inst->public.load_progress);
}

static void
take_frame (Engine *engine, const LinkFrame *frame, gpointer data)
{
    Inst *inst = data;
    if (frame->job != 0) {
        Job *job = job_find (inst, frame->job);
        if (job)
            job_take_frame (job, frame);
        return;
    }
    if (inst->public.state != INSTANCE_LOADING)
        return;
    g_autoptr (json_t) payload = json_parse (frame->payload, frame->length, NULL);
    if (frame->type == LINK_PROGRESS) {
        take_progress (inst, json_peek_number (payload, "fraction", 0));
    } else if (frame->type == LINK_READY) {
        take_ready (inst, payload);
    } else if (frame->type == LINK_FAIL) {
        const char *message = json_peek_string (payload, "message");
        gboolean memory = g_strcmp0 (json_peek_string (payload, "kind"), "memory") == 0;
        fail_load (inst, memory ? CHAT_FAIL_MEMORY : CHAT_FAIL_LOAD, message ? message : "the engine gave no reason");
    }
}

static void
take_hello (Engine *engine, const json_t *hello, gpointer data)
{
    Inst *inst = data;
    g_autoptr (json_t) load = config_to_load (&inst->config, inst->public.model, settings_get (inst->all->settings));
    engine_send (engine, LINK_LOAD, 0, load);
}

static void
take_end (Engine *engine, const EngineEnd *end, gpointer data)
{
    Inst *inst = data;
    inst->engine = NULL;
    if (inst->public.state == INSTANCE_LEAVING) {
        inst_remove (inst);
        return;
    }
    if (inst->public.state == INSTANCE_LOADING) {
        if (end->illegal_instruction && !inst->tried_plain_cpu && !g_getenv ("LMS_CPU")) {
            inst->tried_plain_cpu = TRUE;
            log_line (LOG_WARN, inst->public.identifier,
                      "The CPU library that was picked does not run here; trying haswell.");
            if (start_engine (inst, NULL))
                return;
        }
        fail_load (inst, end->killed ? CHAT_FAIL_MEMORY : CHAT_FAIL_LOAD, end->reason);
        return;
    }
    log_line (LOG_ERROR, inst->public.identifier, "%s", end->reason);
    inst->public.state = INSTANCE_DOWN;
    g_autofree char *message = g_strdup_printf ("%s The next request loads the model again.", end->reason);
    while (inst->jobs)
        job_fail (inst->jobs->data, CHAT_FAIL_ENGINE, message);
    inst_touch (inst);
    inst_changed (inst->all);
}

static gboolean
start_engine (Inst *inst, GError **error)
{
    static const EngineFuncs funcs = { .frame = take_frame, .hello = take_hello, .ended = take_end };
    inst->engine = engine_start (inst->all->engine_path, inst->tried_plain_cpu ? "haswell" : NULL,
                                 inst->public.identifier, &funcs, inst, error);
    return inst->engine != NULL;
}

/* Failing at once would call back before the caller has returned. */
static gboolean
fail_start (gpointer data)
{
    Inst *inst = data;
    inst->ttl_timer = 0;
    g_autofree char *reason = g_strdup_printf ("the engine %s cannot be started", inst->all->engine_path);
    fail_load (inst, CHAT_FAIL_LOAD, reason);
    return G_SOURCE_REMOVE;
}

static void
begin_loading (Inst *inst)
{
    inst->public.state = INSTANCE_LOADING;
    inst->public.load_progress = 0;
    log_line (LOG_INFO, inst->public.identifier, "Loading model %s", inst->public.model->path);
    g_autoptr (GError) error = NULL;
    if (!start_engine (inst, &error)) {
        log_line (LOG_ERROR, inst->public.identifier, "%s", error->message);
        inst->ttl_timer = g_idle_add (fail_start, inst);
    }
}

void
inst_revive (Inst *inst)
{
    begin_loading (inst);
    inst_changed (inst->all);
}

/* A down instance gives its identifier up to whoever asks for it. */
static gboolean
identifier_is_free (Instances *all, const char *identifier)
{
    for (guint i = 0; i < all->table->len; i++) {
        const Inst *inst = g_ptr_array_index (all->table, i);
        if (inst_is_live (inst) && g_ascii_strcasecmp (inst->public.identifier, identifier) == 0)
            return FALSE;
    }
    return TRUE;
}

static void
drop_down_instance (Instances *all, const char *identifier)
{
    for (guint i = 0; i < all->table->len; i++) {
        Inst *inst = g_ptr_array_index (all->table, i);
        if (inst->public.state == INSTANCE_DOWN && g_ascii_strcasecmp (inst->public.identifier, identifier) == 0) {
            inst_remove (inst);
            return;
        }
    }
}

static char *
free_identifier (Instances *all, const char *key)
{
    char *identifier = g_strdup (key);
    for (guint n = 2; !identifier_is_free (all, identifier); n++) {
        g_free (identifier);
        identifier = g_strdup_printf ("%s:%u", key, n);
    }
    return identifier;
}

Inst *
inst_load (Instances *all, const InstanceLoadOptions *options)
{
    Inst *inst = g_new0 (Inst, 1);
    inst->all = all;
    inst->public.model = model_ref (options->model);
    inst->public.identifier =
        options->identifier ? g_strdup (options->identifier) : free_identifier (all, options->model->key);
    g_autofree char *salt = ids_new ("", IDS_LOWER_ALNUM, 8);
    inst->public.reference = g_strdup_printf ("%s-%u", salt, ++all->next_reference);
    inst->public.jit = options->jit;
    inst->public.ttl_ms = options->ttl_ms;
    inst->public.last_used_ms = -1;
    inst->public.parallel = options->config.parallel ? options->config.parallel : 4;
    config_copy (&inst->config, &options->config);
    drop_down_instance (all, inst->public.identifier);
    g_ptr_array_add (all->table, inst);
    begin_loading (inst);
    inst_changed (all);
    return inst;
}

/* ---- loads, as callers see them ---------------------------------------------------------------------------------------- */

static gboolean
load_begins (gpointer data)
{
    InstanceLoad *load = data;
    load->soon = 0;
    if (load->inst->public.state == INSTANCE_READY) {
        Inst *inst = load->inst;
        inst->loads = g_list_remove (inst->loads, load);
        load->funcs.done (&inst->public, load->data);
        g_free (load);
    } else if (load->funcs.progress) {
        load->funcs.progress (load->inst->public.load_progress, load->data);
    }
    return G_SOURCE_REMOVE;
}

InstanceLoad *
instances_wait (Instances *all, const Instance *instance, const InstanceLoadFuncs *funcs, gpointer data)
{
    Inst *inst = (Inst *) instance;
    InstanceLoad *load = g_new0 (InstanceLoad, 1);
    load->inst = inst;
    load->funcs = *funcs;
    load->data = data;
    if (inst->public.state == INSTANCE_DOWN)
        inst_revive (inst);
    inst->loads = g_list_append (inst->loads, load);
    load->soon = g_idle_add (load_begins, load);
    return load;
}

InstanceLoad *
instances_load (Instances *all, const InstanceLoadOptions *options, const InstanceLoadFuncs *funcs, gpointer data,
                GError **error)
{
    if (options->identifier && !identifier_is_free (all, options->identifier)) {
        g_set_error (error, CHAT_ERROR, CHAT_FAIL_INVALID, "The identifier \"%s\" is already in use by a loaded model.",
                     options->identifier);
        return NULL;
    }
    return instances_wait (all, &inst_load (all, options)->public, funcs, data);
}

void
instance_load_cancel (InstanceLoad *load)
{
    Inst *inst = load->inst;
    inst->loads = g_list_remove (inst->loads, load);
    g_clear_handle_id (&load->soon, g_source_remove);
    g_free (load);
    if (inst->public.state == INSTANCE_LOADING && !inst->public.jit && !inst->loads && !inst->jobs) {
        log_line (LOG_INFO, inst->public.identifier, "Load given up.");
        inst->public.state = INSTANCE_LEAVING;
        if (inst->engine)
            engine_stop (inst->engine, 0); /* inst_remove follows when it is gone */
        inst_changed (inst->all);
    }
}

gboolean
instances_unload (Instances *all, const char *identifier, void (*done) (gpointer data), gpointer data)
{
    Inst *inst = (Inst *) instances_by_identifier (all, identifier);
    if (!inst)
        return FALSE;
    static const char message[] = "Model was unloaded while the request was being processed.";
    log_line (LOG_INFO, inst->public.identifier, "Unloading model.");
    ChatFailure failure = { .kind = CHAT_FAIL_UNLOADED, .message = (char *) message };
    inst->public.state = INSTANCE_LEAVING;
    g_clear_handle_id (&inst->ttl_timer, g_source_remove);
    inst->unloaded = done;
    inst->unloaded_data = data;
    while (inst->jobs)
        job_fail (inst->jobs->data, CHAT_FAIL_UNLOADED, message);
    end_loads (inst, &failure);
    if (inst->engine)
        engine_stop (inst->engine, STOP_GRACE_MS); /* inst_remove follows when it is gone */
    else
        inst_remove (inst);
    inst_changed (all);
    return TRUE;
}
