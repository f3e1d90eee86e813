/* request.c: a ChatRequest, and how it reads on the link. */
#include "chat/chat.h"

G_DEFINE_QUARK (chat - error - quark, chat_error)

ChatRequest *
chat_request_new (void)
{
    ChatRequest *request = g_new0 (ChatRequest, 1);
    request->enable_thinking = -1;
    request->reasoning_budget = -1;
    request->parallel_tool_calls = TRUE;
    request->max_tokens = -1;
    request->n_logprobs = -1;
    request->sampling = (ChatSampling){
        .temperature = 0.8,
        .top_p = 0.95,
        .top_k = 40,
        .min_p = 0.05,
        .repeat_penalty = 1.1,
        .typical_p = 1,
        .xtc_threshold = 0.1,
        .mirostat_eta = 0.1,
        .mirostat_tau = 5,
    };
    return request;
}

void
chat_request_free (ChatRequest *request)
{
    if (!request)
        return;
    json_decref (request->messages);
    json_decref (request->prompt);
    json_decref (request->tokens);
    json_decref (request->tools);
    json_decref (request->template_kwargs);
    json_decref (request->json_schema);
    json_decref (request->stop);
    json_decref (request->sampling.logit_bias);
    g_free (request->tool_choice);
    g_free (request->chat_template);
    g_free (request->grammar);
    g_free (request->owner);
    g_free (request);
}

/* The engine's seed has 32 bits, and all ones mean random there (http.md 3.2). */
static gint64
fold_seed (guint64 seed)
{
    guint32 folded = (guint32) (seed >> 32) ^ (guint32) seed;
    return folded == G_MAXUINT32 ? 0 : folded;
}

static json_t *
sampling_to_json (const ChatSampling *s)
{
    json_t *json =
        json_pack ("{s:f, s:f, s:i, s:f, s:f, s:f, s:f, s:f}", "temperature", s->temperature, "top_p", s->top_p,
                   "top_k", s->top_k, "min_p", s->min_p, "repeat_penalty", s->repeat_penalty, "presence_penalty",
                   s->presence_penalty, "frequency_penalty", s->frequency_penalty, "typical_p", s->typical_p);
    if (s->xtc_probability > 0) {
        json_object_set_new (json, "xtc_probability", json_real (s->xtc_probability));
        json_object_set_new (json, "xtc_threshold", json_real (s->xtc_threshold));
    }
    if (s->mirostat) {
        json_object_set_new (json, "mirostat", json_integer (s->mirostat));
        json_object_set_new (json, "mirostat_eta", json_real (s->mirostat_eta));
        json_object_set_new (json, "mirostat_tau", json_real (s->mirostat_tau));
    }
    if (s->has_seed)
        json_object_set_new (json, "seed", json_integer (fold_seed (s->seed)));
    if (s->logit_bias)
        json_object_set (json, "logit_bias", s->logit_bias);
    return json;
}

static void
set_given (json_t *object, const char *key, json_t *value)
{
    if (value)
        json_object_set (object, key, value);
}

static void
set_given_text (json_t *object, const char *key, const char *text)
{
    if (text)
        json_object_set_new (object, key, json_string (text));
}

json_t *
chat_request_to_job (const ChatRequest *request)
{
    static const char *const overflow_names[] = { "stopAtLimit", "truncateMiddle", "rollingWindow" };

    json_t *inner = json_object ();
    set_given (inner, "messages", request->messages);
    set_given (inner, "prompt", request->prompt);
    set_given (inner, "tokens", request->tokens);
    set_given (inner, "tools", request->tools);
    set_given_text (inner, "tool_choice", request->tool_choice);
    if (g_strcmp0 (request->tool_choice, "required") == 0) /* no text before it, which might never end */
        json_object_set_new (inner, "strict_call", json_true ());
    if (request->tools)
        json_object_set_new (inner, "parallel_tool_calls", json_boolean (request->parallel_tool_calls));
    set_given (inner, "template_kwargs", request->template_kwargs);
    set_given_text (inner, "chat_template", request->chat_template);
    if (request->enable_thinking != -1)
        json_object_set_new (inner, "enable_thinking", json_boolean (request->enable_thinking));
    if (request->reasoning_budget >= 0)
        json_object_set_new (inner, "reasoning_budget", json_integer (request->reasoning_budget));
    set_given (inner, "json_schema", request->json_schema);
    set_given_text (inner, "grammar", request->grammar);
    if (request->continue_final)
        json_object_set_new (inner, "continue_final", json_true ());
    json_object_set_new (inner, "sampling", sampling_to_json (&request->sampling));

    json_t *job = json_pack ("{s:o, s:I}", "request", inner, "max_tokens", (json_int_t) request->max_tokens);
    set_given (job, "stop", request->stop);
    if (request->n_logprobs >= 0)
        json_object_set_new (job, "n_logprobs", json_integer (request->n_logprobs));
    if (request->prompt_logprobs)
        json_object_set_new (job, "prompt_logprobs", json_true ());
    if (request->overflow != CHAT_OVERFLOW_STOP)
        json_object_set_new (job, "overflow", json_string (overflow_names[request->overflow]));
    if (request->want_prompt)
        json_object_set_new (job, "want_prompt", json_true ());
    set_given_text (job, "owner", request->owner);
    return job;
}
