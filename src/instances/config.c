/* config.c: how to load, as the engine's LOAD reads it and as the SDK's KVConfig fields say it (sdk.md 8.1, 8.2). */
#include "instances/internal.h"

void
config_copy (InstanceConfig *to, const InstanceConfig *from)
{
    *to = *from;
    to->type_k = g_strdup (from->type_k);
    to->type_v = g_strdup (from->type_v);
    to->chat_template = g_strdup (from->chat_template);
    to->fields = json_incref ((json_t *) from->fields);
}

void
config_clear (InstanceConfig *config)
{
    g_free ((char *) config->type_k);
    g_free ((char *) config->type_v);
    g_free ((char *) config->chat_template);
    json_decref ((json_t *) config->fields);
    *config = (InstanceConfig){ 0 };
}

/* A context nobody named: the settings' default, at most what the model was trained for (http.md 1.1). */
static guint
default_context (const Model *model, const Settings *settings)
{
    guint most = model->max_context ? model->max_context : 4096;
    return settings->default_context ? MIN (settings->default_context, most) : most;
}

static void
set_int (json_t *object, const char *key, gint64 value)
{
    if (value)
        json_object_set_new (object, key, json_integer (value));
}

static void
set_text (json_t *object, const char *key, const char *value)
{
    if (value)
        json_object_set_new (object, key, json_string (value));
}

json_t *
config_to_load (const InstanceConfig *config, const Model *model, const Settings *settings)
{
    json_t *load = json_pack ("{s:s, s:i, s:i}", "path", model->file, "n_ctx",
                              (int) (config->n_ctx ? config->n_ctx : default_context (model, settings)), "parallel",
                              (int) (config->parallel ? config->parallel : 4));
    /* A split model is opened part by part; the projector is no part of it. */
    json_t *splits = json_array ();
    for (char **file = model->files; file && *file; file++)
        if (g_strcmp0 (*file, model->projector) != 0)
            json_array_append_new (splits, json_string (*file));
    if (json_array_size (splits) > 1)
        json_object_set (load, "splits", splits);
    json_decref (splits);
    set_int (load, "n_batch", config->n_batch);
    set_int (load, "n_ubatch", config->n_ubatch);
    set_int (load, "threads", config->threads);
    set_text (load, "type_k", config->type_k);
    set_text (load, "type_v", config->type_v);
    set_text (load, "chat_template", config->chat_template);
    if (config->flash_attention)
        json_object_set_new (load, "flash_attn", json_boolean (config->flash_attention > 0));
    if (config->no_mmap)
        json_object_set_new (load, "mmap", json_false ());
    if (config->mlock)
        json_object_set_new (load, "mlock", json_true ());
    if (config->rope_freq_base > 0)
        json_object_set_new (load, "rope_freq_base", json_real (config->rope_freq_base));
    if (config->rope_freq_scale > 0)
        json_object_set_new (load, "rope_freq_scale", json_real (config->rope_freq_scale));
    if (model->type == MODEL_EMBEDDING)
        json_object_set_new (load, "embedding", json_true ());
    return load;
}

/* Sets @key in a list of fields; a later value replaces an earlier one in its place. */
static void
set_field (json_t *fields, const char *key, json_t *value)
{
    size_t i;
    json_t *field;
    json_array_foreach (fields, i, field) {
        if (g_strcmp0 (json_peek_string (field, "key"), key) == 0) {
            json_object_set_new (field, "value", value);
            return;
        }
    }
    json_array_append_new (fields, json_pack ("{s:s, s:o}", "key", key, "value", value));
}

json_t *
config_to_fields (const InstanceConfig *config, const Model *model, guint n_ctx, guint parallel)
{
    json_t *fields = json_array ();
    size_t i;
    json_t *field;
    json_array_foreach (config->fields, i, field) {
        const char *key = json_peek_string (field, "key");
        json_t *value = json_object_get (field, "value");
        if (key && value)
            set_field (fields, key, json_incref (value));
    }
    if (model->type == MODEL_EMBEDDING) {
        set_field (fields, "embedding.load.contextLength", json_integer (n_ctx));
        return fields;
    }
    set_field (fields, "llm.load.contextLength", json_integer (n_ctx));
    set_field (fields, "llm.load.numParallelSessions", json_integer (parallel));
    set_field (fields, "llm.load.useUnifiedKvCache", json_true ());
    return fields;
}
