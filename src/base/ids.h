/* Random names, all from the kernel's CSPRNG (http.md 1.10). */
#pragma once

#include <glib.h>

typedef enum {
    IDS_LOWER_ALNUM, /* a-z0-9 */
    IDS_ALNUM,       /* A-Za-z0-9 */
    IDS_HEX,         /* 0-9a-f */
    IDS_DIGITS       /* 0-9, the first not 0 */
} IdsAlphabet;

/* @prefix followed by @length random characters.  The caller frees with g_free. */
char *ids_new (const char *prefix, IdsAlphabet alphabet, guint length);

/* @length random bytes. */
void ids_random_bytes (void *bytes, gsize length);
