/* lms version, and the experiment flags (spec: cli.md 11). */
#include "cli/commands.h"

#include "cli/client.h"
#include "cli/terminal.h"

#include "commit.h"

#include <string.h>
#include <unistd.h>

const char *
cli_commit_line (void)
{
    return "CLI commit: " CLI_COMMIT;
}

static const char art[] = " _\n"
                          "| |_ __ ___  ___\n"
                          "| | '_ ` _ \\/ __|\n"
                          "| | | | | | \\__ \\\n"
                          "|_|_| |_| |_|___/\n";

int
cmd_version (const Args *args)
{
    const char *commit = strchr (cli_commit_line (), ':') + 2;
    if (args_has (args, "json")) {
        print_outf ("{\"version\":\"%s\",\"commit\":\"%s\"}\n", CLI_VERSION, commit);
        return 0;
    }
    if (terminal_is (STDOUT_FILENO)) {
        g_autofree char *colored = style_text (STDOUT_FILENO, STYLE_CYAN, art);
        print_outf ("%s\n", colored);
    }
    print_outf ("lms is LM Studio's CLI utility for your models, server, and inference runtime.\n%s\n",
                cli_commit_line ());
    return 0;
}

/* ---- flags -------------------------------------------------------------------------------------------------------------- */

static int
show_flags (const json_t *flags, gboolean json)
{
    if (json) {
        g_autofree char *text = json_print (flags, NULL);
        print_outf ("%s\n", text);
        return 0;
    }
    if (!json_array_size (flags)) {
        say_error ("No experiment flags are set.");
        return 0;
    }
    say_info ("Enabled experiment flags:");
    size_t i;
    json_t *flag;
    json_array_foreach ((json_t *) flags, i, flag)
        say_info ("%s", json_string_value (flag));
    return 0;
}

static int
show_flag (const json_t *flags, const char *name, gboolean json)
{
    gboolean enabled = FALSE;
    size_t i;
    json_t *flag;
    json_array_foreach ((json_t *) flags, i, flag)
        enabled = enabled || g_strcmp0 (json_string_value (flag), name) == 0;
    if (json)
        print_outf ("%s\n", enabled ? "true" : "false");
    else
        say_info ("Flag \"%s\" is currently %s.", name, enabled ? "enabled" : "disabled");
    return 0;
}

static int
set_flag (Client *client, const char *name, gboolean value, gboolean json)
{
    g_autoptr (GError) error = NULL;
    client_ask (client, "system", "setExperimentFlag", json_pack ("{s:s, s:b}", "code", name, "value", value), &error);
    if (error)
        return say_failure (error);
    if (json) {
        g_autoptr (json_t) out = json_pack ("{s:s, s:b}", "flag", name, "value", value);
        g_autofree char *text = json_print (out, NULL);
        print_outf ("%s\n", text);
    } else {
        say_info ("Set flag \"%s\" to %s.", name, value ? "true" : "false");
    }
    return 0;
}

int
cmd_flags (const Args *args)
{
    const char *name = args_word (args, 0), *value = args_word (args, 1);
    if (value && strcmp (value, "true") != 0 && strcmp (value, "false") != 0) {
        fprintf (stderr,
                 "error: command-argument value '%s' is invalid for argument 'value'. Expected 'true' or 'false'\n",
                 value);
        return 1;
    }
    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new (args, DAEMON_WAKE, "system", &error);
    if (!client)
        return say_failure (error);
    if (value)
        return set_flag (client, name, strcmp (value, "true") == 0, args_has (args, "json"));
    const json_t *flags = client_ask (client, "system", "getExperimentFlags", NULL, &error);
    if (error)
        return say_failure (error);
    return name ? show_flag (flags, name, args_has (args, "json")) : show_flags (flags, args_has (args, "json"));
}
