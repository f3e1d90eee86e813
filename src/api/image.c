/* image.c: one walk over the base64, of which only the first bytes are kept: enough to know the format. */
#include "api/image.h"

#include <string.h>

#define HEAD_BYTES 12 /* the longest that any format needs */

static const struct {
    const char *bytes;
    gsize length, at;
} formats[] = {
    { "\x89PNG\r\n\x1a\n", 8, 0 },
    { "\xff\xd8\xff", 3, 0 },
    { "GIF87a", 6, 0 },
    { "GIF89a", 6, 0 },
    { "WEBP", 4, 8 },
    { "BM", 2, 0 },
};

/* Where the base64 begins; NULL: this is no such URL. */
static const char *
find_data (const char *url, gsize length)
{
    const char *comma = memchr (url, ',', length);
    if (!comma)
        return url;
    g_autofree char *header = g_ascii_strdown (url, comma - url);
    return g_str_has_prefix (header, "data:") && g_str_has_suffix (header, ";base64") ? comma + 1 : NULL;
}

static int
digit_of (char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr (digits, c) : NULL;
    return at ? at - digits : -1;
}

gboolean
image_url_is_fine (const char *url, gsize length)
{
    const char *at = find_data (url, length), *end = url + length;
    guint8 head[HEAD_BYTES] = { 0 };
    gsize n_digits = 0, n_padding = 0, n_bytes = 0;
    guint32 bits = 0;
    for (; at && at < end; at++) {
        if (g_ascii_isspace (*at))
            continue;
        int digit = digit_of (*at);
        if (*at == '=' ? ++n_padding > 2 : digit < 0 || n_padding > 0)
            return FALSE;
        if (*at == '=')
            continue;
        bits = bits << 6 | digit;
        if (++n_digits % 4 == 1)
            continue;
        if (n_bytes < HEAD_BYTES)
            head[n_bytes] = bits >> (6 - 2 * ((n_digits - 1) % 4));
        n_bytes++;
    }
    if (n_digits % 4 == 1 || (n_padding > 0 && (n_digits + n_padding) % 4 != 0) || n_bytes > IMAGE_MAX_BYTES)
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
        if (n_bytes >= formats[i].at + formats[i].length &&
            memcmp (head + formats[i].at, formats[i].bytes, formats[i].length) == 0)
            return formats[i].at == 0 || memcmp (head, "RIFF", 4) == 0;
    return FALSE;
}
