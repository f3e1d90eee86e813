/* prompt.c: lists and questions.
 *
 * The terminal is in raw mode while a list stands: bytes come as they are typed, Ctrl-C is a byte, and whatever happens the old mode
 * is put back.  The list is redrawn in place: up to its first line, clear to the end of the screen, draw. */
#include "cli/prompt.h"

#include "cli/fuzzy.h"
#include "cli/terminal.h"

#include <errno.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

gboolean
prompt_possible (const char *instead)
{
    if (terminal_is (STDIN_FILENO) && terminal_is (STDERR_FILENO))
        return TRUE;
    say_error ("This needs an answer, and there is no terminal. %s.", instead);
    return FALSE;
}

/* ---- keys --------------------------------------------------------------------------------------------------------------- */

typedef enum { KEY_TEXT, KEY_UP, KEY_DOWN, KEY_ENTER, KEY_RUB, KEY_LEAVE, KEY_OTHER } Key;

/* One key press: a byte, a whole UTF-8 letter (in @letter), or an escape sequence, which a terminal sends in one piece. */
static Key
read_key (char letter[8])
{
    unsigned char bytes[64];
    gssize n;
    do
        n = read (STDIN_FILENO, bytes, 1);
    while (n < 0 && errno == EINTR);
    if (n <= 0 || bytes[0] == 3 || bytes[0] == 4)
        return KEY_LEAVE;
    if (bytes[0] == '\r' || bytes[0] == '\n')
        return KEY_ENTER;
    if (bytes[0] == 127 || bytes[0] == 8)
        return KEY_RUB;
    if (bytes[0] == 0x1b) {
        GPollFD more = { .fd = STDIN_FILENO, .events = G_IO_IN };
        if (g_poll (&more, 1, 30) <= 0)
            return KEY_LEAVE; /* Esc by itself */
        n = read (STDIN_FILENO, bytes, sizeof bytes);
        if (n >= 2 && (bytes[0] == '[' || bytes[0] == 'O'))
            return bytes[1] == 'A' ? KEY_UP : bytes[1] == 'B' ? KEY_DOWN : KEY_OTHER;
        return KEY_OTHER;
    }
    if (bytes[0] < 0x20)
        return KEY_OTHER;
    int length = bytes[0] < 0x80 ? 1 : bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    letter[0] = (char) bytes[0];
    for (int i = 1; i < length; i++)
        if (read (STDIN_FILENO, letter + i, 1) != 1)
            return KEY_LEAVE;
    letter[length] = '\0';
    return g_utf8_validate (letter, -1, NULL) ? KEY_TEXT : KEY_OTHER;
}

/* ---- the list ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *question;
    const PromptRow *rows;
    guint n_rows;
    gboolean searching;
    GString *typed;
    GArray *shown; /* indices of the rows that match, best first */
    guint current; /* index into shown */
    guint page;    /* rows on the screen */
    guint n_drawn; /* lines on the screen */
} List;

static void
list_filter (List *list)
{
    g_autofree const char **texts = g_new0 (const char *, list->n_rows + 1);
    for (guint i = 0; i < list->n_rows; i++)
        texts[i] = list->rows[i].text;
    g_clear_pointer (&list->shown, g_array_unref);
    list->shown = fuzzy_rank (list->typed->str, texts, list->n_rows);
    list->current = MIN (list->current, list->shown->len ? list->shown->len - 1 : 0);
}

/* The row's text, the matched letters bright red; teal when it is the current one. */
static char *
paint_row (const List *list, const PromptRow *row, gboolean current)
{
    GString *out = g_string_new (current ? "❯ " : "  ");
    g_autoptr (GArray) hits = list->searching ? fuzzy_positions (list->typed->str, row->text) : NULL;
    guint hit = 0;
    for (const char *at = row->text; *at; at = g_utf8_next_char (at)) {
        gboolean is_hit = hits && hit < hits->len && g_array_index (hits, guint, hit) == (guint) (at - row->text);
        hit += is_hit;
        g_autofree char *letter = g_strndup (at, (gsize) (g_utf8_next_char (at) - at));
        g_autofree char *painted = style_text (STDERR_FILENO,
                                               is_hit    ? STYLE_BRIGHT_RED
                                               : current ? STYLE_TEAL
                                                         : STYLE_PLAIN,
                                               letter);
        g_string_append (out, painted);
    }
    g_autofree char *note = row->note ? style_text (STDERR_FILENO, STYLE_DIM, row->note) : g_strdup ("");
    g_string_append (out, note);
    return g_string_free (out, FALSE);
}

static void
list_erase (List *list)
{
    if (list->n_drawn)
        fprintf (stderr, "\r\x1b[%uA\x1b[J", list->n_drawn);
    list->n_drawn = 0;
}

static void
list_draw (List *list)
{
    list_erase (list);
    fprintf (stderr, "\x1b[?25l%s %s\r\n", list->question, list->typed->str);
    list->n_drawn = 1;
    guint first = list->current >= list->page ? list->current - list->page + 1 : 0;
    for (guint i = first; i < list->shown->len && i < first + list->page; i++) {
        const PromptRow *row = &list->rows[g_array_index (list->shown, guint, i)];
        g_autofree char *text = paint_row (list, row, i == list->current);
        fprintf (stderr, "\x1b[?7l%s\x1b[?7h\r\n", text); /* no wrapping: a row is a line */
        list->n_drawn++;
    }
}

/* Returns TRUE when the choice is made; *result is the row, or -1. */
static gboolean
list_press (List *list, int *result)
{
    char letter[8];
    switch (read_key (letter)) {
    case KEY_LEAVE:
        return *result = -1, TRUE;
    case KEY_ENTER:
        if (!list->shown->len)
            return FALSE;
        return *result = (int) g_array_index (list->shown, guint, list->current), TRUE;
    case KEY_UP:
        list->current -= list->current > 0;
        return FALSE;
    case KEY_DOWN:
        list->current += list->current + 1 < list->shown->len;
        return FALSE;
    case KEY_RUB:
        if (list->searching && list->typed->len)
            g_string_truncate (list->typed,
                               (gsize) (g_utf8_prev_char (list->typed->str + list->typed->len) - list->typed->str));
        break;
    case KEY_TEXT:
        if (list->searching && list->typed->len < 256)
            g_string_append (list->typed, letter);
        break;
    case KEY_OTHER:
        return FALSE;
    }
    list->current = 0;
    list_filter (list);
    return FALSE;
}

static int
run_list (List *list, guint reserved)
{
    guint lines;
    terminal_size (STDERR_FILENO, NULL, &lines);
    list->page = lines > reserved + 1 ? lines - reserved : 1;
    list_filter (list);

    struct termios before, raw;
    if (tcgetattr (STDIN_FILENO, &before) != 0)
        return -1;
    raw = before;
    raw.c_lflag &= ~(tcflag_t) (ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~(tcflag_t) (ICRNL | IXON);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr (STDIN_FILENO, TCSADRAIN, &raw);
    int result = -1;
    do
        list_draw (list);
    while (!list_press (list, &result));
    list_erase (list);
    fputs ("\x1b[?25h", stderr);
    tcsetattr (STDIN_FILENO, TCSADRAIN, &before);
    g_array_unref (list->shown);
    g_string_free (list->typed, TRUE);
    return result;
}

int
prompt_select (const char *question, const PromptRow *rows, guint n, guint reserved)
{
    List list = { .question = question, .rows = rows, .n_rows = n, .typed = g_string_new (NULL) };
    return run_list (&list, reserved);
}

int
prompt_search (const char *question, const PromptRow *rows, guint n, guint reserved, const char *typed)
{
    List list = { .question = question, .rows = rows, .n_rows = n, .searching = TRUE, .typed = g_string_new (typed) };
    return run_list (&list, reserved);
}

gboolean
prompt_yes (const char *question)
{
    char line[64];
    for (;;) {
        fprintf (stderr, "%s (Y/N): ", question);
        if (!fgets (line, sizeof line, stdin))
            return FALSE;
        g_strstrip (line);
        if (g_ascii_strcasecmp (line, "y") == 0)
            return TRUE;
        if (g_ascii_strcasecmp (line, "n") == 0)
            return FALSE;
        fputs ("Invalid selection. Please enter Y/N.\n", stderr);
    }
}
