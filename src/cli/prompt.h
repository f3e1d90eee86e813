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

/* A list to choose from: arrows move, Enter takes; no wrap-around.  @reserved lines of the screen are not used for rows.  The index, or -1
 * after Esc or Ctrl-C. */
int prompt_select (const char *question, const PromptRow *rows, guint n, guint reserved);

/* The same with typing: rows are filtered by the fuzzy rule.  @typed is there from the start; NULL is nothing. */
int prompt_search (const char *question, const PromptRow *rows, guint n, guint reserved, const char *typed);

/* "@question (Y/N): " until the answer is one of them.  Ctrl-C and the end of stdin are no. */
gboolean prompt_yes (const char *question);
