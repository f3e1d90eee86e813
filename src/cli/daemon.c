/* daemon.c: where is the daemon, and if nowhere, start it.
 *
 *   LMS_API_SERVER_INFO_PATH ── that port or nothing
 *   --host, --port, LMS_HOST ── that server or nothing
 *   http-server.json ── the five ports (not under LMS_HOME) ── start.lock, look again, start, wait
 *
 * Under LMS_HOME only the port in that home's file counts: another home's daemon must not be taken for ours. */
#include "cli/daemon.h"

#include "base/ids.h"
#include "cli/terminal.h"
#include "home/home.h"
#include "net/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

G_DEFINE_QUARK (daemon - error - quark, daemon_error)

#define LOCALHOST           "127.0.0.1"
#define DEFAULT_HTTP_PORT   1234
#define STATUS_TIMEOUT_MS   3000
#define GREETING_TIMEOUT_MS 500
#define WAKE_TIMEOUT_US     (60 * G_USEC_PER_SEC)
#define QUICK_STEPS_US      (1 * G_USEC_PER_SEC) /* so long the steps are small */
#define QUICK_STEP_US       20000
#define SLOW_STEP_US        250000

static const guint16 known_ports[] = { 41343, 52993, 16141, 39414, 22931 };

void
daemon_clear (Daemon *daemon)
{
    g_clear_pointer (&daemon->host, g_free);
    g_clear_pointer (&daemon->identifier, g_free);
    g_clear_pointer (&daemon->passkey, g_free);
}

static char *
home_internal (const char *name)
{
    return g_build_filename (home_peek (), ".internal", name, NULL);
}

/* 1..65535, or 0. */
static guint16
peek_port (const json_t *object)
{
    gint64 port = json_peek_int (object, "port", 0);
    return port >= 1 && port <= 65535 ? (guint16) port : 0;
}

/* ---- asking ------------------------------------------------------------------------------------------------------------- */

/* GET /lms-status; fills what the answer tells. */
static gboolean
ask_status (guint16 port, Daemon *daemon)
{
    g_autofree char *body = probe_get (LOCALHOST, port, "/lms-status", STATUS_TIMEOUT_MS, NULL);
    g_autoptr (json_t) status = body ? json_parse (body, strlen (body), NULL) : NULL;
    const char *package = json_peek_string (status, "package");
    if (!package || !json_peek_string (status, "version"))
        return FALSE;
    daemon->is_lmsd = json_peek_string (status, "lmsd") != NULL;
    daemon->is_app = !daemon->is_lmsd && strcmp (package, "lmstudio") == 0;
    daemon->port = port;
    return TRUE;
}

gboolean
daemon_greets (const char *host, guint16 port, guint timeout_ms)
{
    g_autofree char *body = probe_get (host, port, "/lmstudio-greeting", timeout_ms, NULL);
    g_autoptr (json_t) greeting = body ? json_parse (body, strlen (body), NULL) : NULL;
    return json_is_true (json_object_get (greeting, "lmstudio"));
}

/* Five threads, because one port may be held by something that never answers. */
typedef struct {
    gatomicrefcount refs;
    GAsyncQueue *answers; /* of Daemon * */
} Scan;

typedef struct {
    Scan *scan;
    guint16 port;
} ScanJob;

static void
scan_unref (Scan *scan)
{
    if (!g_atomic_ref_count_dec (&scan->refs))
        return;
    g_async_queue_unref (scan->answers);
    g_free (scan);
}

static gpointer
scan_port (gpointer data)
{
    ScanJob *job = data;
    Daemon *answer = g_new0 (Daemon, 1);
    ask_status (job->port, answer); /* port 0 says no */
    g_async_queue_push (job->scan->answers, answer);
    scan_unref (job->scan);
    g_free (job);
    return NULL;
}

static gboolean
scan_known_ports (Daemon *daemon)
{
    Scan *scan = g_new0 (Scan, 1);
    g_atomic_ref_count_init (&scan->refs);
    scan->answers = g_async_queue_new_full (g_free);
    for (guint i = 0; i < G_N_ELEMENTS (known_ports); i++) {
        ScanJob *job = g_new (ScanJob, 1);
        g_atomic_ref_count_inc (&scan->refs);
        *job = (ScanJob){ scan, known_ports[i] };
        g_thread_unref (g_thread_new ("probe", scan_port, job));
    }
    gboolean found = FALSE;
    for (guint i = 0; i < G_N_ELEMENTS (known_ports) && !found; i++) {
        g_autofree Daemon *answer = g_async_queue_pop (scan->answers);
        if ((found = answer->port != 0))
            *daemon = *answer;
    }
    scan_unref (scan);
    return found;
}

/* ---- looking ------------------------------------------------------------------------------------------------------------ */

static gboolean
has_own_home (void)
{
    const char *home = g_getenv ("LMS_HOME");
    return home && *home;
}

/* The port in http-server.json.  A file whose process is gone counts for nothing: the port may be another home's by now. */
static guint16
read_hint (gboolean *is_lmsd)
{
    g_autofree char *path = home_internal ("http-server.json");
    g_autoptr (json_t) hint = home_peek_json (path, 0);
    gint64 pid = json_peek_int (hint, "pid", 0);
    if (pid > 0 && pid <= G_MAXINT && kill ((pid_t) pid, 0) != 0 && errno == ESRCH)
        return 0;
    *is_lmsd = pid > 0 && json_peek_string (hint, "lmsd") != NULL;
    return peek_port (hint);
}

static gboolean
look_around (Daemon *daemon)
{
    gboolean is_lmsd = FALSE;
    guint16 port = read_hint (&is_lmsd);
    if (port && ask_status (port, daemon))
        return TRUE;
    return !has_own_home () && scan_known_ports (daemon);
}

/* Who we are: the key is read after the daemon was found, since a new one writes it at its start. */
static void
set_credentials (Daemon *daemon)
{
    const char *token = g_getenv ("LM_API_TOKEN");
    if (!daemon->remote) {
        g_autofree char *path = home_internal ("lms-key-2");
        g_autofree char *key = NULL;
        g_file_get_contents (path, &key, NULL, NULL);
        daemon->identifier = g_strdup ("lms-cli");
        daemon->passkey = key ? g_strdup (g_strstrip (key)) : g_strdup ("");
    } else if (token && g_regex_match_simple ("^sk-lm-[A-Za-z0-9]{8}:[A-Za-z0-9]{20}$", token, 0, 0)) {
        daemon->identifier = g_strndup (token + 6, 8);
        daemon->passkey = g_strdup (token + 15);
    } else {
        guchar random[36];
        ids_random_bytes (random, sizeof random);
        g_autofree char *name = g_base64_encode (random, 18);
        daemon->identifier = g_strconcat ("lms-cli-remote-", name, NULL);
        daemon->passkey = g_base64_encode (random + 18, 18);
    }
}

/* ---- waking ------------------------------------------------------------------------------------------------------------- */

static char *
read_install_file (const char *name, char **folder)
{
    g_autofree char *path = home_internal (name);
    g_autoptr (json_t) install = home_peek_json (path, 0);
    const char *program = json_peek_string (install, "path"), *cwd = json_peek_string (install, "cwd");
    if (!program || access (program, X_OK) != 0)
        return NULL;
    *folder = cwd && g_file_test (cwd, G_FILE_TEST_IS_DIR) ? g_strdup (cwd) : NULL;
    return g_strdup (program);
}

char *
daemon_program (gboolean *is_app, char **folder)
{
    *is_app = FALSE;
    *folder = NULL;
    char *program = read_install_file ("llmster-install-location.json", folder);
    if (program)
        return program;
    if ((program = read_install_file ("app-install-location.json", folder)))
        return *is_app = TRUE, program;

    g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
    g_autofree char *home = self ? g_path_get_dirname (self) : NULL;
    g_autofree char *beside = home ? g_build_filename (home, "lmsd", NULL) : NULL;
    if (beside && access (beside, X_OK) == 0)
        return g_steal_pointer (&beside);
    return g_find_program_in_path ("lmsd");
}

static void
leave_terminal (gpointer data)
{
    setsid (); /* Ctrl-C and the terminal's end are not for the daemon */
}

static gboolean
start (GPid *pid, GError **error)
{
    gboolean is_app;
    g_autofree char *folder = NULL;
    g_autofree char *program = daemon_program (&is_app, &folder);
    if (!program) {
        g_set_error (error, DAEMON_ERROR, DAEMON_NOT_FOUND,
                     "LM Studio daemon is not running and no valid installation could be found or installed.");
        return FALSE;
    }
    say_info ("Waking up LM Studio service...");
    say_debug ("starting %s", program);
    char *argv[] = { program, is_app ? "--run-as-service" : NULL, NULL };
    return g_spawn_async (folder, argv, NULL,
                          G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL | G_SPAWN_DO_NOT_REAP_CHILD,
                          leave_terminal, NULL, pid, error);
}

/* FALSE when the child has ended with a failure: no use to wait on. */
static gboolean
still_hopeful (GPid pid, GError **error)
{
    int status;
    if (!pid || waitpid (pid, &status, WNOHANG) != pid || (WIFEXITED (status) && WEXITSTATUS (status) == 0))
        return TRUE;
    g_autofree char *logs = g_build_filename (home_peek (), "server-logs", NULL);
    g_set_error (error, DAEMON_ERROR, DAEMON_NOT_FOUND,
                 "Failed to start or connect to local LM Studio API server.\n\nThe daemon ended at once (%s %d); its "
                 "log is under %s.",
                 WIFEXITED (status) ? "exit code" : "signal",
                 WIFEXITED (status) ? WEXITSTATUS (status) : WTERMSIG (status), logs);
    return FALSE;
}

/* One daemon however many of us wake it: who gets the lock looks again, starts, and holds it until the daemon answers. */
static gboolean
wake (Daemon *daemon, gboolean *woken, GError **error)
{
    if (!home_path (error))
        return FALSE;
    g_autofree char *path = g_build_filename (home_peek (), ".internal", "lmsd", "start.lock", NULL);
    int lock = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) {
        g_set_error (error, G_FILE_ERROR, g_file_error_from_errno (errno), "%s: %s", path, g_strerror (errno));
        return FALSE;
    }
    GPid pid = 0;
    gboolean found = FALSE, hopeful = TRUE, locked = FALSE;
    gint64 begin = g_get_monotonic_time (), waited = 0;
    while (!found && hopeful && waited < WAKE_TIMEOUT_US) {
        if (!locked && (locked = flock (lock, LOCK_EX | LOCK_NB) == 0)) {
            if ((found = look_around (daemon)) || !(hopeful = start (&pid, error)))
                break;
            *woken = TRUE;
        }
        g_usleep (waited < QUICK_STEPS_US ? QUICK_STEP_US : SLOW_STEP_US);
        found = look_around (daemon);
        hopeful = found || still_hopeful (pid, error);
        waited = g_get_monotonic_time () - begin;
    }
    close (lock);
    if (!found && hopeful) {
        say_error ("Timed out waiting for LM Studio daemon to start.");
        g_set_error (error, DAEMON_ERROR, DAEMON_NOT_FOUND,
                     "Failed to start or connect to local LM Studio API server.");
    }
    return found;
}

/* ---- the way in --------------------------------------------------------------------------------------------------------- */

/* LMS_API_SERVER_INFO_PATH: that daemon or none. */
static gboolean
find_exact (const char *path, Daemon *daemon, GError **error)
{
    g_autoptr (json_t) info = home_peek_json (path, 0);
    guint16 port = peek_port (info);
    if (port && ask_status (port, daemon))
        return TRUE;
    g_set_error (error, DAEMON_ERROR, DAEMON_NOT_FOUND, "Failed to connect using %s.", path);
    return FALSE;
}

gboolean
daemon_find_local (DaemonWish wish, Daemon *daemon, gboolean *woken, GError **error)
{
    *daemon = (Daemon){ 0 };
    gboolean started = FALSE, found;
    const char *exact = g_getenv ("LMS_API_SERVER_INFO_PATH");
    if (exact && *exact)
        found = find_exact (exact, daemon, error);
    else if (!(found = look_around (daemon)) && wish == DAEMON_WAKE)
        found = wake (daemon, &started, error);
    else if (!found)
        g_set_error (error, DAEMON_ERROR, DAEMON_NOT_FOUND, "The daemon is not running.");
    if (!found)
        return FALSE;
    daemon->host = g_strdup (LOCALHOST);
    set_credentials (daemon);
    if (woken)
        *woken = started;
    return TRUE;
}

/* "host", "host:port", "[::1]:port". */
static char *
split_host (const char *text, guint16 *port)
{
    const char *bracket = text[0] == '[' ? strchr (text, ']') : NULL;
    const char *colon = strchr (bracket ? bracket : text, ':');
    if (colon)
        *port = (guint16) CLAMP (g_ascii_strtoll (colon + 1, NULL, 10), 0, 65535);
    if (bracket)
        return g_strndup (text + 1, (gsize) (bracket - text - 1));
    return g_strndup (text, colon ? (gsize) (colon - text) : strlen (text));
}

gboolean
daemon_named (const Args *args, char **host, guint16 *port, GError **error)
{
    *host = NULL;
    *port = 0;
    if (!args_takes (args, "host"))
        return FALSE; /* `server` and `daemon` speak to the local daemon; their --port is another (spec: cli.md 1.3) */
    const char *flag = args_text (args, "host"), *variable = g_getenv ("LMS_HOST");
    if (flag && strstr (flag, "://")) {
        g_set_error (error, DAEMON_ERROR, DAEMON_NOT_FOUND, "Host should not include the protocol.");
        return FALSE;
    }
    const char *bracket = flag && flag[0] == '[' ? strchr (flag, ']') : NULL;
    if (flag && (bracket ? bracket[1] == ':' : strchr (flag, ':') != NULL)) {
        g_set_error (error, DAEMON_ERROR, DAEMON_NOT_FOUND,
                     "Host should not include the port number. Use --port instead.");
        return FALSE;
    }
    if (flag && *flag)
        *host = split_host (flag, port);
    else if (variable && *variable)
        *host = split_host (variable, port);
    if (args_has (args, "port"))
        *port = (guint16) args_number (args, "port", 0);
    return *host || args_has (args, "port");
}

gboolean
daemon_find (const Args *args, DaemonWish wish, gboolean trust_file, Daemon *daemon, GError **error)
{
    *daemon = (Daemon){ 0 };
    g_autofree char *host = NULL;
    guint16 port = 0;
    g_autoptr (GError) wrong = NULL;
    gboolean named = daemon_named (args, &host, &port, &wrong);
    if (wrong)
        return g_propagate_error (error, g_steal_pointer (&wrong)), FALSE;
    if (named) {
        daemon->remote = TRUE;
        daemon->host = host ? g_steal_pointer (&host) : g_strdup (LOCALHOST);
        daemon->port = port || args_has (args, "port") ? port : DEFAULT_HTTP_PORT;
        set_credentials (daemon);
        if (daemon_greets (daemon->host, daemon->port, GREETING_TIMEOUT_MS))
            return TRUE;
        g_set_error (error, DAEMON_ERROR, DAEMON_NOT_FOUND,
                     "The server does not appear to be running at %s:%d. Please make sure the server is running and "
                     "accessible at the specified address.",
                     daemon->host, daemon->port);
        daemon_clear (daemon);
        return FALSE;
    }
    const char *exact = g_getenv ("LMS_API_SERVER_INFO_PATH");
    gboolean is_lmsd = FALSE;
    if (trust_file && !(exact && *exact) && (daemon->port = read_hint (&is_lmsd)) && is_lmsd) {
        daemon->host = g_strdup (LOCALHOST);
        daemon->is_lmsd = daemon->unasked = TRUE;
        set_credentials (daemon);
        return TRUE;
    }
    return daemon_find_local (wish, daemon, NULL, error);
}

gboolean
daemon_http_config (guint16 *port, char **address)
{
    g_autofree char *path = home_internal ("http-server-config.json");
    g_autoptr (json_t) config = home_peek_json (path, 0);
    *port = peek_port (config);
    *address = g_strdup (json_peek_string (config, "networkInterface"));
    return *port != 0;
}
