/* mlx.c: reading an MLX folder's two JSON files.
 *
 * Unlike GGUF this is plain JSON with a ceiling and a depth limit, so the daemon's own pool reads it; no engine of ours runs it yet,
 * but it is listed, and loading it names what is missing. */
#include "models/mlx.h"
#include "home/home.h"
#include "models/names.h"

#include <string.h>

static json_t *
refuse (const char *format, const char *what)
{
    g_autofree char *reason = g_strdup_printf (format, what);
    return json_pack ("{s:b, s:s}", "ok", FALSE, "reason", reason);
}

/* The first file that the index of weights names and the folder lacks; NULL: all are there, or there is no index. */
static char *
missing_shard (const char *folder)
{
    g_autofree char *path = g_build_filename (folder, "model.safetensors.index.json", NULL);
    g_autoptr (json_t) index = home_peek_json (path, 0);
    g_autoptr (GHashTable) checked = g_hash_table_new (g_str_hash, g_str_equal);
    const char *tensor;
    json_t *file;
    json_object_foreach (json_object_get (index, "weight_map"), tensor, file) {
        const char *name = json_string_value (file);
        if (!name || !g_hash_table_add (checked, (gpointer) name))
            continue;
        /* A name that leaves the folder is as good as missing. */
        g_autofree char *shard = g_build_filename (folder, name, NULL);
        if (strchr (name, '/') || !g_file_test (shard, G_FILE_TEST_IS_REGULAR))
            return name_text (name);
    }
    return NULL;
}

/* "4bit"; without quantization the weights' own type, "BF16". */
static char *
quant_name (const json_t *config)
{
    const json_t *quantization = json_object_get (config, "quantization");
    if (!json_is_object (quantization))
        quantization = json_object_get (config, "quantization_config");
    gint64 bits = json_peek_int (quantization, "bits", 0);
    if (bits > 0 && bits <= 64)
        return g_strdup_printf ("%dbit", (int) bits);
    const char *dtype = json_peek_string (config, "torch_dtype");
    if (!dtype)
        dtype = json_peek_string (config, "dtype");
    static const struct {
        const char *dtype, *name;
    } names[] = { { "bfloat16", "BF16" }, { "float16", "F16" }, { "float32", "F32" } };
    for (gsize i = 0; dtype && i < G_N_ELEMENTS (names); i++)
        if (strcmp (dtype, names[i].dtype) == 0)
            return g_strdup (names[i].name);
    return NULL;
}

static gboolean
file_mentions (const char *folder, const char *name, const char *word)
{
    g_autofree char *path = g_build_filename (folder, name, NULL);
    g_autoptr (json_t) tree = home_peek_json (path, 0);
    const char *template = json_peek_string (tree, "chat_template");
    return template && strstr (template, word);
}

json_t *
mlx_inspect (const char *folder)
{
    g_autofree char *path = g_build_filename (folder, "config.json", NULL);
    g_autoptr (json_t) config = home_peek_json (path, 0);
    if (!json_is_object (config))
        return refuse ("%s", "config.json holds no JSON object");
    g_autofree char *missing = missing_shard (folder);
    if (missing)
        return refuse ("%s is missing", missing);

    json_t *answer = json_pack ("{s:b}", "ok", TRUE);
    const json_t *text = json_object_get (config, "text_config");
    const char *arch = json_peek_string (config, "model_type");
    if (arch && strlen (arch) <= 256)
        json_object_set_new (answer, "arch", json_string (arch));
    gint64 n_ctx =
        json_peek_int (config, "max_position_embeddings", json_peek_int (text, "max_position_embeddings", 0));
    if (n_ctx > 0)
        json_object_set_new (answer, "n_ctx_train", json_integer (n_ctx));
    g_autofree char *quant = quant_name (config);
    if (quant)
        json_object_set_new (answer, "quant", json_string (quant));
    if (json_is_object (json_object_get (config, "vision_config")))
        json_object_set_new (answer, "vision", json_true ());
    gboolean tools = file_mentions (folder, "tokenizer_config.json", "tools");
    json_object_set_new (answer, "template", json_pack ("{s:b, s:b}", "tools", tools, "tool_calls", tools));
    return answer;
}
