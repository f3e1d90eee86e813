/* lms server: the HTTP server's start, stop and status (spec: cli.md 9). */
#include "cli/commands.h"

#include "cli/client.h"
#include "cli/terminal.h"

#include <string.h>

#define DEFAULT_PORT        1234
#define GREETING_TIMEOUT_MS 1000

/* Where to knock for a server bound to @address: one that listens everywhere is asked at home. */
static const char *
knock_at (const char *address)
{
    if (!address || !*address || strcmp (address, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp (address, "::") == 0 ? "::1" : address;
}

/* The server of the configuration file, when it answers. */
static gboolean
is_running (guint16 *port)
{
    g_autofree char *address = NULL;
    return daemon_http_config (port, &address) && daemon_greets (knock_at (address), *port, GREETING_TIMEOUT_MS);
}

/* ---- start -------------------------------------------------------------------------------------------------------------- */

static const char *
bind_address (const Args *args)
{
    const char *flag = args_text (args, "bind"), *variable = g_getenv ("LMS_SERVER_HOST");
    if (flag && *flag)
        return flag;
    return variable && *variable ? variable : "127.0.0.1";
}

static guint16
wanted_port (const Args *args)
{
    guint16 last = 0;
    g_autofree char *address = NULL;
    daemon_http_config (&last, &address);
    return (guint16) args_number (args, "port", last ? last : DEFAULT_PORT);
}

static gboolean
wait_for_greeting (const char *address, guint16 port)
{
    static const guint pauses_ms[] = { 20, 50, 100, 200, 1000, 1000, 1000, 1000 };
    for (guint i = 0; !daemon_greets (knock_at (address), port, GREETING_TIMEOUT_MS); i++) {
        if (i == G_N_ELEMENTS (pauses_ms))
            return FALSE;
        g_usleep (pauses_ms[i] * 1000);
    }
    return TRUE;
}

int
cmd_server_start (const Args *args)
{
    const char *address = bind_address (args);
    guint16 port = wanted_port (args);
    gboolean cors = args_has (args, "cors");
    if (cors)
        say_warn ("CORS is enabled. This means any website you visit can use the LM Studio server.");
    if (strcmp (address, "127.0.0.1") != 0)
        say_warn ("Server will accept connections from the network. Only use this if you know what you are doing!");

    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new (args, DAEMON_WAKE, "system", &error);
    if (!client)
        return say_failure (error);
    client_ask (client, "system", "startHttpServer",
                json_pack ("{s:i, s:b, s:s}", "port", port, "cors", cors, "networkInterface", address), &error);
    if (error && strstr (error->message, "in use")) { /* so lmsd words it, and the kernel's EADDRINUSE in others */
        say_error ("Port %d is in use.", port);
        return 1;
    }
    if (error)
        return say_failure (error);
    g_autofree char *bound = NULL;
    if (!port) /* which one it got stands in the configuration */
        daemon_http_config (&port, &bound);
    if (!port || !wait_for_greeting (address, port)) {
        say_error ("Failed to verify the server is running. Please try to use another port.");
        return 1;
    }
    say_info ("Success! Server is now running on port %d", port);
    return 0;
}

/* ---- stop, status ------------------------------------------------------------------------------------------------------- */

int
cmd_server_stop (const Args *args)
{
    guint16 port = 0;
    g_autoptr (GError) error = NULL;
    if (!is_running (&port)) {
        say_error ("The server is not running.");
        return 1;
    }
    g_autoptr (Client) client = client_new (args, DAEMON_FIND, "system", &error);
    if (!client)
        return say_failure (error);
    client_ask (client, "system", "stopHttpServer", NULL, &error);
    if (error)
        return say_failure (error);
    say_info ("Stopped the server on port %d.", port);
    return 0;
}

int
cmd_server_status (const Args *args)
{
    guint16 port = 0;
    gboolean running = is_running (&port);
    if (args_has (args, "json")) {
        g_autoptr (json_t) status = json_pack ("{s:b}", "running", running);
        if (port)
            json_object_set_new (status, "port", json_integer (port));
        g_autofree char *text = json_print (status, NULL);
        print_outf ("%s\n", text);
    } else if (running) {
        say_info ("The server is running on port %d.", port);
    } else {
        say_info ("The server is not running.");
    }
    return 0;
}
