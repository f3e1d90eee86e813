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

/* The kernel is asked for a block at a time: every request has a name.  A byte is forgotten when it was used. */
static guint8
next_byte (void)
{
    static _Thread_local guint8 block[512];
    static _Thread_local guint left;
    if (left == 0) {
        ids_random_bytes (block, sizeof block);
        left = sizeof block;
    }
    guint8 byte = block[--left];
    block[left] = 0;
    return byte;
}

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
        guint8 byte = next_byte ();
        if (byte < fair && !(alphabet == IDS_DIGITS && filled == 0 && byte % n == 0))
            id[start + filled++] = letters[byte % n];
    }
    id[start + length] = '\0';
    return id;
}
