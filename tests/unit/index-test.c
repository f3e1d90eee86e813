/* models/index: what is kept in index.json and what of it is believed, an index freed at any time, and random folders (disk.md 4.2). */
#include "world.h"

#include <string.h>
#include <unistd.h>

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

int
main (int argc, char **argv)
{
    world_init (&argc, &argv);
    ADD ("/index/broken", test_broken_index);
    ADD ("/index/rows-that-lie", test_rows_of_the_index_that_lie);
    ADD ("/index/huge", test_huge_index);
    ADD ("/index/other-engine", test_other_engine_is_asked_anew);
    ADD ("/models/engine-comes-back", test_an_engine_that_comes_back);
    ADD ("/models/freed-at-any-time", test_freed_at_any_time);
    ADD ("/models/random", test_random_folders);
    return world_end (g_test_run ());
}
