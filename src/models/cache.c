/* cache.c: answers that outlive the daemon.
 *
 *   { "version": 1, "engine": "...",
 *     "files": { "/abs/x.gguf": { "size": 4, "mtime": 1786252670392000000, "inode": 7, "answer": { "ok": true, .. } } },
 *     "names": { "qwen3-8b": "publisher/model/x.gguf" } }
 *
 * Read member by member: one that is not of this shape is as if it were not there. */
#include "models/cache.h"
#include "home/home.h"
#include "home/log.h"
#include "models/names.h"

#include <string.h>
#include <sys/stat.h>

#define CACHE_VERSION 1

typedef struct {
    guint64 size_bytes, inode;
    gint64 mtime_ns;
    json_t *answer;
} Known;

static void
known_free (gpointer data)
{
    Known *known = data;
    json_decref (known->answer);
    g_free (known);
}

static Cache *
cache_new (const char *engine)
{
    Cache *cache = g_new0 (Cache, 1);
    cache->known = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, known_free);
    cache->history = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
    cache->engine = g_strdup (engine);
    return cache;
}

void
cache_free (Cache *cache)
{
    if (!cache)
        return;
    g_hash_table_unref (cache->known);
    g_hash_table_unref (cache->history);
    g_free (cache->engine);
    g_free (cache);
}

char *
cache_engine_mark (const char *engine_path)
{
    struct stat st;
    if (stat (engine_path, &st) != 0)
        return g_strdup (engine_path);
    g_autofree char *text = name_text (engine_path);
    return g_strdup_printf ("%s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT ".%09ld", text, (gint64) st.st_size,
                            (gint64) st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void
read_files (Cache *cache, json_t *files)
{
    const char *file;
    json_t *row;
    json_object_foreach (files, file, row) {
        json_t *answer = json_object_get (row, "answer");
        const json_t *size = json_object_get (row, "size"), *mtime = json_object_get (row, "mtime"),
                     *inode = json_object_get (row, "inode");
        if (!json_is_boolean (json_object_get (answer, "ok")) || !json_is_integer (size) || !json_is_integer (mtime) ||
            !json_is_integer (inode))
            continue;
        Known *known = g_new (Known, 1);
        *known = (Known){ json_integer_value (size), json_integer_value (inode), json_integer_value (mtime),
                          json_incref (answer) };
        g_hash_table_replace (cache->known, g_strdup (file), known);
    }
}

Cache *
cache_read (const char *path, const char *engine)
{
    Cache *cache = cache_new (engine);
    g_autoptr (GError) error = NULL;
    g_autoptr (json_t) tree = home_read_object (path, CACHE_MAX_BYTES, &error);
    if (error)
        log_line (LOG_WARN, NULL, "%s; all models are looked at anew.", error->message);
    if (json_peek_int (tree, "version", 0) != CACHE_VERSION)
        return cache;
    const char *name;
    json_t *to;
    json_object_foreach (json_object_get (tree, "names"), name, to)
        if (json_is_string (to))
            g_hash_table_replace (cache->history, g_strdup (name), g_strdup (json_string_value (to)));
    const char *by = json_peek_string (tree, "engine");
    if (by && strcmp (by, engine) == 0)
        read_files (cache, json_object_get (tree, "files"));
    return cache;
}

void
cache_write (Cache *cache, const char *path)
{
    if (!cache->changed)
        return;
    json_t *files = json_object (), *names = json_object ();
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init (&iter, cache->known);
    while (g_hash_table_iter_next (&iter, &key, &value)) {
        const Known *known = value;
        json_object_set_new (files, key,
                             json_pack ("{s:I, s:I, s:I, s:O}", "size", (json_int_t) known->size_bytes, "mtime",
                                        (json_int_t) known->mtime_ns, "inode", (json_int_t) known->inode, "answer",
                                        known->answer));
    }
    g_hash_table_iter_init (&iter, cache->history);
    while (g_hash_table_iter_next (&iter, &key, &value))
        json_object_set_new (names, key, json_string (value));
    g_autoptr (json_t) tree = json_pack ("{s:i, s:s, s:o, s:o}", "version", CACHE_VERSION, "engine", cache->engine,
                                         "files", files, "names", names);
    gsize length;
    g_autofree char *text = json_print (tree, &length);
    g_autoptr (GError) error = NULL;
    if (!home_write_text (path, text, length, 0600, &error)) {
        log_line (LOG_WARN, NULL, "The model index is not kept: %s", error->message);
        return;
    }
    cache->changed = FALSE;
}

json_t *
cache_find (Cache *cache, const ScanFile *file)
{
    g_autofree char *text = name_text (file->file);
    const Known *known = g_hash_table_lookup (cache->known, text);
    if (!known || known->size_bytes != file->size_bytes || known->mtime_ns != file->mtime_ns ||
        known->inode != file->inode)
        return NULL;
    return known->answer;
}

json_t *
cache_find_old (Cache *cache, const ScanFile *file)
{
    g_autofree char *text = name_text (file->file);
    const Known *known = g_hash_table_lookup (cache->known, text);
    return known ? known->answer : NULL;
}

void
cache_put (Cache *cache, const ScanFile *file, json_t *answer)
{
    Known *known = g_new (Known, 1);
    *known = (Known){ file->size_bytes, file->inode, file->mtime_ns, json_incref (answer) };
    g_hash_table_replace (cache->known, name_text (file->file), known);
    cache->changed = TRUE;
}

void
cache_prune (Cache *cache, const Scan *scan)
{
    if (scan->partial && g_hash_table_size (cache->known) < 2 * SCAN_MAX_ENTRIES)
        return; /* a disk that is not plugged in comes back */
    g_autoptr (GHashTable) present = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < scan->files->len; i++)
        g_hash_table_add (present, name_text (((const ScanFile *) scan->files->pdata[i])->file));
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init (&iter, cache->known);
    while (g_hash_table_iter_next (&iter, &key, NULL))
        if (!g_hash_table_contains (present, key)) {
            g_hash_table_iter_remove (&iter);
            cache->changed = TRUE;
        }
}
