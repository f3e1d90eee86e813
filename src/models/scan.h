/* Walking the models folders: what lies there, without a look into any file (spec: disk.md 4.1, 4.2).  Private to models/. */
#pragma once

#include <gio/gio.h>

#define SCAN_MAX_LEVELS  8
#define SCAN_MAX_ENTRIES 100000
#define SCAN_FRESH_MS    2000

/* One .gguf file, or one folder that holds a model in safetensors files. */
typedef struct {
    char *file;   /* absolute, the bytes on disk */
    char *path;   /* below its root, as text (name_text): publisher/model/..; what users see */
    char *name;   /* its last part, as text */
    char **parts; /* safetensors: every file in the folder, absolute; else NULL */
    gboolean is_mlx;
    gboolean classified; /* FALSE: lies above a model folder */
    /* Tells one state of it from the next.  A folder's: sum, newest, a hash over its files. */
    guint64 size_bytes;
    gint64 mtime_ns;
    guint64 inode;
    gboolean fresh; /* changed less than SCAN_FRESH_MS ago: may still be growing */
    gboolean tried; /* was fresh and looked broken: wait for the next scan */
} ScanFile;

/* Something that is no model, and why. */
typedef struct {
    char *path, *reason; /* text */
} Problem;

Problem *problem_new (const char *path, const char *format, ...) G_GNUC_PRINTF (2, 3);
void problem_free (gpointer problem);

typedef struct {
    GPtrArray *files;   /* ScanFile, in the order of roots, then by path; each device and inode once */
    GPtrArray *errors;  /* Problem */
    GPtrArray *folders; /* char *: every folder seen, for the watch; a missing root too */
    guint n_entries;    /* names read */
    gboolean partial;   /* not all was seen: a root is missing, a folder can't be read, too many names */
} Scan;

/* At most @max_entries names are read (0: SCAN_MAX_ENTRIES).  @roots: absolute; one that is missing is an error entry, unless it begins with '?', which is cut off: then it is just empty.  One that begins with '@' is a Hugging Face cache:
 * models--OWNER--REPOSITORY/snapshots/<what refs/main says> is seen as OWNER/REPOSITORY.  Blocks:
 * for the pool.  @cancel ends it early with what it has. */
Scan *scan_run (const char *const *roots, guint max_entries, GCancellable *cancel);
void scan_free (Scan *scan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Scan, scan_free)
