/* watch.c: inotify as a source of the main loop, with the patience that copies and editors need.
 *
 * A folder is one inotify watch.  Events say only that something happened: what it was, the owner finds out by looking, since events
 * can be lost (queue overflow) and the look is cheap.  IN_MODIFY is left out on purpose: a download of an hour would wake us all along,
 * while its end comes as IN_CLOSE_WRITE or a rename. */
#include "home/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>
#include <glib-unix.h>

#define EVENTS \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct Watch {
    int fd;              /* inotify; -1: there is none */
    guint source;        /* reads fd */
    guint timer;         /* the callback to come, or 0 */
    gint64 first_event;  /* monotonic, of the callback to come */
    guint poll;          /* the 2 s tick, or 0 */
    GHashTable *by_path; /* char * -> watch descriptor */
    char **names;
    void (*changed) (gpointer data);
    gpointer data;
};

static gboolean
settled (gpointer data)
{
    Watch *watch = data;
    watch->timer = 0;
    watch->changed (watch->data);
    return G_SOURCE_REMOVE;
}

static void
something_happened (Watch *watch)
{
    gint64 now = g_get_monotonic_time ();
    if (!watch->timer)
        watch->first_event = now;
    else if (now - watch->first_event > 9 * WATCH_SETTLE_MS * 1000)
        return; /* changes that never pause are looked at in between */
    g_clear_handle_id (&watch->timer, g_source_remove);
    watch->timer = g_timeout_add (WATCH_SETTLE_MS, settled, watch);
}

static gboolean
counts (const Watch *watch, const struct inotify_event *event)
{
    if (!watch->names || event->len == 0 || (event->mask & IN_Q_OVERFLOW))
        return TRUE;
    return g_strv_contains ((const char *const *) watch->names, event->name);
}

static gboolean
forget_descriptor (gpointer path, gpointer wd, gpointer gone)
{
    return GPOINTER_TO_INT (wd) == GPOINTER_TO_INT (gone);
}

static gboolean
poll_tick (gpointer data)
{
    Watch *watch = data;
    watch->changed (watch->data);
    return G_SOURCE_CONTINUE;
}

static void
set_polling (Watch *watch, gboolean on)
{
    if (on && !watch->poll)
        watch->poll = g_timeout_add (WATCH_POLL_MS, poll_tick, watch);
    else if (!on)
        g_clear_handle_id (&watch->poll, g_source_remove);
}

static gboolean
read_events (int fd, GIOCondition condition, gpointer data)
{
    Watch *watch = data;
    union {
        struct inotify_event event; /* for its alignment */
        char bytes[16384];
    } buffer;
    for (;;) {
        gssize n = read (fd, buffer.bytes, sizeof buffer.bytes);
        if (n <= 0)
            return G_SOURCE_CONTINUE; /* EAGAIN: all read */
        gboolean matters = FALSE;
        for (gssize at = 0; at < n;) {
            const struct inotify_event *event = (const void *) (buffer.bytes + at);
            if (event->mask & IN_IGNORED) {
                /* The folder is gone; until the owner names the folders anew, look for it by polling. */
                if (g_hash_table_foreach_remove (watch->by_path, forget_descriptor, GINT_TO_POINTER (event->wd)) > 0) {
                    set_polling (watch, TRUE);
                    matters = TRUE;
                }
            } else if (counts (watch, event)) {
                matters = TRUE;
            }
            at += sizeof *event + event->len;
        }
        if (matters)
            something_happened (watch);
    }
}

Watch *
watch_new (const char *const *names, void (*changed) (gpointer data), gpointer data)
{
    Watch *watch = g_new0 (Watch, 1);
    watch->names = g_strdupv ((char **) names);
    watch->changed = changed;
    watch->data = data;
    watch->by_path = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    watch->fd = inotify_init1 (IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd >= 0)
        watch->source = g_unix_fd_add (watch->fd, G_IO_IN, read_events, watch);
    return watch;
}

void
watch_free (Watch *watch)
{
    if (!watch)
        return;
    g_clear_handle_id (&watch->source, g_source_remove);
    g_clear_handle_id (&watch->timer, g_source_remove);
    g_clear_handle_id (&watch->poll, g_source_remove);
    if (watch->fd >= 0)
        close (watch->fd);
    g_hash_table_unref (watch->by_path);
    g_strfreev (watch->names);
    g_free (watch);
}

void
watch_set_folders (Watch *watch, const char *const *folders)
{
    g_autoptr (GHashTable) old = g_steal_pointer (&watch->by_path);
    watch->by_path = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    gboolean all = TRUE;
    for (gsize i = 0; folders[i]; i++) {
        /* Adding one that is watched already answers with its descriptor, and notices when the path now names another folder. */
        int wd = watch->fd >= 0 ? inotify_add_watch (watch->fd, folders[i], EVENTS) : -1;
        if (wd < 0)
            all = FALSE;
        else
            g_hash_table_replace (watch->by_path, g_strdup (folders[i]), GINT_TO_POINTER (wd));
    }
    g_autoptr (GHashTable) kept = g_hash_table_new (NULL, NULL);
    GHashTableIter iter;
    gpointer wd;
    g_hash_table_iter_init (&iter, watch->by_path);
    while (g_hash_table_iter_next (&iter, NULL, &wd))
        g_hash_table_add (kept, wd);
    g_hash_table_iter_init (&iter, old);
    while (g_hash_table_iter_next (&iter, NULL, &wd))
        if (!g_hash_table_contains (kept, wd))
            inotify_rm_watch (watch->fd, GPOINTER_TO_INT (wd));
    set_polling (watch, !all);
}

gboolean
watch_polls (Watch *watch)
{
    return watch->poll != 0;
}
