/* daemon.c: the parts of lmsd in one struct, made and ended in order. */
#include "daemon/daemon.h"

#include "base/ids.h"
#include "home/home.h"
#include "home/log.h"
#include "net/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const guint16 local_ports[] = { 41343, 52993, 16141, 39414, 22931 }; /* sdk.md 1.1 */

struct Daemon {
    GMainLoop *loop;
    int lock;
    SettingsStore *settings;
    Models *models;
    Instances *instances;
    Api api;
    HttpServer *local_server, *http_server;
    ApiListener local, http;
    guint stop_soon;
};

/* ---- one daemon a home ------------------------------------------------------------------------------------------------- */

/* The lock is held as long as we live: the kernel lets go of it however we end. */
static int
take_lock (void)
{
    g_autofree char *path = home_file (".internal/lmsd/lmsd.lock");
    int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock (fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0)
        close (fd);
    return -1;
}

/* The desktop application and lmsd may share a home, but not at once (disk.md 1.1). */
static gboolean
application_runs (void)
{
    g_autofree char *path = home_file (".internal/http-server.json");
    g_autoptr (json_t) info = home_peek_json (path, 0);
    gint64 port = json_peek_int (info, "port", 0);
    if (port < 1 || port > 65535)
        return FALSE;
    g_autofree char *body = probe_get ("127.0.0.1", port, "/lms-status", 1000, NULL);
    g_autoptr (json_t) status = body ? json_parse (body, strlen (body), NULL) : NULL;
    return g_strcmp0 (json_peek_string (status, "package"), "lmstudio") == 0 && !json_object_get (status, "lmsd");
}

/* ---- files that tell others ------------------------------------------------------------------------------------------- */

static gboolean
write_files (Daemon *daemon, GError **error)
{
    g_autofree char *key_path = home_file (".internal/lms-key-2");
    g_autofree char *key = NULL;
    if (!g_file_get_contents (key_path, &key, NULL, NULL) || strlen (g_strstrip (key)) < 16) {
        g_free (key);
        guint8 random[36];
        ids_random_bytes (random, sizeof random);
        key = g_base64_encode (random, sizeof random);
        if (!home_write_text (key_path, key, -1, 0600, error))
            return FALSE;
    }
    daemon->api.key = g_strdup (g_strstrip (key));

    g_autofree char *program = g_file_read_link ("/proc/self/exe", NULL);
    g_autofree char *folder = program ? g_path_get_dirname (program) : NULL;
    g_autofree char *install_path = home_file (".internal/llmster-install-location.json");
    g_autoptr (json_t) install = json_pack ("{s:s, s:[s], s:s}", "path", program ? program : "lmsd", "argv",
                                            program ? program : "lmsd", "cwd", folder ? folder : "/");
    if (!home_write_json (install_path, install, 0600, error))
        return FALSE;

    g_autofree char *server_path = home_file (".internal/http-server.json");
    /* "lmsd" tells our lms that no probe is needed before it connects. */
    g_autoptr (json_t) server = json_pack ("{s:i, s:s, s:i, s:s}", "port", (int) daemon->local.port, "host",
                                           "127.0.0.1", "pid", (int) getpid (), "lmsd", ATELIER_VERSION);
    return home_write_json (server_path, server, 0600, error);
}

/* ---- the HTTP server ------------------------------------------------------------------------------------------------- */

static void
close_http (Daemon *daemon)
{
    if (!daemon->http_server)
        return;
    sdk_close_all (&daemon->http);
    g_clear_pointer (&daemon->http_server, http_server_free);
    g_clear_pointer (&daemon->http.bound_address, g_free);
    log_line (LOG_INFO, NULL, "HTTP server stopped.");
}

static gboolean
is_loopback (const char *address)
{
    return strcmp (address, "127.0.0.1") == 0 || strcmp (address, "::1") == 0 ||
           g_ascii_strcasecmp (address, "localhost") == 0;
}

/* "Auto start" restores what was: open until somebody stops it, also across a crash (http.md 1.1). */
static void
note_http (gboolean on)
{
    g_autofree char *path = home_file (".internal/lmsd/http-was-on");
    if (on)
        home_write_text (path, "1\n", -1, 0600, NULL);
    else
        g_unlink (path);
}

static gboolean
open_http (Daemon *daemon, int port, const char *address, gboolean cors, GError **error)
{
    const Settings *settings = settings_get (daemon->settings);
    guint16 wanted = port >= 0 ? port : settings->port;
    gboolean stays =
        daemon->http_server && strcmp (daemon->http.bound_address, address) == 0 && wanted == daemon->http.port;
    if (!stays) {
        guint16 got = wanted;
        int fd = http_listen (address, &got, error);
        if (fd < 0)
            return FALSE;
        close_http (daemon);
        HttpOptions options = { .max_per_address = is_loopback (address) ? 0 : 64 };
        daemon->http =
            (ApiListener){ .api = &daemon->api, .rest = TRUE, .bound_address = g_strdup (address), .port = got };
        daemon->http_server = http_server_new (fd, &options, &api_http_handler, &daemon->http, error);
        if (!daemon->http_server) {
            g_clear_pointer (&daemon->http.bound_address, g_free);
            return FALSE;
        }
    }
    g_autoptr (json_t) members =
        json_pack ("{s:i, s:b, s:s}", "port", (int) daemon->http.port, "cors", cors, "networkInterface", address);
    if (!settings_write_http (daemon->settings, members, error))
        return FALSE;
    note_http (TRUE);
    log_line (LOG_INFO, NULL, "HTTP server listening on http://%s:%u", address, daemon->http.port);
    if (!is_loopback (address))
        log_line (LOG_WARN, NULL, "The HTTP server accepts connections from the network.");
    if (cors)
        log_line (LOG_WARN, NULL, "CORS is enabled: any website can use the HTTP server.");
    return TRUE;
}

void
daemon_start_http (Daemon *daemon, int port, const char *address, gboolean cors,
                   void (*done) (const GError *error, gpointer data), gpointer data)
{
    g_autoptr (GError) error = NULL;
    open_http (daemon, port, address, cors, &error);
    done (error, data);
}

void
daemon_restore_http (Daemon *daemon, void (*done) (const GError *error, gpointer data), gpointer data)
{
    const Settings *settings = settings_get (daemon->settings);
    g_autofree char *path = home_file (".internal/lmsd/http-was-on");
    if (!settings->auto_start || !g_file_test (path, G_FILE_TEST_EXISTS))
        return;
    g_autofree char *address = g_strdup (settings->network_interface);
    daemon_start_http (daemon, settings->port, address, settings->cors, done, data);
}

/* ---- what clients may ask of us --------------------------------------------------------------------------------------- */

static void
control_start_http (int port, const char *address, gboolean cors, void (*done) (const GError *error, gpointer data),
                    gpointer data, gpointer daemon)
{
    daemon_start_http (daemon, port, address, cors, done, data);
}

static gboolean
stop_http_now (gpointer data)
{
    Daemon *daemon = data;
    daemon->stop_soon = 0;
    note_http (FALSE);
    close_http (daemon);
    return G_SOURCE_REMOVE;
}

/* Later, so that an answer to the client that asked, perhaps by this very server, is on its way first. */
static void
control_stop_http (gpointer data)
{
    Daemon *daemon = data;
    if (!daemon->stop_soon)
        daemon->stop_soon = g_timeout_add (20, stop_http_now, daemon);
}

static void
control_shutdown (gpointer daemon)
{
    daemon_quit (daemon);
}

static const ApiControl control = {
    .start_http = control_start_http,
    .stop_http = control_stop_http,
    .shutdown = control_shutdown,
};

/* ---- life --------------------------------------------------------------------------------------------------------------- */

/* LMS_ENGINE, else lms-engine beside this program, else in libexec of the prefix. */
static char *
find_engine (void)
{
    const char *named = g_getenv ("LMS_ENGINE");
    if (named && *named)
        return g_strdup (named);
    g_autofree char *program = g_file_read_link ("/proc/self/exe", NULL);
    g_autofree char *folder = program ? g_path_get_dirname (program) : g_strdup (".");
    return g_build_filename (folder, "lms-engine", NULL);
}

static gboolean
open_local (Daemon *daemon, GError **error)
{
    int fd = -1;
    for (guint i = 0; i < G_N_ELEMENTS (local_ports) && fd < 0; i++) {
        daemon->local.port = local_ports[i];
        fd = http_listen ("127.0.0.1", &daemon->local.port, NULL);
    }
    if (fd < 0) {
        daemon->local.port = 0; /* none free: any, found through http-server.json only */
        fd = http_listen ("127.0.0.1", &daemon->local.port, error);
    }
    if (fd < 0)
        return FALSE;
    daemon->local.api = &daemon->api;
    daemon->local.bound_address = g_strdup ("127.0.0.1");
    daemon->local_server = http_server_new (fd, NULL, &api_http_handler, &daemon->local, error);
    return daemon->local_server != NULL;
}

Daemon *
daemon_new (const char **runs_already, GError **error)
{
    int lock = take_lock ();
    if (lock < 0) {
        *runs_already = "another lmsd runs for this home already.";
        return NULL;
    }
    if (application_runs ()) {
        g_set_error (error, G_IO_ERROR, G_IO_ERROR_BUSY, "LM Studio runs on this home (%s). Close it first.",
                     home_path (NULL));
        close (lock);
        return NULL;
    }
    g_autofree char *engine_path = find_engine ();
    Daemon *daemon = g_new0 (Daemon, 1);
    daemon->lock = lock;
    daemon->loop = g_main_loop_new (NULL, FALSE);
    daemon->settings = settings_store_new ();
    log_open (daemon->settings);
    daemon->models = models_new (daemon->settings, engine_path);
    daemon->instances = instances_new (daemon->settings, daemon->models, engine_path);
    daemon->api = (Api){ .settings = daemon->settings,
                         .models = daemon->models,
                         .instances = daemon->instances,
                         .control = &control,
                         .daemon = daemon };
    if (!open_local (daemon, error) || !write_files (daemon, error)) {
        daemon_free (daemon);
        return NULL;
    }
    log_line (LOG_INFO, NULL, "lmsd %s listening on 127.0.0.1:%u, home %s", ATELIER_VERSION, daemon->local.port,
              home_path (NULL));
    return daemon;
}

void
daemon_free (Daemon *daemon)
{
    if (daemon->local_server) {
        g_autofree char *path = home_file (".internal/http-server.json");
        g_unlink (path);
    }
    g_clear_handle_id (&daemon->stop_soon, g_source_remove);
    /* SDK calls let go of their jobs, loads and watches while those are there; HTTP requests learn that we go, then lose their sockets. */
    sdk_close_all (NULL);
    g_clear_pointer (&daemon->instances, instances_free);
    close_http (daemon);
    g_clear_pointer (&daemon->local_server, http_server_free);
    g_free (daemon->local.bound_address);
    models_free (daemon->models);
    log_close ();
    settings_store_free (daemon->settings);
    g_free (daemon->api.key);
    g_main_loop_unref (daemon->loop);
    close (daemon->lock);
    g_free (daemon);
}

void
daemon_run (Daemon *daemon)
{
    g_main_loop_run (daemon->loop);
}

void
daemon_quit (Daemon *daemon)
{
    log_line (LOG_INFO, NULL, "Shutting down.");
    g_main_loop_quit (daemon->loop);
}
