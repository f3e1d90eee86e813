/* main.c: lmsd, from its arguments to its end.
 *
 * One process listens twice (sdk.md 1.1): the local API server, always, on the first free of five ports; the HTTP server, when it is
 * started, on 1234 or where the user says.  This file puts the parts together; what they do is theirs. */
#include "daemon/daemon.h"

#include "home/home.h"
#include "home/log.h"

#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    gboolean server, cors, version;
    int port;
    char *bind;
} Options;

static gboolean
parse_options (Options *options, int *argc, char ***argv, GError **error)
{
    options->port = -1;
    const GOptionEntry entries[] = {
        { "server", 0, 0, G_OPTION_ARG_NONE, &options->server, "Open the HTTP server at once", NULL },
        { "port", 'p', 0, G_OPTION_ARG_INT, &options->port,
          "Port of the HTTP server; 0 takes a free one (default: the last used, else 1234)", "N" },
        { "bind", 0, 0, G_OPTION_ARG_STRING, &options->bind,
          "Address of the HTTP server (default: $LMS_SERVER_HOST, else 127.0.0.1)", "ADDRESS" },
        { "cors", 0, 0, G_OPTION_ARG_NONE, &options->cors, "Let web pages of other origins use the HTTP server", NULL },
        { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
        { 0 },
    };
    g_autoptr (GOptionContext) context = g_option_context_new ("- the model server behind lms");
    g_option_context_add_main_entries (context, entries, NULL);
    if (!g_option_context_parse (context, argc, argv, error))
        return FALSE;
    if (options->port > 65535 || options->port < -1) {
        g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--port must be between 0 and 65535");
        return FALSE;
    }
    return TRUE;
}

static gboolean
quit_on_signal (gpointer data)
{
    daemon_quit (data);
    return G_SOURCE_CONTINUE;
}

static void
http_is_open (const GError *error, gpointer data)
{
    if (error)
        log_line (LOG_ERROR, NULL, "The HTTP server did not start: %s", error->message);
}

int
main (int argc, char **argv)
{
    setlocale (LC_CTYPE, ""); /* texts only: numbers stay in the C locale, as JSON wants them */
    signal (SIGPIPE, SIG_IGN);
    Options options = { 0 };
    g_autoptr (GError) error = NULL;
    if (!parse_options (&options, &argc, &argv, &error)) {
        g_printerr ("lmsd: %s\n", error->message);
        return EXIT_FAILURE;
    }
    if (options.version) {
        g_print ("lmsd %s\n", ATELIER_VERSION);
        return EXIT_SUCCESS;
    }
    if (!home_path (&error)) {
        g_printerr ("lmsd: %s\n", error->message);
        return EXIT_FAILURE;
    }
    const char *runs_already = NULL;
    Daemon *daemon = daemon_new (&runs_already, &error);
    if (!daemon && runs_already) { /* not an error: whoever started us gets the daemon it wanted */
        g_printerr ("lmsd: %s\n", runs_already);
        return EXIT_SUCCESS;
    }
    if (!daemon) {
        g_printerr ("lmsd: %s\n", error->message);
        return EXIT_FAILURE;
    }
    if (options.server) {
        const char *host = g_getenv ("LMS_SERVER_HOST");
        daemon_start_http (daemon, options.port,
                           options.bind    ? options.bind
                           : host && *host ? host
                                           : "127.0.0.1",
                           options.cors, http_is_open, NULL);
    } else {
        daemon_restore_http (daemon, http_is_open, NULL);
    }
    guint on_term = g_unix_signal_add (SIGTERM, quit_on_signal, daemon),
          on_int = g_unix_signal_add (SIGINT, quit_on_signal, daemon);
    daemon_run (daemon);
    g_source_remove (on_term);
    g_source_remove (on_int);
    daemon_free (daemon);
    g_free (options.bind);
    return EXIT_SUCCESS;
}
