/* prefs.c: the list of models loaded last, kept beside whatever else the official program keeps in the same file. */
#include "cli/prefs.h"

#include "cli/terminal.h"
#include "home/home.h"

#include <string.h>

#define MAX_LAST_MODELS 20

static char *
prefs_path (void)
{
    return g_build_filename (home_peek (), ".internal", "cli-pref.json", NULL);
}

/* The file as an object; unreadable or broken: the defaults, and a word in the log. */
static json_t *
prefs_read (void)
{
    g_autofree char *path = prefs_path ();
    json_t *prefs = home_peek_json (path, 0);
    if (json_is_object (prefs))
        return prefs;
    if (prefs || g_file_test (path, G_FILE_TEST_EXISTS))
        say_debug ("%s cannot be read; defaults are used", path);
    json_decref (prefs);
    return json_pack ("{s:b, s:b, s:[]}", "autoLaunchMinimizedWarned", FALSE, "importWillMoveWarned", FALSE,
                      "lastLoadedModels");
}

char **
prefs_last_models (void)
{
    g_autoptr (json_t) prefs = prefs_read ();
    g_autoptr (GStrvBuilder) keys = g_strv_builder_new ();
    size_t i;
    json_t *key;
    json_array_foreach (json_object_get (prefs, "lastLoadedModels"), i, key)
        if (json_is_string (key))
            g_strv_builder_add (keys, json_string_value (key));
    return g_strv_builder_end (keys);
}

char **
prefs_list_touched (const char *const *keys, const char *key)
{
    g_autoptr (GStrvBuilder) list = g_strv_builder_new ();
    guint n = 1;
    g_strv_builder_add (list, key);
    for (; *keys && n < MAX_LAST_MODELS; keys++)
        if (strcmp (*keys, key) != 0) {
            g_strv_builder_add (list, *keys);
            n++;
        }
    return g_strv_builder_end (list);
}

void
prefs_touch_model (const char *key)
{
    g_autoptr (json_t) prefs = prefs_read ();
    g_auto (GStrv) old = prefs_last_models ();
    g_auto (GStrv) keys = prefs_list_touched ((const char *const *) old, key);
    json_t *list = json_array ();
    for (guint i = 0; keys[i]; i++)
        json_array_append_new (list, json_string (keys[i]));
    json_object_set_new (prefs, "lastLoadedModels", list);

    g_autofree char *path = prefs_path ();
    g_autoptr (GError) error = NULL;
    if (!home_write_json (path, prefs, 0600, &error))
        say_warn ("Cannot remember the last loaded model: %s", error->message);
}
