/* What the library said before it aborted (spec: engine.md 11, FATAL). */
#pragma once

#include "link/link.h"

/* From now on last_words writes to @link, which is lent; NULL: to stderr only. */
void last_words_set_link (Link *link);

/* ggml's abort callback: the text of a failed assertion goes out as a FATAL frame and to stderr, by one write each and without an
 * allocation, for nothing can be trusted by then.  Returns; the library aborts the process. */
void last_words (const char *message);
