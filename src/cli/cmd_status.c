/* lms status: server, daemon and loaded models at a glance (spec: cli.md 11).  Wakes nobody. */
#include "cli/commands.h"

#include "cli/client.h"
#include "cli/format.h"
#include "cli/loaded.h"
#include "cli/terminal.h"

#include <string.h>
#include <unistd.h>

#define DEFAULT_PORT        1234
#define GREETING_TIMEOUT_MS 500

/* What is shown.  `models` and `info` are NULL where nobody could be asked. */
typedef struct {
    guint16 port;
    gboolean running;
    json_t *models; /* instance infos, owned */
    json_t *info;   /* of the daemon, owned */
} Status;

static void
print_status_json (const Status *status)
{
    g_autoptr (json_t) models = json_array ();
    size_t i;
    json_t *model;
    json_array_foreach (status->models, i, model)
        json_array_append_new (models, json_pack ("{s:O, s:O}", "identifier", json_object_get (model, "identifier"),
                                                  "sizeBytes", json_object_get (model, "sizeBytes")));
    g_autoptr (json_t) daemon = json_pack ("{s:b}", "running", status->info != NULL);
    static const char *const members[] = { "pid", "version" };
    for (guint j = 0; status->info && j < G_N_ELEMENTS (members); j++)
        json_object_set (daemon, members[j], json_object_get (status->info, members[j]));
    g_autoptr (json_t) out = json_pack ("{s:{s:b, s:i}, s:O, s:O}", "server", "running", status->running, "port",
                                        status->port, "daemon", daemon, "models", models);
    g_autofree char *text = json_print (out, NULL);
    print_outf ("%s\n", text);
}

static void
print_status (const Status *status)
{
    g_autofree char *state =
        style_text (STDOUT_FILENO, status->running ? STYLE_GREEN : STYLE_RED, status->running ? "ON" : " OFF ");
    if (!status->running) {
        print_outf ("Server: %s\n\n(i) To start the server, run the following command:\n\n    lms server start\n",
                    state);
        return;
    }
    print_outf ("Server: %s (port: %d)\n\n", state, status->port);
    if (!json_array_size (status->models)) {
        print_outf ("No Models Loaded\n");
        return;
    }
    print_outf ("Loaded Models\n");
    size_t i;
    json_t *model;
    json_array_foreach (status->models, i, model) {
        g_autofree char *size = format_size ((guint64) json_peek_int (model, "sizeBytes", 0));
        print_outf ("  · %s - %s\n", json_peek_string (model, "identifier"), size);
    }
}

/* The server that flags, LMS_HOST or the configuration mean. */
static gboolean
find_server (const Args *args, char **host, guint16 *port, GError **error)
{
    g_autofree char *bound = NULL;
    guint16 stored = 0;
    GError *wrong = NULL;
    gboolean named = daemon_named (args, host, port, &wrong);
    if (wrong)
        return g_propagate_error (error, wrong), FALSE;
    gboolean configured = daemon_http_config (&stored, &bound);
    if (!*host)
        *host = g_strdup (!bound || strcmp (bound, "0.0.0.0") == 0 ? "127.0.0.1" : bound);
    if (!named || !*port)
        *port = !named && configured ? stored : *port ? *port : DEFAULT_PORT;
    return TRUE;
}

int
cmd_status (const Args *args)
{
    Status status = { 0 };
    g_autofree char *host = NULL;
    g_autoptr (GError) error = NULL;
    if (!find_server (args, &host, &status.port, &error))
        return say_failure (error);
    status.running = daemon_greets (host, status.port, GREETING_TIMEOUT_MS);

    gboolean json = args_has (args, "json");
    g_autoptr (Client) client = status.running || json ? client_new (args, DAEMON_FIND, "system", NULL) : NULL;
    g_autoptr (json_t) models = NULL, info = NULL;
    if (client) {
        ClientCall *question = json ? client_call (client, "system", "info", NULL) : NULL;
        LoadedQuestion loaded = loaded_ask (client);
        models = loaded_take (&loaded, FALSE, &error);
        if (!models)
            return say_failure (error);
        info = question ? json_incref (client_wait (question, NULL)) : NULL;
    }
    status.models = models;
    status.info = info;
    if (json)
        print_status_json (&status);
    else
        print_status (&status);
    return 0;
}
