/* chat.c: any payloads of an engine to the chat reader and the fold; exactly one last event, calls begun and ended in pairs.
 *
 * The input is lines: one character for the frame's type, then its JSON. */
#include "fuzz.h"

#include "chat/chat.h"
#include "link/link.h"

#include <string.h>

typedef struct {
    ChatFold *fold;
    guint n_last;
    gboolean in_call;
} Seen;

static void
see (const ChatEvent *event, gpointer data)
{
    Seen *seen = data;
    g_assert_cmpuint (seen->n_last, ==, 0);
    if (event->text)
        g_assert_true (g_utf8_validate_len (event->text, event->length, NULL) ||
                       memchr (event->text, '\0', event->length));
    switch (event->type) {
    case CHAT_CALL_BEGIN:
        g_assert_false (seen->in_call);
        g_assert_nonnull (event->call_id);
        g_assert_nonnull (event->call_name);
        seen->in_call = TRUE;
        break;
    case CHAT_CALL_ARGUMENTS:
        g_assert_true (seen->in_call);
        break;
    case CHAT_CALL_END:
        g_assert_true (seen->in_call);
        seen->in_call = FALSE;
        break;
    case CHAT_DONE:
        g_assert_nonnull (event->result);
        g_assert_false (seen->in_call);
        seen->n_last++;
        break;
    case CHAT_FAILED:
        g_assert_nonnull (event->failure);
        g_assert_nonnull (event->failure->message);
        seen->n_last++;
        break;
    default:
        break;
    }
    chat_fold_add (seen->fold, event);
}

static const guint types[] = { LINK_START, LINK_PREFILL, LINK_DELTA, LINK_DONE, LINK_FAIL, LINK_VECTOR };

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    g_autoptr (ChatFold) fold = chat_fold_new ();
    g_autoptr (ChatReader) reader = chat_reader_new ();
    Seen seen = { .fold = fold };
    const char *at = (const char *) data, *end = at + size;
    while (at < end && seen.n_last == 0) {
        const char *stop = memchr (at, '\n', end - at);
        gsize length = (stop ? stop : end) - at;
        if (length > 0) {
            g_autoptr (json_t) payload = json_parse (at + 1, length - 1, NULL);
            gboolean last = chat_reader_take (reader, types[(guint8) *at % G_N_ELEMENTS (types)], payload, see, &seen);
            g_assert_cmpint (last, ==, seen.n_last == 1);
        }
        at += length + 1;
    }
    return 0;
}
