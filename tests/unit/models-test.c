/* models/: the index over real folders, with inspect-double in the engine's place: a "model" there is a text file that holds its own
 * --inspect answer (disk.md 4, checks 6 to 25). */
#include "home/home.h"
#include "models/index.h"

#include "folder.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *sandbox, *double_path;

#define LLM        "{\"ok\":true,\"arch\":\"llama\",\"n_ctx_train\":4096}"
#define EMBEDDER   "{\"ok\":true,\"arch\":\"bert\",\"n_ctx_train\":512}"
#define PROJECTOR  "{\"ok\":true,\"arch\":\"clip\",\"type\":\"mmproj\",\"clip\":{\"vision\":true,\"audio\":false}}"
#define PART(n, m) "{\"ok\":true,\"split\":{\"no\":" #n ",\"count\":" #m ",\"tensors\":9}}"
#define PART_1(m)  "{\"ok\":true,\"arch\":\"llama\",\"split\":{\"no\":0,\"count\":" #m ",\"tensors\":9}}"

/* ---- a world: a home, its models, an index ----------------------------------------------------------------------------- */

typedef struct {
    GMainLoop *loop;
    SettingsStore *settings;
    Models *models;
    guint changes;
} World;

static gboolean
give_up (gpointer data)
{
    g_error ("nothing happened in time");
    return G_SOURCE_REMOVE;
}

static void
wait_for_loop (World *w)
{
    guint timer = g_timeout_add (30000, give_up, NULL);
    g_main_loop_run (w->loop);
    g_source_remove (timer);
}

static void
quit (gpointer data)
{
    g_main_loop_quit (((World *) data)->loop);
}

static void
count_change (gpointer data)
{
    ((World *) data)->changes++;
}

static void
start (World *w)
{
    w->settings = settings_store_new ();
    w->models = models_new (w->settings, double_path);
    models_on_changed (w->models, count_change, w);
    g_assert_false (models_is_ready (w->models));
    models_when_ready (w->models, quit, w);
    wait_for_loop (w);
    g_assert_true (models_is_ready (w->models));
}

static void
stop (World *w)
{
    g_clear_pointer (&w->models, models_free);
    g_clear_pointer (&w->settings, settings_store_free);
}

static void
rescan (World *w)
{
    models_rescan (w->models, quit, w);
    wait_for_loop (w);
}

static void
set_up (World *w, gconstpointer data)
{
    w->loop = g_main_loop_new (NULL, FALSE);
    w->changes = 0;
    g_autofree char *home = g_build_filename (sandbox, "home", NULL);
    folder_remove (home);
    g_autofree char *ours = g_build_filename (home, ".internal/lmsd", NULL);
    g_assert_cmpint (g_mkdir_with_parents (ours, 0700), ==, 0);
}

static void
tear_down (World *w, gconstpointer data)
{
    stop (w);
    while (g_main_context_iteration (NULL, FALSE))
        ;
    g_main_loop_unref (w->loop);
}

/* ---- putting files there ----------------------------------------------------------------------------------------------- */

/* Old enough that nobody takes it for a copy in progress. */
static void
age (const char *path, gint64 seconds)
{
    gint64 now = g_get_real_time () / G_USEC_PER_SEC;
    struct timespec times[2] = { { now - seconds, 5 }, { now - seconds, 5 } };
    g_assert_cmpint (utimensat (AT_FDCWD, path, times, 0), ==, 0);
}

static char *
in_home (const char *relative)
{
    return g_build_filename (sandbox, "home", relative, NULL);
}

static void
put_aged (const char *relative, const char *text, gint64 seconds)
{
    g_autofree char *path = in_home (relative);
    g_autofree char *above = g_path_get_dirname (path);
    g_assert_cmpint (g_mkdir_with_parents (above, 0700), ==, 0);
    g_assert_true (g_file_set_contents (path, text, -1, NULL));
    age (path, seconds);
}

/* @relative: below the home. */
static void
put (const char *relative, const char *text)
{
    put_aged (relative, text, 100);
}

/* ---- looking at it ----------------------------------------------------------------------------------------------------- */

static char *
keys_of (World *w)
{
    GString *keys = g_string_new (NULL);
    const GPtrArray *list = models_list (w->models);
    for (guint i = 0; i < list->len; i++)
        g_string_append_printf (keys, "%s%s", i ? " " : "", ((const Model *) list->pdata[i])->key);
    return g_string_free (keys, FALSE);
}

static void
assert_keys (World *w, const char *expected)
{
    g_autofree char *keys = keys_of (w);
    g_assert_cmpstr (keys, ==, expected);
}

/* Runs the loop until the list is @expected: nobody is asked to look. */
static void
wait_for_keys (World *w, const char *expected)
{
    guint timer = g_timeout_add (30000, give_up, NULL);
    for (;;) {
        g_autofree char *keys = keys_of (w);
        if (strcmp (keys, expected) == 0)
            break;
        g_main_context_iteration (NULL, TRUE);
    }
    g_source_remove (timer);
}

static void
assert_found (World *w, const char *name, const char *path)
{
    const Model *model = models_find (w->models, name);
    g_test_message ("%s", name);
    g_assert_cmpstr (model ? model->path : NULL, ==, path);
}

static const Problem *
find_problem (const GPtrArray *problems, const char *path)
{
    for (guint i = 0; i < problems->len; i++)
        if (strcmp (((const Problem *) problems->pdata[i])->path, path) == 0)
            return problems->pdata[i];
    return NULL;
}

static void
assert_problem (World *w, Bucket bucket, const char *path, const char *reason)
{
    const Problem *problem = find_problem (models_catalog (w->models)->problems[bucket], path);
    g_assert_nonnull (problem);
    g_assert_nonnull (strstr (problem->reason, reason));
}

/* ---- the checks -------------------------------------------------------------------------------------------------------- */

static void
test_one_file (World *w, gconstpointer data)
{
    put ("models/Pub/Model-GGUF/x-Q4_K_M.gguf", LLM);
    start (w);
    assert_keys (w, "x");
    const Model *model = models_find (w->models, "x");
    g_assert_cmpstr (model->quant_name, ==, "Q4_K_M");
    g_assert_cmpint (model->quant_bits, ==, 4);
    g_assert_cmpstr (model->path, ==, "Pub/Model-GGUF/x-Q4_K_M.gguf");
    g_autofree char *file = in_home ("models/Pub/Model-GGUF/x-Q4_K_M.gguf");
    g_assert_cmpstr (model->file, ==, file);
    g_assert_cmpuint (g_strv_length (model->files), ==, 1);
    g_assert_cmpstr (model->files[0], ==, file);
    g_assert_cmpstr (model->publisher, ==, "Pub");
    g_assert_cmpstr (model->format, ==, "gguf");
    g_assert_cmpstr (model->architecture, ==, "llama");
    g_assert_cmpuint (model->max_context, ==, 4096);
    g_assert_cmpuint (model->size_bytes, ==, strlen (LLM));
    g_assert_cmpint (model->type, ==, MODEL_LLM);
    g_assert_false (model->vision || model->tool_use);
    assert_found (w, "X@q4_k_m", model->path);
    assert_found (w, "pub/model-gguf/X-q4_k_m.GGUF", model->path);
    assert_found (w, "PUB/Model-gguf", model->path);
    assert_found (w, file, model->path);
    assert_found (w, "x@q8_0", NULL);
    assert_found (w, "x-", NULL);
    assert_found (w, "", NULL);
    assert_found (w, "pub", NULL);
}

static void
test_variants (World *w, gconstpointer data)
{
    put ("models/p/m/x-Q4_K_M.gguf", LLM);
    start (w);
    put ("models/p/m/x-Q8_0.gguf", LLM);
    rescan (w);
    assert_keys (w, "x@q4_k_m x@q8_0");
    assert_found (w, "x", "p/m/x-Q4_K_M.gguf");
    assert_found (w, "X@Q8_0", "p/m/x-Q8_0.gguf");
    assert_found (w, "p/m", "p/m/x-Q4_K_M.gguf");
    g_assert_cmpuint (w->changes, ==, 2);
    rescan (w);
    g_assert_cmpuint (w->changes, ==, 2); /* the same list is no change */
}

static void
test_bare_stem_of_a_group (World *w, gconstpointer data)
{
    put ("models/p/m/x-Q8_0.gguf", LLM);
    put ("models/p/m/x-F32.gguf", LLM);
    put ("models/p/m/x-Q2_K.gguf", LLM);
    start (w);
    assert_keys (w, "x@f32 x@q2_k x@q8_0");
    assert_found (w, "x", "p/m/x-Q8_0.gguf"); /* by the order of disk.md 7.4 */
}

static void
test_two_publishers (World *w, gconstpointer data)
{
    put ("models/p1/m/x-Q4_K_M.gguf", LLM);
    start (w);
    put ("models/p2/m/x-Q4_K_M.gguf", LLM);
    rescan (w);
    assert_keys (w, "p1/x p2/x");
    assert_found (w, "x", "p1/m/x-Q4_K_M.gguf");
    stop (w);
    start (w); /* the alias outlives the daemon */
    assert_found (w, "x", "p1/m/x-Q4_K_M.gguf");
}

static void
test_embedding (World *w, gconstpointer data)
{
    put ("models/p/m/nomic-embed-Q8_0.gguf", EMBEDDER);
    put ("models/p/m/text-embedding-other-F16.gguf", EMBEDDER);
    start (w);
    assert_keys (w, "text-embedding-nomic-embed text-embedding-other");
    g_assert_cmpint (models_find (w->models, "text-embedding-nomic-embed")->type, ==, MODEL_EMBEDDING);
}

static void
test_three_parts (World *w, gconstpointer data)
{
    put ("models/p/m/x-Q4_0-00001-of-00003.gguf", PART_1 (3));
    put ("models/p/m/x-Q4_0-00002-of-00003.gguf", PART (1, 3));
    put ("models/p/m/x-Q4_0-00003-of-00003.gguf", PART (2, 3) "\n.................");
    put ("models/p/m/y-Q4_0-00001-of-00003.gguf", PART_1 (3));
    put ("models/p/m/y-Q4_0-00003-of-00003.gguf", PART (2, 3));
    start (w);
    assert_keys (w, "x");
    const Model *model = models_find (w->models, "x");
    g_assert_cmpstr (model->path, ==, "p/m/x-Q4_0-00001-of-00003.gguf");
    g_assert_cmpuint (g_strv_length (model->files), ==, 3);
    g_assert_cmpuint (model->size_bytes, ==, strlen (PART_1 (3)) + strlen (PART (1, 3)) + strlen (PART (2, 3)) + 18);
    assert_problem (w, BUCKET_BAD, "p/m/y-Q4_0-00001-of-00003.gguf", "part 2 of 3 is missing");
    assert_problem (w, BUCKET_BAD, "p/m/y-Q4_0-00003-of-00003.gguf", "part 2 of 3 is missing");
    g_assert_cmpstr (models_find_bad (w->models, "Y"), ==, "part 2 of 3 is missing");
    g_assert_cmpstr (models_find_bad (w->models, "y@q4_0"), ==, "part 2 of 3 is missing");
    g_assert_null (models_find_bad (w->models, "x"));
}

/* Parts of a model of two, and what is wrong with them. */
static const struct {
    const char *first, *second, *reason;
} split_cases[] = {
    { PART_1 (2), PART (0, 2), "part 2 of 2 says that it is another part" },
    { PART_1 (2), PART (1, 3), "part 2 of 2 says that it is another part" },
    { PART_1 (2), LLM, "part 2 of 2 says nothing of a split" },
    { LLM, PART (1, 2), "part 1 of 2 says nothing of a split" },
    { PART_1 (2), "{\"ok\":true,\"split\":{\"no\":1,\"count\":2,\"tensors\":8}}",
      "part 2 of 2 belongs to another model" },
    { PART_1 (2), "{\"ok\":false,\"reason\":\"too short\"}", "part 2 of 2 is broken" },
    { PART (0, 2), PART (1, 2), "it names no architecture" },
};

static void
test_parts_that_do_not_fit (World *w, gconstpointer data)
{
    for (gsize i = 0; i < G_N_ELEMENTS (split_cases); i++) {
        g_autofree char *first = g_strdup_printf ("models/p/m%u/x-00001-of-00002.gguf", (guint) i);
        g_autofree char *second = g_strdup_printf ("models/p/m%u/x-00002-of-00002.gguf", (guint) i);
        put (first, split_cases[i].first);
        put (second, split_cases[i].second);
    }
    put ("models/p/m/lonely.gguf", PART_1 (2));
    put ("models/p/m/nameless.gguf", "{\"ok\":true}");
    start (w);
    assert_keys (w, "");
    for (gsize i = 0; i < G_N_ELEMENTS (split_cases); i++) {
        g_autofree char *first = g_strdup_printf ("p/m%u/x-00001-of-00002.gguf", (guint) i);
        assert_problem (w, BUCKET_BAD, first, split_cases[i].reason);
    }
    assert_problem (w, BUCKET_BAD, "p/m/lonely.gguf", "part 1 of 2");
    assert_problem (w, BUCKET_BAD, "p/m/nameless.gguf", "no architecture");
}

static void
test_projector (World *w, gconstpointer data)
{
    put ("models/p/m/x-Q4_K_M.gguf", LLM);
    put ("models/p/m/mmproj-x-F16.gguf", PROJECTOR);
    put ("models/p/deaf/y-Q4_K_M.gguf", LLM);
    put ("models/p/deaf/mmproj.gguf", "{\"ok\":true,\"arch\":\"clip\",\"clip\":{\"vision\":false,\"audio\":true}}");
    put ("models/p/none/mmproj.gguf", PROJECTOR);
    start (w);
    assert_keys (w, "x y");
    const Model *model = models_find (w->models, "x");
    g_assert_true (model->vision);
    g_assert_true (g_str_has_suffix (model->projector, "/p/m/mmproj-x-F16.gguf"));
    g_assert_cmpuint (model->size_bytes, ==, strlen (LLM) + strlen (PROJECTOR));
    g_assert_cmpuint (g_strv_length (model->files), ==, 1);
    g_assert_false (models_find (w->models, "y")->vision);
    assert_problem (w, BUCKET_ASIDE, "p/none/mmproj.gguf", "projector");
}

static void
test_sidecars (World *w, gconstpointer data)
{
    put ("models/p/m/x-Q4_K_M.gguf", LLM);
    put ("models/p/m/MTP/mtp-x.gguf", LLM);
    put ("models/p/m/imatrix.gguf", LLM);
    put ("models/p/m/adapter.gguf", "{\"ok\":true,\"arch\":\"llama\",\"type\":\"adapter\"}");
    start (w);
    assert_keys (w, "x");
    assert_problem (w, BUCKET_ASIDE, "p/m/MTP/mtp-x.gguf", "sidecar");
    assert_problem (w, BUCKET_ASIDE, "p/m/imatrix.gguf", "importance matrix");
    assert_problem (w, BUCKET_ASIDE, "p/m/adapter.gguf", "adapter");
}

static void
test_unfinished_names (World *w, gconstpointer data)
{
    put ("models/p/m/downloading_x.gguf.part", LLM);
    put ("models/p/m/x.gguf.tmp-17", LLM);
    put ("models/p/m/.hidden.gguf", LLM);
    put ("models/.trash/m/y.gguf", LLM);
    put ("models/p/m/z.part/y.gguf", LLM);
    start (w);
    assert_keys (w, "");
    g_assert_cmpuint (models_catalog (w->models)->n_files, ==, 0);
}

static void
test_text_file (World *w, gconstpointer data)
{
    put ("models/p/m/x.gguf", "");
    put ("models/p/m/y.gguf", LLM);
    start (w);
    assert_keys (w, "y");
    assert_problem (w, BUCKET_BAD, "p/m/x.gguf", "bad magic");
    g_assert_cmpstr (models_find_bad (w->models, "P/M/x.gguf"), ==, "bad magic");
    g_assert_cmpstr (models_find_bad (w->models, "x"), ==, "bad magic");
}

static void
test_cycle (World *w, gconstpointer data)
{
    put ("models/p/m/x.gguf", LLM);
    put ("outside/deep/y.gguf", LLM);
    static const char *const links[][2] = {
        { "../..", "models/p/m/up" },
        { ".", "models/p/m/self" },
        { "loop", "models/p/m/loop" },
        { "nowhere", "models/p/m/gone.gguf" },
        { "../../../outside", "models/p/m/out" },
        { "/dev/null", "models/p/m/null.gguf" },
        { "m", "models/p/again" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS (links); i++) {
        g_autofree char *at = in_home (links[i][1]);
        g_assert_cmpint (symlink (links[i][0], at), ==, 0);
    }
    start (w);
    assert_keys (w, "x");
    assert_found (w, "x", "p/m/x.gguf"); /* not by way of p/again */
    stop (w);

    g_autofree char *root = in_home ("models");
    const char *const roots[] = { root, NULL };
    g_autoptr (Scan) scan = scan_run (roots, 0, NULL);
    g_assert_cmpuint (scan->files->len, ==, 1);
    g_assert_cmpuint (scan->errors->len, ==, 6);
    g_assert_nonnull (strstr (find_problem (scan->errors, "p/m/up")->reason, "cycle"));
    g_assert_nonnull (strstr (find_problem (scan->errors, "p/m/self")->reason, "cycle"));
    g_assert_nonnull (strstr (find_problem (scan->errors, "p/m/loop")->reason, "back to itself"));
    g_assert_nonnull (strstr (find_problem (scan->errors, "p/m/gone.gguf")->reason, "to nothing"));
    g_assert_nonnull (strstr (find_problem (scan->errors, "p/m/out")->reason, "extraModelFolders"));
    g_assert_nonnull (strstr (find_problem (scan->errors, "p/m/null.gguf")->reason, "neither file nor folder"));
}

static void
test_links_to_files_and_hidden_folders (World *w, gconstpointer data)
{
    put ("elsewhere/x.gguf", LLM);
    put ("models/.store/blob/y.gguf", LLM);
    put ("models/p/m/z.gguf", LLM);
    g_autofree char *to_file = in_home ("models/p/m/x.gguf"), *to_folder = in_home ("models/p/stored");
    g_assert_cmpint (symlink ("../../../elsewhere/x.gguf", to_file), ==, 0);
    g_assert_cmpint (symlink ("../.store/blob", to_folder), ==, 0);
    start (w);
    assert_keys (w, "x y z");
    assert_found (w, "y", "p/stored/y.gguf");
}

static void
test_twins (World *w, gconstpointer data)
{
    put ("models/p/m/x.gguf", LLM);
    g_autofree char *from = in_home ("models/p/m/x.gguf"), *to = in_home ("models/p/m/y.gguf"),
                    *linked = in_home ("models/p/m/a.gguf");
    g_assert_cmpint (link (from, to), ==, 0);
    g_assert_cmpint (symlink ("x.gguf", linked), ==, 0);
    start (w);
    g_assert_cmpuint (models_list (w->models)->len, ==, 1);
}

static void
test_mlx (World *w, gconstpointer data)
{
    put ("models/mlx/Llama-3.2-1B-Instruct-4bit/config.json",
         "{\"model_type\":\"llama\",\"max_position_embeddings\":131072,\"quantization\":{\"group_size\":64,\"bits\":4}"
         "}");
    put ("models/mlx/Llama-3.2-1B-Instruct-4bit/model.safetensors", "0123456789");
    put ("models/mlx/plain/config.json",
         "{\"torch_dtype\":\"bfloat16\",\"text_config\":{\"max_position_embeddings\":8192}}");
    put ("models/mlx/plain/a.safetensors", "");
    put ("models/mlx/torn/config.json", "{}");
    put ("models/mlx/torn/model.safetensors.index.json",
         "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\",\"c\":\"m-1.safetensors\"}}");
    put ("models/mlx/torn/m-1.safetensors", "");
    put ("models/mlx/sly/config.json", "{}");
    put ("models/mlx/sly/model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../plain/a.safetensors\"}}");
    put ("models/mlx/sly/a.safetensors", "");
    put ("models/mlx/nonsense/config.json", "[[[");
    put ("models/mlx/nonsense/a.safetensors", "");
    put ("models/mlx/weights-only/a.safetensors", "");
    start (w);
    assert_keys (w, "llama-3.2-1b-instruct plain");
    const Model *model = models_find (w->models, "llama-3.2-1b-instruct");
    g_assert_cmpstr (model->format, ==, "safetensors");
    g_assert_cmpstr (model->quant_name, ==, "4bit");
    g_assert_cmpint (model->quant_bits, ==, 4);
    g_assert_cmpstr (model->path, ==, "mlx/Llama-3.2-1B-Instruct-4bit");
    g_assert_true (g_str_has_suffix (model->file, "/models/mlx/Llama-3.2-1B-Instruct-4bit"));
    g_assert_cmpstr (model->display_name, ==, "Llama 3.2 1B Instruct");
    g_assert_cmpstr (model->params, ==, "1B");
    g_assert_cmpuint (model->max_context, ==, 131072);
    g_assert_cmpuint (g_strv_length (model->files), ==, 2);
    assert_found (w, "llama-3.2-1b-instruct@4bit", model->path);
    g_assert_cmpstr (models_find (w->models, "plain")->quant_name, ==, "BF16");
    g_assert_cmpuint (models_find (w->models, "plain")->max_context, ==, 8192);
    assert_problem (w, BUCKET_BAD, "mlx/torn", "m-2.safetensors is missing");
    assert_problem (w, BUCKET_BAD, "mlx/sly", "../plain/a.safetensors is missing");
    assert_problem (w, BUCKET_BAD, "mlx/nonsense", "no JSON object");

    /* The other shard arrives. */
    put ("models/mlx/torn/m-2.safetensors", "");
    rescan (w);
    assert_keys (w, "llama-3.2-1b-instruct plain torn");
    guint read = models_work (w->models).n_mlx_read;
    rescan (w);
    g_assert_cmpuint (models_work (w->models).n_mlx_read, ==, read);
}

static void
test_copy_in_progress (World *w, gconstpointer data)
{
    put_aged ("models/p/m/x.gguf", "{\"ok\":false,\"reason\":\"too short\"}", 0);
    put_aged ("models/p/m/whole.gguf", LLM, 0);
    put_aged ("models/p/n/y-00001-of-00002.gguf", PART_1 (2), 0);
    start (w);
    assert_keys (w, "whole"); /* what is complete needs no waiting */
    g_assert_cmpuint (models_catalog (w->models)->problems[BUCKET_BAD]->len, ==, 0);
    g_assert_cmpuint (models_catalog (w->models)->problems[BUCKET_PENDING]->len, ==, 2);
    g_assert_null (models_find_bad (w->models, "x"));

    /* The copy ends; nobody has to ask. */
    put ("models/p/m/x.gguf", LLM);
    put ("models/p/n/y-00002-of-00002.gguf", PART (1, 2));
    wait_for_keys (w, "whole x y");
}

static void
test_a_copy_that_broke_off (World *w, gconstpointer data)
{
    put_aged ("models/p/m/x.gguf", "{\"ok\":false,\"reason\":\"too short\"}", 0);
    start (w);
    g_assert_cmpuint (models_catalog (w->models)->problems[BUCKET_BAD]->len, ==, 0);
    g_autofree char *path = in_home ("models/p/m/x.gguf");
    age (path, 100);
    rescan (w);
    assert_problem (w, BUCKET_BAD, "p/m/x.gguf", "too short");
}

static void
test_warm_scan (World *w, gconstpointer data)
{
    for (int i = 0; i < 1000; i++) {
        g_autofree char *relative = g_strdup_printf ("models/p%d/m%d/x%d-Q4_K_M.gguf", i % 10, i % 50, i);
        put (relative, LLM);
    }
    put ("models/p/m/broken.gguf", "");
    put ("models/p/m/deadly.gguf", "!die");
    put ("models/p/mlx/config.json", "{}");
    put ("models/p/mlx/a.safetensors", "");
    start (w);
    g_assert_cmpuint (models_list (w->models)->len, ==, 1001);
    g_assert_cmpuint (models_work (w->models).n_inspected, ==, 1002);
    g_assert_cmpuint (models_work (w->models).n_mlx_read, ==, 1);
    g_assert_cmpuint (models_work (w->models).n_scans, ==, 1);
    stop (w);

    start (w); /* what was learnt is on disk, what was refused as well */
    g_assert_cmpuint (models_list (w->models)->len, ==, 1001);
    g_assert_cmpuint (models_work (w->models).n_inspected, ==, 0);
    g_assert_cmpuint (models_work (w->models).n_mlx_read, ==, 0);
    assert_problem (w, BUCKET_BAD, "p/m/deadly.gguf", "died");

    /* Same size, other time: one file is asked about. */
    put_aged ("models/p3/m3/x3-Q4_K_M.gguf", LLM, 50);
    rescan (w);
    g_assert_cmpuint (models_work (w->models).n_inspected, ==, 1);
}

static void
test_file_type (World *w, gconstpointer data)
{
    put ("models/p/m/a.gguf", "{\"ok\":true,\"arch\":\"llama\",\"file_type\":15}");
    put ("models/p/m/b.gguf", "{\"ok\":true,\"arch\":\"llama\",\"file_type\":1039}");
    put ("models/p/m/c-Q8_0.gguf", "{\"ok\":true,\"arch\":\"llama\",\"file_type\":15}");
    put ("models/p/m/d.gguf", "{\"ok\":true,\"arch\":\"llama\",\"file_type\":999}");
    start (w);
    g_assert_cmpstr (models_find (w->models, "a")->quant_name, ==, "Q4_K_M");
    g_assert_cmpstr (models_find (w->models, "b")->quant_name, ==, "Q4_K_M");
    g_assert_cmpstr (models_find (w->models, "c")->quant_name, ==, "Q8_0");
    g_assert_null (models_find (w->models, "d")->quant_name);
}

static void
test_moved_folder (World *w, gconstpointer data)
{
    put ("models/p/m/x.gguf", LLM);
    put ("other/p/m/y.gguf", LLM);
    start (w);
    assert_keys (w, "x");
    g_autofree char *other = in_home ("other");
    g_autofree char *text = g_strdup_printf ("{\"downloadsFolder\":\"%s\"}", other);
    folder_put (sandbox, "home/settings.json", text);
    wait_for_keys (w, "y");
    folder_put (sandbox, "home/settings.json", "{\"downloadsFolder\":5}");
    wait_for_keys (w, "x");
}

static void
test_watched (World *w, gconstpointer data)
{
    start (w);
    assert_keys (w, "");
    put ("models/new/folder/x.gguf", LLM);
    wait_for_keys (w, "x");
    g_autofree char *path = in_home ("models/new/folder/x.gguf");
    g_remove (path);
    wait_for_keys (w, "");
    g_autofree char *folder = in_home ("models/new");
    folder_remove (folder);
    put ("models/other/deep/down/y.gguf", LLM);
    wait_for_keys (w, "y");
}

static void
test_further_folders (World *w, gconstpointer data)
{
    put ("models/p/m/x.gguf", LLM);
    put ("more/p/m/x.gguf", LLM);
    put ("more/p/m/y.gguf", LLM);
    put (".internal/bundled-models/nomic/embed/e.gguf", EMBEDDER);
    g_autofree char *more = in_home ("more"), *gone = in_home ("gone");
    g_autofree char *text = g_strdup_printf ("{\"lmsd\":{\"extraModelFolders\":[\"%s\",\"%s\"]}}", more, gone);
    folder_put (sandbox, "home/settings.json", text);
    start (w);
    assert_keys (w, "text-embedding-e x y");
    assert_problem (w, BUCKET_CONFLICTS, "p/m/x.gguf", "has this path already");
    g_assert_true (g_str_has_suffix (models_find (w->models, "x")->file, "home/models/p/m/x.gguf"));
    /* The missing one appears: found by polling. */
    put ("gone/p/m/z.gguf", LLM);
    wait_for_keys (w, "text-embedding-e x y z");
}

static void
test_unclassified (World *w, gconstpointer data)
{
    put ("models/x.gguf", LLM);
    put ("models/p/y.gguf", LLM);
    put ("models/p/config.json", "{}");
    put ("models/p/a.safetensors", "");
    start (w);
    assert_keys (w, "");
    assert_problem (w, BUCKET_UNCLASSIFIED, "x.gguf", "lms import");
    assert_problem (w, BUCKET_UNCLASSIFIED, "p/y.gguf", "lms import");
    assert_problem (w, BUCKET_UNCLASSIFIED, "p", "lms import");
    assert_found (w, "x.gguf", "x.gguf"); /* usable all the same, by path */
    assert_found (w, "P/Y.gguf", "p/y.gguf");
    assert_found (w, "y", NULL);
    g_autofree char *absolute = in_home ("models/x.gguf");
    assert_found (w, absolute, "x.gguf");
}

static void
test_strange_names (World *w, gconstpointer data)
{
    put ("models/p\xff/m\xfe/x\xfd-Q4_0.gguf", LLM);
    put ("models/p/m/quote\"back\\slash\nline-Q4_0.gguf", LLM);
    put ("models/p/m/\xC3\x84ther.gguf", LLM);
    put ("models/p/m/%FD.gguf", LLM);
    put ("models/p/m/\xfd.gguf", LLM); /* as text the same as the one before */
    put ("models/p/m/X.gguf", LLM);
    put ("models/p/m/x.gguf", LLM); /* without case the same */
    start (w);
    g_assert_cmpuint (models_list (w->models)->len, ==, 5);
    g_assert_cmpuint (models_catalog (w->models)->problems[BUCKET_CONFLICTS]->len, ==, 2);
    for (guint i = 0; i < models_list (w->models)->len; i++) {
        const Model *model = models_list (w->models)->pdata[i];
        g_assert_true (g_utf8_validate (model->key, -1, NULL) && g_utf8_validate (model->path, -1, NULL) &&
                       g_utf8_validate (model->display_name, -1, NULL) && g_utf8_validate (model->publisher, -1, NULL));
        g_assert_true (g_file_test (model->file, G_FILE_TEST_IS_REGULAR)); /* the bytes on disk */
    }
    assert_found (w, "\xC3\xA4THER", "p/m/\xC3\x84ther.gguf");
    assert_found (w, "p%ff/m%fe/x%fd-q4_0.gguf", "p%FF/m%FE/x%FD-Q4_0.gguf");
    assert_found (w, "p\xff/m\xfe/x\xfd-Q4_0.gguf", "p%FF/m%FE/x%FD-Q4_0.gguf");
    stop (w);
    start (w);
    g_assert_cmpuint (models_work (w->models).n_inspected, ==, 0); /* all of it survived JSON */
}

static void
test_deep_folders (World *w, gconstpointer data)
{
    put ("models/1/2/3/4/5/6/7/8/x.gguf", LLM);
    put ("models/1/2/3/4/5/6/7/8/9/y.gguf", LLM);
    start (w);
    assert_keys (w, "x");
    stop (w);
    g_autofree char *root = in_home ("models");
    g_autoptr (Scan) scan = scan_run ((const char *const[]){ root, NULL }, 0, NULL);
    g_assert_nonnull (strstr (find_problem (scan->errors, "1/2/3/4/5/6/7/8/9")->reason, "8 levels"));
}

static void
test_too_many_names (World *w, gconstpointer data)
{
    put ("models/a/m/x.gguf", LLM);
    for (int i = 0; i < 60; i++) {
        g_autofree char *relative = g_strdup_printf ("models/z/many/%d.txt", i);
        put (relative, "");
    }
    g_autofree char *root = in_home ("models");
    g_autoptr (Scan) scan = scan_run ((const char *const[]){ root, NULL }, 50, NULL);
    g_assert_cmpuint (scan->files->len, ==, 1);
    g_assert_cmpuint (scan->n_entries, ==, 50);
    g_assert_cmpuint (scan->errors->len, ==, 1);
    g_assert_nonnull (strstr (find_problem (scan->errors, "z/many")->reason, "50"));
}

/* ---- index.json -------------------------------------------------------------------------------------------------------- */

static const char *const broken_indices[] = {
    "",
    "{",
    "[]",
    "null",
    "{\"version\":1}",
    "{\"version\":\"1\",\"files\":5}",
    "{\"version\":1,\"engine\":5,\"files\":[],\"names\":[]}",
    "{\"version\":1,\"names\":{\"x\":5,\"y\":\"p/m/none.gguf\",\"z\":\"p/m/x.gguf\"}}",
    "\xff\xfe\x01",
    "{\"version\":99,\"files\":{\"a\":{}}}",
};

static void
test_broken_index (World *w, gconstpointer data)
{
    put ("models/p/m/x.gguf", LLM);
    for (gsize i = 0; i < G_N_ELEMENTS (broken_indices); i++) {
        put (".internal/lmsd/index.json", broken_indices[i]);
        start (w);
        assert_keys (w, "x");
        stop (w);
        start (w);
        g_assert_cmpuint (models_work (w->models).n_inspected, ==, 0); /* it was written anew */
        stop (w);
    }
}

static void
test_rows_of_the_index_that_lie (World *w, gconstpointer data)
{
    put ("models/p/m/x.gguf", LLM);
    start (w);
    stop (w);
    /* Keep the file's marks and spoil the rest, member by member. */
    g_autofree char *index = in_home (".internal/lmsd/index.json");
    g_autofree char *file = in_home ("models/p/m/x.gguf");
    static const char *const spoiled[][2] = { { "answer", "{}" },  { "answer", "[]" },  { "answer", "{\"ok\":1}" },
                                              { "size", "\"4\"" }, { "mtime", "null" }, { "inode", "1.5" },
                                              { "size", "12345" }, { "inode", "12345" } };
    for (gsize i = 0; i < G_N_ELEMENTS (spoiled); i++) {
        g_autoptr (json_t) tree = home_peek_json (index, 0);
        json_t *row = json_object_get (json_object_get (tree, "files"), file);
        g_assert_nonnull (row);
        json_object_set_new (row, spoiled[i][0], json_parse (spoiled[i][1], strlen (spoiled[i][1]), NULL));
        g_assert_true (home_write_json (index, tree, 0600, NULL));
        start (w);
        assert_keys (w, "x");
        g_assert_cmpuint (models_work (w->models).n_inspected, ==, 1);
        stop (w);
    }
    /* An answer of the right shape is believed; one with nonsense in every member must not hurt. */
    g_autoptr (json_t) tree = home_peek_json (index, 0);
    json_t *row = json_object_get (json_object_get (tree, "files"), file);
    json_object_set_new (row, "answer",
                         json_pack ("{s:b, s:s, s:i, s:[], s:s, s:f, s:s, s:i, s:i}", "ok", TRUE, "arch", "llama",
                                    "name", 5, "size_label", "n_params", "many", "n_ctx_train", -1e300, "split", "x",
                                    "template", 1, "pooling", -3));
    g_assert_true (home_write_json (index, tree, 0600, NULL));
    start (w);
    assert_keys (w, "x");
    g_assert_cmpuint (models_find (w->models, "x")->max_context, ==, 0);
}

static void
test_huge_index (World *w, gconstpointer data)
{
    put ("models/p/m/x.gguf", LLM);
    g_autofree char *index = in_home (".internal/lmsd/index.json");
    int fd = open (index, O_WRONLY | O_CREAT, 0600);
    g_assert_cmpint (ftruncate (fd, (off_t) 65 << 20), ==, 0);
    close (fd);
    start (w);
    assert_keys (w, "x");
    stop (w);
    start (w);
    g_assert_cmpuint (models_work (w->models).n_inspected, ==, 0);
}

static void
test_other_engine_is_asked_anew (World *w, gconstpointer data)
{
    put ("models/p/m/x-Q4_0.gguf", LLM);
    start (w);
    put ("models/q/m/x-Q4_0.gguf", LLM);
    rescan (w);
    stop (w);
    g_autofree char *index = in_home (".internal/lmsd/index.json");
    g_autoptr (json_t) tree = home_peek_json (index, 0);
    json_object_set_new (tree, "engine", json_string ("another"));
    g_assert_true (home_write_json (index, tree, 0600, NULL));
    start (w);
    g_assert_cmpuint (models_work (w->models).n_inspected, ==, 2);
    assert_found (w, "x", "p/m/x-Q4_0.gguf"); /* names do not depend on who was asked */
}

/* ---- engines and ends ------------------------------------------------------------------------------------------------- */

static void
test_an_engine_that_comes_back (World *w, gconstpointer data)
{
    g_autofree char *real = double_path;
    double_path = g_strdup ("/no/such/engine");
    put ("models/p/m/x.gguf", LLM);
    start (w);
    assert_keys (w, "");
    g_assert_nonnull (strstr (models_find_bad (w->models, "x"), "/no/such/engine"));
    stop (w);
    g_free (double_path);
    double_path = g_steal_pointer (&real);
    start (w); /* the file was not to blame, so that was not remembered */
    assert_keys (w, "x");
}

static void
test_freed_at_any_time (World *w, gconstpointer data)
{
    for (int i = 0; i < 20; i++) {
        g_autofree char *relative = g_strdup_printf ("models/p/m/x%d.gguf", i);
        put (relative, i == 7 ? "!hang" : LLM);
    }
    for (int turns = 0; turns < 12; turns++) {
        w->settings = settings_store_new ();
        w->models = models_new (w->settings, double_path);
        for (int i = 0; i < turns; i++) {
            g_main_context_iteration (NULL, FALSE);
            g_usleep (500);
        }
        stop (w);
    }
}

/* ---- random folders ---------------------------------------------------------------------------------------------------- */

/* Whatever lies there: every file in exactly one bucket, no two keys equal, and every entry found by its key and its path. */
static void
check_invariants (const Scan *scan, const Catalog *catalog)
{
    guint counts[N_BUCKETS] = { 0 };
    for (gsize i = 0; i < catalog->n_files; i++)
        counts[catalog->bucket_of[i]]++;
    guint files = 0;
    g_autoptr (GHashTable) keys = g_hash_table_new (g_str_hash, g_str_equal);
    g_autoptr (GHashTable) projectors = g_hash_table_new (g_str_hash, g_str_equal);
    for (guint i = 0; i < catalog->models->len; i++) {
        const Model *model = catalog->models->pdata[i];
        g_assert_true (g_hash_table_add (keys, model->key));
        g_assert_true (catalog_find (catalog, model->key) == model);
        const Model *by_path = catalog_find (catalog, model->path);
        g_assert_true (by_path == model || g_hash_table_contains (keys, model->path) ||
                       catalog_find (catalog, by_path->key) == by_path);
        g_assert_null (strstr (model->key, ".gguf@"));
        files += strcmp (model->format, "gguf") == 0 ? g_strv_length (model->files) : 1;
        if (model->projector)
            g_hash_table_add (projectors, model->projector);
        if (i > 0)
            g_assert_cmpstr (((const Model *) catalog->models->pdata[i - 1])->key, <, model->key);
    }
    g_assert_cmpuint (counts[BUCKET_MODELS], ==, files + g_hash_table_size (projectors));
    for (int b = BUCKET_CONFLICTS; b < N_BUCKETS; b++)
        g_assert_cmpuint (counts[b], ==, catalog->problems[b]->len);
    g_assert_cmpuint (catalog->n_files, ==, scan->files->len);
}

static void
test_random_folders (World *w, gconstpointer data)
{
    static const char
        *const folders[] = { "p/m", "p/M", "q/m", "p/m/sub", "p", "q/mlx-4bit" },
               *const names[] = { "x-Q4_0",           "x-Q8_0",           "X-q4_0",  "x",      "mmproj-x-F16", "mtp-x",
                                  "y-00001-of-00002", "y-00002-of-00002", "imatrix", "x@q4_0", "Q4_0" },
               *const answers[] = { LLM,         EMBEDDER,         PROJECTOR,       PART_1 (2),
                                    PART (1, 2), "{\"ok\":false}", "{\"ok\":true}", NULL };
    g_autofree char *root = in_home ("models");
    g_autoptr (Cache) cache = cache_read ("", "");
    for (int step = 0; step < 300; step++) {
        g_autofree char *relative =
            g_strdup_printf ("models/%s/%s.gguf", folders[g_test_rand_int_range (0, G_N_ELEMENTS (folders))],
                             names[g_test_rand_int_range (0, G_N_ELEMENTS (names))]);
        if (g_test_rand_int_range (0, 3) == 0) {
            g_autofree char *path = in_home (relative);
            g_remove (path);
        } else {
            put (relative, LLM);
        }
        if (step == 100) {
            put ("models/q/mlx-4bit/config.json", "{}");
            put ("models/q/mlx-4bit/a.safetensors", "");
        }
        g_autoptr (Scan) scan = scan_run ((const char *const[]){ root, NULL }, 0, NULL);
        for (guint i = 0; i < scan->files->len; i++) { /* an answer each, at random, or none */
            ScanFile *file = scan->files->pdata[i];
            const char *text = answers[g_test_rand_int_range (0, G_N_ELEMENTS (answers))];
            file->fresh = g_test_rand_int_range (0, 8) == 0;
            if (file->is_mlx || cache_find (cache, file) || !text)
                continue;
            g_autoptr (json_t) answer = json_parse (text, strlen (text), NULL);
            cache_put (cache, file, answer);
        }
        g_autoptr (Catalog) catalog = catalog_new (scan, cache, step % 50 == 49 ? "none there" : NULL);
        check_invariants (scan, catalog);
        cache_prune (cache, scan);
    }
}

#define ADD(name, function) g_test_add (name, World, NULL, set_up, function, tear_down)

int
main (int argc, char **argv)
{
    sandbox = folder_new ();
    g_autofree char *home = g_build_filename (sandbox, "home", NULL);
    g_setenv ("HOME", sandbox, TRUE);
    g_setenv ("LMS_HOME", home, TRUE);
    g_test_init (&argc, &argv, NULL);
    double_path = g_test_build_filename (G_TEST_BUILT, "inspect-double", NULL);
    g_assert_nonnull (home_path (NULL));
    ADD ("/disk-006/folder-moves", test_moved_folder);
    ADD ("/disk-008/one-file", test_one_file);
    ADD ("/disk-009/variants", test_variants);
    ADD ("/disk-009/bare-stem", test_bare_stem_of_a_group);
    ADD ("/disk-010/two-publishers", test_two_publishers);
    ADD ("/disk-011/embedding", test_embedding);
    ADD ("/disk-012/three-split-parts", test_three_parts);
    ADD ("/disk-012/parts-that-do-not-fit", test_parts_that_do_not_fit);
    ADD ("/disk-013/projector", test_projector);
    ADD ("/disk-014/sidecars", test_sidecars);
    ADD ("/disk-015/unfinished", test_unfinished_names);
    ADD ("/disk-016/text-file", test_text_file);
    ADD ("/disk-018/cycle", test_cycle);
    ADD ("/disk-018/links", test_links_to_files_and_hidden_folders);
    ADD ("/disk-019/twins", test_twins);
    ADD ("/disk-020/mlx", test_mlx);
    ADD ("/disk-022/copy-in-progress", test_copy_in_progress);
    ADD ("/disk-022/copy-that-broke-off", test_a_copy_that_broke_off);
    ADD ("/disk-023/warm-scan", test_warm_scan);
    ADD ("/disk-025/file-type", test_file_type);
    ADD ("/models/watched", test_watched);
    ADD ("/models/further-folders", test_further_folders);
    ADD ("/models/unclassified", test_unclassified);
    ADD ("/models/strange-names", test_strange_names);
    ADD ("/models/deep-folders", test_deep_folders);
    ADD ("/models/too-many-names", test_too_many_names);
    ADD ("/index/broken", test_broken_index);
    ADD ("/index/rows-that-lie", test_rows_of_the_index_that_lie);
    ADD ("/index/huge", test_huge_index);
    ADD ("/index/other-engine", test_other_engine_is_asked_anew);
    ADD ("/models/engine-comes-back", test_an_engine_that_comes_back);
    ADD ("/models/freed-at-any-time", test_freed_at_any_time);
    ADD ("/models/random", test_random_folders);
    int failed = g_test_run ();
    folder_remove (sandbox);
    g_free (sandbox);
    g_free (double_path);
    return failed;
}
