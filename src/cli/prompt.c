/* prompt.c: lists and questions.
 *
 * The terminal is in raw mode while a list stands: bytes come as they are typed, Ctrl-C is a byte, and whatever happens the old mode
 * is put back.  The list is redrawn in place: up to its first line, clear to the end of the screen, draw. */
#include "cli/prompt.h"

#include "cli/fuzzy.h"
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
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

#define ESCAPE_WAIT_MS 30 /* the rest of a sequence follows at once; after Esc alone nothing does */

typedef enum { KEY_TEXT, KEY_UP, KEY_DOWN, KEY_ENTER, KEY_RUB, KEY_LEAVE, KEY_OTHER } Key;

/* The next byte of the keyboard, or -1 when none comes within @wait_ms (-1: for ever) or the terminal is gone. */
static int
read_byte (int wait_ms)
{
    unsigned char byte;
    GPollFD keyboard = { .fd = STDIN_FILENO, .events = G_IO_IN };
    for (;;) {
        int ready = g_poll (&keyboard, 1, wait_ms);
        gssize n = ready > 0 ? read (STDIN_FILENO, &byte, 1) : ready;
        if (n > 0)
            return byte;
        if (n == 0 || errno != EINTR)
            return -1;
    }
}

/* What follows ESC: nothing (the key Esc), or a sequence "[" parameters final, "O" final. */
static Key
read_escape (void)
{
    int byte = read_byte (ESCAPE_WAIT_MS);
    if (byte < 0)
        return KEY_LEAVE;
    if (byte != '[' && byte != 'O')
        return KEY_OTHER;
    do
        byte = read_byte (ESCAPE_WAIT_MS);
    while (byte >= 0 && byte < 0x40);
    return byte == 'A' ? KEY_UP : byte == 'B' ? KEY_DOWN : KEY_OTHER;
}

/* One key press.  A whole UTF-8 letter goes to @letter. */
static Key
read_key (char letter[8])
{
    int byte = read_byte (-1);
    if (byte < 0 || byte == 3 || byte == 4) /* Ctrl-C, Ctrl-D */
        return KEY_LEAVE;
    if (byte == '\r' || byte == '\n')
        return KEY_ENTER;
    if (byte == 127 || byte == 8)
        return KEY_RUB;
    if (byte == 0x1b)
        return read_escape ();
    if (byte < 0x20)
        return KEY_OTHER;
    int length = byte < 0x80 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    letter[0] = (char) byte;
    for (int i = 1; i < length; i++) {
        if ((byte = read_byte (ESCAPE_WAIT_MS)) < 0)
            return KEY_OTHER;
        letter[i] = (char) byte;
    }
    letter[length] = '\0';
    return g_utf8_validate (letter, -1, NULL) ? KEY_TEXT : KEY_OTHER;
}

/* ---- the list ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *question;
    const PromptRow *rows;
    guint n_rows;
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
    g_autoptr (GArray) hits = fuzzy_positions (list->typed->str, row->text);
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
        if (list->typed->len)
            g_string_truncate (list->typed,
                               (gsize) (g_utf8_prev_char (list->typed->str + list->typed->len) - list->typed->str));
        break;
    case KEY_TEXT:
        if (list->typed->len < 256)
            g_string_append (list->typed, letter);
        break;
    case KEY_OTHER:
        return FALSE;
    }
    list->current = 0;
    list_filter (list);
    return FALSE;
}

/* The terminal's mode from before; for a signal that ends us while a list stands. */
static struct termios mode_before;

static void
on_end (int number)
{
    static const char show_cursor[] = "\x1b[?25h";
    tcsetattr (STDIN_FILENO, TCSANOW, &mode_before);
    gssize ignored = write (STDERR_FILENO, show_cursor, sizeof show_cursor - 1);
    (void) ignored;
    _exit (128 + number);
}

static int
run_list (List *list, guint reserved)
{
    guint lines;
    terminal_size (STDERR_FILENO, NULL, &lines);
    list->page = lines > reserved + 1 ? lines - reserved : 1;
    list_filter (list);

    int result = -1;
    if (tcgetattr (STDIN_FILENO, &mode_before) == 0) {
        struct termios raw = mode_before;
        raw.c_lflag &= ~(tcflag_t) (ICANON | ECHO | ISIG | IEXTEN);
        raw.c_iflag &= ~(tcflag_t) (ICRNL | IXON);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        void (*term) (int) = signal (SIGTERM, on_end);
        void (*hangup) (int) = signal (SIGHUP, on_end);
        tcsetattr (STDIN_FILENO, TCSADRAIN, &raw);
        do
            list_draw (list);
        while (!list_press (list, &result));
        list_erase (list);
        fputs ("\x1b[?25h", stderr);
        tcsetattr (STDIN_FILENO, TCSADRAIN, &mode_before);
        signal (SIGTERM, term);
        signal (SIGHUP, hangup);
    }
    g_array_unref (list->shown);
    g_string_free (list->typed, TRUE);
    return result;
}

int
prompt_search (const char *question, const PromptRow *rows, guint n, guint reserved, const char *typed)
{
    List list = { .question = question, .rows = rows, .n_rows = n, .typed = g_string_new (typed) };
    return run_list (&list, reserved);
}
