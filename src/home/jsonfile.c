/* jsonfile.c: files that are read whole and replaced whole (spec: disk.md 1.1).
 *
 *   settings.json.tmp-4711  ──write, flush──▶  rename over  ──▶  settings.json
 *
 * So nobody ever reads half a file, neither after a crash nor beside us.  A file that does not parse is put aside, never overwritten. */
#include "home/home.h"
#include "home/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#define DEFAULT_MAX_BYTES ((gsize) 16 << 20)

static void
set_file_error (GError **error, int code, const char *path, const char *what)
{
    g_set_error (error, G_FILE_ERROR, g_file_error_from_errno (code), "%s %s: %s", path, what, g_strerror (code));
}

/* The bytes of a regular file.  NULL without @error: it is missing. */
static char *
read_whole (const char *path, gsize max_bytes, gsize *length, GError **error)
{
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO by that name must not hold us up */
    if (fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            set_file_error (error, errno, path, "can't be opened");
        return NULL;
    }
    struct stat st;
    if (fstat (fd, &st) != 0 || !S_ISREG (st.st_mode)) {
        close (fd);
        g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s is no file", path);
        return NULL;
    }
    if ((guint64) st.st_size > max_bytes) {
        close (fd);
        g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                     "%s is %" G_GUINT64_FORMAT " bytes, more than the %" G_GSIZE_FORMAT " that are read", path,
                     (guint64) st.st_size, max_bytes);
        return NULL;
    }
    gsize size = st.st_size, n = 0;
    g_autofree char *text = g_malloc (size + 1);
    while (n < size) {
        gssize got = read (fd, text + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            set_file_error (error, errno, path, "can't be read");
            close (fd);
            return NULL;
        }
        if (got == 0)
            break;
        n += got;
    }
    close (fd);
    text[n] = '\0';
    *length = n;
    return g_steal_pointer (&text);
}

/* NAME.corrupt-<seconds>, or with -2, -3.. behind when that second has seen one already. */
static char *
put_aside (const char *path)
{
    gint64 now = g_get_real_time () / G_USEC_PER_SEC;
    for (int i = 1; i < 1000; i++) {
        g_autofree char *aside = i == 1 ? g_strdup_printf ("%s.corrupt-%" G_GINT64_FORMAT, path, now)
                                        : g_strdup_printf ("%s.corrupt-%" G_GINT64_FORMAT "-%d", path, now, i);
        if (renameat2 (AT_FDCWD, path, AT_FDCWD, aside, RENAME_NOREPLACE) == 0)
            return g_steal_pointer (&aside);
        if (errno == EINVAL) { /* a file system without RENAME_NOREPLACE */
            if (!g_file_test (aside, G_FILE_TEST_EXISTS) && g_rename (path, aside) == 0)
                return g_steal_pointer (&aside);
        } else if (errno != EEXIST) {
            return NULL;
        }
    }
    return NULL;
}

static json_t *
read_or_put_aside (const char *path, gsize max_bytes, gboolean want_object, GError **error)
{
    gsize length = 0;
    g_autofree char *text = read_whole (path, max_bytes ? max_bytes : DEFAULT_MAX_BYTES, &length, error);
    if (!text)
        return NULL;
    g_autoptr (GError) problem = NULL;
    g_autoptr (json_t) value = json_parse (text, length, &problem);
    if (value && (!want_object || json_is_object (value)))
        return g_steal_pointer (&value);
    const char *why = problem ? problem->message : "it holds no object";
    g_autofree char *aside = put_aside (path);
    if (!aside) {
        /* Writing would now destroy it, so this is an error and not a missing file. */
        g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s does not parse (%s) and can't be renamed", path,
                     why);
        return NULL;
    }
    log_line (LOG_WARN, NULL, "%s does not parse (%s); it is now %s.", path, why, aside);
    return NULL;
}

json_t *
home_read_json (const char *path, gsize max_bytes, GError **error)
{
    return read_or_put_aside (path, max_bytes, FALSE, error);
}

json_t *
home_read_object (const char *path, gsize max_bytes, GError **error)
{
    return read_or_put_aside (path, max_bytes, TRUE, error);
}

json_t *
home_peek_json (const char *path, gsize max_bytes)
{
    gsize length = 0;
    g_autofree char *text = read_whole (path, max_bytes ? max_bytes : DEFAULT_MAX_BYTES, &length, NULL);
    return text ? json_parse (text, length, NULL) : NULL;
}

static gboolean
write_all (int fd, const char *text, gsize length)
{
    while (length > 0) {
        gssize n = write (fd, text, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FALSE;
        text += n;
        length -= n;
    }
    return TRUE;
}

/* So that the rename itself survives a power cut.  Some file systems refuse; then there is nothing to flush. */
static void
flush_folder (const char *path)
{
    int fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync (fd);
    close (fd);
}

gboolean
home_write_text (const char *path, const char *text, gssize length, int mode, GError **error)
{
    /* A file kept elsewhere and linked here stays a link. */
    char *resolved = realpath (path, NULL);
    g_autofree char *target = g_strdup (resolved ? resolved : path);
    free (resolved);
    g_autofree char *folder = g_path_get_dirname (target);
    if (g_mkdir_with_parents (folder, 0700) != 0)
        return set_file_error (error, errno, folder, "can't be made"), FALSE;

    g_autofree char *beside = g_strdup_printf ("%s.tmp-%d", target, (int) getpid ());
    g_unlink (beside); /* left by an earlier process of our number */
    int fd = open (beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return set_file_error (error, errno, beside, "can't be made"), FALSE;
    gboolean written =
        write_all (fd, text, length < 0 ? strlen (text) : (gsize) length) && fchmod (fd, mode) == 0 && fsync (fd) == 0;
    int saved = errno;
    if (close (fd) != 0 && written) {
        written = FALSE;
        saved = errno;
    }
    if (written && g_rename (beside, target) != 0) {
        written = FALSE;
        saved = errno;
    }
    if (!written) {
        g_unlink (beside);
        return set_file_error (error, saved, path, "can't be written"), FALSE;
    }
    flush_folder (folder);
    return TRUE;
}

/* 15 digits print 0.8 as it was; only a number that needs more of them asks for the 17 that keep every bit. */
static gboolean
needs_all_digits (const json_t *value)
{
    if (json_is_real (value)) {
        char short_form[64];
        g_snprintf (short_form, sizeof short_form, "%.15g", json_real_value (value));
        return g_ascii_strtod (short_form, NULL) != json_real_value (value);
    }
    if (json_is_array (value)) {
        size_t i;
        json_t *item;
        json_array_foreach ((json_t *) value, i, item)
            if (needs_all_digits (item))
                return TRUE;
    } else if (json_is_object (value)) {
        const char *key;
        json_t *item;
        json_object_foreach ((json_t *) value, key, item)
            if (needs_all_digits (item))
                return TRUE;
    }
    return FALSE;
}

gboolean
home_write_json (const char *path, const json_t *value, int mode, GError **error)
{
    size_t flags = JSON_INDENT (2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION (needs_all_digits (value) ? 17 : 15);
    char *text = json_dumps (value, flags);
    if (!text) {
        g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s can't be written: its content is no JSON", path);
        return FALSE;
    }
    g_autoptr (GString) lines = g_string_new (text);
    free (text);
    g_string_append_c (lines, '\n');
    return home_write_text (path, lines->str, lines->len, mode, error);
}
