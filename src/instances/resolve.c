/* resolve.c: which instance a request means (http.md 2.1, 2.2).
 *
 *   (1) identifier of an instance   (2) key, variant or path of a loaded one   (3), (4) a model at rest: load it
 *
 * Names are compared without case; prefixes and near matches never match. */
#include "instances/internal.h"

#include <string.h>

static void
    G_GNUC_PRINTF (4, 5) fail (ChatFailure *failure, ChatFailKind kind, const char *param, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    failure->kind = kind;
    failure->message = g_strdup_vprintf (format, args);
    failure->param = g_strdup (param);
    va_end (args);
}

/* Live before down, then the less busy, then the more recently used. */
static gboolean
is_better (const Inst *a, const Inst *b)
{
    if (!b || inst_is_live (a) != inst_is_live (b))
        return !b || inst_is_live (a);
    guint load_a = a->public.n_running + a->public.n_queued, load_b = b->public.n_running + b->public.n_queued;
    return load_a != load_b ? load_a < load_b : a->public.last_used_ms > b->public.last_used_ms;
}

static gboolean
names_model (const char *name, const Model *model)
{
    if (g_ascii_strcasecmp (name, model->key) == 0 || g_ascii_strcasecmp (name, model->path) == 0)
        return TRUE;
    g_autofree char *folder = g_path_get_dirname (model->path);
    return strchr (folder, '/') && g_ascii_strcasecmp (name, folder) == 0;
}

static Inst *
find_instance (Instances *all, const char *name, const Model *at_rest)
{
    Inst *best = NULL;
    for (guint i = 0; i < all->table->len; i++) {
        Inst *inst = g_ptr_array_index (all->table, i);
        if (inst->public.state != INSTANCE_LEAVING && g_ascii_strcasecmp (name, inst->public.identifier) == 0 &&
            (inst_is_live (inst) || !best))
            best = inst;
    }
    for (guint i = 0; !best && i < all->table->len; i++) {
        Inst *inst = g_ptr_array_index (all->table, i);
        if (inst->public.state == INSTANCE_LEAVING)
            continue;
        gboolean meant =
            at_rest ? strcmp (at_rest->path, inst->public.model->path) == 0 : names_model (name, inst->public.model);
        if (meant && is_better (inst, best))
            best = inst;
    }
    return best;
}

static Inst *
find_only_instance (Instances *all, ModelType type, ChatFailure *failure)
{
    Inst *only = NULL;
    guint n = 0;
    for (guint i = 0; i < all->table->len; i++) {
        Inst *inst = g_ptr_array_index (all->table, i);
        if (inst_is_live (inst) && inst->public.model->type == type && ++n)
            only = inst;
    }
    if (n == 0)
        fail (failure, CHAT_FAIL_MODEL_MISSING, "model",
              "No models loaded. Please load a model in the developer page or use the 'lms load' command.");
    else if (n > 1)
        fail (failure, CHAT_FAIL_MODEL_MISSING, "model", "%u models are loaded: say which one is meant with 'model'.",
              n);
    return n == 1 ? only : NULL;
}

static void
fail_unknown (Job *job, ChatFailure *failure)
{
    const GPtrArray *list = models_list (job->all->models);
    g_autoptr (GString) keys = g_string_new (NULL);
    guint n = 0;
    for (guint i = 0; i < list->len && n < 20; i++) {
        const Model *model = g_ptr_array_index (list, i);
        if (model->type == job->type)
            g_string_append_printf (keys, "%s%s", n++ ? ", " : "", model->key);
    }
    if (n > 0)
        fail (failure, CHAT_FAIL_MODEL_UNKNOWN, "model",
              "Invalid model identifier \"%s\". Please specify a valid downloaded model (e.g., %s).", job->model_name,
              keys->str);
    else
        fail (failure, CHAT_FAIL_MODEL_UNKNOWN, "model",
              "Invalid model identifier \"%s\". There are no downloaded models of this kind.", job->model_name);
}

static gboolean
type_fits (Job *job, const Model *model, ChatFailure *failure)
{
    if (model->type == job->type)
        return TRUE;
    if (job->type == MODEL_LLM)
        fail (failure, CHAT_FAIL_MODEL_TYPE, "model", "Model \"%s\" is an embedding model and cannot generate text.",
              model->key);
    else
        fail (failure, CHAT_FAIL_MODEL_TYPE, "model", "Model \"%s\" is no embedding model.", model->key);
    return FALSE;
}

/* An instance whose engine died comes back for whoever asks for it. */
static Inst *
revived (Job *job, Inst *inst, ChatFailure *failure)
{
    if (inst->public.state != INSTANCE_DOWN)
        return inst;
    if (!job->reference && !settings_get (job->all->settings)->jit_loading) {
        fail (failure, CHAT_FAIL_MODEL_UNKNOWN, "model",
              "The engine of model \"%s\" died, and just-in-time loading is off. Load it again with 'lms load'.",
              inst->public.identifier);
        return NULL;
    }
    inst_revive (inst);
    return inst;
}

Inst *
resolve_job (Job *job, ChatFailure *failure, gboolean *wait)
{
    Instances *all = job->all;
    if (job->reference) {
        for (guint i = 0; i < all->table->len; i++) {
            Inst *inst = g_ptr_array_index (all->table, i);
            if (inst->public.state != INSTANCE_LEAVING && strcmp (inst->public.reference, job->reference) == 0)
                return type_fits (job, inst->public.model, failure) ? revived (job, inst, failure) : NULL;
        }
        fail (failure, CHAT_FAIL_UNLOADED, NULL, "This model has already been unloaded.");
        return NULL;
    }
    if (!job->model_name || !*job->model_name)
        return find_only_instance (all, job->type, failure);

    const Model *at_rest = models_find (all->models, job->model_name);
    Inst *inst = find_instance (all, job->model_name, at_rest);
    if (inst)
        return type_fits (job, inst->public.model, failure) ? revived (job, inst, failure) : NULL;
    if (!at_rest && !models_is_ready (all->models)) {
        *wait = TRUE;
        return NULL;
    }
    if (!at_rest) {
        const char *bad = models_find_bad (all->models, job->model_name);
        if (bad)
            fail (failure, CHAT_FAIL_LOAD, "model", "Model \"%s\" cannot be loaded: %s.", job->model_name, bad);
        else
            fail_unknown (job, failure);
        return NULL;
    }
    if (!type_fits (job, at_rest, failure))
        return NULL;
    const Settings *settings = settings_get (all->settings);
    if (!job->may_load || !settings->jit_loading) {
        fail (failure, CHAT_FAIL_MODEL_UNKNOWN, "model",
              "Model \"%s\" is downloaded but not loaded, and just-in-time loading is off. Load it with 'lms load %s'.",
              job->model_name, at_rest->key);
        return NULL;
    }
    gint64 ttl = job->ttl_seconds            ? job->ttl_seconds
                 : settings->jit_ttl_enabled ? (gint64) settings->jit_ttl_seconds
                                             : -1;
    InstanceLoadOptions options = { .model = at_rest, .jit = TRUE, .ttl_ms = ttl < 0 ? -1 : ttl * 1000 };
    return inst_load (all, &options);
}
