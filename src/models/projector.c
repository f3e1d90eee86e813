/* projector.c: the nearest projector, and among the nearest the one that fits best.
 *
 *   pub/model/mmproj-F16.gguf        for everything below model/, unless a deeper folder has its own
 *   pub/model/sub/x-Q4_K_M.gguf
 *   pub/model/sub/mmproj-x-Q8_0.gguf  for x: the same folder */
#include "models/projector.h"
#include "models/names.h"

#include <stdlib.h>
#include <string.h>

static guint
quant_order (const char *quant)
{
    static const char *const order[] = { "F16", "BF16", "Q8_0", "F32" };
    for (guint i = 0; quant && i < G_N_ELEMENTS (order); i++)
        if (strcmp (quant, order[i]) == 0)
            return i;
    return G_N_ELEMENTS (order);
}

static gboolean
names_base (const Projector *projector, const char *plain)
{
    g_autofree char *name = g_path_get_basename (projector->path);
    g_autofree char *lower = name_lower (name), *lower_plain = name_lower (plain);
    return *lower_plain && strstr (lower, lower_plain);
}

static gboolean
is_better (const Projector *a, const Projector *b, const ProjectorHost *host)
{
    gboolean named_a = names_base (a, host->plain), named_b = names_base (b, host->plain);
    if (named_a != named_b)
        return named_a;
    int away_a = abs ((a->quant ? quant_bits (a->quant) : 0) - host->bits);
    int away_b = abs ((b->quant ? quant_bits (b->quant) : 0) - host->bits);
    if (away_a != away_b)
        return away_a < away_b;
    if (quant_order (a->quant) != quant_order (b->quant))
        return quant_order (a->quant) < quant_order (b->quant);
    return strcmp (a->path, b->path) < 0;
}

/* The projectors of a folder, and which different base models look there. */
typedef struct {
    GPtrArray *projectors; /* const Projector */
    GHashTable *bases;     /* lower-case plain names */
} Place;

static void
place_free (gpointer data)
{
    Place *place = data;
    g_ptr_array_unref (place->projectors);
    g_hash_table_unref (place->bases);
    g_free (place);
}

/* The nearest folder with projectors, from the model's own up to publisher/model. */
static Place *
nearest (GHashTable *places, const char *path)
{
    g_autofree char *folder = g_path_get_dirname (path);
    for (;;) {
        Place *place = g_hash_table_lookup (places, folder);
        const char *slash = strchr (folder, '/');
        if (place || !slash || !strchr (slash + 1, '/'))
            return place;
        *strrchr (folder, '/') = '\0';
    }
}

void
projectors_match (const Projector *projectors, gsize n_projectors, ProjectorHost *hosts, gsize n_hosts)
{
    g_autoptr (GHashTable) places = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, place_free);
    for (gsize i = 0; i < n_projectors; i++) {
        g_autofree char *folder = g_path_get_dirname (projectors[i].path);
        Place *place = g_hash_table_lookup (places, folder);
        if (!place) {
            place = g_new0 (Place, 1);
            place->projectors = g_ptr_array_new ();
            place->bases = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
            g_hash_table_insert (places, g_steal_pointer (&folder), place);
        }
        g_ptr_array_add (place->projectors, (gpointer) &projectors[i]);
    }
    for (gsize i = 0; i < n_hosts; i++) {
        Place *place = hosts[i].wants ? nearest (places, hosts[i].path) : NULL;
        if (place)
            g_hash_table_add (place->bases, name_lower (hosts[i].plain));
    }
    for (gsize i = 0; i < n_hosts; i++) {
        ProjectorHost *host = &hosts[i];
        const Place *place = host->wants ? nearest (places, host->path) : NULL;
        for (guint k = 0; place && k < place->projectors->len; k++) {
            const Projector *projector = place->projectors->pdata[k];
            /* One projector and several models: whose is it? */
            if (place->projectors->len == 1 && g_hash_table_size (place->bases) > 1 && projector->basename &&
                host->basename && g_ascii_strcasecmp (projector->basename, host->basename) != 0)
                continue;
            if (!host->chosen || is_better (projector, host->chosen, host))
                host->chosen = projector;
        }
    }
}
