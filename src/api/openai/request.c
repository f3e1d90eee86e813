/* request.c: the fields of a chat completion's body, and the ChatRequests they make (spec: http.md 3.1-3.5, 4.1).
 *
 * Fields that are not in the table (user, metadata, store, service_tier, ..) are accepted and have no effect, as this family does. */
#include "api/openai/openai.h"

#include "chat/schema.h"

#include <math.h>
#include <string.h>

#define MAX_BIASES   1024
#define MAX_TOP_K    500
#define MAX_MESSAGES 65536 /* they are read on the loop */

static const char *const overflow_names[] = { "stopAtLimit", "truncateMiddle", "rollingWindow",
                                              NULL }; /* ChatOverflow */
static const char *const format_names[] = { "text", "json_object", "json_schema", NULL };
static const char *const efforts[] = { "none", "minimal", "low", "medium", "high", "xhigh", "max", NULL };
/* What templates know: off < low < medium < high (http.md 3.9). */
static const char *const effort_for_template[] = { NULL, "low", "low", "medium", "high", "high", "high" };

/* ---- rules that a row cannot say -------------------------------------------------------------------------------------------------- */

static gboolean
check_modalities (const json_t *value, const char *path, gpointer target, ApiError *error)
{
    size_t i;
    json_t *kind;
    json_array_foreach (value, i, kind)
        if (g_strcmp0 (json_string_value (kind), "text") != 0)
            return api_error_set (error, API_UNSUPPORTED_CONTENT, path, "\"%s\": only text can be generated.", path);
    return TRUE;
}

static gboolean
check_draft (const json_t *value, const char *path, gpointer target, ApiError *error)
{
    return json_string_length (value) == 0 ||
           api_error_set (error, API_NOT_IMPLEMENTED, path, "\"%s\" is not supported yet.", path);
}

static gboolean
check_limit (const json_t *value, const char *path, gpointer target, ApiError *error)
{
    return json_number_value (value) != 0 ||
           api_error_set (error, API_INVALID_VALUE, path, "\"%s\" must be at least 1, or -1 for no limit.", path);
}

static gboolean
check_grammar (const json_t *value, const char *path, gpointer target, ApiError *error)
{
    return !g_str_has_prefix (json_string_value (value), "%llguidance") ||
           api_error_set (error, API_INVALID_VALUE, path, "\"%s\" must be GBNF.", path);
}

/* ---- the table ------------------------------------------------------------------------------------------------------------------- */

#define AT(member) FIELD_AT (OpenaiChat, member)

static const Field stream_option_rows[] = {
    { "include_usage", FIELD_BOOL, AT (include_usage) },
};
static const FieldTable stream_options = FIELD_TABLE (stream_option_rows);

static const Field schema_rows[] = {
    { "name", FIELD_IGNORED, .size = 0 },
    { "strict", FIELD_BOOL_LOOSE, AT (strict) },
    { "schema", FIELD_OBJECT, AT (raw_schema) },
};
static const FieldTable schema_members = FIELD_TABLE (schema_rows);

static const Field format_rows[] = {
    { "type", FIELD_ENUM, AT (format), .values = format_names, .required = TRUE },
    { "json_schema", FIELD_OBJECT, .members = &schema_members },
};
static const FieldTable format_members = FIELD_TABLE (format_rows);

static const Field reasoning_rows[] = {
    { "effort", FIELD_ENUM, AT (effort), .values = efforts },
};
static const FieldTable reasoning_members = FIELD_TABLE (reasoning_rows);

/* What every generating endpoint of this family takes. */
static const Field shared_rows[] = {
    { "model", FIELD_STRING, AT (model) },
    { "stream", FIELD_BOOL, AT (stream) },
    { "stream_options", FIELD_OBJECT, .members = &stream_options },

    { "temperature", FIELD_NUMBER, AT (sampling.temperature), .min = 0, .max = 2 },
    { "top_p", FIELD_NUMBER, AT (sampling.top_p), .min = 0, .max = 1 },
    { "top_k", FIELD_INT, AT (sampling.top_k), .min = -1, .max = INFINITY },
    { "min_p", FIELD_NUMBER, AT (sampling.min_p), .min = 0, .max = 1 },
    { "repeat_penalty", FIELD_NUMBER, AT (sampling.repeat_penalty), .max = INFINITY, .above_min = TRUE },
    { "repetition_penalty", FIELD_NUMBER, AT (sampling.repeat_penalty), .max = INFINITY, .above_min = TRUE },
    { "presence_penalty", FIELD_NUMBER, AT (sampling.presence_penalty), .min = -2, .max = 2 },
    { "frequency_penalty", FIELD_NUMBER, AT (sampling.frequency_penalty), .min = -2, .max = 2 },
    { "logit_bias", FIELD_OBJECT, AT (raw_bias) },
    { "seed", FIELD_INT, AT (seed), .min = -1, .max = INFINITY },
    { "stop", FIELD_STRINGS, AT (stop), .min = 1, .max = 4096, .most = 64 },
    { "context_overflow_policy", FIELD_ENUM, AT (overflow), .values = overflow_names },

    { "n", FIELD_INT, AT (n), .min = 1, .max = OPENAI_MAX_N },
    { "response_format", FIELD_OBJECT, .members = &format_members },
    { "grammar", FIELD_STRING, AT (grammar), .check = check_grammar },
    { "ttl", FIELD_INT, AT (ttl), .min = 1, .max = INFINITY },

    { "preset", FIELD_REFUSED, .says = "is not supported yet" },
    { "draft_model", FIELD_STRING, .check = check_draft },
};
const FieldTable openai_shared_fields = FIELD_TABLE (shared_rows);

static const Field chat_rows[] = {
    { "messages", FIELD_ARRAY, AT (raw_messages), .min = 1, .max = MAX_MESSAGES, .required = TRUE },
    { "continue_final_message", FIELD_BOOL, AT (continue_final_message) },
    { "max_tokens", FIELD_INT, AT (max_tokens), .min = -1, .max = INFINITY, .check = check_limit },
    { "max_completion_tokens", FIELD_INT, AT (max_completion_tokens), .min = -1, .max = INFINITY,
      .check = check_limit },
    { "logprobs", FIELD_BOOL, AT (logprobs) },
    { "top_logprobs", FIELD_INT, AT (top_logprobs), .min = 0, .max = 20 },
    { "tools", FIELD_ARRAY, AT (raw_tools), .max = 512 },
    { "tool_choice", FIELD_ANY, AT (raw_tool_choice) },
    { "parallel_tool_calls", FIELD_BOOL, AT (parallel_tool_calls) },
    { "functions", FIELD_ARRAY, AT (raw_functions), .max = 512 },
    { "function_call", FIELD_ANY, AT (raw_function_call) },
    { "reasoning_effort", FIELD_ENUM, AT (effort), .values = efforts },
    { "reasoning", FIELD_OBJECT, .members = &reasoning_members },
    { "chat_template_kwargs", FIELD_OBJECT, AT (template_kwargs) },

    { "modalities", FIELD_ARRAY, .check = check_modalities },
    { "audio", FIELD_REFUSED, .refusal = API_UNSUPPORTED_CONTENT,
      .says = "is not supported: only text can be generated" },
    { "web_search_options", FIELD_REFUSED, .refusal = API_UNSUPPORTED_CONTENT, .says = "is not supported" },
};
static const FieldTable chat_fields = FIELD_TABLE_ALSO (chat_rows, &openai_shared_fields);

/* ---- from the fields to their meaning ------------------------------------------------------------------------------------------------ */

/* {"50256": -100} becomes [[50256, -100]]: the engine knows whether the id is one of its vocabulary. */
static gboolean
read_bias (OpenaiChat *chat, ApiError *error)
{
    if (json_object_size (chat->raw_bias) > MAX_BIASES)
        return api_error_set (error, API_INVALID_VALUE, "logit_bias", "\"logit_bias\" must have at most %d entries.",
                              MAX_BIASES);
    const char *key;
    json_t *value;
    json_t *list = chat->sampling.logit_bias = json_array ();
    json_object_foreach (chat->raw_bias, key, value) {
        gsize digits = strspn (key, "0123456789");
        if (digits == 0 || digits > 9 || key[digits])
            return api_error_set (error, API_INVALID_VALUE, "logit_bias",
                                  "\"logit_bias\": '%s' is not a token id of this model.", key);
        if (!json_is_number (value))
            return field_wrong_type (error, "logit_bias", "an object from token ids to numbers");
        if (fabs (json_number_value (value)) > 100)
            return api_error_set (error, API_INVALID_VALUE, "logit_bias",
                                  "\"logit_bias\" must hold numbers between -100 and 100.");
        json_array_append_new (list, json_pack ("[I, O]", (json_int_t) g_ascii_strtoll (key, NULL, 10), value));
    }
    return TRUE;
}

json_t *
openai_schema_prepare (const json_t *schema, const char *path, ApiError *error)
{
    g_autoptr (GError) why = NULL;
    g_autofree char *where = NULL;
    json_t *prepared = chat_schema_prepare (schema, path, &where, &why);
    if (!prepared)
        api_error_set (error, API_INVALID_VALUE, where ? where : path, "%s", why->message);
    return prepared;
}

static gboolean
read_format (OpenaiChat *chat, const json_t *body, ApiError *error)
{
    if (chat->format == 1) {
        g_autoptr (json_t) object = json_pack ("{s:s}", "type", "object");
        if (!(chat->json_schema = openai_schema_prepare (object, "response_format", error)))
            return FALSE;
    }
    if (chat->format == 2) {
        const json_t *inner = json_object_get (json_object_get (body, "response_format"), "json_schema");
        if (!json_is_object (inner))
            return field_missing (error, "response_format.json_schema");
        if (!chat->raw_schema)
            chat->json_schema = json_object ();
        else if (!(chat->json_schema =
                       openai_schema_prepare (chat->raw_schema, "response_format.json_schema.schema", error)))
            return FALSE;
    }
    if (chat->grammar && !*chat->grammar)
        chat->grammar = NULL;
    if (chat->grammar && (chat->json_schema || chat->tools))
        return api_error_set (error, API_INVALID_VALUE, "grammar",
                              "\"grammar\" can't be combined with response_format or tools.");
    return TRUE;
}

static void
settle_sampling (ChatSampling *sampling, gint64 seed)
{
    if (sampling->top_p == 0) { /* nothing but the likeliest */
        sampling->temperature = 0;
        sampling->top_p = 1;
    }
    sampling->top_k = CLAMP (sampling->top_k, 0, MAX_TOP_K);
    sampling->has_seed = seed >= 0;
    sampling->seed = MAX (seed, 0);
}

void
openai_chat_init (OpenaiChat *chat)
{
    g_autoptr (ChatRequest) defaults = chat_request_new ();
    *chat = (OpenaiChat){
        .n = 1,
        .sampling = defaults->sampling,
        .seed = -1,
        .max_tokens = G_MININT64,
        .max_completion_tokens = G_MININT64,
        .top_logprobs = -1,
        .continue_final_message = TRUE,
        .parallel_tool_calls = TRUE,
        .effort = -1,
        .format = -1,
    };
}

/* A required call leaves no text that a schema could hold; without calls the schema holds the reply.  What is either, the engine's grammars
 * cannot say yet: a schema alone would keep the model from its tools without a word. */
static gboolean
settle_format_and_tools (OpenaiChat *chat, ApiError *error)
{
    if (!chat->tools || !chat->json_schema || g_strcmp0 (chat->tool_choice, "none") == 0)
        return TRUE;
    if (g_strcmp0 (chat->tool_choice, "required") != 0)
        return api_error_set (error, API_NOT_IMPLEMENTED, "response_format",
                              "\"response_format\" together with tools that may be called is not supported yet: "
                              "set \"tool_choice\" to none or required.");
    json_decref (g_steal_pointer (&chat->json_schema));
    return TRUE;
}

gboolean
openai_shared_settle (OpenaiChat *chat, const json_t *body, ApiError *error)
{
    settle_sampling (&chat->sampling, chat->seed);
    return (!chat->raw_bias || read_bias (chat, error)) && read_format (chat, body, error) &&
           settle_format_and_tools (chat, error);
}

gboolean
openai_chat_read (OpenaiChat *chat, const json_t *body, ApiError *error)
{
    openai_chat_init (chat);
    if (!fields_read (&chat_fields, body, NULL, chat, error))
        return FALSE;
    if (chat->top_logprobs >= 0 && !chat->logprobs)
        return api_error_set (error, API_INVALID_VALUE, "top_logprobs",
                              "\"top_logprobs\" needs \"logprobs\" to be true.");
    return openai_messages_read (chat, error) && openai_tools_read (chat, error) &&
           openai_shared_settle (chat, body, error);
}

void
openai_chat_clear (OpenaiChat *chat)
{
    json_decref (chat->sampling.logit_bias);
    json_decref (chat->stop);
    json_decref (chat->messages);
    json_decref (chat->tools);
    json_decref (chat->tool_names);
    json_decref (chat->json_schema);
    *chat = (OpenaiChat){ 0 };
}

/* ---- ChatRequest ------------------------------------------------------------------------------------------------------------------- */

static json_t *
keep (json_t *value)
{
    return value ? json_incref (value) : NULL;
}

/* The mapping to the nearest is the template's reader's; here both switches are set. */
static void
set_effort (ChatRequest *request, const OpenaiChat *chat)
{
    if (chat->effort < 0)
        return;
    const char *level = effort_for_template[chat->effort];
    request->enable_thinking = level != NULL;
    if (!level)
        return;
    json_t *kwargs = request->template_kwargs ? json_copy (request->template_kwargs) : json_object ();
    if (!json_object_get (kwargs, "reasoning_effort"))
        json_object_set_new (kwargs, "reasoning_effort", json_string (level));
    json_decref (request->template_kwargs);
    request->template_kwargs = kwargs;
}

ChatRequest *
openai_chat_request (const OpenaiChat *chat, guint index)
{
    ChatRequest *request = chat_request_new ();
    gint64 limit = chat->max_completion_tokens != G_MININT64 ? chat->max_completion_tokens
                   : chat->max_tokens != G_MININT64          ? chat->max_tokens
                                                             : -1;
    request->messages = keep (chat->messages);
    request->continue_final = chat->continues;
    request->sampling = chat->sampling;
    request->sampling.logit_bias = keep (chat->sampling.logit_bias);
    request->sampling.seed += index;
    request->max_tokens = MIN (limit, G_MAXINT32);
    request->stop = keep (chat->stop);
    request->overflow = chat->overflow;
    request->n_logprobs = chat->logprobs ? MAX (chat->top_logprobs, 0) : -1;
    request->tools = keep (chat->tools);
    request->tool_choice = g_strdup (chat->tool_choice);
    request->parallel_tool_calls = chat->parallel_tool_calls;
    request->json_schema = keep (chat->json_schema);
    request->grammar = g_strdup (chat->grammar);
    request->template_kwargs = keep (chat->template_kwargs);
    set_effort (request, chat);
    return request;
}
