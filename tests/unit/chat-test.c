/* chat/: frames become events, events fold into one reply, requests become jobs. */
#include "chat/chat.h"

#include "link/link.h"

#include <string.h>

static void
fold (const ChatEvent *event, gpointer data)
{
    chat_fold_add (data, event);
}

static gboolean
take (ChatReader *reader, LinkType type, const char *json, ChatFold *into)
{
    g_autoptr (json_t) payload = json_parse (json, strlen (json), NULL);
    g_assert_nonnull (payload);
    return chat_reader_take (reader, type, payload, fold, into);
}

static void
test_text_reasoning_and_two_calls (void)
{
    g_autoptr (ChatReader) reader = chat_reader_new ();
    g_autoptr (ChatFold) reply = chat_fold_new ();
    take (reader, LINK_START, "{\"n_prompt\":9,\"n_cached\":3}", reply);
    take (reader, LINK_DELTA, "{\"deltas\":[{\"reasoning\":\"hm\"},{\"content\":\"Hi\"}],\"tokens\":2}", reply);
    take (reader, LINK_DELTA,
          "{\"deltas\":[{\"call\":0,\"id\":\"1\",\"name\":\"f\",\"args\":\"{\\\"a\\\"\"}],\"tokens\":1}", reply);
    take (reader, LINK_DELTA,
          "{\"deltas\":[{\"call\":0,\"args\":\":1}\"},{\"call\":1,\"name\":\"g\",\"args\":\"{}\"}],\"tokens\":1}",
          reply);
    g_assert_true (take (reader, LINK_DONE,
                         "{\"reason\":\"call\",\"usage\":{\"prompt\":9,\"cached\":3,\"completion\":7,\"reasoning\":1}}",
                         reply));
    g_assert_cmpstr (reply->reasoning->str, ==, "hm");
    g_assert_cmpstr (reply->content->str, ==, "Hi");
    g_assert_cmpuint (reply->calls->len, ==, 2);
    const ChatCall *first = g_ptr_array_index (reply->calls, 0), *second = g_ptr_array_index (reply->calls, 1);
    g_assert_cmpstr (first->arguments->str, ==, "{\"a\":1}");
    g_assert_cmpstr (second->name, ==, "g");
    g_assert_cmpuint (strlen (second->id), ==, 9);
    g_assert_cmpint (reply->result.stop, ==, CHAT_STOP_CALL);
    g_assert_cmpint (reply->result.n_completion, ==, 7);
}

static void
test_nothing_follows_the_last_event (void)
{
    g_autoptr (ChatReader) reader = chat_reader_new ();
    g_autoptr (ChatFold) reply = chat_fold_new ();
    take (reader, LINK_DONE, "{\"reason\":\"stop\"}", reply);
    g_assert_true (take (reader, LINK_DELTA, "{\"deltas\":[{\"content\":\"late\"}]}", reply));
    g_assert_cmpstr (reply->content->str, ==, "");
}

static void
test_a_call_without_an_index_fails_the_job (void)
{
    static const char *const broken[] = { "-1", "4294967296", "\"x\"", "null" };
    for (guint i = 0; i < G_N_ELEMENTS (broken); i++) {
        g_autoptr (ChatReader) reader = chat_reader_new ();
        g_autoptr (ChatFold) reply = chat_fold_new ();
        g_autofree char *delta = g_strdup_printf ("{\"deltas\":[{\"call\":%s,\"name\":\"f\"}]}", broken[i]);
        g_assert_true (take (reader, LINK_DELTA, delta, reply));
        g_assert_false (reply->done);
        g_assert_cmpuint (reply->calls->len, ==, 0);
    }
}

static void
test_a_foreign_frame_fails_the_job (void)
{
    g_autoptr (ChatReader) reader = chat_reader_new ();
    g_autoptr (ChatFold) reply = chat_fold_new ();
    g_assert_true (take (reader, LINK_HELLO, "{}", reply));
    g_assert_false (reply->done);
}

static void
test_seed_is_folded (void)
{
    g_autoptr (ChatRequest) request = chat_request_new ();
    request->sampling.has_seed = TRUE;
    request->sampling.seed = G_GUINT64_CONSTANT (0x00000001FFFFFFFE);
    g_autoptr (json_t) job = chat_request_to_job (request);
    const json_t *sampling = json_object_get (json_object_get (job, "request"), "sampling");
    g_assert_cmpint (json_peek_int (sampling, "seed", -1), ==, 0); /* all ones mean random to the engine */
    g_assert_cmpint (json_peek_int (job, "max_tokens", 0), ==, -1);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/chat/reply", test_text_reasoning_and_two_calls);
    g_test_add_func ("/chat/last-event", test_nothing_follows_the_last_event);
    g_test_add_func ("/chat/a-call-without-an-index-fails-the-job", test_a_call_without_an_index_fails_the_job);
    g_test_add_func ("/chat/foreign-frame", test_a_foreign_frame_fails_the_job);
    g_test_add_func ("/chat/seed", test_seed_is_folded);
    return g_test_run ();
}
