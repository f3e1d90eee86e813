/* body.c: gathering and inflating (body.h). */
#include "net/body.h"

#include <zlib.h>

#define INFLATE_STEP (16 * 1024)

struct Body {
    GByteArray *bytes;
    gsize max_bytes;
    gboolean gzip;
    gboolean ended; /* the gzip stream told its end */
    z_stream inflater;
};

Body *
body_new (gboolean gzip, gsize max_bytes)
{
    Body *body = g_new0 (Body, 1);
    body->bytes = g_byte_array_new ();
    body->max_bytes = max_bytes;
    body->gzip = gzip;
    if (gzip && inflateInit2 (&body->inflater, 16 + MAX_WBITS) != Z_OK) /* 16: the gzip form, nothing else */
        g_error ("zlib cannot start");
    return body;
}

void
body_free (Body *body)
{
    if (!body)
        return;
    if (body->gzip)
        inflateEnd (&body->inflater);
    if (body->bytes)
        g_byte_array_unref (body->bytes);
    g_free (body);
}

static BodyStatus
inflate_some (Body *body, const char *bytes, gsize length)
{
    body->inflater.next_in = (Bytef *) bytes;
    body->inflater.avail_in = length;
    do {
        if (body->ended)
            return body->inflater.avail_in == 0 ? BODY_OK : BODY_BROKEN;
        /* One byte of room above the limit tells "too large" from "exactly the limit". */
        gsize had = body->bytes->len, room = MIN (INFLATE_STEP, body->max_bytes - had + 1);
        g_byte_array_set_size (body->bytes, had + room);
        body->inflater.next_out = body->bytes->data + had;
        body->inflater.avail_out = room;
        int result = inflate (&body->inflater, Z_NO_FLUSH);
        g_byte_array_set_size (body->bytes, had + room - body->inflater.avail_out);
        if (body->bytes->len > body->max_bytes)
            return BODY_TOO_LARGE;
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return BODY_BROKEN;
        body->ended = result == Z_STREAM_END;
    } while (body->inflater.avail_in > 0 || body->inflater.avail_out == 0);
    return BODY_OK;
}

BodyStatus
body_add (Body *body, const char *bytes, gsize length)
{
    if (body->gzip)
        return inflate_some (body, bytes, length);
    if (length > body->max_bytes - body->bytes->len)
        return BODY_TOO_LARGE;
    g_byte_array_append (body->bytes, (const guint8 *) bytes, length);
    return BODY_OK;
}

BodyStatus
body_end (Body *body, GBytes **bytes)
{
    *bytes = NULL;
    if (body->gzip && !body->ended)
        return BODY_BROKEN;
    *bytes = g_byte_array_free_to_bytes (g_steal_pointer (&body->bytes));
    return BODY_OK;
}
