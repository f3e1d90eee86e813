/* Which key each entry gets, and which older names go on meaning it (spec: disk.md 4.5).  Pure.  Private to models/. */
#pragma once

#include <glib.h>

typedef struct {
    const char *path;      /* identity: unique without case; what history remembers */
    const char *publisher; /* any case */
    const char *folder;    /* the model folder, any case */
    const char *stem;      /* lower case, with text-embedding- where it belongs */
    const char *quant;     /* any case, or NULL */
    const char *format;
    gint64 mtime; /* tells the older of two */
} KeyInput;

/* Fills keys[i] for inputs[i]; the caller frees each.  No two are equal.
 *
 * @history: every name that was once given -> the path it was given to (char *, char *, both owned); changed in place.  After the call it
 * holds the present keys and those older names whose file is still among the inputs and that nobody else has as a key now: these
 * are the aliases.  Names of files that are gone are forgotten; with @keep_absent (the folders were not all there) only when nobody else
 * takes them. */
void keys_assign (const KeyInput *inputs, gsize n, gboolean keep_absent, char **keys, GHashTable *history);
