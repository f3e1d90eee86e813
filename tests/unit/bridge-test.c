/* bridge: every template of the release renders, every cut of a reply parses to the same, every bad request is told off.
 *
 * Templates and replies need a vocabulary only (qwen2's, out of the release); drawing needs weights: the demo model. */
#include "engine/bridge.h"

#include "base/json.h"
#include "engine/backend.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WEATHER_TOOL                                                                                    \
    "{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"The weather in a " \
    "city\",\"parameters\":"                                                                            \
    "{\"type\":\"object\",\"properties\":{\"location\":{\"type\":\"string\"}},\"required\":[\"location\"]}}}"
#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"Hello there\"}]"

static struct llama_model *vocabulary, *demo;

/* ---- helpers --------------------------------------------------------------------------------------------------------------------- */

static LbChat *
chat_from (const struct llama_model *model, const char *template_file)
{
    g_autofree char *text = NULL;
    if (template_file) {
        g_autofree char *path = g_build_filename (LLAMA_RELEASE "/models/templates", template_file, NULL);
        g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
    }
    char *err = NULL;
    LbChat *chat = lb_chat_new (model, text, &err);
    g_assert_cmpstr (err, ==, NULL);
    return chat;
}

static LbTurn *
turn_from (const LbChat *chat, const char *request)
{
    char *err = NULL;
    const char *kind = NULL;
    LbTurn *turn = lb_turn_new (chat, request, &err, &kind);
    if (!turn)
        g_error ("%s: %s: %s", request, kind, err);
    return turn;
}

/* What deltas add up to: {"reasoning":S,"content":S,"calls":[{"name":S,"args":S}..]}. */
typedef struct {
    GString *reasoning, *content, *calls;
    int n_calls;
} Sum;

static void
sum_init (Sum *sum)
{
    *sum = (Sum){ g_string_new (NULL), g_string_new (NULL), g_string_new (NULL), 0 };
}

static void
sum_clear (Sum *sum)
{
    g_string_free (sum->reasoning, TRUE);
    g_string_free (sum->content, TRUE);
    g_string_free (sum->calls, TRUE);
}

static void
feed (LbTurn *turn, Sum *sum, const char *text, gsize length, gboolean last)
{
    char *err = NULL;
    g_autofree char *deltas = lb_turn_feed (turn, text, length, last, &err);
    g_assert_cmpstr (err, ==, NULL);
    g_autoptr (json_t) list = json_parse (deltas, strlen (deltas), NULL);
    g_assert_true (json_is_array (list));
    size_t i;
    json_t *delta;
    json_array_foreach (list, i, delta) {
        const char *value;
        if ((value = json_peek_string (delta, "reasoning")))
            g_string_append (sum->reasoning, value);
        if ((value = json_peek_string (delta, "content")))
            g_string_append (sum->content, value);
        gint64 call = json_peek_int (delta, "call", -1);
        if (call >= sum->n_calls) {
            g_assert_cmpint (call, ==, sum->n_calls++);
            g_assert_nonnull (json_peek_string (delta, "name"));
            g_string_append_printf (sum->calls, "%s%s ", call ? "; " : "", json_peek_string (delta, "name"));
        }
        if ((value = json_peek_string (delta, "args")))
            g_string_append (sum->calls, value);
    }
}

/* JSON texts as values, so that white space does not count. */
static void
assert_same_calls (const char *got, const char *wanted)
{
    g_autofree char *a = g_strdup (got), *b = g_strdup (wanted);
    char *to = a;
    for (char *p = a; *p; p++)
        if (*p != ' ')
            *to++ = *p;
    *to = '\0';
    to = b;
    for (char *p = b; *p; p++)
        if (*p != ' ')
            *to++ = *p;
    *to = '\0';
    g_assert_cmpstr (a, ==, b);
}

/* ---- templates --------------------------------------------------------------------------------------------------------------------- */

static void
check_rendered (const LbChat *chat, const char *request)
{
    LbTurn *turn = turn_from (chat, request);
    LbView view = lb_turn_view (turn);
    g_assert_nonnull (strstr (view.prompt, "Hello there"));
    g_assert_cmpint (view.n_tokens, >, 2);
    lb_turn_free (turn);
}

static void
test_template (gconstpointer data)
{
    const char *file = data;
    LbChat *chat = chat_from (vocabulary, file);
    char *err = NULL;
    g_autofree char *info = lb_chat_info (chat, &err);
    g_assert_cmpstr (err, ==, NULL);
    g_assert_nonnull (strstr (info, "\"thinking\":\""));

    check_rendered (chat, "{" HELLO "}");
    check_rendered (chat, "{\"tools\":[" WEATHER_TOOL "]," HELLO "}");
    check_rendered (chat, "{\"tools\":[" WEATHER_TOOL "],\"tool_choice\":\"required\"," HELLO "}");
    lb_chat_free (chat);
}

static void
test_template_probe (void)
{
    g_autofree char *text = NULL;
    g_assert_true (g_file_get_contents (LLAMA_RELEASE "/models/templates/Qwen-Qwen3-0.6B.jinja", &text, NULL, NULL));
    g_autofree char *info = lb_template_info (text, "", "<|im_end|>", NULL);
    g_autoptr (json_t) parsed = json_parse (info, strlen (info), NULL);
    g_assert_true (json_peek_bool (parsed, "tools", FALSE));
    g_assert_true (json_peek_bool (parsed, "tool_calls", FALSE));
    g_assert_cmpstr (json_peek_string (parsed, "thinking"), ==, "switch");
    g_assert_cmpstr (json_peek_string (parsed, "thinking_start"), ==, "<think>");
}

static const struct {
    const char *text, *says;
} bad_templates[] = {
    { "", "empty" },
    { "{% for m in messages %}{{ m.content }}", "does not parse" },
    { "{{ 1 +", "does not parse" },
    { "{{ raise_exception('not with me') }}", "not with me" },
    { "{{ messages[0].content | nofilter }}", "nofilter" },
};

static void
test_bad_templates (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (bad_templates); i++) {
        char *err = NULL;
        g_assert_null (lb_template_info (bad_templates[i].text, "", "", &err));
        if (!strstr (err, bad_templates[i].says))
            g_error ("%s: %s", bad_templates[i].text, err);
        free (err);
    }
    g_autoptr (GString) deep = g_string_new ("{{ ");
    for (int i = 0; i < 50000; i++)
        g_string_append_c (deep, '(');
    char *err = NULL;
    g_assert_null (lb_template_info (deep->str, "", "", &err));
    g_assert_nonnull (strstr (err, "nests too deeply"));
    free (err);
}

/* ---- requests ---------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *request, *kind, *says;
} bad_requests[] = {
    { "", "invalid", "no JSON" },
    { "[]", "invalid", "must be a JSON object" },
    { "{\"messages\":", "invalid", "no JSON" },
    { "{}", "invalid", "exactly one" },
    { "{\"prompt\":\"a\",\"tokens\":[1]}", "invalid", "exactly one" },
    { "{\"messages\":[]}", "invalid", "at least one" },
    { "{\"messages\":\"hi\"}", "invalid", "array" },
    { "{\"messages\":[1]}", "invalid", "messages[0]" },
    { "{\"messages\":[{\"content\":\"hi\"}]}", "invalid", "Got ''" },
    { "{\"messages\":[{\"role\":\"god\",\"content\":\"hi\"}]}", "invalid", "Got 'god'" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "invalid", "messages[0].content" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", "invalid", "image_url" },
    { "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}", "invalid", "function" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"continue_final\":true}", "invalid", "continue_final" },
    { "{" HELLO ",\"tools\":{}}", "invalid", "tools" },
    { "{" HELLO ",\"tools\":[{}]}", "invalid", "tools[0]" },
    { "{" HELLO ",\"tool_choice\":\"maybe\"}", "invalid", "tool_choice" },
    { "{" HELLO ",\"tool_choice\":\"required\"}", "invalid", "no tools" },
    { "{" HELLO ",\"tools\":[" WEATHER_TOOL "],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"no\"}}}",
      "invalid", "\"no\"" },
    { "{" HELLO ",\"tools\":[" WEATHER_TOOL "],\"grammar\":\"root ::= [a-z]\"}", "invalid", "grammar" },
    { "{" HELLO ",\"json_schema\":{},\"grammar\":\"root ::= [a-z]\"}", "invalid", "at most one" },
    { "{" HELLO ",\"json_schema\":{\"$ref\":\"#/nowhere\"}}", "grammar", "schema" },
    { "{" HELLO ",\"json_schema\":{\"type\":\"string\",\"minLength\":5000}}", "grammar", "number of repetitions" },
    { "{\"prompt\":\"a\",\"json_schema\":{\"$ref\":\"#/nowhere\"}}", "grammar", "schema" },
    { "{" HELLO ",\"grammar\":\"root ::= (\"}", "grammar", "expecting ')'" },
    { "{" HELLO ",\"grammar\":\"root ::= root\"}", "grammar", "left recursion" },
    { "{" HELLO ",\"grammar\":\"leaf ::= [a]\"}", "grammar", "root" },
    { "{" HELLO ",\"grammar\":\"%llguidance {}\"}", "grammar", "llguidance" },
    { "{" HELLO ",\"chat_template\":\"{{ raise_exception('Conversation roles must alternate') }}\"}", "template",
      "alternate" },
    { "{" HELLO ",\"chat_template\":\"{% if %}\"}", "template", "parse" },
    { "{" HELLO ",\"template_kwargs\":[]}", "invalid", "template_kwargs" },
    { "{" HELLO ",\"sampling\":{\"temperature\":\"hot\"}}", "invalid", "temperature" },
    { "{" HELLO ",\"sampling\":{\"temperature\":-1}}", "invalid", "temperature" },
    { "{" HELLO ",\"sampling\":{\"repeat_penalty\":0}}", "invalid", "repeat_penalty" },
    { "{" HELLO ",\"sampling\":{\"top_k\":1.5}}", "invalid", "top_k" },
    { "{" HELLO ",\"sampling\":{\"mirostat\":3}}", "invalid", "mirostat" },
    { "{" HELLO ",\"sampling\":{\"seed\":-1}}", "invalid", "seed" },
    { "{" HELLO ",\"sampling\":{\"logit_bias\":[[-1,1]]}}", "invalid", "-1 is not a token" },
    { "{" HELLO ",\"sampling\":{\"logit_bias\":[[999999999,1]]}}", "invalid", "999999999 is not a token" },
    { "{" HELLO ",\"sampling\":{\"logit_bias\":[[1]]}}", "invalid", "pairs" },
    { "{\"tokens\":[-1]}", "invalid", "-1 is not a token" },
    { "{\"tokens\":[\"a\"]}", "invalid", "tokens" },
};

static void
test_bad_requests (void)
{
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    for (gsize i = 0; i < G_N_ELEMENTS (bad_requests); i++) {
        char *err = NULL;
        const char *kind = NULL;
        LbTurn *turn = lb_turn_new (chat, bad_requests[i].request, &err, &kind);
        if (turn)
            g_error ("%s: taken", bad_requests[i].request);
        if (strcmp (kind, bad_requests[i].kind) != 0 || !strstr (err, bad_requests[i].says))
            g_error ("%s: %s: %s", bad_requests[i].request, kind, err);
        free (err);
    }
    lb_chat_free (chat);
}

/* SentencePiece puts a space before the template's mark and drops it from the grammar's view (trap 2). */
static void
test_unfit_tokenizer (void)
{
    struct llama_model_params params = llama_model_default_params ();
    params.vocab_only = true;
    struct llama_model *spm = llama_model_load_from_file (LLAMA_RELEASE "/models/ggml-vocab-llama-spm.gguf", params);
    g_assert_nonnull (spm);
    char *err = NULL;
    const char *kind = NULL;
    LbChat *chat = lb_chat_new (spm, "chatml", &err);
    g_assert_cmpstr (err, ==, NULL);
    check_rendered (chat, "{" HELLO "}");
    g_assert_null (lb_turn_new (chat, "{" HELLO ",\"json_schema\":{\"type\":\"object\"}}", &err, &kind));
    g_assert_cmpstr (kind, ==, "grammar");
    g_assert_nonnull (strstr (err, "cannot be constrained together"));
    free (err);
    lb_chat_free (chat);
    llama_model_free (spm);
}

static void
test_deep_request (void)
{
    LbChat *chat = chat_from (vocabulary, NULL);
    g_autoptr (GString) deep = g_string_new ("{\"prompt\":");
    for (int i = 0; i < 100000; i++)
        g_string_append_c (deep, '[');
    char *err = NULL;
    const char *kind = NULL;
    g_assert_null (lb_turn_new (chat, deep->str, &err, &kind));
    g_assert_cmpstr (kind, ==, "invalid");
    free (err);
    lb_chat_free (chat);
}

static void
test_far_too_long (void)
{
    LbChat *chat = chat_from (vocabulary, NULL);
    g_autofree char *text = g_strnfill (4 * 1024 * 1024, 'a');
    g_autofree char *request = g_strdup_printf ("{\"prompt\":\"%s\",\"n_ctx\":2048}", text);
    char *err = NULL;
    const char *kind = NULL;
    g_assert_null (lb_turn_new (chat, request, &err, &kind));
    g_assert_cmpstr (kind, ==, "context");
    free (err);
    lb_chat_free (chat);
}

static const struct {
    const char *request, *prompt;
} renderings[] = {
    { "{\"messages\":[{\"role\":\"developer\",\"content\":\"S\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
      "\"text\":\"a\"},"
      "{\"type\":\"text\",\"text\":\"b\"}]}]}",
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na\nb<|im_end|>\n<|im_start|>assistant\n" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":null}]}",
      "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"The "
      "ans\"}],\"continue_final\":true}",
      "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nThe ans" },
    { "{\"prompt\":\"raw <|im_start|>\"}", "raw <|im_start|>" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"chat_template\":\"{% for m in messages %}({{ m.content "
      "}}){% endfor %}\"}",
      "(q)" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"chat_template\":\"{{ colour "
      "}}\",\"template_kwargs\":{\"colour\":\"red\"}}",
      "red" },
};

static void
test_renderings (void)
{
    char *err = NULL;
    LbChat *chat = lb_chat_new (vocabulary, "chatml", &err);
    g_assert_cmpstr (err, ==, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS (renderings); i++) {
        LbTurn *turn = turn_from (chat, renderings[i].request);
        g_assert_cmpstr (lb_turn_view (turn).prompt, ==, renderings[i].prompt);
        lb_turn_free (turn);
    }
    lb_chat_free (chat);
}

static void
test_system_messages_anywhere (void)
{
    /* Raises unless a system message is the first. */
    const char *strict =
        "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('system first') }}"
        "{% endif %}[{{ m.role }}:{{ m.content }}]{% endfor %}";
    char *err = NULL;
    LbChat *chat = lb_chat_new (vocabulary, strict, &err);
    g_assert_cmpstr (err, ==, NULL);
    LbTurn *turn =
        turn_from (chat, "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"},"
                         "{\"role\":\"system\",\"content\":\"c\"}]}");
    g_assert_cmpstr (lb_turn_view (turn).prompt, ==, "[system:a\n\nc][user:b]");
    lb_turn_free (turn);
    lb_chat_free (chat);
}

static void
test_thinking_switch (void)
{
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    LbTurn *on = turn_from (chat, "{" HELLO "}"), *off = turn_from (chat, "{" HELLO ",\"enable_thinking\":false}");
    LbTurn *kwargs = turn_from (chat, "{" HELLO ",\"template_kwargs\":{\"enable_thinking\":false}}");
    g_assert_null (strstr (lb_turn_view (on).prompt, "</think>"));
    g_assert_nonnull (strstr (lb_turn_view (off).prompt, "</think>"));
    g_assert_cmpstr (lb_turn_view (off).prompt, ==, lb_turn_view (kwargs).prompt);
    lb_turn_free (on);
    lb_turn_free (off);
    lb_turn_free (kwargs);
    lb_chat_free (chat);
}

/* A model whose own template is broken serves prompts, and messages with a template of the request's. */
static void
test_broken_own_template (void)
{
    g_autofree char *bytes = NULL, *path = g_build_filename (g_get_tmp_dir (), "broken-template-XXXXXX", NULL);
    gsize size;
    g_assert_true (g_file_get_contents (LLAMA_RELEASE "/models/ggml-vocab-qwen2.gguf", &bytes, &size, NULL));
    static const char key[] = "tokenizer.chat_template";
    char *at = memmem (bytes, size, key, strlen (key));
    g_assert_nonnull (at);
    memcpy (at + strlen (key) + 4 + 8, "{% for %}", 9); /* behind type and length */
    int fd = g_mkstemp (path);
    g_assert_cmpint (fd, >=, 0);
    close (fd);
    g_assert_true (g_file_set_contents (path, bytes, (gssize) size, NULL));
    struct llama_model_params params = llama_model_default_params ();
    params.vocab_only = true;
    struct llama_model *model = llama_model_load_from_file (path, params);
    g_unlink (path);
    g_assert_nonnull (model);

    LbChat *chat = chat_from (model, NULL);
    char *err = NULL;
    const char *kind = NULL;
    g_assert_null (lb_chat_info (chat, &err));
    g_assert_nonnull (strstr (err, "does not parse"));
    g_clear_pointer (&err, free);
    g_assert_null (lb_turn_new (chat, "{" HELLO "}", &err, &kind));
    g_assert_cmpstr (kind, ==, "template");
    free (err);
    check_rendered (chat, "{\"prompt\":\"Hello there, you\"}");
    check_rendered (chat, "{" HELLO ",\"chat_template\":\"chatml\"}");
    lb_chat_free (chat);
    llama_model_free (model);
}

/* A template that knows no tools: they are told in the system message, and the history is rewritten (http.md 3.12). */
static void
test_default_tool_format (void)
{
    LbChat *chat = chat_from (vocabulary, "google-gemma-2-2b-it.jinja");
    LbTurn *turn = turn_from (
        chat,
        "{\"tools\":[" WEATHER_TOOL "],\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\","
        "\"function\":{\"name\":\"get_weather\",\"arguments\":\"{\\\"location\\\":\\\"Rome\\\"}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"sunny\"},{\"role\":\"user\",\"content\":\"and?\"}]}");
    const char *prompt = lb_turn_view (turn).prompt;
    g_assert_nonnull (strstr (prompt, "{\"name\":\"get_weather\",\"description\":"));
    g_assert_nonnull (strstr (prompt,
                              "[TOOL_REQUEST]{\"name\": \"get_weather\", \"arguments\": {\"location\":\"Rome\"}}"
                              "[END_TOOL_REQUEST]<end_of_turn>"));
    g_assert_nonnull (strstr (prompt, "<start_of_turn>user\nsunny\nand?<end_of_turn>"));
    lb_turn_free (turn);
    lb_chat_free (chat);
}

/* The second request with these tools and choices gets what the first one learnt, and a prompt of its own. */
static void
test_learnt_once (void)
{
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    const char *request = "{\"tools\":[" WEATHER_TOOL "],\"tool_choice\":\"%s\",\"messages\":[{\"role\":\"user\","
                          "\"content\":\"%s\"}],\"sampling\":{\"seed\":1}}";
    g_autofree char *a = g_strdup_printf (request, "auto", "first"), *b = g_strdup_printf (request, "auto", "second"),
                    *c = g_strdup_printf (request, "required", "second");
    LbTurn *first = turn_from (chat, a), *second = turn_from (chat, b), *required = turn_from (chat, c);
    g_assert_cmpstr (lb_turn_view (first).info_json, ==, lb_turn_view (second).info_json);
    g_assert_cmpstr (lb_turn_view (second).info_json, !=, lb_turn_view (required).info_json);
    g_assert_nonnull (strstr (lb_turn_view (first).prompt, "first"));
    g_assert_nonnull (strstr (lb_turn_view (second).prompt, "second"));
    g_assert_null (strstr (lb_turn_view (second).prompt, "first"));
    lb_turn_free (first);
    lb_turn_free (second);
    lb_turn_free (required);
    lb_chat_free (chat);
}

static void
test_special_tokens (void)
{
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    LbTurn *turn = turn_from (chat, "{\"prompt\":\"<|im_start|>\"}");
    g_assert_cmpint (lb_turn_view (turn).n_tokens, ==, 1);
    llama_token mark = lb_turn_view (turn).tokens[0];
    g_assert_false (lb_turn_preserves (turn, mark));
    lb_turn_free (turn);

    /* gpt-oss's channel marks are special tokens that its parser must see; here a template of our own claims <|im_start|>. */
    turn = turn_from (chat, "{\"tokens\":[151644, 0, 5]}");
    g_assert_cmpint (lb_turn_view (turn).n_tokens, ==, 3);
    g_assert_null (lb_turn_view (turn).prompt);
    lb_turn_free (turn);
    lb_chat_free (chat);
}

/* ---- replies ----------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *family, *file, *request, *reply, *reasoning, *content, *calls;
} replies[] = {
    { "qwen3", "Qwen-Qwen3-0.6B.jinja", "{\"tools\":[" WEATHER_TOOL "]," HELLO "}",
      "<think>\nParis, élan 🌧?\n</think>\n\nLet me look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
      "{\"location\": "
      "\"Paris ☂\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"location\": "
      "\"Rome\"}}\n</tool_call>",
      "Paris, élan 🌧?", "Let me look.",
      "get_weather {\"location\": \"Paris ☂\"}; get_weather {\"location\": \"Rome\"}" },
    { "qwen3-plain", "Qwen-Qwen3-0.6B.jinja", "{" HELLO "}", "Hello 🌍! 1 < 2 <b>", "", "Hello 🌍! 1 < 2 <b>", "" },
    { "qwen3.5", "Qwen3.5-4B.jinja", "{\"tools\":[" WEATHER_TOOL "]," HELLO "}",
      "Thinking é.\n</think>\n\n<tool_call>\n<function=get_weather>\n<parameter=location>\nParis "
      "☂\n</parameter>\n</function>\n</tool_call>",
      "Thinking é.", "", "get_weather {\"location\": \"Paris ☂\"}" },
    { "gpt-oss", "openai-gpt-oss-120b.jinja", "{\"tools\":[" WEATHER_TOOL "]," HELLO "}",
      "<|channel|>analysis<|message|>Need weather é<|end|><|start|>assistant<|channel|>commentary "
      "to=functions.get_weather "
      "<|constrain|>json<|message|>{\"location\":\"Paris ☂\"}",
      "Need weather é", "", "get_weather {\"location\":\"Paris ☂\"}" },
    { "gpt-oss-final", "openai-gpt-oss-120b.jinja", "{" HELLO "}",
      "<|channel|>analysis<|message|>Easy<|end|><|start|>assistant<|channel|>final<|message|>Hello é!", "Easy",
      "Hello é!", "" },
    { "llama-3.1", "meta-llama-Llama-3.1-8B-Instruct.jinja", "{\"tools\":[" WEATHER_TOOL "]," HELLO "}",
      "{\"name\": \"get_weather\", \"parameters\": {\"location\": \"Paris ☂\"}}", "", "",
      "get_weather {\"location\": \"Paris ☂\"}" },
    { "gemma-4", "google-gemma-4-31B-it.jinja", "{\"tools\":[" WEATHER_TOOL "]," HELLO "}",
      "<|tool_call>call:get_weather{location:<|\"|>Paris ☂<|\"|>}<tool_call|>", "", "",
      "get_weather {\"location\":\"Paris ☂\"}" },
    { "mistral", "unsloth-mistral-Devstral-Small-2507.jinja", "{\"tools\":[" WEATHER_TOOL "]," HELLO "}",
      "[TOOL_CALLS]get_weather[ARGS]{\"location\": \"Paris ☂\"}", "", "", "get_weather {\"location\": \"Paris ☂\"}" },
};

static void
check_reply (const LbChat *chat, gsize i, gsize step)
{
    LbTurn *turn = turn_from (chat, replies[i].request);
    Sum sum;
    sum_init (&sum);
    gsize length = strlen (replies[i].reply);
    for (gsize at = 0; at < length; at += step)
        feed (turn, &sum, replies[i].reply + at, MIN (step, length - at), FALSE);
    feed (turn, &sum, "", 0, TRUE);
    g_assert_false (lb_turn_parse_failed (turn));
    g_assert_cmpstr (g_strstrip (sum.reasoning->str), ==, replies[i].reasoning);
    g_assert_cmpstr (g_strstrip (sum.content->str), ==, replies[i].content);
    assert_same_calls (sum.calls->str, replies[i].calls);
    sum_clear (&sum);
    lb_turn_free (turn);
}

static void
test_reply (gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE (data);
    LbChat *chat = chat_from (vocabulary, replies[i].file);
    for (gsize step = 1; step <= 5; step += 4)
        check_reply (chat, i, step);
    check_reply (chat, i, 100000);
    lb_chat_free (chat);
}

/* A reply that was cut off by a limit, and what must be in which field. */
static const struct {
    const char *reply, *reasoning, *content, *calls;
    gboolean failed;
} ends[] = {
    { "", "", "", "", FALSE },
    { "<think>\nI wonder", "I wonder", "", "", FALSE },
    { "<think>\nI wonder</thi", "I wonder</thi", "", "", FALSE },
    { "Hello <tool_ca", "", "Hello <tool_ca", "", FALSE },
    { "Hello <tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"location\": \"Pa", "", "Hello ",
      "get_weather {\"location\": \"Pa", FALSE },
    { "<think>\nhm\n</think>\n\nHi <tool_call>\nget the weather, please</tool_call> now", "hm",
      "Hi <tool_call>\nget the weather, please</tool_call> now", "", TRUE },
    { "<tool_call>\n{\"name\": \"no_such_tool\", \"arguments\": {}}\n</tool_call>", "",
      "<tool_call>\n{\"name\": \"no_such_tool\", \"arguments\": {}}\n</tool_call>", "", TRUE },
    { "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"location\": \"Rome\"}}\n</tool_call> and then some",
      "", "and then some", "get_weather {\"location\": \"Rome\"}", TRUE },
};

static void
check_end (const LbChat *chat, gsize i, gsize step)
{
    LbTurn *turn = turn_from (chat, "{\"tools\":[" WEATHER_TOOL "]," HELLO "}");
    Sum sum;
    sum_init (&sum);
    gsize length = strlen (ends[i].reply);
    for (gsize at = 0; at < length; at += step)
        feed (turn, &sum, ends[i].reply + at, MIN (step, length - at), FALSE);
    feed (turn, &sum, "", 0, TRUE);
    g_test_message ("%s -> (%s) (%s) (%s)", ends[i].reply, sum.reasoning->str, sum.content->str, sum.calls->str);
    g_assert_cmpint (lb_turn_parse_failed (turn), ==, ends[i].failed);
    g_assert_cmpstr (g_strstrip (sum.reasoning->str), ==, ends[i].reasoning);
    g_assert_cmpstr (sum.content->str, ==, ends[i].content);
    assert_same_calls (sum.calls->str, ends[i].calls);
    sum_clear (&sum);
    lb_turn_free (turn);
}

static void
test_ends (void)
{
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    for (gsize i = 0; i < G_N_ELEMENTS (ends); i++) {
        check_end (chat, i, 1);
        check_end (chat, i, 5);
        check_end (chat, i, 100000);
    }
    lb_chat_free (chat);
}

/* Text streams on after the format was left, and nothing of it is lost. */
static void
test_given_up_reply_streams (void)
{
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    LbTurn *turn = turn_from (chat, "{\"tools\":[" WEATHER_TOOL "]," HELLO "}");
    Sum sum;
    sum_init (&sum);
    g_autoptr (GString) all = g_string_new ("<tool_call>\nnot a call ");
    feed (turn, &sum, all->str, all->len, FALSE);
    for (int i = 0; i < 100; i++) {
        g_autofree char *word = g_strdup_printf ("word%d ", i);
        g_string_append (all, word);
        feed (turn, &sum, word, strlen (word), FALSE);
    }
    g_assert_cmpuint (sum.content->len, >, 400); /* before the end */
    feed (turn, &sum, "", 0, TRUE);
    g_assert_cmpstr (sum.content->str, ==, all->str);
    g_assert_true (lb_turn_parse_failed (turn));
    sum_clear (&sum);
    lb_turn_free (turn);
    lb_chat_free (chat);
}

static void
test_deep_reply (void)
{
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    LbTurn *turn = turn_from (
        chat, "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
              "\"properties\":{\"x\":{}}}}}]," HELLO "}");
    Sum sum;
    sum_init (&sum);
    g_autoptr (GString) reply = g_string_new ("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": ");
    for (int i = 0; i < 100000; i++)
        g_string_append_c (reply, '[');
    feed (turn, &sum, reply->str, reply->len, FALSE);
    feed (turn, &sum, "", 0, TRUE);
    g_assert_true (lb_turn_parse_failed (turn));
    int n = 0; /* what was read as an argument before it became too deep, and the rest */
    for (gsize i = 0; i < sum.content->len; i++)
        n += sum.content->str[i] == '[';
    for (gsize i = 0; i < sum.calls->len; i++)
        n += sum.calls->str[i] == '[';
    g_assert_cmpint (n, ==, 100000);
    sum_clear (&sum);
    lb_turn_free (turn);
    lb_chat_free (chat);
}

static void
test_raw_reply_and_utf8 (void)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        { "plain <think> text", "plain <think> text" },
        { "\xf0\x9f\x8c\xa7 \xe2\x98\x82", "🌧 ☂" },
        { "a\xff\xfe"
          "b",
          "a\xef\xbf\xbd\xef\xbf\xbd"
          "b" },
        { "cut \xe2\x98", "cut \xef\xbf\xbd" },
        { "\xc0\xaf\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    };
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
        for (gsize step = 1; step < 6; step++) {
            LbTurn *turn = turn_from (chat, "{\"prompt\":\"x\"}");
            Sum sum;
            sum_init (&sum);
            gsize length = strlen (cases[i].bytes);
            for (gsize at = 0; at < length; at += step)
                feed (turn, &sum, cases[i].bytes + at, MIN (step, length - at), FALSE);
            feed (turn, &sum, "", 0, TRUE);
            g_assert_cmpstr (sum.content->str, ==, cases[i].text);
            sum_clear (&sum);
            lb_turn_free (turn);
        }
    lb_chat_free (chat);
}

static void
test_continued_reply (void)
{
    LbChat *chat = chat_from (vocabulary, "Qwen-Qwen3-0.6B.jinja");
    LbTurn *turn = turn_from (
        chat, "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"The ans\"}],"
              "\"continue_final\":true}");
    Sum sum;
    sum_init (&sum);
    feed (turn, &sum, "wer is ", 7, FALSE);
    feed (turn, &sum, "7.", 2, TRUE);
    g_assert_cmpstr (sum.content->str, ==, "wer is 7.");
    sum_clear (&sum);
    lb_turn_free (turn);
    lb_chat_free (chat);
}

/* ---- drawing ----------------------------------------------------------------------------------------------------------------------- */

static struct llama_context *
new_context (void)
{
    struct llama_context_params params = llama_context_default_params ();
    params.n_ctx = 512;
    params.n_batch = 512;
    params.n_threads = params.n_threads_batch = 1;
    struct llama_context *context = llama_init_from_model (demo, params);
    g_assert_nonnull (context);
    return context;
}

/* Decodes @tokens at @pos and asks for the last one's logits. */
static void
decode (struct llama_context *context, const llama_token *tokens, int n, int pos, gboolean all_rows)
{
    struct llama_batch batch = llama_batch_init (n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = pos + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = all_rows || i == n - 1;
    }
    batch.n_tokens = n;
    g_assert_cmpint (llama_decode (context, batch), ==, 0);
    llama_batch_free (batch);
}

/* Runs @request to its end or @n_max tokens.  The text of the reply, special tokens that the turn preserves included. */
static char *
generate (const LbChat *chat, const char *request, int n_max, Sum *sum, GArray *drawn)
{
    const struct llama_vocab *vocab = llama_model_get_vocab (demo);
    struct llama_context *context = new_context ();
    LbTurn *turn = turn_from (chat, request);
    LbView view = lb_turn_view (turn);
    decode (context, view.tokens, view.n_tokens, 0, FALSE);
    GString *text = g_string_new (NULL);
    int32_t row = view.n_tokens - 1;
    for (int i = 0; i < n_max; i++) {
        char *err = NULL, piece[256];
        llama_token token;
        g_assert_cmpint (lb_turn_draw (turn, context, &row, NULL, 0, &token, &err), ==, 1);
        if (drawn)
            g_array_append_val (drawn, token);
        if (llama_vocab_is_eog (vocab, token))
            break;
        int n = llama_token_to_piece (vocab, token, piece, sizeof piece, 0, lb_turn_preserves (turn, token));
        g_assert_cmpint (n, >=, 0);
        g_string_append_len (text, piece, n);
        decode (context, &token, 1, view.n_tokens + i, FALSE);
        row = 0;
    }
    if (sum) {
        sum_init (sum);
        feed (turn, sum, text->str, text->len, TRUE);
    }
    lb_turn_free (turn);
    llama_free (context);
    return g_string_free (text, FALSE);
}

static void
test_same_seed_same_text (void)
{
    LbChat *chat = chat_from (demo, NULL);
    const char *request =
        "{" HELLO ",\"sampling\":{\"temperature\":20,\"top_k\":0,\"top_p\":1,\"min_p\":0,\"seed\":%d}}";
    g_autofree char *first = g_strdup_printf (request, 7), *other = g_strdup_printf (request, 8);
    g_autofree char *a = generate (chat, first, 40, NULL, NULL), *b = generate (chat, first, 40, NULL, NULL);
    g_autofree char *c = generate (chat, other, 40, NULL, NULL);
    g_assert_cmpstr (a, ==, b);
    g_assert_cmpstr (a, !=, c);
    lb_chat_free (chat);
}

static void
test_greedy_needs_no_seed (void)
{
    LbChat *chat = chat_from (demo, NULL);
    const char *request =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"What is 17 + 25?\"}],\"enable_thinking\":false,"
        "\"sampling\":{\"temperature\":0}}";
    g_autofree char *a = generate (chat, request, 40, NULL, NULL), *b = generate (chat, request, 40, NULL, NULL);
    g_assert_cmpstr (a, ==, b);
    g_assert_nonnull (strstr (a, "42"));
    lb_chat_free (chat);
}

static void
test_required_call (void)
{
    LbChat *chat = chat_from (demo, NULL);
    Sum sum;
    g_autofree char *text = generate (
        chat,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"}],\"tools\":[" WEATHER_TOOL
        "],"
        "\"tool_choice\":\"required\",\"strict_call\":true,\"enable_thinking\":false,\"sampling\":{\"temperature\":0}}",
        80, &sum, NULL);
    g_test_message ("%s", text);
    g_assert_cmpint (sum.n_calls, ==, 1);
    g_assert_true (g_str_has_prefix (sum.calls->str, "get_weather {"));
    g_assert_nonnull (strstr (sum.calls->str, "Paris"));
    g_assert_cmpstr (g_strstrip (sum.content->str), ==, "");
    sum_clear (&sum);
    lb_chat_free (chat);
}

/* The tools stay in the prompt, but no call comes. */
static void
test_no_call (void)
{
    LbChat *chat = chat_from (demo, NULL);
    const char *request =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"}],\"tools\":[" WEATHER_TOOL
        "],"
        "\"tool_choice\":\"%s\",\"enable_thinking\":false,\"sampling\":{\"temperature\":0}}";
    g_autofree char *free_request = g_strdup_printf (request, "auto"),
                    *held_request = g_strdup_printf (request, "none");
    Sum called, held;
    g_autofree char *a = generate (chat, free_request, 60, &called, NULL),
                    *b = generate (chat, held_request, 60, &held, NULL);
    g_test_message ("%s | %s", a, b);
    g_assert_cmpint (called.n_calls, ==, 1);
    g_assert_cmpint (held.n_calls, ==, 0);
    g_assert_null (strstr (b, "<tool_call>"));
    g_assert_cmpuint (held.content->len, >, 0);
    LbTurn *with = turn_from (chat, free_request), *without = turn_from (chat, held_request);
    g_assert_cmpstr (lb_turn_view (with).prompt, ==, lb_turn_view (without).prompt);
    lb_turn_free (with);
    lb_turn_free (without);
    sum_clear (&called);
    sum_clear (&held);
    lb_chat_free (chat);
}

static void
test_schema_holds (void)
{
    LbChat *chat = chat_from (demo, NULL);
    Sum sum;
    g_autofree char *text = generate (
        chat,
        "{" HELLO
        ",\"enable_thinking\":false,\"sampling\":{\"temperature\":1,\"seed\":3},\"json_schema\":{\"type\":\"object\","
        "\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":9},\"b\":{\"enum\":[\"x\",\"y\"]}},"
        "\"required\":[\"a\",\"b\"],\"additionalProperties\":false}}",
        80, &sum, NULL);
    g_autoptr (json_t) value = json_parse (sum.content->str, sum.content->len, NULL);
    g_test_message ("%s", text);
    g_assert_true (json_is_integer (json_object_get (value, "a")));
    g_assert_true (json_is_string (json_object_get (value, "b")));
    sum_clear (&sum);
    lb_chat_free (chat);
}

static void
test_grammar_holds (void)
{
    LbChat *chat = chat_from (demo, NULL);
    g_autofree char *text =
        generate (chat, "{\"prompt\":\"Say\",\"grammar\":\"root ::= \\\"yes\\\" | \\\"no\\\"\"}", 20, NULL, NULL);
    g_assert_true (g_str_equal (text, "yes") || g_str_equal (text, "no"));
    lb_chat_free (chat);
}

static void
test_bias (void)
{
    LbChat *chat = chat_from (demo, NULL);
    g_autoptr (GArray) drawn = g_array_new (FALSE, FALSE, sizeof (llama_token));
    g_autofree char *greedy = generate (chat, "{" HELLO ",\"sampling\":{\"temperature\":0}}", 1, NULL, drawn);
    llama_token best = g_array_index (drawn, llama_token, 0);

    g_autofree char *banned =
        g_strdup_printf ("{" HELLO ",\"sampling\":{\"temperature\":0,\"logit_bias\":[[%d,-100]]}}", best);
    g_autofree char *text = generate (chat, banned, 1, NULL, drawn);
    g_assert_cmpint (g_array_index (drawn, llama_token, 1), !=, best);

    g_autofree char *forced_text =
        generate (chat, "{" HELLO ",\"sampling\":{\"temperature\":1,\"logit_bias\":[[300,100]]}}", 3, NULL, drawn);
    for (guint i = 2; i < 5; i++)
        g_assert_cmpint (g_array_index (drawn, llama_token, i), ==, 300);
    lb_chat_free (chat);
}

/* A grammar and a ban that leave nothing: an error, not an abort. */
static void
test_nothing_left (void)
{
    LbChat *chat = chat_from (demo, NULL);
    const struct llama_vocab *vocab = llama_model_get_vocab (demo);
    g_autoptr (GString) request =
        g_string_new ("{\"prompt\":\"Say\",\"grammar\":\"root ::= [a]\",\"sampling\":{\"logit_bias\":[");
    for (llama_token id = 0; id < llama_vocab_n_tokens (vocab); id++)
        g_string_append_printf (request, "%s[%d,-100]", id ? "," : "", id);
    g_string_append (request, "]}}");
    struct llama_context *context = new_context ();
    LbTurn *turn = turn_from (chat, request->str);
    LbView view = lb_turn_view (turn);
    decode (context, view.tokens, view.n_tokens, 0, FALSE);
    int32_t row = view.n_tokens - 1;
    llama_token token;
    char *err = NULL;
    g_assert_cmpint (lb_turn_draw (turn, context, &row, NULL, 0, &token, &err), ==, -1);
    g_assert_nonnull (strstr (err, "constraint"));
    free (err);
    lb_turn_free (turn);
    llama_free (context);
    lb_chat_free (chat);
}

static void
test_row_without_logits (void)
{
    LbChat *chat = chat_from (demo, NULL);
    struct llama_context *context = new_context ();
    LbTurn *turn = turn_from (chat, "{\"tokens\":[5,6,7]}");
    decode (context, lb_turn_view (turn).tokens, 3, 0, FALSE);
    llama_token token;
    char *err = NULL;
    g_assert_cmpint (lb_turn_draw (turn, context, &(int32_t){ 0 }, NULL, 0, &token, &err), ==, -1);
    g_assert_nonnull (strstr (err, "no logits"));
    free (err);
    float logprob;
    g_assert_cmpint (lb_logprobs (context, 1, 5, &logprob, 0, NULL, NULL), ==, -1);
    lb_turn_free (turn);
    llama_free (context);
    lb_chat_free (chat);
}

static void
test_logprobs (void)
{
    LbChat *chat = chat_from (demo, NULL);
    struct llama_context *context = new_context ();
    LbTurn *turn = turn_from (chat, "{" HELLO ",\"sampling\":{\"temperature\":0}}");
    LbView view = lb_turn_view (turn);
    decode (context, view.tokens, view.n_tokens, 0, FALSE);
    int32_t row = view.n_tokens - 1;
    llama_token token;
    g_assert_cmpint (lb_turn_draw (turn, context, &row, NULL, 0, &token, NULL), ==, 1);
    int n_vocab = llama_vocab_n_tokens (llama_model_get_vocab (demo));
    g_autofree llama_token *ids = g_new (llama_token, n_vocab);
    g_autofree float *logprobs = g_new (float, n_vocab);
    float chosen = 1;
    g_assert_cmpint (lb_logprobs (context, row, token, &chosen, n_vocab + 5, ids, logprobs), ==, n_vocab);
    g_assert_cmpint (ids[0], ==, token);
    g_assert_cmpfloat (chosen, ==, logprobs[0]);
    double sum = 0;
    for (int i = 0; i < n_vocab; i++) {
        g_assert_true (logprobs[i] <= 0 && (i == 0 || logprobs[i] <= logprobs[i - 1]));
        sum += __builtin_exp ((double) logprobs[i]);
    }
    g_assert_cmpfloat_with_epsilon (sum, 1, 1e-4);
    lb_turn_free (turn);
    llama_free (context);
    lb_chat_free (chat);
}

/* A right draft is kept whole, a wrong one to its first error, and both give what single draws give. */
static void
test_draft (void)
{
    LbChat *chat = chat_from (demo, NULL);
    const char *request = "{" HELLO ",\"sampling\":{\"temperature\":0}}";
    g_autoptr (GArray) single = g_array_new (FALSE, FALSE, sizeof (llama_token));
    g_autofree char *text = generate (chat, request, 4, NULL, single);
    const llama_token *want = &g_array_index (single, llama_token, 0);
    for (int wrong = 1; wrong <= 3; wrong++) { /* 3: none is wrong */
        struct llama_context *context = new_context ();
        LbTurn *turn = turn_from (chat, request);
        LbView view = lb_turn_view (turn);
        decode (context, view.tokens, view.n_tokens, 0, FALSE);
        llama_token out[4], draft[3] = { want[0], want[1], want[2] };
        g_assert_cmpint (lb_turn_draw (turn, context, &(int32_t){ view.n_tokens - 1 }, NULL, 0, out, NULL), ==, 1);
        g_assert_cmpint (out[0], ==, want[0]);
        if (wrong < 3)
            draft[wrong] = draft[wrong] == 300 ? 301 : 300;
        decode (context, draft, 3, view.n_tokens, TRUE); /* the drawn token, then two drafted ones */
        int n = lb_turn_draw (turn, context, (const int32_t[]){ 0, 1, 2 }, draft + 1, 2, out, NULL);
        g_assert_cmpint (n, ==, wrong);
        g_assert_cmpmem (out, n * sizeof *out, want + 1, n * sizeof *out);
        lb_turn_free (turn);
        llama_free (context);
    }
    lb_chat_free (chat);
}

static void
test_reasoning_budget (void)
{
    LbChat *chat = chat_from (demo, NULL);
    Sum long_one, short_one;
    const char *request =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30? /think\"}],\"sampling\":{\"temperature\":0},"
        "\"reasoning_budget\":%d}";
    g_autofree char *free_request = g_strdup_printf (request, -1), *held_request = g_strdup_printf (request, 3);
    g_autofree char *a = generate (chat, free_request, 120, &long_one, NULL),
                    *b = generate (chat, held_request, 120, &short_one, NULL);
    g_test_message ("%s | %s", a, b);
    g_assert_cmpuint (long_one.reasoning->len, >, short_one.reasoning->len);
    g_assert_cmpuint (short_one.content->len, >, 0);
    sum_clear (&long_one);
    sum_clear (&short_one);
    lb_chat_free (chat);
}

/* ---- estimates, speculation ----------------------------------------------------------------------------------------------------- */

static void
test_estimate (void)
{
    char *err = NULL;
    g_autofree char *small = lb_estimate (DEMO_MODELS "/atelier-demo.gguf", "{\"n_ctx\":512}", &err);
    g_assert_cmpstr (err, ==, NULL);
    g_autofree char *large = lb_estimate (DEMO_MODELS "/atelier-demo.gguf", "{\"n_ctx\":2048}", &err);
    g_autoptr (json_t) a = json_parse (small, strlen (small), NULL), b = json_parse (large, strlen (large), NULL);
    g_assert_cmpint (json_peek_int (a, "n_ctx_train", 0), ==, 2048);
    json_t *at = json_object_get (a, "total"), *bt = json_object_get (b, "total");
    g_assert_cmpint (json_peek_int (at, "model", 0), >, 1000000);
    g_assert_cmpint (json_peek_int (bt, "context", 0), ==, 4 * json_peek_int (at, "context", 0));

    g_assert_null (lb_estimate ("/does/not/exist.gguf", "{}", &err));
    g_assert_nonnull (err);
    g_clear_pointer (&err, free);
    g_assert_null (lb_estimate (DEMO_MODELS "/atelier-demo.gguf", "{\"type_k\":\"q3\"}", &err));
    g_assert_nonnull (strstr (err, "type_k"));
    free (err);
}

typedef struct {
    struct llama_context *target, *draft;
    LbSpec *spec;
} Pair;

/* Decodes in the target, and lets the speculator see it, which decodes in the draft. */
static void
decode_both (const Pair *p, const llama_token *tokens, int n, int pos)
{
    struct llama_batch batch = llama_batch_init (n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = pos + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = TRUE;
    }
    batch.n_tokens = n;
    char *err = NULL;
    g_assert_cmpint (llama_decode (p->target, batch), ==, 0);
    g_assert_cmpint (lb_spec_process (p->spec, batch, &err), ==, 0);
    g_assert_cmpstr (err, ==, NULL);
    llama_batch_free (batch);
}

/* Greedy text is the same with drafts as without; total = accepted + rejected + ignored is the caller's to count. */
static void
check_speculation (const char *config, struct llama_model *draft_model)
{
    LbChat *chat = chat_from (demo, NULL);
    const char *request =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30? /think\"}],\"sampling\":{\"temperature\":0}}";
    g_autoptr (GArray) single = g_array_new (FALSE, FALSE, sizeof (llama_token));
    g_autofree char *text = generate (chat, request, 40, NULL, single);

    struct llama_context_params params = llama_context_default_params ();
    params.n_ctx = params.n_batch = 512;
    params.n_threads = params.n_threads_batch = 1;
    Pair p = { new_context (), draft_model ? llama_init_from_model (draft_model, params) : NULL, NULL };
    char *err = NULL;
    p.spec = lb_spec_new (config, p.target, p.draft, 1, &err);
    g_assert_cmpstr (err, ==, NULL);

    LbTurn *turn = turn_from (chat, request);
    LbView view = lb_turn_view (turn);
    g_autoptr (GArray) history = g_array_new (FALSE, FALSE, sizeof (llama_token));
    g_array_append_vals (history, view.tokens, view.n_tokens);
    decode_both (&p, view.tokens, view.n_tokens, 0);
    llama_token out[5], rows_tokens[5];
    int n = lb_turn_draw (turn, p.target, &(int32_t){ view.n_tokens - 1 }, NULL, 0, out, NULL), n_drafted = 0,
        n_kept = 0;
    g_autoptr (GArray) drawn = g_array_new (FALSE, FALSE, sizeof (llama_token));
    gboolean fresh = TRUE;
    while (drawn->len + n < single->len) {
        g_array_append_vals (drawn, out, n);
        int pos = history->len;
        llama_token last = out[n - 1];
        if (n > 1)
            g_array_append_vals (history, out, n - 1), pos = history->len;
        LbWant want = { .seq = 0,
                        .fresh = fresh,
                        .n_max = 4,
                        .pos0 = pos,
                        .last = last,
                        .history = (llama_token *) history->data,
                        .n_history = history->len,
                        .out = rows_tokens + 1 };
        fresh = FALSE;
        g_assert_cmpint (lb_spec_draft (p.spec, &want, 1, &err), ==, 0);
        n_drafted += want.n_out;
        if (p.draft) /* what it decoded while drafting is decoded again by process */
            llama_memory_seq_rm (llama_get_memory (p.draft), 0, pos, -1);
        rows_tokens[0] = last;
        decode_both (&p, rows_tokens, want.n_out + 1, pos);
        g_array_append_val (history, last);
        n = lb_turn_draw (turn, p.target, (const int32_t[]){ 0, 1, 2, 3, 4 }, rows_tokens + 1, want.n_out, out, NULL);
        g_assert_cmpint (n, >=, 1);
        n_kept += n - 1;
        g_assert_cmpint (lb_spec_accept (p.spec, 0, n - 1), ==, 0);
        llama_memory_seq_rm (llama_get_memory (p.target), 0, pos + n, -1);
        if (p.draft)
            llama_memory_seq_rm (llama_get_memory (p.draft), 0, pos + n, -1);
    }
    g_array_append_vals (drawn, out, n);
    g_test_message ("%s: %d of %d drafted tokens kept", config, n_kept, n_drafted);
    g_assert_cmpint (n_kept, >, 0);
    g_assert_cmpmem (drawn->data, single->len * sizeof *out, single->data, single->len * sizeof *out);
    g_assert_cmpint (lb_spec_accept (p.spec, 0, 9), ==, -1);
    g_assert_cmpint (lb_spec_accept (p.spec, 7, 0), ==, -1);
    lb_turn_free (turn);
    lb_spec_free (p.spec);
    llama_free (p.target);
    if (p.draft)
        llama_free (p.draft);
    lb_chat_free (chat);
}

static void
test_speculation_by_draft (void)
{
    struct llama_model *draft =
        llama_model_load_from_file (DEMO_MODELS "/atelier-demo-draft.gguf", llama_model_default_params ());
    g_assert_nonnull (draft);
    check_speculation ("{\"kind\":\"draft\",\"n_max\":4}", draft);
    llama_model_free (draft);
}

static void
test_speculation_refused (void)
{
    static const struct {
        const char *config, *says;
    } cases[] = {
        { "{\"kind\":\"draft\"}", "needs its context" },
        { "{\"kind\":\"magic\"}", "magic" },
        { "{\"kind\":\"none\"}", "nothing" },
        { "{\"kind\":\"ngram-simple\",\"n_max\":0}", "n_max" },
        { "[]", "object" },
    };
    struct llama_context *context = new_context ();
    for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
        char *err = NULL;
        g_assert_null (lb_spec_new (cases[i].config, context, NULL, 1, &err));
        if (!strstr (err, cases[i].says))
            g_error ("%s: %s", cases[i].config, err);
        free (err);
    }
    llama_free (context);
}

/* ---- main ------------------------------------------------------------------------------------------------------------------------- */

static void
add_templates (void)
{
    g_autoptr (GDir) dir = g_dir_open (LLAMA_RELEASE "/models/templates", 0, NULL);
    g_assert_nonnull (dir);
    int n = 0;
    for (const char *file; (file = g_dir_read_name (dir));) {
        if (!g_str_has_suffix (file, ".jinja"))
            continue;
        g_autofree char *path = g_strconcat ("/bridge/templates/", file, NULL);
        g_test_add_data_func_full (path, g_strdup (file), test_template, g_free);
        n++;
    }
    g_assert_cmpint (n, ==, 70);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_autoptr (GError) error = NULL;
    g_assert_true (backend_load (NULL, &error));
    g_assert_no_error (error);
    struct llama_model_params params = llama_model_default_params ();
    demo = llama_model_load_from_file (DEMO_MODELS "/atelier-demo.gguf", params);
    params.vocab_only = true;
    vocabulary = llama_model_load_from_file (LLAMA_RELEASE "/models/ggml-vocab-qwen2.gguf", params);
    g_assert_true (demo && vocabulary);

    add_templates ();
    g_test_add_func ("/bridge/template-probe", test_template_probe);
    g_test_add_func ("/bridge/bad-templates", test_bad_templates);
    g_test_add_func ("/bridge/bad-requests", test_bad_requests);
    g_test_add_func ("/bridge/unfit-tokenizer", test_unfit_tokenizer);
    g_test_add_func ("/bridge/deep-request", test_deep_request);
    g_test_add_func ("/bridge/far-too-long", test_far_too_long);
    g_test_add_func ("/bridge/renderings", test_renderings);
    g_test_add_func ("/bridge/system-messages-anywhere", test_system_messages_anywhere);
    g_test_add_func ("/bridge/thinking-switch", test_thinking_switch);
    g_test_add_func ("/bridge/broken-own-template", test_broken_own_template);
    g_test_add_func ("/bridge/default-tool-format", test_default_tool_format);
    g_test_add_func ("/bridge/learnt-once", test_learnt_once);
    g_test_add_func ("/bridge/special-tokens", test_special_tokens);
    for (gsize i = 0; i < G_N_ELEMENTS (replies); i++) {
        g_autofree char *path = g_strconcat ("/bridge/replies/", replies[i].family, NULL);
        g_test_add_data_func (path, GSIZE_TO_POINTER (i), test_reply);
    }
    g_test_add_func ("/bridge/ends", test_ends);
    g_test_add_func ("/bridge/given-up-reply-streams", test_given_up_reply_streams);
    g_test_add_func ("/bridge/deep-reply", test_deep_reply);
    g_test_add_func ("/bridge/raw-reply-and-utf8", test_raw_reply_and_utf8);
    g_test_add_func ("/bridge/continued-reply", test_continued_reply);
    g_test_add_func ("/bridge/same-seed-same-text", test_same_seed_same_text);
    g_test_add_func ("/bridge/greedy-needs-no-seed", test_greedy_needs_no_seed);
    g_test_add_func ("/bridge/required-call", test_required_call);
    g_test_add_func ("/bridge/no-call", test_no_call);
    g_test_add_func ("/bridge/schema-holds", test_schema_holds);
    g_test_add_func ("/bridge/grammar-holds", test_grammar_holds);
    g_test_add_func ("/bridge/bias", test_bias);
    g_test_add_func ("/bridge/nothing-left", test_nothing_left);
    g_test_add_func ("/bridge/row-without-logits", test_row_without_logits);
    g_test_add_func ("/bridge/logprobs", test_logprobs);
    g_test_add_func ("/bridge/draft", test_draft);
    g_test_add_func ("/bridge/reasoning-budget", test_reasoning_budget);
    g_test_add_func ("/bridge/estimate", test_estimate);
    g_test_add_func ("/bridge/speculation-by-draft", test_speculation_by_draft);
    g_test_add_func ("/bridge/speculation-refused", test_speculation_refused);
    int result = g_test_run ();
    llama_model_free (demo);
    llama_model_free (vocabulary);
    return result;
}
