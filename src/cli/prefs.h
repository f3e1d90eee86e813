/* The one thing that `lms` remembers: <home>/.internal/cli-pref.json (spec: cli.md 1.9). */
#pragma once

#include <glib.h>

/* The keys of models in the order of their last load, newest first.  Ended by NULL; the caller frees. */
char **prefs_last_models (void);

/* Moves @key to the front of that list and writes the file.  A failure is logged, not returned: it must not stop a load. */
void prefs_touch_model (const char *key);

/* The list after a load of @key: @key first, no duplicates, at most 20.  Pure; ended by NULL, the caller frees. */
char **prefs_list_touched (const char *const *keys, const char *key);
