/* linger.c: reading to the end what nobody wants (linger.h). */
#include "net/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_MS        2000
#define LINGER_MAX_BYTES (64 * 1024 * 1024)
#define LINGER_MAX_FDS   64

struct Lingerers {
    GPtrArray *all; /* struct lingerer, owned */
};

struct lingerer {
    Lingerers *home;
    int fd;
    gsize left; /* bytes that may still be read */
    guint readable, timeout;
};

static void
lingerer_free (gpointer data)
{
    struct lingerer *one = data;
    g_source_remove (one->readable);
    g_source_remove (one->timeout);
    close (one->fd);
    g_free (one);
}

static gboolean
on_timeout (gpointer data)
{
    struct lingerer *one = data;
    g_ptr_array_remove_fast (one->home->all, one);
    return G_SOURCE_CONTINUE; /* removed already */
}

static gboolean
on_readable (int fd, GIOCondition condition, gpointer data)
{
    struct lingerer *one = data;
    char waste[16 * 1024];
    ssize_t n = recv (fd, waste, sizeof waste, MSG_DONTWAIT);
    gboolean over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || (n > 0 && (gsize) n >= one->left);
    if (over)
        g_ptr_array_remove_fast (one->home->all, one);
    else if (n > 0)
        one->left -= n;
    return G_SOURCE_CONTINUE;
}

Lingerers *
lingerers_new (void)
{
    Lingerers *lingerers = g_new0 (Lingerers, 1);
    lingerers->all = g_ptr_array_new_with_free_func (lingerer_free);
    return lingerers;
}

void
lingerers_free (Lingerers *lingerers)
{
    if (!lingerers)
        return;
    g_ptr_array_unref (lingerers->all);
    g_free (lingerers);
}

void
lingerers_add (Lingerers *lingerers, int fd)
{
    int copy = lingerers->all->len < LINGER_MAX_FDS ? fcntl (fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (copy < 0)
        return;
    struct lingerer *one = g_new0 (struct lingerer, 1);
    one->home = lingerers;
    one->fd = copy;
    one->left = LINGER_MAX_BYTES;
    one->readable = g_unix_fd_add (copy, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, one);
    one->timeout = g_timeout_add (LINGER_MS, on_timeout, one);
    g_ptr_array_add (lingerers->all, one);
}
