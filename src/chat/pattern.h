/* Regular expressions as a grammar can say them. */
#pragma once

#include <glib.h>

/* Rewrites @pattern (ECMA-262, as JSON Schema's `pattern` has it: it may match anywhere) into an equivalent or narrower one of the form
 * ^...$ that llama.cpp's converter takes whole, and whose matches are the inside of a JSON string as it stands: no raw quote, backslash or
 * control character.  The caller frees.  NULL and a sentence in @error (CHAT_ERROR, CHAT_FAIL_INVALID) for what a grammar cannot say:
 * lookaround, back references, word borders, inner anchors, repetitions beyond 2000, and for what is no pattern at all. */
char *pattern_for_grammar (const char *pattern, GError **error);
