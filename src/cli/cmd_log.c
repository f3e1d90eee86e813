/* lms log stream: what goes in and out, as it happens (spec: cli.md 10). */
#include "cli/commands.h"

#include "cli/client.h"
#include "cli/terminal.h"

#include <glib-unix.h>
#include <string.h>

#define STOP_TIMEOUT_MS 1000

/* Which events are shown, and how. */
typedef struct {
    const char *source; /* "model", "server", "runtime" */
    gboolean input, output, stats, json;
    gboolean stopped; /* by SIGINT or SIGTERM */
} LogView;

/* The kinds of events, the source they belong to, and how they read. */
typedef struct {
    const char *type, *source;
    void (*print) (const LogView *view, const char *time, const json_t *data, GString *out);
} LogKind;

static void
print_head (const char *time, const json_t *data, GString *out)
{
    g_string_append_printf (out, "timestamp: %s\ntype: %s\n", time, json_peek_string (data, "type"));
    const char *identifier = json_peek_string (data, "modelIdentifier"), *path = json_peek_string (data, "modelPath");
    if (identifier)
        g_string_append_printf (out, "modelIdentifier: %s\n", identifier);
    if (path)
        g_string_append_printf (out, "modelPath: %s\n", path);
}

static void
print_input (const LogView *view, const char *time, const json_t *data, GString *out)
{
    const char *input = json_peek_string (data, "input");
    print_head (time, data, out);
    g_string_append_printf (out, "input:\n%s\n\n\n", input ? input : "");
}

static void
print_output (const LogView *view, const char *time, const json_t *data, GString *out)
{
    const char *output = json_peek_string (data, "output");
    print_head (time, data, out);
    g_string_append_printf (out, "output:\n%s\n", output ? output : "");
    json_t *stats = json_object_get (data, "stats");
    if (view->stats && !json_object_size (stats))
        g_string_append (out, "No stats available\n");
    const char *name;
    json_t *value;
    json_object_foreach (stats, name, value) {
        g_autofree char *text =
            json_is_string (value) ? g_strdup (json_string_value (value)) : json_print (value, NULL);
        if (view->stats)
            g_string_append_printf (out, "%s: %s\n", name, text);
    }
    g_string_append (out, "\n\n");
}

static void
print_server (const LogView *view, const char *time, const json_t *data, GString *out)
{
    const char *content = json_peek_string (data, "content");
    g_string_append_printf (out, "%s\n", content ? content : "");
}

/* [INFO] llama.cpp-linux-x86_64-avx2@2.28.2 (llama.cpp) qwen/qwen3-8b pid=4711 message */
static void
print_runtime (const LogView *view, const char *time, const json_t *data, GString *out)
{
    g_autofree char *level =
        g_ascii_strup (json_peek_string (data, "level") ? json_peek_string (data, "level") : "info", -1);
    const char *identifier = json_peek_string (data, "modelIdentifier"), *message = json_peek_string (data, "message");
    g_string_append_printf (out, "[%s] %s@%s (%s)", level, json_peek_string (data, "engineName"),
                            json_peek_string (data, "engineVersion"), json_peek_string (data, "engineType"));
    if (identifier)
        g_string_append_printf (out, " %s", identifier);
    gint64 pid = json_peek_int (data, "pid", 0);
    if (pid)
        g_string_append_printf (out, " pid=%" G_GINT64_FORMAT, pid);
    g_string_append_printf (out, " %s\n", message ? message : "");
}

static const LogKind kinds[] = {
    { "llm.prediction.input", "model", print_input },
    { "llm.prediction.output", "model", print_output },
    { "server.log", "server", print_server },
    { "runtime.log", "runtime", print_runtime },
};

static gboolean
wanted (const LogView *view, const LogKind *kind)
{
    if (strcmp (kind->source, view->source) != 0)
        return FALSE;
    return kind->print == print_input ? view->input : kind->print == print_output ? view->output : TRUE;
}

static void
on_message (ClientCall *channel, const char *type, json_t *message, gpointer data)
{
    const LogView *view = data;
    const json_t *log = json_object_get (message, "log"), *event = json_object_get (log, "data");
    const char *name = json_peek_string (event, "type");
    for (guint i = 0; name && i < G_N_ELEMENTS (kinds); i++) {
        if (strcmp (kinds[i].type, name) != 0 || !wanted (view, &kinds[i]))
            continue;
        g_autoptr (GString) out = g_string_new (NULL);
        if (view->json) {
            if (!view->stats)
                json_object_del ((json_t *) event, "stats");
            g_autofree char *text = json_print (log, NULL);
            g_string_append_printf (out, "%s\n", text);
        } else {
            gint64 ms = (gint64) json_peek_number (log, "timestamp", 0);
            g_autoptr (GDateTime) moment = g_date_time_new_from_unix_local (ms / 1000);
            g_autofree char *time = moment ? g_date_time_format_iso8601 (moment) : g_strdup ("");
            kinds[i].print (view, time, event, out);
        }
        print_out (out->str, out->len); /* unbuffered: every event is out before the next is read */
    }
}

static gboolean
on_signal (gpointer data)
{
    ((LogView *) data)->stopped = TRUE;
    return G_SOURCE_CONTINUE;
}

/* Fills @view from the flags; FALSE after saying what is wrong. */
static gboolean
read_flags (const Args *args, LogView *view)
{
    *view = (LogView){ .source = args_text (args, "source"),
                       .json = args_has (args, "json"),
                       .stats = args_has (args, "stats") };
    if (!view->source)
        view->source = "model";
    const char *filter = args_text (args, "filter"), *wrong = NULL;
    gboolean model = strcmp (view->source, "model") == 0;
    if (view->stats && !model)
        wrong = "--stats can only be used with --source model";
    else if (filter && !model)
        wrong = "--filter can only be used with --source model";
    g_auto (GStrv) parts = g_strsplit (filter ? filter : "input,output", ",", -1);
    for (guint i = 0; parts[i]; i++)
        g_strstrip (parts[i]);
    if (!wrong && (!parts[0] || (!*parts[0] && !parts[1])))
        wrong = "--filter cannot be empty";
    for (guint i = 0; !wrong && parts[i]; i++) {
        if (strcmp (parts[i], "input") == 0)
            view->input = TRUE;
        else if (strcmp (parts[i], "output") == 0)
            view->output = TRUE;
        else
            wrong = "--filter values must be 'input', 'output', or 'input,output'";
    }
    if (wrong)
        say_error ("%s", wrong);
    return !wrong;
}

int
cmd_log_stream (const Args *args)
{
    LogView view;
    if (!read_flags (args, &view))
        return 1;
    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new (args, DAEMON_WAKE, "diagnostics", &error);
    if (!client)
        return say_failure (error);
    g_unix_signal_add (SIGINT, on_signal, &view);
    g_unix_signal_add (SIGTERM, on_signal, &view);
    ClientCall *channel = client_open (client, "diagnostics", "streamLogs", NULL, on_message, &view);
    say_info ("Streaming logs from LM Studio\n");
    gboolean closed = client_wait_closed_unless (channel, &view.stopped, &error);
    if (view.stopped) {
        client_send (channel, "stop");
        client_wait_ended (channel, STOP_TIMEOUT_MS);
        return 0;
    }
    say_error ("The log stream ended: %s", closed ? "the daemon closed it." : error->message);
    return 1;
}
