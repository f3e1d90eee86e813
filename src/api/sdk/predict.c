/* predict.c: the channels predict and completeRawText: from ChatEvents to messages (spec: sdk.md 7.3, 7.4).
 *
 *   promptProcessingProgress .. ─▶ fragments, tool calls .. ─▶ success ─▶ close         (or channelError)
 *
 * Thoughts come as events without their marks; the client wants the marks as fragments of their own:
 *
 *   REASONING "hm"   CONTENT "Hi"   ─▶   <think> reasoningStartTag · hm reasoning · </think> reasoningEndTag · Hi none */
#include "api/sdk/endpoints.h"
#include "api/sdk/kvconfig.h"
#include "api/sdk/request.h"

#include <string.h>

typedef enum { THOUGHTS_NONE, THOUGHTS_OPEN, THOUGHTS_CLOSED } Thoughts;

typedef struct {
    SdkCall *call; /* not a reference: the call owns this */
    Job *job;      /* NULL once the last event came */
    char *reference;
    json_t *model_info, *load_config, *prediction_config; /* as of the start: the instance may be gone at the end */
    ToolNames *names;
    gboolean cancelled, any_text, slow;

    Thoughts thoughts;
    gboolean plain_thoughts; /* llm.prediction.reasoning.parsing is off: thoughts and marks are text like any other */
    char *mark_start, *mark_end;

    int n_prompt, n_cached;
    double progress; /* told last, -1: none */

    json_t *held; /* with log probabilities: the fragment whose tokens are still to come */
    gboolean wants_tokens;

    GString *arguments; /* of the open call */
    char *call_id, *call_name;
} Prediction;

static void
prediction_free (gpointer data)
{
    Prediction *p = data;
    if (p->job)
        job_drop (p->job);
    json_decref (p->model_info);
    json_decref (p->load_config);
    json_decref (p->prediction_config);
    json_decref (p->held);
    tool_names_free (p->names);
    if (p->arguments)
        g_string_free (p->arguments, TRUE);
    g_free (p->reference);
    g_free (p->mark_start);
    g_free (p->mark_end);
    g_free (p->call_id);
    g_free (p->call_name);
    g_free (p);
}

/* Takes @message. */
static void
tell (Prediction *p, json_t *message)
{
    if (!sdk_call_send (p->call, message) && p->job && !p->slow) {
        p->slow = TRUE;
        job_pause (p->job);
    }
}

/* ---- fragments ---------------------------------------------------------------------------------------------------------------- */

static void
release_held (Prediction *p)
{
    if (p->held)
        tell (p, g_steal_pointer (&p->held));
}

static void
tell_fragment (Prediction *p, const char *text, gsize length, int n_tokens, const char *reasoning_type,
               gboolean structural)
{
    json_t *fragment =
        json_pack ("{s:s%, s:i, s:b, s:s, s:b}", "content", text, (size_t) length, "tokensCount", n_tokens,
                   "containsDrafted", FALSE, "reasoningType", reasoning_type, "isStructural", structural);
    json_t *message = json_pack ("{s:s, s:o}", "type", "fragment", "fragment", fragment);
    release_held (p);
    p->any_text = TRUE;
    if (p->wants_tokens && !structural)
        p->held = message;
    else
        tell (p, message);
}

static void
tell_mark (Prediction *p, const char *mark, const char *reasoning_type)
{
    if (p->plain_thoughts)
        tell_fragment (p, mark, strlen (mark), 0, "none", FALSE);
    else
        tell_fragment (p, mark, strlen (mark), 0, reasoning_type, TRUE);
}

static void
close_thoughts (Prediction *p)
{
    if (p->thoughts != THOUGHTS_OPEN)
        return;
    p->thoughts = THOUGHTS_CLOSED;
    tell_mark (p, p->mark_end, "reasoningEndTag");
}

static void
take_reasoning (Prediction *p, const ChatEvent *event)
{
    if (p->thoughts != THOUGHTS_OPEN) {
        p->thoughts = THOUGHTS_OPEN;
        tell_mark (p, p->mark_start, "reasoningStartTag");
    }
    tell_fragment (p, event->text, event->length, event->n_tokens, p->plain_thoughts ? "none" : "reasoning", FALSE);
}

static void
take_content (Prediction *p, const ChatEvent *event)
{
    close_thoughts (p);
    tell_fragment (p, event->text, event->length, event->n_tokens, "none", FALSE);
}

/* A token's bytes as text.  Half a character becomes U+FFFD, which is right here: `text` belongs to one token alone. */
static json_t *
token_text (const json_t *token)
{
    g_autoptr (GByteArray) bytes = g_byte_array_new ();
    size_t i;
    const json_t *value;
    json_array_foreach (json_object_get (token, "bytes"), i, value) {
        guint8 byte = json_integer_value (value);
        g_byte_array_append (bytes, &byte, 1);
    }
    g_autofree char *text = g_utf8_make_valid ((const char *) bytes->data, bytes->len);
    return json_string (text);
}

static void
take_logprobs (Prediction *p, const json_t *logprobs)
{
    if (!p->held)
        return;
    json_t *tokens = json_array (), *old_form = json_array ();
    size_t i, j;
    const json_t *chosen, *other;
    json_array_foreach (logprobs, i, chosen) {
        json_t *candidates = json_array (), *old_candidates = json_array ();
        json_array_foreach (json_object_get (chosen, "top"), j, other) {
            double logprob = json_peek_number (other, "logprob", 0);
            json_array_append_new (candidates,
                                   json_pack ("{s:o, s:I, s:f}", "text", token_text (other), "id",
                                              (json_int_t) json_peek_int (other, "id", 0), "logProb", logprob));
            json_array_append_new (old_candidates,
                                   json_pack ("{s:o, s:f}", "text", token_text (other), "logprob", logprob));
        }
        json_array_append_new (tokens, json_pack ("{s:o, s:I, s:f, s:o}", "text", token_text (chosen), "id",
                                                  (json_int_t) json_peek_int (chosen, "id", 0), "logProb",
                                                  json_peek_number (chosen, "logprob", 0), "candidates", candidates));
        json_array_append_new (old_form, old_candidates);
    }
    json_object_set_new (json_object_get (p->held, "fragment"), "tokens", tokens);
    json_object_set_new (p->held, "logprobs", old_form); /* where clients of version 1.5 look */
    release_held (p);
}

/* ---- progress ----------------------------------------------------------------------------------------------------------------- */

static void
tell_progress (Prediction *p, int n_done)
{
    int processed = CLAMP (n_done, p->n_cached, p->n_prompt) - p->n_cached;
    int to_do = p->n_prompt - p->n_cached;
    double progress = to_do > 0 ? (double) processed / to_do : p->progress < 0 ? 0 : 1;
    if (progress <= p->progress)
        return;
    p->progress = progress;
    tell (p, json_pack ("{s:s, s:f, s:{s:i, s:i, s:i, s:i}}", "type", "promptProcessingProgress", "progress", progress,
                        "details", "cachedTokenCount", p->n_cached, "totalPromptTokenCount", p->n_prompt,
                        "processedPromptTokenCount", processed, "unprocessedPromptTokenCount", to_do - processed));
}

static void
take_started (Prediction *p, const ChatEvent *event)
{
    p->n_prompt = event->n_prompt;
    p->n_cached = MIN (event->n_cached, event->n_prompt);
    tell_progress (p, p->n_cached);
}

/* ---- tool calls ---------------------------------------------------------------------------------------------------------------- */

static void
take_call_begin (Prediction *p, const ChatEvent *event)
{
    close_thoughts (p);
    release_held (p);
    p->any_text = TRUE;
    g_free (p->call_id);
    g_free (p->call_name);
    p->call_id = g_strdup (event->call_id);
    p->call_name = g_strdup (tool_names_original (p->names, event->call_name));
    if (!p->arguments)
        p->arguments = g_string_new (NULL);
    g_string_truncate (p->arguments, 0);
    tell (p, json_pack ("{s:s, s:s}", "type", "toolCallGenerationStart", "toolCallId", p->call_id));
    if (*p->call_name)
        tell (p, json_pack ("{s:s, s:s}", "type", "toolCallGenerationNameReceived", "name", p->call_name));
}

static void
take_call_arguments (Prediction *p, const ChatEvent *event)
{
    g_string_append_len (p->arguments, event->text, event->length);
    tell (p, json_pack ("{s:s, s:s%}", "type", "toolCallGenerationArgumentFragmentGenerated", "content", event->text,
                        (size_t) event->length));
}

static json_t *
raw_call (Prediction *p)
{
    g_autoptr (json_t) name = json_string (p->call_name);
    g_autofree char *quoted = json_print (name, NULL);
    g_autofree char *raw =
        g_strdup_printf ("{\"name\":%s,\"arguments\":%s}", quoted, p->arguments->len ? p->arguments->str : "{}");
    return json_string (raw);
}

static void
take_call_end (Prediction *p)
{
    g_autoptr (GError) error = NULL;
    const char *text = p->arguments->len ? p->arguments->str : "{}";
    g_autoptr (json_t) arguments = json_parse (text, strlen (text), &error);
    if (json_is_object (arguments) && *p->call_name) {
        tell (p, json_pack ("{s:s, s:{s:s, s:s, s:s, s:O}, s:o}", "type", "toolCallGenerationEnd", "toolCallRequest",
                            "id", p->call_id, "type", "function", "name", p->call_name, "arguments", arguments,
                            "rawContent", raw_call (p)));
        return;
    }
    if (p->cancelled) /* cut off, not malformed: its client expects nothing but the end */
        return;
    json_t *problem =
        sdk_error (*p->call_name ? "The arguments of the tool call are no JSON object" : "The tool call names no tool");
    json_object_set_new (problem, "stack", json_string (""));
    tell (p, json_pack ("{s:s, s:o, s:o}", "type", "toolCallGenerationFailed", "error", problem, "rawContent",
                        raw_call (p)));
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------ */

static void
succeed (Prediction *p, const ChatResult *result, const char *stop_reason)
{
    /* The info as it is now, for lastUsedTime; as it was, if the instance is gone. */
    const Instance *instance = instances_by_reference (sdk_call_api (p->call)->instances, p->reference);
    json_t *info = instance ? sdk_instance_info (instance) : json_incref (p->model_info);
    sdk_call_send (p->call, json_pack ("{s:s, s:o, s:o, s:O, s:O}", "type", "success", "stats",
                                       sdk_stats (result, stop_reason), "modelInfo", info, "loadModelConfig",
                                       p->load_config, "predictionConfig", p->prediction_config));
    sdk_call_close (p->call);
}

static void
take_done (Prediction *p, const ChatResult *result)
{
    p->job = NULL;
    if (p->thoughts == THOUGHTS_OPEN && (result->stop == CHAT_STOP_EOS || result->stop == CHAT_STOP_CALL))
        close_thoughts (p);
    release_held (p);
    succeed (p, result, sdk_stop_reason (result->stop));
}

static void
take_failed (Prediction *p, const ChatFailure *failure)
{
    p->job = NULL;
    release_held (p);
    if (failure->kind == CHAT_FAIL_UNLOADED && p->any_text)
        succeed (p, &(ChatResult){ .n_prompt = p->n_prompt, .n_cached = p->n_cached }, "modelUnloaded");
    else
        sdk_call_fail (p->call, sdk_error_from_failure (failure, "predict"));
}

static void
take_event (const ChatEvent *event, gpointer data)
{
    Prediction *p = data;
    switch (event->type) {
    case CHAT_QUEUED:
    case CHAT_LOADING:
        break;
    case CHAT_STARTED:
        take_started (p, event);
        break;
    case CHAT_PROMPT_PROGRESS:
        tell_progress (p, event->n_done);
        break;
    case CHAT_REASONING:
        tell_progress (p, p->n_prompt);
        take_reasoning (p, event);
        break;
    case CHAT_CONTENT:
        tell_progress (p, p->n_prompt);
        take_content (p, event);
        break;
    case CHAT_CALL_BEGIN:
        tell_progress (p, p->n_prompt);
        take_call_begin (p, event);
        break;
    case CHAT_CALL_ARGUMENTS:
        take_call_arguments (p, event);
        break;
    case CHAT_CALL_END:
        take_call_end (p);
        break;
    case CHAT_LOGPROBS:
        take_logprobs (p, event->logprobs);
        break;
    case CHAT_DONE:
        take_done (p, event->result);
        break;
    case CHAT_FAILED:
        take_failed (p, event->failure);
        break;
    }
}

/* ---- the beginning ------------------------------------------------------------------------------------------------------------- */

static const char *
mark_or (const char *mark, const char *fallback)
{
    return mark && *mark ? mark : fallback;
}

static void
set_marks (Prediction *p, const Instance *instance, const json_t *merged)
{
    const json_t *template = json_object_get (instance->ready, "template");
    const json_t *parsing = kv_prediction (merged, "reasoning.parsing");
    const json_t *first_end = json_array_get (json_object_get (template, "thinking_ends"), 0);
    p->plain_thoughts = !json_peek_bool (parsing, "enabled", TRUE);
    p->mark_start = g_strdup (mark_or (json_peek_string (template, "thinking_start"), "<think>"));
    p->mark_end = g_strdup (mark_or (json_string_value (first_end), "</think>"));
}

static void
predict (SdkCall *call, const json_t *parameter, const json_t *history, const json_t *raw_prompt)
{
    const char *preset = json_peek_string (parameter, "fuzzyPresetIdentifier");
    if (preset && *preset) {
        sdk_call_fail (call, sdk_error_preset_not_found (preset));
        return;
    }
    const Instance *instance = sdk_need_instance (call, json_object_get (parameter, "modelSpecifier"));
    if (!instance)
        return;
    g_auto (SdkRequest) request = { 0 };
    g_autofree char *complaint = NULL;
    if (!sdk_request_read (&request, history, raw_prompt, json_object_get (parameter, "predictionConfigStack"), NULL,
                           &complaint)) {
        sdk_call_fail (call, sdk_error (complaint));
        return;
    }

    Prediction *p = g_new0 (Prediction, 1);
    p->call = call;
    p->reference = g_strdup (instance->reference);
    p->model_info = sdk_instance_info (instance);
    p->load_config = kv_of_instance (instance);
    p->prediction_config = kv_effective (KV_PREDICTION, request.merged);
    p->names = g_steal_pointer (&request.names);
    p->wants_tokens = request.request->n_logprobs >= 0;
    p->progress = -1;
    set_marks (p, instance, request.merged);
    sdk_call_set_state (call, p, prediction_free);
    const InstanceWant want = { .reference = p->reference, .type = MODEL_LLM };
    p->job = instances_chat (sdk_call_api (call)->instances, &want, g_steal_pointer (&request.request), take_event, p);
}

void
sdk_predict (SdkCall *call, const json_t *parameter)
{
    predict (call, parameter, json_object_get (parameter, "history"), NULL);
}

void
sdk_complete_raw_text (SdkCall *call, const json_t *parameter)
{
    predict (call, parameter, NULL, json_object_get (parameter, "rawPrompt"));
}

/* The one message is `cancel`; `success` with userStopped still comes. */
void
sdk_predict_message (SdkCall *call, const char *type, const json_t *message)
{
    Prediction *p = sdk_call_state (call);
    if (p->cancelled || !p->job)
        return;
    p->cancelled = TRUE;
    if (p->slow) { /* a paused job would not come to its end */
        p->slow = FALSE;
        job_resume (p->job);
    }
    job_cancel (p->job);
}

void
sdk_predict_drained (SdkCall *call)
{
    Prediction *p = sdk_call_state (call);
    if (!p->slow || !p->job)
        return;
    p->slow = FALSE;
    job_resume (p->job);
}
