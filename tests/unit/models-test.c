/* models/: the index over real folders, with inspect-double in the engine's place: a "model" there is a text file that holds its own
 * --inspect answer (disk.md 4, checks 6 to 25). */
#include "world.h"

#include <string.h>
#include <unistd.h>

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
test_a_changed_file_keeps_its_name (World *w, gconstpointer data)
{
    put ("models/p1/m/x.gguf", LLM);
    start (w);
    put ("models/p2/m/x.gguf", LLM);
    rescan (w);
    assert_found (w, "x", "p1/m/x.gguf");
    /* Written anew: between the scan and the engine's answer it must not lose its names to the other. */
    put_aged ("models/p1/m/x.gguf", LLM "\n..", 50);
    guint changes = w->changes;
    models_rescan (w->models, NULL, NULL);
    while (w->changes == changes) {
        assert_found (w, "x", "p1/m/x.gguf");
        assert_keys (w, "p1/x p2/x");
        g_main_context_iteration (NULL, TRUE);
    }
    assert_found (w, "x", "p1/m/x.gguf"); /* the first list with its new size, from before the engine was asked */
    assert_keys (w, "p1/x p2/x");
    rescan (w);
    assert_found (w, "x", "p1/m/x.gguf");
    assert_found (w, "p2/x", "p2/m/x.gguf");
}

static void
test_a_folder_that_comes_back (World *w, gconstpointer data)
{
    put ("more/p1/m/x.gguf", LLM);
    g_autofree char *more = in_home ("more"), *away = in_home ("away");
    g_autofree char *text = g_strdup_printf ("{\"lmsd\":{\"extraModelFolders\":[\"%s\"]}}", more);
    folder_put (sandbox, "home/settings.json", text);
    start (w);
    put ("models/p2/m/x.gguf", LLM);
    rescan (w);
    assert_found (w, "x", "p1/m/x.gguf");
    g_assert_cmpint (g_rename (more, away), ==, 0); /* the disk is unplugged */
    rescan (w);
    assert_keys (w, "x");
    assert_found (w, "x", "p2/m/x.gguf");
    assert_found (w, "p1/x", NULL);
    guint asked = models_work (w->models).n_inspected;
    g_assert_cmpint (g_rename (away, more), ==, 0);
    rescan (w);
    assert_keys (w, "p1/x p2/x");
    g_assert_cmpuint (models_work (w->models).n_inspected, ==, asked);
}

/* More files than are asked about in one round: who gets a name must not depend on who answers first. */
static void
test_names_do_not_depend_on_the_order_of_answers (World *w, gconstpointer data)
{
    put ("models/a/m/x.gguf", LLM);
    for (int i = 0; i < 150; i++) {
        g_autofree char *relative = g_strdup_printf ("models/b/m/y%d.gguf", i);
        put (relative, LLM);
    }
    put_aged ("models/c/m/x.gguf", LLM, 1000);
    start (w);
    assert_found (w, "x", "c/m/x.gguf");
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
    put_aged ("models/p/mlx/config.json", "{}", 0);
    put_aged ("models/p/mlx/model.safetensors.index.json", "{\"weight_map\":{\"a\":\"2.safetensors\"}}", 0);
    put_aged ("models/p/mlx/1.safetensors", "", 0);
    start (w);
    assert_keys (w, "whole"); /* what is complete needs no waiting */
    g_assert_cmpuint (models_catalog (w->models)->problems[BUCKET_BAD]->len, ==, 0);
    g_assert_cmpuint (models_catalog (w->models)->problems[BUCKET_PENDING]->len, ==, 3);
    g_assert_null (models_find_bad (w->models, "x"));

    /* The copy ends; nobody has to ask. */
    put ("models/p/m/x.gguf", LLM);
    put ("models/p/n/y-00002-of-00002.gguf", PART (1, 2));
    put ("models/p/mlx/2.safetensors", "");
    wait_for_keys (w, "mlx whole x y");
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
test_hugging_face_cache (World *w, gconstpointer data)
{
    static const char repository[] = "hub/models--Some--Model-GGUF";
    g_autofree char *blob = g_strconcat (repository, "/blobs/0123", NULL),
                    *ref = g_strconcat (repository, "/refs/main", NULL);
    g_autofree char *old = g_strconcat (repository, "/snapshots/aaaa/old.gguf", NULL);
    g_autofree char *snapshot = g_strconcat (repository, "/snapshots/bbbb/x-Q4_0.gguf", NULL);
    put (blob, LLM);
    put (ref, "bbbb\n");
    put (old, LLM);
    put ("hub/models--no-owner/refs/main", "bbbb");
    put ("hub/models--a--evil/refs/main", "../../../..");
    put ("hub/datasets--a--b/refs/main", "bbbb");
    g_autofree char *at = in_home (snapshot), *hub = in_home ("hub");
    g_autofree char *above = g_path_get_dirname (at);
    g_assert_cmpint (g_mkdir_with_parents (above, 0700), ==, 0);
    g_assert_cmpint (symlink ("../../blobs/0123", at), ==, 0);
    g_setenv ("HF_HUB_CACHE", hub, TRUE);
    start (w);
    assert_keys (w, ""); /* only when asked to */
    folder_put (sandbox, "home/settings.json", "{\"lmsd\":{\"hfCacheRead\":true}}");
    wait_for_keys (w, "x");
    const Model *model = models_find (w->models, "x");
    g_assert_cmpstr (model->path, ==, "Some/Model-GGUF/x-Q4_0.gguf");
    g_assert_cmpstr (model->file, ==, at);
    g_assert_cmpstr (model->publisher, ==, "Some");
    put (ref, "aaaa"); /* another revision */
    wait_for_keys (w, "old");
    g_unsetenv ("HF_HUB_CACHE");
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

int
main (int argc, char **argv)
{
    world_init (&argc, &argv);
    ADD ("/disk-006/folder-moves", test_moved_folder);
    ADD ("/disk-008/one-file", test_one_file);
    ADD ("/disk-009/variants", test_variants);
    ADD ("/disk-009/bare-stem", test_bare_stem_of_a_group);
    ADD ("/disk-010/two-publishers", test_two_publishers);
    ADD ("/disk-010/changed-file", test_a_changed_file_keeps_its_name);
    ADD ("/disk-010/folder-comes-back", test_a_folder_that_comes_back);
    ADD ("/disk-010/order-of-answers", test_names_do_not_depend_on_the_order_of_answers);
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
    ADD ("/models/hugging-face-cache", test_hugging_face_cache);
    ADD ("/models/unclassified", test_unclassified);
    ADD ("/models/strange-names", test_strange_names);
    ADD ("/models/deep-folders", test_deep_folders);
    ADD ("/models/too-many-names", test_too_many_names);
    return world_end (g_test_run ());
}
