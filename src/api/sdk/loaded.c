/* loaded.c: questions about models that are loaded, and unloading (spec: sdk.md 5 ModelSpecifier, 6.1). */
#include "api/sdk/endpoints.h"
#include "api/sdk/kvconfig.h"

#include <string.h>

/* ---- which one is meant ------------------------------------------------------------------------------------------------------ */

/* "publisher/repo" matches any file of that folder. */
static gboolean
path_matches (const char *path, const char *wanted)
{
    gsize length = strlen (wanted);
    return strncmp (path, wanted, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static gboolean
query_matches (const json_t *query, const Instance *instance)
{
    const char *domain = json_peek_string (query, "domain"), *identifier = json_peek_string (query, "identifier");
    const char *path = json_peek_string (query, "path"), *device = json_peek_string (query, "deviceIdentifier");
    const json_t *vision = json_object_get (query, "vision");
    return (!domain || strcmp (domain, sdk_domain (instance->model->type)) == 0) &&
           (!identifier || strcmp (identifier, instance->identifier) == 0) &&
           (!path || path_matches (instance->model->path, path)) && !device && /* every instance is on this machine */
           (!vision || json_is_true (vision) == !!instance->model->vision);
}

static gboolean
is_of_call (SdkCall *call, const Instance *instance)
{
    return instance && instance->state == INSTANCE_READY && instance->model->type == sdk_call_model_type (call);
}

const Instance *
sdk_find_instance (SdkCall *call, const json_t *specifier, json_t **error)
{
    Instances *instances = sdk_call_api (call)->instances;
    const char *reference = json_peek_string (specifier, "instanceReference");
    if (reference) { /* one whose engine died counts: the next job brings it back */
        const Instance *instance = instances_by_reference (instances, reference);
        if (instance && instance->model->type == sdk_call_model_type (call))
            return instance;
        return *error = sdk_error_unloaded (), NULL;
    }
    const json_t *query = json_object_get (specifier, "query");
    const GPtrArray *all = instances_list (instances);
    for (guint i = 0; i < all->len; i++)
        if (is_of_call (call, all->pdata[i]) && query_matches (query, all->pdata[i]))
            return all->pdata[i];
    return *error = sdk_error_no_match (query, instances, sdk_call_model_type (call)), NULL;
}

const Instance *
sdk_need_instance (SdkCall *call, const json_t *specifier)
{
    json_t *error = NULL;
    const Instance *instance = sdk_find_instance (call, specifier, &error);
    if (!instance)
        sdk_call_fail (call, error);
    return instance;
}

/* ---- endpoints ------------------------------------------------------------------------------------------------------------- */

void
sdk_list_loaded (SdkCall *call, const json_t *parameter)
{
    json_t *list = json_array ();
    const GPtrArray *all = instances_list (sdk_call_api (call)->instances);
    for (guint i = 0; i < all->len; i++)
        if (is_of_call (call, all->pdata[i]))
            json_array_append_new (list, sdk_instance_info (all->pdata[i]));
    sdk_call_result (call, list);
}

/* Ours: all that `lms ps` shows, of both kinds, in one answer: its question is asked often and by scripts (cli.md 16). */
void
sdk_lmsd_ps (SdkCall *call, const json_t *parameter)
{
    json_t *list = json_array ();
    const GPtrArray *all = instances_list (sdk_call_api (call)->instances);
    static const ModelType order[] = { MODEL_LLM, MODEL_EMBEDDING };
    for (guint t = 0; t < G_N_ELEMENTS (order); t++)
        for (guint i = 0; i < all->len; i++) {
            const Instance *instance = all->pdata[i];
            if (instance->state != INSTANCE_READY || instance->model->type != order[t])
                continue;
            json_t *info = sdk_instance_info (instance);
            g_autoptr (json_t) state = sdk_processing_state (instance);
            json_object_update (info, state);
            json_object_set_new (info, "parallel",
                                 order[t] == MODEL_LLM ? json_integer (instance->parallel) : json_null ());
            json_array_append_new (list, info);
        }
    sdk_call_result (call, list);
}

/* The specified instance, or an answer as `throwIfNotFound` says. */
static const Instance *
instance_or_nothing (SdkCall *call, const json_t *parameter)
{
    json_t *error = NULL;
    const Instance *instance = sdk_find_instance (call, json_object_get (parameter, "specifier"), &error);
    if (instance)
        return instance;
    if (json_peek_bool (parameter, "throwIfNotFound", TRUE)) {
        sdk_call_fail (call, error);
    } else {
        json_decref (error);
        sdk_call_result (call, NULL);
    }
    return NULL;
}

void
sdk_get_model_info (SdkCall *call, const json_t *parameter)
{
    const Instance *instance = instance_or_nothing (call, parameter);
    if (instance)
        sdk_call_result (call, sdk_instance_info (instance));
}

void
sdk_get_processing_state (SdkCall *call, const json_t *parameter)
{
    const Instance *instance = instance_or_nothing (call, parameter);
    if (instance)
        sdk_call_result (call, sdk_processing_state (instance));
}

void
sdk_get_load_config (SdkCall *call, const json_t *parameter)
{
    const Instance *instance = sdk_need_instance (call, json_object_get (parameter, "specifier"));
    if (instance)
        sdk_call_result (call, kv_of_instance (instance));
}

void
sdk_get_base_prediction_config (SdkCall *call, const json_t *parameter)
{
    if (sdk_need_instance (call, json_object_get (parameter, "specifier")))
        sdk_call_result (call, kv_effective (KV_PREDICTION, NULL));
}

/* ---- unloading ------------------------------------------------------------------------------------------------------------- */

static void
unloaded (gpointer data)
{
    g_autoptr (SdkCall) call = data;
    sdk_call_result (call, NULL);
}

void
sdk_unload_model (SdkCall *call, const json_t *parameter)
{
    Instances *instances = sdk_call_api (call)->instances;
    const char *identifier = json_peek_string (parameter, "identifier");
    const char *device = json_peek_string (parameter, "deviceIdentifier");
    const Instance *instance = device ? NULL : instances_by_identifier (instances, identifier);
    g_autoptr (SdkCall) waiting = sdk_call_ref (call);
    if (instance && instance->model->type == sdk_call_model_type (call) &&
        instances_unload (instances, identifier, unloaded, waiting))
        g_steal_pointer (&waiting); /* `unloaded` has it now */
    else
        sdk_call_fail (call, sdk_error_identifier_not_found (identifier, instances, sdk_call_model_type (call)));
}
