/* The real lms-engine with the demo model, spoken to by frames as the daemon does.
 *
 * The questions are such that the model is sure of every token of its answer: then greedy replies are the same whatever else was in
 * the batch (engine.md 4, "Same answers"). */
#include "engine-client.h"

#include <math.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define DEMO "atelier-demo.gguf"

static const struct {
    const char *question, *expected; /* a part of the answer */
} facts[] = {
    { "whats the default port of the server?", "1234" },
    { "What is 17 + 25?", "42" },
    { "Hello", "help" },
};

/* ---- requests ------------------------------------------------------------------------------------------------------------- */

static json_t *
greedy (void)
{
    return json_pack ("{s:i}", "temperature", 0);
}

static json_t *
chat (const char *system, const char *user)
{
    json_t *messages = json_array ();
    if (system)
        json_array_append_new (messages, json_pack ("{s:s, s:s}", "role", "system", "content", system));
    json_array_append_new (messages, json_pack ("{s:s, s:s}", "role", "user", "content", user));
    return json_pack ("{s:o, s:o}", "messages", messages, "sampling", greedy ());
}

static json_t *
job (json_t *request)
{
    return json_pack ("{s:o}", "request", request);
}

static json_t *
job_with (json_t *request, const char *key, json_t *value)
{
    return json_pack ("{s:o, s:o}", "request", request, key, value);
}

static Reply *
ask (Client *c, guint32 id, json_t *payload)
{
    client_send (c, LINK_JOB, id, payload);
    return client_wait (c, id);
}

static gint64
usage (const Reply *reply, const char *what)
{
    return json_peek_int (json_object_get (reply->end, "usage"), what, -1);
}

static const char *
reason (const Reply *reply)
{
    return json_peek_string (reply->end, reply->failed ? "kind" : "reason");
}

/* Some text of @n_words words, a few tokens each, that begins with @first. */
static char *
long_text (const char *first, guint n_words)
{
    static const char *const words[] = { "red", "blue", "green", "cat", "dog", "house", "tree", "sun" };
    GString *text = g_string_new (first);
    for (guint i = 0; i < n_words; i++)
        g_string_append_printf (text, " %s", words[(i * 5 + i / 8) % G_N_ELEMENTS (words)]);
    return g_string_free (text, FALSE);
}

/* A request whose reply never ends by itself. */
static json_t *
endless (Client *c, const char *system, const char *user)
{
    client_send (c, LINK_TOKENIZE, 9999, json_pack ("{s:s}", "text", "<|im_end|><|endoftext|>"));
    client_reply (c, 9999)->done = FALSE;
    while (!client_reply (c, 9999)->done)
        g_assert_true (client_step (c));
    json_t *request = chat (system, user), *bias = json_array ();
    size_t i;
    json_t *id;
    json_array_foreach (json_object_get (c->tokens, "tokens"), i, id)
        json_array_append_new (bias, json_pack ("[O, i]", id, -100));
    json_object_set_new (json_object_get (request, "sampling"), "logit_bias", bias);
    return request;
}

static void
wait_for_start (Client *c, guint32 id)
{
    while (!client_reply (c, id)->start) {
        g_assert_false (client_reply (c, id)->failed);
        g_assert_true (client_step (c));
    }
}

static void
wait_for_text (Client *c, guint32 id)
{
    while (client_reply (c, id)->n_deltas == 0) {
        g_assert_false (client_reply (c, id)->failed);
        g_assert_true (client_step (c));
    }
}

/* ---- one job -------------------------------------------------------------------------------------------------------------- */

static void
loads_and_streams (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    g_assert_cmpint (json_peek_int (c->hello, "protocol", 0), ==, LINK_PROTOCOL);
    g_assert_cmpint (json_peek_int (c->ready, "n_ctx", 0), ==, 2048);
    g_assert_cmpstr (json_peek_string (c->ready, "memory"), ==, "full");
    g_assert_cmpint (json_peek_int (c->ready, "sandbox", 0), ==, 2);
    g_assert_cmpfloat (c->last_progress, ==, 1);
    for (guint i = 0; i < G_N_ELEMENTS (facts); i++) {
        const Reply *reply = ask (c, i + 1, job (chat (NULL, facts[i].question)));
        g_assert_cmpstr (reason (reply), ==, "stop");
        g_assert_nonnull (strstr (reply->content->str, facts[i].expected));
        g_assert_cmpuint (reply->n_deltas, >=, 2); /* the first text does not wait for more */
        g_assert_cmpint (usage (reply, "completion"), ==, reply->n_tokens);
        g_assert_cmpint (usage (reply, "prompt"), ==, json_peek_int (reply->start, "n_prompt", 0));
        g_assert_cmpint (usage (reply, "cached"), ==, json_peek_int (reply->start, "n_cached", -1));
    }
}

static void
max_tokens_end_it (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    const Reply *reply = ask (c, 1, job_with (endless (c, NULL, "Hello"), "max_tokens", json_integer (7)));
    g_assert_cmpstr (reason (reply), ==, "length");
    g_assert_cmpint (usage (reply, "completion"), ==, 7);
    g_assert_cmpuint (reply->n_tokens, ==, 7);

    gint64 before = client_count (c, "n_decode");
    reply = ask (c, 2, job_with (chat (NULL, "Hello"), "max_tokens", json_integer (0)));
    g_assert_cmpstr (reason (reply), ==, "length");
    g_assert_cmpint (usage (reply, "completion"), ==, 0);
    g_assert_cmpint (usage (reply, "prompt"), >, 0);
    g_assert_cmpint (client_count (c, "n_decode"), ==, before);
}

static void
stop_strings_are_cut_out (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    g_autofree char *whole = g_strdup (ask (c, 1, job (chat (NULL, facts[0].question)))->content->str);
    /* Every part of the answer as a stop string: tokens begin and end somewhere in it. */
    guint id = 2;
    for (gsize begin = 0; begin < strlen (whole); begin += 5)
        for (gsize length = 1; length < 7 && begin + length <= strlen (whole); length += 5) {
            g_autofree char *stop = g_strndup (whole + begin, length);
            const Reply *reply =
                ask (c, id++, job_with (chat (NULL, facts[0].question), "stop", json_pack ("[s, s]", "never", stop)));
            g_assert_cmpstr (reason (reply), ==, "stop_string");
            g_assert_cmpstr (json_peek_string (reply->end, "stop_string"), ==, stop);
            g_autofree char *expected = g_strndup (whole, strstr (whole, stop) - whole);
            g_assert_cmpstr (reply->content->str, ==, expected);
        }
    const Reply *reply =
        ask (c, id, job_with (chat (NULL, facts[0].question), "stop", json_pack ("[s]", "nowhere in it")));
    g_assert_cmpstr (reason (reply), ==, "stop");
    g_assert_cmpstr (reply->content->str, ==, whole);
}

static void
reasoning_is_apart_and_no_place_for_stops (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    const Reply *reply = ask (c, 1, job (chat (NULL, "What is 12 + 30? /think")));
    g_assert_cmpuint (reply->reasoning->len, >, 0);
    g_assert_nonnull (strstr (reply->content->str, "42"));
    g_assert_null (strstr (reply->content->str, "think>"));
    g_assert_cmpint (usage (reply, "reasoning"), >, 0);
    g_assert_cmpint (usage (reply, "reasoning"), <, usage (reply, "completion"));
    g_autofree char *thought = g_strdup (reply->reasoning->str);
    /* "The user" is only in the thought. */
    reply = ask (c, 2, job_with (chat (NULL, "What is 12 + 30? /think"), "stop", json_pack ("[s]", "The user")));
    g_assert_cmpstr (reason (reply), ==, "stop");
    g_assert_cmpstr (reply->reasoning->str, ==, thought);
}

static json_t *
weather (gboolean parallel)
{
    json_t *request = chat (NULL, "What is the weather in Paris and Rome?");
    json_object_set_new (request, "tools",
                         json_pack ("[{s:s, s:{s:s, s:{s:s, s:{s:{s:s}}, s:[s]}}}]", "type", "function", "function",
                                    "name", "get_weather", "parameters", "type", "object", "properties", "location",
                                    "type", "string", "required", "location"));
    json_object_set_new (request, "parallel_tool_calls", json_boolean (parallel));
    return request;
}

static void
calls_come_one_after_the_other (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    const Reply *reply = ask (c, 1, job (weather (TRUE)));
    g_assert_cmpstr (reason (reply), ==, "call");
    g_assert_cmpuint (reply->calls->len, ==, 2);
    g_assert_nonnull (strstr (((GString *) g_ptr_array_index (reply->calls, 0))->str, "Paris"));
    g_assert_nonnull (strstr (((GString *) g_ptr_array_index (reply->calls, 1))->str, "Rome"));
    gint64 n_both = usage (reply, "completion");

    reply = ask (c, 2, job (weather (FALSE)));
    g_assert_cmpstr (reason (reply), ==, "call");
    g_assert_cmpuint (reply->calls->len, ==, 1);
    g_assert_cmpint (usage (reply, "completion"), <, n_both);

    /* A limit inside of the arguments: the piece is delivered, the reason is the limit. */
    reply = ask (c, 3, job_with (weather (TRUE), "max_tokens", json_integer (18)));
    g_assert_cmpstr (reason (reply), ==, "length");
}

static void
logprobs_ride_with_their_text (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    const Reply *reply = ask (c, 1, job_with (chat (NULL, facts[0].question), "n_logprobs", json_integer (3)));
    g_autoptr (GString) text = g_string_new (NULL);
    size_t i, k;
    json_t *entry, *byte;
    json_array_foreach (reply->logprobs, i, entry) {
        json_array_foreach (json_object_get (entry, "bytes"), k, byte)
            g_string_append_c (text, json_integer_value (byte));
        const json_t *top = json_object_get (entry, "top");
        g_assert_cmpuint (json_array_size (top), ==, 3);
        /* Greedy: the chosen one is the most likely one. */
        g_assert_cmpint (json_peek_int (json_array_get (top, 0), "id", -1), ==, json_peek_int (entry, "id", -2));
        g_assert_cmpfloat (json_peek_number (entry, "logprob", 1), <=, 0);
    }
    g_assert_cmpstr (text->str, ==, reply->content->str);
    g_assert_cmpuint (json_array_size (reply->logprobs), ==, usage (reply, "completion"));

    /* Not of a thought, nor of a stop string. */
    reply = ask (c, 2, job_with (chat (NULL, "What is 12 + 30? /think"), "n_logprobs", json_integer (0)));
    g_assert_cmpuint (json_array_size (reply->logprobs), <=, usage (reply, "completion") - usage (reply, "reasoning"));
    json_t *payload = job_with (chat (NULL, facts[0].question), "n_logprobs", json_integer (0));
    json_object_set_new (payload, "stop", json_pack ("[s]", "1234"));
    reply = ask (c, 3, payload);
    g_string_truncate (text, 0);
    json_array_foreach (reply->logprobs, i, entry)
        json_array_foreach (json_object_get (entry, "bytes"), k, byte)
            g_string_append_c (text, json_integer_value (byte));
    g_assert_true (g_str_has_prefix (reply->content->str, text->str));
}

static void
characters_are_whole (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    json_t *request = json_pack ("{s:s, s:s, s:o}", "prompt", "x", "grammar",
                                 "root ::= \"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x99\x82!\"", "sampling", greedy ());
    const Reply *reply = ask (c, 1, job (json_incref (request)));
    g_assert_cmpstr (reply->content->str, ==, "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x99\x82!");
    g_assert_false (reply->cut_character);
    /* A limit in the midst of a character: what is left of it becomes U+FFFD. */
    gint64 n = usage (reply, "completion");
    g_autofree char *whole = g_strdup (reply->content->str);
    for (gint64 limit = 1; limit < n; limit++) {
        reply = ask (c, 1 + limit, job_with (json_incref (request), "max_tokens", json_integer (limit)));
        g_assert_true (g_utf8_validate (reply->content->str, -1, NULL));
        g_assert_false (reply->cut_character);
    }
    json_decref (request);
}

static void
raw_prompts_keep_special_tokens_if_asked (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    const char *prompt = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n";
    json_t *payload = job (json_pack ("{s:s, s:o}", "prompt", prompt, "sampling", greedy ()));
    json_object_set_new (payload, "want_prompt", json_true ());
    const Reply *reply = ask (c, 1, payload);
    g_assert_cmpstr (json_peek_string (reply->start, "prompt"), ==, prompt);
    g_assert_nonnull (strstr (reply->content->str, "help"));

    client_send (c, LINK_RENDER, 2, json_pack ("{s:o}", "request", chat (NULL, "Hello")));
    client_wait (c, 2);
    g_assert_cmpstr (json_peek_string (c->rendered, "prompt"), ==, prompt);
    g_assert_cmpint (json_peek_int (c->rendered, "n_tokens", 0), ==, usage (reply, "prompt"));

    client_send (c, LINK_TOKENIZE, 3, json_pack ("{s:s}", "text", prompt));
    client_wait (c, 3);
    json_t *tokens = json_object_get (c->tokens, "tokens");
    g_assert_cmpint (json_array_size (tokens), ==, usage (reply, "prompt"));
    const Reply *again = ask (c, 4, job (json_pack ("{s:O, s:o}", "tokens", tokens, "sampling", greedy ())));
    g_assert_cmpstr (again->content->str, ==, reply->content->str);
}

/* ---- the context ---------------------------------------------------------------------------------------------------------- */

static void
a_full_context_ends_it (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i}", "n_ctx", 256));
    g_assert_cmpint (json_peek_int (c->ready, "n_ctx", 0), ==, 256);
    const Reply *reply = ask (c, 1, job (endless (c, NULL, "Hello")));
    g_assert_cmpstr (reason (reply), ==, "context_full");
    g_assert_cmpint (usage (reply, "prompt") + usage (reply, "completion"), ==, 256);
}

static void
a_prompt_too_long_is_refused_before_computing (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i}", "n_ctx", 256));
    gint64 before = client_count (c, "n_decode");
    g_autofree char *text = long_text ("", 400);
    const Reply *reply = ask (c, 1, job (chat (NULL, text)));
    g_assert_cmpstr (reason (reply), ==, "context");
    g_assert_cmpint (json_peek_int (reply->end, "n_prompt", 0), >=, 400);
    g_assert_cmpint (json_peek_int (reply->end, "n_ctx", 0), ==, 256);
    g_assert_cmpint (client_count (c, "n_decode"), ==, before);
}

/* A long conversation under each policy: the system message is kept, the middle or the oldest is gone, and there is an answer. */
static void
an_overflowing_conversation_is_shortened (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i}", "n_ctx", 256));
    static const char *const policies[] = { "stopAtLimit", "truncateMiddle", "rollingWindow" };
    for (guint i = 0; i < G_N_ELEMENTS (policies); i++) {
        json_t *request = chat ("You are a helpful assistant.", "FIRST"),
               *messages = json_object_get (request, "messages");
        for (guint k = 0; k < 30; k++) {
            g_autofree char *answer = g_strdup_printf ("Answer number %u.", k);
            json_array_append_new (messages, json_pack ("{s:s, s:s}", "role", "assistant", "content", answer));
            json_array_append_new (messages, json_pack ("{s:s, s:s}", "role", "user", "content", "And now?"));
        }
        json_array_append_new (messages, json_pack ("{s:s, s:s}", "role", "assistant", "content", "Well."));
        json_array_append_new (messages, json_pack ("{s:s, s:s}", "role", "user", "content", "LAST"));
        json_t *payload = job_with (request, "overflow", json_string (policies[i]));
        json_object_set_new (payload, "want_prompt", json_true ());
        const Reply *reply = ask (c, i + 1, payload);
        if (i == 0) {
            g_assert_cmpstr (reason (reply), ==, "context");
            continue;
        }
        const char *prompt = json_peek_string (reply->start, "prompt");
        g_assert_true (reply->done);
        g_assert_cmpint (usage (reply, "prompt"), <, 256);
        g_assert_cmpint (usage (reply, "prompt"), >, 150); /* no more is dropped than must be */
        g_assert_nonnull (strstr (prompt, "helpful assistant"));
        g_assert_nonnull (strstr (prompt, "LAST"));
        g_assert_null (strstr (prompt, "number 0."));
        g_assert_nonnull (strstr (prompt, "number 29."));
        g_assert_true ((strstr (prompt, "FIRST") != NULL) == (i == 1));
    }
    /* What cannot be shortened is refused as ever. */
    g_autofree char *text = long_text ("", 400);
    const Reply *reply = ask (c, 10, job_with (chat (NULL, text), "overflow", json_string ("truncateMiddle")));
    g_assert_cmpstr (reason (reply), ==, "context");
    reply = ask (c, 11, job_with (json_pack ("{s:s}", "prompt", text), "overflow", json_string ("rollingWindow")));
    g_assert_cmpstr (reason (reply), ==, "context");
}

/* Three jobs that each would fill the whole cache: who has to give way computes again later, and none is cut short. */
static void
jobs_that_compete_for_cells_all_get_their_context (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i, s:i}", "n_ctx", 256, "parallel", 3));
    for (guint id = 1; id <= 3; id++) {
        g_autofree char *user = g_strdup_printf ("Tell me story %u", id);
        client_send (c, LINK_JOB, id, job (endless (c, NULL, user)));
    }
    for (guint id = 1; id <= 3; id++) {
        const Reply *reply = client_wait (c, id);
        g_assert_cmpstr (reason (reply), ==, "context_full");
        g_assert_cmpint (usage (reply, "prompt") + usage (reply, "completion"), ==, 256);
        g_assert_cmpuint (reply->n_tokens, ==, usage (reply, "completion"));
    }
    g_assert_cmpint (client_count (c, "cells_used"), <=, 256);
}

/* ---- prefixes ------------------------------------------------------------------------------------------------------------- */

static void
a_known_prompt_is_not_computed_again (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    for (guint i = 0; i < G_N_ELEMENTS (facts); i++) {
        const Reply *first = ask (c, 2 * i + 1, job (chat (NULL, facts[i].question)));
        const Reply *second = ask (c, 2 * i + 2, job (chat (NULL, facts[i].question)));
        g_assert_cmpint (usage (second, "cached"), ==, usage (second, "prompt") - 1); /* one is always computed */
        g_assert_cmpstr (first->content->str, ==, second->content->str);
        g_assert_cmpint (usage (first, "completion"), ==, usage (second, "completion"));
    }
}

static void
shared_equals_alone (void)
{
    g_autoptr (Client) together = client_load (DEMO, json_object ());
    for (guint i = 0; i < G_N_ELEMENTS (facts); i++)
        client_send (together, LINK_JOB, i + 1, job (chat ("You are a helpful assistant.", facts[i].question)));
    for (guint i = 0; i < G_N_ELEMENTS (facts); i++) {
        g_autoptr (Client) alone = client_load (DEMO, json_object ());
        const Reply *one = ask (alone, 1, job (chat ("You are a helpful assistant.", facts[i].question)));
        g_assert_cmpint (usage (one, "cached"), ==, 0);
        g_assert_cmpstr (client_wait (together, i + 1)->content->str, ==, one->content->str);
    }
}

static void
a_next_turn_begins_where_the_last_ended (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    const Reply *first = ask (c, 1, job (chat (NULL, "My name is Ada.")));
    json_t *request = chat (NULL, "My name is Ada."), *messages = json_object_get (request, "messages");
    json_array_append_new (messages, json_pack ("{s:s, s:s}", "role", "assistant", "content", first->content->str));
    json_array_append_new (messages, json_pack ("{s:s, s:s}", "role", "user", "content", "What is my name?"));
    const Reply *second = ask (c, 2, job (request));
    g_assert_nonnull (strstr (second->content->str, "Ada"));
    g_assert_cmpint (usage (second, "cached"), >=, usage (first, "prompt") + usage (first, "completion") - 1);
}

/* The prefix belongs to a conversation that is generating now. */
static void
a_running_prefix_is_shared (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    g_autofree char *system = long_text ("You are a helpful assistant.", 300);
    client_send (c, LINK_JOB, 1, job (endless (c, system, "Tell me a story.")));
    wait_for_text (c, 1);
    const Reply *second = ask (c, 2, job_with (chat (system, "Hello"), "max_tokens", json_integer (4)));
    g_assert_false (client_reply (c, 1)->done);
    g_assert_cmpint (usage (second, "cached"), >=, 300);
    link_send (c->link, LINK_CANCEL, 1, NULL, 0);
    g_assert_cmpstr (reason (client_wait (c, 1)), ==, "cancelled");
}

/* Four at once with one new prefix: three follow the first. */
static void
a_new_prefix_is_computed_once (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i}", "n_batch", 64));
    g_autofree char *system = long_text ("You are a helpful assistant.", 600);
    gint64 before = client_count (c, "n_tokens_decoded");
    for (guint id = 1; id <= 4; id++) {
        g_autofree char *user = g_strdup_printf ("What is %u + 5?", id);
        client_send (c, LINK_JOB, id, job_with (chat (system, user), "max_tokens", json_integer (2)));
    }
    for (guint id = 1; id <= 4; id++)
        client_wait (c, id);
    gint64 n_prompt = usage (client_reply (c, 1), "prompt");
    g_assert_cmpint (n_prompt, >, 600);
    g_assert_cmpint (client_count (c, "n_tokens_decoded") - before, <, n_prompt + n_prompt / 4);
    guint n_followers = 0;
    for (guint id = 1; id <= 4; id++)
        n_followers += usage (client_reply (c, id), "cached") >= 600;
    g_assert_cmpuint (n_followers, ==, 3);
}

/* The leader goes away in the middle of its prompt: a follower takes over what is there. */
static void
followers_survive_their_leader (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i, s:i}", "n_batch", 32, "n_ctx", 4096));
    g_autofree char *system = long_text ("You are a helpful assistant.", 300);
    for (guint id = 1; id <= 3; id++) {
        g_autofree char *user = g_strdup_printf ("What is %u + 5?", id);
        client_send (c, LINK_JOB, id, job_with (chat (system, user), "max_tokens", json_integer (2)));
    }
    wait_for_start (c, 1);
    link_send (c->link, LINK_CANCEL, 1, NULL, 0);
    g_assert_cmpstr (reason (client_wait (c, 1)), ==, "cancelled");
    for (guint id = 2; id <= 3; id++)
        g_assert_cmpstr (reason (client_wait (c, id)), !=, "cancelled");
    g_assert_cmpint (usage (client_reply (c, 3), "cached") + usage (client_reply (c, 2), "cached"), >=, 300);
}

static void
owners_share_nothing (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    ask (c, 1, job_with (chat (NULL, "Hello"), "owner", json_string ("ada")));
    const Reply *reply = ask (c, 2, job_with (chat (NULL, "Hello"), "owner", json_string ("bob")));
    g_assert_cmpint (usage (reply, "cached"), ==, 0);
    reply = ask (c, 3, job_with (chat (NULL, "Hello"), "owner", json_string ("ada")));
    g_assert_cmpint (usage (reply, "cached"), >, 0);

    client_send (c, LINK_FORGET, 0, json_pack ("{s:s}", "owner", "ada"));
    reply = ask (c, 4, job_with (chat (NULL, "Hello"), "owner", json_string ("ada")));
    g_assert_cmpint (usage (reply, "cached"), ==, 0);
}

static void
parked_cells_stay_within_their_budget (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i, s:i}", "n_ctx", 2048, "park_cells", 300));
    for (guint id = 1; id <= 6; id++) {
        g_autofree char *first = g_strdup_printf ("%u", id * 1111);
        g_autofree char *text = long_text (first, 40);
        ask (c, id, job_with (chat (NULL, text), "max_tokens", json_integer (1)));
        g_assert_cmpint (client_count (c, "cells_parked"), <=, 300);
    }
    g_assert_cmpint (client_count (c, "cells_parked"), >, 100);
}

/* ---- several jobs --------------------------------------------------------------------------------------------------------- */

static void
streams_share_the_batches (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    gint64 before = client_count (c, "n_decode");
    for (guint id = 1; id <= 4; id++) {
        g_autofree char *user = g_strdup_printf ("Tell me a story about %u.", id);
        client_send (c, LINK_JOB, id, job_with (endless (c, NULL, user), "max_tokens", json_integer (100)));
    }
    for (guint id = 1; id <= 4; id++)
        g_assert_cmpint (usage (client_wait (c, id), "completion"), ==, 100);
    /* One after the other would take 400; they cannot all begin at once. */
    g_assert_cmpint (client_count (c, "n_decode") - before, <, 300);
}

static void
owners_take_turns_for_a_place (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i}", "parallel", 1));
    client_send (c, LINK_JOB, 1, job_with (endless (c, NULL, "Hello"), "owner", json_string ("ada")));
    wait_for_text (c, 1);
    for (guint id = 2; id <= 4; id++)
        client_send (c, LINK_JOB, id, job_with (chat (NULL, "Hello"), "owner", json_string ("ada")));
    for (guint id = 5; id <= 6; id++)
        client_send (c, LINK_JOB, id, job_with (chat (NULL, "Hello"), "owner", json_string ("bob")));
    g_assert_cmpint (client_count (c, "queued"), ==, 5);
    link_send (c->link, LINK_CANCEL, 1, NULL, 0);
    for (guint id = 1; id <= 6; id++)
        client_wait (c, id);
    static const guint order[] = { 1, 5, 2, 6, 3, 4 };
    for (guint i = 0; i < G_N_ELEMENTS (order); i++)
        g_assert_cmpuint (client_reply (c, order[i])->started, ==, i + 1);
}

/* STATS and CANCEL in one write, so that the engine reads them together: what it has computed by the time of the CANCEL is the answer. */
static gint64
cancel_and_count (Client *c, guint32 id, const char *what)
{
    guint8 frames[2 * LINK_HEADER_SIZE];
    link_pack_header (frames, LINK_STATS, 0, 0, 0);
    link_pack_header (frames + LINK_HEADER_SIZE, LINK_CANCEL, 0, id, 0);
    g_clear_pointer (&c->state, json_decref);
    g_assert_cmpint (write (link_fd (c->link), frames, sizeof frames), ==, sizeof frames);
    while (!c->state)
        g_assert_true (client_step (c));
    return json_peek_int (c->state, what, -1);
}

static void
cancelled_in_its_prompt (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i, s:i}", "n_ctx", 16384, "n_batch", 32));
    g_autofree char *text = long_text ("", 5000);
    client_send (c, LINK_JOB, 1, job (chat (NULL, text)));
    wait_for_start (c, 1);
    const gint64 at_cancel = cancel_and_count (c, 1, "n_tokens_decoded");
    const Reply *reply = client_wait (c, 1);
    g_assert_cmpstr (reason (reply), ==, "cancelled");
    g_assert_cmpint (usage (reply, "completion"), ==, 0);
    g_assert_cmpint (client_count (c, "n_tokens_decoded"), <=, at_cancel + 32); /* at most one batch more */
    g_assert_cmpint (client_count (c, "n_tokens_decoded"), <, 5000);
    g_assert_cmpint (client_count (c, "jobs"), ==, 0);
}

static void
cancelled_in_its_reply (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    client_send (c, LINK_JOB, 1, job (endless (c, NULL, "Tell me a story.")));
    wait_for_text (c, 1);
    const gint64 at_cancel = cancel_and_count (c, 1, "n_decode");
    const Reply *reply = client_wait (c, 1);
    g_assert_cmpstr (reason (reply), ==, "cancelled");
    g_assert_cmpint (client_count (c, "n_decode"), <=, at_cancel + 1);
    g_assert_cmpint (usage (reply, "completion"), >=, reply->n_tokens);
    g_assert_cmpint (usage (reply, "completion"), >, 0);
}

/* Both frames are read together, so that the job is cancelled before it has computed anything. */
static void
cancelled_before_it_began (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i}", "parallel", 1));
    client_send (c, LINK_JOB, 1, job (endless (c, NULL, "Hello")));
    wait_for_text (c, 1);
    client_send (c, LINK_JOB, 2, job (chat (NULL, "Hello")));
    link_send (c->link, LINK_CANCEL, 2, NULL, 0);
    const Reply *reply = client_wait (c, 2);
    g_assert_cmpstr (reason (reply), ==, "cancelled");
    g_assert_null (reply->start);
    g_assert_false (client_reply (c, 1)->done);
    link_send (c->link, LINK_CANCEL, 1, NULL, 0);
    client_wait (c, 1);
}

static void
a_paused_job_rests (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    client_send (c, LINK_JOB, 1, job_with (endless (c, NULL, "Tell me a story."), "max_tokens", json_integer (200)));
    wait_for_text (c, 1);
    link_send (c->link, LINK_PAUSE, 1, NULL, 0);
    gint64 rests_at = client_count (c, "n_decode");
    /* Others go on meanwhile. */
    g_assert_cmpstr (reason (ask (c, 2, job (chat (NULL, "Hello")))), ==, "stop");
    gint64 n_other = usage (client_reply (c, 2), "completion");
    g_assert_cmpint (client_count (c, "n_decode"), <=, rests_at + n_other + 2);
    g_assert_false (client_reply (c, 1)->done);
    link_send (c->link, LINK_RESUME, 1, NULL, 0);
    g_assert_cmpint (usage (client_wait (c, 1), "completion"), ==, 200);
}

static void
tuned_while_it_runs (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i}", "threads", 1));
    g_assert_cmpint (json_peek_int (c->ready, "threads", 0), ==, 1);
    client_send (c, LINK_JOB, 1, job_with (endless (c, NULL, "Tell me a story."), "max_tokens", json_integer (5)));
    client_send (c, LINK_TUNE, 0, json_pack ("{s:i, s:i}", "threads", 2, "chunk_ms", 100));
    const gint64 n = client_count (c, "threads");
    g_assert_cmpint (n, >=, 1);
    g_assert_cmpint (n, <=, 2); /* 1 where the cgroup grants no more */
    client_send (c, LINK_TUNE, 0, json_pack ("{s:i}", "threads", 1 << 30));
    g_assert_cmpint (client_count (c, "threads"), <=, g_get_num_processors ());
    g_assert_cmpint (usage (client_wait (c, 1), "completion"), ==, 5);
    for (guint i = 0; i < 4; i++) { /* with and without a decode in between */
        client_send (c, LINK_TUNE, 0, json_pack ("{s:i}", "threads", 1 + i % 2));
        if (i % 3 == 0)
            g_assert_cmpstr (reason (ask (c, 10 + i, job_with (chat (NULL, "Hello"), "max_tokens", json_integer (2)))),
                             ==, "length");
    }
    client_send (c, LINK_TUNE, 0, json_pack ("{s:i}", "threads", 0));
    g_assert_cmpint (client_count (c, "threads"), >=, 1);
    g_assert_cmpstr (reason (ask (c, 2, job (chat (NULL, "Hello")))), ==, "stop");
}

/* The daemon does not read for a while: the engine goes on, gathers what it cannot send, and nothing is lost. */
static void
a_reader_that_rests_gets_everything_later (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    json_t *payload = job_with (endless (c, NULL, "Tell me a story."), "max_tokens", json_integer (300));
    json_object_set_new (payload, "n_logprobs", json_integer (40)); /* much to send for each token */
    client_send (c, LINK_JOB, 1, payload);
    wait_for_text (c, 1);
    struct pollfd pfd = { .fd = link_fd (c->link), .events = POLLIN };
    int queued = 0, before = -1;
    while (queued != before) { /* until the socket is full, or the engine has nothing more to say */
        before = queued;
        g_usleep (300000);
        poll (&pfd, 1, 0);
        g_assert_cmpint (ioctl (link_fd (c->link), FIONREAD, &queued), ==, 0);
    }
    const Reply *reply = client_wait (c, 1);
    g_assert_cmpint (usage (reply, "completion"), ==, 300);
    g_assert_cmpuint (json_array_size (reply->logprobs), >, 200); /* of all tokens that have text */
    g_assert_cmpuint (reply->n_deltas, <, 250);                   /* joined, while the socket was full */
}

/* ---- bad input ------------------------------------------------------------------------------------------------------------ */

static void
bad_frames_are_answered (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    static const struct {
        LinkType type;
        const char *payload;
    } rows[] = {
        { LINK_JOB, "" },
        { LINK_JOB, "{" },
        { LINK_JOB, "[]" },
        { LINK_JOB, "{}" },
        { LINK_JOB, "{\"request\":[]}" },
        { LINK_JOB, "{\"request\":{}}" },
        { LINK_JOB, "{\"request\":{\"messages\":[]}}" },
        { LINK_JOB, "{\"request\":{\"messages\":7}}" },
        { LINK_JOB, "{\"request\":{\"messages\":[{\"role\":3}]}}" },
        { LINK_JOB, "{\"request\":{\"tokens\":[999999]}}" },
        { LINK_JOB, "{\"request\":{\"tokens\":[\"x\"]}}" },
        { LINK_JOB, "{\"request\":{\"prompt\":\"x\",\"grammar\":\"root ::= (\"}}" },
        { LINK_JOB, "{\"request\":{\"prompt\":\"x\",\"grammar\":\"%llguidance {}\"}}" },
        { LINK_JOB, "{\"request\":{\"prompt\":\"x\",\"json_schema\":{\"$ref\":\"#/nowhere\"}}}" },
        { LINK_JOB, "{\"request\":{\"prompt\":\"x\"},\"stop\":\"text\"}" },
        { LINK_JOB, "{\"request\":{\"prompt\":\"x\"},\"stop\":[1]}" },
        { LINK_JOB, "{\"request\":{\"prompt\":\"x\"},\"owner\":\"\"}" },
        { LINK_JOB, "{\"request\":{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"chat_template\":\"{{ "
                    "raise_exception('no') }}\"}}" },
        { LINK_EMBED, "{\"inputs\":[\"x\"]}" },
        { LINK_TOKENIZE, "{}" },
        { LINK_TOKENIZE, "{\"text\":1}" },
        { LINK_RENDER, "{}" },
        { LINK_RERANK, "{}" },
        { LINK_FILE, "" },
        { LINK_DELTA, "{}" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        link_send (c->link, rows[i].type, 100 + i, rows[i].payload, strlen (rows[i].payload));
        const Reply *reply = client_wait (c, 100 + i);
        g_test_message ("%s: %s", rows[i].payload, json_peek_string (reply->end, "message"));
        g_assert_true (reply->failed);
        g_assert_cmpuint (strlen (json_peek_string (reply->end, "message")), >, 10);
    }
    /* Frames for jobs that are not there say nothing. */
    static const LinkType silent[] = { LINK_CANCEL, LINK_PAUSE, LINK_RESUME };
    for (guint i = 0; i < G_N_ELEMENTS (silent); i++)
        link_send (c->link, silent[i], 12345, NULL, 0);
    g_assert_cmpstr (reason (ask (c, 1, job (chat (NULL, "Hello")))), ==, "stop");
}

static void
what_is_no_frame_ends_it (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    static const char garbage[64] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    g_assert_cmpint (write (link_fd (c->link), garbage, sizeof garbage), ==, sizeof garbage);
    g_assert_cmpint (client_exit_code (c), ==, 1);
}

static void
jobs_before_a_load_are_refused (void)
{
    g_autoptr (Client) c = client_start ();
    g_assert_cmpstr (reason (ask (c, 1, job (chat (NULL, "Hello")))), ==, "invalid");
    client_send (c, LINK_TOKENIZE, 2, json_pack ("{s:s}", "text", "x"));
    g_assert_true (client_wait (c, 2)->failed);
}

static void
files_that_do_not_load (void)
{
    g_autofree char *folder = g_dir_make_tmp ("engine-test-XXXXXX", NULL);
    g_autofree char *demo = model_path (DEMO);
    g_autofree char *bytes = NULL;
    gsize n;
    g_assert_true (g_file_get_contents (demo, &bytes, &n, NULL));
    const struct {
        const char *name;
        gsize length;
        const char *reason;
    } files[] = {
        { "empty.gguf", 0, "The model does not load: failed to read magic" },
        { "magic.gguf", 4, "The model does not load: failed to read header" },
        { "head.gguf", 2000, "The model does not load: failed to read key-value pairs" },
        { "half.gguf", n / 2, "is corrupted or incomplete" },
        { "missing.gguf", 0, "No such file or directory" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
        g_autofree char *path = g_build_filename (folder, files[i].name, NULL);
        if (!g_str_equal (files[i].name, "missing.gguf"))
            g_assert_true (g_file_set_contents (path, bytes, files[i].length, NULL));
        g_autoptr (Client) c = client_start ();
        client_send (c, LINK_LOAD, 0, json_pack ("{s:s}", "path", path));
        while (!c->load_failure)
            g_assert_true (client_step (c));
        g_test_message ("%s: %s", files[i].name, json_peek_string (c->load_failure, "message"));
        g_assert_cmpstr (json_peek_string (c->load_failure, "kind"), ==, "invalid");
        g_assert_nonnull (strstr (json_peek_string (c->load_failure, "message"), files[i].reason));
        unlink (path);
    }
    rmdir (folder);
}

/* A cache larger than the address space that it may have.  (The address checker needs more of it than any limit allows.) */
static void
a_context_that_does_not_fit_in_memory (void)
{
#ifdef __SANITIZE_ADDRESS__
    g_test_skip ("not under the address checker");
#else
    g_autoptr (Client) c = client_start ();
    while (!c->hello)
        g_assert_true (client_step (c));
    const struct rlimit limit = { 3ul << 30, 3ul << 30 };
    g_assert_cmpint (prlimit (c->pid, RLIMIT_AS, &limit, NULL), ==, 0);
    g_autofree char *path = model_path (DEMO);
    client_send (c, LINK_LOAD, 0, json_pack ("{s:s, s:i}", "path", path, "n_ctx", 1 << 22));
    while (!c->load_failure)
        g_assert_true (client_step (c));
    g_assert_cmpstr (json_peek_string (c->load_failure, "kind"), ==, "memory");
#endif
}

static void
options_out_of_range (void)
{
    static const char *const rows[] = {
        "{}",
        "{\"path\":7}",
        "{\"path\":\"x\",\"parallel\":0}",
        "{\"path\":\"x\",\"parallel\":1000}",
        "{\"path\":\"x\",\"n_ctx\":-1}",
        "{\"path\":\"x\",\"n_ctx\":99999999999}",
        "{\"path\":\"x\",\"n_batch\":0}",
        "{\"path\":\"x\",\"type_k\":\"f17\"}",
        "{\"path\":\"x\",\"type_v\":1}",
    };
    g_autoptr (Client) c = client_start ();
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_clear_pointer (&c->load_failure, json_decref);
        link_send (c->link, LINK_LOAD, 0, rows[i], strlen (rows[i]));
        while (!c->load_failure)
            g_assert_true (client_step (c));
        g_assert_cmpstr (json_peek_string (c->load_failure, "kind"), ==, "invalid");
    }
}

/* ---- ends ----------------------------------------------------------------------------------------------------------------- */

static void
stop_ends_every_job (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:i}", "parallel", 1));
    client_send (c, LINK_JOB, 1, job (endless (c, NULL, "Hello")));
    wait_for_text (c, 1);
    client_send (c, LINK_JOB, 2, job (chat (NULL, "Hello")));
    link_send (c->link, LINK_STOP, 0, NULL, 0);
    g_assert_cmpint (client_exit_code (c), ==, 0);
    for (guint id = 1; id <= 2; id++)
        g_assert_cmpstr (reason (client_reply (c, id)), ==, "unloaded");
}

static void
the_end_of_the_link_ends_it (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_object ());
    client_send (c, LINK_JOB, 1, job (endless (c, NULL, "Hello")));
    wait_for_text (c, 1);
    shutdown (link_fd (c->link), SHUT_WR);
    g_assert_cmpint (client_exit_code (c), ==, 0);
}

/* A parent in between starts the engine and is killed; we hold the link open, so that only the parent's death can end it. */
static void
it_dies_with_its_parent (void)
{
    int fds[2], pids[2];
    g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    g_assert_cmpint (pipe (pids), ==, 0);
    pid_t parent = fork ();
    if (parent == 0) {
        pid_t engine = fork ();
        if (engine == 0) {
            dup2 (fds[1], LINK_ENGINE_FD);
            execl (g_getenv ("LMS_ENGINE"), "lms-engine", NULL);
            _exit (127);
        }
        if (write (pids[1], &engine, sizeof engine) == sizeof engine)
            pause ();
        _exit (1);
    }
    pid_t engine;
    g_assert_cmpint (read (pids[0], &engine, sizeof engine), ==, sizeof engine);
    close (fds[1]);
    g_autoptr (Link) link = link_new (fds[0]);
    LinkFrame frame;
    LinkResult result;
    while ((result = link_read (link, &frame, NULL)) == LINK_WANTS_MORE) /* HELLO: it is up */
        g_assert_cmpint (poll (&(struct pollfd){ .fd = link_fd (link), .events = POLLIN }, 1, PATIENCE_MS), >, 0);
    g_assert_cmpint (result, ==, LINK_GOT_FRAME);
    kill (parent, SIGKILL);
    waitpid (parent, NULL, 0);
    while ((result = link_read (link, &frame, NULL)) == LINK_WANTS_MORE)
        g_assert_cmpint (poll (&(struct pollfd){ .fd = link_fd (link), .events = POLLIN }, 1, PATIENCE_MS), >, 0);
    g_assert_cmpint (result, ==, LINK_ENDED);
    close (pids[0]);
    close (pids[1]);
}

/* ---- embeddings ----------------------------------------------------------------------------------------------------------- */

#define EMBEDDER "atelier-demo-embed.gguf"

typedef struct {
    guint32 n, dim;
    const guint32 *n_tokens;
    const float *values;
} Vectors;

static Vectors
embed (Client *c, guint32 id, json_t *inputs)
{
    client_send (c, LINK_EMBED, id, json_pack ("{s:o}", "inputs", inputs));
    const Reply *reply = client_wait (c, id);
    g_assert_true (reply->done);
    gsize size;
    const guint32 *words = g_bytes_get_data (c->vectors, &size);
    Vectors v = { .n = words[0], .dim = words[1], .n_tokens = words + 2 };
    v.values = (const float *) (words + 2 + v.n);
    g_assert_cmpuint (size, ==, 4 * (2 + v.n + v.n * v.dim));
    return v;
}

static double
product (const float *a, const float *b, guint n)
{
    double sum = 0;
    for (guint i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void
embeddings_are_unit_vectors (void)
{
    g_autoptr (Client) c = client_load (EMBEDDER, json_pack ("{s:b}", "embedding", 1));
    g_assert_nonnull (c->ready);
    Vectors v = embed (
        c, 1, json_pack ("[s, s, s]", "a cat sits on the mat", "the stock market fell", "a cat sits on the mat"));
    g_assert_cmpuint (v.n, ==, 3);
    g_assert_cmpuint (v.dim, ==, json_peek_int (c->ready, "n_embd", 0));
    for (guint i = 0; i < 3; i++) {
        g_assert_cmpuint (v.n_tokens[i], >, 0);
        g_assert_cmpfloat_with_epsilon (product (v.values + i * v.dim, v.values + i * v.dim, v.dim), 1, 1e-4);
    }
    g_assert_cmpfloat_with_epsilon (product (v.values, v.values + 2 * v.dim, v.dim), 1, 1e-3);
    g_assert_cmpfloat (product (v.values, v.values + v.dim, v.dim), <, 0.99);

    /* Alone as in company. */
    g_autofree float *first = g_memdup2 (v.values, v.dim * sizeof (float));
    Vectors alone = embed (c, 2, json_pack ("[s]", "a cat sits on the mat"));
    g_assert_cmpfloat_with_epsilon (product (first, alone.values, alone.dim), 1, 1e-3);
}

static void
many_inputs_take_several_batches (void)
{
    g_autoptr (Client) c = client_load (EMBEDDER, json_pack ("{s:b, s:i}", "embedding", 1, "n_ctx", 256));
    json_t *inputs = json_array ();
    for (guint i = 0; i < 150; i++) {
        g_autofree char *first = g_strdup_printf ("text %u", i % 10);
        g_autofree char *text = long_text (first, i % 40);
        json_array_append_new (inputs, json_string (text));
    }
    Vectors v = embed (c, 1, inputs);
    g_assert_cmpuint (v.n, ==, 150);
    g_assert_cmpfloat_with_epsilon (product (v.values, v.values + 40 * v.dim, v.dim), 1, 1e-3); /* the same text */
    g_assert_cmpint (client_count (c, "n_decode"), >, 2);
}

static void
embeddings_that_cannot_be (void)
{
    g_autoptr (Client) c = client_load (EMBEDDER, json_pack ("{s:b, s:i}", "embedding", 1, "n_ctx", 128));
    g_autofree char *text = long_text ("", 300);
    const struct {
        json_t *inputs;
        const char *kind, *message;
    } rows[] = {
        { json_pack ("[s, s]", "short", text), "context", "Input 1 " },
        { json_array (), "invalid", "1 to" },
        { json_pack ("[s, i]", "x", 7), "invalid", "Input 1 " },
        { json_pack ("[[i, s]]", 7, "x"), "invalid", "Input 0 " },
        { json_pack ("[[i]]", 99999999), "invalid", "Input 0 " },
        { json_pack ("[[]]"), "invalid", "Input 0 " },
        { json_null (), "invalid", "1 to" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        client_send (c, LINK_EMBED, i + 1, json_pack ("{s:o}", "inputs", rows[i].inputs));
        const Reply *reply = client_wait (c, i + 1);
        g_assert_cmpstr (reason (reply), ==, rows[i].kind);
        g_assert_nonnull (strstr (json_peek_string (reply->end, "message"), rows[i].message));
    }
    g_assert_cmpuint (embed (c, 100, json_pack ("[s]", "x")).n, ==, 1);
    g_assert_true (ask (c, 101, job (chat (NULL, "Hello")))->failed);
}

static void
a_vocabulary_alone_tokenises_and_renders (void)
{
    g_autoptr (Client) c = client_load (DEMO, json_pack ("{s:b}", "vocab_only", 1));
    g_assert_nonnull (c->ready);
    client_send (c, LINK_TOKENIZE, 1, json_pack ("{s:s}", "text", "Hello"));
    g_assert_true (client_wait (c, 1)->done);
    client_send (c, LINK_RENDER, 2, json_pack ("{s:o}", "request", chat (NULL, "Hello")));
    g_assert_true (client_wait (c, 2)->done);
    g_assert_true (ask (c, 3, job (chat (NULL, "Hello")))->failed);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/engine/one/loads-and-streams", loads_and_streams);
    g_test_add_func ("/engine/one/max-tokens", max_tokens_end_it);
    g_test_add_func ("/engine/one/stop-strings", stop_strings_are_cut_out);
    g_test_add_func ("/engine/one/reasoning", reasoning_is_apart_and_no_place_for_stops);
    g_test_add_func ("/engine/one/calls", calls_come_one_after_the_other);
    g_test_add_func ("/engine/one/logprobs", logprobs_ride_with_their_text);
    g_test_add_func ("/engine/one/characters", characters_are_whole);
    g_test_add_func ("/engine/one/raw-prompt", raw_prompts_keep_special_tokens_if_asked);
    g_test_add_func ("/engine/context/full", a_full_context_ends_it);
    g_test_add_func ("/engine/context/prompt-too-long", a_prompt_too_long_is_refused_before_computing);
    g_test_add_func ("/engine/context/overflow", an_overflowing_conversation_is_shortened);
    g_test_add_func ("/engine/context/competition", jobs_that_compete_for_cells_all_get_their_context);
    g_test_add_func ("/engine/prefix/known", a_known_prompt_is_not_computed_again);
    g_test_add_func ("/engine/prefix/shared-equals-alone", shared_equals_alone);
    g_test_add_func ("/engine/prefix/next-turn", a_next_turn_begins_where_the_last_ended);
    g_test_add_func ("/engine/prefix/running", a_running_prefix_is_shared);
    g_test_add_func ("/engine/prefix/new-once", a_new_prefix_is_computed_once);
    g_test_add_func ("/engine/prefix/leader-dies", followers_survive_their_leader);
    g_test_add_func ("/engine/prefix/owners", owners_share_nothing);
    g_test_add_func ("/engine/prefix/budget", parked_cells_stay_within_their_budget);
    g_test_add_func ("/engine/jobs/batched", streams_share_the_batches);
    g_test_add_func ("/engine/jobs/turns", owners_take_turns_for_a_place);
    g_test_add_func ("/engine/jobs/cancel-in-prompt", cancelled_in_its_prompt);
    g_test_add_func ("/engine/jobs/cancel-in-reply", cancelled_in_its_reply);
    g_test_add_func ("/engine/jobs/cancel-in-queue", cancelled_before_it_began);
    g_test_add_func ("/engine/jobs/pause", a_paused_job_rests);
    g_test_add_func ("/engine/jobs/tune", tuned_while_it_runs);
    g_test_add_func ("/engine/jobs/slow-reader", a_reader_that_rests_gets_everything_later);
    g_test_add_func ("/engine/bad/frames", bad_frames_are_answered);
    g_test_add_func ("/engine/bad/no-frame", what_is_no_frame_ends_it);
    g_test_add_func ("/engine/bad/no-model", jobs_before_a_load_are_refused);
    g_test_add_func ("/engine/bad/files", files_that_do_not_load);
    g_test_add_func ("/engine/bad/memory", a_context_that_does_not_fit_in_memory);
    g_test_add_func ("/engine/bad/options", options_out_of_range);
    g_test_add_func ("/engine/ends/stop", stop_ends_every_job);
    g_test_add_func ("/engine/ends/link", the_end_of_the_link_ends_it);
    g_test_add_func ("/engine/ends/parent", it_dies_with_its_parent);
    g_test_add_func ("/engine/embeddings/unit", embeddings_are_unit_vectors);
    g_test_add_func ("/engine/embeddings/many", many_inputs_take_several_batches);
    g_test_add_func ("/engine/embeddings/bad", embeddings_that_cannot_be);
    g_test_add_func ("/engine/vocabulary", a_vocabulary_alone_tokenises_and_renders);
    return g_test_run ();
}
