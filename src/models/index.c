/* index.c: the list in memory, and what keeps it true.
 *
 *          ┌────────────────────── watch, settings, models_rescan, files that grew ─────────────────────┐
 *          ▼                                                                                            │
 *   [pool] walk, catalog ──▶ publish ──wanted?──▶ [children] --inspect ──▶ [pool] catalog ──▶ publish ──┴▶ idle
 *                                                       ▲                                   │
 *                                                       └────────────── wanted? ────────────┘
 *
 * One pass at a time.  What a pass works on (cache, scan) belongs to the pass while it is in the pool and to the loop between, so
 * nothing is shared; a catalog never changes once it is published. */
#include "models/index.h"
#include "home/home.h"
#include "home/log.h"
#include "home/watch.h"
#include "models/inspect.h"

#include <string.h>
#include <sys/stat.h>
#include <glib/gstdio.h>

#define INSPECT_ROUND (INSPECT_CHILDREN * INSPECT_FILES_A_CHILD) /* files between two publications */

typedef struct {
    void (*call) (gpointer data);
    gpointer data;
} Call;

/* What goes to the pool and comes back. */
typedef struct {
    Models *owner; /* NULL: freed meanwhile */
    char **roots;
    char *index_path, *engine_path, *no_engine;
    GCancellable *cancel;
    Cache *cache; /* NULL: to be read */
    Scan *scan;   /* NULL: to be made */
    gboolean walked;
    Catalog *catalog;
} Pass;

struct Models {
    SettingsStore *settings;
    char *engine_path, *index_path;
    char **roots; /* as scan_run takes them */
    Watch *watch;
    Catalog *catalog; /* published */
    Cache *cache;     /* NULL while a pass has it */
    Scan *scan;
    Pass *pass;       /* in the pool, or NULL */
    Inspect *inspect; /* running, or NULL */
    GPtrArray *asked; /* ScanFile: what inspect was given */
    char *no_engine;  /* why nobody can be asked in this scan, or NULL */
    gboolean ready, again;
    guint later;                          /* timer: files that were growing, or 0 */
    GArray *on_ready, *on_changed;        /* Call */
    GArray *on_scanned, *on_next_scanned; /* Call: of the scan under way, of the one after it */
    GHashTable *told;                     /* problems that were logged */
    ModelsWork work;
};

static void start_scan (Models *models);
static void start_pass (Models *models);

/* ---- callbacks --------------------------------------------------------------------------------------------------------- */

static void
add_call (GArray *calls, void (*function) (gpointer data), gpointer data)
{
    Call call = { function, data };
    g_array_append_val (calls, call);
}

/* Those who are called may add others. */
static void
run_calls (GArray *calls)
{
    for (guint i = 0; i < calls->len; i++) {
        Call call = g_array_index (calls, Call, i);
        call.call (call.data);
    }
}

static void
run_once (GArray **calls)
{
    g_autoptr (GArray) now = *calls;
    *calls = g_array_new (FALSE, FALSE, sizeof (Call));
    run_calls (now);
}

/* ---- publishing -------------------------------------------------------------------------------------------------------- */

static void
tell_problem (Models *models, GHashTable *told, const Problem *problem, LogLevel level)
{
    char *line = g_strdup_printf ("%s: %s", problem->path, problem->reason);
    if (!g_hash_table_contains (models->told, line) && !g_hash_table_contains (told, line))
        log_line (level, NULL, "Model file %s", line);
    g_hash_table_add (told, line);
}

/* Logs what is new, once. */
static void
tell_problems (Models *models)
{
    static const Bucket buckets[] = { BUCKET_BAD, BUCKET_CONFLICTS, BUCKET_UNCLASSIFIED };
    GHashTable *told = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < models->scan->errors->len; i++)
        tell_problem (models, told, models->scan->errors->pdata[i], LOG_WARN);
    for (guint b = 0; b < G_N_ELEMENTS (buckets); b++) {
        const GPtrArray *problems = models->catalog->problems[buckets[b]];
        for (guint i = 0; i < problems->len; i++)
            tell_problem (models, told, problems->pdata[i], LOG_WARN);
    }
    g_hash_table_unref (models->told);
    models->told = told;
}

static void
publish (Models *models, Catalog *catalog)
{
    g_autoptr (Catalog) old = g_steal_pointer (&models->catalog);
    models->catalog = catalog;
    models->work.n_mlx_read += catalog->n_mlx_read;
    tell_problems (models);
    if (catalog_differs (old, catalog))
        run_calls (models->on_changed);
}

static gboolean
look_again (gpointer data)
{
    Models *models = data;
    models->later = 0;
    models_rescan (models, NULL, NULL);
    return G_SOURCE_REMOVE;
}

static void
end_scan (Models *models)
{
    if (models->catalog->problems[BUCKET_PENDING]->len > 0 && !models->later)
        models->later = g_timeout_add (SCAN_FRESH_MS, look_again, models);
    models->ready = TRUE;
    run_once (&models->on_ready);
    run_once (&models->on_scanned);
    if (models->again && !models->pass && !models->inspect)
        start_scan (models);
}

/* ---- asking the engine ------------------------------------------------------------------------------------------------- */

static void
take_answer (guint index, json_t *answer, gpointer data)
{
    Models *models = data;
    ScanFile *file = models->asked->pdata[index];
    models->work.n_inspected++;
    if (file->fresh && !json_peek_bool (answer, "ok", FALSE))
        file->tried = TRUE; /* it may be half a copy: not remembered, looked at again when it is quiet */
    else
        cache_put (models->cache, file, answer);
}

static void
answers_are_in (const char *unusable, gpointer data)
{
    Models *models = data;
    g_free (models->no_engine);
    models->no_engine = g_strdup (unusable);
    g_clear_pointer (&models->inspect, inspect_free);
    g_clear_pointer (&models->asked, g_ptr_array_unref);
    start_pass (models);
}

/* @wanted: of the present scan. */
static void
ask (Models *models, const GPtrArray *wanted)
{
    models->asked = g_ptr_array_new ();
    g_autoptr (GPtrArray) paths = g_ptr_array_new ();
    for (guint i = 0; i < wanted->len && i < INSPECT_ROUND; i++) {
        ScanFile *file = wanted->pdata[i];
        g_ptr_array_add (models->asked, file);
        g_ptr_array_add (paths, file->file);
    }
    g_ptr_array_add (paths, NULL);
    InspectFuncs funcs = {
        .engine_path = models->engine_path, .answer = take_answer, .done = answers_are_in, .data = models
    };
    models->inspect = inspect_new ((const char *const *) paths->pdata, &funcs);
}

/* ---- the pool ---------------------------------------------------------------------------------------------------------- */

static void
pass_free (gpointer data)
{
    Pass *pass = data;
    g_strfreev (pass->roots);
    g_free (pass->index_path);
    g_free (pass->engine_path);
    g_free (pass->no_engine);
    g_object_unref (pass->cancel);
    catalog_free (pass->catalog);
    scan_free (pass->scan);
    cache_free (pass->cache);
    g_free (pass);
}

static void
run_pass (GTask *task, gpointer source, gpointer data, GCancellable *cancel)
{
    Pass *pass = data;
    if (!pass->cache) {
        g_autofree char *mark = cache_engine_mark (pass->engine_path);
        pass->cache = cache_read (pass->index_path, mark);
    }
    if (!pass->scan) {
        pass->scan = scan_run ((const char *const *) pass->roots, 0, pass->cancel);
        pass->walked = TRUE;
    }
    pass->catalog = catalog_new (pass->scan, pass->cache, pass->no_engine);
    if (!g_cancellable_is_cancelled (pass->cancel)) {
        if (pass->catalog->wanted->len == 0)
            cache_prune (pass->cache, pass->scan);
        cache_write (pass->cache, pass->index_path);
    }
    g_task_return_boolean (task, TRUE);
}

static void
pass_is_back (GObject *source, GAsyncResult *result, gpointer data)
{
    Pass *pass = g_task_get_task_data (G_TASK (result));
    Models *models = pass->owner;
    if (!models)
        return; /* the task frees the pass */
    models->pass = NULL;
    models->cache = g_steal_pointer (&pass->cache);
    models->scan = g_steal_pointer (&pass->scan);
    if (pass->walked) {
        models->work.n_scans++;
        g_autoptr (GPtrArray) folders = g_ptr_array_copy (models->scan->folders, NULL, NULL);
        g_ptr_array_set_free_func (folders, NULL); /* the scan owns the names */
        g_ptr_array_add (folders, NULL);
        watch_set_folders (models->watch, (const char *const *) folders->pdata);
    }
    g_autoptr (GPtrArray) wanted =
        g_steal_pointer (&pass->catalog->wanted); /* points into the scan, which the catalog outlives */
    /* From here the owner may be asked for anything, but not freed: see models_free. */
    publish (models, g_steal_pointer (&pass->catalog));
    if (wanted->len > 0)
        ask (models, wanted);
    else
        end_scan (models);
}

static void
start_pass (Models *models)
{
    Pass *pass = g_new0 (Pass, 1);
    pass->owner = models;
    pass->roots = g_strdupv (models->roots);
    pass->index_path = g_strdup (models->index_path);
    pass->engine_path = g_strdup (models->engine_path);
    pass->no_engine = g_strdup (models->no_engine);
    pass->cancel = g_cancellable_new ();
    pass->cache = g_steal_pointer (&models->cache);
    pass->scan = g_steal_pointer (&models->scan);
    models->pass = pass;
    g_autoptr (GTask) task = g_task_new (NULL, NULL, pass_is_back, NULL);
    g_task_set_task_data (task, pass, pass_free);
    g_task_run_in_thread (task, run_pass);
}

static void
start_scan (Models *models)
{
    models->again = FALSE;
    g_clear_handle_id (&models->later, g_source_remove);
    g_clear_pointer (&models->no_engine, g_free);
    g_clear_pointer (&models->scan, scan_free);
    GArray *next = models->on_next_scanned;
    models->on_next_scanned = models->on_scanned; /* empty: its scan has ended */
    models->on_scanned = next;
    start_pass (models);
}

/* ---- what sets it off -------------------------------------------------------------------------------------------------- */

/* Where Hugging Face's own programs keep what they fetched; the caller frees. */
static char *
hf_cache (void)
{
    const char *hub = g_getenv ("HF_HUB_CACHE"), *home = g_getenv ("HF_HOME");
    if (hub && *hub)
        return g_canonicalize_filename (hub, NULL);
    if (home && *home)
        return g_canonicalize_filename ("hub", home);
    return g_build_filename (g_get_user_cache_dir (), "huggingface", "hub", NULL);
}

/* The models folder, further ones, and what came with the official application.  The default folder is ours to make. */
static char **
roots_of (const Settings *settings)
{
    g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();
    g_autofree char *ours = home_file ("models");
    if (strcmp (settings->models_folder, ours) == 0 && g_mkdir_with_parents (ours, 0700) != 0)
        log_line (LOG_WARN, NULL, "The models folder %s can't be made.", ours);
    g_strv_builder_add (builder, settings->models_folder);
    g_strv_builder_addv (builder, (const char **) settings->extra_model_folders);
    g_autofree char *bundled = home_file (".internal/bundled-models");
    g_autofree char *optional = g_strconcat ("?", bundled, NULL);
    g_strv_builder_add (builder, optional);
    if (settings->hf_cache_read) {
        g_autofree char *hub = hf_cache ();
        g_autofree char *root = g_strconcat ("@", hub, NULL);
        g_strv_builder_add (builder, root);
    }
    return g_strv_builder_end (builder);
}

static void
settings_changed (const Settings *settings, gpointer data)
{
    Models *models = data;
    g_auto (GStrv) roots = roots_of (settings);
    if (g_strv_equal ((const char *const *) roots, (const char *const *) models->roots))
        return;
    g_strfreev (models->roots);
    models->roots = g_steal_pointer (&roots);
    models_rescan (models, NULL, NULL);
}

static void
folders_changed (gpointer data)
{
    models_rescan (data, NULL, NULL);
}

/* ---- the front --------------------------------------------------------------------------------------------------------- */

static Catalog *
empty_catalog (void)
{
    g_autoptr (Scan) scan = scan_run ((const char *const[]){ NULL }, 0, NULL);
    g_autoptr (Cache) cache = cache_read ("", "");
    return catalog_new (scan, cache, NULL);
}

Models *
models_new (SettingsStore *settings, const char *engine_path)
{
    Models *models = g_new0 (Models, 1);
    models->settings = settings;
    models->engine_path = g_strdup (engine_path);
    models->index_path = home_file (".internal/lmsd/index.json");
    models->roots = roots_of (settings_get (settings));
    models->catalog = empty_catalog ();
    models->told = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    models->on_ready = g_array_new (FALSE, FALSE, sizeof (Call));
    models->on_changed = g_array_new (FALSE, FALSE, sizeof (Call));
    models->on_scanned = g_array_new (FALSE, FALSE, sizeof (Call));
    models->on_next_scanned = g_array_new (FALSE, FALSE, sizeof (Call));
    models->watch = watch_new (NULL, folders_changed, models);
    settings_on_changed (settings, settings_changed, models);
    start_scan (models);
    return models;
}

void
models_free (Models *models)
{
    if (!models)
        return;
    settings_off_changed (models->settings, settings_changed, models);
    if (models->pass) {
        models->pass->owner = NULL;
        g_cancellable_cancel (models->pass->cancel);
    }
    inspect_free (models->inspect);
    g_clear_pointer (&models->asked, g_ptr_array_unref);
    watch_free (models->watch);
    g_clear_handle_id (&models->later, g_source_remove);
    catalog_free (models->catalog);
    cache_free (models->cache);
    scan_free (models->scan);
    g_array_unref (models->on_ready);
    g_array_unref (models->on_changed);
    g_array_unref (models->on_scanned);
    g_array_unref (models->on_next_scanned);
    g_hash_table_unref (models->told);
    g_strfreev (models->roots);
    g_free (models->engine_path);
    g_free (models->index_path);
    g_free (models->no_engine);
    g_free (models);
}

void
models_when_ready (Models *models, void (*ready) (gpointer data), gpointer data)
{
    if (models->ready)
        ready (data);
    else
        add_call (models->on_ready, ready, data);
}

gboolean
models_is_ready (Models *models)
{
    return models->ready;
}

const GPtrArray *
models_list (Models *models)
{
    return models->catalog->models;
}

const Model *
models_find (Models *models, const char *name)
{
    return catalog_find (models->catalog, name);
}

const char *
models_find_bad (Models *models, const char *name)
{
    return catalog_find_bad (models->catalog, name);
}

void
models_rescan (Models *models, void (*done) (gpointer data), gpointer data)
{
    if (done)
        add_call (models->on_next_scanned, done, data);
    if (models->pass || models->inspect)
        models->again = TRUE; /* the scan under way may have passed what is new */
    else
        start_scan (models);
}

void
models_on_changed (Models *models, void (*changed) (gpointer data), gpointer data)
{
    add_call (models->on_changed, changed, data);
}

ModelsWork
models_work (Models *models)
{
    return models->work;
}

const Catalog *
models_catalog (Models *models)
{
    return models->catalog;
}
