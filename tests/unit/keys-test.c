/* models/names and models/keys: tables that anyone can extend, and random folders against what must always hold (disk.md 4.2-4.5). */
#include "models/entry.h"
#include "models/keys.h"
#include "models/names.h"
#include "models/projector.h"

#include <string.h>

/* ---- names ------------------------------------------------------------------------------------------------------------- */

/* A file name, and what it says.  NULL: no quantization. */
static const struct {
    const char *name, *plain, *quant;
    int bits;
    guint part, n_parts;
} name_cases[] = {
    { "x-Q4_K_M.gguf", "x", "Q4_K_M", 4, 0, 0 },
    { "Qwen3-8B-Q4_K_M.gguf", "Qwen3-8B", "Q4_K_M", 4, 0, 0 },
    { "Qwen3-8B-Q8_0-00001-of-00002.gguf", "Qwen3-8B", "Q8_0", 8, 1, 2 },
    { "Qwen3-8B-q8_0-00002-OF-00002.GGUF", "Qwen3-8B", "Q8_0", 8, 2, 2 },
    { "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf", "tinyllama-1.1b-chat-v1.0", "Q4_K_M", 4, 0, 0 },
    { "llama_q4_0.gguf", "llama", "Q4_0", 4, 0, 0 },
    { "DeepSeek-R1-UD-Q4_K_XL.gguf", "DeepSeek-R1", "UD-Q4_K_XL", 4, 0, 0 },
    { "DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf", "DeepSeek-R1", "UD-IQ1_S", 1, 1, 3 },
    { "ud-q2_k.gguf", "", "UD-Q2_K", 2, 0, 0 },
    { "loud-Q2_K.gguf", "loud", "Q2_K", 2, 0, 0 },
    { "model-IQ3_XXS.gguf", "model", "IQ3_XXS", 3, 0, 0 },
    { "model.iq3.gguf", "model", "IQ3", 3, 0, 0 },
    { "model-TQ1_0.gguf", "model", "TQ1_0", 1, 0, 0 },
    { "model-BF16.gguf", "model", "BF16", 16, 0, 0 },
    { "model-fp16.gguf", "model", "FP16", 16, 0, 0 },
    { "model-f32.gguf", "model", "F32", 32, 0, 0 },
    { "gpt-oss-20b-MXFP4.gguf", "gpt-oss-20b", "MXFP4", 4, 0, 0 },
    { "gpt-oss-20b-mxfp4_moe.gguf", "gpt-oss-20b", "MXFP4_MOE", 4, 0, 0 },
    { "model-NVFP4.gguf", "model", "NVFP4", 4, 0, 0 },
    { "Q4_K_M.gguf", "", "Q4_K_M", 4, 0, 0 },
    { "Q4_K_M-model.gguf", "model", "Q4_K_M", 4, 0, 0 },
    { "model-Q4_K_M-imat.gguf", "model-imat", "Q4_K_M", 4, 0, 0 },
    { "Q2-and-Q5_K.gguf", "Q2-and", "Q5_K", 5, 0, 0 },
    { "model-GGUF.gguf", "model", NULL, 0, 0, 0 },
    { "model-Q8_0-GGUF.gguf", "model", "Q8_0", 8, 0, 0 },
    { "model.gguf", "model", NULL, 0, 0, 0 },
    { "faq4_0.gguf", "faq4_0", NULL, 0, 0, 0 },
    { "modelQ4_K_M.gguf", "modelQ4_K_M", NULL, 0, 0, 0 },
    { "F16x.gguf", "F16x", NULL, 0, 0, 0 },
    { "x-00000-of-00003.gguf", "x-00000-of-00003", NULL, 0, 0, 0 },
    { "x-00004-of-00003.gguf", "x-00004-of-00003", NULL, 0, 0, 0 },
    { "x-0001-of-0003.gguf", "x-0001-of-0003", NULL, 0, 0, 0 },
    { "-00001-of-00003.gguf", "-00001-of-00003", NULL, 0, 0, 0 },
    { "\xC3\xA4\xC3\xB6-Q4_0.gguf", "\xC3\xA4\xC3\xB6", "Q4_0", 4, 0, 0 },
};

static void
test_names (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (name_cases); i++) {
        g_test_message ("%s", name_cases[i].name);
        g_assert_true (name_is_gguf (name_cases[i].name));
        g_auto (NameParts) parts = { 0 };
        name_parse (name_cases[i].name, &parts);
        g_assert_cmpstr (parts.plain, ==, name_cases[i].plain);
        g_assert_cmpstr (parts.quant, ==, name_cases[i].quant);
        g_assert_cmpuint (parts.part, ==, name_cases[i].part);
        g_assert_cmpuint (parts.n_parts, ==, name_cases[i].n_parts);
        if (parts.quant)
            g_assert_cmpint (quant_bits (parts.quant), ==, name_cases[i].bits);
    }
}

static const struct {
    gint64 type;
    const char *name;
} file_types[] = {
    { 0, "F32" },         { 1, "F16" },   { 7, "Q8_0" },       { 15, "Q4_K_M" }, { 1024 + 15, "Q4_K_M" },
    { 1024, "F32" },      { 32, "BF16" }, { 38, "MXFP4" },     { 41, "Q2_0" },   { 4, NULL },
    { 33, NULL },         { 42, NULL },   { 1024 + 42, NULL }, { -1, NULL },     { G_MAXINT64, NULL },
    { G_MININT64, NULL },
};

static void
test_file_types (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (file_types); i++)
        g_assert_cmpstr (quant_of_file_type (file_types[i].type), ==, file_types[i].name);
}

static const struct {
    const char *name;
    NameKind kind;
} kinds[] = {
    { "mmproj-x-F16.gguf", NAME_PROJECTOR },
    { "x-MMPROJ.gguf", NAME_PROJECTOR },
    { "mtp-x.gguf", NAME_SIDECAR },
    { "Eagle3-x.gguf", NAME_SIDECAR },
    { "dflash-x.gguf", NAME_SIDECAR },
    { "dspark-x.gguf", NAME_SIDECAR },
    { "imatrix.gguf", NAME_IGNORED },
    { "x-imatrix.gguf", NAME_IGNORED },
    { "smtp-x.gguf", NAME_MODEL },
    { "x-mtp-.gguf", NAME_MODEL },
    { "x.gguf", NAME_MODEL },
};

static void
test_kinds_by_name (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
        g_assert_cmpint (name_kind (kinds[i].name), ==, kinds[i].kind);
}

static const struct {
    const char *name;
    gboolean unfinished;
} unfinished[] = {
    { "downloading_x.gguf.part", TRUE },
    { "x.part", TRUE },
    { "x.gguf.tmp-123", TRUE },
    { "x.incomplete", TRUE },
    { "x.gguf.aria2", TRUE },
    { "x.gguf", FALSE },
    { "x.downloadInProgress", TRUE },
    { "part.gguf", FALSE },
};

static void
test_unfinished (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (unfinished); i++)
        g_assert_cmpint (name_is_unfinished (unfinished[i].name), ==, unfinished[i].unfinished);
}

static const struct {
    const char *general_name, *plain, *folder, *display;
} displays[] = {
    { "Meta Llama 3.1 8B Instruct", "llama", "x", "Meta Llama 3.1 8B Instruct" },
    { "Mistral", "m-7b", "x", "Mistral" },
    { "workspace", "m-7b", "x", "m 7b" },
    { "models/7B", "Qwen3-8B", "Qwen3-8B-GGUF", "Qwen3 8B" },
    { NULL, "qwen3-8b", "Qwen3-8B-GGUF", "Qwen3 8B" },
    { NULL, "Llama-3.2-1B-Instruct", "Llama-3.2-1B-Instruct-4bit", "Llama 3.2 1B Instruct" },
    { NULL, "", "Some_Model-GGUF", "Some Model" },
    { "x.gguf", "a_b", "c", "a b" },
    { "...", "a", "c", "a" },
    { "two\nlines of it", "a", "c", "a" },
    { "", "gguf", "c", "gguf" },
};

static void
test_display_names (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (displays); i++) {
        g_autofree char *display = name_display (displays[i].general_name, displays[i].plain, displays[i].folder);
        g_assert_cmpstr (display, ==, displays[i].display);
    }
}

static const struct {
    const char *label, *plain;
    guint64 n;
    const char *params;
} params[] = {
    { "8B", "x-7B", 1, "8B" },
    { NULL, "Qwen3-8b", 1, "8B" },
    { NULL, "Qwen3-30B-A3B-Instruct", 1, "30B-A3B" },
    { NULL, "Mixtral-8x7b", 1, "8x7B" },
    { NULL, "tiny-1.5b-x", 1, "1.5B" },
    { NULL, "smol-135M", 1, "135M" },
    { NULL, "v1.5-4bit-x", 0, NULL },
    { NULL, "x", 8030000000, "8B" },
    { NULL, "x", 1540000000, "1.5B" },
    { NULL, "x", 70600000000, "71B" },
    { NULL, "x", 494000000, "494M" },
    { NULL, "x", 2120000, "2.1M" },
    { NULL, "x", 340000, "0.3M" },
    { NULL, "x", 999900000, "1B" },
    { "", "x", 0, NULL },
};

static void
test_params (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (params); i++) {
        g_autofree char *text = name_params (params[i].label, params[i].plain, params[i].n);
        g_assert_cmpstr (text, ==, params[i].params);
    }
}

static void
test_text (void)
{
    g_autofree char *plain = name_text ("caf\xC3\xA9 100%");
    g_assert_cmpstr (plain, ==, "caf\xC3\xA9 100%");
    g_autofree char *odd = name_text ("a\xff\xC3z\xed\xa0\x80");
    g_assert_cmpstr (odd, ==, "a%FF%C3z%ED%A0%80");
    g_autofree char *lower = name_lower ("\xC3\x84 \xC4\xB0I A");
    g_assert_true (g_str_has_prefix (lower, "\xC3\xA4 "));
    g_assert_true (g_str_has_suffix (lower, "i a"));
}

static void
test_ranks (void)
{
    g_assert_cmpuint (quant_rank ("Q4_K_M", FALSE), <, quant_rank ("Q8_0", FALSE));
    g_assert_cmpuint (quant_rank ("Q8_0", TRUE), <, quant_rank ("Q4_K_M", TRUE));
    g_assert_cmpuint (quant_rank ("Q1_0", FALSE), <, quant_rank ("NEW_ONE", FALSE));
    g_assert_cmpuint (quant_rank (NULL, FALSE), ==, quant_rank ("NEW_ONE", TRUE));
}

/* The answer of --inspect, and the kind it makes of a file. */
static const struct {
    const char *name, *answer;
    EntryKind kind;
} answers[] = {
    { "x.gguf", "{\"arch\":\"llama\"}", KIND_LLM },
    { "x.gguf", "{\"arch\":\"bert\"}", KIND_EMBEDDING },
    { "x.gguf", "{\"arch\":\"nomic-bert-moe\"}", KIND_EMBEDDING },
    { "x.gguf", "{\"arch\":\"qwen3\",\"pooling\":1}", KIND_EMBEDDING },
    { "x.gguf", "{\"arch\":\"qwen3\",\"pooling\":\"mean\"}", KIND_EMBEDDING },
    { "x.gguf", "{\"arch\":\"qwen3\",\"pooling\":4}", KIND_EMBEDDING },
    { "x.gguf", "{\"arch\":\"qwen3\",\"pooling\":0}", KIND_LLM },
    { "x.gguf", "{\"arch\":\"qwen3\",\"pooling\":\"none\"}", KIND_LLM },
    { "x.gguf", "{\"arch\":\"clip\"}", KIND_PROJECTOR },
    { "x.gguf", "{\"arch\":\"llama\",\"type\":\"mmproj\"}", KIND_PROJECTOR },
    { "mmproj-x.gguf", "{\"arch\":\"llama\"}", KIND_PROJECTOR },
    { "x.gguf", "{\"arch\":\"llama\",\"type\":\"adapter\"}", KIND_IGNORED },
    { "mmproj.gguf", "{\"type\":\"imatrix\"}", KIND_IGNORED },
    { "imatrix.gguf", "{}", KIND_IGNORED },
    { "mtp-x.gguf", "{\"arch\":\"llama\",\"type\":\"model\"}", KIND_SIDECAR },
};

static void
test_kinds_by_answer (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (answers); i++) {
        g_autoptr (json_t) answer = json_parse (answers[i].answer, strlen (answers[i].answer), NULL);
        g_assert_nonnull (answer);
        g_assert_cmpint (entry_kind (answers[i].name, answer), ==, answers[i].kind);
    }
}

/* ---- projectors -------------------------------------------------------------------------------------------------------- */

/* A model file, the projectors that lie about ("path quant basename" each, '|' between), and the one that is taken. */
static const struct {
    const char *model, *basename;
    int bits;
    const char *projectors, *chosen;
} projector_cases[] = {
    { "p/m/x-Q4_K_M.gguf", NULL, 4, "p/m/mmproj.gguf - -", "p/m/mmproj.gguf" },
    { "p/m/x-Q4_K_M.gguf", NULL, 4, "p/other/mmproj.gguf - -", NULL },
    { "p/m/sub/x-Q4_K_M.gguf", NULL, 4, "p/m/mmproj.gguf - -", "p/m/mmproj.gguf" },
    { "p/m/sub/x-Q4_K_M.gguf", NULL, 4, "p/m/mmproj.gguf - -|p/m/sub/mmproj.gguf - -", "p/m/sub/mmproj.gguf" },
    { "p/m/x-Q4_K_M.gguf", NULL, 4, "p/m/sub/mmproj.gguf - -", NULL },
    { "p/m/x-Q4_K_M.gguf", NULL, 4, "p/m/mmproj-F16.gguf F16 -|p/m/mmproj-X-F32.gguf F32 -", "p/m/mmproj-X-F32.gguf" },
    { "p/m/x-Q4_K_M.gguf", NULL, 4, "p/m/mmproj-F16.gguf F16 -|p/m/mmproj-Q8_0.gguf Q8_0 -", "p/m/mmproj-Q8_0.gguf" },
    { "p/m/x-BF16.gguf", NULL, 16, "p/m/mmproj-BF16.gguf BF16 -|p/m/mmproj-F16.gguf F16 -", "p/m/mmproj-F16.gguf" },
    { "p/m/x-Q4_K_M.gguf", NULL, 4, "p/m/mmproj-b.gguf F16 -|p/m/mmproj-a.gguf F16 -", "p/m/mmproj-a.gguf" },
    { "p/m/x-Q4_K_M.gguf", "Foo", 4, "p/m/mmproj.gguf - Bar",
      "p/m/mmproj.gguf" }, /* the only model there: it is meant */
};

static void
test_projectors (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (projector_cases); i++) {
        g_auto (GStrv) rows = g_strsplit (projector_cases[i].projectors, "|", -1);
        g_autoptr (GPtrArray) keep = g_ptr_array_new_with_free_func ((GDestroyNotify) g_strfreev);
        Projector projectors[8];
        guint n = 0;
        for (; rows[n]; n++) {
            char **cells = g_strsplit (rows[n], " ", 3);
            g_ptr_array_add (keep, cells);
            projectors[n] = (Projector){ .path = cells[0],
                                         .quant = *cells[1] == '-' ? NULL : cells[1],
                                         .basename = *cells[2] == '-' ? NULL : cells[2],
                                         .index = n };
        }
        ProjectorHost host = { projector_cases[i].model, "x",  projector_cases[i].basename,
                               projector_cases[i].bits,  TRUE, NULL };
        projectors_match (projectors, n, &host, 1);
        g_assert_cmpstr (host.chosen ? host.chosen->path : NULL, ==, projector_cases[i].chosen);
    }
}

static void
test_one_projector_of_two_models (void)
{
    const Projector projector = { "p/m/mmproj.gguf", NULL, "Foo", 0 };
    ProjectorHost hosts[] = { { "p/m/foo-Q4.gguf", "foo", "foo", 4, TRUE, NULL },
                              { "p/m/bar-Q4.gguf", "bar", "Bar", 4, TRUE, NULL },
                              { "p/m/who-Q4.gguf", "who", NULL, 4, TRUE, NULL },
                              { "p/m/emb.gguf", "emb", "Foo", 4, FALSE, NULL } };
    projectors_match (&projector, 1, hosts, G_N_ELEMENTS (hosts));
    g_assert_nonnull (hosts[0].chosen);
    g_assert_null (hosts[1].chosen);
    g_assert_nonnull (hosts[2].chosen);
    g_assert_null (hosts[3].chosen);
}

/* ---- keys -------------------------------------------------------------------------------------------------------------- */

typedef struct {
    char *path, *publisher, *folder, *stem, *quant, *format;
    gint64 mtime;
} Row;

static void
row_clear (gpointer data)
{
    Row *row = data;
    g_free (row->path);
    g_free (row->publisher);
    g_free (row->folder);
    g_free (row->stem);
    g_free (row->quant);
    g_free (row->format);
}

/* "publisher/folder/stem quant[ format]"; a later row is the younger. */
static void
add_row (GArray *rows, const char *text)
{
    g_auto (GStrv) cells = g_strsplit (text, " ", 3);
    g_auto (GStrv) path = g_strsplit (cells[0], "/", 3);
    Row row = { .publisher = g_strdup (path[0]), .folder = g_strdup (path[1]), .mtime = rows->len };
    row.quant = *cells[1] == '-' ? NULL : g_strdup (cells[1]);
    row.format = g_strdup (cells[2] ? cells[2] : "gguf");
    g_autofree char *name = g_path_get_basename (cells[0]);
    row.stem = g_ascii_strdown (name, -1);
    row.path = strcmp (row.format, "mlx") == 0 ? g_strdup_printf ("%s/%s", path[0], path[1])
                                               : g_strdup_printf ("%s-%s.gguf", cells[0], cells[1]);
    g_array_append_val (rows, row);
}

static GHashTable *
history_new (void)
{
    return g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
}

static GPtrArray *
assign (const GArray *rows, GHashTable *history)
{
    g_autofree KeyInput *inputs = g_new0 (KeyInput, rows->len + 1);
    g_autofree char **keys = g_new0 (char *, rows->len + 1);
    for (guint i = 0; i < rows->len; i++) {
        const Row *row = &g_array_index (rows, Row, i);
        inputs[i] =
            (KeyInput){ row->path, row->publisher, row->folder, row->stem, row->quant, row->format, row->mtime };
    }
    keys_assign (inputs, rows->len, FALSE, keys, history);
    GPtrArray *out = g_ptr_array_new_with_free_func (g_free);
    for (guint i = 0; i < rows->len; i++)
        g_ptr_array_add (out, keys[i]);
    return out;
}

/* Entries with '|' between, and their keys in the same order. */
static const struct {
    const char *rows, *keys;
} key_cases[] = {
    { "p/m/x Q4_K_M", "x" },
    { "p/m/x Q4_K_M|p/m/x Q8_0", "x@q4_k_m|x@q8_0" },
    { "p/m/x Q4_K_M|p/m/y Q8_0", "x|y" },
    { "p1/m/x Q4_K_M|p2/m/x Q4_K_M", "p1/x|p2/x" },
    { "P1/m/x Q4_K_M|p1/n/x Q8_0", "x@q4_k_m|x@q8_0" },
    { "p1/m/x Q4_K_M|p1/m/x Q8_0|p2/m/x Q4_K_M", "p1/x@q4_k_m|p1/x@q8_0|p2/x" },
    { "p/m1/x Q4_K_M|p/M2/x Q4_K_M", "p/m1/x|p/m2/x" },
    { "p/m1/x Q4_K_M|p/m2/x Q4_K_M|p/m2/x Q8_0", "p/m1/x|p/m2/x@q4_k_m|x@q8_0" },
    { "p/m/x -|p/m/x Q8_0", "x@gguf|x@q8_0" },
    { "p/m/x Q8_0|p/x-mlx/x 8bit mlx", "x@q8_0|x@8bit" },
    { "p/m/x BF16|p/x-mlx/x BF16 mlx", "x@gguf-bf16|x@mlx-bf16" },
    { "p/m/sub/X Q4_0|p/m/X Q4_0", "p/m/sub/x-q4_0.gguf|p/m/x-q4_0.gguf" },
    { "p/m/x@q4_0 -|p/m/x Q4_0|p/m/x Q8_0", "p/m/x@q4_0--.gguf|p/m/x-q4_0.gguf|x@q8_0" },
};

static void
test_keys (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (key_cases); i++) {
        g_test_message ("%s", key_cases[i].rows);
        g_autoptr (GArray) rows = g_array_new (FALSE, TRUE, sizeof (Row));
        g_array_set_clear_func (rows, row_clear);
        g_auto (GStrv) texts = g_strsplit (key_cases[i].rows, "|", -1);
        for (guint k = 0; texts[k]; k++)
            add_row (rows, texts[k]);
        g_autoptr (GHashTable) history = history_new ();
        g_autoptr (GPtrArray) keys = assign (rows, history);
        g_ptr_array_add (keys, NULL);
        g_autofree char *joined = g_strjoinv ("|", (char **) keys->pdata);
        g_assert_cmpstr (joined, ==, key_cases[i].keys);
    }
}

static void
test_the_older_keeps_the_name (void)
{
    g_autoptr (GArray) rows = g_array_new (FALSE, TRUE, sizeof (Row));
    g_array_set_clear_func (rows, row_clear);
    g_autoptr (GHashTable) history = history_new ();
    add_row (rows, "p2/m/x Q4_0");
    g_autoptr (GPtrArray) alone = assign (rows, history);
    g_assert_cmpstr (alone->pdata[0], ==, "x");
    add_row (rows, "p1/m/x Q4_0");
    g_array_index (rows, Row, 1).mtime = -5; /* an older file that came later does not take the name */
    g_autoptr (GPtrArray) both = assign (rows, history);
    g_assert_cmpstr (both->pdata[0], ==, "p2/x");
    g_assert_cmpstr (both->pdata[1], ==, "p1/x");
    g_assert_cmpstr (g_hash_table_lookup (history, "x"), ==, "p2/m/x-Q4_0.gguf");

    g_array_remove_index (rows, 0); /* and when it is gone, the name is free again */
    g_autoptr (GPtrArray) left = assign (rows, history);
    g_assert_cmpstr (left->pdata[0], ==, "x");
    g_assert_cmpstr (g_hash_table_lookup (history, "p1/x"), ==, "p1/m/x-Q4_0.gguf");
    g_assert_false (g_hash_table_contains (history, "p2/x"));
}

static void
test_the_oldest_gets_the_name (void)
{
    g_autoptr (GArray) rows = g_array_new (FALSE, TRUE, sizeof (Row));
    g_array_set_clear_func (rows, row_clear);
    g_autoptr (GHashTable) history = history_new ();
    add_row (rows, "p1/m/x Q4_0");
    add_row (rows, "p2/m/x Q4_0");
    g_array_index (rows, Row, 1).mtime = -5;
    g_autoptr (GPtrArray) keys = assign (rows, history);
    g_assert_cmpstr (g_hash_table_lookup (history, "x"), ==, "p2/m/x-Q4_0.gguf");
}

/* Random folders that files come to and leave.  Always: no two keys are equal, none depends on the order of the files, and a name once
 * given goes on meaning its file while that is there and nobody else's key is that name. */
static void
test_random (void)
{
    static const char *const publishers[] = { "p", "P", "q" }, *const folders[] = { "m", "M", "n" },
                             *const stems[] = { "x", "y", "x@q4_0", "m" },
                             *const quants[] = { "Q4_0", "q4_0", "Q8_0", "-" };
    for (int world = 0; world < 60; world++) {
        g_autoptr (GArray) rows = g_array_new (FALSE, TRUE, sizeof (Row));
        g_array_set_clear_func (rows, row_clear);
        g_autoptr (GHashTable) history = history_new ();
        g_autoptr (GHashTable) given = history_new (); /* name -> path: the naive second version */
        for (int step = 0; step < 40; step++) {
            if (rows->len > 0 && g_test_rand_int_range (0, 3) == 0) {
                g_array_remove_index (rows, g_test_rand_int_range (0, rows->len));
            } else {
                gboolean mlx = g_test_rand_int_range (0, 5) == 0;
                g_autofree char *text = g_strdup_printf (
                    "%s/%s/%s %s%s", publishers[g_test_rand_int_range (0, 3)], folders[g_test_rand_int_range (0, 3)],
                    stems[g_test_rand_int_range (0, 4)], quants[g_test_rand_int_range (0, 4)], mlx ? " mlx" : "");
                add_row (rows, text);
                Row *last = &g_array_index (rows, Row, rows->len - 1);
                gboolean twin = FALSE; /* the caller's promise: paths differ without case */
                for (guint i = 0; i + 1 < rows->len; i++)
                    twin |= g_ascii_strcasecmp (g_array_index (rows, Row, i).path, last->path) == 0;
                if (twin)
                    g_array_remove_index (rows, rows->len - 1);
            }
            g_autoptr (GPtrArray) keys = assign (rows, history);
            g_autoptr (GHashTable) present = g_hash_table_new (g_str_hash, g_str_equal); /* key -> path */
            g_autoptr (GHashTable) paths = g_hash_table_new (g_str_hash, g_str_equal);
            for (guint i = 0; i < rows->len; i++) {
                g_assert_true (g_hash_table_insert (present, keys->pdata[i], g_array_index (rows, Row, i).path));
                g_hash_table_add (paths, g_array_index (rows, Row, i).path);
                g_assert_cmpstr (g_hash_table_lookup (history, keys->pdata[i]), ==, g_array_index (rows, Row, i).path);
            }
            GHashTableIter iter;
            gpointer name, path;
            g_hash_table_iter_init (&iter, given);
            while (g_hash_table_iter_next (&iter, &name, &path)) {
                if (!g_hash_table_contains (paths, path) || g_hash_table_contains (present, name))
                    g_hash_table_iter_remove (&iter);
                else
                    g_assert_cmpstr (g_hash_table_lookup (history, name), ==, path);
            }
            for (guint i = 0; i < rows->len; i++)
                g_hash_table_replace (given, g_strdup (keys->pdata[i]), g_strdup (g_array_index (rows, Row, i).path));

            g_autoptr (GArray) turned = g_array_new (FALSE, TRUE, sizeof (Row)); /* lends from rows */
            for (guint i = rows->len; i-- > 0;)
                g_array_append_val (turned, g_array_index (rows, Row, i));
            g_autoptr (GHashTable) fresh = history_new ();
            g_autoptr (GPtrArray) again = assign (turned, fresh);
            for (guint i = 0; i < rows->len; i++)
                g_assert_cmpstr (keys->pdata[i], ==, again->pdata[rows->len - 1 - i]);
        }
    }
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/names/file-names", test_names);
    g_test_add_func ("/names/kinds", test_kinds_by_name);
    g_test_add_func ("/names/unfinished", test_unfinished);
    g_test_add_func ("/names/display", test_display_names);
    g_test_add_func ("/names/params", test_params);
    g_test_add_func ("/names/text", test_text);
    g_test_add_func ("/names/ranks", test_ranks);
    g_test_add_func ("/disk-024/file-types", test_file_types);
    g_test_add_func ("/entry/kinds", test_kinds_by_answer);
    g_test_add_func ("/projector/table", test_projectors);
    g_test_add_func ("/projector/of-two-models", test_one_projector_of_two_models);
    g_test_add_func ("/keys/table", test_keys);
    g_test_add_func ("/disk-010/older-keeps-the-name", test_the_older_keeps_the_name);
    g_test_add_func ("/disk-010/oldest-gets-the-name", test_the_oldest_gets_the_name);
    g_test_add_func ("/keys/random", test_random);
    return g_test_run ();
}
