/* completions.c: POST /v1/completions, prompts without a template (spec: http.md 5).
 *
 * Fields and sampling are a chat's; in place of messages stand one or several prompts, as text or as tokens, each with best_of jobs. */
#include "api/openai/openai.h"

#include "base/ids.h"

#include <math.h>

/* ---- prompts -------------------------------------------------------------------------------------------------------------------- */

static gboolean
is_ids (const json_t *list)
{
    size_t i;
    json_t *id;
    json_array_foreach (list, i, id)
        if (!json_is_integer (id) || json_integer_value (id) < 0 || json_integer_value (id) > G_MAXINT32)
            return FALSE;
    return json_array_size (list) > 0;
}

json_t *
openai_inputs_read (json_t *value, const char *path, guint most, ApiError *error)
{
    const char *const forms = "a string, an array of strings, an array of token ids, or an array of such arrays";
    if (json_is_string (value) || is_ids (value))
        return json_pack ("[O]", value);
    if (!json_is_array (value))
        return field_wrong_type (error, path, forms), NULL;
    if (json_array_size (value) == 0 || json_array_size (value) > most)
        return api_error_set (error, API_INVALID_VALUE, path, "\"%s\" must have 1 to %u elements.", path, most), NULL;
    gboolean texts = json_is_string (json_array_get (value, 0));
    size_t i;
    json_t *one;
    json_array_foreach (value, i, one)
        if (texts ? !json_is_string (one) : !is_ids (one))
            return field_wrong_type (error, path, forms), NULL;
    return json_incref (value);
}

/* ---- fields --------------------------------------------------------------------------------------------------------------------- */

static gboolean
check_suffix (const json_t *value, const char *path, gpointer target, ApiError *error)
{
    return json_string_length (value) == 0 ||
           api_error_set (error, API_UNSUPPORTED_CONTENT, path,
                          "\"%s\" is not supported: this model cannot fill in the middle.", path);
}

#define AT(member) FIELD_AT (OpenaiCompletion, member)

static const Field rows[] = {
    { "prompt", FIELD_ANY, AT (raw_prompt) },
    { "max_tokens", FIELD_INT, AT (chat.max_tokens), .min = -1, .max = INFINITY },
    { "best_of", FIELD_INT, AT (best_of), .min = 1, .max = OPENAI_MAX_N },
    { "echo", FIELD_BOOL, AT (echo) },
    { "suffix", FIELD_STRING, AT (suffix), .check = check_suffix },
    { "logprobs", FIELD_INT, AT (logprobs), .min = 0, .max = 20 },
};
static const FieldTable fields = FIELD_TABLE_ALSO (rows, &openai_shared_fields);

/* null is a prompt too, the empty one; only its absence is a mistake. */
static gboolean
read_prompts (OpenaiCompletion *completion, const json_t *body, ApiError *error)
{
    if (!json_object_get (body, "prompt"))
        return field_missing (error, "prompt");
    completion->prompts = completion->raw_prompt
                              ? openai_inputs_read (completion->raw_prompt, "prompt", OPENAI_MAX_CHOICES, error)
                              : json_pack ("[s]", "");
    return completion->prompts != NULL;
}

static gboolean
check_counts (OpenaiCompletion *completion, ApiError *error)
{
    gint64 n = completion->chat.n;
    if (completion->best_of == 0)
        completion->best_of = n;
    if (completion->best_of < n)
        return api_error_set (error, API_INVALID_VALUE, "best_of", "\"best_of\" must be at least \"n\".");
    if (completion->best_of > n && completion->chat.stream)
        return api_error_set (error, API_INVALID_VALUE, "best_of",
                              "\"best_of\" greater than \"n\" can't be combined with \"stream\".");
    if (openai_completion_n_jobs (completion) > OPENAI_MAX_CHOICES)
        return api_error_set (error, API_INVALID_VALUE, "prompt",
                              "\"prompt\": prompts times \"best_of\" must be at most %d.", OPENAI_MAX_CHOICES);
    return TRUE;
}

gboolean
openai_completion_read (OpenaiCompletion *completion, const json_t *body, ApiError *error)
{
    *completion = (OpenaiCompletion){ .logprobs = -1 };
    openai_chat_init (&completion->chat);
    return fields_read (&fields, body, NULL, completion, error) && read_prompts (completion, body, error) &&
           check_counts (completion, error) && openai_shared_settle (&completion->chat, body, error);
}

void
openai_completion_clear (OpenaiCompletion *completion)
{
    openai_chat_clear (&completion->chat);
    json_decref (completion->prompts);
    *completion = (OpenaiCompletion){ 0 };
}

/* ---- jobs ----------------------------------------------------------------------------------------------------------------------- */

guint
openai_completion_n_jobs (const OpenaiCompletion *completion)
{
    return json_array_size (completion->prompts) * completion->best_of;
}

ChatRequest *
openai_completion_request (const OpenaiCompletion *completion, guint index)
{
    ChatRequest *request = openai_chat_request (&completion->chat, index % completion->best_of);
    json_t *prompt = json_array_get (completion->prompts, index / completion->best_of);
    *(json_is_string (prompt) ? &request->prompt : &request->tokens) = json_incref (prompt);
    request->want_prompt = completion->echo;
    request->n_logprobs = completion->logprobs;
    request->prompt_logprobs = completion->echo && completion->logprobs >= 0;
    if (completion->best_of > completion->chat.n)
        request->n_logprobs = MAX (request->n_logprobs, 0);
    return request;
}

void
openai_completions (ApiCall *call)
{
    g_auto (OpenaiCompletion) completion = { 0 };
    g_auto (ApiError) error = { 0 };
    if (!openai_completion_read (&completion, call->body, &error)) {
        api_call_fail (call, &error);
        return;
    }
    ChatRequest *requests[OPENAI_MAX_CHOICES];
    guint n = openai_completion_n_jobs (&completion);
    for (guint i = 0; i < n; i++)
        requests[i] = openai_completion_request (&completion, i);

    g_autofree char *id = ids_new ("cmpl-", IDS_LOWER_ALNUM, 22);
    g_autofree char *what = g_strdup_printf ("completion of %zu prompts", json_array_size (completion.prompts));
    api_run (call, &(ApiRunOptions){
                       .type = &openai_text_printer_type,
                       .printer = openai_text_printer_new (id, g_get_real_time () / G_USEC_PER_SEC, &completion),
                       .stream = completion.chat.stream,
                       .want = { .model = completion.chat.model,
                                 .type = MODEL_LLM,
                                 .may_load = TRUE,
                                 .ttl_seconds = MIN (completion.chat.ttl, OPENAI_MAX_TTL_SECONDS) },
                       .requests = requests,
                       .n = n,
                       .prompt_field = "prompt",
                       .what = what,
                   });
}
