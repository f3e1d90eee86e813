/* catalog.c: from files to entries.
 *
 *   file + answer ─▶ kind ─┬─ model ─▶ parts joined ─▶ Model ─▶ projector ─▶ key ─▶ names
 *                          ├─ projector ───────────────────────────┘
 *                          └─ sidecar, imatrix, adapter: aside
 *   no answer ─▶ pending, wanted         refused, or parts that don't fit ─▶ bad
 *
 * Every file ends in exactly one bucket, and every bucket but the list itself says why. */
#include "models/catalog.h"
#include "models/entry.h"
#include "models/keys.h"
#include "models/mlx.h"
#include "models/naming.h"
#include "models/projector.h"

#include <string.h>

/* A file on its way to a bucket. */
typedef struct {
    const ScanFile *file;
    json_t *answer; /* lent by the cache; NULL: none yet */
    NameParts parts;
    EntryKind kind;
    guint index;
    gboolean settled; /* its bucket is decided */
} Item;

/* An entry in the making. */
typedef struct {
    Named named;
    Item *item; /* its first file's */
} Draft;

typedef struct {
    const Scan *scan;
    Cache *cache;
    const char *no_engine;
    Catalog *catalog;
    Item *items;
    GArray *drafts;      /* Draft */
    GHashTable *history; /* of names: the cache's, or a copy for the moment */
} Build;

static void settle (Build *build, Item *item, Bucket bucket, const char *format, ...) G_GNUC_PRINTF (4, 5);

/* @format: why; NULL only for BUCKET_MODELS. */
static void
settle (Build *build, Item *item, Bucket bucket, const char *format, ...)
{
    if (item->settled)
        return;
    item->settled = TRUE;
    build->catalog->bucket_of[item->index] = bucket;
    if (bucket == BUCKET_MODELS)
        return;
    va_list args;
    va_start (args, format);
    g_autofree char *reason = g_strdup_vprintf (format, args);
    va_end (args);
    g_ptr_array_add (build->catalog->problems[bucket], problem_new (item->file->path, "%s", reason));
}

/* ---- each file for itself ---------------------------------------------------------------------------------------------- */

static void
find_answer (Build *build, Item *item)
{
    item->answer = cache_find (build->cache, item->file);
    if (!item->answer && item->file->is_mlx) {
        g_autoptr (json_t) answer = mlx_inspect (item->file->file);
        cache_put (build->cache, item->file, answer);
        build->catalog->n_mlx_read++;
        item->answer = cache_find (build->cache, item->file);
    }
    if (!item->answer && build->no_engine) {
        settle (build, item, BUCKET_BAD, "it can't be looked at: %s", build->no_engine);
    } else if (!item->answer) {
        if (!item->file->tried)
            g_ptr_array_add (build->catalog->wanted, (gpointer) item->file);
        /* What was a model before it changed stays one until we know better, or its names would mean others for a moment. */
        json_t *old = item->file->tried ? NULL : cache_find_old (build->cache, item->file);
        if (json_peek_bool (old, "ok", FALSE)) {
            item->answer = old;
            return;
        }
        settle (build, item, BUCKET_PENDING, "it was not looked at yet");
    } else if (!json_peek_bool (item->answer, "ok", FALSE)) {
        const char *reason = json_peek_string (item->answer, "reason");
        if (item->file->fresh)
            settle (build, item, BUCKET_PENDING, "it is still being written");
        else
            settle (build, item, BUCKET_BAD, "%s", reason ? reason : "the engine refuses it");
    }
}

/* A file above the model folders is no entry, but who names its path may use it (disk.md 4.1). */
static void
look_at_loose (Build *build, Item *item)
{
    settle (build, item, BUCKET_UNCLASSIFIED,
            "it lies in no model folder (publisher/model/file); `lms import` moves it into one");
    if (item->file->is_mlx)
        return;
    item->answer = cache_find (build->cache, item->file);
    if (!item->answer && !item->file->tried && !build->no_engine)
        g_ptr_array_add (build->catalog->wanted, (gpointer) item->file);
}

static void
first_look (Build *build, Item *item, GHashTable *paths)
{
    const ScanFile *file = item->file;
    if (file->is_mlx)
        item->parts = (NameParts){ .base = g_strdup (file->name), .plain = name_of_mlx (file->name) };
    else
        name_parse (file->name, &item->parts);
    if (!file->classified) {
        look_at_loose (build, item);
        return;
    }
    char *lower = name_lower (file->path);
    if (!g_hash_table_add (paths, lower)) {
        settle (build, item, BUCKET_CONFLICTS, "another models folder, or another spelling, has this path already");
        return;
    }
    find_answer (build, item);
    if (item->settled)
        return;
    item->kind = entry_kind (file->is_mlx ? "" : file->name, item->answer);
    if (item->kind == KIND_SIDECAR)
        settle (build, item, BUCKET_ASIDE, "a sidecar drafter");
    else if (item->kind == KIND_IGNORED)
        settle (build, item, BUCKET_ASIDE, "an importance matrix or adapter");
}

/* ---- parts of one model ------------------------------------------------------------------------------------------------ */

static void
add_draft (Build *build, Item *first, Item *const *items, guint n_items)
{
    Draft draft = { .named.model = entry_new (first->file, &first->parts, first->answer, first->kind), .item = first };
    draft.named.stem = entry_stem (draft.named.model, &first->parts);
    Model *model = draft.named.model;
    if (!model->files) {
        model->files = g_new0 (char *, n_items + 1);
        model->size_bytes = 0;
        for (guint i = 0; i < n_items; i++) {
            model->files[i] = g_strdup (items[i]->file->file);
            model->size_bytes += items[i]->file->size_bytes;
        }
    }
    for (guint i = 0; i < n_items; i++)
        settle (build, items[i], BUCKET_MODELS, NULL);
    g_array_append_val (build->drafts, draft);
}

static void
take_whole_file (Build *build, Item *item)
{
    const json_t *split = json_object_get (item->answer, "split");
    if (json_peek_int (split, "count", 0) > 1)
        settle (build, item, BUCKET_BAD, "it is part %d of %d of a split model, but its name does not say so",
                (int) json_peek_int (split, "no", 0) + 1, (int) json_peek_int (split, "count", 0));
    else if (!item->file->is_mlx && !json_peek_string (item->answer, "arch"))
        settle (build, item, BUCKET_BAD, "it names no architecture");
    else
        add_draft (build, item, &item, 1);
}

static void settle_all (Build *build, GPtrArray *parts, Bucket bucket, const char *format, ...) G_GNUC_PRINTF (4, 5);

static void
settle_all (Build *build, GPtrArray *parts, Bucket bucket, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    g_autofree char *reason = g_strdup_vprintf (format, args);
    va_end (args);
    for (guint i = 0; i < parts->len; i++)
        settle (build, parts->pdata[i], bucket, "%s", reason);
}

/* Does what part @item says of itself fit its name and the first part?  NULL: it does. */
static const char *
misfit (const Item *item, const Item *first)
{
    const json_t *split = json_object_get (item->answer, "split"), *other = json_object_get (first->answer, "split");
    if (!json_is_object (split))
        return "says nothing of a split";
    if (json_peek_int (split, "no", -1) != (gint64) item->parts.part - 1 ||
        json_peek_int (split, "count", -1) != (gint64) item->parts.n_parts)
        return "says that it is another part";
    if (json_peek_int (split, "tensors", -1) != json_peek_int (other, "tensors", -1))
        return "belongs to another model";
    return NULL;
}

static int
by_part (gconstpointer a, gconstpointer b)
{
    const Item *x = *(Item *const *) a, *y = *(Item *const *) b;
    return x->parts.part < y->parts.part ? -1 : x->parts.part > y->parts.part;
}

/* All files of one folder, prefix and count. */
static void
take_split (Build *build, GPtrArray *parts)
{
    g_ptr_array_sort (parts, by_part);
    gboolean fresh = FALSE, waiting = FALSE;
    guint missing = 0, broken = 0, expected = 1, n_parts = 0;
    for (guint i = 0; i < parts->len; i++) {
        Item *item = parts->pdata[i];
        n_parts = item->parts.n_parts;
        fresh |= item->file->fresh;
        waiting |= item->settled && build->catalog->bucket_of[item->index] == BUCKET_PENDING;
        if (item->settled && build->catalog->bucket_of[item->index] == BUCKET_BAD)
            broken = item->parts.part;
        if (item->parts.part != expected && !missing)
            missing = expected;
        expected = item->parts.part + 1;
    }
    if (!missing && expected != n_parts + 1)
        missing = expected;
    if (waiting ||
        (fresh && (missing || broken))) { /* parts arrive one by one: nothing is said of them before it is quiet */
        settle_all (build, parts, BUCKET_PENDING, "other parts of it are still to come");
        return;
    }
    if (missing) {
        settle_all (build, parts, BUCKET_BAD, "part %u of %u is missing", missing, n_parts);
        return;
    }
    if (broken) {
        settle_all (build, parts, BUCKET_BAD, "part %u of %u is broken", broken, n_parts);
        return;
    }
    Item *first = parts->pdata[0];
    for (guint i = 0; i < parts->len; i++) {
        Item *item = parts->pdata[i];
        const char *why = misfit (item, first);
        if (why) {
            settle_all (build, parts, BUCKET_BAD, "part %u of %u %s", item->parts.part, n_parts, why);
            return;
        }
    }
    if (!json_peek_string (first->answer, "arch"))
        settle_all (build, parts, BUCKET_BAD, "it names no architecture");
    else
        add_draft (build, first, (Item *const *) parts->pdata, parts->len);
}

/* The parts of a model are found by name, also those that are pending or bad. */
static gboolean
is_part (const Build *build, const Item *item)
{
    if (item->parts.n_parts == 0 || item->file->is_mlx)
        return FALSE;
    if (!item->settled)
        return item->kind == KIND_LLM || item->kind == KIND_EMBEDDING;
    Bucket bucket = build->catalog->bucket_of[item->index];
    return (bucket == BUCKET_PENDING || bucket == BUCKET_BAD) && name_kind (item->file->name) == NAME_MODEL;
}

static void
make_drafts (Build *build)
{
    g_autoptr (GHashTable) splits =
        g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_ptr_array_unref);
    g_autoptr (GPtrArray) order = g_ptr_array_new (); /* of the lists in splits, so that two builds agree */
    for (guint i = 0; i < build->scan->files->len; i++) {
        Item *item = &build->items[i];
        if (!is_part (build, item)) {
            if (!item->settled && item->kind != KIND_PROJECTOR)
                take_whole_file (build, item);
            continue;
        }
        g_autofree char *folder = g_path_get_dirname (item->file->path);
        g_autofree char *name = g_strdup_printf ("%s/%s/%u", folder, item->parts.base, item->parts.n_parts);
        GPtrArray *parts = g_hash_table_lookup (splits, name);
        if (!parts) {
            parts = g_ptr_array_new ();
            g_ptr_array_add (order, parts);
            g_hash_table_insert (splits, g_steal_pointer (&name), parts);
        }
        g_ptr_array_add (parts, item);
    }
    for (guint i = 0; i < order->len; i++)
        take_split (build, order->pdata[i]);
}

/* ---- projectors -------------------------------------------------------------------------------------------------------- */

static void
attach_projectors (Build *build)
{
    g_autoptr (GArray) projectors = g_array_new (FALSE, TRUE, sizeof (Projector));
    g_autoptr (GArray) hosts = g_array_new (FALSE, TRUE, sizeof (ProjectorHost));
    for (guint i = 0; i < build->scan->files->len; i++) {
        const Item *item = &build->items[i];
        if (item->settled || item->kind != KIND_PROJECTOR)
            continue;
        Projector projector = { .path = item->file->path, .quant = item->parts.quant, .index = i };
        if (!projector.quant)
            projector.quant = quant_of_file_type (json_peek_int (item->answer, "file_type", -1));
        projector.basename = json_peek_string (item->answer, "basename");
        g_array_append_val (projectors, projector);
    }
    if (projectors->len == 0)
        return;
    for (guint i = 0; i < build->drafts->len; i++) {
        const Draft *draft = &g_array_index (build->drafts, Draft, i);
        ProjectorHost host = { .path = draft->named.model->path,
                               .plain = draft->item->parts.plain,
                               .bits = draft->named.model->quant_bits,
                               .basename = json_peek_string (draft->item->answer, "basename"),
                               .wants = !draft->item->file->is_mlx && draft->named.model->type == MODEL_LLM };
        g_array_append_val (hosts, host);
    }
    projectors_match ((const Projector *) projectors->data, projectors->len, (ProjectorHost *) hosts->data, hosts->len);
    for (guint i = 0; i < hosts->len; i++) {
        const Projector *chosen = g_array_index (hosts, ProjectorHost, i).chosen;
        if (!chosen)
            continue;
        Item *item = &build->items[chosen->index];
        Model *model = g_array_index (build->drafts, Draft, i).named.model;
        const json_t *clip = json_object_get (item->answer, "clip");
        model->projector = g_strdup (item->file->file);
        model->size_bytes += item->file->size_bytes;
        model->vision = json_peek_bool (clip, "vision", !json_peek_bool (clip, "audio", FALSE));
        settle (build, item, BUCKET_MODELS, NULL);
    }
    for (guint i = 0; i < projectors->len; i++)
        settle (build, &build->items[g_array_index (projectors, Projector, i).index], BUCKET_ASIDE,
                "a projector without its model");
}

/* ---- names -------------------------------------------------------------------------------------------------------------- */

static void
name_entries (Build *build)
{
    g_autoptr (GArray) entries = g_array_new (FALSE, FALSE, sizeof (Named));
    for (guint i = 0; i < build->drafts->len; i++)
        g_array_append_val (entries, g_array_index (build->drafts, Draft, i).named);
    naming_add_entries (build->catalog->names, (const Named *) entries->data, entries->len, build->history);
}

/* Unlisted, under their paths only. */
static void
add_loose_models (Build *build)
{
    for (guint i = 0; i < build->scan->files->len; i++) {
        Item *item = &build->items[i];
        if (build->catalog->bucket_of[i] != BUCKET_UNCLASSIFIED || !json_peek_bool (item->answer, "ok", FALSE) ||
            !json_peek_string (item->answer, "arch") || item->parts.n_parts > 1)
            continue;
        EntryKind kind = entry_kind (item->file->name, item->answer);
        if (kind != KIND_LLM && kind != KIND_EMBEDDING)
            continue;
        Model *model = entry_new (item->file, &item->parts, item->answer, kind);
        model->key = name_lower (model->path);
        model->files = g_new0 (char *, 2);
        model->files[0] = g_strdup (model->file);
        g_ptr_array_add (build->catalog->loose, model);
        naming_add_paths (build->catalog->names, model);
    }
}

/* Tells one history from the next, whatever the order of its rows. */
static guint
history_mark (GHashTable *history)
{
    guint mark = g_hash_table_size (history);
    GHashTableIter iter;
    gpointer name, path;
    g_hash_table_iter_init (&iter, history);
    while (g_hash_table_iter_next (&iter, &name, &path))
        mark += (g_str_hash (name) ^ (g_str_hash (path) * 31)) * 2654435761u;
    return mark;
}

static GHashTable *
copy_history (GHashTable *history)
{
    GHashTable *copy = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    gpointer name, path;
    g_hash_table_iter_init (&iter, history);
    while (g_hash_table_iter_next (&iter, &name, &path))
        g_hash_table_insert (copy, g_strdup (name), g_strdup (path));
    return copy;
}

static void
give_keys (Build *build)
{
    guint n = build->drafts->len;
    g_autofree KeyInput *inputs = g_new0 (KeyInput, n + 1);
    g_autofree char **keys = g_new0 (char *, n + 1);
    g_autoptr (GPtrArray) folders = g_ptr_array_new_with_free_func (g_free);
    for (guint i = 0; i < n; i++) {
        const Draft *draft = &g_array_index (build->drafts, Draft, i);
        const Model *model = draft->named.model;
        g_ptr_array_add (folders, path_part (model->path, 1));
        inputs[i] = (KeyInput){ .path = model->path,
                                .publisher = model->publisher,
                                .folder = folders->pdata[i],
                                .stem = draft->named.stem,
                                .quant = model->quant_name,
                                .format = strcmp (model->format, "gguf") == 0 ? "gguf" : "mlx",
                                .mtime = model->mtime };
    }
    /* While answers are missing, names are given for the moment only: what is remembered must not depend on who answers first. */
    gboolean complete = build->catalog->wanted->len == 0 && build->catalog->problems[BUCKET_PENDING]->len == 0;
    build->history = complete ? g_hash_table_ref (build->cache->history) : copy_history (build->cache->history);
    guint before = history_mark (build->cache->history);
    keys_assign (inputs, n, build->scan->partial, keys, build->history);
    build->cache->changed |= before != history_mark (build->cache->history);
    for (guint i = 0; i < n; i++)
        g_array_index (build->drafts, Draft, i).named.model->key = keys[i];
}

/* ---- all of it --------------------------------------------------------------------------------------------------------- */

static int
by_key (gconstpointer a, gconstpointer b)
{
    const Model *x = *(const Model *const *) a, *y = *(const Model *const *) b;
    return strcmp (x->key, y->key);
}

static void
forget_model (gpointer model)
{
    model_unref (model);
}

Catalog *
catalog_new (const Scan *scan, Cache *cache, const char *no_engine)
{
    Catalog *catalog = g_new0 (Catalog, 1);
    catalog->models = g_ptr_array_new_with_free_func (forget_model);
    catalog->loose = g_ptr_array_new_with_free_func (forget_model);
    catalog->names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    catalog->bad_names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    for (int i = BUCKET_CONFLICTS; i < N_BUCKETS; i++)
        catalog->problems[i] = g_ptr_array_new_with_free_func (problem_free);
    catalog->n_files = scan->files->len;
    catalog->bucket_of = g_new0 (guint8, scan->files->len + 1);
    catalog->wanted = g_ptr_array_new ();

    g_autofree Item *items = g_new0 (Item, scan->files->len + 1);
    g_autoptr (GHashTable) paths = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    Build build = { .scan = scan, .cache = cache, .no_engine = no_engine, .catalog = catalog, .items = items };
    build.drafts = g_array_new (FALSE, TRUE, sizeof (Draft));
    for (guint i = 0; i < scan->files->len; i++) {
        items[i].file = scan->files->pdata[i];
        items[i].index = i;
        first_look (&build, &items[i], paths);
    }
    make_drafts (&build);
    attach_projectors (&build);
    give_keys (&build);
    name_entries (&build);
    add_loose_models (&build);
    naming_add_bad (catalog->bad_names, catalog->problems[BUCKET_BAD]);
    for (guint i = 0; i < build.drafts->len; i++) {
        g_ptr_array_add (catalog->models, g_array_index (build.drafts, Draft, i).named.model);
        g_free (g_array_index (build.drafts, Draft, i).named.stem);
    }
    g_ptr_array_sort (catalog->models, by_key);
    g_array_unref (build.drafts);
    g_hash_table_unref (build.history);
    for (guint i = 0; i < scan->files->len; i++)
        name_parts_clear (&items[i].parts);
    return catalog;
}

void
catalog_free (Catalog *catalog)
{
    if (!catalog)
        return;
    g_hash_table_unref (catalog->names);
    g_hash_table_unref (catalog->bad_names);
    g_ptr_array_unref (catalog->models);
    g_ptr_array_unref (catalog->loose);
    for (int i = BUCKET_CONFLICTS; i < N_BUCKETS; i++)
        g_ptr_array_unref (catalog->problems[i]);
    g_clear_pointer (&catalog->wanted, g_ptr_array_unref);
    g_free (catalog->bucket_of);
    g_free (catalog);
}

gboolean
catalog_differs (const Catalog *a, const Catalog *b)
{
    if (a->models->len != b->models->len)
        return TRUE;
    for (guint i = 0; i < a->models->len; i++) {
        const Model *x = a->models->pdata[i], *y = b->models->pdata[i];
        if (strcmp (x->key, y->key) != 0 || strcmp (x->file, y->file) != 0 || x->size_bytes != y->size_bytes ||
            x->mtime != y->mtime || g_strcmp0 (x->projector, y->projector) != 0 || !json_equal (x->inspect, y->inspect))
            return TRUE;
    }
    return FALSE;
}
