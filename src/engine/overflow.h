/* Which messages go when a conversation is longer than the context (spec: http.md 3.5).  Pure.
 *
 * Messages are dropped in units: a user's message, or an assistant's with the tool results that answer its calls, so that no result
 * is left without its call.  System messages and the last unit always stay. */
#pragma once

#include "base/json.h"

typedef enum {
    OVERFLOW_STOP,    /* nothing may go */
    OVERFLOW_MIDDLE,  /* "truncateMiddle": the first user message stays too */
    OVERFLOW_ROLLING, /* "rollingWindow": the oldest go first */
} Overflow;

/* A name that is none, or NULL: OVERFLOW_STOP. */
Overflow overflow_from_name (const char *name);
/* How many units may go. */
guint overflow_n_droppable (const json_t *messages, Overflow policy);
/* The messages without the @n oldest of them; the caller owns the list, the messages are shared. */
json_t *overflow_drop (const json_t *messages, Overflow policy, guint n);
