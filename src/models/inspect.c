/* inspect.c: a queue of files, two children, and who is to blame.
 *
 *   queue ─▶ child: lms-engine --inspect A B C ..       one line of JSON a file, in order
 *              │ {"path":"A","ok":true,..}    ─▶ answer (A)
 *              │ dies                         ─▶ B is asked again, alone; C.. go back to the queue
 *              │ (alone) dies                 ─▶ answer (B, {"ok":false,"reason":..})
 *              └ silent for 10 s, or nonsense ─▶ the same answer, C.. go back to the queue
 *
 * Asking again alone tells a file that kills from one that came after sixty others that used up the child's memory. */
#include "models/inspect.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <glib-unix.h>

typedef struct {
    Inspect *inspect;
    GPid pid;
    int fd; /* its stdout */
    guint source, timer, reaper;
    GArray *files; /* guint: indices, in the order it was told them */
    guint next;    /* of files: whose answer is to come */
    GByteArray *line;
    gboolean alone; /* its one file killed a child before */
    gboolean spoke;
} Child;

struct Inspect {
    InspectFuncs funcs;
    char *engine_path;
    char **files;
    GQueue queue;    /* GUINT: indices that nobody was asked about */
    GQueue suspects; /* those to be asked alone */
    Child *children[INSPECT_CHILDREN];
    guint idle; /* starts children from the loop, or 0 */
    gboolean finished;
};

static void keep_busy (Inspect *inspect);

/* ---- a child's end ----------------------------------------------------------------------------------------------------- */

static void
child_free (Child *child)
{
    g_clear_handle_id (&child->source, g_source_remove);
    g_clear_handle_id (&child->timer, g_source_remove);
    g_clear_handle_id (&child->reaper, g_source_remove);
    if (child->fd >= 0)
        close (child->fd);
    if (child->pid > 0) {
        kill (child->pid, SIGKILL);
        while (waitpid (child->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    g_array_unref (child->files);
    g_byte_array_unref (child->line);
    g_free (child);
}

/* Gives a child's unanswered files back to the queue, and its place to the next child. */
static void
child_done (Child *child)
{
    Inspect *inspect = child->inspect;
    for (guint i = child->files->len; i-- > child->next;)
        g_queue_push_head (&inspect->queue, GUINT_TO_POINTER (g_array_index (child->files, guint, i)));
    for (guint i = 0; i < INSPECT_CHILDREN; i++)
        if (inspect->children[i] == child)
            inspect->children[i] = NULL;
    child_free (child);
}

static void
finish (Inspect *inspect, const char *unusable)
{
    if (inspect->finished)
        return;
    inspect->finished = TRUE;
    inspect->funcs.done (unusable, inspect->funcs.data);
}

static void
give_answer (Child *child, json_t *answer)
{
    guint index = g_array_index (child->files, guint, child->next);
    child->next++;
    child->inspect->funcs.answer (index, answer, child->inspect->funcs.data);
}

static void blame (Child *child, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
blame (Child *child, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    g_autofree char *reason = g_strdup_vprintf (format, args);
    va_end (args);
    g_autoptr (json_t) answer = json_pack ("{s:b, s:s}", "ok", FALSE, "reason", reason);
    give_answer (child, answer);
}

/* The child is gone or has been silent too long, with files left. */
static void
child_exited (GPid pid, int status, gpointer data)
{
    Child *child = data;
    Inspect *inspect = child->inspect;
    child->pid = 0;
    child->reaper = 0;
    gboolean missing =
        WIFEXITED (status) && (WEXITSTATUS (status) == 127 || WEXITSTATUS (status) == 126) && !child->spoke;
    if (child->next < child->files->len && missing) {
        g_autofree char *why =
            g_strdup_printf ("%s can't be run (exit code %d)", inspect->engine_path, WEXITSTATUS (status));
        child_done (child);
        finish (inspect, why);
        return;
    }
    if (child->next < child->files->len) {
        if (child->alone || child->files->len == 1) {
            if (WIFSIGNALED (status))
                blame (child, "the engine died while reading it (signal %d)", WTERMSIG (status));
            else
                blame (child, "the engine ended while reading it (exit code %d)", WEXITSTATUS (status));
        } else {
            guint index = g_array_index (child->files, guint, child->next++);
            g_queue_push_tail (&inspect->suspects, GUINT_TO_POINTER (index));
        }
    }
    child_done (child);
    keep_busy (inspect);
}

/* Its output has ended; what it was worth is known when its exit status is. */
static void
await_exit (Child *child)
{
    g_clear_handle_id (&child->source, g_source_remove);
    close (child->fd);
    child->fd = -1;
    child->reaper = g_child_watch_add (child->pid, child_exited, child);
}

static gboolean
too_slow (gpointer data)
{
    Child *child = data;
    Inspect *inspect = child->inspect;
    child->timer = 0;
    if (child->next < child->files->len)
        blame (child, "the engine did not finish reading it in time");
    child_done (child);
    keep_busy (inspect);
    return G_SOURCE_REMOVE;
}

static void
set_timer (Child *child)
{
    g_clear_handle_id (&child->timer, g_source_remove);
    child->timer = g_timeout_add (child->inspect->funcs.file_ms, too_slow, child);
}

/* ---- what it says ------------------------------------------------------------------------------------------------------ */

/* FALSE: nonsense. */
static gboolean
take_line (Child *child, const char *text, gsize length)
{
    g_autoptr (json_t) answer = json_parse (text, length, NULL);
    if (!json_is_object (answer) || !json_is_boolean (json_object_get (answer, "ok")))
        return FALSE;
    gsize printed;
    g_free (json_print (answer, &printed));
    if (printed > INSPECT_MAX_ANSWER)
        return FALSE;
    give_answer (child, answer);
    return TRUE;
}

static gboolean
talk_nonsense (Child *child)
{
    Inspect *inspect = child->inspect;
    child->source = 0;
    blame (child, "the engine's answer about it can't be used");
    child_done (child);
    keep_busy (inspect);
    return G_SOURCE_REMOVE;
}

static gboolean
hear (int fd, GIOCondition condition, gpointer data)
{
    Child *child = data;
    guint8 bytes[32768];
    gssize n = read (fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        child->source = 0;
        await_exit (child);
        return G_SOURCE_REMOVE;
    }
    child->spoke = TRUE;
    for (gssize at = 0; at < n;) {
        if (child->next >= child->files->len) { /* it has said all that it was asked */
            Inspect *inspect = child->inspect;
            child->source = 0;
            child_done (child);
            keep_busy (inspect);
            return G_SOURCE_REMOVE;
        }
        const guint8 *end = memchr (bytes + at, '\n', n - at);
        gsize length = end ? (gsize) (end - (bytes + at)) : (gsize) (n - at);
        g_byte_array_append (child->line, bytes + at, length);
        if (child->line->len > INSPECT_MAX_LINE)
            return talk_nonsense (child);
        if (!end)
            break;
        if (!take_line (child, (const char *) child->line->data, child->line->len))
            return talk_nonsense (child);
        set_timer (child);
        g_byte_array_set_size (child->line, 0);
        at += length + 1;
    }
    return G_SOURCE_CONTINUE;
}

/* ---- starting ---------------------------------------------------------------------------------------------------------- */

/* In the child, between fork and exec. */
static void
limit_child (gpointer data)
{
    struct rlimit none = { 0, 0 };
    setrlimit (RLIMIT_CORE, &none);
    prctl (PR_SET_PDEATHSIG, SIGKILL);
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes of address space; the engine is of the same build */
    struct rlimit memory = { INSPECT_MEMORY, INSPECT_MEMORY };
    setrlimit (RLIMIT_AS, &memory);
#endif
}

/* Takes the child's files from the queues; NULL: there are none. */
static Child *
child_new (Inspect *inspect)
{
    Child *child = g_new0 (Child, 1);
    child->inspect = inspect;
    child->fd = -1;
    child->files = g_array_new (FALSE, FALSE, sizeof (guint));
    child->line = g_byte_array_new ();
    guint n_idle = 0;
    for (guint i = 0; i < INSPECT_CHILDREN; i++)
        n_idle += inspect->children[i] == NULL;
    guint share = (g_queue_get_length (&inspect->queue) + n_idle - 1) / n_idle;
    child->alone = !g_queue_is_empty (&inspect->suspects);
    GQueue *from = child->alone ? &inspect->suspects : &inspect->queue;
    guint wanted = child->alone ? 1 : CLAMP (share, 1, INSPECT_FILES_A_CHILD);
    while (child->files->len < wanted && !g_queue_is_empty (from)) {
        guint index = GPOINTER_TO_UINT (g_queue_pop_head (from));
        g_array_append_val (child->files, index);
    }
    if (child->files->len > 0)
        return child;
    child_free (child);
    return NULL;
}

static gboolean
child_start (Child *child, GError **error)
{
    g_autoptr (GPtrArray) argv = g_ptr_array_new ();
    g_ptr_array_add (argv, child->inspect->engine_path);
    g_ptr_array_add (argv, "--inspect");
    for (guint i = 0; i < child->files->len; i++)
        g_ptr_array_add (argv, child->inspect->files[g_array_index (child->files, guint, i)]);
    g_ptr_array_add (argv, NULL);
    if (!g_spawn_async_with_pipes (NULL, (char **) argv->pdata, NULL, G_SPAWN_DO_NOT_REAP_CHILD, limit_child, NULL,
                                   &child->pid, NULL, &child->fd, NULL, error))
        return FALSE;
    g_unix_set_fd_nonblocking (child->fd, TRUE, NULL);
    child->source = g_unix_fd_add (child->fd, G_IO_IN | G_IO_HUP, hear, child);
    set_timer (child);
    return TRUE;
}

static void
keep_busy (Inspect *inspect)
{
    if (inspect->finished)
        return;
    gboolean busy = FALSE;
    for (guint i = 0; i < INSPECT_CHILDREN; i++) {
        if (!inspect->children[i] && (inspect->children[i] = child_new (inspect))) {
            g_autoptr (GError) error = NULL;
            if (!child_start (inspect->children[i], &error)) {
                child_done (inspect->children[i]);
                finish (inspect, error->message);
                return;
            }
        }
        busy |= inspect->children[i] != NULL;
    }
    if (!busy)
        finish (inspect, NULL);
}

static gboolean
begin (gpointer data)
{
    Inspect *inspect = data;
    inspect->idle = 0;
    keep_busy (inspect);
    return G_SOURCE_REMOVE;
}

Inspect *
inspect_new (const char *const *files, const InspectFuncs *funcs)
{
    Inspect *inspect = g_new0 (Inspect, 1);
    inspect->funcs = *funcs;
    if (inspect->funcs.file_ms == 0)
        inspect->funcs.file_ms = INSPECT_FILE_MS;
    inspect->engine_path = g_strdup (funcs->engine_path);
    inspect->files = g_strdupv ((char **) files);
    g_queue_init (&inspect->queue);
    g_queue_init (&inspect->suspects);
    for (guint i = 0; files[i]; i++)
        g_queue_push_tail (&inspect->queue, GUINT_TO_POINTER (i));
    inspect->idle = g_idle_add (begin, inspect);
    return inspect;
}

void
inspect_free (Inspect *inspect)
{
    if (!inspect)
        return;
    inspect->finished = TRUE;
    g_clear_handle_id (&inspect->idle, g_source_remove);
    for (guint i = 0; i < INSPECT_CHILDREN; i++)
        g_clear_pointer (&inspect->children[i], child_free);
    g_queue_clear (&inspect->queue);
    g_queue_clear (&inspect->suspects);
    g_strfreev (inspect->files);
    g_free (inspect->engine_path);
    g_free (inspect);
}
