/* link.c: the frame codec and its queues.  Format and payloads: link.h. */
#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_CHUNK (64 * 1024)

G_DEFINE_QUARK (link - error - quark, link_error)

struct Link {
    int fd;
    gboolean broken; /* a write failed: the peer is gone */
    gboolean ended;  /* read returned 0, or failed for good */

    GByteArray *out; /* bytes not yet sent, from out_start on */
    gsize out_start;
    GArray *out_fds; /* struct pending_fd, in the order of their frames */

    GByteArray *in; /* bytes received, from in_start on not yet handed out */
    gsize in_start;
    GArray *in_fds; /* int: descriptors received and not yet handed out */
};

struct pending_fd {
    gsize at; /* index in @out of the frame's first byte */
    int fd;   /* ours: a duplicate */
};

#define LINK_FLAG_FD 1 /* this frame brought a descriptor */

const char *
link_type_name (guint type)
{
    static const char *const daemon_names[] = { NULL,       "LOAD",   "JOB",  "CANCEL", "FORGET",
                                                "PAUSE",    "RESUME", "FILE", "EMBED",  "RERANK",
                                                "TOKENIZE", "RENDER", "TUNE", "STATS",  "STOP" };
    static const char *const engine_names[] = { "HELLO",    "PROGRESS", "READY",  "START",  "PREFILL",
                                                "DELTA",    "DONE",     "FAIL",   "VECTOR", "TOKENS",
                                                "RENDERED", "WANT",     "STORED", "STATE",  "FATAL" };
    if (type < G_N_ELEMENTS (daemon_names))
        return daemon_names[type];
    if (type >= LINK_HELLO && type - LINK_HELLO < G_N_ELEMENTS (engine_names))
        return engine_names[type - LINK_HELLO];
    return NULL;
}

Link *
link_new (int fd)
{
    Link *link = g_new0 (Link, 1);
    link->fd = fd;
    fcntl (fd, F_SETFL, fcntl (fd, F_GETFL) | O_NONBLOCK);
    link->out = g_byte_array_new ();
    link->in = g_byte_array_new ();
    link->out_fds = g_array_new (FALSE, FALSE, sizeof (struct pending_fd));
    link->in_fds = g_array_new (FALSE, FALSE, sizeof (int));
    return link;
}

void
link_free (Link *link)
{
    if (!link)
        return;
    for (guint i = 0; i < link->out_fds->len; i++)
        close (g_array_index (link->out_fds, struct pending_fd, i).fd);
    for (guint i = 0; i < link->in_fds->len; i++)
        close (g_array_index (link->in_fds, int, i));
    g_array_unref (link->out_fds);
    g_array_unref (link->in_fds);
    g_byte_array_unref (link->out);
    g_byte_array_unref (link->in);
    close (link->fd);
    g_free (link);
}

int
link_fd (const Link *link)
{
    return link->fd;
}

gsize
link_queued_bytes (const Link *link)
{
    return link->out->len - link->out_start;
}

void
link_pack_header (guint8 header[LINK_HEADER_SIZE], LinkType type, guint16 flags, guint32 job, guint32 length)
{
    const guint32 le_length = GUINT32_TO_LE (length), le_job = GUINT32_TO_LE (job);
    const guint16 le_type = GUINT16_TO_LE (type), le_flags = GUINT16_TO_LE (flags);
    memcpy (header, &le_length, 4);
    memcpy (header + 4, &le_type, 2);
    memcpy (header + 6, &le_flags, 2);
    memcpy (header + 8, &le_job, 4);
}

/* Queues one frame without sending it. */
static void
enqueue (Link *link, LinkType type, guint16 flags, guint32 job, const void *payload, gsize length)
{
    g_assert (length <= LINK_MAX_PAYLOAD);
    guint8 header[LINK_HEADER_SIZE];
    link_pack_header (header, type, flags, job, length);
    g_byte_array_append (link->out, header, sizeof header);
    if (length > 0)
        g_byte_array_append (link->out, payload, length);
}

void
link_send (Link *link, LinkType type, guint32 job, const void *payload, gsize length)
{
    if (link->broken)
        return;
    enqueue (link, type, 0, job, payload, length);
    link_flush (link);
}

void
link_send_json (Link *link, LinkType type, guint32 job, const json_t *payload)
{
    gsize length = 0;
    g_autofree char *text = payload ? json_print (payload, &length) : NULL;
    link_send (link, type, job, text, length);
}

void
link_send_fd (Link *link, LinkType type, guint32 job, const json_t *payload, int fd)
{
    if (fd == -1) {
        link_send_json (link, type, job, payload);
        return;
    }
    if (link->broken)
        return;
    struct pending_fd pending = { .at = link->out->len, .fd = fcntl (fd, F_DUPFD_CLOEXEC, 3) };
    g_array_append_val (link->out_fds, pending);
    gsize length = 0;
    g_autofree char *text = payload ? json_print (payload, &length) : NULL;
    enqueue (link, type, LINK_FLAG_FD, job, text, length);
    link_flush (link);
}

/* One sendmsg of [start, end); with @fd when it is not -1. */
static ssize_t
send_some (Link *link, gsize start, gsize end, int fd)
{
    struct iovec bytes = { .iov_base = link->out->data + start, .iov_len = end - start };
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE (sizeof (int))];
    } control = { 0 };
    struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };
    if (fd != -1) {
        message.msg_control = control.space;
        message.msg_controllen = sizeof control.space;
        struct cmsghdr *rights = CMSG_FIRSTHDR (&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN (sizeof (int));
        memcpy (CMSG_DATA (rights), &fd, sizeof (int));
    }
    ssize_t n;
    do
        n = sendmsg (link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n;
}

gboolean
link_flush (Link *link)
{
    while (!link->broken && link->out_start < link->out->len) {
        /* A descriptor travels with the first byte of its frame, so a send stops short of the next such frame. */
        gsize end = link->out->len;
        int fd = -1;
        for (guint i = 0; i < link->out_fds->len; i++) {
            const struct pending_fd *pending = &g_array_index (link->out_fds, struct pending_fd, i);
            if (pending->at == link->out_start) {
                fd = pending->fd;
            } else {
                end = pending->at;
                break;
            }
        }
        ssize_t n = send_some (link, link->out_start, end, fd);
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
            return FALSE;
        if (n < 0) {
            link->broken = TRUE;
            break;
        }
        if (fd != -1) {
            close (fd);
            g_array_remove_index (link->out_fds, 0);
        }
        link->out_start += n;
    }
    for (guint i = 0; link->broken && i < link->out_fds->len; i++)
        close (g_array_index (link->out_fds, struct pending_fd, i).fd);
    g_array_set_size (link->out_fds, 0);
    g_byte_array_set_size (link->out, 0);
    link->out_start = 0;
    return TRUE;
}

/* Reads once; FALSE when there is nothing more for now or for ever. */
static gboolean
receive_some (Link *link)
{
    /* What was handed out makes room first, so that the buffer stays near one frame in size. */
    if (link->in_start == link->in->len) {
        g_byte_array_set_size (link->in, 0);
        link->in_start = 0;
    } else if (link->in_start > READ_CHUNK) {
        g_byte_array_remove_range (link->in, 0, link->in_start);
        link->in_start = 0;
    }
    guint had = link->in->len;
    g_byte_array_set_size (link->in, had + READ_CHUNK);
    struct iovec bytes = { .iov_base = link->in->data + had, .iov_len = READ_CHUNK };
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE (4 * sizeof (int))];
    } control;
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space
    };
    ssize_t n;
    do
        n = recvmsg (link->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    g_byte_array_set_size (link->in, had + MAX (n, 0));
    if (n == 0 || (n < 0 && errno != EAGAIN))
        link->ended = TRUE;
    if (n <= 0)
        return FALSE;
    for (struct cmsghdr *c = CMSG_FIRSTHDR (&message); c; c = CMSG_NXTHDR (&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            g_array_append_vals (link->in_fds, CMSG_DATA (c), (c->cmsg_len - CMSG_LEN (0)) / sizeof (int));
    return TRUE;
}

LinkResult
link_read (Link *link, LinkFrame *frame, GError **error)
{
    for (;;) {
        gsize have = link->in->len - link->in_start;
        if (have >= LINK_HEADER_SIZE) {
            const guint8 *at = link->in->data + link->in_start;
            guint32 length, job;
            guint16 type, flags;
            memcpy (&length, at, 4);
            memcpy (&type, at + 4, 2);
            memcpy (&flags, at + 6, 2);
            memcpy (&job, at + 8, 4);
            length = GUINT32_FROM_LE (length);
            type = GUINT16_FROM_LE (type);
            flags = GUINT16_FROM_LE (flags);
            if (length > LINK_MAX_PAYLOAD || !link_type_name (type)) {
                g_set_error (error, LINK_ERROR, LINK_ERROR_PROTOCOL,
                             "the peer does not speak the link protocol (frame type %u, %u bytes)", type, length);
                return LINK_BAD;
            }
            if (have >= LINK_HEADER_SIZE + length) {
                int fd = -1;
                if (flags & LINK_FLAG_FD) {
                    if (link->in_fds->len == 0) {
                        g_set_error (error, LINK_ERROR, LINK_ERROR_PROTOCOL, "frame %s lacks its descriptor",
                                     link_type_name (type));
                        return LINK_BAD;
                    }
                    fd = g_array_index (link->in_fds, int, 0);
                    g_array_remove_index (link->in_fds, 0);
                }
                gsize payload_at = link->in_start + LINK_HEADER_SIZE;
                *frame = (LinkFrame){
                    .type = type, .flags = flags, .job = GUINT32_FROM_LE (job), .length = length, .fd = fd
                };
                frame->payload = (const char *) link->in->data + payload_at;
                link->in_start = payload_at + length;
                return LINK_GOT_FRAME;
            }
        }
        if (link->ended || !receive_some (link))
            return link->ended ? LINK_ENDED : LINK_WANTS_MORE;
    }
}
