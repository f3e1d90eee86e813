/* lms: the command line (spec: cli.md).
 *
 * Reads the words, answers what needs no daemon itself, and calls the command's function.  Its speed is a feature: help, version and
 * mistakes open nothing but the program's own libraries. */
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A prompt or a spinner may have hidden the cursor.  Only what a signal handler may do. */
static void
on_interrupt (int number)
{
    static const char show_cursor[] = "\x1b[?25h";
    if (isatty (STDERR_FILENO)) {
        gssize ignored = write (STDERR_FILENO, show_cursor, sizeof show_cursor - 1);
        (void) ignored;
    }
    _exit (128 + number);
}

/* The three log flags (cli.md 1.2). */
static gboolean
set_log_level (const Args *args)
{
    static const char *const names[] = { "debug", "info", "warn", "error", "none" };
    if (args_has (args, "log-level") + args_has (args, "verbose") + args_has (args, "quiet") > 1) {
        fputs ("Only one of --logLevel, --verbose, or --quiet can be specified.\n", stderr);
        return FALSE;
    }
    if (args_has (args, "verbose"))
        say_set_level (SAY_DEBUG);
    if (args_has (args, "quiet"))
        say_set_level (SAY_NONE);
    for (guint i = 0; i < G_N_ELEMENTS (names); i++)
        if (g_strcmp0 (args_text (args, "log-level"), names[i]) == 0)
            say_set_level ((SayLevel) i);
    return TRUE;
}

static int
show_help (const Args *args, int fd, int code)
{
    g_autofree char *text = help_text (args, fd);
    if (fd == STDOUT_FILENO)
        print_out (text, strlen (text));
    else
        fputs (text, stderr);
    return code;
}

int
main (int argc, char **argv)
{
    signal (SIGPIPE, SIG_IGN); /* print_out says what happens then; sockets have their own errors */
    signal (SIGINT, on_interrupt);
    signal (SIGTERM, on_interrupt);

    g_auto (Args) args = { 0 };
    g_autofree char *message = NULL;
    switch (args_parse (&cli_root, (const char *const *) argv, &args, &message)) {
    case ARGS_VERSION:
        return print_outf ("%s\n", cli_commit_line ()), 0;
    case ARGS_HELP:
        return show_help (&args, STDOUT_FILENO, 0);
    case ARGS_LOST:
        return show_help (&args, STDERR_FILENO, 1);
    case ARGS_BARE:
        fprintf (stderr, "lms is LM Studio's CLI utility for your models, server, and inference runtime.\n%s\n\n",
                 cli_commit_line ());
        return show_help (&args, STDERR_FILENO, 0);
    case ARGS_WRONG:
        fprintf (stderr, "%s\n", message);
        return 1;
    case ARGS_RUN:
        break;
    }
    return set_log_level (&args) ? args_command (&args)->run (&args) : 1;
}
