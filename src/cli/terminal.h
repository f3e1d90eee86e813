/* What `lms` shows, and how: colours, log lines, the spinner, tables (spec: cli.md 1.1, 1.2, 1.8).
 *
 * stdout carries results and nothing else.  Everything called a log line goes to stderr and obeys the log level. */
#pragma once

#include <glib.h>
#include <stdio.h>

/* ---- streams ------------------------------------------------------------------------------------------------------------ */

gboolean terminal_is (int fd);
gboolean terminal_has_color (int fd);                     /* cli.md 1.1: NO_COLOR, FORCE_COLOR, a terminal */
void terminal_size (int fd, guint *columns, guint *rows); /* 80 x 24 where it is unknown */

/* Writes to stdout and flushes.  A reader that went away ends the program quietly with 141; a full disk with 1. */
void print_out (const char *text, gsize length);
void print_outf (const char *format, ...) G_GNUC_PRINTF (1, 2);

/* ---- colours ------------------------------------------------------------------------------------------------------------ */

typedef enum {
    STYLE_PLAIN,
    STYLE_BOLD,
    STYLE_DIM,
    STYLE_RED,
    STYLE_BRIGHT_RED,
    STYLE_GREEN,
    STYLE_YELLOW,
    STYLE_BLUE,
    STYLE_CYAN,
    STYLE_TEAL,
} Style;

/* @text in @style, or plain where @fd has no colours.  The caller frees. */
char *style_text (int fd, Style style, const char *text);

/* Columns that @text takes, without its escape sequences. */
guint display_width (const char *text);

/* ---- log lines ---------------------------------------------------------------------------------------------------------- */

typedef enum { SAY_DEBUG, SAY_INFO, SAY_WARN, SAY_ERROR, SAY_NONE } SayLevel;

/* The lowest level that is still shown; SAY_INFO at the start. */
void say_set_level (SayLevel level);
gboolean say_shows (SayLevel level);

void say_debug (const char *format, ...) G_GNUC_PRINTF (1, 2);
void say_info (const char *format, ...) G_GNUC_PRINTF (1, 2);
void say_warn (const char *format, ...) G_GNUC_PRINTF (1, 2);
void say_error (const char *format, ...) G_GNUC_PRINTF (1, 2); /* "Error: ..." */

/* Says @error (or a general sentence when it is NULL) and returns 1, the exit code of whoever calls it last. */
int say_failure (const GError *error);

/* @text with every line but the empty ones indented by two.  The caller frees. */
char *indented (const char *text);

/* "Error: TITLE", an empty line, the text indented. */
void say_titled_error (const char *title, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* ---- spinner ------------------------------------------------------------------------------------------------------------ */

/* A line on stderr that moves while the main loop runs; nothing at all where stderr is no terminal or the level hides it. */
typedef struct Spinner Spinner;
Spinner *spinner_new (const char *text);
void spinner_set_text (Spinner *spinner, const char *format, ...) G_GNUC_PRINTF (2, 3);
void spinner_free (Spinner *spinner); /* clears the line */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Spinner, spinner_free)

/* ---- tables ------------------------------------------------------------------------------------------------------------- */

/* Rows of cells, four blanks between the columns, no blanks at the end of a line.  Cells may hold escape sequences. */
typedef struct Grid Grid;
Grid *grid_new (guint n_columns);
void grid_free (Grid *grid);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Grid, grid_free)
/* @n_columns strings, which are copied; NULL is an empty cell. */
void grid_add (Grid *grid, const char *const *cells);
char *grid_print (const Grid *grid); /* the caller frees */
