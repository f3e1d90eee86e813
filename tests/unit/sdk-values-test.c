/* api/sdk: shapes complain by name, configuration keys find their place, conversations change form. */
#include "api/sdk/history.h"
#include "api/sdk/kvconfig.h"
#include "api/sdk/types.h"

#include <string.h>

static json_t *
parse (const char *text)
{
    g_autoptr (GError) error = NULL;
    json_t *value = json_parse (text, strlen (text), &error);
    g_assert_no_error (error);
    return value;
}

static void
assert_prints (const json_t *value, const char *expected)
{
    g_autofree char *text = json_print (value, NULL);
    g_assert_cmpstr (text, ==, expected);
}

/* ---- shapes ----------------------------------------------------------------------------------------------------------------- */

static void
test_shape_names_what_is_wrong (void)
{
    static const struct {
        const Shape *shape;
        const char *value, *complaint; /* NULL: fits */
    } cases[] = {
        { &sdk_shape_specifier, "{\"type\":\"instanceReference\",\"instanceReference\":\"r\"}", NULL },
        { &sdk_shape_specifier, "{\"type\":\"query\",\"query\":{}}", NULL },
        { &sdk_shape_specifier, "{\"type\":\"query\",\"query\":{\"deviceIdentifier\":null,\"extra\":1}}", NULL },
        { &sdk_shape_specifier, "{}", "type is missing" },
        { &sdk_shape_specifier, "{\"type\":1}", "type must be a string" },
        { &sdk_shape_specifier, "{\"type\":\"x\"}", "type is not known: \"x\"" },
        { &sdk_shape_specifier, "{\"type\":\"query\",\"query\":{\"path\":null}}",
          "query.path must be a string of 1 to 1024 characters" },
        { &sdk_shape_specifier, "{\"type\":\"query\",\"query\":{\"identifier\":\"__proto__\"}}",
          "query.identifier must be a string of 1 to 1024 characters" },
        { &sdk_shape_specifier, "[]", "it must be an object" },
        { &sdk_shape_history, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}",
          "messages[0].content[0].text is missing" },
        { &sdk_shape_history, "{\"messages\":[{\"role\":\"user\",\"content\":[]},{\"role\":\"boss\",\"content\":[]}]}",
          "messages[1].role is not known: \"boss\"" },
        { &sdk_shape_config_stack, "{\"layers\":[{\"layerName\":\"a\",\"config\":{\"fields\":[{\"key\":\"k\"}]}}]}",
          NULL },
        { &sdk_shape_config_stack, "{\"layers\":[{\"layerName\":\"a\",\"config\":{\"fields\":[{\"value\":1}]}}]}",
          "layers[0].config.fields[0].key is missing" },
        { &sdk_shape_stats, "{\"stopReason\":\"eosFound\",\"promptTokensCount\":1.5}",
          "promptTokensCount must be a whole number" },
        { &sdk_shape_stats, "{\"stopReason\":\"stop\"}", "stopReason is not one of the words it may be" },
        { &sdk_shape_stats, "{\"stopReason\":\"eosFound\",\"stopString\":null}", "stopString must be a string" },
        { &sdk_shape_error, "{\"title\":\"T\"}", "rootTitle is missing" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autoptr (json_t) value = parse (cases[i].value);
        g_autofree char *complaint = shape_complain (cases[i].shape, value, "it");
        g_assert_cmpstr (complaint, ==, cases[i].complaint);
    }
}

static void
test_shape_absent_value (void)
{
    g_autofree char *complaint = shape_complain (&sdk_shape_history, NULL, "parameter");
    g_assert_cmpstr (complaint, ==, "parameter is missing");
}

/* ---- configuration ------------------------------------------------------------------------------------------------------------ */

/* A stack of one layer for each of @layers, which are lists of fields. */
static json_t *
merged (const char *first, const char *second)
{
    g_autofree char *text = g_strdup_printf ("{\"layers\":[{\"layerName\":\"a\",\"config\":{\"fields\":%s}},"
                                             "{\"layerName\":\"b\",\"config\":{\"fields\":%s}}]}",
                                             first, second ? second : "[]");
    g_autoptr (json_t) stack = parse (text);
    return kv_merge (stack);
}

#define P(key, value) "{\"key\":\"llm.prediction." key "\",\"value\":" value "}"
#define L(key, value) "{\"key\":\"llm.load." key "\",\"value\":" value "}"

static ChatRequest *
request_of (const char *fields)
{
    g_autoptr (json_t) values = merged (fields, NULL);
    g_autofree char *complaint = kv_complain (KV_PREDICTION, values);
    g_assert_cmpstr (complaint, ==, NULL);
    ChatRequest *request = chat_request_new ();
    kv_to_request (values, request);
    return request;
}

static void
test_kv_last_layer_wins (void)
{
    g_autoptr (json_t) values = merged ("[" P ("temperature", "0.1") "," P ("topKSampling", "5") "]",
                                        "[" P ("temperature", "0.9") ",{\"key\":\"llm.prediction.topKSampling\"}]");
    g_assert_cmpfloat (json_number_value (kv_prediction (values, "temperature")), ==, 0.9);
    g_assert_cmpint (json_integer_value (kv_prediction (values, "topKSampling")), ==, 5); /* no value: says nothing */
}

static void
test_kv_sampling_goes_where_it_belongs (void)
{
    /* clang-format off */
    g_autoptr (ChatRequest) request = request_of (
        "[" P ("temperature", "0")
        "," P ("topKSampling", "-1")
        "," P ("topPSampling", "{\"checked\":true,\"value\":0.5}")
        "," P ("minPSampling", "{\"checked\":true,\"value\":0.25}")
        "," P ("repeatPenalty", "{\"checked\":true,\"value\":1.5}")
        "," P ("seed", "{\"checked\":true,\"value\":42}")
        "," P ("maxPredictedTokens", "{\"checked\":true,\"value\":20}")
        "," P ("stopStrings", "[\"END\",\"\"]")
        "," P ("contextOverflowPolicy", "\"rollingWindow\"")
        "," P ("llama.presencePenalty", "{\"checked\":true,\"value\":0.5}")
        "," P ("logProbs", "{\"checked\":true,\"value\":3}")
        "," P ("reasoning.enableThinking", "false")
        "," P ("reasoning.budgetTokens", "{\"checked\":true,\"value\":7}")
        "," P ("llama.logitBias", "[[5,-1.5],[6,\"-inf\"],[7,\"x\"]]")
        "," P ("llama.mirostatSampling", "{\"version\":2,\"learningRate\":0.2,\"targetEntropy\":4}")
        ",{\"key\":\"ext.virtualModel.customField.x\",\"value\":1}]");
    /* clang-format on */
    const ChatSampling *s = &request->sampling;
    g_assert_cmpfloat (s->temperature, ==, 0);
    g_assert_cmpint (s->top_k, ==, 0);
    g_assert_cmpfloat (s->top_p, ==, 0.5);
    g_assert_cmpfloat (s->min_p, ==, 0.25);
    g_assert_cmpfloat (s->repeat_penalty, ==, 1.5);
    g_assert_true (s->has_seed);
    g_assert_cmpuint (s->seed, ==, 42);
    g_assert_cmpfloat (s->presence_penalty, ==, 0.5);
    g_assert_cmpint (s->mirostat, ==, 2);
    g_assert_cmpfloat (s->mirostat_tau, ==, 4);
    assert_prints (s->logit_bias, "[[5,-1.5],[6,-100.0]]");
    g_assert_cmpint (request->max_tokens, ==, 20);
    assert_prints (request->stop, "[\"END\"]");
    g_assert_cmpint (request->overflow, ==, CHAT_OVERFLOW_ROLLING);
    g_assert_cmpint (request->n_logprobs, ==, 3);
    g_assert_cmpint (request->enable_thinking, ==, 0);
    g_assert_cmpint (request->reasoning_budget, ==, 7);
}

/* sdk-064: an unchecked box switches its sampler off; what is not mentioned keeps its default. */
static void
test_kv_unchecked_box_is_off (void)
{
    /* clang-format off */
    g_autoptr (ChatRequest) request = request_of (
        "[" P ("repeatPenalty", "{\"checked\":false,\"value\":1.1}")
        "," P ("minPSampling", "{\"checked\":false,\"value\":0.05}")
        "," P ("topPSampling", "{\"checked\":false,\"value\":0.95}")
        "," P ("maxPredictedTokens", "{\"checked\":false,\"value\":9}")
        "," P ("seed", "{\"checked\":true,\"value\":-1}")
        "," P ("logProbs", "{\"checked\":false,\"value\":0}") "]");
    /* clang-format on */
    g_assert_cmpfloat (request->sampling.repeat_penalty, ==, 1);
    g_assert_cmpfloat (request->sampling.min_p, ==, 0);
    g_assert_cmpfloat (request->sampling.top_p, ==, 1);
    g_assert_cmpint (request->max_tokens, ==, -1);
    g_assert_false (request->sampling.has_seed);
    g_assert_cmpint (request->n_logprobs, ==, -1);
    g_autoptr (ChatRequest) untouched = request_of ("[]");
    g_assert_cmpfloat (untouched->sampling.repeat_penalty, ==, 1.1);
    g_assert_cmpfloat (untouched->sampling.min_p, ==, 0.05);
    g_assert_cmpfloat (untouched->sampling.top_p, ==, 0.95);
}

static void
test_kv_bad_values_are_named (void)
{
    static const struct {
        const char *fields, *complaint;
    } cases[] = {
        { "[" P ("temperature", "\"hot\"") "]", "llm.prediction.temperature must be a number" },
        { "[" P ("temperature", "-1") "]", "llm.prediction.temperature must be a number from 0 to 1000000" },
        { "[" P ("topPSampling", "0.5") "]",
          "llm.prediction.topPSampling must be an object with \"checked\" and \"value\"" },
        { "[" P ("topPSampling", "{\"checked\":true,\"value\":2}") "]",
          "llm.prediction.topPSampling must be a number from 0 to 1" },
        { "[" P ("topPSampling", "{\"checked\":false}") "]", NULL },
        { "[" P ("maxPredictedTokens", "{\"checked\":true,\"value\":1.5}") "]",
          "llm.prediction.maxPredictedTokens must be a whole number" },
        { "[" P ("stopStrings", "[1]") "]", "llm.prediction.stopStrings must be an array of strings" },
        { "[" P ("contextOverflowPolicy", "\"x\"") "]",
          "llm.prediction.contextOverflowPolicy must be one of stopAtLimit, truncateMiddle, rollingWindow" },
        { "[" P ("unheardOf", "{}") "]", NULL },
    };
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autoptr (json_t) values = merged (cases[i].fields, NULL);
        g_autofree char *complaint = kv_complain (KV_PREDICTION, values);
        g_assert_cmpstr (complaint, ==, cases[i].complaint);
    }
}

static void
test_kv_load (void)
{
    /* clang-format off */
    g_autoptr (json_t) values = merged (
        "[" L ("contextLength", "512")
        "," L ("numParallelSessions", "2")
        "," L ("llama.flashAttention", "true")
        "," L ("llama.tryMmap", "false")
        "," L ("llama.kCacheQuantizationType", "{\"checked\":true,\"value\":\"q8_0\"}")
        "," L ("llama.vCacheQuantizationType", "{\"checked\":false,\"value\":\"f16\"}")
        "," L ("llama.ropeFrequencyBase", "{\"checked\":true,\"value\":1e6}")
        "," L ("mlx.autoFit", "false")
        "," L ("yuzu.autoFit", "false") "]", NULL);
    /* clang-format on */
    g_autofree char *complaint = kv_complain (KV_LLM_LOAD, values);
    g_assert_cmpstr (complaint, ==, NULL);
    InstanceConfig config = { 0 };
    kv_to_instance (KV_LLM_LOAD, values, &config);
    g_assert_cmpuint (config.n_ctx, ==, 512);
    g_assert_cmpuint (config.parallel, ==, 2);
    g_assert_cmpint (config.flash_attention, ==, 1);
    g_assert_true (config.no_mmap);
    g_assert_cmpstr (config.type_k, ==, "q8_0");
    g_assert_cmpstr (config.type_v, ==, NULL);
    g_assert_cmpfloat (config.rope_freq_base, ==, 1e6);
    g_autoptr (json_t) fields = kv_fields (KV_LLM_LOAD, values);
    g_assert_cmpuint (json_array_size (fields), ==, 7); /* without the keys of other engines (sdk-048) */
}

static const json_t *
value_in (const json_t *config, const char *key)
{
    size_t i;
    const json_t *field;
    json_array_foreach (json_object_get (config, "fields"), i, field)
        if (g_strcmp0 (json_peek_string (field, "key"), key) == 0)
            return json_object_get (field, "value");
    return NULL;
}

static void
test_kv_effective_values (void)
{
    g_autoptr (json_t) values = merged ("[" P ("temperature", "0.25") "," P ("unheardOf", "1") "]", NULL);
    g_autoptr (json_t) config = kv_effective (KV_PREDICTION, values);
    g_autofree char *complaint = shape_complain (&sdk_shape_config, config, "it");
    g_assert_cmpstr (complaint, ==, NULL);
    assert_prints (value_in (config, "llm.prediction.temperature"), "0.25");
    assert_prints (value_in (config, "llm.prediction.repeatPenalty"), "{\"checked\":true,\"value\":1.1}");
    assert_prints (value_in (config, "llm.prediction.seed"), "{\"checked\":false,\"value\":-1}");
    g_assert_null (value_in (config, "llm.prediction.unheardOf"));
    g_assert_null (value_in (config, "llm.prediction.promptTemplate")); /* the model's own */
}

static void
test_kv_of_instance_tells_what_the_engine_took (void)
{
    g_autoptr (json_t) fields = parse ("[{\"key\":\"llm.load.contextLength\",\"value\":999999},"
                                       "{\"key\":\"llm.load.llama.tryMmap\",\"value\":false}]");
    const Model model = { .type = MODEL_LLM };
    const Instance instance = { .model = &model, .n_ctx = 4096, .parallel = 3, .load_fields = fields };
    g_autoptr (json_t) config = kv_of_instance (&instance);
    assert_prints (value_in (config, "llm.load.contextLength"), "4096");
    assert_prints (value_in (config, "llm.load.numParallelSessions"), "3");
    assert_prints (value_in (config, "llm.load.llama.tryMmap"), "false");
    g_assert_null (value_in (config, "embedding.load.contextLength"));
}

static void
test_kv_templates (void)
{
    g_autoptr (ChatRequest) jinja = request_of (
        "[" P ("promptTemplate",
               "{\"type\":\"jinja\",\"jinjaPromptTemplate\":{\"template\":\"{{x}}\"},\"stopStrings\":[\"S\"]}") "]");
    g_assert_cmpstr (jinja->chat_template, ==, "{{x}}");
    assert_prints (jinja->stop, "[\"S\"]");
    g_autoptr (ChatRequest) manual = request_of (
        "[" P ("promptTemplate",
               "{\"type\":\"manual\",\"manualPromptTemplate\":{\"beforeSystem\":\"\",\"afterSystem\":\"\\n\","
               "\"beforeUser\":\"it's\",\"afterUser\":\"\",\"beforeAssistant\":\"A:\",\"afterAssistant\":\"\"},"
               "\"stopStrings\":[]}") "]");
    g_assert_nonnull (strstr (manual->chat_template, "{{ 'it\\'s' + message['content'] + '' }}"));
    g_assert_true (g_str_has_suffix (manual->chat_template, "{% if add_generation_prompt %}{{ 'A:' }}{% endif %}"));
}

static void
test_kv_structured (void)
{
    g_autoptr (ChatRequest) any = request_of ("[" P ("structured", "{\"type\":\"json\"}") "]");
    assert_prints (any->json_schema, "{}");
    g_assert_cmpint (any->enable_thinking, ==, 0);
    g_autoptr (ChatRequest) grammar =
        request_of ("[" P ("structured", "{\"type\":\"gbnf\",\"gbnfGrammar\":\"root ::= \\\"a\\\"\"}") "]");
    g_assert_cmpstr (grammar->grammar, ==, "root ::= \"a\"");
    g_autoptr (ChatRequest) none = request_of ("[" P ("structured", "{\"type\":\"none\"}") "]");
    g_assert_null (none->json_schema);
    g_assert_cmpint (none->enable_thinking, ==, -1);
}

/* ---- conversations ------------------------------------------------------------------------------------------------------------ */

static json_t *
messages_of (const char *history, const char *system, const char *tools)
{
    g_autoptr (json_t) value = parse (history), list = tools ? parse (tools) : NULL;
    g_autoptr (ToolNames) names = tool_names_new (list, NULL);
    g_autofree char *complaint = NULL;
    json_t *messages = history_to_messages (value, system, names, &complaint);
    g_assert_cmpstr (complaint, ==, NULL);
    return messages;
}

static void
test_history_tool_round (void)
{
    g_autoptr (json_t) messages = messages_of (
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what is "
        "\"},{\"type\":\"text\",\"text\":\"1+2\"}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"\"},"
        "{\"type\":\"toolCallRequest\",\"toolCallRequest\":{\"id\":\"a\",\"type\":\"function\",\"name\":\"my "
        "add\",\"arguments\":{\"a\":1}}},"
        "{\"type\":\"toolCallRequest\",\"toolCallRequest\":{\"id\":\"b\",\"type\":\"function\",\"name\":\"sub\"}}]},"
        "{\"role\":\"tool\",\"content\":[{\"type\":\"toolCallResult\",\"content\":\"3\",\"toolCallId\":\"b\"},"
        "{\"type\":\"toolCallResult\",\"content\":\"4\"}]}]}",
        "be nice", "[{\"type\":\"function\",\"function\":{\"name\":\"my add\"}}]");
    assert_prints (
        messages,
        "[{\"role\":\"system\",\"content\":\"be nice\"},{\"role\":\"user\",\"content\":\"what is 1+2\"},"
        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
        "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"myadd\",\"arguments\":\"{\\\"a\\\":1}\"}},"
        "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"sub\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"3\",\"tool_call_id\":\"b\",\"name\":\"sub\"},"
        "{\"role\":\"tool\",\"content\":\"4\",\"tool_call_id\":\"b\",\"name\":\"sub\"}]");
}

static void
test_history_own_system_message_stays (void)
{
    g_autoptr (json_t) messages = messages_of (
        "{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"mine\"}]}]}", "other", NULL);
    assert_prints (messages, "[{\"role\":\"system\",\"content\":\"mine\"}]");
}

static void
test_history_files_are_refused (void)
{
    g_autoptr (json_t) history =
        parse ("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"name\":\"a.png\","
               "\"identifier\":\"x\",\"fileType\":\"image\"}]}]}");
    g_autoptr (ToolNames) names = tool_names_new (NULL, NULL);
    g_autofree char *complaint = NULL;
    g_assert_null (history_to_messages (history, NULL, names, &complaint));
    g_assert_nonnull (strstr (complaint, "a.png"));
}

static void
test_tool_names (void)
{
    static const struct {
        const char *naming, *name, *shown;
    } cases[] = {
        { NULL, "get weather!", "getweather" },
        { "removeSpecial", "a-b_c.d", "a-b_cd" },
        { "passThrough", "get weather!", "get weather!" },
        { "snakeCase", "getHTTPWeather now", "get_httpweather_now" },
        { "camelCase", "get_weather now", "getWeatherNow" },
        { "removeSpecial", "!!", "tool" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autoptr (json_t) tools =
            json_pack ("[{s:s, s:{s:s}}]", "type", "function", "function", "name", cases[i].name);
        g_autoptr (ToolNames) names = tool_names_new (tools, cases[i].naming);
        g_assert_cmpstr (tool_names_shown (names, cases[i].name), ==, cases[i].shown);
        g_assert_cmpstr (tool_names_original (names, cases[i].shown), ==, cases[i].name);
    }
}

static void
test_tool_names_stay_apart (void)
{
    g_autoptr (json_t) tools = parse ("[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}},"
                                      "{\"type\":\"function\",\"function\":{\"name\":\"ab\",\"description\":\"D\"}}]");
    g_autoptr (ToolNames) names = tool_names_new (tools, "removeSpecial");
    g_assert_cmpstr (tool_names_shown (names, "a b"), ==, "ab");
    g_assert_cmpstr (tool_names_shown (names, "ab"), ==, "ab_2");
    g_assert_cmpstr (tool_names_original (names, "ab_2"), ==, "ab");
    g_autoptr (json_t) shown = tool_names_tools (names);
    assert_prints (
        shown,
        "[{\"type\":\"function\",\"function\":{\"name\":\"ab\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}"
        ","
        "{\"type\":\"function\",\"function\":{\"name\":\"ab_2\",\"parameters\":{\"type\":\"object\",\"properties\":{}},"
        "\"description\":\"D\"}}]");
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/shape/names-what-is-wrong", test_shape_names_what_is_wrong);
    g_test_add_func ("/shape/absent-value", test_shape_absent_value);
    g_test_add_func ("/kv/last-layer-wins", test_kv_last_layer_wins);
    g_test_add_func ("/kv/sampling-goes-where-it-belongs", test_kv_sampling_goes_where_it_belongs);
    g_test_add_func ("/sdk-064/unchecked-box-is-off", test_kv_unchecked_box_is_off);
    g_test_add_func ("/kv/bad-values-are-named", test_kv_bad_values_are_named);
    g_test_add_func ("/sdk-048/load-keys", test_kv_load);
    g_test_add_func ("/kv/effective-values", test_kv_effective_values);
    g_test_add_func ("/kv/of-instance", test_kv_of_instance_tells_what_the_engine_took);
    g_test_add_func ("/kv/templates", test_kv_templates);
    g_test_add_func ("/kv/structured", test_kv_structured);
    g_test_add_func ("/history/tool-round", test_history_tool_round);
    g_test_add_func ("/history/own-system-message-stays", test_history_own_system_message_stays);
    g_test_add_func ("/history/files-are-refused", test_history_files_are_refused);
    g_test_add_func ("/tools/names", test_tool_names);
    g_test_add_func ("/tools/names-stay-apart", test_tool_names_stay_apart);
    return g_test_run ();
}
