/* help.c: usage, description, arguments, options, commands, in columns. */
#include "cli/help.h"

#include "cli/terminal.h"

#include <string.h>

#define LINE_WIDTH  90
#define TERM_INDENT 1
#define COLUMN_GAP  10

/* One line of a list: what it is about, and the sentence. */
typedef struct {
    char *term;        /* plain */
    const char *help;  /* lent */
    const char *group; /* lent; rows of one group stand together */
} Row;

static void
row_clear (gpointer data)
{
    g_free (((Row *) data)->term);
}

static GArray *
rows_new (void)
{
    GArray *rows = g_array_new (FALSE, FALSE, sizeof (Row));
    g_array_set_clear_func (rows, row_clear);
    return rows;
}

static void
rows_add (GArray *rows, char *term, const char *help, const char *group)
{
    Row row = { term, help ? help : "", group };
    g_array_append_val (rows, row);
}

/* "-c, --context-length <length>": the term in cyan, its parameters dim. */
static char *
paint_term (const char *term, int fd)
{
    const char *parameter = strpbrk (term, "<[");
    g_autofree char *head = g_strndup (term, parameter ? (gsize) (parameter - term) : strlen (term));
    g_autofree char *painted = style_text (fd, STYLE_CYAN, head);
    g_autofree char *rest = parameter ? style_text (fd, STYLE_DIM, parameter) : g_strdup ("");
    return g_strconcat (painted, rest, NULL);
}

/* @text in words, broken at LINE_WIDTH, later lines starting at column @indent. */
static void
append_wrapped (GString *out, const char *text, guint indent)
{
    g_auto (GStrv) words = g_strsplit (text, " ", -1);
    guint column = indent;
    for (guint i = 0; words[i]; i++) {
        guint width = display_width (words[i]);
        if (i && column + 1 + width > LINE_WIDTH) {
            g_string_append_printf (out, "\n%*s", (int) indent, "");
            column = indent;
        } else if (i) {
            g_string_append_c (out, ' ');
            column++;
        }
        g_string_append (out, words[i]);
        column += width;
    }
    g_string_append_c (out, '\n');
}

static void
append_rows (GString *out, GArray *rows, const char *group, guint term_width, int fd)
{
    for (guint i = 0; i < rows->len; i++) {
        const Row *row = &g_array_index (rows, Row, i);
        if (g_strcmp0 (row->group, group) != 0)
            continue;
        g_autofree char *term = paint_term (row->term, fd);
        guint pad = term_width - display_width (row->term) + COLUMN_GAP;
        g_string_append_printf (out, "%*s%s", TERM_INDENT, "", term);
        if (*row->help) {
            g_string_append_printf (out, "%*s", (int) pad, "");
            append_wrapped (out, row->help, TERM_INDENT + term_width + COLUMN_GAP);
        } else {
            g_string_append_c (out, '\n');
        }
    }
}

static void
append_list (GString *out, const char *title, GArray *rows, guint term_width, int fd)
{
    if (!rows->len)
        return;
    g_autofree char *heading = style_text (fd, STYLE_BOLD, title);
    g_string_append_printf (out, "\n%s\n", heading);
    append_rows (out, rows, NULL, term_width, fd);
}

/* The commands, under the headings of their groups in the order in which these first appear; in a group of their own without one. */
static void
append_commands (GString *out, GArray *rows, guint term_width, int fd)
{
    g_autoptr (GPtrArray) done = g_ptr_array_new ();
    for (guint i = 0; i < rows->len; i++) {
        const char *group = g_array_index (rows, Row, i).group;
        if (g_ptr_array_find_with_equal_func (done, group ? group : "", g_str_equal, NULL))
            continue;
        g_ptr_array_add (done, (char *) (group ? group : ""));
        g_autofree char *heading = style_text (fd, STYLE_BOLD, group ? group : "Commands:");
        g_string_append_printf (out, "\n%s\n", heading);
        append_rows (out, rows, group, term_width, fd);
    }
}

static char *
usage_line (const Args *args)
{
    GString *line = g_string_new ("Usage:");
    for (guint i = 0; i < args->depth; i++)
        g_string_append_printf (line, " %s", args->path[i]->name);
    g_string_append (line, " [options]");
    const Command *command = args_command (args);
    for (const Argument *argument = command->arguments; argument && argument->name; argument++)
        g_string_append_printf (line, argument->required ? " <%s>" : " [%s]", argument->name);
    if (command->commands)
        g_string_append (line, " [command]");
    return g_string_free (line, FALSE);
}

/* "server", "load [options] [model-key]": how a command stands in its parent's list.  The root's list has names alone. */
static char *
command_term (const Command *command, gboolean root)
{
    if (root)
        return g_strdup (command->name);
    GString *term = g_string_new (command->name);
    for (const Argument *argument = command->arguments; argument && argument->name; argument++)
        g_string_append_printf (term, argument->required ? " <%s>" : " [%s]", argument->name);
    return g_string_free (term, FALSE);
}

static guint
widest (GArray *rows, guint width)
{
    for (guint i = 0; i < rows->len; i++)
        width = MAX (width, display_width (g_array_index (rows, Row, i).term));
    return width;
}

char *
help_text (const Args *args, int fd)
{
    const Command *command = args_command (args);
    g_autoptr (GArray) arguments = rows_new (), options = rows_new (), commands = rows_new ();
    for (const Argument *argument = command->arguments; argument && argument->name; argument++)
        rows_add (arguments, g_strdup (argument->name), argument->help, NULL);
    for (const Option *const *table = command->options; table && *table; table++)
        for (const Option *option = *table; option->name; option++)
            if (!option->hidden)
                rows_add (options, args_option_term (option), option->help, NULL);
    for (const Command *member = command->commands; member && member->name; member++)
        if (!member->hidden)
            rows_add (commands, command_term (member, args->depth == 1), member->summary, member->group);

    GString *out = g_string_new (NULL);
    g_autofree char *usage = usage_line (args);
    g_autofree char *bold = style_text (fd, STYLE_BOLD, usage);
    g_string_append_printf (out, "%s\n", bold);
    if (args->depth > 1 && command->summary) {
        g_string_append_c (out, '\n');
        append_wrapped (out, command->summary, 0);
    }
    guint width = widest (commands, widest (options, widest (arguments, 0)));
    append_list (out, "Arguments:", arguments, width, fd);
    append_list (out, "Options:", options, width, fd);
    append_commands (out, commands, width, fd);
    return g_string_free (out, FALSE);
}
