/* What happens to a reply's bytes before they are text: characters are made whole, stop strings are found, reasoning is counted.
 * Pure: bytes in, bytes out, and the answer never depends on how the bytes were cut.  Spec: http.md 3.3, 3.7; engine.md 11. */
#pragma once

#include <glib.h>

/* ---- characters ---------------------------------------------------------------------------------------------------------- */

/* Lets only whole UTF-8 characters through.  A token may end inside a character: its bytes wait here for the next one.  What can be
 * no character becomes U+FFFD, one for each maximal part (Unicode 15, 3.9, "best practice").  { 0 } is the start. */
typedef struct {
    char held[4];
    guint n_held;
} TextGate;

/* Appends to @out what has become whole. */
void text_gate_feed (TextGate *gate, const char *bytes, gsize n_bytes, GString *out);
/* The reply is over: what is held will never be whole. */
void text_gate_finish (TextGate *gate, GString *out);

/* ---- stop strings -------------------------------------------------------------------------------------------------------- */

/* Finds the first of several strings in a text that comes in pieces.  First is the one whose end comes first; of two that end
 * together the longer one.  Text that might become a stop string is held back until it does or does not. */
typedef struct TextStops TextStops;

/* @strings: NULL-terminated, copied; empty ones are passed over.  No strings: everything goes through at once. */
TextStops *text_stops_new (const char *const *strings);
void text_stops_free (TextStops *stops);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TextStops, text_stops_free)

/* Appends to @out the text that is safe.  Returns the stop string that ended it, lent, or NULL; after one was found everything that
 * is fed is swallowed and the same string returned. */
const char *text_stops_feed (TextStops *stops, const char *text, gsize length, GString *out);
/* What is held back is no stop string after all (the text ends, or something else comes between). */
void text_stops_flush (TextStops *stops, GString *out);
/* Forgets everything but the strings. */
void text_stops_reset (TextStops *stops);

/* ---- reasoning ----------------------------------------------------------------------------------------------------------- */

/* Counts the tokens of a reply's reasoning, the marks included.  It begins with the reply (white space may come first) or is open
 * already, because the prompt ends inside; the first end mark closes it for good. */
typedef struct TextThinking TextThinking;

/* @start "" and not @open: the format has no reasoning.  @ends: NULL-terminated, copied. */
TextThinking *text_thinking_new (const char *start, const char *const *ends, gboolean open);
void text_thinking_free (TextThinking *thinking);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TextThinking, text_thinking_free)

/* The next token and its bytes. */
void text_thinking_token (TextThinking *thinking, const char *bytes, gsize n_bytes);
int text_thinking_count (const TextThinking *thinking);
