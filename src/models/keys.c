/* keys.c: names that are as short as they can be without meaning two things.
 *
 *   level 0   qwen3-8b, in a group of several qwen3-8b@q4_k_m
 *   level 1   unsloth/qwen3-8b             several publishers have that stem
 *   level 2   unsloth/qwen3-8b-gguf/...    one publisher has it in two folders
 *   level 3   the path
 *
 * Every entry starts at level 0; whoever shares a key goes a level up, until nobody does.  Paths differ, so this ends.  What a file was
 * called before stays its alias (history), so that scripts do not break when a neighbour moves in. */
#include "models/keys.h"
#include "models/names.h"

#include <string.h>

#define MAX_NAMES 100000
#define MAX_NAMES_PER_PATH \
    16 /* a file that changes its name more often loses the oldest of them in no particular order */

typedef struct {
    char *publisher, *folder, *path, *quant; /* lower case; quant may be NULL */
    int level;
    const char *suffix_format; /* "gguf-" in @gguf-q8_0 when two formats have one quant name; or "" */
    gboolean in_group;         /* of several: its publisher has the stem more than once */
    gboolean in_folder_group;  /* the same, within its folder */
} Work;

static void
work_clear (gpointer data)
{
    Work *work = data;
    g_free (work->publisher);
    g_free (work->folder);
    g_free (work->path);
    g_free (work->quant);
}

static char *
suffix_of (const KeyInput *input, const Work *work)
{
    gboolean two_formats = *work->suffix_format != '\0';
    return g_strdup_printf ("@%s%s%s", two_formats ? input->format : "", two_formats ? "-" : "",
                            work->quant ? work->quant : input->format);
}

static char *
key_of (const KeyInput *input, const Work *work)
{
    g_autofree char *suffix = suffix_of (input, work);
    switch (work->level) {
    case 0:
        return g_strconcat (input->stem, work->in_group ? suffix : "", NULL);
    case 1:
        return g_strconcat (work->publisher, "/", input->stem, work->in_group ? suffix : "", NULL);
    case 2:
        return g_strconcat (work->publisher, "/", work->folder, "/", input->stem, work->in_folder_group ? suffix : "",
                            NULL);
    default:
        return g_strdup (work->path);
    }
}

/* A list of indices under a name. */
static void
gather (GHashTable *table, char *name, gsize index)
{
    GArray *list = g_hash_table_lookup (table, name);
    if (!list) {
        list = g_array_new (FALSE, FALSE, sizeof (gsize));
        g_hash_table_insert (table, name, list);
    } else {
        g_free (name);
    }
    g_array_append_val (list, index);
}

static GHashTable *
table_of_lists (void)
{
    return g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_array_unref);
}

#define AT(list, i) (g_array_index (list, gsize, i))

/* Finds the groups: same publisher and stem, and the same within a folder. */
static void
find_groups (const KeyInput *inputs, gsize n, Work *work)
{
    g_autoptr (GHashTable) groups = table_of_lists ();
    g_autoptr (GHashTable) folder_groups = table_of_lists ();
    for (gsize i = 0; i < n; i++) {
        gather (groups, g_strconcat (work[i].publisher, "/", inputs[i].stem, NULL), i);
        gather (folder_groups, g_strconcat (work[i].publisher, "/", work[i].folder, "/", inputs[i].stem, NULL), i);
    }
    GHashTableIter iter;
    GArray *list;
    g_hash_table_iter_init (&iter, groups);
    while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &list)) {
        g_autoptr (GHashTable) format_of = g_hash_table_new (g_str_hash, g_str_equal); /* quant -> first format */
        g_autoptr (GHashTable) shared = g_hash_table_new (g_str_hash, g_str_equal);    /* quants of two formats */
        for (guint k = 0; k < list->len; k++) {
            Work *w = &work[AT (list, k)];
            w->in_group = list->len > 1;
            if (!w->quant)
                continue;
            const char *format = inputs[AT (list, k)].format;
            const char *other = g_hash_table_lookup (format_of, w->quant);
            if (!other)
                g_hash_table_insert (format_of, w->quant, (gpointer) format);
            else if (strcmp (other, format) != 0)
                g_hash_table_add (shared, w->quant);
        }
        for (guint k = 0; k < list->len; k++) {
            Work *w = &work[AT (list, k)];
            w->suffix_format = w->quant && g_hash_table_contains (shared, w->quant) ? inputs[AT (list, k)].format : "";
        }
    }
    g_hash_table_iter_init (&iter, folder_groups);
    while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &list))
        for (guint k = 0; k < list->len; k++)
            work[AT (list, k)].in_folder_group = list->len > 1;
}

/* Several publishers have one stem: all their entries are named with the publisher, whether in groups or not, or the bare stem would
 * mean one of them by chance. */
static void
raise_shared_stems (const KeyInput *inputs, gsize n, Work *work)
{
    g_autoptr (GHashTable) stems = table_of_lists ();
    for (gsize i = 0; i < n; i++)
        gather (stems, g_strdup (inputs[i].stem), i);
    GHashTableIter iter;
    GArray *list;
    g_hash_table_iter_init (&iter, stems);
    while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &list)) {
        gboolean several = FALSE;
        for (guint k = 1; k < list->len && !several; k++)
            several = strcmp (work[AT (list, k)].publisher, work[AT (list, 0)].publisher) != 0;
        for (guint k = 0; several && k < list->len; k++)
            work[AT (list, k)].level = 1;
    }
}

/* One round over equal keys; FALSE when there were none. */
static gboolean
raise_equal_keys (const KeyInput *inputs, gsize n, Work *work)
{
    g_autoptr (GHashTable) keys = table_of_lists ();
    for (gsize i = 0; i < n; i++)
        gather (keys, key_of (&inputs[i], &work[i]), i);
    gboolean raised = FALSE;
    GHashTableIter iter;
    GArray *list;
    g_hash_table_iter_init (&iter, keys);
    while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &list)) {
        if (list->len < 2)
            continue;
        int lowest = 3;
        for (guint k = 0; k < list->len; k++)
            lowest = MIN (lowest, work[AT (list, k)].level);
        for (guint k = 0; k < list->len; k++) {
            Work *w = &work[AT (list, k)];
            /* Only the shortest names must give way; those below one publisher skip the level that can't tell them apart. */
            if (w->level == lowest && w->level < 3) {
                w->level++;
                raised = TRUE;
            }
        }
    }
    return raised;
}

/* A stem that several publishers have and that nobody was called yet goes to the oldest file (disk.md, check 10). */
static void
give_bare_stems (const KeyInput *inputs, gsize n, const Work *work, GHashTable *taken, GHashTable *history)
{
    g_autoptr (GHashTable) oldest = g_hash_table_new (g_str_hash, g_str_equal); /* stem -> index + 1 */
    for (gsize i = 0; i < n; i++) {
        if (work[i].level == 0 || g_hash_table_contains (taken, inputs[i].stem) ||
            g_hash_table_contains (history, inputs[i].stem))
            continue;
        gsize other = GPOINTER_TO_SIZE (g_hash_table_lookup (oldest, inputs[i].stem));
        if (other == 0 || inputs[i].mtime < inputs[other - 1].mtime ||
            (inputs[i].mtime == inputs[other - 1].mtime && strcmp (work[i].path, work[other - 1].path) < 0))
            g_hash_table_insert (oldest, (gpointer) inputs[i].stem, GSIZE_TO_POINTER (i + 1));
    }
    GHashTableIter iter;
    gpointer stem, index;
    g_hash_table_iter_init (&iter, oldest);
    while (g_hash_table_iter_next (&iter, &stem, &index))
        g_hash_table_insert (history, g_strdup (stem), g_strdup (inputs[GPOINTER_TO_SIZE (index) - 1].path));
}

static void
update_history (const KeyInput *inputs, gsize n, gboolean keep_absent, const Work *work, char **keys,
                GHashTable *history)
{
    g_autoptr (GHashTable) taken = g_hash_table_new (g_str_hash, g_str_equal);  /* key -> path */
    g_autoptr (GHashTable) counts = g_hash_table_new (g_str_hash, g_str_equal); /* path -> names, from 1 */
    for (gsize i = 0; i < n; i++) {
        g_hash_table_insert (taken, keys[i], (gpointer) inputs[i].path);
        g_hash_table_insert (counts, (gpointer) inputs[i].path, GINT_TO_POINTER (1));
    }
    GHashTableIter iter;
    gpointer name, path;
    g_hash_table_iter_init (&iter, history);
    while (g_hash_table_iter_next (&iter, &name, &path)) {
        int count = GPOINTER_TO_INT (g_hash_table_lookup (counts, path));
        const char *owner = g_hash_table_lookup (taken, name);
        if (count == 0 && keep_absent && !owner && g_hash_table_size (history) < MAX_NAMES)
            continue;
        if (count == 0 || count > MAX_NAMES_PER_PATH || owner) {
            g_hash_table_iter_remove (&iter); /* a present key is put back below */
            continue;
        }
        g_hash_table_insert (counts, path, GINT_TO_POINTER (count + 1));
    }
    give_bare_stems (inputs, n, work, taken, history);
    for (gsize i = 0; i < n; i++)
        g_hash_table_replace (history, g_strdup (keys[i]), g_strdup (inputs[i].path));
}

void
keys_assign (const KeyInput *inputs, gsize n, gboolean keep_absent, char **keys, GHashTable *history)
{
    g_autoptr (GArray) array = g_array_sized_new (FALSE, TRUE, sizeof (Work), n);
    g_array_set_clear_func (array, work_clear);
    g_array_set_size (array, n);
    Work *work = (Work *) array->data;
    for (gsize i = 0; i < n; i++) {
        work[i].publisher = name_lower (inputs[i].publisher);
        work[i].folder = name_lower (inputs[i].folder);
        work[i].path = name_lower (inputs[i].path);
        work[i].quant = inputs[i].quant ? name_lower (inputs[i].quant) : NULL;
        work[i].suffix_format = "";
    }
    find_groups (inputs, n, work);
    raise_shared_stems (inputs, n, work);
    while (raise_equal_keys (inputs, n, work))
        ;
    for (gsize i = 0; i < n; i++)
        keys[i] = key_of (&inputs[i], &work[i]);
    update_history (inputs, n, keep_absent, work, keys, history);
}
