/* terminal.c: what is written where, and in which colours. */
#include "cli/terminal.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- streams ------------------------------------------------------------------------------------------------------------ */

gboolean
terminal_is (int fd)
{
    return isatty (fd) == 1;
}

gboolean
terminal_has_color (int fd)
{
    const char *never = g_getenv ("NO_COLOR");
    if (never && *never)
        return FALSE;
    const char *force = g_getenv ("FORCE_COLOR");
    if (force && force[0] >= '0' && force[0] <= '3' && !force[1])
        return force[0] != '0';
    return terminal_is (fd);
}

void
terminal_size (int fd, guint *columns, guint *rows)
{
    struct winsize size = { 0 };
    gboolean known = ioctl (fd, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    if (columns)
        *columns = known ? size.ws_col : 80;
    if (rows)
        *rows = known ? size.ws_row : 24;
}

void
print_out (const char *text, gsize length)
{
    while (length) {
        gssize n = write (STDOUT_FILENO, text, length);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            if (errno == EAGAIN)
                g_usleep (1000); /* a stdout that someone else made non-blocking */
            continue;
        }
        if (n < 0 && errno == EPIPE)
            exit (141);
        if (n < 0) {
            say_error ("Cannot write to stdout: %s", g_strerror (errno));
            exit (1);
        }
        text += n;
        length -= (gsize) n;
    }
}

void
print_outf (const char *format, ...)
{
    va_list list;
    va_start (list, format);
    g_autofree char *text = g_strdup_vprintf (format, list);
    va_end (list);
    print_out (text, strlen (text));
}

/* ---- colours ------------------------------------------------------------------------------------------------------------ */

static const char *const codes[] = {
    [STYLE_PLAIN] = NULL, [STYLE_BOLD] = "1",    [STYLE_DIM] = "2",   [STYLE_RED] = "31",  [STYLE_BRIGHT_RED] = "91",
    [STYLE_GREEN] = "32", [STYLE_YELLOW] = "33", [STYLE_BLUE] = "34", [STYLE_CYAN] = "36", [STYLE_TEAL] = "38;5;37",
};

char *
style_text (int fd, Style style, const char *text)
{
    if (!codes[style] || !terminal_has_color (fd))
        return g_strdup (text);
    return g_strdup_printf ("\x1b[%sm%s\x1b[0m", codes[style], text);
}

guint
display_width (const char *text)
{
    guint width = 0;
    for (const char *at = text; *at;) {
        if (*at == '\x1b' && at[1] == '[') { /* ESC [ parameters final */
            at += 2;
            while (*at && (*at < '@' || *at > '~'))
                at++;
            if (*at)
                at++;
            continue;
        }
        gunichar letter = g_utf8_get_char_validated (at, -1);
        if (letter == (gunichar) -1 || letter == (gunichar) -2) {
            width++;
            at++;
            continue;
        }
        if (!g_unichar_iszerowidth (letter))
            width += g_unichar_iswide (letter) ? 2 : 1;
        at = g_utf8_next_char (at);
    }
    return width;
}

/* ---- log lines ---------------------------------------------------------------------------------------------------------- */

static SayLevel lowest = SAY_INFO;
static Spinner *spinning; /* at most one; log lines are written above it */

static void spinner_hide (void);

void
say_set_level (SayLevel level)
{
    lowest = level;
}

gboolean
say_shows (SayLevel level)
{
    return level >= lowest && lowest != SAY_NONE;
}

static void
say (SayLevel level, const char *format, va_list list)
{
    if (!say_shows (level))
        return;
    spinner_hide ();
    static const struct {
        const char *text;
        Style style;
    } marks[] = {
        [SAY_DEBUG] = { "D", STYLE_DIM },
        [SAY_INFO] = { "I", STYLE_CYAN },
        [SAY_WARN] = { "W", STYLE_YELLOW },
        [SAY_ERROR] = { "Error:", STYLE_BRIGHT_RED },
    };
    g_autofree char *text = g_strdup_vprintf (format, list);
    g_autofree char *mark = style_text (STDERR_FILENO, marks[level].style, marks[level].text);
    gboolean marked = level != SAY_INFO || lowest == SAY_DEBUG;
    fprintf (stderr, "%s%s%s\n", marked ? mark : "", marked ? " " : "", text);
}

#define DEFINE_SAY(name, level)         \
    void name (const char *format, ...) \
    {                                   \
        va_list list;                   \
        va_start (list, format);        \
        say (level, format, list);      \
        va_end (list);                  \
    }
DEFINE_SAY (say_debug, SAY_DEBUG)
DEFINE_SAY (say_info, SAY_INFO)
DEFINE_SAY (say_warn, SAY_WARN)
DEFINE_SAY (say_error, SAY_ERROR)

int
say_failure (const GError *error)
{
    say_error ("%s", error ? error->message : "Something went wrong, and nobody said what.");
    return 1;
}

char *
indented (const char *text)
{
    g_autoptr (GString) out = g_string_new (NULL);
    for (const char *at = text; *at; at++) {
        if (*at != '\n' && (at == text || at[-1] == '\n'))
            g_string_append (out, "  ");
        g_string_append_c (out, *at);
    }
    return g_strdup (out->str);
}

void
say_titled_error (const char *title, const char *format, ...)
{
    va_list list;
    va_start (list, format);
    g_autofree char *text = g_strdup_vprintf (format, list);
    va_end (list);
    g_autofree char *body = indented (text);
    say_error ("%s\n\n%s\n", title, body);
}

/* ---- spinner ------------------------------------------------------------------------------------------------------------ */

#define SPINNER_STEP_MS 80
#define HIDE_CURSOR     "\x1b[?25l"
#define SHOW_CURSOR     "\x1b[?25h"
#define CLEAR_LINE      "\r\x1b[2K"

struct Spinner {
    char *text;
    guint frame;
    guint timer;    /* GLib source; 0 where there is nothing to see */
    gboolean drawn; /* the line stands on the screen */
};

static void
spinner_draw (Spinner *spinner)
{
    static const char *const frames[] = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" };
    if (!spinner->timer)
        return;
    fprintf (stderr, CLEAR_LINE "%s%s %s", spinner->drawn ? "" : HIDE_CURSOR, spinner->text,
             frames[spinner->frame % G_N_ELEMENTS (frames)]);
    spinner->drawn = TRUE;
}

static gboolean
spinner_step (gpointer data)
{
    Spinner *spinner = data;
    spinner->frame++;
    spinner_draw (spinner);
    return G_SOURCE_CONTINUE;
}

static void
spinner_hide (void)
{
    if (!spinning || !spinning->drawn)
        return;
    fputs (CLEAR_LINE SHOW_CURSOR, stderr);
    spinning->drawn = FALSE;
}

Spinner *
spinner_new (const char *text)
{
    g_return_val_if_fail (!spinning, NULL);
    Spinner *spinner = g_new0 (Spinner, 1);
    spinner->text = g_strdup (text);
    if (say_shows (SAY_INFO) && terminal_is (STDERR_FILENO))
        spinner->timer = g_timeout_add (SPINNER_STEP_MS, spinner_step, spinner);
    spinning = spinner;
    spinner_draw (spinner);
    return spinner;
}

void
spinner_set_text (Spinner *spinner, const char *format, ...)
{
    va_list list;
    va_start (list, format);
    g_free (spinner->text);
    spinner->text = g_strdup_vprintf (format, list);
    va_end (list);
    spinner_draw (spinner);
}

void
spinner_free (Spinner *spinner)
{
    spinner_hide ();
    spinning = NULL;
    if (spinner->timer)
        g_source_remove (spinner->timer);
    g_free (spinner->text);
    g_free (spinner);
}

/* ---- tables ------------------------------------------------------------------------------------------------------------- */

#define COLUMN_GAP 4

struct Grid {
    guint n_columns;
    GPtrArray *cells; /* row after row; char * */
};

Grid *
grid_new (guint n_columns)
{
    Grid *grid = g_new0 (Grid, 1);
    grid->n_columns = n_columns;
    grid->cells = g_ptr_array_new_with_free_func (g_free);
    return grid;
}

void
grid_free (Grid *grid)
{
    g_ptr_array_unref (grid->cells);
    g_free (grid);
}

void
grid_add (Grid *grid, const char *const *cells)
{
    for (guint i = 0; i < grid->n_columns; i++)
        g_ptr_array_add (grid->cells, g_strdup (cells[i] ? cells[i] : ""));
}

char *
grid_print (const Grid *grid)
{
    g_autofree guint *widths = g_new0 (guint, grid->n_columns);
    for (guint i = 0; i < grid->cells->len; i++) {
        guint width = display_width (g_ptr_array_index (grid->cells, i));
        widths[i % grid->n_columns] = MAX (widths[i % grid->n_columns], width);
    }
    GString *out = g_string_new (NULL);
    guint blanks = 0; /* owed before the next cell that is not empty */
    for (guint i = 0; i < grid->cells->len; i++) {
        const char *cell = g_ptr_array_index (grid->cells, i);
        guint column = i % grid->n_columns;
        if (*cell) {
            g_string_append_printf (out, "%*s%s", (int) blanks, "", cell);
            blanks = 0;
        }
        blanks += widths[column] - display_width (cell) + COLUMN_GAP;
        if (column == grid->n_columns - 1) {
            g_string_append_c (out, '\n');
            blanks = 0;
        }
    }
    return g_string_free (out, FALSE);
}
