/* world.h: a home with models in it, and an index over it, with inspect-double in the engine's place: a "model" there is a text file that
 * holds its own --inspect answer. */
#pragma once

#include "home/home.h"
#include "models/index.h"

#include "folder.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static char *sandbox, *double_path;

#define LLM        "{\"ok\":true,\"arch\":\"llama\",\"n_ctx_train\":4096}"
#define EMBEDDER   "{\"ok\":true,\"arch\":\"bert\",\"n_ctx_train\":512}"
#define PROJECTOR  "{\"ok\":true,\"arch\":\"clip\",\"type\":\"mmproj\",\"clip\":{\"vision\":true,\"audio\":false}}"
#define PART(n, m) "{\"ok\":true,\"split\":{\"no\":" #n ",\"count\":" #m ",\"tensors\":9}}"
#define PART_1(m)  "{\"ok\":true,\"arch\":\"llama\",\"split\":{\"no\":0,\"count\":" #m ",\"tensors\":9}}"

/* ---- a world: a home, its models, an index ----------------------------------------------------------------------------- */

typedef struct {
    GMainLoop *loop;
    SettingsStore *settings;
    Models *models;
    guint changes;
} World;

static inline gboolean
give_up (gpointer data)
{
    g_error ("nothing happened in time");
    return G_SOURCE_REMOVE;
}

static inline void
wait_for_loop (World *w)
{
    guint timer = g_timeout_add (30000, give_up, NULL);
    g_main_loop_run (w->loop);
    g_source_remove (timer);
}

static inline void
quit (gpointer data)
{
    g_main_loop_quit (((World *) data)->loop);
}

static inline void
count_change (gpointer data)
{
    ((World *) data)->changes++;
}

static inline void
start (World *w)
{
    w->settings = settings_store_new ();
    w->models = models_new (w->settings, double_path);
    models_on_changed (w->models, count_change, w);
    g_assert_false (models_is_ready (w->models));
    models_when_ready (w->models, quit, w);
    wait_for_loop (w);
    g_assert_true (models_is_ready (w->models));
}

static inline void
stop (World *w)
{
    g_clear_pointer (&w->models, models_free);
    g_clear_pointer (&w->settings, settings_store_free);
}

static inline void
rescan (World *w)
{
    models_rescan (w->models, quit, w);
    wait_for_loop (w);
}

static inline void
set_up (World *w, gconstpointer data)
{
    w->loop = g_main_loop_new (NULL, FALSE);
    w->changes = 0;
    g_autofree char *home = g_build_filename (sandbox, "home", NULL);
    folder_remove (home);
    g_autofree char *ours = g_build_filename (home, ".internal/lmsd", NULL);
    g_assert_cmpint (g_mkdir_with_parents (ours, 0700), ==, 0);
}

static inline void
tear_down (World *w, gconstpointer data)
{
    stop (w);
    while (g_main_context_iteration (NULL, FALSE))
        ;
    g_main_loop_unref (w->loop);
}

/* ---- putting files there ----------------------------------------------------------------------------------------------- */

/* Old enough that nobody takes it for a copy in progress. */
static inline void
age (const char *path, gint64 seconds)
{
    gint64 now = g_get_real_time () / G_USEC_PER_SEC;
    struct timespec times[2] = { { now - seconds, 5 }, { now - seconds, 5 } };
    g_assert_cmpint (utimensat (AT_FDCWD, path, times, 0), ==, 0);
}

static inline char *
in_home (const char *relative)
{
    return g_build_filename (sandbox, "home", relative, NULL);
}

static inline void
put_aged (const char *relative, const char *text, gint64 seconds)
{
    g_autofree char *path = in_home (relative);
    g_autofree char *above = g_path_get_dirname (path);
    g_assert_cmpint (g_mkdir_with_parents (above, 0700), ==, 0);
    g_assert_true (g_file_set_contents (path, text, -1, NULL));
    age (path, seconds);
}

/* @relative: below the home. */
static inline void
put (const char *relative, const char *text)
{
    put_aged (relative, text, 100);
}

/* ---- looking at it ----------------------------------------------------------------------------------------------------- */

static inline char *
keys_of (World *w)
{
    GString *keys = g_string_new (NULL);
    const GPtrArray *list = models_list (w->models);
    for (guint i = 0; i < list->len; i++)
        g_string_append_printf (keys, "%s%s", i ? " " : "", ((const Model *) list->pdata[i])->key);
    return g_string_free (keys, FALSE);
}

static inline void
assert_keys (World *w, const char *expected)
{
    g_autofree char *keys = keys_of (w);
    g_assert_cmpstr (keys, ==, expected);
}

/* Runs the loop until the list is @expected: nobody is asked to look. */
static inline void
wait_for_keys (World *w, const char *expected)
{
    guint timer = g_timeout_add (30000, give_up, NULL);
    for (;;) {
        g_autofree char *keys = keys_of (w);
        if (strcmp (keys, expected) == 0)
            break;
        g_main_context_iteration (NULL, TRUE);
    }
    g_source_remove (timer);
}

static inline void
assert_found (World *w, const char *name, const char *path)
{
    const Model *model = models_find (w->models, name);
    g_test_message ("%s", name);
    g_assert_cmpstr (model ? model->path : NULL, ==, path);
}

static inline const Problem *
find_problem (const GPtrArray *problems, const char *path)
{
    for (guint i = 0; i < problems->len; i++)
        if (strcmp (((const Problem *) problems->pdata[i])->path, path) == 0)
            return problems->pdata[i];
    return NULL;
}

static inline void
assert_problem (World *w, Bucket bucket, const char *path, const char *reason)
{
    const Problem *problem = find_problem (models_catalog (w->models)->problems[bucket], path);
    g_assert_nonnull (problem);
    g_assert_nonnull (strstr (problem->reason, reason));
}

/* ---- the program ------------------------------------------------------------------------------------------------------- */

#define ADD(name, function) g_test_add (name, World, NULL, set_up, function, tear_down)

static inline void
world_init (int *argc, char ***argv)
{
    sandbox = folder_new ();
    g_autofree char *home = g_build_filename (sandbox, "home", NULL);
    g_setenv ("HOME", sandbox, TRUE);
    g_setenv ("LMS_HOME", home, TRUE);
    g_test_init (argc, argv, NULL);
    double_path = g_test_build_filename (G_TEST_BUILT, "inspect-double", NULL);
    g_assert_nonnull (home_path (NULL));
}

static inline int
world_end (int failed)
{
    folder_remove (sandbox);
    g_free (sandbox);
    g_free (double_path);
    return failed;
}
