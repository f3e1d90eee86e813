/* entry.c: what a file says about itself, in the words of the list. */
#include "models/entry.h"

#include <string.h>

static const char *const embedding_archs[] = {
    "bert",        "nomic-bert", "nomic-bert-moe", "jina-bert-v2",    "jina-bert-v3",
    "modern-bert", "neo-bert",   "eurobert",       "gemma-embedding", "t5encoder",
    NULL
};

/* `pooling` is llama.cpp's number (0 none, 1 mean, 2 cls, 3 last, 4 rank) or its name. */
static gboolean
pools (const json_t *answer)
{
    const json_t *pooling = json_object_get (answer, "pooling");
    if (json_is_string (pooling))
        return strcmp (json_string_value (pooling), "none") != 0 && *json_string_value (pooling);
    return json_is_integer (pooling) && json_integer_value (pooling) > 0;
}

EntryKind
entry_kind (const char *file_name, const json_t *answer)
{
    const char *type = json_peek_string (answer, "type"), *arch = json_peek_string (answer, "arch");
    if ((type && strcmp (type, "mmproj") == 0) || (arch && strcmp (arch, "clip") == 0))
        return KIND_PROJECTOR;
    if (type && (strcmp (type, "adapter") == 0 || strcmp (type, "imatrix") == 0))
        return KIND_IGNORED;
    switch (name_kind (file_name)) {
    case NAME_PROJECTOR:
        return KIND_PROJECTOR;
    case NAME_SIDECAR:
        return KIND_SIDECAR;
    case NAME_IGNORED:
        return KIND_IGNORED;
    case NAME_MODEL:
        break;
    }
    return (arch && g_strv_contains (embedding_archs, arch)) || pools (answer) ? KIND_EMBEDDING : KIND_LLM;
}

char *
path_part (const char *path, guint number)
{
    g_auto (GStrv) parts = g_strsplit (path, "/", -1);
    return g_strdup (number < g_strv_length (parts) ? parts[number] : "");
}

/* A member that is a string worth showing: not empty, no control characters, at most 256 bytes. */
static char *
dup_plain (const json_t *answer, const char *key)
{
    const char *text = json_peek_string (answer, key);
    if (!text || !*text || strlen (text) > 256)
        return NULL;
    for (const guchar *c = (const guchar *) text; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            return NULL;
    return g_strdup (text);
}

static void
set_quant (Model *model, const NameParts *parts, const json_t *answer)
{
    const char *name = parts->quant;
    if (!name)
        name = json_peek_string (answer, "quant"); /* MLX */
    if (!name)
        name = quant_of_file_type (json_peek_int (answer, "file_type", -1));
    model->quant_name = g_strdup (name);
    model->quant_bits = name ? quant_bits (name) : 0;
}

Model *
entry_new (const ScanFile *file, const NameParts *parts, const json_t *answer, EntryKind kind)
{
    Model *model = g_atomic_rc_box_new0 (Model);
    model->type = kind == KIND_EMBEDDING ? MODEL_EMBEDDING : MODEL_LLM;
    model->path = g_strdup (file->path);
    model->file = g_strdup (file->file);
    model->format = g_strdup (file->is_mlx ? "safetensors" : "gguf");
    model->publisher = path_part (file->path, 0);
    model->size_bytes = file->size_bytes;
    model->mtime = file->mtime_ns / 1000000000;
    model->inspect = json_incref ((json_t *) answer);
    if (file->parts)
        model->files = g_strdupv (file->parts);

    g_autofree char *folder = path_part (file->path, 1);
    g_autofree char *general_name = dup_plain (answer, "name");
    g_autofree char *size_label = dup_plain (answer, "size_label");
    const char *plain = *parts->plain ? parts->plain : folder;
    model->display_name = name_display (general_name, parts->plain, folder);
    model->architecture = dup_plain (answer, "arch");
    gint64 n_params = json_peek_int (answer, "n_params", 0);
    model->params = name_params (size_label, plain, MAX (n_params, 0));
    set_quant (model, parts, answer);
    model->max_context = CLAMP (json_peek_int (answer, "n_ctx_train", 0), 0, G_MAXINT32);
    const json_t *template = json_object_get (answer, "template");
    model->tool_use = json_peek_bool (template, "tools", FALSE) && json_peek_bool (template, "tool_calls", FALSE);
    model->vision = json_peek_bool (answer, "vision", FALSE); /* MLX; a GGUF's comes with its projector */
    return model;
}

char *
entry_stem (const Model *model, const NameParts *parts)
{
    g_autofree char *folder = path_part (model->path, 1);
    g_autofree char *of_folder = name_of_mlx (folder);
    g_autofree char *stem = name_lower (*parts->plain ? parts->plain : of_folder);
    if (model->type != MODEL_EMBEDDING || strstr (stem, "text-embedding-"))
        return g_steal_pointer (&stem);
    return g_strconcat ("text-embedding-", stem, NULL);
}

static void
model_clear (gpointer data)
{
    Model *model = data;
    g_free (model->key);
    g_free (model->path);
    g_free (model->file);
    g_strfreev (model->files);
    g_free (model->format);
    g_free (model->publisher);
    g_free (model->display_name);
    g_free (model->architecture);
    g_free (model->params);
    g_free (model->quant_name);
    g_free (model->projector);
    json_decref (model->inspect);
}

const Model *
model_ref (const Model *model)
{
    return g_atomic_rc_box_acquire ((gpointer) model);
}

void
model_unref (const Model *model)
{
    g_atomic_rc_box_release_full ((gpointer) model, model_clear);
}
