/* scan.c: the walk.
 *
 *   root/            level 0
 *     publisher/     1       a .gguf up to here is unclassified
 *       model/       2       from here on it is a model; so is a folder with config.json and safetensors
 *         MTP/..     3 - 8
 *
 * Folders and names are read, files are only asked for their size (fstatat), never opened.  Real folders come before links to folders, so
 * that a file is known by its own path and not by that of a link to it; a folder is entered once, which ends every cycle. */
#include "models/scan.h"
#include "models/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    dev_t device;
    ino_t inode;
} Identity;

/* A link to a folder inside the roots, entered when all real folders are through. */
typedef struct {
    char *file, *path;
    int level;
} Link;

typedef struct {
    Scan *scan;
    GCancellable *cancel;
    const char *const *roots;              /* resolved, without the links they may be reached by */
    GHashTable *seen_files, *seen_folders; /* Identity */
    GQueue links;                          /* Link */
    gint64 now_ns;
    guint max_entries;
    gboolean full; /* they are reached, and that was said */
} Walk;

Problem *
problem_new (const char *path, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    Problem *problem = g_new (Problem, 1);
    problem->path = g_strdup (path);
    problem->reason = g_strdup_vprintf (format, args);
    va_end (args);
    return problem;
}

void
problem_free (gpointer data)
{
    Problem *problem = data;
    g_free (problem->path);
    g_free (problem->reason);
    g_free (problem);
}

static void
file_free (gpointer data)
{
    ScanFile *file = data;
    g_free (file->file);
    g_free (file->path);
    g_free (file->name);
    g_strfreev (file->parts);
    g_free (file);
}

void
scan_free (Scan *scan)
{
    if (!scan)
        return;
    g_ptr_array_unref (scan->files);
    g_ptr_array_unref (scan->errors);
    g_ptr_array_unref (scan->folders);
    g_free (scan);
}

/* ---- small questions --------------------------------------------------------------------------------------------------- */

static guint
identity_hash (gconstpointer key)
{
    const Identity *identity = key;
    return (guint) (identity->inode ^ (identity->inode >> 32) ^ (identity->device * 31));
}

static gboolean
identity_equal (gconstpointer a, gconstpointer b)
{
    const Identity *x = a, *y = b;
    return x->inode == y->inode && x->device == y->device;
}

/* FALSE: was there already. */
static gboolean
add_identity (GHashTable *set, const struct stat *st)
{
    Identity *identity = g_new (Identity, 1);
    *identity = (Identity){ st->st_dev, st->st_ino };
    return g_hash_table_add (set, identity);
}

static gint64
mtime_ns (const struct stat *st)
{
    return (gint64) st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static gboolean
is_fresh (const Walk *walk, gint64 changed_ns)
{
    gint64 age = walk->now_ns - changed_ns;
    return age < SCAN_FRESH_MS * (gint64) 1000000 && age > -SCAN_FRESH_MS * (gint64) 1000000;
}

static gboolean
is_below (const char *path, const char *folder)
{
    gsize n = strlen (folder);
    return strncmp (path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0' || (n > 0 && folder[n - 1] == '/'));
}

static gboolean
is_below_roots (const Walk *walk, const char *path)
{
    for (gsize i = 0; walk->roots[i]; i++)
        if (is_below (path, walk->roots[i]))
            return TRUE;
    return FALSE;
}

static void
complain (Walk *walk, const char *path, const char *reason)
{
    g_ptr_array_add (walk->scan->errors, problem_new (path, "%s", reason));
}

static char *
join_path (const char *above, const char *name)
{
    return *above ? g_strconcat (above, "/", name, NULL) : g_strdup (name);
}

/* ---- one folder -------------------------------------------------------------------------------------------------------- */

static void
add_gguf (Walk *walk, const char *folder, const char *path, const char *name, const struct stat *st, int level)
{
    if (!add_identity (walk->seen_files, st))
        return; /* a twin: hard-linked, or linked to */
    ScanFile *file = g_new0 (ScanFile, 1);
    file->file = g_build_filename (folder, name, NULL);
    file->name = name_text (name);
    file->path = join_path (path, file->name);
    file->classified = level >= 2;
    file->size_bytes = st->st_size;
    file->mtime_ns = mtime_ns (st);
    file->inode = st->st_ino;
    file->fresh = is_fresh (walk, file->mtime_ns);
    g_ptr_array_add (walk->scan->files, file);
}

/* What a folder holds that makes it an MLX model. */
typedef struct {
    gboolean has_config, has_weights;
    guint64 size_bytes;
    guint64 mark; /* of all names, inodes and sizes */
    gint64 mtime_ns;
    GPtrArray *files;
} Mlx;

static void
add_mlx (Walk *walk, const char *folder, const char *path, int level, const struct stat *st, Mlx *mlx)
{
    if (!mlx->has_config || !mlx->has_weights || level < 1)
        return;
    ScanFile *file = g_new0 (ScanFile, 1);
    file->file = g_strdup (folder);
    file->path = g_strdup (path);
    file->name = g_path_get_basename (path);
    file->is_mlx = TRUE;
    file->classified = level >= 2;
    file->size_bytes = mlx->size_bytes;
    file->mtime_ns = mlx->mtime_ns;
    file->inode = mlx->mark;
    file->fresh = is_fresh (walk, file->mtime_ns);
    g_ptr_array_add (mlx->files, NULL);
    file->parts = (char **) g_ptr_array_free (g_steal_pointer (&mlx->files), FALSE);
    g_ptr_array_add (walk->scan->files, file);
}

static void
note_for_mlx (Mlx *mlx, const char *folder, const char *name, const struct stat *st)
{
    mlx->has_config |= strcmp (name, "config.json") == 0;
    mlx->mark = (mlx->mark ^ g_str_hash (name) ^ (st->st_ino << 16) ^ st->st_size) * 1099511628211u;
    mlx->has_weights |= g_str_has_suffix (name, ".safetensors");
    mlx->size_bytes += st->st_size;
    mlx->mtime_ns = MAX (mlx->mtime_ns, mtime_ns (st));
    g_ptr_array_add (mlx->files, g_build_filename (folder, name, NULL));
}

static void enter (Walk *walk, const char *folder, const char *path, int level);

/* A link whose target is @st: a file is a file; a folder is entered later, if it lies within the roots and not above the link. */
static gboolean
follow_link (Walk *walk, const char *folder, const char *path, const char *name, int fd, int level, struct stat *st)
{
    g_autofree char *text = name_text (name);
    g_autofree char *link_path = join_path (path, text);
    if (fstatat (fd, name, st, 0) != 0) {
        complain (walk, link_path,
                  errno == ELOOP ? "a symbolic link that leads back to itself" : "a symbolic link to nothing");
        return FALSE;
    }
    if (S_ISREG (st->st_mode))
        return TRUE;
    g_autofree char *at = g_build_filename (folder, name, NULL);
    char *target = realpath (at, NULL);
    char *here = realpath (folder, NULL);
    if (!S_ISDIR (st->st_mode) || !target || !here)
        complain (walk, link_path, "a symbolic link to something that is neither file nor folder");
    else if (is_below (here, target))
        complain (walk, link_path, "a symbolic link to a folder that it lies in: a cycle");
    else if (!is_below_roots (walk, target))
        complain (walk, link_path,
                  "a symbolic link to a folder outside of the models folders; add that folder to "
                  "lmsd.extraModelFolders in settings.json");
    else {
        Link *link = g_new (Link, 1);
        *link = (Link){ g_steal_pointer (&at), g_steal_pointer (&link_path), level + 1 };
        g_queue_push_tail (&walk->links, link);
    }
    free (target);
    free (here);
    return FALSE;
}

static int
by_name (gconstpointer a, gconstpointer b)
{
    return strcmp (*(char *const *) a, *(char *const *) b);
}

/* The names in a folder that count, sorted, so that two scans of one tree see the same order. */
static GPtrArray *
read_names (Walk *walk, DIR *dir, const char *path)
{
    GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
    for (const struct dirent *entry; (entry = readdir (dir));) {
        if (entry->d_name[0] == '.')
            continue;
        if (walk->scan->n_entries >= walk->max_entries) {
            g_autofree char *reason = g_strdup_printf (
                "the models folders hold more than %u names; what comes behind is not looked at", walk->max_entries);
            complain (walk, path, reason);
            walk->full = walk->scan->partial = TRUE;
            break;
        }
        walk->scan->n_entries++;
        if (!name_is_unfinished (entry->d_name))
            g_ptr_array_add (names, g_strdup (entry->d_name));
    }
    g_ptr_array_sort (names, by_name);
    return names;
}

static void
look_at (Walk *walk, const char *folder, const char *path, const char *name, int fd, int level, Mlx *mlx)
{
    struct stat st;
    if (fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return; /* gone since its name was read */
    if (S_ISLNK (st.st_mode) && !follow_link (walk, folder, path, name, fd, level, &st))
        return;
    if (S_ISDIR (st.st_mode)) {
        g_autofree char *below = g_build_filename (folder, name, NULL);
        g_autofree char *text = name_text (name);
        g_autofree char *below_path = join_path (path, text);
        enter (walk, below, below_path, level + 1);
    } else if (S_ISREG (st.st_mode)) {
        if (name_is_gguf (name))
            add_gguf (walk, folder, path, name, &st, level);
        else
            note_for_mlx (mlx, folder, name, &st);
    } else if (name_is_gguf (name)) {
        g_autofree char *text = name_text (name);
        g_autofree char *odd = join_path (path, text);
        complain (walk, odd, "neither file nor folder");
    }
}

static void
enter (Walk *walk, const char *folder, const char *path, int level)
{
    if (walk->full || g_cancellable_is_cancelled (walk->cancel))
        return;
    if (level > SCAN_MAX_LEVELS) {
        complain (walk, path, "deeper than 8 levels below the models folder; not looked at");
        return;
    }
    int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    DIR *dir = fd >= 0 && fstat (fd, &st) == 0 ? fdopendir (fd) : NULL;
    if (!dir) {
        g_autofree char *reason = g_strdup_printf ("the folder can't be read: %s", g_strerror (errno));
        complain (walk, *path ? path : folder, reason);
        walk->scan->partial = TRUE;
        if (fd >= 0)
            close (fd);
        return;
    }
    if (!add_identity (walk->seen_folders, &st)) {
        closedir (dir);
        return;
    }
    g_ptr_array_add (walk->scan->folders, g_strdup (folder));
    g_autoptr (GPtrArray) names = read_names (walk, dir, path);
    Mlx mlx = { .files = g_ptr_array_new_with_free_func (g_free) };
    for (guint i = 0; i < names->len; i++)
        look_at (walk, folder, path, names->pdata[i], fd, level, &mlx);
    add_mlx (walk, folder, path, level, &st, &mlx);
    g_clear_pointer (&mlx.files, g_ptr_array_unref);
    closedir (dir);
}

/* ---- a Hugging Face cache ---------------------------------------------------------------------------------------------- */

/* The commit that refs/main names; NULL: none that could be a folder's name. */
static char *
main_commit (const char *repository)
{
    g_autofree char *path = g_build_filename (repository, "refs", "main", NULL);
    struct stat st;
    g_autofree char *text = NULL;
    if (stat (path, &st) != 0 || !S_ISREG (st.st_mode) || st.st_size > 256 ||
        !g_file_get_contents (path, &text, NULL, NULL))
        return NULL;
    g_strstrip (text);
    return *text && *text != '.' && !strchr (text, '/') ? g_steal_pointer (&text) : NULL;
}

static void
enter_hf_cache (Walk *walk, const char *hub)
{
    g_autoptr (GDir) dir = g_dir_open (hub, 0, NULL);
    if (!dir)
        return;
    g_ptr_array_add (walk->scan->folders, g_strdup (hub));
    g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
    for (const char *name; names->len < walk->max_entries && (name = g_dir_read_name (dir));)
        if (g_str_has_prefix (name, "models--"))
            g_ptr_array_add (names, g_strdup (name));
    g_ptr_array_sort (names, by_name);
    for (guint i = 0; i < names->len; i++) {
        g_auto (GStrv) parts = g_strsplit (names->pdata[i], "--", 3);
        g_autofree char *repository = g_build_filename (hub, names->pdata[i], NULL);
        g_autofree char *commit = g_strv_length (parts) == 3 ? main_commit (repository) : NULL;
        if (!commit)
            continue;
        g_autofree char *snapshot = g_build_filename (repository, "snapshots", commit, NULL);
        g_autofree char *joined = g_strconcat (parts[1], "/", parts[2], NULL);
        g_autofree char *path = name_text (joined);
        g_ptr_array_add (walk->scan->folders, g_build_filename (repository, "refs", NULL));
        if (g_file_test (snapshot, G_FILE_TEST_IS_DIR))
            enter (walk, snapshot, path, 2);
    }
}

/* ---- all roots --------------------------------------------------------------------------------------------------------- */

static void
enter_root (Walk *walk, const char *root, gboolean optional)
{
    if (g_file_test (root, G_FILE_TEST_IS_DIR)) {
        enter (walk, root, "", 0);
        return;
    }
    if (optional)
        return;
    g_autofree char *text = name_text (root);
    complain (walk, text, "the models folder is missing");
    walk->scan->partial = TRUE;
    g_ptr_array_add (walk->scan->folders, g_strdup (root)); /* so that the watch polls for it */
}

static void
follow_links (Walk *walk)
{
    for (Link *link; (link = g_queue_pop_head (&walk->links));) {
        enter (walk, link->file, link->path, link->level);
        g_free (link->file);
        g_free (link->path);
        g_free (link);
    }
}

Scan *
scan_run (const char *const *roots, guint max_entries, GCancellable *cancel)
{
    Scan *scan = g_new0 (Scan, 1);
    scan->files = g_ptr_array_new_with_free_func (file_free);
    scan->errors = g_ptr_array_new_with_free_func (problem_free);
    scan->folders = g_ptr_array_new_with_free_func (g_free);

    g_autoptr (GPtrArray) resolved = g_ptr_array_new_with_free_func (g_free);
    for (gsize i = 0; roots[i]; i++) {
        char *real = realpath (roots[i] + (*roots[i] != '/'), NULL);
        if (real)
            g_ptr_array_add (resolved, g_strdup (real));
        free (real);
    }
    g_ptr_array_add (resolved, NULL);
    Walk walk = {
        .scan = scan, .cancel = cancel, .roots = (const char *const *) resolved->pdata, .links = G_QUEUE_INIT
    };
    walk.seen_files = g_hash_table_new_full (identity_hash, identity_equal, g_free, NULL);
    walk.seen_folders = g_hash_table_new_full (identity_hash, identity_equal, g_free, NULL);
    walk.max_entries = max_entries ? max_entries : SCAN_MAX_ENTRIES;
    walk.now_ns = g_get_real_time () * 1000;
    for (gsize i = 0; roots[i]; i++) {
        if (*roots[i] == '@')
            enter_hf_cache (&walk, roots[i] + 1);
        else
            enter_root (&walk, roots[i] + (*roots[i] == '?'), *roots[i] == '?');
    }
    follow_links (&walk);
    g_hash_table_unref (walk.seen_files);
    g_hash_table_unref (walk.seen_folders);
    return scan;
}
