/* types.c: values of the protocol's shared types, built from ours.
 *
 * Two rules run through all of it (sdk.md 11): an optional member that has no value is left out, never null; a number that the client calls
 * an integer is printed as one. */
#include "api/sdk/types.h"

#include <math.h>
#include <string.h>

#define SAMPLE_MAX 10
#define WHOLE_MAX  9007199254740991LL /* 2^53 - 1: beyond it JavaScript can't count */

/* ---- models and instances ------------------------------------------------------------------------------------------------- */

const char *
sdk_domain (ModelType type)
{
    return type == MODEL_EMBEDDING ? "embedding" : "llm";
}

static json_t *
whole (guint64 value)
{
    return json_integer (MIN (value, WHOLE_MAX));
}

/* File names need not be UTF-8; what goes to a client must be. */
static void
set_text (json_t *object, const char *key, const char *text)
{
    json_set_text (object, key, text, strlen (text));
}

json_t *
sdk_model_info (const Model *model)
{
    json_t *info = json_object ();
    set_text (info, "type", sdk_domain (model->type));
    set_text (info, "modelKey", model->key);
    set_text (info, "format", model->format);
    set_text (info, "displayName", model->display_name ? model->display_name : model->key);
    set_text (info, "publisher", model->publisher ? model->publisher : "");
    set_text (info, "path", model->path);
    json_object_set_new (info, "sizeBytes", whole (model->size_bytes));
    set_text (info, "indexedModelIdentifier", model->path);
    json_object_set_new (info, "deviceIdentifier", json_null ());
    if (model->params)
        set_text (info, "paramsString", model->params);
    if (model->architecture)
        set_text (info, "architecture", model->architecture);
    if (model->quant_name)
        json_object_set_new (info, "quantization",
                             json_pack ("{s:s, s:i}", "name", model->quant_name, "bits", model->quant_bits));
    json_object_set_new (info, "maxContextLength", json_integer (model->max_context));
    if (model->type == MODEL_LLM) {
        json_object_set_new (info, "vision", json_boolean (model->vision));
        json_object_set_new (info, "trainedForToolUse", json_boolean (model->tool_use));
    }
    return info;
}

json_t *
sdk_instance_info (const Instance *instance)
{
    json_t *info = sdk_model_info (instance->model);
    set_text (info, "identifier", instance->identifier);
    set_text (info, "instanceReference", instance->reference);
    json_object_set_new (info, "ttlMs", instance->ttl_ms >= 0 ? json_integer (instance->ttl_ms) : json_null ());
    json_object_set_new (info, "lastUsedTime",
                         instance->last_used_ms >= 0 ? json_integer (instance->last_used_ms) : json_null ());
    json_object_set_new (info, "contextLength", json_integer (instance->n_ctx));
    return info;
}

json_t *
sdk_processing_state (const Instance *instance)
{
    static const char *const words[] = {
        [INSTANCE_IDLE] = "idle",
        [INSTANCE_PROCESSING_PROMPT] = "processingPrompt",
        [INSTANCE_GENERATING] = "generating",
        [INSTANCE_COMPUTING_EMBEDDING] = "computingEmbedding",
    };
    return json_pack ("{s:s, s:i}", "status", words[instance->activity], "queued", (int) instance->n_queued);
}

/* ---- predictions ---------------------------------------------------------------------------------------------------------- */

const char *
sdk_stop_reason (ChatStop stop)
{
    static const char *const words[] = {
        [CHAT_STOP_EOS] = "eosFound",
        [CHAT_STOP_STRING] = "stopStringFound",
        [CHAT_STOP_LENGTH] = "maxPredictedTokensReached",
        [CHAT_STOP_CONTEXT] = "contextLengthReached",
        [CHAT_STOP_CALL] = "toolCalls",
        [CHAT_STOP_CANCELLED] = "userStopped",
    };
    return words[stop];
}

static void
set_finite (json_t *object, const char *key, double value)
{
    if (isfinite (value))
        json_object_set_new (object, key, json_real (value));
}

json_t *
sdk_stats (const ChatResult *result, const char *stop_reason)
{
    json_t *stats = json_pack ("{s:s, s:i, s:i, s:i}", "stopReason", stop_reason, "promptTokensCount", result->n_prompt,
                               "predictedTokensCount", result->n_completion, "totalTokensCount",
                               result->n_prompt + result->n_completion);
    if (result->stop == CHAT_STOP_STRING && result->stop_string)
        json_object_set_new (stats, "stopString", json_string (result->stop_string));
    if (result->generate_seconds > 0)
        set_finite (stats, "tokensPerSecond", result->n_completion / result->generate_seconds);
    if (result->n_completion > 0)
        set_finite (stats, "timeToFirstTokenSec", result->queue_seconds + result->first_seconds);
    set_finite (stats, "totalTimeSec", result->queue_seconds + result->prompt_seconds + result->generate_seconds);
    return stats;
}

/* ---- errors --------------------------------------------------------------------------------------------------------------- */

json_t *
sdk_error_full (const char *title, const char *cause, const char *suggestion)
{
    g_autofree char *valid = g_utf8_make_valid (title, -1);
    json_t *error = json_pack ("{s:s, s:s}", "title", valid, "rootTitle", valid);
    if (cause)
        json_set_text (error, "cause", cause, strlen (cause));
    if (suggestion)
        json_set_text (error, "suggestion", suggestion, strlen (suggestion));
    return error;
}

json_t *
sdk_error (const char *title)
{
    return sdk_error_full (title, NULL, NULL);
}

/* Takes @display. */
static json_t *
error_with_display (const char *title, json_t *display)
{
    json_t *error = sdk_error (title);
    json_object_set_new (error, "displayData", display);
    return error;
}

static void
add_sample (json_t *display, const char *sample_key, const char *total_key, const GPtrArray *names)
{
    json_t *sample = json_array ();
    for (guint i = 0; i < names->len && i < SAMPLE_MAX; i++)
        json_array_append_new (sample, json_string (names->pdata[i]));
    json_object_set_new (display, sample_key, sample);
    json_object_set_new (display, total_key, json_integer (names->len));
}

static void
add_loaded (json_t *display, Instances *instances, ModelType type)
{
    g_autoptr (GPtrArray) names = g_ptr_array_new ();
    const GPtrArray *all = instances_list (instances);
    for (guint i = 0; i < all->len; i++) {
        const Instance *instance = all->pdata[i];
        if (instance->model->type == type && instance->state == INSTANCE_READY)
            g_ptr_array_add (names, instance->identifier);
    }
    add_sample (display, "loadedModelsSample", "totalLoadedModels", names);
}

json_t *
sdk_error_path_not_found (const char *path, Models *models)
{
    g_autoptr (GPtrArray) names = g_ptr_array_new ();
    const GPtrArray *all = models_list (models);
    for (guint i = 0; i < all->len; i++)
        g_ptr_array_add (names, ((const Model *) all->pdata[i])->key);
    json_t *display = json_pack ("{s:s, s:s}", "code", "generic.pathNotFound", "path", path);
    add_sample (display, "availablePathsSample", "totalModels", names);
    g_autofree char *title = g_strdup_printf ("Model not found: %s", path);
    const char *reason = models_find_bad (models, path);
    if (reason) { /* it is there, but can't be loaded: our words say more than the client's */
        json_decref (display);
        return sdk_error_full (title, reason, NULL);
    }
    return error_with_display (title, display);
}

json_t *
sdk_error_identifier_not_found (const char *identifier, Instances *instances, ModelType type)
{
    json_t *display = json_pack ("{s:s, s:s}", "code", "generic.identifierNotFound", "identifier", identifier);
    add_loaded (display, instances, type);
    g_autofree char *title = g_strdup_printf ("No loaded model has the identifier \"%s\"", identifier);
    return error_with_display (title, display);
}

json_t *
sdk_error_no_match (const json_t *query, Instances *instances, ModelType type)
{
    json_t *display = json_pack ("{s:s, s:O}", "code", "generic.noModelMatchingQuery", "query", query);
    add_loaded (display, instances, type);
    return error_with_display ("No model found that fits the query", display);
}

json_t *
sdk_error_unloaded (void)
{
    return error_with_display ("This model has already been unloaded",
                               json_pack ("{s:s}", "code", "generic.specificModelUnloaded"));
}

json_t *
sdk_error_domain (const char *path, ModelType actual, ModelType expected)
{
    g_autofree char *title =
        g_strdup_printf ("\"%s\" is of domain %s, not of domain %s", path, sdk_domain (actual), sdk_domain (expected));
    return error_with_display (title, json_pack ("{s:s, s:s, s:s, s:s}", "code", "generic.domainMismatch", "path", path,
                                                 "actualDomain", sdk_domain (actual), "expectedDomain",
                                                 sdk_domain (expected)));
}

json_t *
sdk_error_preset_not_found (const char *preset)
{
    g_autofree char *title = g_strdup_printf ("Preset not found: %s", preset);
    return error_with_display (title, json_pack ("{s:s, s:s, s:[], s:i}", "code", "generic.presetNotFound",
                                                 "specifiedFuzzyPresetIdentifier", preset, "availablePresetsSample",
                                                 "totalAvailablePresets", 0));
}

/* What the user can do about it, by kind; NULL: the sentence of the failure is the title and says it all. */
static const struct {
    const char *suggestion;
    gboolean message_is_cause;
} failure_forms[] = {
    [CHAT_FAIL_LOAD] = { "Try another file of this model, or load it with other settings.", TRUE },
    [CHAT_FAIL_MEMORY] = { "Unload another model, or load this one with a smaller context.", TRUE },
    [CHAT_FAIL_ENGINE] = { "Try again: the model's engine is started anew.", TRUE },
    [CHAT_FAIL_OVERLOADED] = { "Try again when other requests are through.", FALSE },
    [CHAT_FAIL_SHUTDOWN] = { NULL, FALSE },
};

json_t *
sdk_error_from_failure (const ChatFailure *failure, const char *doing)
{
    if (failure->kind == CHAT_FAIL_UNLOADED)
        return sdk_error_unloaded ();
    const char *suggestion = NULL;
    gboolean message_is_cause = FALSE;
    if (failure->kind < G_N_ELEMENTS (failure_forms)) {
        suggestion = failure_forms[failure->kind].suggestion;
        message_is_cause = failure_forms[failure->kind].message_is_cause;
    }
    if (!message_is_cause)
        return sdk_error_full (failure->message, NULL, suggestion);
    g_autofree char *title = g_strdup_printf ("Failed to %s", doing);
    return sdk_error_full (title, failure->message, suggestion);
}
