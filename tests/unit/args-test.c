/* cli/args: what the words of a command line mean, and what is said of mistakes. */
#include "cli/args.h"
#include "cli/commands.h"

#include <string.h>

/* The words of @line against the program's own table.  @message as of args_parse; the caller frees. */
static ArgsOutcome
parse (const char *line, Args *args, char **message, GStrv *words)
{
    g_autofree char *whole = g_strconcat ("lms ", line, NULL);
    g_assert_true (g_shell_parse_argv (whole, NULL, words, NULL));
    return args_parse (&cli_root, (const char *const *) *words, args, message);
}

static void
check_wrong (gconstpointer data)
{
    const char *const *row = data; /* line, message */
    g_auto (Args) args = { 0 };
    g_autofree char *message = NULL;
    g_auto (GStrv) words = NULL;
    g_assert_cmpint (parse (row[0], &args, &message, &words), ==, ARGS_WRONG);
    g_assert_cmpstr (message, ==, row[1]);
}

#define CONTEXT "error: option '-c, --context-length <length>' argument "
#define PORT    "error: option '--port <port>' argument "

static const char *const wrong[][2] = {
    { "--bogus", "error: unknown option '--bogus'" },
    { "bogus", "error: unknown command 'bogus'" },
    { "sever", "error: unknown command 'sever'\n(Did you mean server?)" },
    { "server strat", "error: unknown command 'strat'\n(Did you mean start?)" },
    { "server sta", "error: unknown command 'sta'\n(Did you mean one of start, stop?)" },
    { "help nope", "error: unknown command 'nope'" },
    { "ps --jsn", "error: unknown option '--jsn'\n(Did you mean --json?)" },
    { "ps -x", "error: unknown option '-x'" },
    { "chat -yx hello", "error: unknown option '-x'" },
    { "ps --json=1", "error: unknown option '--json=1'\n(Did you mean --json?)" },
    { "ps extra", "error: too many arguments for 'ps'. Expected 0 arguments but got 1." },
    { "load a b", "error: too many arguments for 'load'. Expected 1 argument but got 2." },
    { "load -c", "error: option '-c, --context-length <length>' argument missing" },
    { "load -c abc", CONTEXT "'abc' is invalid. Not a number" },
    { "load -cabc", CONTEXT "'abc' is invalid. Not a number" },
    { "load --context-length=", CONTEXT "'' is invalid. Not a number" },
    { "load -c nan", CONTEXT "'nan' is invalid. Not a number" },
    { "load -c 5x", CONTEXT "'5x' is invalid. Not a number" },
    { "load -c Infinity", CONTEXT "'Infinity' is invalid. Not a finite number" },
    { "load -c 1e999", CONTEXT "'1e999' is invalid. Not a finite number" },
    { "load -c 1.5", CONTEXT "'1.5' is invalid. Not an integer" },
    { "load -c 0", CONTEXT "'0' is invalid. Number out of range, must be at least 1" },
    { "load --parallel 0",
      "error: option '--parallel <n>' argument '0' is invalid. Number out of range, must be at least 1" },
    { "load --ttl 0",
      "error: option '--ttl <seconds>' argument '0' is invalid. Number out of range, must be at least 1" },
    { "ps --port 70000", PORT "'70000' is invalid. Number out of range, must be at most 65535" },
    { "ps --port -1", PORT "'-1' is invalid. Number out of range, must be at least 0" },
    { "ps --port 1.5", PORT "'1.5' is invalid. Not an integer" },
    { "ps --port abc", PORT "'abc' is invalid. Not a number" },
    { "load --gpu 1.5",
      "error: option '--gpu <ratio>' argument '1.5' is invalid. Number out of range, must be between 0 and 1" },
    { "load --gpu some", "error: option '--gpu <ratio>' argument 'some' is invalid. Not a number" },
    { "chat --reasoning maybe",
      "error: option '--reasoning <mode>' argument 'maybe' is invalid. Allowed choices are auto, on, off." },
    { "log stream -s disk",
      "error: option '-s, --source <source>' argument 'disk' is invalid. Allowed choices are model, server, runtime." },
    { "server stop --port 1", "error: unknown option '--port'" },
    { "--port 5 ps", "error: unknown option '--port'" },
};

static Args
parse_run (const char *line, GStrv *words)
{
    Args args;
    g_autofree char *message = NULL;
    g_assert_cmpint (parse (line, &args, &message, words), ==, ARGS_RUN);
    g_assert_null (message);
    return args;
}

static void
test_order_is_free (void)
{
    static const char *const lines[] = {
        "load key -c 4096 --ttl 60 -y",
        "load -y --context-length=4096 key --ttl=60",
        "load -c4096 -y --ttl 60 -- key",
        "load -yc4096 --ttl 60 key",
        "load -c 1 --context-length 4096 key --ttl 60 --yes",
    };
    for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
        g_auto (GStrv) words = NULL;
        g_auto (Args) args = parse_run (lines[i], &words);
        g_assert_cmpstr (args_word (&args, 0), ==, "key");
        g_assert_cmpfloat (args_number (&args, "context-length", 0), ==, 4096);
        g_assert_cmpfloat (args_number (&args, "ttl", 0), ==, 60);
        g_assert_true (args_has (&args, "yes"));
        g_assert_false (args_has (&args, "json"));
    }
}

static void
test_dashes_end_the_options (void)
{
    g_auto (GStrv) words = NULL;
    g_auto (Args) args = parse_run ("load -y -- -c", &words);
    g_assert_cmpstr (args_word (&args, 0), ==, "-c");
    g_assert_null (args_word (&args, 1));
}

static void
test_a_value_may_begin_with_a_dash (void)
{
    g_auto (GStrv) words = NULL;
    g_auto (Args) args = parse_run ("chat -p --stats model", &words);
    g_assert_cmpstr (args_text (&args, "prompt"), ==, "--stats");
    g_assert_false (args_has (&args, "stats"));
}

static void
test_ratio_words (void)
{
    static const struct {
        const char *line;
        double ratio;
    } rows[] = { { "load --gpu off", 0 },
                 { "load --gpu max", 1 },
                 { "load --gpu 0.5", 0.5 },
                 { "load --gpu auto", -7 },
                 { "load", -7 } };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_auto (GStrv) words = NULL;
        g_auto (Args) args = parse_run (rows[i].line, &words);
        g_assert_cmpfloat (args_number (&args, "gpu", -7), ==, rows[i].ratio);
    }
}

static void
test_outcomes (void)
{
    static const struct {
        const char *line;
        ArgsOutcome outcome;
        const char *command;
    } rows[] = {
        { "", ARGS_BARE, "lms" },
        { "-h", ARGS_HELP, "lms" },
        { "--help", ARGS_HELP, "lms" },
        { "help", ARGS_HELP, "lms" },
        { "help load", ARGS_HELP, "load" },
        { "help server start", ARGS_HELP, "start" },
        { "server help start", ARGS_HELP, "start" },
        { "load --help", ARGS_HELP, "load" },
        { "load --bogus -h", ARGS_HELP, "load" },
        { "load -yh", ARGS_HELP, "load" },
        { "server", ARGS_LOST, "server" },
        { "server -h", ARGS_HELP, "server" },
        { "load x -v", ARGS_VERSION, "lms" },
        { "bogus --version", ARGS_VERSION, "lms" },
        { "-h -v", ARGS_VERSION, "lms" },
        { "server start", ARGS_RUN, "start" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_auto (Args) args = { 0 };
        g_autofree char *message = NULL;
        g_auto (GStrv) words = NULL;
        g_test_message ("lms %s", rows[i].line);
        g_assert_cmpint (parse (rows[i].line, &args, &message, &words), ==, rows[i].outcome);
        g_assert_cmpstr (args_command (&args)->name, ==, rows[i].command);
    }
}

/* The rows themselves: what the parser and the help rely on. */
static void
check_command (const Command *command)
{
    g_assert_nonnull (command->name);
    g_assert_true ((command->run != NULL) != (command->commands != NULL));
    for (const Option *const *table = command->options; table && *table; table++)
        for (const Option *option = *table; option->name; option++) {
            g_test_message ("%s --%s", command->name, option->name);
            g_assert_true ((option->value == NULL) == (option->type == OPTION_FLAG));
            g_assert_true ((option->choices != NULL) == (option->type == OPTION_CHOICE));
            g_assert_true (option->help && *option->help);
            for (const Option *const *other = command->options; *other; other++)
                for (const Option *twin = *other; twin->name; twin++)
                    g_assert_true (twin == option || (strcmp (twin->name, option->name) != 0 &&
                                                      (!twin->letter || twin->letter != option->letter)));
        }
    for (const Command *member = command->commands; member && member->name; member++)
        check_command (member);
}

static void
test_table (void)
{
    for (const Command *command = cli_root.commands; command->name; command++)
        check_command (command);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS (wrong); i++) {
        g_autofree char *path = g_strdup_printf ("/cli/args/wrong/%02u", i);
        g_test_add_data_func (path, wrong[i], check_wrong);
    }
    g_test_add_func ("/cli/args/order-is-free", test_order_is_free);
    g_test_add_func ("/cli/args/dashes-end-the-options", test_dashes_end_the_options);
    g_test_add_func ("/cli/args/a-value-may-begin-with-a-dash", test_a_value_may_begin_with_a_dash);
    g_test_add_func ("/cli-027/ratio-words", test_ratio_words);
    g_test_add_func ("/cli/args/outcomes", test_outcomes);
    g_test_add_func ("/cli/args/table", test_table);
    return g_test_run ();
}
