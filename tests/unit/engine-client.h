/* The daemon's side of the link in a few lines: starts the real lms-engine, sends frames, gathers what comes back by job. */
#pragma once

#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link/link.h"

#define PATIENCE_MS 60000 /* a hang is a failure, slowness is not */

typedef struct {
    GString *content, *reasoning;
    GPtrArray *calls;         /* GString: "name arguments" */
    json_t *start, *end;      /* START; DONE or FAIL */
    json_t *logprobs;         /* of all DELTAs */
    guint n_deltas, n_tokens; /* frames; their `tokens` */
    gboolean done, failed;
    guint number;           /* the how manieth to end, from 1 */
    guint started;          /* the how manieth to start, from 1 */
    gboolean cut_character; /* some delta was no UTF-8 by itself */
} Reply;

typedef struct {
    GPid pid;
    Link *link;
    json_t *hello, *ready, *load_failure;
    double last_progress;
    GHashTable *replies; /* job -> Reply */
    guint n_ended, n_started;
    gboolean closed; /* the engine closed the link */
    /* the last of these */
    json_t *state, *tokens, *rendered;
    GBytes *vectors;
} Client;

static inline void
reply_free (gpointer data)
{
    Reply *reply = data;
    g_string_free (reply->content, TRUE);
    g_string_free (reply->reasoning, TRUE);
    g_ptr_array_unref (reply->calls);
    json_decref (reply->start);
    json_decref (reply->end);
    json_decref (reply->logprobs);
    g_free (reply);
}

static inline void
call_free (gpointer call)
{
    g_string_free (call, TRUE);
}

static inline Reply *
client_reply (Client *c, guint32 job)
{
    Reply *reply = g_hash_table_lookup (c->replies, GUINT_TO_POINTER (job));
    if (!reply) {
        reply = g_new0 (Reply, 1);
        reply->content = g_string_new (NULL);
        reply->reasoning = g_string_new (NULL);
        reply->calls = g_ptr_array_new_with_free_func (call_free);
        reply->logprobs = json_array ();
        g_hash_table_insert (c->replies, GUINT_TO_POINTER (job), reply);
    }
    return reply;
}

/* A copy of the engine's program (LMS_ENGINE), with its end of the link at descriptor 3. */
static inline Client *
client_start (void)
{
    int fds[2];
    g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    const char *argv[] = { g_getenv ("LMS_ENGINE"), NULL };
    const int theirs = LINK_ENGINE_FD;
    Client *c = g_new0 (Client, 1);
    g_autoptr (GError) error = NULL;
    g_spawn_async_with_pipes_and_fds (NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, -1, -1, -1, &fds[1],
                                      &theirs, 1, &c->pid, NULL, NULL, NULL, &error);
    g_assert_no_error (error);
    close (fds[1]);
    c->link = link_new (fds[0]);
    c->replies = g_hash_table_new_full (NULL, NULL, NULL, reply_free);
    return c;
}

static inline void
take_deltas (Reply *reply, const json_t *payload)
{
    reply->n_deltas++;
    reply->n_tokens += json_peek_int (payload, "tokens", 0);
    json_array_extend (reply->logprobs, json_object_get (payload, "logprobs"));
    size_t i;
    json_t *delta;
    json_array_foreach (json_object_get (payload, "deltas"), i, delta) {
        const char *content = json_peek_string (delta, "content"), *reasoning = json_peek_string (delta, "reasoning");
        if (content) {
            g_string_append (reply->content, content);
            reply->cut_character |= !g_utf8_validate (content, -1, NULL);
        }
        if (reasoning)
            g_string_append (reply->reasoning, reasoning);
        if (json_object_get (delta, "call")) {
            guint index = json_peek_int (delta, "call", 0);
            if (index == reply->calls->len) {
                g_ptr_array_add (reply->calls, g_string_new (json_peek_string (delta, "name")));
                g_string_append_c (g_ptr_array_index (reply->calls, index), ' ');
            }
            g_assert_cmpuint (index, ==, reply->calls->len - 1);
            const char *arguments = json_peek_string (delta, "args");
            g_string_append (g_ptr_array_index (reply->calls, index), arguments ? arguments : "");
        }
    }
}

static inline void
keep (json_t **slot, json_t *value)
{
    json_decref (*slot);
    *slot = value;
}

static inline void
client_take (Client *c, const LinkFrame *frame)
{
    if (frame->type == LINK_VECTOR) {
        g_clear_pointer (&c->vectors, g_bytes_unref);
        c->vectors = g_bytes_new (frame->payload, frame->length);
        client_reply (c, frame->job)->done = TRUE;
        return;
    }
    g_assert_cmpint (frame->type, !=, LINK_FATAL);
    json_t *payload = json_parse (frame->payload, frame->length, NULL);
    g_assert_nonnull (payload);
    Reply *reply = frame->job ? client_reply (c, frame->job) : NULL;
    if (reply)
        g_assert_false (reply->done || reply->failed); /* the last frame is the last */
    switch (frame->type) {
    case LINK_HELLO:
        keep (&c->hello, payload);
        break;
    case LINK_READY:
        keep (&c->ready, payload);
        break;
    case LINK_PROGRESS:
        g_assert_cmpfloat (json_peek_number (payload, "fraction", -1), >=, c->last_progress);
        c->last_progress = json_peek_number (payload, "fraction", -1);
        json_decref (payload);
        break;
    case LINK_STATE:
        keep (&c->state, payload);
        break;
    case LINK_TOKENS:
        keep (&c->tokens, payload);
        reply->done = TRUE;
        break;
    case LINK_RENDERED:
        keep (&c->rendered, payload);
        reply->done = TRUE;
        break;
    case LINK_START:
        g_assert_null (reply->start);
        keep (&reply->start, payload);
        reply->started = ++c->n_started;
        break;
    case LINK_PREFILL:
        g_assert_nonnull (reply->start);
        json_decref (payload);
        break;
    case LINK_DELTA:
        g_assert_nonnull (reply->start);
        take_deltas (reply, payload);
        json_decref (payload);
        break;
    case LINK_DONE:
    case LINK_FAIL:
        if (!reply) {
            keep (&c->load_failure, payload);
            break;
        }
        keep (&reply->end, payload);
        *(frame->type == LINK_DONE ? &reply->done : &reply->failed) = TRUE;
        reply->number = ++c->n_ended;
        break;
    default:
        g_error ("unexpected %s", link_type_name (frame->type));
    }
}

/* Takes one frame, waiting for it; FALSE when the engine has closed the link. */
static inline gboolean
client_step (Client *c)
{
    for (;;) {
        LinkFrame frame;
        switch (link_read (c->link, &frame, NULL)) {
        case LINK_GOT_FRAME:
            client_take (c, &frame);
            return TRUE;
        case LINK_WANTS_MORE: {
            struct pollfd pfd = { .fd = link_fd (c->link),
                                  .events = POLLIN | (link_queued_bytes (c->link) ? POLLOUT : 0) };
            g_assert_cmpint (poll (&pfd, 1, PATIENCE_MS), >, 0);
            link_flush (c->link);
            break;
        }
        default:
            c->closed = TRUE;
            return FALSE;
        }
    }
}

static inline void
client_send (Client *c, LinkType type, guint32 job, json_t *payload)
{
    link_send_json (c->link, type, job, payload);
    json_decref (payload);
}

static inline Reply *
client_wait (Client *c, guint32 job)
{
    Reply *reply = client_reply (c, job);
    while (!reply->done && !reply->failed)
        g_assert_true (client_step (c));
    return reply;
}

static inline json_t *
client_stats (Client *c)
{
    g_clear_pointer (&c->state, json_decref);
    link_send (c->link, LINK_STATS, 0, NULL, 0);
    while (!c->state)
        g_assert_true (client_step (c));
    return c->state;
}

static inline gint64
client_count (Client *c, const char *what)
{
    return json_peek_int (client_stats (c), what, -1);
}

/* Waits for the end of the process; its exit code, or minus the signal. */
static inline int
client_exit_code (Client *c)
{
    while (!c->closed)
        client_step (c);
    int status;
    g_assert_cmpint (waitpid (c->pid, &status, 0), ==, c->pid);
    c->pid = 0;
    return WIFEXITED (status) ? WEXITSTATUS (status) : -WTERMSIG (status);
}

static inline void
client_free (Client *c)
{
    if (c->pid) {
        link_send (c->link, LINK_STOP, 0, NULL, 0);
        g_assert_cmpint (client_exit_code (c), ==, 0);
    }
    link_free (c->link);
    g_hash_table_unref (c->replies);
    json_decref (c->hello);
    json_decref (c->ready);
    json_decref (c->load_failure);
    json_decref (c->state);
    json_decref (c->tokens);
    json_decref (c->rendered);
    g_clear_pointer (&c->vectors, g_bytes_unref);
    g_free (c);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Client, client_free)

static inline char *
model_path (const char *name)
{
    return g_build_filename (g_getenv ("ATELIER_MODELS"), name, NULL);
}

/* A loaded engine; @options are LOAD's beside the path, taken. */
static inline Client *
client_load (const char *model, json_t *options)
{
    Client *c = client_start ();
    g_autofree char *path = model_path (model);
    json_object_set_new (options, "path", json_string (path));
    client_send (c, LINK_LOAD, 0, options);
    while (!c->ready && !c->load_failure)
        g_assert_true (client_step (c));
    return c;
}
