/* handshake.c: see handshake.h. */
#include "net/handshake.h"

#include <string.h>
#include <sys/random.h>

#define KEY_BYTES 16
#define KEY_CHARS 24

char *
handshake_accept (const char *key)
{
    g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA1);
    g_checksum_update (sum, (const guchar *) key, -1);
    g_checksum_update (sum, (const guchar *) "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", -1);
    guint8 digest[20];
    gsize length = sizeof digest;
    g_checksum_get_digest (sum, digest, &length);
    return g_base64_encode (digest, length);
}

gboolean
handshake_key_is_valid (const char *key)
{
    if (strlen (key) != KEY_CHARS)
        return FALSE;
    gsize length;
    g_autofree guchar *bytes = g_base64_decode (key, &length);
    return length == KEY_BYTES;
}

char *
handshake_new_key (void)
{
    guint8 bytes[KEY_BYTES];
    if (getrandom (bytes, sizeof bytes, 0) != sizeof bytes)
        g_error ("the kernel gives no random bytes");
    return g_base64_encode (bytes, sizeof bytes);
}
