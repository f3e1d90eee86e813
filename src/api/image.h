/* Images in requests: what counts as one, whichever family it came by (spec: http.md 3.10). */
#pragma once

#include <glib.h>

#define IMAGE_MAX_BYTES (20u * 1024 * 1024) /* of the picture itself */

/* Whether @url is "data:..;base64,.." or bare base64, of at most IMAGE_MAX_BYTES that begin as PNG, JPEG, GIF, WebP or BMP do: the bytes
 * decide, not the header.  Web addresses are not fetched for callers, so they are none. */
gboolean image_url_is_fine (const char *url, gsize length);
