/* body.c: any bytes as a gzipped body, in pieces; what comes out never exceeds the limit.  The first byte is the size of the pieces. */
#include "fuzz.h"

#include "net/body.h"

#define LIMIT 4096

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    if (size == 0)
        return 0;
    gsize piece = data[0] ? data[0] : size;
    g_autoptr (Body) body = body_new (TRUE, LIMIT);
    BodyStatus status = BODY_OK;
    for (gsize at = 1; at < size && status == BODY_OK; at += MIN (piece, size - at))
        status = body_add (body, (const char *) data + at, MIN (piece, size - at));
    if (status != BODY_OK)
        return 0;
    g_autoptr (GBytes) bytes = NULL;
    status = body_end (body, &bytes);
    g_assert_true ((status == BODY_OK) == (bytes != NULL));
    if (bytes)
        g_assert_cmpuint (g_bytes_get_size (bytes), <=, LIMIT);
    return 0;
}
