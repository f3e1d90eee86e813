/* A temporary folder for one test: made, filled, and gone again with all that is in it. */
#pragma once

#include <glib.h>
#include <glib/gstdio.h>
#include <errno.h>

static inline char *
folder_new (void)
{
    g_autoptr (GError) error = NULL;
    char *path = g_dir_make_tmp ("atelier-test-XXXXXX", &error);
    g_assert_no_error (error);
    return path;
}

static inline void
folder_remove (const char *path)
{
    if (!g_file_test (path, G_FILE_TEST_IS_SYMLINK) && g_file_test (path, G_FILE_TEST_IS_DIR)) {
        g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
        for (const char *name; dir && (name = g_dir_read_name (dir));) {
            g_autofree char *below = g_build_filename (path, name, NULL);
            folder_remove (below);
        }
    }
    g_remove (path);
}

/* Writes @text to @root/@relative, making the folders above it. */
static inline void
folder_put (const char *root, const char *relative, const char *text)
{
    g_autofree char *path = g_build_filename (root, relative, NULL);
    g_autofree char *above = g_path_get_dirname (path);
    g_assert_cmpint (g_mkdir_with_parents (above, 0700), ==, 0);
    g_autoptr (GError) error = NULL;
    g_file_set_contents (path, text, -1, &error);
    g_assert_no_error (error);
}

/* The text of @root/@relative, or NULL when it is missing. */
static inline char *
folder_get (const char *root, const char *relative)
{
    g_autofree char *path = g_build_filename (root, relative, NULL);
    char *text = NULL;
    g_file_get_contents (path, &text, NULL, NULL);
    return text;
}

/* How many files in @root/@relative have names that match @pattern. */
static inline guint
folder_count (const char *root, const char *relative, const char *pattern)
{
    g_autofree char *path = g_build_filename (root, relative, NULL);
    g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
    guint n = 0;
    for (const char *name; dir && (name = g_dir_read_name (dir));)
        n += g_pattern_match_simple (pattern, name);
    return n;
}
