/* last_words.c: the one frame that is written past the link's queue.
 *
 * Where the socket has taken only a part of another frame, words in between would be read as that frame's payload; then they go to
 * stderr alone, and the daemon learns from the end of the link. */
#include "engine/last_words.h"

#include <string.h>
#include <unistd.h>

#define MAX_WORDS 1024

static Link *words_link;

void
last_words_set_link (Link *link)
{
    words_link = link;
}

void
last_words (const char *message)
{
    guint8 frame[LINK_HEADER_SIZE + MAX_WORDS];
    const gsize length = strnlen (message, MAX_WORDS - 1);
    memcpy (frame + LINK_HEADER_SIZE, message, length);
    if (words_link && link_queued_bytes (words_link) == 0) {
        link_pack_header (frame, LINK_FATAL, 0, 0, length);
        if (write (link_fd (words_link), frame, LINK_HEADER_SIZE + length) < 0)
            words_link = NULL; /* nothing else can be done */
    }
    frame[LINK_HEADER_SIZE + length] = '\n';
    if (write (STDERR_FILENO, frame + LINK_HEADER_SIZE, length + 1) < 0)
        words_link = NULL;
}
