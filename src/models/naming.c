/* naming.c: every name that finds an entry, in the order in which they win (http.md 2.1, disk.md 4.5).
 *
 *   key  >  key@quant  >  path, absolute path  >  publisher/model  >  alias  >  bare stem
 *
 * All of them go, lower case, into one table when the catalog is made, so that a look-up is one step.  Prefixes and near matches are
 * in no table: a wrong answer from the wrong model is worse than an error. */
#include "models/naming.h"
#include "models/catalog.h"
#include "models/entry.h"

#include <string.h>

static gboolean
is_small (const Model *model)
{
    gint64 n_params = json_peek_int (model->inspect, "n_params", 0);
    return model->type == MODEL_EMBEDDING || (n_params > 0 && n_params < 1500000000);
}

/* Which of two is meant by a name that fits both: as downloads choose (disk.md 7.4, without regard to memory). */
static gboolean
is_preferred (const Model *model, const Model *over)
{
    gboolean mlx = strcmp (model->format, "gguf") != 0, other_mlx = strcmp (over->format, "gguf") != 0;
    if (mlx != other_mlx)
        return other_mlx; /* what an engine can run */
    guint rank = quant_rank (model->quant_name, is_small (model)),
          other = quant_rank (over->quant_name, is_small (over));
    return rank < other || (rank == other && strcmp (model->key, over->key) < 0);
}

/* Both take @name over. */
static void
offer_name (GHashTable *names, char *name, Model *model)
{
    if (g_hash_table_contains (names, name))
        g_free (name);
    else
        g_hash_table_insert (names, name, model);
}

static void
prefer_name (GHashTable *names, char *name, Model *model)
{
    const Model *over = g_hash_table_lookup (names, name);
    if (over && !is_preferred (model, over))
        g_free (name);
    else
        g_hash_table_replace (names, name, model);
}

static char *
repository_of (const char *path)
{
    g_autofree char *publisher = path_part (path, 0), *folder = path_part (path, 1);
    g_autofree char *joined = g_strconcat (publisher, "/", folder, NULL);
    return name_lower (joined);
}

void
naming_add_paths (GHashTable *names, Model *model)
{
    g_autofree char *file = name_text (model->file);
    offer_name (names, name_lower (model->path), model);
    offer_name (names, name_lower (file), model);
}

void
naming_add_entries (GHashTable *names, const Named *entries, gsize n, GHashTable *history)
{
    g_autoptr (GHashTable) folders = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr (GHashTable) stems = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr (GHashTable) by_path = g_hash_table_new (g_str_hash, g_str_equal);
    for (gsize i = 0; i < n; i++) {
        const Named *entry = &entries[i];
        g_hash_table_insert (names, g_strdup (entry->model->key), entry->model);
        g_hash_table_insert (by_path, entry->model->path, entry->model);
        prefer_name (folders, repository_of (entry->model->path), entry->model);
        prefer_name (stems, g_strdup (entry->stem), entry->model);
    }
    for (gsize i = 0; i < n; i++) {
        Model *model = entries[i].model;
        g_autofree char *variant = g_strconcat (model->key, "@", model->quant_name, NULL);
        if (model->quant_name && !strchr (model->key, '@'))
            offer_name (names, name_lower (variant), model);
    }
    for (gsize i = 0; i < n; i++) {
        Model *model = entries[i].model;
        naming_add_paths (names, model);
    }
    GHashTableIter iter;
    gpointer name, value;
    g_hash_table_iter_init (&iter, folders);
    while (g_hash_table_iter_next (&iter, &name, &value))
        offer_name (names, g_strdup (name), value);
    g_hash_table_iter_init (&iter, history);
    while (g_hash_table_iter_next (&iter, &name, &value)) {
        Model *model = g_hash_table_lookup (by_path, value);
        if (model)
            offer_name (names, g_strdup (name), model);
    }
    g_hash_table_iter_init (&iter, stems);
    while (g_hash_table_iter_next (&iter, &name, &value))
        offer_name (names, g_strdup (name), value);
}

void
naming_add_bad (GHashTable *names, const GPtrArray *bad)
{
    for (guint i = 0; i < bad->len; i++) {
        Problem *problem = bad->pdata[i];
        g_autofree char *name = g_path_get_basename (problem->path);
        char *offers[4] = { name_lower (problem->path), repository_of (problem->path) };
        if (name_is_gguf (name)) {
            g_auto (NameParts) parts = { 0 };
            name_parse (name, &parts);
            g_autofree char *variant = g_strconcat (parts.plain, "@", parts.quant, NULL);
            offers[2] = name_lower (parts.plain);
            offers[3] = parts.quant ? name_lower (variant) : NULL;
        }
        for (guint k = 0; k < G_N_ELEMENTS (offers); k++)
            if (offers[k] && !g_hash_table_contains (names, offers[k]))
                g_hash_table_insert (names, offers[k], problem);
            else
                g_free (offers[k]);
    }
}

const Model *
catalog_find (const Catalog *catalog, const char *name)
{
    g_autofree char *text = name_text (name);
    g_autofree char *lower = name_lower (text);
    return g_hash_table_lookup (catalog->names, lower);
}

const char *
catalog_find_bad (const Catalog *catalog, const char *name)
{
    g_autofree char *text = name_text (name);
    g_autofree char *lower = name_lower (text);
    const Problem *problem = g_hash_table_lookup (catalog->bad_names, lower);
    return problem ? problem->reason : NULL;
}
