/* probe.c: one GET over a plain socket, with every wait bounded by one deadline (probe.h). */
#include "net/probe.h"

#include "net/dial.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_ANSWER (80 * 1024) /* head and body */
#define MAX_BODY   (64 * 1024)

/* HTTP/1.0, so that the answer is neither chunked nor kept alive: the body is what comes until the end. */
static gboolean
ask (int fd, const char *host, guint16 port, const char *path, gint64 deadline_us, GError **error)
{
    g_autofree char *authority = dial_authority (host, port);
    g_autofree char *head = g_strdup_printf ("GET %s HTTP/1.0\r\nHost: %s\r\nAccept: */*\r\n\r\n", path, authority);
    return dial_send (fd, head, strlen (head), deadline_us, error);
}

static gboolean
hear (int fd, GString *answer, gint64 deadline_us, GError **error)
{
    char buffer[4096];
    for (;;) {
        gssize n = dial_receive (fd, buffer, sizeof buffer, deadline_us, error);
        if (n < 0)
            return FALSE;
        if (n == 0)
            return TRUE;
        if (answer->len + n > MAX_ANSWER) {
            g_set_error (error, NET_ERROR, NET_ERROR_FAILED, "the answer is too long");
            return FALSE;
        }
        g_string_append_len (answer, buffer, n);
    }
}

char *
probe_get (const char *host, guint16 port, const char *path, guint timeout_ms, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time () + timeout_ms * G_GINT64_CONSTANT (1000);
    int fd = dial_connect (host, port, deadline_us, error);
    if (fd < 0)
        return NULL;
    g_autoptr (GString) answer = g_string_new (NULL);
    gboolean heard = ask (fd, host, port, path, deadline_us, error) && hear (fd, answer, deadline_us, error);
    close (fd);
    if (!heard)
        return NULL;
    const char *end = strstr (answer->str, "\r\n\r\n");
    guint status = dial_status (answer->str);
    if (!end || status != 200) {
        g_set_error (error, NET_ERROR, NET_ERROR_FAILED,
                     status ? "%s:%u answered with status %u" : "%s:%u does not speak HTTP", host, port, status);
        return NULL;
    }
    gsize length = answer->str + answer->len - (end + 4);
    if (length > MAX_BODY) {
        g_set_error (error, NET_ERROR, NET_ERROR_FAILED, "the answer is too long");
        return NULL;
    }
    return g_strndup (end + 4, length);
}
