/* load.c: the channels loadModel and getOrLoad: a load with its progress (spec: sdk.md 7.2).
 *
 *   loadModel   resolved ─▶ progress 0 .. 1 ─▶ success ─▶ close            always a new instance
 *   getOrLoad   alreadyLoaded ─▶ close,  or  startLoading ─▶ loadProgress 0 .. 1 ─▶ loadSuccess ─▶ close */
#include "api/sdk/endpoints.h"
#include "api/sdk/kvconfig.h"

#include <string.h>

#define REMIND_SECONDS 10

/* The words in which the two channels tell the same. */
typedef struct {
    const char *progress, *success;
} LoadWords;

static const LoadWords load_words = { "progress", "success" };
static const LoadWords get_or_load_words = { "loadProgress", "loadSuccess" };

typedef struct {
    SdkCall *call; /* not a reference: the call owns this */
    const LoadWords *words;
    json_t *parameter; /* while the first scan of the models runs */
    json_t *merged, *fields;
    InstanceLoad *load; /* NULL: not begun, or through */
    double told;        /* progress sent last, -1: none */
    guint reminder;     /* says it again now and then: clients take a minute of silence for the end */
} LoadState;

static void
load_state_free (gpointer data)
{
    LoadState *state = data;
    g_clear_handle_id (&state->reminder, g_source_remove);
    if (state->load)
        instance_load_cancel (state->load);
    json_decref (state->parameter);
    json_decref (state->merged);
    json_decref (state->fields);
    g_free (state);
}

/* ---- telling how it goes ------------------------------------------------------------------------------------------------------ */

static void
send_progress (LoadState *state)
{
    sdk_call_send (state->call, json_pack ("{s:s, s:f}", "type", state->words->progress, "progress", state->told));
}

static void
tell_progress (LoadState *state, double fraction)
{
    fraction = CLAMP (fraction, 0, 1);
    if (fraction <= state->told)
        return;
    state->told = fraction;
    send_progress (state);
}

static gboolean
remind (gpointer data)
{
    LoadState *state = data;
    if (state->told >= 0)
        send_progress (state);
    return G_SOURCE_CONTINUE;
}

static void
load_progress (double fraction, gpointer data)
{
    tell_progress (data, fraction);
}

static void
load_done (const Instance *instance, gpointer data)
{
    LoadState *state = data;
    state->load = NULL;
    tell_progress (state, 0);
    tell_progress (state, 1);
    sdk_call_send (state->call,
                   json_pack ("{s:s, s:o}", "type", state->words->success, "info", sdk_instance_info (instance)));
    sdk_call_close (state->call);
}

static void
load_failed (const ChatFailure *failure, gpointer data)
{
    LoadState *state = data;
    state->load = NULL;
    sdk_call_fail (state->call, sdk_error_from_failure (failure, "load model"));
}

static const InstanceLoadFuncs load_funcs = { load_progress, load_done, load_failed };

/* ---- beginning ---------------------------------------------------------------------------------------------------------------- */

/* The model at rest that @name means, or the call fails. */
static const Model *
need_model (SdkCall *call, const char *name)
{
    Models *models = sdk_call_api (call)->models;
    const Model *model = models_find (models, name);
    if (!model)
        sdk_call_fail (call, sdk_error_path_not_found (name, models));
    else if (model->type != sdk_call_model_type (call))
        sdk_call_fail (call, sdk_error_domain (name, model->type, sdk_call_model_type (call)));
    else
        return model;
    return NULL;
}

static void
begin_load (LoadState *state, const Model *model, const char *identifier, gint64 ttl_ms)
{
    KvDomain domain = kv_load_domain (model->type);
    InstanceLoadOptions options = { .model = model, .identifier = identifier, .ttl_ms = ttl_ms };
    state->fields = kv_fields (domain, state->merged);
    kv_to_instance (domain, state->merged, &options.config);
    options.config.fields = state->fields;

    g_autoptr (GError) error = NULL;
    state->load = instances_load (sdk_call_api (state->call)->instances, &options, &load_funcs, state, &error);
    if (!state->load)
        sdk_call_fail (state->call, sdk_error (error->message));
}

static void
begin_load_model (LoadState *state)
{
    const json_t *parameter = state->parameter;
    const Model *model = need_model (state->call, json_peek_string (parameter, "modelKey"));
    if (!model)
        return;
    sdk_call_send (state->call, json_pack ("{s:s, s:o}", "type", "resolved", "info", sdk_model_info (model)));
    begin_load (state, model, json_peek_string (parameter, "identifier"), json_peek_int (parameter, "ttlMs", -1));
}

/* An instance called @name, or one of the model that @name means. */
static const Instance *
find_loaded (SdkCall *call, const char *name)
{
    Instances *instances = sdk_call_api (call)->instances;
    const Instance *instance = instances_by_identifier (instances, name);
    if (instance && instance->model->type == sdk_call_model_type (call))
        return instance;
    const Model *model = models_find (sdk_call_api (call)->models, name);
    const GPtrArray *all = instances_list (instances);
    const Instance *found = NULL;
    for (guint i = 0; model && i < all->len; i++) {
        instance = all->pdata[i];
        if (g_strcmp0 (instance->model->path, model->path) != 0 || instance->model->type != sdk_call_model_type (call))
            continue;
        if (!found || (found->state != INSTANCE_READY && instance->state == INSTANCE_READY))
            found = instance;
    }
    return found;
}

static void
begin_get_or_load (LoadState *state)
{
    SdkCall *call = state->call;
    const char *name = json_peek_string (state->parameter, "identifier");
    const Instance *instance = find_loaded (call, name);
    if (instance && instance->state == INSTANCE_READY) {
        sdk_call_send (call, json_pack ("{s:s, s:o}", "type", "alreadyLoaded", "info", sdk_instance_info (instance)));
        sdk_call_close (call);
        return;
    }
    const Model *model = instance ? instance->model : need_model (call, name);
    if (!model)
        return;
    sdk_call_send (call, json_pack ("{s:s, s:s, s:o}", "type", "startLoading", "identifier",
                                    instance ? instance->identifier : model->key, "info", sdk_model_info (model)));
    if (instance)
        state->load = instances_wait (sdk_call_api (call)->instances, instance, &load_funcs, state);
    else
        begin_load (state, model, NULL, json_peek_int (state->parameter, "loadTtlMs", -1));
}

static void
models_are_ready (gpointer data)
{
    g_autoptr (SdkCall) call = data;
    if (!sdk_call_is_open (call))
        return;
    LoadState *state = sdk_call_state (call);
    if (state->words == &load_words)
        begin_load_model (state);
    else
        begin_get_or_load (state);
}

static void
begin (SdkCall *call, const json_t *parameter, const LoadWords *words)
{
    g_autoptr (json_t) merged = kv_merge (json_object_get (parameter, "loadConfigStack"));
    g_autofree char *complaint = kv_complain (kv_load_domain (sdk_call_model_type (call)), merged);
    if (complaint) {
        sdk_call_fail (call, sdk_error (complaint));
        return;
    }
    if (json_peek_string (parameter, "deviceIdentifier")) {
        sdk_call_fail (call, sdk_error ("This server has no link to another device"));
        return;
    }
    LoadState *state = g_new0 (LoadState, 1);
    state->call = call;
    state->words = words;
    state->parameter = json_incref ((json_t *) parameter);
    state->merged = g_steal_pointer (&merged);
    state->told = -1;
    state->reminder = g_timeout_add_seconds (REMIND_SECONDS, remind, state);
    sdk_call_set_state (call, state, load_state_free);
    models_when_ready (sdk_call_api (call)->models, models_are_ready, sdk_call_ref (call));
}

void
sdk_load_model (SdkCall *call, const json_t *parameter)
{
    begin (call, parameter, &load_words);
}

void
sdk_get_or_load (SdkCall *call, const json_t *parameter)
{
    begin (call, parameter, &get_or_load_words);
}

/* The one message is `cancel`.  The client has rejected its promise already: stop, free, close (sdk.md 7.2). */
void
sdk_load_message (SdkCall *call, const char *type, const json_t *message)
{
    sdk_call_close (call);
}
