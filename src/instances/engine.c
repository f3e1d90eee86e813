/* engine.c: the life of one lms-engine process.
 *
 *   start ─▶ HELLO ─▶ frames both ways ─▶ the socket ends ─▶ the process is reaped ─▶ ended, once
 *
 * The socket's end and the process's end come in either order.  `ended` waits for both, so that every frame was read and the reason
 * (exit status, signal, last words) is known.  What the child writes to stderr becomes log lines. */
#include "instances/engine.h"

#include "home/log.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_STDERR_LINE 4096
#define MAX_LAST_WORDS  2048

struct Engine {
    EngineFuncs funcs;
    gpointer data;
    char *name;
    GPid pid;
    Link *link;
    guint read_watch, write_watch, child_watch, stderr_watch, kill_timer;
    int stderr_fd;
    GString *stderr_line;
    char *last_words; /* FATAL, or what was wrong with its frames */
    gboolean greeted;
    gboolean link_over, reaped, we_killed, abandoned;
    int busy; /* > 0 while one of our callbacks runs: freeing waits */
    int status;
};

static void engine_check_end (Engine *engine);

static void
engine_free (Engine *engine)
{
    g_clear_handle_id (&engine->read_watch, g_source_remove);
    g_clear_handle_id (&engine->write_watch, g_source_remove);
    g_clear_handle_id (&engine->child_watch, g_source_remove);
    g_clear_handle_id (&engine->stderr_watch, g_source_remove);
    g_clear_handle_id (&engine->kill_timer, g_source_remove);
    link_free (engine->link);
    if (engine->stderr_fd >= 0)
        close (engine->stderr_fd);
    g_string_free (engine->stderr_line, TRUE);
    g_free (engine->last_words);
    g_free (engine->name);
    g_free (engine);
}

static void
kill_now (Engine *engine)
{
    if (engine->reaped)
        return;
    engine->we_killed = TRUE;
    kill (engine->pid, SIGKILL);
}

/* No more frames: whatever the process does now is of no use to us. */
static void
end_link (Engine *engine)
{
    engine->link_over = TRUE;
    g_clear_handle_id (&engine->read_watch, g_source_remove);
    g_clear_handle_id (&engine->write_watch, g_source_remove);
}

static void
take_hello (Engine *engine, const json_t *hello)
{
    gint64 protocol = json_peek_int (hello, "protocol", -1);
    if (protocol != LINK_PROTOCOL) {
        g_free (engine->last_words);
        engine->last_words = g_strdup_printf ("it speaks link protocol %" G_GINT64_FORMAT ", this daemon speaks %d",
                                              protocol, LINK_PROTOCOL);
        end_link (engine);
        kill_now (engine);
        return;
    }
    engine->greeted = TRUE;
    engine->funcs.hello (engine, hello, engine->data);
}

static void
take_frame (Engine *engine, const LinkFrame *frame)
{
    if (frame->fd >= 0)
        close (frame->fd); /* no frame of an engine carries one yet */
    if (frame->type == LINK_FATAL) {
        g_free (engine->last_words);
        g_autofree char *text = g_utf8_make_valid (frame->payload, MIN (frame->length, MAX_LAST_WORDS));
        engine->last_words = g_strdup (g_strstrip (text));
        log_line (LOG_ERROR, engine->name, "engine: %s", engine->last_words);
    } else if (frame->type == LINK_HELLO) {
        g_autoptr (json_t) hello = json_parse (frame->payload, frame->length, NULL);
        take_hello (engine, hello);
    } else if (engine->greeted) {
        engine->funcs.frame (engine, frame, engine->data);
    }
}

static void
read_frames (Engine *engine)
{
    LinkFrame frame;
    g_autoptr (GError) error = NULL;
    LinkResult result;
    engine->busy++;
    while (!engine->link_over && !engine->abandoned &&
           (result = link_read (engine->link, &frame, &error)) != LINK_WANTS_MORE) {
        if (result == LINK_GOT_FRAME) {
            take_frame (engine, &frame);
            continue;
        }
        if (result == LINK_BAD) {
            g_free (engine->last_words);
            engine->last_words = g_strdup (error->message);
        }
        end_link (engine);
        if (!engine->reaped &&
            !engine->kill_timer) /* a closed socket is an end; give the process a moment to say how it exits */
            engine_stop (engine, 1000);
    }
    engine->busy--;
}

static gboolean
readable (int fd, GIOCondition condition, gpointer data)
{
    Engine *engine = data;
    read_frames (engine);
    engine_check_end (engine);
    return G_SOURCE_CONTINUE; /* end_link removed the source if need be */
}

static gboolean
writable (int fd, GIOCondition condition, gpointer data)
{
    Engine *engine = data;
    if (!link_flush (engine->link))
        return G_SOURCE_CONTINUE;
    engine->write_watch = 0;
    return G_SOURCE_REMOVE;
}

void
engine_send (Engine *engine, LinkType type, guint32 job, const json_t *payload)
{
    if (engine->link_over)
        return;
    link_send_json (engine->link, type, job, payload);
    if (link_queued_bytes (engine->link) > 0 && !engine->write_watch)
        engine->write_watch = g_unix_fd_add (link_fd (engine->link), G_IO_OUT, writable, engine);
}

static void
log_stderr_line (Engine *engine)
{
    if (engine->stderr_line->len > 0) {
        g_autofree char *text = g_utf8_make_valid (engine->stderr_line->str, engine->stderr_line->len);
        log_line (LOG_WARN, engine->name, "%s", text);
    }
    g_string_truncate (engine->stderr_line, 0);
}

/* FALSE at the end of the stream. */
static gboolean
drain_stderr (Engine *engine)
{
    char bytes[4096];
    ssize_t n;
    while ((n = read (engine->stderr_fd, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] != '\n')
                g_string_append_c (engine->stderr_line, bytes[i]);
            if (bytes[i] == '\n' || engine->stderr_line->len >= MAX_STDERR_LINE)
                log_stderr_line (engine);
        }
    }
    if (n == 0)
        log_stderr_line (engine);
    return n < 0 && errno == EAGAIN;
}

static gboolean
stderr_readable (int fd, GIOCondition condition, gpointer data)
{
    Engine *engine = data;
    if (drain_stderr (engine))
        return G_SOURCE_CONTINUE;
    engine->stderr_watch = 0;
    return G_SOURCE_REMOVE;
}

static char *
describe_end (const Engine *engine)
{
    g_autoptr (GString) text = g_string_new ("The engine ");
    if (WIFSIGNALED (engine->status) && !engine->we_killed)
        g_string_append_printf (text, "was ended by signal %d (%s)", WTERMSIG (engine->status),
                                g_strsignal (WTERMSIG (engine->status)));
    else if (WIFEXITED (engine->status))
        g_string_append_printf (text, "ended with exit code %d", WEXITSTATUS (engine->status));
    else
        g_string_append (text, "was ended");
    if (engine->last_words)
        g_string_append_printf (text, ": %s", engine->last_words);
    g_string_append_c (text, '.');
    return g_strdup (text->str);
}

static void
engine_check_end (Engine *engine)
{
    if (!engine->reaped || engine->busy)
        return;
    if (!engine->link_over && !engine->abandoned) /* it is gone, what it sent may still be in the socket */
        read_frames (engine);
    end_link (engine);
    if (engine->stderr_fd >= 0)
        drain_stderr (engine);
    if (!engine->abandoned) {
        g_autofree char *reason = describe_end (engine);
        EngineEnd end = {
            .reason = reason,
            .illegal_instruction = WIFSIGNALED (engine->status) && WTERMSIG (engine->status) == SIGILL,
            .killed = WIFSIGNALED (engine->status) && WTERMSIG (engine->status) == SIGKILL && !engine->we_killed,
        };
        engine->busy++;
        engine->funcs.ended (engine, &end, engine->data);
    }
    engine_free (engine);
}

static void
child_exited (GPid pid, int status, gpointer data)
{
    Engine *engine = data;
    engine->child_watch = 0;
    engine->reaped = TRUE;
    engine->status = status;
    g_spawn_close_pid (pid);
    engine_check_end (engine);
}

static gboolean
grace_is_over (gpointer data)
{
    Engine *engine = data;
    engine->kill_timer = 0;
    kill_now (engine);
    return G_SOURCE_REMOVE;
}

void
engine_stop (Engine *engine, guint grace_ms)
{
    g_clear_handle_id (&engine->kill_timer, g_source_remove);
    if (grace_ms == 0) {
        kill_now (engine);
        return;
    }
    engine_send (engine, LINK_STOP, 0, NULL);
    engine->kill_timer = g_timeout_add (grace_ms, grace_is_over, engine);
}

void
engine_abandon (Engine *engine)
{
    engine->abandoned = TRUE;
    end_link (engine);
    kill_now (engine);
}

GPid
engine_pid (const Engine *engine)
{
    return engine->pid;
}

/* The daemon's environment without what an engine has no business to know. */
static char **
engine_environment (const char *cpu)
{
    static const char *const secrets[] = { "HF_TOKEN", "LM_API_TOKEN", "LMSTUDIO_API_TOKEN", "OPENAI_API_KEY",
                                           "ANTHROPIC_API_KEY" };
    char **environment = g_get_environ ();
    for (guint i = 0; i < G_N_ELEMENTS (secrets); i++)
        environment = g_environ_unsetenv (environment, secrets[i]);
    environment = g_environ_setenv (environment, "GGML_NO_BACKTRACE", "1", TRUE);
    g_autofree char *parent = g_strdup_printf ("%d", (int) getpid ());
    environment = g_environ_setenv (environment, "LMS_PARENT_PID", parent, TRUE);
    if (cpu)
        environment = g_environ_setenv (environment, "LMS_CPU", cpu, TRUE);
    return environment;
}

Engine *
engine_start (const char *path, const char *cpu, const char *name, const EngineFuncs *funcs, gpointer data,
              GError **error)
{
    int ends[2];
    if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        g_set_error (error, G_SPAWN_ERROR, G_SPAWN_ERROR_FAILED, "socketpair: %s", g_strerror (errno));
        return NULL;
    }
    g_auto (GStrv) environment = engine_environment (cpu);
    const char *argv[] = { path, NULL };
    const int source = ends[1], target = LINK_ENGINE_FD;
    GPid pid;
    int stderr_fd;
    gboolean started = g_spawn_async_with_pipes_and_fds (
        NULL, argv, (const char *const *) environment, G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
        NULL, -1, -1, -1, &source, &target, 1, &pid, NULL, NULL, &stderr_fd, error);
    close (ends[1]);
    if (!started) {
        close (ends[0]);
        return NULL;
    }
    Engine *engine = g_new0 (Engine, 1);
    engine->funcs = *funcs;
    engine->data = data;
    engine->name = g_strdup (name);
    engine->pid = pid;
    engine->link = link_new (ends[0]);
    engine->stderr_fd = stderr_fd;
    engine->stderr_line = g_string_new (NULL);
    g_unix_set_fd_nonblocking (stderr_fd, TRUE, NULL);
    engine->read_watch = g_unix_fd_add (ends[0], G_IO_IN | G_IO_HUP, readable, engine);
    /* readable runs no loop of its own.  Said so, GLib need not take the descriptor out of the poll and put it back for each frame, which
     * would wake it up once more for nothing. */
    g_source_set_can_recurse (g_main_context_find_source_by_id (NULL, engine->read_watch), TRUE);
    engine->stderr_watch = g_unix_fd_add (stderr_fd, G_IO_IN | G_IO_HUP, stderr_readable, engine);
    engine->child_watch = g_child_watch_add (pid, child_exited, engine);
    return engine;
}
