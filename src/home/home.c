/* home.c: where <home> is.
 *
 *   LMS_HOME ──▶ ~/.lmstudio-home-pointer ──▶ ~/.cache/lm-studio ──▶ ~/.lmstudio
 *                                             └────── and the pointer file is written ──────┘
 *
 * The first that is there wins, once for the life of the program.  What lies in the folder is jsonfile.c's and its callers' matter. */
#include "home/home.h"
#include "home/log.h"
#include "home/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <glib/gstdio.h>

#define POINTER_NAME      ".lmstudio-home-pointer"
#define POINTER_MAX_BYTES 8192 /* two paths; whatever is longer is no pointer */

/* The trimmed text of the pointer file; NULL when there is none, or it holds no text. */
static char *
read_pointer (const char *pointer)
{
    struct stat st;
    if (stat (pointer, &st) != 0 || !S_ISREG (st.st_mode) || st.st_size > POINTER_MAX_BYTES)
        return NULL;
    g_autofree char *text = NULL;
    if (!g_file_get_contents (pointer, &text, NULL, NULL))
        return NULL;
    g_strstrip (text);
    return *text ? g_steal_pointer (&text) : NULL;
}

char *
home_place (const char *lms_home, const char *user_home, gboolean write, GError **error)
{
    if (lms_home && *lms_home) {
        if (g_path_is_absolute (lms_home))
            return g_canonicalize_filename (lms_home, "/");
        g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "LMS_HOME must be an absolute path, not '%s'.", lms_home);
        return NULL;
    }
    char *resolved = realpath (user_home, NULL);
    g_autofree char *user = g_strdup (resolved ? resolved : user_home);
    free (resolved);
    g_autofree char *pointer = g_build_filename (user, POINTER_NAME, NULL);
    g_autofree char *named = read_pointer (pointer);
    if (named && g_path_is_absolute (named))
        return g_canonicalize_filename (named, "/");
    if (named)
        log_line (LOG_WARN, NULL, "%s holds '%s', which is no absolute path; it is not used.", pointer, named);

    g_autofree char *old = g_build_filename (user, ".cache", "lm-studio", NULL);
    char *home =
        g_file_test (old, G_FILE_TEST_IS_DIR) ? g_steal_pointer (&old) : g_build_filename (user, ".lmstudio", NULL);
    g_autoptr (GError) problem = NULL;
    /* A pointer that we do not understand is left to whoever wrote it. */
    if (write && !named && !home_write_text (pointer, home, -1, 0644, &problem))
        log_line (LOG_WARN, NULL, "The home pointer is not written: %s", problem->message);
    return home;
}

static char *decided;

const char *
home_peek (void)
{
    if (decided)
        return decided;
    /* Kept apart from `decided`: a program that peeks first and then starts a daemon's work still makes what home_path makes. */
    static char *peeked;
    if (!peeked)
        peeked = home_place (g_getenv ("LMS_HOME"), g_get_home_dir (), FALSE, NULL);
    if (!peeked)
        peeked = g_canonicalize_filename (g_getenv ("LMS_HOME"), NULL);
    return peeked;
}

static gboolean
make_folder (const char *path, GError **error)
{
    if (g_mkdir_with_parents (path, 0700) == 0)
        return TRUE;
    int saved = errno;
    g_set_error (error, G_FILE_ERROR, g_file_error_from_errno (saved), "The folder %s can't be made: %s", path,
                 g_strerror (saved));
    return FALSE;
}

const char *
home_path (GError **error)
{
    if (decided)
        return decided;
    g_autofree char *home = home_place (g_getenv ("LMS_HOME"), g_get_home_dir (), TRUE, error);
    if (!home)
        return NULL;
    g_autofree char *ours = g_build_filename (home, ".internal", "lmsd", NULL);
    if (!g_file_test (home, G_FILE_TEST_IS_DIR) && !(g_getenv ("LMS_HOME") && *g_getenv ("LMS_HOME")) &&
        !g_str_has_suffix (home, "/.lmstudio"))
        log_line (LOG_WARN, NULL, "The home folder %s is missing; it is made.", home);
    if (!make_folder (ours, error))
        return NULL;
    decided = g_steal_pointer (&home);
    return decided;
}

char *
home_file (const char *relative)
{
    return g_build_filename (home_peek (), relative, NULL);
}
