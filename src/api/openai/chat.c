/* chat.c: POST /v1/chat/completions (spec: http.md 4). */
#include "api/openai/openai.h"

#include "base/ids.h"

void
openai_chat (ApiCall *call)
{
    g_auto (OpenaiChat) chat = { 0 };
    g_auto (ApiError) error = { 0 };
    if (!openai_chat_read (&chat, call->body, &error)) {
        api_call_fail (call, &error);
        return;
    }
    ChatRequest *requests[OPENAI_MAX_N];
    for (guint i = 0; i < chat.n; i++)
        requests[i] = openai_chat_request (&chat, i);

    g_autofree char *id = ids_new ("chatcmpl-", IDS_LOWER_ALNUM, 22);
    g_autofree char *what =
        g_strdup_printf ("chat completion on conversation with %zu messages", json_array_size (chat.messages));
    gboolean separate = settings_get (call->api->settings)->separate_reasoning;
    api_run (call, &(ApiRunOptions){
                       .type = &openai_chat_printer_type,
                       .printer = openai_chat_printer_new (id, g_get_real_time () / G_USEC_PER_SEC, &chat, separate),
                       .stream = chat.stream,
                       .want = { .model = chat.model,
                                 .type = MODEL_LLM,
                                 .may_load = TRUE,
                                 .ttl_seconds = MIN (chat.ttl, OPENAI_MAX_TTL_SECONDS) },
                       .requests = requests,
                       .n = chat.n,
                       .what = what,
                   });
}
