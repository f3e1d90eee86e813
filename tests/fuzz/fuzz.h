/* fuzz.h: what a fuzz target is: one function that takes any bytes and must neither crash, leak, nor break its own claims.
 *
 * ./dev fuzz links it to libFuzzer.  ./dev test links it to replay.c, which feeds it the files of corpus/NAME, so that what was found
 * once stays mended: a new finding goes there, under a name that says what it is. */
#pragma once

#include <glib.h>

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);
