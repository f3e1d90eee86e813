/* ids.c: random names. */
#include "base/ids.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

void
ids_random_bytes (void *bytes, gsize length)
{
    guint8 *at = bytes;
    while (length > 0) {
        ssize_t n = getrandom (at, length, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            g_error ("getrandom: %s", g_strerror (errno));
        at += n;
        length -= n;
    }
}

static const struct {
    const char *letters;
    guint n;
} alphabets[] = {
    [IDS_LOWER_ALNUM] = { "abcdefghijklmnopqrstuvwxyz0123456789", 36 },
    [IDS_ALNUM] = { "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 62 },
    [IDS_HEX] = { "0123456789abcdef", 16 },
    [IDS_DIGITS] = { "0123456789", 10 },
};

char *
ids_new (const char *prefix, IdsAlphabet alphabet, guint length)
{
    const char *letters = alphabets[alphabet].letters;
    const guint n = alphabets[alphabet].n;
    const guint fair = 256 - 256 % n; /* bytes from here on would favour the first letters */
    gsize start = strlen (prefix);
    char *id = g_malloc (start + length + 1);
    memcpy (id, prefix, start);
    for (guint filled = 0; filled < length;) {
        guint8 pool[64];
        ids_random_bytes (pool, sizeof pool);
        for (guint i = 0; i < sizeof pool && filled < length; i++) {
            if (pool[i] >= fair || (alphabet == IDS_DIGITS && filled == 0 && pool[i] % n == 0))
                continue;
            id[start + filled++] = letters[pool[i] % n];
        }
    }
    id[start + length] = '\0';
    return id;
}
