/* lms ls: which models lie on disk (spec: cli.md 6). */
#include "cli/commands.h"

#include "cli/format.h"
#include "cli/loaded.h"
#include "cli/terminal.h"

#include <string.h>
#include <unistd.h>

/* Architectures under the names that people know; others as they are. */
static const struct {
    const char *architecture, *name;
} architectures[] = {
    { "phi2", "Phi-2" },
    { "phi-2", "Phi-2" },
    { "phi3", "Phi-3" },
    { "phi-3", "Phi-3" },
    { "mistral", "Mistral" },
    { "llama", "Llama" },
    { "gptneox", "GPT-NeoX" },
    { "gpt-neo-x", "GPT-NeoX" },
    { "gpt_neo_x", "GPT-NeoX" },
    { "mpt", "MPT" },
    { "replit", "Replit" },
    { "starcoder", "StarCoder" },
    { "falcon", "Falcon" },
    { "qwen", "Qwen" },
    { "qwen2", "Qwen2" },
    { "stablelm", "StableLM" },
    { "mamba", "mamba" },
    { "command-r", "Command R" },
    { "gemma", "Gemma" },
    { "gemma2", "Gemma 2" },
    { "deepseek2", "DeepSeek 2" },
    { "bert", "BERT" },
    { "nomic-bert", "Nomic BERT" },
    { "clip", "CLIP" },
};

static const char *
architecture_name (const json_t *model)
{
    const char *architecture = json_peek_string (model, "architecture");
    for (guint i = 0; architecture && i < G_N_ELEMENTS (architectures); i++)
        if (g_ascii_strcasecmp (architectures[i].architecture, architecture) == 0)
            return architectures[i].name;
    return architecture;
}

static gboolean
is_embedding (const json_t *model)
{
    return strcmp (loaded_namespace (model), "embedding") == 0;
}

static int
by_key (gconstpointer a, gconstpointer b)
{
    return g_strcmp0 (json_peek_string (*(json_t *const *) a, "modelKey"),
                      json_peek_string (*(json_t *const *) b, "modelKey"));
}

/* How many instances of @model are loaded: by its key, or by that of a variant, on the same device. */
static guint
count_loaded (const json_t *model, const json_t *loaded)
{
    guint n = 0;
    size_t i;
    json_t *info;
    json_array_foreach ((json_t *) loaded, i, info)
        if (g_strcmp0 (json_peek_string (info, "modelKey"), json_peek_string (model, "modelKey")) == 0 &&
            g_strcmp0 (json_peek_string (info, "deviceIdentifier"), json_peek_string (model, "deviceIdentifier")) == 0)
            n++;
    return n;
}

/* What a table needs beside the models. */
typedef struct {
    const json_t *loaded;      /* instance infos, or NULL */
    const json_t *link_status; /* or NULL */
    GHashTable *variants;      /* model key -> array of infos, lent; or NULL */
} LsContext;

static void
add_row (Grid *grid, const char *name, const json_t *model, const LsContext *context)
{
    guint n = count_loaded (model, context->loaded);
    g_autofree char *mark = n > 1 ? g_strdup_printf ("✓ LOADED (%u)", n) : g_strdup (n ? "✓ LOADED" : "");
    g_autofree char *green = *mark ? style_text (STDOUT_FILENO, STYLE_GREEN, mark) : g_strdup ("");
    g_autofree char *size = format_size ((guint64) json_peek_int (model, "sizeBytes", 0));
    grid_add (grid, (const char *const[]){ name, json_peek_string (model, "paramsString"), architecture_name (model),
                                           size, loaded_device (model, context->link_status), green });
}

static char *
name_with_count (const json_t *model)
{
    gsize n = json_array_size (json_object_get (model, "variants"));
    const char *key = json_peek_string (model, "modelKey");
    return n ? g_strdup_printf ("%s (%zu variant%s)", key, n, n == 1 ? "" : "s") : g_strdup (key);
}

/* With --variants: the key alone, and below it the variants, the selected one marked. */
static void
add_variants (Grid *grid, const json_t *model, const json_t *variants, const LsContext *context)
{
    g_autofree char *name = name_with_count (model);
    grid_add (grid, (const char *const[]){ name, NULL, NULL, NULL, NULL, NULL });
    const char *selected = json_peek_string (model, "selectedVariant");
    size_t i;
    json_t *variant;
    json_array_foreach ((json_t *) variants, i, variant) {
        const char *key = json_peek_string (variant, "modelKey");
        g_autofree char *row = g_strdup_printf ("%s%s", g_strcmp0 (key, selected) == 0 ? " * " : "   ", key);
        add_row (grid, row, variant, context);
    }
}

static void
print_table (GPtrArray *models, gboolean embedding, const LsContext *context)
{
    const char *heads[] = { embedding ? "EMBEDDING" : "LLM", "PARAMS", "ARCH", "SIZE", "DEVICE", "" };
    char *dim[G_N_ELEMENTS (heads)];
    g_autoptr (Grid) grid = grid_new (G_N_ELEMENTS (heads));
    for (guint i = 0; i < G_N_ELEMENTS (heads); i++)
        dim[i] = *heads[i] ? style_text (STDOUT_FILENO, STYLE_DIM, heads[i]) : g_strdup ("");
    grid_add (grid, (const char *const *) dim);
    for (guint i = 0; i < G_N_ELEMENTS (heads); i++)
        g_free (dim[i]);

    gboolean any = FALSE;
    for (guint i = 0; i < models->len; i++) {
        const json_t *model = g_ptr_array_index (models, i);
        if (is_embedding (model) != embedding)
            continue;
        any = TRUE;
        g_autofree char *name = name_with_count (model);
        const json_t *variants =
            context->variants ? g_hash_table_lookup (context->variants, json_peek_string (model, "modelKey")) : NULL;
        if (variants)
            add_variants (grid, model, variants, context);
        else
            add_row (grid, name, model, context);
    }
    g_autofree char *text = any ? grid_print (grid) : NULL;
    if (any)
        print_outf ("%s\n", text);
}

static void
print_tables (GPtrArray *models, const LsContext *context)
{
    print_table (models, FALSE, context);
    print_table (models, TRUE, context);
}

static void
print_models (GPtrArray *models, const LsContext *context)
{
    guint64 total = 0;
    for (guint i = 0; i < models->len; i++)
        total += (guint64) json_peek_int (g_ptr_array_index (models, i), "sizeBytes", 0);
    g_autofree char *size = format_size (total);
    print_outf ("\nYou have %u model%s, taking up %s of disk space.\n\n", models->len, models->len == 1 ? "" : "s",
                size);
    print_tables (models, context);
}

static void
print_json_array (GPtrArray *models)
{
    g_autoptr (json_t) list = json_array ();
    for (guint i = 0; i < models->len; i++)
        json_array_append (list, g_ptr_array_index (models, i));
    g_autofree char *text = json_print (list, NULL);
    print_outf ("%s\n", text);
}

/* The models of @list that the flags ask for, sorted by key; lent. */
static GPtrArray *
filter (json_t *list, const Args *args)
{
    gboolean llm = args_has (args, "llm"), embedding = args_has (args, "embedding");
    GPtrArray *models = g_ptr_array_new ();
    size_t i;
    json_t *model;
    json_array_foreach (list, i, model)
        if (llm == embedding || embedding == is_embedding (model))
            g_ptr_array_add (models, model);
    g_ptr_array_sort (models, by_key);
    return models;
}

/* lms ls KEY: the variants of one model. */
static int
list_variants_of (const Args *args, Client *client, const char *key)
{
    g_autoptr (GError) error = NULL;
    LoadedQuestion question = { 0 };
    if (!args_has (args, "json"))
        question = loaded_ask (client);
    json_t *variants =
        client_ask (client, "system", "listDownloadedModelVariants", json_pack ("{s:s}", "modelKey", key), &error);
    if (error)
        return say_failure (error);
    g_autoptr (GPtrArray) models = filter (variants, args);
    if (args_has (args, "json"))
        return print_json_array (models), 0;
    g_autoptr (json_t) loaded = loaded_take (&question, FALSE, &error);
    if (!loaded)
        return say_failure (error);
    print_outf ("\nListing variants for %s:\n\n", key);
    print_tables (models, &(LsContext){ .loaded = loaded, .link_status = loaded_link_status (client, variants) });
    return 0;
}

/* The variants of every model that has some, asked for all at once.  NULL and @error. */
static GHashTable *
ask_variants (Client *client, GPtrArray *models, GError **error)
{
    g_autoptr (GHashTable) calls = g_hash_table_new (g_str_hash, g_str_equal);
    for (guint i = 0; i < models->len; i++) {
        const json_t *model = g_ptr_array_index (models, i);
        const char *key = json_peek_string (model, "modelKey");
        if (json_array_size (json_object_get (model, "variants")))
            g_hash_table_insert (
                calls, (char *) key,
                client_call (client, "system", "listDownloadedModelVariants", json_pack ("{s:s}", "modelKey", key)));
    }
    g_autoptr (GHashTable) variants = g_hash_table_new (g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer key, call;
    g_hash_table_iter_init (&iter, calls);
    while (g_hash_table_iter_next (&iter, &key, &call)) {
        GError *problem = NULL;
        json_t *list = client_wait (call, &problem);
        if (problem)
            return g_propagate_error (error, problem), NULL;
        g_hash_table_insert (variants, key, list);
    }
    return g_steal_pointer (&variants);
}

static void
print_variants_json (GPtrArray *models, GHashTable *variants)
{
    g_autoptr (json_t) list = json_array ();
    for (guint i = 0; i < models->len; i++) {
        json_t *model = g_ptr_array_index (models, i);
        json_t *found = g_hash_table_lookup (variants, json_peek_string (model, "modelKey"));
        if (found)
            json_array_append_new (list, json_pack ("{s:O, s:O}", "model", model, "variants", found));
    }
    g_autofree char *text = json_print (list, NULL);
    print_outf ("%s\n", text);
}

static int
list_all (const Args *args, Client *client)
{
    g_autoptr (GError) error = NULL;
    gboolean json = args_has (args, "json");
    ClientCall *call = client_call (client, "system", "listDownloadedModels", NULL);
    LoadedQuestion question = { 0 };
    if (!json)
        question = loaded_ask (client);
    json_t *list = client_wait (call, &error);
    if (error)
        return say_failure (error);
    g_autoptr (GPtrArray) models = filter (list, args);
    g_autoptr (GHashTable) variants = args_has (args, "variants") ? ask_variants (client, models, &error) : NULL;
    if (error)
        return say_failure (error);
    if (json && variants)
        return print_variants_json (models, variants), 0;
    if (json)
        return print_json_array (models), 0;

    if (!models->len) {
        gsize n = json_array_size (list);
        g_autofree char *text =
            n ? g_strdup_printf ("You have %zu model%s, but none of them match the filter.", n, n == 1 ? "" : "s")
              : g_strdup ("You have not downloaded any models yet.");
        g_autofree char *red = style_text (STDOUT_FILENO, STYLE_RED, text);
        return print_outf ("%s\n", red), 0;
    }
    g_autoptr (json_t) loaded = loaded_take (&question, FALSE, &error);
    if (!loaded)
        return say_failure (error);
    print_models (models, &(LsContext){ loaded, loaded_link_status (client, list), variants });
    return 0;
}

int
cmd_ls (const Args *args)
{
    const char *key = args_word (args, 0);
    if (key && args_has (args, "variants")) {
        say_error ("Cannot combine a model key argument with --variants.");
        return 1;
    }
    if (args_has (args, "detailed"))
        say_warn ("The '--detailed' flag is deprecated. Output is the same as 'lms ls'");
    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new (args, DAEMON_WAKE, "system", &error);
    if (!client)
        return say_failure (error);
    return key ? list_variants_of (args, client, key) : list_all (args, client);
}
