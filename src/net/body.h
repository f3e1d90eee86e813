/* A request body as it gathers: bytes in any slices, inflated on the way when it came gzipped, never above its limit.  The limit holds
 * for the inflated bytes, so a few kilobytes of gzip cannot become gigabytes here. */
#pragma once

#include <glib.h>

typedef struct Body Body;

typedef enum {
    BODY_OK,
    BODY_TOO_LARGE,
    BODY_BROKEN, /* not gzip, cut short, or with something behind its end */
} BodyStatus;

Body *body_new (gboolean gzip, gsize max_bytes);
void body_free (Body *body);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Body, body_free)

BodyStatus body_add (Body *body, const char *bytes, gsize length);

/* The whole body in @bytes, which the caller unrefs (NULL unless BODY_OK).  Nothing may be added after it. */
BodyStatus body_end (Body *body, GBytes **bytes);
