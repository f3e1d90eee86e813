/* errors.c: one table from what went wrong to what each family says, and the printers of the forms. */
#include "api/errors.h"

#include <string.h>

/* Retry hints: the official clients retry 408, 409, 429 and every 5xx twice unless told otherwise, so what will fail again says so. */
typedef struct {
    guint status;
    const char *openai_code, *openai_type, *v1_type, *v1_code;
    const char *retry; /* x-should-retry */
    guint retry_after; /* seconds */
} ErrorRow;

#define INVALID "invalid_request_error"

static const ErrorRow rows[N_API_ERRORS] = {
    [API_OK] = { 500, NULL, "server_error", "internal_error", NULL, "false" },
    [API_INVALID] = { 400, NULL, INVALID, "invalid_request", NULL },
    [API_INVALID_JSON] = { 400, "invalid_json", INVALID, "invalid_request", "invalid_json" },
    [API_MISSING] = { 400, "missing_required_parameter", INVALID, "invalid_request", "missing_required_parameter" },
    [API_INVALID_TYPE] = { 400, "invalid_type", INVALID, "invalid_request", "invalid_type" },
    [API_INVALID_VALUE] = { 400, "invalid_value", INVALID, "invalid_request", "invalid_value" },
    [API_UNRECOGNIZED_KEYS] = { 400, "unrecognized_keys", INVALID, "invalid_request", "unrecognized_keys" },
    [API_CONTEXT_LENGTH] = { 400, "context_length_exceeded", INVALID, "invalid_request", "context_length_exceeded" },
    [API_LOAD_FAILED] = { 400, "model_load_failed", INVALID, "model_load_failed", "model_load_failed", "false" },
    [API_MEMORY] = { 400, "insufficient_memory", INVALID, "model_load_failed", "insufficient_memory", "false" },
    [API_UNSUPPORTED_MODEL] = { 400, "unsupported_model", INVALID, "invalid_request", "unsupported_model" },
    [API_UNSUPPORTED_CONTENT] = { 400, "unsupported_content", INVALID, "invalid_request", "unsupported_content" },
    [API_CORS_DISABLED] = { 403, "cors_disabled", INVALID, "invalid_request", "cors_disabled" },
    [API_HOST_NOT_ALLOWED] = { 403, "host_not_allowed", INVALID, "invalid_request", "host_not_allowed" },
    [API_MODEL_NOT_FOUND] = { 404, "model_not_found", INVALID, "model_not_found", "model_not_found" },
    [API_NOT_FOUND] = { 404, "not_found", "not_found_error", "unknown", "not_found" },
    [API_WRONG_METHOD] = { 405, "method_not_allowed", INVALID, "invalid_request", "method_not_allowed" },
    [API_BAD_REQUEST] = { 400, "bad_request", INVALID, "invalid_request", "bad_request" },
    [API_REQUEST_TIMEOUT] = { 408, "request_timeout", INVALID, "invalid_request", "request_timeout" },
    [API_TOO_LARGE] = { 413, "request_too_large", INVALID, "invalid_request", "request_too_large" },
    [API_MEDIA_TYPE] = { 415, "unsupported_media_type", INVALID, "invalid_request", "unsupported_media_type" },
    [API_HEAD_TOO_LARGE] = { 431, "headers_too_large", INVALID, "invalid_request", "headers_too_large" },
    [API_ENGINE] = { 500, "engine_error", "server_error", "internal_error", "engine_error", "true" },
    /* somebody took the model away on purpose: a retry would load it again */
    [API_UNLOADED] = { 500, "engine_error", "server_error", "internal_error", "engine_error", "false" },
    [API_NOT_IMPLEMENTED] = { 501, "not_implemented", "server_error", "not_implemented", "not_implemented", "false" },
    [API_OVERLOADED] = { 503, "overloaded", "server_error", "internal_error", "overloaded", "true", 5 },
    [API_SHUTTING_DOWN] = { 503, "overloaded", "server_error", "internal_error", "overloaded", "true", 5 },
};

static const struct {
    ApiErrorKind kind;
    const char *param; /* where the failure names none */
} failures[] = {
    [CHAT_FAIL_INVALID] = { API_INVALID_VALUE, NULL },
    [CHAT_FAIL_CONTEXT] = { API_CONTEXT_LENGTH, "messages" },
    [CHAT_FAIL_MODEL_UNKNOWN] = { API_MODEL_NOT_FOUND, "model" },
    [CHAT_FAIL_MODEL_MISSING] = { API_INVALID, "model" },
    [CHAT_FAIL_MODEL_TYPE] = { API_UNSUPPORTED_MODEL, "model" },
    [CHAT_FAIL_LOAD] = { API_LOAD_FAILED, "model" },
    [CHAT_FAIL_MEMORY] = { API_MEMORY, "model" },
    [CHAT_FAIL_UNLOADED] = { API_UNLOADED, NULL },
    [CHAT_FAIL_ENGINE] = { API_ENGINE, NULL },
    [CHAT_FAIL_OVERLOADED] = { API_OVERLOADED, NULL },
    [CHAT_FAIL_SHUTDOWN] = { API_SHUTTING_DOWN, NULL },
};

void
api_error_clear (ApiError *error)
{
    g_free (error->message);
    g_free (error->param);
    *error = (ApiError){ 0 };
}

/* What a client wrote comes back in messages: valid UTF-8, and not a megabyte of it. */
static char *
fit (const char *text, gsize most)
{
    g_autofree char *valid = g_utf8_make_valid (text, -1);
    gsize length = strlen (valid);
    if (length <= most)
        return g_steal_pointer (&valid);
    const char *end = g_utf8_find_prev_char (valid, valid + most + 1);
    return g_strdup_printf ("%.*s...", (int) (end - valid), valid);
}

gboolean
api_error_set (ApiError *error, ApiErrorKind kind, const char *param, const char *format, ...)
{
    if (!error)
        return FALSE;
    va_list args;
    va_start (args, format);
    error->kind = kind;
    g_autofree char *message = g_strdup_vprintf (format, args);
    error->message = fit (message, 4096);
    error->param = param ? fit (param, 256) : NULL;
    va_end (args);
    return FALSE;
}

/* What only the engine can check: its sentence begins with the name ("logit_bias: 1024 is not a token of this model"). */
static const struct {
    const char *start, *param;
} engine_fields[] = {
    { "logit_bias:", "logit_bias" },
    { "grammar:", "grammar" },
    { "json_schema:", "response_format" },
    { "tokens:", "prompt" },
};

static const char *
param_of (const ChatFailure *failure)
{
    if (failure->param)
        return failure->param;
    for (guint i = 0; failure->kind == CHAT_FAIL_INVALID && failure->message && i < G_N_ELEMENTS (engine_fields); i++)
        if (g_str_has_prefix (failure->message, engine_fields[i].start))
            return engine_fields[i].param;
    return failures[failure->kind].param;
}

void
api_error_from_failure (ApiError *error, const ChatFailure *failure)
{
    g_return_if_fail ((gsize) failure->kind < G_N_ELEMENTS (failures));
    error->kind = failures[failure->kind].kind;
    if (failure->kind == CHAT_FAIL_CONTEXT && failure->n_ctx > 0) /* LM Studio's words, which callers look for */
        error->message =
            g_strdup_printf ("The number of tokens to keep from the initial prompt is greater than the context length "
                             "(n_keep: %d >= n_ctx: %d). Load the model with a larger context length, or send less.",
                             failure->n_prompt, failure->n_ctx);
    else
        error->message = fit (failure->message ? failure->message : "The request failed.", 4096);
    error->param = g_strdup (param_of (failure));
    error->n_prompt = failure->n_prompt;
    error->n_ctx = failure->n_ctx;
}

guint
api_error_status (const ApiError *error, ApiFamily family)
{
    guint status = rows[error->kind].status;
    return status == 503 && family == FAMILY_ANTHROPIC ? 529 : status;
}

const char *
api_error_should_retry (const ApiError *error)
{
    return rows[error->kind].retry;
}

guint
api_error_retry_after (const ApiError *error)
{
    return rows[error->kind].retry_after;
}

/* ---- printers --------------------------------------------------------------------------------------------------------------- */

static void
print_member (GString *out, const char *opening, const char *text)
{
    g_string_append (out, opening);
    json_append_string (out, text);
}

/* {"message":S,"type":S,"param":S or null,"code":S or null}: all four keys always, strict clients demand them. */
static void
print_openai (const ApiError *error, GString *out)
{
    const ErrorRow *row = &rows[error->kind];
    print_member (out, "{\"message\":", error->message);
    print_member (out, ",\"type\":", row->openai_type);
    print_member (out, ",\"param\":", error->param);
    print_member (out, ",\"code\":", row->openai_code);
    g_string_append_c (out, '}');
}

static const char *
anthropic_type (guint status)
{
    static const struct {
        guint status;
        const char *type;
    } types[] = { { 401, "authentication_error" },
                  { 403, "permission_error" },
                  { 404, "not_found_error" },
                  { 413, "request_too_large" },
                  { 429, "rate_limit_error" },
                  { 529, "overloaded_error" },
                  { 500, "api_error" },
                  { 501, "api_error" } };
    for (guint i = 0; i < G_N_ELEMENTS (types); i++)
        if (types[i].status == status)
            return types[i].type;
    return INVALID;
}

static void
print_anthropic (const ApiError *error, const char *type, GString *out)
{
    print_member (out, "{\"type\":", type);
    if (error->kind == API_CONTEXT_LENGTH && error->n_ctx > 0) /* coding tools look for these words */
        g_string_append_printf (out, ",\"message\":\"prompt is too long: %d tokens > %d maximum\"", error->n_prompt,
                                error->n_ctx);
    else
        print_member (out, ",\"message\":", error->message);
    g_string_append_c (out, '}');
}

/* {"type":S,"message":S,"code":S?,"param":S?} */
static void
print_v1 (const ApiError *error, GString *out)
{
    const ErrorRow *row = &rows[error->kind];
    print_member (out, "{\"type\":", row->v1_type);
    print_member (out, ",\"message\":", error->message);
    if (row->v1_code)
        print_member (out, ",\"code\":", row->v1_code);
    if (error->param)
        print_member (out, ",\"param\":", error->param);
    g_string_append_c (out, '}');
}

void
api_error_print (const ApiError *error, ApiFamily family, const char *request_id, GString *out)
{
    if (family == FAMILY_ANTHROPIC) {
        g_string_append (out, "{\"type\":\"error\",\"error\":");
        print_anthropic (error, anthropic_type (api_error_status (error, family)), out);
        print_member (out, ",\"request_id\":", request_id);
    } else {
        g_string_append (out, "{\"error\":");
        if (family == FAMILY_V1)
            print_v1 (error, out);
        else
            print_openai (error, out);
    }
    g_string_append_c (out, '}');
}

void
api_error_print_event (const ApiError *error, ApiFamily family, GString *out)
{
    g_string_append (out, "event: error\ndata: ");
    switch (family) {
    case FAMILY_OPENAI:
    case FAMILY_V0: /* the message twice: what a running LM Studio sends */
        g_string_append (out, "{\"error\":");
        print_openai (error, out);
        print_member (out, ",\"message\":", error->message);
        break;
    case FAMILY_ANTHROPIC:
        g_string_append (out, "{\"type\":\"error\",\"error\":");
        print_anthropic (error, "api_error", out);
        break;
    case FAMILY_V1:
        g_string_append (out, "{\"type\":\"error\",\"error\":");
        print_v1 (error, out);
        break;
    }
    g_string_append (out, "}\n\n");
}
