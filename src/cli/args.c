/* args.c: what the words of a command line mean.
 *
 * First the path: words that name a command, each looked up in the one before.  Then the rest: options and positional arguments in any
 * order.  The first mistake ends the reading, in the order that users of the official program know: values as they are met, then a
 * call for help, then unknown options, then the count of arguments. */
#include "cli/args.h"

#include "cli/fuzzy.h"

#include <math.h>
#include <string.h>

#define LARGEST_INTEGER 9007199254740991.0

static const Option help_option = { .letter = 'h', .name = "help", .help = "Display help for command" };

char *
args_option_term (const Option *option)
{
    g_autoptr (GString) term = g_string_new (NULL);
    if (option->letter)
        g_string_append_printf (term, "-%c, ", option->letter);
    g_string_append_printf (term, "--%s", option->name);
    if (option->value)
        g_string_append_printf (term, " %s", option->value);
    return g_string_free (g_steal_pointer (&term), FALSE);
}

static const Command *
find_command (const Command *parent, const char *name)
{
    for (const Command *command = parent->commands; command && command->name; command++)
        if (strcmp (command->name, name) == 0)
            return command;
    return NULL;
}

/* By name (@length bytes of it) or, where @name is NULL, by letter. */
static const Option *
find_option (const Command *command, const char *name, gsize length, char letter)
{
    for (const Option *const *table = command->options; table && *table; table++)
        for (const Option *option = *table; option->name; option++)
            if (name ? strlen (option->name) == length && memcmp (option->name, name, length) == 0
                     : option->letter == letter && letter)
                return option;
    return NULL;
}

/* "\n(Did you mean --x?)", or nothing.  @prefix stands before every suggestion. */
static char *
suggest (const char *word, const char *const *candidates, const char *prefix)
{
    g_auto (GStrv) similar = fuzzy_suggest (word, candidates);
    if (!similar[0])
        return g_strdup ("");
    g_autoptr (GString) list = g_string_new (NULL);
    for (guint i = 0; similar[i]; i++)
        g_string_append_printf (list, "%s%s%s", i ? ", " : "", prefix, similar[i]);
    return g_strdup_printf ("\n(Did you mean %s%s?)", similar[1] ? "one of " : "", list->str);
}

static char *
unknown_option (const Args *args, const char *word)
{
    g_autoptr (GPtrArray) names = g_ptr_array_new ();
    for (guint i = 0; i < args->depth; i++)
        for (const Option *const *table = args->path[i]->options; table && *table; table++)
            for (const Option *option = *table; option->name; option++)
                if (!option->hidden)
                    g_ptr_array_add (names, (char *) option->name);
    g_ptr_array_add (names, (char *) help_option.name);
    g_ptr_array_add (names, "version");
    g_ptr_array_add (names, NULL);
    g_autofree char *hint =
        g_str_has_prefix (word, "--") ? suggest (word + 2, (const char *const *) names->pdata, "--") : g_strdup ("");
    return g_strdup_printf ("error: unknown option '%s'%s", word, hint);
}

static char *
unknown_command (const Command *parent, const char *word)
{
    g_autoptr (GPtrArray) names = g_ptr_array_new ();
    for (const Command *command = parent->commands; command->name; command++)
        if (!command->hidden)
            g_ptr_array_add (names, (char *) command->name);
    g_ptr_array_add (names, "help");
    g_ptr_array_add (names, NULL);
    g_autofree char *hint = suggest (word, (const char *const *) names->pdata, "");
    return g_strdup_printf ("error: unknown command '%s'%s", word, hint);
}

static char *
missing_value (const Option *option)
{
    g_autofree char *term = args_option_term (option);
    return g_strdup_printf ("error: option '%s' argument missing", term);
}

static char *
invalid_value (const Option *option, const char *text, const char *why)
{
    g_autofree char *term = args_option_term (option);
    return g_strdup_printf ("error: option '%s' argument '%s' is invalid. %s", term, text, why);
}

/* What is wrong with @text as a number of @option, or NULL and the number.  The caller frees. */
static char *
read_number (const Option *option, const char *text, double *number)
{
    g_autofree char *trimmed = g_strstrip (g_strdup (text));
    const char *digits = trimmed + strspn (trimmed, "+-");
    char *end = NULL;
    *number = g_ascii_strtod (trimmed, &end);
    if (strcmp (digits, "Infinity") == 0 && digits - trimmed <= 1)
        *number = INFINITY;
    else if (!g_ascii_isdigit (*digits) && *digits != '.')
        return g_strdup ("Not a number"); /* also "inf" and "nan", which strtod would take */
    else if (end == trimmed || *end)
        return g_strdup ("Not a number");
    if (!isfinite (*number))
        return g_strdup ("Not a finite number");
    if (option->type == OPTION_INTEGER && *number != floor (*number))
        return g_strdup ("Not an integer");

    double max = option->max != 0 ? option->max : LARGEST_INTEGER;
    if (option->type == OPTION_RATIO && (*number < 0 || *number > 1))
        return g_strdup ("Number out of range, must be between 0 and 1");
    if (*number < option->min)
        return g_strdup_printf ("Number out of range, must be at least %.16g", option->min);
    if (*number > max)
        return g_strdup_printf ("Number out of range, must be at most %.16g", max);
    return NULL;
}

static char *
read_value (const Option *option, const char *text, ArgsValue *value)
{
    value->text = text;
    switch (option->type) {
    case OPTION_CHOICE: {
        if (g_strv_contains (option->choices, text))
            return NULL;
        g_autofree char *list = g_strjoinv (", ", (char **) option->choices);
        g_autofree char *why = g_strdup_printf ("Allowed choices are %s.", list);
        return invalid_value (option, text, why);
    }
    case OPTION_RATIO:
        if (strcmp (text, "off") == 0 || strcmp (text, "max") == 0 || strcmp (text, "auto") == 0) {
            value->number = text[0] == 'o' ? 0 : text[0] == 'm' ? 1 : -1;
            return NULL;
        }
        G_GNUC_FALLTHROUGH;
    case OPTION_INTEGER:
    case OPTION_NUMBER: {
        g_autofree char *why = read_number (option, text, &value->number);
        return why ? invalid_value (option, text, why) : NULL;
    }
    case OPTION_FLAG:
    case OPTION_TEXT:
        break;
    }
    return NULL;
}

/* Takes one option with its value.  @attached is the value that came in the same word ("=4096", "4096"), or NULL; *next moves on when
 * the value is a word of its own. */
static char *
take_option (Args *args, const Option *option, const char *attached, const char *const **next)
{
    ArgsValue value = { .option = option };
    if (option->value) {
        const char *text = attached ? attached : **next;
        if (!text)
            return missing_value (option);
        if (!attached)
            (*next)++;
        char *problem = read_value (option, text, &value);
        if (problem)
            return problem;
    }
    g_array_append_val (args->values, value);
    return NULL;
}

/* What reading the words of one command met. */
typedef struct {
    char *unknown; /* the first unknown option; owned */
    gboolean help; /* -h or --help */
} Met;

/* "-pl", "-c4096": letters until one takes a value.  Returns an error text or NULL. */
static char *
take_letters (Args *args, const char *word, const char *const **next, Met *met)
{
    for (const char *letter = word + 1; *letter; letter++) {
        const Option *option = find_option (args_command (args), NULL, 0, *letter);
        if (!option) {
            if (*letter == help_option.letter)
                met->help = TRUE;
            else if (!met->unknown)
                met->unknown = g_strdup_printf ("-%s", letter);
            return NULL;
        }
        char *problem = take_option (args, option, option->value && letter[1] ? letter + 1 : NULL, next);
        if (problem || option->value)
            return problem;
    }
    return NULL;
}

static char *
take_long (Args *args, const char *word, const char *const **next, Met *met)
{
    const char *name = word + 2;
    const char *equals = strchr (name, '=');
    gsize length = equals ? (gsize) (equals - name) : strlen (name);
    const Option *option = find_option (args_command (args), name, length, 0);
    if (option && (option->value || !equals))
        return take_option (args, option, equals ? equals + 1 : NULL, next);
    if (strcmp (name, help_option.name) == 0)
        met->help = TRUE;
    else if (!met->unknown)
        met->unknown = g_strdup (word);
    return NULL;
}

/* The count of positional arguments against what the command takes. */
static char *
check_words (const Args *args)
{
    const Command *command = args_command (args);
    guint taken = 0;
    for (const Argument *argument = command->arguments; argument && argument->name; argument++, taken++)
        if (argument->required && taken >= args->words->len)
            return g_strdup_printf ("error: missing required argument '%s'", argument->name);
    if (args->words->len <= taken)
        return NULL;
    return g_strdup_printf ("error: too many arguments for '%s'. Expected %u argument%s but got %u.", command->name,
                            taken, taken == 1 ? "" : "s", args->words->len);
}

/* Everything behind the path. */
static ArgsOutcome
read_rest (Args *args, const char *const *next, char **message)
{
    Met met = { 0 };
    gboolean only_words = FALSE;
    while (*next) {
        const char *word = *next++;
        if (only_words || word[0] != '-' || !word[1])
            g_ptr_array_add (args->words, (char *) word);
        else if (strcmp (word, "--") == 0)
            only_words = TRUE;
        else if ((*message =
                      word[1] == '-' ? take_long (args, word, &next, &met) : take_letters (args, word, &next, &met)))
            break;
    }
    g_autofree char *unknown = met.unknown;
    if (*message)
        return ARGS_WRONG;
    if (met.help)
        return ARGS_HELP;
    *message = unknown ? unknown_option (args, unknown) : check_words (args);
    return *message ? ARGS_WRONG : ARGS_RUN;
}

/* `lms help load`, `lms help server start`: the path of the words after "help". */
static ArgsOutcome
read_topic (Args *args, const char *const *next, char **message)
{
    for (; *next && args->depth < G_N_ELEMENTS (args->path); next++) {
        if (g_str_equal (*next, "-h") || g_str_equal (*next, "--help"))
            continue;
        const Command *command = args_command (args);
        const Command *member = find_command (command, *next);
        if (!member)
            return *message = command->commands ? unknown_command (command, *next) : NULL,
                   *message ? ARGS_WRONG : ARGS_HELP;
        args->path[args->depth++] = member;
    }
    return ARGS_HELP;
}

ArgsOutcome
args_parse (const Command *root, const char *const *argv, Args *args, char **message)
{
    *args = (Args){ .path = { root }, .depth = 1, .words = g_ptr_array_new (), .argv = argv };
    args->values = g_array_new (FALSE, FALSE, sizeof (ArgsValue));
    *message = NULL;
    if (!argv[0] || !argv[1])
        return ARGS_BARE;
    for (const char *const *word = argv + 1; *word; word++)
        if (strcmp (*word, "-v") == 0 || strcmp (*word, "--version") == 0)
            return ARGS_VERSION;

    const char *const *next = argv + 1;
    while (args_command (args)->commands) {
        const Command *group = args_command (args);
        if (!*next)
            return ARGS_LOST;
        if (**next == '-' && (*next)[1]) /* a group has no options of its own but help */
            return read_rest (args, next, message);
        if (strcmp (*next, "help") == 0)
            return read_topic (args, next + 1, message);
        const Command *member = find_command (group, *next);
        if (!member) {
            *message = unknown_command (group, *next);
            return ARGS_WRONG;
        }
        g_assert (args->depth < G_N_ELEMENTS (args->path));
        args->path[args->depth++] = member;
        next++;
    }
    return read_rest (args, next, message);
}

void
args_clear (Args *args)
{
    g_clear_pointer (&args->words, g_ptr_array_unref);
    g_clear_pointer (&args->values, g_array_unref);
}

const Command *
args_command (const Args *args)
{
    return args->path[args->depth - 1];
}

gboolean
args_takes (const Args *args, const char *name)
{
    const Option *const *tables = args_command (args)->options;
    for (guint i = 0; tables && tables[i]; i++)
        for (const Option *option = tables[i]; option->name; option++)
            if (strcmp (option->name, name) == 0)
                return TRUE;
    return FALSE;
}

static const ArgsValue *
find_value (const Args *args, const char *name)
{
    for (guint i = args->values->len; i > 0; i--) {
        const ArgsValue *value = &g_array_index (args->values, ArgsValue, i - 1);
        if (strcmp (value->option->name, name) == 0)
            return value;
    }
    return NULL;
}

gboolean
args_has (const Args *args, const char *name)
{
    return find_value (args, name) != NULL;
}

const char *
args_text (const Args *args, const char *name)
{
    const ArgsValue *value = find_value (args, name);
    return value ? value->text : NULL;
}

double
args_number (const Args *args, const char *name, double fallback)
{
    const ArgsValue *value = find_value (args, name);
    if (!value || (value->option->type == OPTION_RATIO && value->number < 0))
        return fallback;
    return value->number;
}

const char *
args_word (const Args *args, guint index)
{
    return index < args->words->len ? g_ptr_array_index (args->words, index) : NULL;
}
