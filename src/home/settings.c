/* settings.c: the settings files as they are now.
 *
 *   settings.json ─────────────────┐
 *   .internal/http-server-config ──┼─ settings-read.c ─▶ Settings, lent ─▶ subscribers
 *   .internal/permissions-store ───┘        ▲
 *                                           └── again whenever one of the files is another than it was
 *
 * Nothing is kept of the trees: who writes reads the file first, so keys that others put there in the meantime survive. */
#include "home/home.h"
#include "home/log.h"
#include "home/settings-read.h"
#include "home/watch.h"

#include <stdlib.h>
#include <sys/stat.h>

typedef enum { SETTINGS, HTTP, PERMISSIONS, N_FILES } FileIndex;

static const char *const file_names[N_FILES] = { "settings.json", ".internal/http-server-config.json",
                                                 ".internal/permissions-store.json" };

/* Tells one state of a file from the next without opening it. */
typedef struct {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed, modified;
} Mark;

typedef struct {
    void (*changed) (const Settings *settings, gpointer data);
    gpointer data;
} Subscriber;

struct SettingsStore {
    char *paths[N_FILES];
    Mark marks[N_FILES];
    Settings *current;
    GArray *subscribers; /* Subscriber */
    Watch *watch;
    guint telling; /* idle source, or 0 */
};

static Mark
mark_of (const char *path)
{
    struct stat st;
    if (stat (path, &st) != 0)
        return (Mark){ 0 };
    return (Mark){ st.st_dev, st.st_ino, st.st_size, st.st_ctim, st.st_mtim };
}

static gboolean
same_mark (const Mark *a, const Mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

/* A file that can't be read at all counts as missing here, but a write to it fails: it is read again before. */
static json_t *
read_file (const char *path)
{
    g_autoptr (GError) error = NULL;
    json_t *tree = home_read_object (path, 0, &error);
    if (error)
        log_line (LOG_ERROR, NULL, "%s. Defaults are used.", error->message);
    return tree;
}

static void
read_files (SettingsStore *store)
{
    json_t *trees[N_FILES];
    for (int i = 0; i < N_FILES; i++) {
        store->marks[i] = mark_of (store->paths[i]); /* before the read: a change in between is seen as one */
        trees[i] = read_file (store->paths[i]);
    }
    settings_free (store->current);
    store->current = settings_read (trees[SETTINGS], trees[HTTP], trees[PERMISSIONS], home_peek ());
    for (int i = 0; i < N_FILES; i++)
        json_decref (trees[i]);
}

static gboolean
tell (gpointer data)
{
    SettingsStore *store = data;
    store->telling = 0;
    for (guint i = 0; i < store->subscribers->len; i++) {
        Subscriber *subscriber = &g_array_index (store->subscribers, Subscriber, i);
        subscriber->changed (store->current, subscriber->data);
    }
    return G_SOURCE_REMOVE;
}

static void watch_folders (SettingsStore *store);

static void
read_if_changed (SettingsStore *store)
{
    gboolean changed = FALSE;
    for (int i = 0; i < N_FILES; i++) {
        Mark now = mark_of (store->paths[i]);
        changed |= !same_mark (&now, &store->marks[i]);
    }
    if (!changed)
        return;
    read_files (store);
    watch_folders (store);
    if (!store->telling)
        store->telling = g_idle_add (tell, store);
}

static void
something_changed (gpointer data)
{
    read_if_changed (data);
}

/* The folders of the files, and those of the files that they link to. */
static void
watch_folders (SettingsStore *store)
{
    g_autoptr (GPtrArray) folders = g_ptr_array_new_with_free_func (g_free);
    for (int i = 0; i < N_FILES; i++) {
        char *resolved = realpath (store->paths[i], NULL);
        for (int linked = 0; linked < (resolved ? 2 : 1); linked++) {
            g_autofree char *folder = g_path_get_dirname (linked ? resolved : store->paths[i]);
            if (!g_ptr_array_find_with_equal_func (folders, folder, g_str_equal, NULL))
                g_ptr_array_add (folders, g_steal_pointer (&folder));
        }
        free (resolved);
    }
    g_ptr_array_add (folders, NULL);
    watch_set_folders (store->watch, (const char *const *) folders->pdata);
}

SettingsStore *
settings_store_new (void)
{
    SettingsStore *store = g_new0 (SettingsStore, 1);
    g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
    for (int i = 0; i < N_FILES; i++) {
        store->paths[i] = home_file (file_names[i]);
        g_ptr_array_add (names, g_path_get_basename (store->paths[i]));
        char *resolved = realpath (store->paths[i], NULL);
        if (resolved)
            g_ptr_array_add (names, g_path_get_basename (resolved));
        free (resolved);
    }
    g_ptr_array_add (names, NULL);
    store->subscribers = g_array_new (FALSE, FALSE, sizeof (Subscriber));
    store->watch = watch_new ((const char *const *) names->pdata, something_changed, store);
    watch_folders (store);
    read_files (store);
    return store;
}

void
settings_store_free (SettingsStore *store)
{
    if (!store)
        return;
    g_clear_handle_id (&store->telling, g_source_remove);
    watch_free (store->watch);
    g_array_unref (store->subscribers);
    settings_free (store->current);
    for (int i = 0; i < N_FILES; i++)
        g_free (store->paths[i]);
    g_free (store);
}

const Settings *
settings_get (SettingsStore *store)
{
    return store->current;
}

void
settings_on_changed (SettingsStore *store, void (*changed) (const Settings *settings, gpointer data), gpointer data)
{
    Subscriber subscriber = { changed, data };
    g_array_append_val (store->subscribers, subscriber);
}

void
settings_off_changed (SettingsStore *store, void (*changed) (const Settings *settings, gpointer data), gpointer data)
{
    for (guint i = store->subscribers->len; i-- > 0;) {
        const Subscriber *subscriber = &g_array_index (store->subscribers, Subscriber, i);
        if (subscriber->changed == changed && subscriber->data == data)
            g_array_remove_index (store->subscribers, i);
    }
}

static gboolean
merge_and_write (SettingsStore *store, FileIndex which, const json_t *members, GError **error)
{
    g_autoptr (GError) problem = NULL;
    g_autoptr (json_t) tree = home_read_object (store->paths[which], 0, &problem);
    if (problem)
        return g_propagate_error (error, g_steal_pointer (&problem)), FALSE;
    if (!tree)
        tree = json_object ();
    g_autoptr (json_t) copy = json_deep_copy (members); /* or the tree would share what the caller still changes */
    json_object_update_recursive (tree, copy);
    /* settings.json may hold the hub's tokens, permissions-store.json does. */
    if (!home_write_json (store->paths[which], tree, which == HTTP ? 0644 : 0600, error))
        return FALSE;
    read_if_changed (store);
    return TRUE;
}

gboolean
settings_write_http (SettingsStore *store, const json_t *members, GError **error)
{
    return merge_and_write (store, HTTP, members, error);
}

gboolean
settings_write (SettingsStore *store, const json_t *members, GError **error)
{
    return merge_and_write (store, SETTINGS, members, error);
}
