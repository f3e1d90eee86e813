/* ask.c: questions to an engine that are no prediction: tokens, the prompt template, embeddings (spec: sdk.md 7.7). */
#include "api/sdk/endpoints.h"
#include "api/sdk/request.h"
#include "link/link.h"

#include <string.h>

typedef struct Question Question;
struct Question {
    SdkCall *call; /* not a reference: the call owns this */
    Job *job;      /* NULL once it was answered */
    gboolean omit_bos, omit_eos;
    json_t *(*print) (const Question *question, const Instance *instance, const json_t *answer);
};

static void
question_free (gpointer data)
{
    Question *question = data;
    if (question->job)
        job_drop (question->job);
    g_free (question);
}

static void
answered (const Instance *instance, const json_t *answer, GBytes *bytes, const ChatFailure *failure, gpointer data)
{
    Question *question = data;
    question->job = NULL;
    if (failure)
        sdk_call_fail (question->call, sdk_error_from_failure (failure, "ask the model"));
    else
        sdk_call_result (question->call, question->print (question, instance, answer));
}

/* Asks @instance; the answer ends the call. */
static Question *
ask (SdkCall *call, const Instance *instance, guint link_type, const json_t *payload,
     json_t *(*print) (const Question *question, const Instance *instance, const json_t *answer))
{
    Question *question = g_new0 (Question, 1);
    question->call = call;
    question->print = print;
    sdk_call_set_state (call, question, question_free);
    const InstanceWant want = { .reference = instance->reference, .type = instance->model->type };
    question->job = instances_ask (sdk_call_api (call)->instances, &want, link_type, payload, answered, question);
    return question;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------------------ */

static json_t *
print_tokens (const Question *question, const Instance *instance, const json_t *answer)
{
    json_t *tokens = json_object_get (answer, "tokens");
    return json_pack ("{s:o}", "tokens", json_is_array (tokens) ? json_incref (tokens) : json_array ());
}

static json_t *
print_count (const Question *question, const Instance *instance, const json_t *answer)
{
    return json_pack ("{s:I}", "tokenCount", (json_int_t) json_array_size (json_object_get (answer, "tokens")));
}

static void
tokenize (SdkCall *call, const json_t *parameter,
          json_t *(*print) (const Question *question, const Instance *instance, const json_t *answer))
{
    const Instance *instance = sdk_need_instance (call, json_object_get (parameter, "specifier"));
    if (!instance)
        return;
    g_autoptr (json_t) payload =
        json_pack ("{s:O, s:b}", "text", json_object_get (parameter, "inputString"), "add_special", FALSE);
    ask (call, instance, LINK_TOKENIZE, payload, print);
}

void
sdk_tokenize (SdkCall *call, const json_t *parameter)
{
    tokenize (call, parameter, print_tokens);
}

void
sdk_count_tokens (SdkCall *call, const json_t *parameter)
{
    tokenize (call, parameter, print_count);
}

/* ---- the prompt template ------------------------------------------------------------------------------------------------------- */

static json_t *
print_prompt (const Question *question, const Instance *instance, const json_t *answer)
{
    const json_t *prompt = json_object_get (answer, "prompt");
    const char *text = json_is_string (prompt) ? json_string_value (prompt) : "";
    size_t length = json_string_length (prompt);
    const char *bos = json_peek_string (instance ? instance->ready : NULL, "bos");
    const char *eos = json_peek_string (instance ? instance->ready : NULL, "eos");
    if (question->omit_bos && bos && *bos && g_str_has_prefix (text, bos)) {
        text += strlen (bos);
        length -= strlen (bos);
    }
    if (question->omit_eos && eos && *eos && length >= strlen (eos) &&
        memcmp (text + length - strlen (eos), eos, strlen (eos)) == 0)
        length -= strlen (eos);
    return json_pack ("{s:s%}", "formatted", text, length);
}

void
sdk_apply_prompt_template (SdkCall *call, const json_t *parameter)
{
    const Instance *instance = sdk_need_instance (call, json_object_get (parameter, "specifier"));
    if (!instance)
        return;
    const json_t *options = json_object_get (parameter, "opts");
    g_auto (SdkRequest) request = { 0 };
    g_autofree char *complaint = NULL;
    if (!sdk_request_read (&request, json_object_get (parameter, "history"), NULL,
                           json_object_get (parameter, "predictionConfigStack"),
                           json_object_get (options, "toolDefinitions"), &complaint)) {
        sdk_call_fail (call, sdk_error (complaint));
        return;
    }
    g_autoptr (json_t) job = chat_request_to_job (request.request);
    g_autoptr (json_t) payload = json_pack ("{s:O}", "request", json_object_get (job, "request"));
    Question *question = ask (call, instance, LINK_RENDER, payload, print_prompt);
    question->omit_bos = json_peek_bool (options, "omitBosToken", FALSE);
    question->omit_eos = json_peek_bool (options, "omitEosToken", FALSE);
}
