/* lms daemon: start, stop and state of the daemon itself (spec: cli.md 12). */
#include "cli/commands.h"

#include "cli/client.h"
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define DOWN_TIMEOUT_US (10 * G_USEC_PER_SEC)
#define DOWN_STEP_US    10000

/* What the daemon says of itself. */
typedef struct {
    gint64 pid;
    gboolean is_daemon; /* FALSE: the desktop application */
    char *version;
} DaemonInfo;

static void
daemon_info_clear (DaemonInfo *info)
{
    g_clear_pointer (&info->version, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (DaemonInfo, daemon_info_clear)

static gboolean
ask_info (Client *client, DaemonInfo *info, GError **error)
{
    GError *problem = NULL;
    const json_t *answer = client_ask (client, "system", "info", NULL, &problem);
    if (problem)
        return g_propagate_error (error, problem), FALSE;
    const char *version = json_peek_string (answer, "version");
    *info = (DaemonInfo){ json_peek_int (answer, "pid", 0), json_peek_bool (answer, "isDaemon", FALSE),
                          g_strdup (version ? version : "unknown") };
    return TRUE;
}

/* How the daemon is called in sentences: ours by its own name. */
static const char *
name_of (const Client *client, const DaemonInfo *info)
{
    return !info->is_daemon ? "LM Studio" : client_is_lmsd (client) ? "lmsd" : "llmster";
}

/* Becomes the daemon.  Returns only when that fails. */
static int
become_daemon (void)
{
    gboolean is_app;
    g_autofree char *folder = NULL;
    g_autofree char *program = daemon_program (&is_app, &folder);
    if (!program || is_app) {
        say_error ("No daemon to run was found: neither an install file nor lmsd beside lms or in PATH.");
        return 1;
    }
    signal (SIGPIPE, SIG_DFL);
    signal (SIGINT, SIG_DFL);
    signal (SIGTERM, SIG_DFL);
    execv (program, (char *[]){ program, NULL });
    say_error ("Cannot run %s: %s", program, g_strerror (errno));
    return 1;
}

int
cmd_daemon_up (const Args *args)
{
    if (args_has (args, "foreground"))
        return become_daemon ();
    g_autoptr (GError) error = NULL;
    g_auto (Daemon) daemon = { 0 };
    gboolean woken = FALSE;
    if (!daemon_find_local (DAEMON_WAKE, &daemon, &woken, &error))
        return say_failure (error);
    g_autoptr (Client) client = client_new_for (&daemon);
    g_auto (DaemonInfo) info = { 0 };
    if (!ask_info (client, &info, &error))
        return say_failure (error);

    if (args_has (args, "json")) {
        g_autoptr (json_t) status =
            json_pack ("{s:s, s:I, s:b, s:s}", "status", "running", "pid", (json_int_t) info.pid, "isDaemon",
                       info.is_daemon, "version", info.version);
        g_autofree char *text = json_print (status, NULL);
        print_outf ("%s\n", text);
    } else if (woken) {
        say_info ("%s started (PID: %" G_GINT64_FORMAT ").", name_of (client, &info), info.pid);
    } else if (info.is_daemon) {
        say_info ("The daemon is already running (PID: %" G_GINT64_FORMAT ").", info.pid);
    } else {
        say_info ("LM Studio is already running (PID: %" G_GINT64_FORMAT "); not starting a second daemon.", info.pid);
    }
    return 0;
}

/* A process that has ended but was not yet waited for by its parent counts as gone. */
static gboolean
is_gone (gint64 pid)
{
    if (kill ((pid_t) pid, 0) != 0 && errno == ESRCH)
        return TRUE;
    g_autofree char *path = g_strdup_printf ("/proc/%" G_GINT64_FORMAT "/stat", pid);
    g_autofree char *stat = NULL;
    if (!g_file_get_contents (path, &stat, NULL, NULL))
        return FALSE;
    const char *name_end = strrchr (stat, ')');
    return name_end && name_end[1] == ' ' && name_end[2] == 'Z';
}

int
cmd_daemon_down (const Args *args)
{
    g_auto (Daemon) daemon = { 0 };
    g_autoptr (GError) error = NULL;
    if (!daemon_find_local (DAEMON_FIND, &daemon, NULL, NULL)) {
        say_info ("Daemon is not running.");
        return 1;
    }
    g_autoptr (Client) client = client_new_for (&daemon);
    g_auto (DaemonInfo) info = { 0 };
    if (!ask_info (client, &info, &error))
        return say_failure (error);
    if (!info.is_daemon) {
        say_error ("The daemon is currently running as part of LM Studio. Please exit LM Studio to stop it.");
        return 1;
    }
    say_info ("Shutting down %s...", name_of (client, &info));
    client_ask (client, "system", "requestShutdown", NULL, &error);
    if (error && !g_error_matches (error, SDK_ERROR, SDK_ERROR_CLOSED)) /* it may be gone before its answer is read */
        return say_failure (error);
    for (gint64 begin = g_get_monotonic_time (); info.pid > 0 && !is_gone (info.pid); g_usleep (DOWN_STEP_US))
        if (g_get_monotonic_time () - begin > DOWN_TIMEOUT_US) {
            say_error ("The daemon (PID: %" G_GINT64_FORMAT ") is still running after 10 seconds.", info.pid);
            return 1;
        }
    say_info ("Done.");
    return 0;
}

int
cmd_daemon_status (const Args *args)
{
    g_auto (Daemon) daemon = { 0 };
    gboolean json = args_has (args, "json");
    if (!daemon_find_local (DAEMON_FIND, &daemon, NULL, NULL)) {
        print_outf ("%s\n", json ? "{\"status\":\"not-running\"}" : "LM Studio is not running");
        return 0;
    }
    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new_for (&daemon);
    g_auto (DaemonInfo) info = { 0 };
    if (!ask_info (client, &info, &error))
        return say_failure (error);
    if (json)
        print_outf ("{\"status\":\"running\",\"pid\":%" G_GINT64_FORMAT ",\"isDaemon\":%s}\n", info.pid,
                    info.is_daemon ? "true" : "false");
    else
        print_outf ("%s v%s is running (PID: %" G_GINT64_FORMAT ")\n", name_of (client, &info), info.version, info.pid);
    return 0;
}
