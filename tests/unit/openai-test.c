/* openai-test.c: a chat completion's body read into ChatRequests, and ChatEvents printed, whole bytes. */
#include "api/openai/openai.h"

#include <string.h>

/* ---- reading ------------------------------------------------------------------------------------------------------------------ */

static json_t *
parse (const char *text)
{
    g_autoptr (GError) error = NULL;
    json_t *value = json_parse (text, strlen (text), &error);
    g_assert_no_error (error);
    return value;
}

/* Members put into {"messages":[a user message], ..}; with "messages" among them they replace it. */
static json_t *
body_with (const char *members)
{
    g_autofree char *text =
        g_strdup_printf ("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]%s%s}", *members ? "," : "", members);
    return parse (text);
}

#define TOOL(strict, parameters)                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":" strict ",\"parameters\":" parameters \
    "}}]"
#define TWO_TOOLS                                                                                                     \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"function\":{\"name\":" \
    "\"g\"}}]"
#define SCHEMA(schema) "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":" schema "}}"

static const struct {
    const char *members;
    ApiErrorKind kind;
    const char *param;
} wrong[] = {
    { "\"messages\":null", API_MISSING, "messages" },
    { "\"messages\":[]", API_INVALID_VALUE, "messages" },
    { "\"messages\":{}", API_INVALID_TYPE, "messages" },
    { "\"messages\":[1]", API_INVALID_TYPE, "messages[0]" },
    { "\"messages\":[{\"content\":\"x\"}]", API_INVALID_VALUE, "messages[0].role" },
    { "\"messages\":[{\"role\":1}]", API_INVALID_TYPE, "messages[0].role" },
    { "\"messages\":[{\"role\":\"user\",\"content\":1}]", API_INVALID_TYPE, "messages[0].content" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[1]}]", API_INVALID_TYPE, "messages[0].content[0]" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[{}]}]", API_MISSING, "messages[0].content[0].type" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]", API_MISSING,
      "messages[0].content[0].text" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}]", API_INVALID_TYPE,
      "messages[0].content[0].text" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"smell\"}]}]", API_INVALID_VALUE,
      "messages[0].content[0].type" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:\"}}]}]",
      API_INVALID_VALUE, "messages[0].content[0].image_url.url" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":\"http://a/b.png\"}]}]",
      API_INVALID_VALUE, "messages[0].content[0].image_url" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]", API_MISSING,
      "messages[0].content[0].image_url" },
    { "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"/9j/4A==\"}}]}]",
      API_UNSUPPORTED_CONTENT, "messages[0].content[0]" },
    { "\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"name\":1}]", API_INVALID_TYPE, "messages[0].name" },
    { "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":1}]", API_INVALID_TYPE, "messages[0].tool_calls" },
    { "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]", API_INVALID_TYPE,
      "messages[0].tool_calls[0].function" },
    { "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]", API_MISSING,
      "messages[0].tool_calls[0].function.name" },
    { "\"model\":1", API_INVALID_TYPE, "model" },
    { "\"stream\":\"true\"", API_INVALID_TYPE, "stream" },
    { "\"stream_options\":true", API_INVALID_TYPE, "stream_options" },
    { "\"stream_options\":{\"include_usage\":1}", API_INVALID_TYPE, "stream_options.include_usage" },
    { "\"temperature\":-1", API_INVALID_VALUE, "temperature" },
    { "\"temperature\":\"1\"", API_INVALID_TYPE, "temperature" },
    { "\"top_p\":2", API_INVALID_VALUE, "top_p" },
    { "\"top_k\":-2", API_INVALID_VALUE, "top_k" },
    { "\"top_k\":1.5", API_INVALID_TYPE, "top_k" },
    { "\"min_p\":1.1", API_INVALID_VALUE, "min_p" },
    { "\"repeat_penalty\":0", API_INVALID_VALUE, "repeat_penalty" },
    { "\"repetition_penalty\":-1", API_INVALID_VALUE, "repetition_penalty" },
    { "\"presence_penalty\":2.1", API_INVALID_VALUE, "presence_penalty" },
    { "\"frequency_penalty\":-2.1", API_INVALID_VALUE, "frequency_penalty" },
    { "\"seed\":-2", API_INVALID_VALUE, "seed" },
    { "\"seed\":1.5", API_INVALID_TYPE, "seed" },
    { "\"max_tokens\":0", API_INVALID_VALUE, "max_tokens" },
    { "\"max_tokens\":-2", API_INVALID_VALUE, "max_tokens" },
    { "\"max_completion_tokens\":\"9\"", API_INVALID_TYPE, "max_completion_tokens" },
    { "\"stop\":1", API_INVALID_TYPE, "stop" },
    { "\"stop\":\"\"", API_INVALID_VALUE, "stop" },
    { "\"stop\":[\"a\",\"\"]", API_INVALID_VALUE, "stop" },
    { "\"logit_bias\":[]", API_INVALID_TYPE, "logit_bias" },
    { "\"logit_bias\":{\"abc\":1}", API_INVALID_VALUE, "logit_bias" },
    { "\"logit_bias\":{\"-1\":1}", API_INVALID_VALUE, "logit_bias" },
    { "\"logit_bias\":{\"9999999999\":1}", API_INVALID_VALUE, "logit_bias" },
    { "\"logit_bias\":{\"5\":101}", API_INVALID_VALUE, "logit_bias" },
    { "\"logit_bias\":{\"5\":\"1\"}", API_INVALID_TYPE, "logit_bias" },
    { "\"context_overflow_policy\":\"never\"", API_INVALID_VALUE, "context_overflow_policy" },
    { "\"n\":0", API_INVALID_VALUE, "n" },
    { "\"n\":99", API_INVALID_VALUE, "n" },
    { "\"logprobs\":2", API_INVALID_TYPE, "logprobs" },
    { "\"logprobs\":true,\"top_logprobs\":21", API_INVALID_VALUE, "top_logprobs" },
    { "\"top_logprobs\":2", API_INVALID_VALUE, "top_logprobs" },
    { "\"response_format\":\"json\"", API_INVALID_TYPE, "response_format" },
    { "\"response_format\":{}", API_MISSING, "response_format.type" },
    { "\"response_format\":{\"type\":\"xml\"}", API_INVALID_VALUE, "response_format.type" },
    { "\"response_format\":{\"type\":\"json_schema\"}", API_MISSING, "response_format.json_schema" },
    { "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":1}}", API_INVALID_TYPE,
      "response_format.json_schema.schema" },
    { "\"grammar\":\"%llguidance {}\"", API_INVALID_VALUE, "grammar" },
    { "\"grammar\":\"root ::= \\\"a\\\"\",\"response_format\":{\"type\":\"json_object\"}", API_INVALID_VALUE,
      "grammar" },
    { "\"tools\":{}", API_INVALID_TYPE, "tools" },
    { "\"tools\":[1]", API_INVALID_TYPE, "tools[0]" },
    { "\"tools\":[{\"type\":\"web\"}]", API_INVALID_VALUE, "tools[0].type" },
    { "\"tools\":[{\"type\":\"function\"}]", API_MISSING, "tools[0].function" },
    { "\"tools\":[{\"type\":\"function\",\"function\":{}}]", API_MISSING, "tools[0].function.name" },
    { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"\"}}]", API_INVALID_VALUE, "tools[0].function.name" },
    { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":1}}]", API_INVALID_TYPE,
      "tools[0].function.parameters" },
    { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":1}}]", API_INVALID_TYPE,
      "tools[0].function.strict" },
    { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"function\":{\"name\":"
      "\"f\"}}]",
      API_INVALID_VALUE, "tools[1].function.name" },
    { "\"tool_choice\":\"required\"", API_INVALID_VALUE, "tool_choice" },
    { "\"tool_choice\":\"maybe\"", API_INVALID_VALUE, "tool_choice" },
    { "\"tool_choice\":1", API_INVALID_TYPE, "tool_choice" },
    { "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}", API_INVALID_VALUE, "tool_choice" },
    { "\"tool_choice\":{\"type\":\"allowed_tools\"}", API_INVALID_VALUE, "tool_choice" },
    { "\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[]}}",
      API_INVALID_VALUE, "tool_choice" },
    { TWO_TOOLS
      ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{\"type\":"
      "\"function\",\"function\":{\"name\":\"h\"}}]}}",
      API_INVALID_VALUE, "tool_choice" },
    { TWO_TOOLS
      ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"none\",\"tools\":[{\"type\":"
      "\"function\",\"function\":{\"name\":\"f\"}}]}}",
      API_INVALID_VALUE, "tool_choice" },
    { TWO_TOOLS ",\"response_format\":{\"type\":\"json_object\"}", API_NOT_IMPLEMENTED, "response_format" },
    /* what a grammar cannot hold is refused with the keyword's path */
    { SCHEMA ("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"multipleOf\":3}}}"),
      API_INVALID_VALUE, "response_format.json_schema.schema.properties.a.multipleOf" },
    { SCHEMA ("{\"$ref\":\"#/$defs/none\"}"), API_INVALID_VALUE, "response_format.json_schema.schema.$ref" },
    { TOOL ("true", "{\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"(?=x)\"}}}"), API_INVALID_VALUE,
      "tools[0].function.parameters.properties.a.pattern" },
    { "\"parallel_tool_calls\":0", API_INVALID_TYPE, "parallel_tool_calls" },
    { "\"reasoning_effort\":\"huge\"", API_INVALID_VALUE, "reasoning_effort" },
    { "\"reasoning\":{\"effort\":1}", API_INVALID_TYPE, "reasoning.effort" },
    { "\"chat_template_kwargs\":[]", API_INVALID_TYPE, "chat_template_kwargs" },
    { "\"ttl\":0", API_INVALID_VALUE, "ttl" },
    { "\"ttl\":\"x\"", API_INVALID_TYPE, "ttl" },
    { "\"preset\":\"p\"", API_NOT_IMPLEMENTED, "preset" },
    { "\"draft_model\":\"d\"", API_NOT_IMPLEMENTED, "draft_model" },
    { "\"draft_model\":1", API_INVALID_TYPE, "draft_model" },
    { "\"modalities\":[\"text\",\"audio\"]", API_UNSUPPORTED_CONTENT, "modalities" },
    { "\"audio\":{}", API_UNSUPPORTED_CONTENT, "audio" },
    { "\"web_search_options\":{}", API_UNSUPPORTED_CONTENT, "web_search_options" },
};

/* http-054 and the like: every wrong type and range is refused and names its field. */
static void
test_wrong (gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE (data);
    g_autoptr (json_t) body = body_with (wrong[i].members);
    g_auto (OpenaiChat) chat = { 0 };
    g_auto (ApiError) error = { 0 };
    g_assert_false (openai_chat_read (&chat, body, &error));
    g_assert_cmpstr (error.param, ==, wrong[i].param);
    g_assert_cmpint (error.kind, ==, wrong[i].kind);
}

static void
read_fine (OpenaiChat *chat, const json_t *body)
{
    g_auto (ApiError) error = { 0 };
    gboolean fine = openai_chat_read (chat, body, &error);
    g_assert_cmpstr (error.message, ==, NULL);
    g_assert_true (fine);
}

/* What the engine would be asked for @members, as the link's JSON. */
static json_t *
job_for (const char *members, guint index)
{
    g_autoptr (json_t) body = body_with (members);
    g_auto (OpenaiChat) chat = { 0 };
    read_fine (&chat, body);
    g_autoptr (ChatRequest) request = openai_chat_request (&chat, index);
    return chat_request_to_job (request);
}

static void
assert_job (const char *members, const char *path, const char *expected)
{
    g_autoptr (json_t) job = job_for (members, 0);
    const json_t *value = job;
    g_auto (GStrv) steps = g_strsplit (path, ".", 0);
    for (guint i = 0; steps[i]; i++)
        value = json_object_get (value, steps[i]);
    g_autofree char *printed = value ? json_print (value, NULL) : g_strdup ("absent");
    g_assert_cmpstr (printed, ==, expected);
}

static void
test_fields_reach_the_job (void)
{
    static const struct {
        const char *members, *path, *expected;
    } reached[] = {
        { "", "max_tokens", "-1" },
        { "", "stop", "absent" },
        { "", "request.sampling.temperature", "0.8" },
        { "", "request.sampling.seed", "absent" },
        { "", "request.continue_final", "absent" },
        { "\"temperature\":0", "request.sampling.temperature", "0.0" },
        { "\"top_p\":0.5", "request.sampling.top_p", "0.5" },
        { "\"top_p\":0", "request.sampling.temperature", "0.0" },
        { "\"top_k\":-1", "request.sampling.top_k", "0" },
        { "\"top_k\":5.0", "request.sampling.top_k", "5" },
        { "\"top_k\":90000", "request.sampling.top_k", "500" },
        { "\"min_p\":0.25", "request.sampling.min_p", "0.25" },
        { "\"repeat_penalty\":1.5", "request.sampling.repeat_penalty", "1.5" },
        { "\"repetition_penalty\":1.5", "request.sampling.repeat_penalty", "1.5" },
        { "\"presence_penalty\":-2", "request.sampling.presence_penalty", "-2.0" },
        { "\"frequency_penalty\":2", "request.sampling.frequency_penalty", "2.0" },
        { "\"seed\":7", "request.sampling.seed", "7" },
        { "\"seed\":-1", "request.sampling.seed", "absent" },
        { "\"logit_bias\":{\"5\":-100,\"7\":1.5}", "request.sampling.logit_bias", "[[5,-100],[7,1.5]]" },
        { "\"max_tokens\":5", "max_tokens", "5" },
        { "\"max_tokens\":-1", "max_tokens", "-1" },
        { "\"max_tokens\":5,\"max_completion_tokens\":9", "max_tokens", "9" },
        { "\"max_completion_tokens\":-1,\"max_tokens\":5", "max_tokens", "-1" },
        { "\"stop\":\"a\"", "stop", "[\"a\"]" },
        { "\"stop\":[\"a\",\"b\"]", "stop", "[\"a\",\"b\"]" },
        { "\"context_overflow_policy\":\"rollingWindow\"", "overflow", "\"rollingWindow\"" },
        { "\"logprobs\":true", "n_logprobs", "0" },
        { "\"logprobs\":true,\"top_logprobs\":3", "n_logprobs", "3" },
        { "\"logprobs\":false", "n_logprobs", "absent" },
        { "\"response_format\":{\"type\":\"text\"}", "request.json_schema", "absent" },
        { "\"response_format\":{\"type\":\"json_object\"}", "request.json_schema", "{\"type\":\"object\"}" },
        { "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"strict\":\"true\",\"schema\":{\"type\":"
          "\"array\"}}}",
          "request.json_schema", "{\"type\":\"array\"}" },
        { "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}", "request.json_schema", "{}" },
        { "\"grammar\":\"root ::= [a-z]\"", "request.grammar", "\"root ::= [a-z]\"" },
        { "\"reasoning_effort\":\"none\"", "request.enable_thinking", "false" },
        { "\"reasoning_effort\":\"max\"", "request.template_kwargs", "{\"reasoning_effort\":\"high\"}" },
        { "\"reasoning\":{\"effort\":\"low\"},\"chat_template_kwargs\":{\"a\":1}", "request.template_kwargs",
          "{\"a\":1,\"reasoning_effort\":\"low\"}" },
        { "\"tools\":[]", "request.tools", "absent" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]", "request.tools",
          "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}"
          "}]" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\",\"parameters\":{\"properties\":{}}}},"
          "{\"type\":\"function\",\"function\":{\"name\":\"a.b\",\"description\":\"d\",\"strict\":true}}]",
          "request.tools",
          "[{\"type\":\"function\",\"function\":{\"name\":\"a_b\",\"parameters\":{\"properties\":{},\"type\":"
          "\"object\"}}},"
          "{\"type\":\"function\",\"function\":{\"name\":\"a_b_2\",\"parameters\":{\"type\":\"object\",\"properties\":{"
          "}},"
          "\"description\":\"d\",\"strict\":true}}]" },
        { "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"function\",\"function\":{"
          "\"name\":\"g\"}}],"
          "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}",
          "request.tool_choice", "\"required\"" },
        { TWO_TOOLS ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\",\"tools\":[{"
                    "\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}}",
          "request.tools",
          "[{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}"
          "}]" },
        { TWO_TOOLS ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\",\"tools\":[{"
                    "\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}}",
          "request.tool_choice", "\"required\"" },
        { TWO_TOOLS ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[{"
                    "\"type\":\"function\",\"function\":{\"name\":\"g\"}}]}}",
          "request.tool_choice", "\"auto\"" },
        { TWO_TOOLS ",\"tool_choice\":\"required\",\"response_format\":{\"type\":\"json_object\"}",
          "request.json_schema", "absent" },
        { TWO_TOOLS ",\"tool_choice\":\"none\",\"response_format\":{\"type\":\"json_object\"}", "request.json_schema",
          "{\"type\":\"object\"}" },
        { TWO_TOOLS ",\"tool_choice\":\"required\"", "request.strict_call", "true" },
        { TWO_TOOLS ",\"tool_choice\":\"auto\"", "request.strict_call", "absent" },
        /* strict: what is enforced, with the words that the model reads; else as it came */
        { TOOL ("true",
                "{\"description\":\"d\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":2,\"description\":"
                "\"e\"}},\"required\":[\"a\"]}"),
          "request.tools",
          "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{"
          "\"a\":"
          "{\"type\":\"integer\",\"minimum\":2,\"maximum\":999999999999999,\"description\":\"e\"}},\"required\":[\"a\"]"
          ","
          "\"additionalProperties\":false,\"description\":\"d\"},\"strict\":true}}]" },
        { TOOL ("false", "{\"type\":\"object\",\"$defs\":{\"n\":{\"multipleOf\":7}}}"), "request.tools",
          "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"$defs\":{\"n\":{"
          "\"multipleOf\":7}}}}}]" },
        { "\"functions\":[{\"name\":\"f\"}],\"function_call\":\"none\"", "request.tool_choice", "\"none\"" },
        { "\"user\":1,\"metadata\":[],\"store\":\"x\",\"stats\":{}", "max_tokens", "-1" },
        { "\"preset\":null,\"draft_model\":\"\",\"audio\":null,\"modalities\":[\"text\"]", "max_tokens", "-1" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (reached); i++)
        assert_job (reached[i].members, reached[i].path, reached[i].expected);
}

static void
test_choices_count_the_seed_up (void)
{
    g_autoptr (json_t) job = job_for ("\"n\":3,\"seed\":7", 2);
    g_assert_cmpint (json_peek_int (json_object_get (json_object_get (job, "request"), "sampling"), "seed", -1), ==, 9);
}

static const struct {
    const char *name, *given, *normalised;
    gboolean continues;
} conversations[] = {
    { "developer-is-system", "[{\"role\":\"developer\",\"content\":\"d\"}]",
      "[{\"role\":\"system\",\"content\":\"d\"}]", FALSE },
    { "parts-are-joined",
      "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"input_text\",\"text\":"
      "\"\\u0000b\"},"
      "{\"type\":\"refusal\",\"refusal\":\"c\"}]}]",
      "[{\"role\":\"user\",\"content\":\"a\\u0000bc\"}]", FALSE },
    { "no-content-is-empty", "[{\"role\":\"user\"},{\"role\":\"user\",\"content\":null}]",
      "[{\"role\":\"user\",\"content\":\"\"},{\"role\":\"user\",\"content\":\"\"}]", FALSE },
    { "name-stays", "[{\"role\":\"user\",\"name\":\"n\",\"content\":\"x\",\"extra\":1}]",
      "[{\"role\":\"user\",\"name\":\"n\",\"content\":\"x\"}]", FALSE },
    { "last-assistant-is-continued",
      "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"y\"}]",
      "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"y\"}]", TRUE },
    { "reasoning-has-one-name",
      "[{\"role\":\"assistant\",\"reasoning\":\"r\",\"content\":\"y\"},{\"role\":\"user\",\"content\":\"x\"}]",
      "[{\"role\":\"assistant\",\"reasoning_content\":\"r\",\"content\":\"y\"},{\"role\":\"user\",\"content\":\"x\"}]",
      FALSE },
    { "calls-and-answers",
      "[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":"
      "{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"2\",\"function\":{\"name\":\"g\",\"arguments\":{\"a\":1}}}]},"
      "{\"role\":\"tool\",\"content\":\"r1\"},{\"role\":\"tool\",\"tool_call_id\":\"9\",\"content\":\"r2\"}]",
      "[{\"role\":\"assistant\",\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}"
      "\"},"
      "\"id\":\"1\"},{\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"a\\\":1}\"},\"id\":\"2\"}"
      "],"
      "\"content\":null},{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"r1\"},"
      "{\"role\":\"tool\",\"tool_call_id\":\"2\",\"content\":\"r2\"}]",
      FALSE },
    { "old-function-call",
      "[{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
      "{\"role\":\"function\",\"name\":\"f\",\"content\":\"r\"}]",
      "[{\"role\":\"assistant\",\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}"
      "\"},"
      "\"id\":\"call_0\"}],\"content\":null},{\"role\":\"tool\",\"name\":\"f\",\"tool_call_id\":\"call_0\",\"content\":"
      "\"r\"}]",
      FALSE },
};

static void
test_conversation (gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE (data);
    g_autofree char *members = g_strdup_printf ("\"messages\":%s", conversations[i].given);
    g_autoptr (json_t) body = body_with (members);
    g_auto (OpenaiChat) chat = { 0 };
    read_fine (&chat, body);
    g_autofree char *printed = json_print (chat.messages, NULL);
    g_assert_cmpstr (printed, ==, conversations[i].normalised);
    g_assert_true (chat.continues == conversations[i].continues);
}

static void
test_the_role_error_is_the_known_sentence (void)
{
    g_autoptr (json_t) body = body_with ("\"messages\":[{\"role\":\"user\"},{\"role\":\"ai\"}]");
    g_auto (OpenaiChat) chat = { 0 };
    g_auto (ApiError) error = { 0 };
    g_assert_false (openai_chat_read (&chat, body, &error));
    g_assert_cmpstr (error.param, ==, "messages[1].role");
    g_assert_cmpstr (error.message, ==,
                     "'messages' array must only contain objects with a 'role' field that is in "
                     "[user, assistant, system, tool]. Got 'ai'");
}

/* What is read on the loop has an end. */
static void
test_too_many_pieces (void)
{
    static const struct {
        const char *before, *piece, *after;
        guint n;
    } cases[] = {
        { "{\"messages\":[", "{\"role\":\"user\"},", "{\"role\":\"user\"}]}", 65536 },
        { "{\"messages\":[{\"role\":\"user\",\"content\":[", "{\"type\":\"text\",\"text\":\"\"},",
          "{\"type\":\"text\",\"text\":\"\"}]}]}", 65536 },
        { "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[", "{\"function\":{\"name\":\"f\"}},",
          "{\"function\":{\"name\":\"f\"}}]}]}", 256 },
    };
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autoptr (GString) text = g_string_new (cases[i].before);
        for (guint k = 0; k < cases[i].n; k++)
            g_string_append (text, cases[i].piece);
        g_string_append (text, cases[i].after);
        g_autoptr (json_t) body = parse (text->str);
        g_auto (OpenaiChat) chat = { 0 };
        g_auto (ApiError) error = { 0 };
        g_assert_false (openai_chat_read (&chat, body, &error));
        g_assert_cmpint (error.kind, ==, API_INVALID_VALUE);
        g_assert_true (g_str_has_prefix (error.param, "messages"));
    }
}

/* ---- completions ---------------------------------------------------------------------------------------------------------------- */

static void
test_prompts_become_jobs (void)
{
    g_autoptr (json_t) body = parse ("{\"prompt\":[\"a\",\"b\"],\"n\":1,\"best_of\":3,\"seed\":5,\"max_tokens\":0}");
    g_auto (OpenaiCompletion) completion = { 0 };
    g_auto (ApiError) error = { 0 };
    g_assert_true (openai_completion_read (&completion, body, &error));
    g_assert_cmpuint (openai_completion_n_jobs (&completion), ==, 6);
    g_autoptr (ChatRequest) request = openai_completion_request (&completion, 4);
    g_autoptr (json_t) job = chat_request_to_job (request);
    const json_t *inner = json_object_get (job, "request");
    g_assert_cmpstr (json_peek_string (inner, "prompt"), ==, "b");
    g_assert_cmpint (json_peek_int (json_object_get (inner, "sampling"), "seed", -1), ==, 6);
    g_assert_cmpint (json_peek_int (job, "max_tokens", -2), ==, 0);
    g_assert_cmpint (json_peek_int (job, "n_logprobs", -1), ==, 0); /* the best is found by them */
}

/* Offsets count characters; a mark before the prompt is an entry without text; a token that is no UTF-8 is spelt. */
static void
test_logprobs_of_a_completion (void)
{
    g_autoptr (json_t) body = parse ("{\"prompt\":\"\\u00e9a\",\"echo\":true,\"logprobs\":1,\"max_tokens\":1}");
    g_auto (OpenaiCompletion) completion = { 0 };
    g_assert_true (openai_completion_read (&completion, body, NULL));
    OpenaiTextPrinter *printer = openai_text_printer_new ("cmpl-x", 1, &completion);
    openai_text_printer_name (printer, "m");
    g_autoptr (json_t) entries =
        parse ("[{\"bytes\":[60,115,62],\"logprob\":null,\"top\":[]},{\"bytes\":[195],\"logprob\":-1.5,\"top\":[]},"
               "{\"bytes\":[169],\"logprob\":-0.5,\"top\":[{\"bytes\":[169],\"logprob\":-0.5}]},"
               "{\"bytes\":[97],\"logprob\":-2.0,\"top\":[]},{\"bytes\":[98],\"logprob\":-3.0,\"top\":[]}]");
    const ChatResult ended = { .stop = CHAT_STOP_LENGTH, .n_prompt = 4, .n_completion = 1 };
    const ChatEvent events[] = {
        { .type = CHAT_STARTED,
          .text = "\xc3\xa9"
                  "a",
          .length = 3 },
        { .type = CHAT_CONTENT, .text = "b", .length = 1 },
        { .type = CHAT_LOGPROBS, .logprobs = entries },
        { .type = CHAT_DONE, .result = &ended },
    };
    g_autoptr (ChatFold) fold = chat_fold_new ();
    for (guint i = 0; i < G_N_ELEMENTS (events); i++)
        chat_fold_add (fold, &events[i]);
    g_autoptr (GString) out = g_string_new (NULL);
    openai_text_printer_type.whole (printer, (const ChatFold *const[]){ fold }, out);
    openai_text_printer_type.free (printer);
    g_autoptr (json_t) answer = parse (out->str);
    g_autofree char *choices = json_print (json_object_get (answer, "choices"), NULL);
    g_assert_cmpstr (choices, ==,
                     "[{\"index\":0,\"text\":\"\xc3\xa9"
                     "ab\",\"logprobs\":{\"tokens\":[\"<s>\",\"bytes:\\\\xc3\",\"bytes:"
                     "\\\\xa9\",\"a\",\"b\"],\"token_logprobs\":[null,-1.5,-0.5,-2.0,-3.0],\"top_logprobs\":[null,{},{"
                     "\"bytes:\\\\xa9\":-0.5},{},{}],\"text_offset\":[0,0,1,1,2]},\"finish_reason\":\"length\"}]");
}

/* ---- embeddings ------------------------------------------------------------------------------------------------------------------ */

static void
test_vectors_are_checked_and_cut (void)
{
    const guint32 head[] = { 1, 2, 7 };
    const float floats[] = { 3, 4 };
    g_autoptr (GByteArray) bytes = g_byte_array_new ();
    g_byte_array_append (bytes, (const guint8 *) head, sizeof head);
    g_byte_array_append (bytes, (const guint8 *) floats, sizeof floats);
    g_autoptr (GBytes) vector = g_bytes_new (bytes->data, bytes->len), cut = g_bytes_new (bytes->data, bytes->len - 1);
    static const struct {
        guint n, dimensions;
        gboolean base64;
        const char *embedding; /* NULL: refused as @kind */
        ApiErrorKind kind;
    } cases[] = {
        { 1, 0, FALSE, "[3,4]", API_OK },           { 1, 1, FALSE, "[1]", API_OK },
        { 1, 0, TRUE, "\"AABAQAAAgEA=\"", API_OK }, { 1, 3, FALSE, NULL, API_INVALID_VALUE },
        { 2, 0, FALSE, NULL, API_ENGINE },
    };
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autoptr (GString) out = g_string_new (NULL);
        g_auto (ApiError) error = { 0 };
        gboolean fine =
            openai_embedding_print (vector, cases[i].n, cases[i].dimensions, cases[i].base64, "m", out, &error);
        g_assert_cmpint (error.kind, ==, cases[i].kind);
        g_assert_true (fine == (cases[i].embedding != NULL));
        if (!fine)
            continue;
        g_autofree char *expected =
            g_strdup_printf ("{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"embedding\":%s,\"index\":0}],"
                             "\"model\":\"m\",\"usage\":{\"prompt_tokens\":7,\"total_tokens\":7}}",
                             cases[i].embedding);
        g_assert_cmpstr (out->str, ==, expected);
    }
    g_autoptr (GString) out = g_string_new (NULL);
    g_assert_false (openai_embedding_print (cut, 1, 0, FALSE, "m", out, NULL));
}

/* ---- printing ------------------------------------------------------------------------------------------------------------------- */

#define TEXT(kind, s)                                                    \
    {                                                                    \
        .type = kind, .text = s, .length = sizeof (s) - 1, .n_tokens = 1 \
    }

static const ChatResult result = {
    .stop = CHAT_STOP_EOS, .n_prompt = 24, .n_cached = 4, .n_completion = 3, .n_reasoning = 1
};
static const ChatResult at_limit = { .stop = CHAT_STOP_LENGTH, .n_prompt = 24, .n_completion = 1 };

static OpenaiChatPrinter *
printer_for (const char *members, gboolean separate, const char *architecture)
{
    g_autoptr (json_t) body = body_with (members);
    g_auto (OpenaiChat) chat = { 0 };
    read_fine (&chat, body);
    OpenaiChatPrinter *printer = openai_chat_printer_new ("chatcmpl-x", 1, &chat, separate);
    openai_chat_printer_name (printer, "m\"", architecture, "<think>", "</think>");
    return printer;
}

/* Every chunk's part behind "choices":, one a line; what all chunks have in common is checked and left out. */
static char *
stream (OpenaiChatPrinter *printer, const ChatEvent *events, guint n)
{
    static const char head[] = "data: {\"id\":\"chatcmpl-x\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                               "\"model\":\"m\\\"\",\"system_fingerprint\":\"m\\\"\",\"choices\":";
    g_autoptr (GString) out = g_string_new (NULL), lines = g_string_new (NULL);
    for (guint i = 0; i < n; i++)
        openai_chat_printer_type.event (printer, 0, &events[i], out);
    openai_chat_printer_type.end (printer, out);
    openai_chat_printer_type.free (printer);
    g_auto (GStrv) chunks = g_strsplit (out->str, "\n\n", -1);
    for (guint i = 0; *chunks[i]; i++) {
        if (g_str_has_prefix (chunks[i], head))
            g_string_append_printf (lines, "%s\n", chunks[i] + sizeof head - 1);
        else
            g_string_append_printf (lines, "WHOLE %s\n", chunks[i]);
    }
    return g_string_free (g_steal_pointer (&lines), FALSE);
}

#define STREAM(members, separate, architecture, ...)                                           \
    ({                                                                                         \
        const ChatEvent events[] = { __VA_ARGS__ };                                            \
        stream (printer_for (members, separate, architecture), events, G_N_ELEMENTS (events)); \
    })

/* Of one chunk: what is in its delta, and why it ended. */
#define CHUNK(delta, finish) "[{\"index\":0,\"delta\":{" delta "},\"logprobs\":null,\"finish_reason\":" finish "}]"
#define ROLE                 CHUNK ("\"role\":\"assistant\",\"content\":\"\"", "null")
#define DONE                 "WHOLE data: [DONE]\n"
#define USAGE                                                                                                \
    "\"usage\":{\"prompt_tokens\":24,\"completion_tokens\":3,\"total_tokens\":27,\"prompt_tokens_details\":" \
    "{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":1}}"

/* http-098 and http-101 */
static void
test_stream (void)
{
    g_autofree char *lines = STREAM ("", TRUE, NULL, { .type = CHAT_STARTED, .n_prompt = 24 },
                                     { .type = CHAT_PROMPT_PROGRESS, .n_done = 24 }, TEXT (CHAT_CONTENT, "H\"i\n"),
                                     TEXT (CHAT_CONTENT, "\xF0\x9F\x98\x80"), { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (lines, ==,
                     ROLE "}\n" CHUNK ("\"content\":\"H\\\"i\\n\"", "null") "}\n" CHUNK (
                         "\"content\":\"\xF0\x9F\x98\x80\"", "null") "}\n" CHUNK ("", "\"stop\"") "}\n" DONE);
}

/* http-099 */
static void
test_stream_with_usage (void)
{
    g_autofree char *lines = STREAM ("\"stream_options\":{\"include_usage\":true}", TRUE, NULL,
                                     TEXT (CHAT_CONTENT, "a"), { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (lines, ==,
                     ROLE ",\"usage\":null}\n" CHUNK ("\"content\":\"a\"", "null") ",\"usage\":null}\n" CHUNK (
                         "", "\"stop\"") ",\"usage\":null}\n[]," USAGE "}\n" DONE);
}

static void
test_an_empty_reply_has_a_role_and_an_end (void)
{
    g_autofree char *lines = STREAM ("", TRUE, NULL, { .type = CHAT_DONE, .result = &at_limit });
    g_assert_cmpstr (lines, ==, ROLE "}\n" CHUNK ("", "\"length\"") "}\n" DONE);
}

static void
test_reasoning_has_its_field (void)
{
    g_autofree char *separate = STREAM ("", TRUE, "llama", TEXT (CHAT_REASONING, "r"), TEXT (CHAT_CONTENT, "c"),
                                        { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (separate, ==,
                     ROLE "}\n" CHUNK ("\"reasoning_content\":\"r\"", "null") "}\n" CHUNK (
                         "\"content\":\"c\"", "null") "}\n" CHUNK ("", "\"stop\"") "}\n" DONE);
    g_autofree char *gpt_oss = STREAM ("", FALSE, "gpt-oss", TEXT (CHAT_REASONING, "r"), TEXT (CHAT_CONTENT, "c"),
                                       { .type = CHAT_DONE, .result = &result });
    g_assert_nonnull (strstr (gpt_oss, "{\"reasoning\":\"r\"}"));
    g_autofree char *inside = STREAM ("", FALSE, "llama", TEXT (CHAT_REASONING, "r"), TEXT (CHAT_REASONING, "s"),
                                      TEXT (CHAT_CONTENT, "c"), { .type = CHAT_DONE, .result = &result });
    /* clang-format off */
    g_assert_cmpstr (inside, ==,
                     ROLE "}\n"
                     CHUNK ("\"content\":\"<think>\"", "null") "}\n"
                     CHUNK ("\"content\":\"r\"", "null") "}\n"
                     CHUNK ("\"content\":\"s\"", "null") "}\n"
                     CHUNK ("\"content\":\"</think>\"", "null") "}\n"
                     CHUNK ("\"content\":\"c\"", "null") "}\n"
                     CHUNK ("", "\"stop\"") "}\n" DONE);
    /* clang-format on */
}

#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get it\"}}]"
#define CALL_EVENTS                                                                                  \
    TEXT (CHAT_CONTENT, "t"),                                                                        \
        { .type = CHAT_CALL_BEGIN, .call_index = 0, .call_id = "814890118", .call_name = "get_it" }, \
        { .type = CHAT_CALL_ARGUMENTS, .call_index = 0, .text = "{\"a\":", .length = 5 },            \
        { .type = CHAT_CALL_ARGUMENTS, .call_index = 0, .text = "1}", .length = 2 },                 \
        { .type = CHAT_CALL_END, .call_index = 0 },                                                  \
    {                                                                                                \
        .type = CHAT_DONE, .result = &result                                                         \
    }

static void
test_calls (void)
{
    g_autofree char *lines = STREAM (TOOLS, TRUE, NULL, CALL_EVENTS);
    g_assert_cmpstr (
        lines, ==,
        ROLE "}\n" CHUNK ("\"content\":\"t\"", "null") "}\n" CHUNK (
            "\"tool_calls\":[{\"index\":0,\"id\":\"814890118\",\"type\":\"function\",\"function\":{\"name\":\"get it\","
            "\"arguments\":\"\"}}]",
            "null") "}\n" CHUNK ("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":\"}}]",
                                 "null") "}\n" CHUNK ("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}\"}"
                                                      "}]",
                                                      "null") "}\n" CHUNK ("", "\"tool_calls\"") "}\n" DONE);
}

static void
test_old_functions (void)
{
    g_autofree char *lines = STREAM ("\"functions\":[{\"name\":\"get it\"}]", TRUE, NULL, CALL_EVENTS);
    g_assert_cmpstr (
        lines, ==,
        ROLE "}\n" CHUNK ("\"content\":\"t\"", "null") "}\n" CHUNK (
            "\"function_call\":{\"name\":\"get it\",\"arguments\":\"\"}",
            "null") "}\n" CHUNK ("\"function_call\":{\"arguments\":\"{\\\"a\\\":\"}",
                                 "null") "}\n" CHUNK ("\"function_call\":{\"arguments\":\"1}\"}",
                                                      "null") "}\n" CHUNK ("", "\"function_call\"") "}\n" DONE);
}

/* The entries ride with the delta that carries their text. */
static void
test_logprobs (void)
{
    g_autoptr (json_t) entries = parse (
        "[{\"id\":5,\"bytes\":[72,255],\"logprob\":-0.01,\"top\":[{\"id\":5,\"bytes\":[72,255],\"logprob\":-0.01},"
        "{\"id\":6,\"bytes\":[97],\"logprob\":-5.5}]}]");
    g_autofree char *lines = STREAM ("\"logprobs\":true,\"top_logprobs\":2", TRUE, NULL, TEXT (CHAT_CONTENT, "H"),
                                     { .type = CHAT_LOGPROBS, .logprobs = entries }, TEXT (CHAT_CONTENT, "x"),
                                     TEXT (CHAT_CONTENT, "y"), { .type = CHAT_DONE, .result = &result });
#define FIRST "{\"token\":\"H\xEF\xBF\xBD\",\"logprob\":-0.01,\"bytes\":[72,255]"
    g_assert_cmpstr (lines, ==,
                     ROLE "}\n[{\"index\":0,\"delta\":{\"content\":\"H\"},\"logprobs\":{\"content\":[" FIRST
                          ",\"top_logprobs\":[" FIRST
                          "},{\"token\":\"a\",\"logprob\":-5.5,\"bytes\":[97]}]}],\"refusal\":null},"
                          "\"finish_reason\":null}]}\n" CHUNK ("\"content\":\"x\"", "null") "}\n" CHUNK (
                              "\"content\":\"y\"", "null") "}\n" CHUNK ("", "\"stop\"") "}\n" DONE);
}

/* http-055: chunks of two choices interleave, usage sums them. */
static void
test_choices (void)
{
    OpenaiChatPrinter *printer = printer_for ("\"n\":11,\"stream_options\":{\"include_usage\":true}", TRUE, NULL);
    g_autoptr (GString) out = g_string_new (NULL);
    for (guint i = 0; i < 11; i++)
        openai_chat_printer_type.event (printer, i, &(ChatEvent) TEXT (CHAT_CONTENT, "a"), out);
    for (guint i = 0; i < 11; i++)
        openai_chat_printer_type.event (printer, i, &(ChatEvent){ .type = CHAT_DONE, .result = &result }, out);
    openai_chat_printer_type.end (printer, out);
    openai_chat_printer_type.free (printer);
    g_assert_nonnull (strstr (out->str, "[{\"index\":10,\"delta\":{\"content\":\"a\"}"));
    g_assert_nonnull (
        strstr (out->str, "\"usage\":{\"prompt_tokens\":24,\"completion_tokens\":33,\"total_tokens\":57,"));
    g_assert_nonnull (strstr (out->str, "{\"reasoning_tokens\":11}"));
}

static char *
whole (const char *members, gboolean separate, const ChatEvent *events, guint n)
{
    OpenaiChatPrinter *printer = printer_for (members, separate, NULL);
    g_autoptr (ChatFold) fold = chat_fold_new ();
    for (guint i = 0; i < n; i++)
        chat_fold_add (fold, &events[i]);
    g_autoptr (GString) out = g_string_new (NULL);
    openai_chat_printer_type.whole (printer, (const ChatFold *const[]){ fold }, out);
    openai_chat_printer_type.free (printer);
    return g_string_free (g_steal_pointer (&out), FALSE);
}

#define WHOLE(members, separate, ...)                             \
    ({                                                            \
        const ChatEvent events[] = { __VA_ARGS__ };               \
        whole (members, separate, events, G_N_ELEMENTS (events)); \
    })
#define BODY(message, finish)                                                                                          \
    "{\"id\":\"chatcmpl-x\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\\\"\",\"choices\":[{\"index\":" \
    "0,"                                                                                                               \
    "\"message\":{\"role\":\"assistant\"," message "},\"logprobs\":null,\"finish_reason\":\"" finish "\"}]," USAGE     \
    ",\"stats\":{},\"system_fingerprint\":\"m\\\"\"}"

/* http-047 */
static void
test_whole (void)
{
    g_autofree char *plain =
        WHOLE ("", TRUE, TEXT (CHAT_CONTENT, "Hi"), TEXT (CHAT_CONTENT, "."), { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (plain, ==, BODY ("\"content\":\"Hi.\",\"refusal\":null", "stop"));
    g_autofree char *empty = WHOLE ("", TRUE, { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (empty, ==, BODY ("\"content\":\"\",\"refusal\":null", "stop"));
    g_autofree char *thought = WHOLE ("", TRUE, TEXT (CHAT_REASONING, "r"), { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (thought, ==, BODY ("\"content\":\"\",\"reasoning_content\":\"r\",\"refusal\":null", "stop"));
    g_autofree char *inside = WHOLE ("", FALSE, TEXT (CHAT_REASONING, "r"), TEXT (CHAT_CONTENT, "c"),
                                     { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (inside, ==, BODY ("\"content\":\"<think>r</think>c\",\"refusal\":null", "stop"));
}

static void
test_whole_calls (void)
{
    g_autofree char *call =
        WHOLE (TOOLS, TRUE, { .type = CHAT_CALL_BEGIN, .call_id = "1", .call_name = "get_it" },
               { .type = CHAT_CALL_ARGUMENTS, .text = "{}", .length = 2 }, { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (
        call, ==,
        BODY ("\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":"
              "{\"name\":\"get it\",\"arguments\":\"{}\"}}]",
              "tool_calls"));
    g_autofree char *old =
        WHOLE ("\"functions\":[{\"name\":\"f\"}]", TRUE, { .type = CHAT_CALL_BEGIN, .call_id = "1", .call_name = "f" },
               { .type = CHAT_CALL_ARGUMENTS, .text = "{}", .length = 2 }, { .type = CHAT_DONE, .result = &result });
    g_assert_cmpstr (old, ==,
                     BODY ("\"content\":null,\"refusal\":null,\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}",
                           "function_call"));
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS (wrong); i++) {
        g_autofree char *name = g_strdup_printf ("/openai/wrong/%02zu", i);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_wrong);
    }
    for (gsize i = 0; i < G_N_ELEMENTS (conversations); i++) {
        g_autofree char *name = g_strdup_printf ("/openai/messages/%s", conversations[i].name);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_conversation);
    }
    g_test_add_func ("/http-116/prompts-become-jobs", test_prompts_become_jobs);
    g_test_add_func ("/http-118/logprobs-of-a-completion", test_logprobs_of_a_completion);
    g_test_add_func ("/http-123/vectors-are-checked-and-cut", test_vectors_are_checked_and_cut);
    g_test_add_func ("/openai/fields-reach-the-job", test_fields_reach_the_job);
    g_test_add_func ("/openai/seeds-of-choices", test_choices_count_the_seed_up);
    g_test_add_func ("/http-058/role-error", test_the_role_error_is_the_known_sentence);
    g_test_add_func ("/openai/too-many-pieces", test_too_many_pieces);
    g_test_add_func ("/http-098/stream", test_stream);
    g_test_add_func ("/http-099/stream-usage", test_stream_with_usage);
    g_test_add_func ("/openai/empty-reply", test_an_empty_reply_has_a_role_and_an_end);
    g_test_add_func ("/openai/reasoning", test_reasoning_has_its_field);
    g_test_add_func ("/openai/calls", test_calls);
    g_test_add_func ("/openai/old-functions", test_old_functions);
    g_test_add_func ("/openai/logprobs", test_logprobs);
    g_test_add_func ("/http-055/choices", test_choices);
    g_test_add_func ("/http-047/whole", test_whole);
    g_test_add_func ("/openai/whole-calls", test_whole_calls);
    return g_test_run ();
}
