/* Questions to the person at the terminal, drawn on stderr, read from stdin (spec: cli.md 1.7). */
#pragma once

#include <glib.h>

/* FALSE where stdin or stderr is no terminal; then the error has been said: "... there is no terminal. @instead." */
gboolean prompt_possible (const char *instead);

/* One row of a list.  Lent. */
typedef struct {
    const char *text; /* what is matched by typing */
    const char *note; /* dim, behind it; NULL is none */
} PromptRow;

/* A list to choose from: typing filters it by the fuzzy rule, arrows move without wrap-around, Enter takes.  @reserved lines of the screen are
 * not used for rows; @typed is there from the start, NULL is nothing.  The index, or -1 after Esc or Ctrl-C. */
int prompt_search (const char *question, const PromptRow *rows, guint n, guint reserved, const char *typed);
