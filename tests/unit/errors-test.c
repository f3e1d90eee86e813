/* errors-test.c: every error in the four forms, byte for byte. */
#include "api/errors.h"

#include <string.h>

static char *
printed (const ApiError *error, ApiFamily family)
{
    g_autoptr (GString) out = g_string_new (NULL);
    api_error_print (error, family, "req_1", out);
    return g_string_free (g_steal_pointer (&out), FALSE);
}

static void
test_forms (void)
{
    static const struct {
        ApiFamily family;
        const char *body;
    } forms[] = {
        { FAMILY_OPENAI,
          "{\"error\":{\"message\":\"no \\\"x\\\"\",\"type\":\"invalid_request_error\",\"param\":\"model\","
          "\"code\":\"model_not_found\"}}" },
        { FAMILY_V0, "{\"error\":{\"message\":\"no \\\"x\\\"\",\"type\":\"invalid_request_error\",\"param\":\"model\","
                     "\"code\":\"model_not_found\"}}" },
        { FAMILY_ANTHROPIC, "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"no \\\"x\\\"\"},"
                            "\"request_id\":\"req_1\"}" },
        { FAMILY_V1,
          "{\"error\":{\"type\":\"model_not_found\",\"message\":\"no \\\"x\\\"\",\"code\":\"model_not_found\","
          "\"param\":\"model\"}}" },
    };
    g_auto (ApiError) error = { 0 };
    api_error_set (&error, API_MODEL_NOT_FOUND, "model", "no \"%s\"", "x");
    for (guint i = 0; i < G_N_ELEMENTS (forms); i++) {
        g_autofree char *body = printed (&error, forms[i].family);
        g_assert_cmpstr (body, ==, forms[i].body);
    }
}

/* http-008: four keys, with null where there is nothing to say; v1 leaves them out. */
static void
test_absent_members (void)
{
    g_auto (ApiError) error = { 0 };
    api_error_set (&error, API_INVALID, NULL, "m");
    g_autofree char *openai = printed (&error, FAMILY_OPENAI), *v1 = printed (&error, FAMILY_V1);
    g_assert_cmpstr (openai, ==,
                     "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}");
    g_assert_cmpstr (v1, ==, "{\"error\":{\"type\":\"invalid_request\",\"message\":\"m\"}}");
}

/* Every kind has a row: a status, a type in each family, and a 5xx says whether to try again. */
static void
test_every_kind_has_a_row (void)
{
    for (guint kind = API_OK + 1; kind < N_API_ERRORS; kind++) {
        g_auto (ApiError) error = { 0 };
        api_error_set (&error, kind, NULL, "m");
        guint status = api_error_status (&error, FAMILY_OPENAI);
        g_assert_cmpuint (status, >=, 400);
        g_assert_cmpuint (status, <, 600);
        g_assert_true (status < 500 || api_error_should_retry (&error) != NULL);
        for (ApiFamily family = FAMILY_OPENAI; family <= FAMILY_V1; family++) {
            g_autofree char *body = printed (&error, family);
            g_assert_null (strstr (body, "\"type\":null"));
            g_autoptr (json_t) value = json_parse (body, strlen (body), NULL);
            g_assert_nonnull (value);
        }
    }
}

static const struct {
    ChatFailKind failure;
    guint openai, anthropic;
    const char *code, *param, *retry;
} failures[] = {
    { CHAT_FAIL_INVALID, 400, 400, "invalid_value", NULL, NULL },
    { CHAT_FAIL_CONTEXT, 400, 400, "context_length_exceeded", "messages", NULL },
    { CHAT_FAIL_MODEL_UNKNOWN, 404, 404, "model_not_found", "model", NULL },
    { CHAT_FAIL_MODEL_MISSING, 400, 400, NULL, "model", NULL },
    { CHAT_FAIL_MODEL_TYPE, 400, 400, "unsupported_model", "model", NULL },
    { CHAT_FAIL_LOAD, 400, 400, "model_load_failed", "model", "false" },
    { CHAT_FAIL_MEMORY, 400, 400, "insufficient_memory", "model", "false" },
    { CHAT_FAIL_UNLOADED, 500, 500, "engine_error", NULL, "false" },
    { CHAT_FAIL_ENGINE, 500, 500, "engine_error", NULL, "true" },
    { CHAT_FAIL_OVERLOADED, 503, 529, "overloaded", NULL, "true" },
    { CHAT_FAIL_SHUTDOWN, 503, 529, "overloaded", NULL, "true" },
};

static void
test_failures (void)
{
    for (guint i = 0; i < G_N_ELEMENTS (failures); i++) {
        g_auto (ApiError) error = { 0 };
        api_error_from_failure (&error, &(ChatFailure){ .kind = failures[i].failure, .message = (char *) "m" });
        g_assert_cmpuint (api_error_status (&error, FAMILY_OPENAI), ==, failures[i].openai);
        g_assert_cmpuint (api_error_status (&error, FAMILY_ANTHROPIC), ==, failures[i].anthropic);
        g_assert_cmpstr (api_error_should_retry (&error), ==, failures[i].retry);
        g_assert_cmpstr (error.param, ==, failures[i].param);
        g_assert_cmpuint (api_error_retry_after (&error), ==, failures[i].openai == 503 ? 5 : 0);
        g_autofree char *body = printed (&error, FAMILY_OPENAI);
        g_autoptr (json_t) value = json_parse (body, strlen (body), NULL);
        g_assert_cmpstr (json_peek_string (json_object_get (value, "error"), "code"), ==, failures[i].code);
    }
}

static void
test_a_failures_own_param_wins (void)
{
    g_auto (ApiError) error = { 0 };
    api_error_from_failure (&error, &(ChatFailure){ .kind = CHAT_FAIL_INVALID, .param = (char *) "logit_bias" });
    g_assert_cmpstr (error.param, ==, "logit_bias");
    g_assert_nonnull (error.message);
}

static void
test_the_engines_field_is_named (void)
{
    g_auto (ApiError) error = { 0 };
    api_error_from_failure (
        &error, &(ChatFailure){ .kind = CHAT_FAIL_INVALID, .message = (char *) "logit_bias: 1024 is not a token" });
    g_assert_cmpstr (error.param, ==, "logit_bias");
}

/* http-062, http-154: tools look for these words. */
static void
test_a_long_prompt_in_known_words (void)
{
    g_auto (ApiError) error = { 0 };
    api_error_from_failure (&error, &(ChatFailure){ .kind = CHAT_FAIL_CONTEXT,
                                                    .message = (char *) "n_keep: 13055 >= n_ctx: 4096",
                                                    .n_prompt = 13055,
                                                    .n_ctx = 4096 });
    g_assert_true (g_str_has_prefix (error.message,
                                     "The number of tokens to keep from the initial prompt is greater than "
                                     "the context length (n_keep: 13055 >= n_ctx: 4096)."));
    g_autofree char *body = printed (&error, FAMILY_ANTHROPIC);
    g_assert_nonnull (strstr (body, "\"message\":\"prompt is too long: 13055 tokens > 4096 maximum\""));
}

/* http-108 */
static void
test_events (void)
{
    g_auto (ApiError) error = { 0 };
    api_error_set (&error, API_ENGINE, NULL, "gone");
    g_autoptr (GString) openai = g_string_new (NULL), anthropic = g_string_new (NULL), v1 = g_string_new (NULL);
    api_error_print_event (&error, FAMILY_OPENAI, openai);
    api_error_print_event (&error, FAMILY_ANTHROPIC, anthropic);
    api_error_print_event (&error, FAMILY_V1, v1);
    g_assert_cmpstr (openai->str, ==,
                     "event: error\ndata: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\"param\":null,"
                     "\"code\":\"engine_error\"},\"message\":\"gone\"}\n\n");
    g_assert_cmpstr (
        anthropic->str, ==,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"gone\"}}\n\n");
    g_assert_cmpstr (
        v1->str, ==,
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"internal_error\",\"message\":\"gone\","
        "\"code\":\"engine_error\"}}\n\n");
}

static void
test_long_and_broken_text_is_cut_to_valid (void)
{
    g_autoptr (GString) text = g_string_new ("x\xFF");
    for (guint i = 0; i < 5000; i++)
        g_string_append (text, "\xC3\xA4");
    g_auto (ApiError) error = { 0 };
    api_error_set (&error, API_INVALID, text->str, "%s", text->str);
    g_assert_true (g_utf8_validate (error.message, -1, NULL));
    g_assert_true (g_utf8_validate (error.param, -1, NULL));
    g_assert_cmpuint (strlen (error.message), <=, 4096 + 3);
    g_assert_cmpuint (strlen (error.param), <=, 256 + 3);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/errors/forms", test_forms);
    g_test_add_func ("/http-008/absent-members", test_absent_members);
    g_test_add_func ("/errors/every-kind-has-a-row", test_every_kind_has_a_row);
    g_test_add_func ("/errors/failures", test_failures);
    g_test_add_func ("/errors/own-param", test_a_failures_own_param_wins);
    g_test_add_func ("/errors/engines-field", test_the_engines_field_is_named);
    g_test_add_func ("/errors/anthropic-long-prompt", test_a_long_prompt_in_known_words);
    g_test_add_func ("/http-108/events", test_events);
    g_test_add_func ("/errors/cut-to-valid", test_long_and_broken_text_is_cut_to_valid);
    return g_test_run ();
}
