/* Words that are nearly right: which model a few letters mean, and which command a slip of the finger meant (spec: cli.md 1.6, 1.7). */
#pragma once

#include <glib.h>

/* How well the letters of @pattern, in order and ignoring case, are found in @text, taken greedily from the left.  -1: not at all.
 * Runs of neighbours weigh more; a text equal to the pattern scores INFINITY; an empty pattern matches everything with 0. */
double fuzzy_score (const char *pattern, const char *text);

/* The byte offsets in @text of the letters that matched, for highlighting.  NULL when nothing does; the caller unrefs. */
GArray *fuzzy_positions (const char *pattern, const char *text);

/* The indices of the @n texts that match, best first; equal scores keep their order.  An array of guint; the caller unrefs. */
GArray *fuzzy_rank (const char *pattern, const char *const *texts, guint n);

/* Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.  Lengths that differ by more than
 * 3 give the longer length. */
guint fuzzy_distance (const char *a, const char *b);

/* The candidates (ended by NULL) nearest to @word, sorted, when they are near enough to be meant: at most 3 edits, and more than 40 %
 * of the longer word unchanged.  Ended by NULL, maybe empty; the caller frees. */
char **fuzzy_suggest (const char *word, const char *const *candidates);
