/* openai.c: any JSON as the body of a chat completion; it is refused with a sentence, or becomes a job that can be printed. */
#include "fuzz.h"

#include "api/openai/openai.h"

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    g_autoptr (json_t) body = json_parse (size ? (const char *) data : "", size, NULL);
    if (!json_is_object (body))
        return 0; /* the frame of all families refuses those before */

    g_auto (OpenaiChat) chat = { 0 };
    g_auto (ApiError) error = { 0 };
    if (!openai_chat_read (&chat, body, &error)) {
        g_assert_nonnull (error.message);
        g_assert_cmpuint (error.message[0], !=, '\0');
        return 0;
    }
    g_assert_null (error.message);
    g_assert_cmpint (chat.n, >=, 1);
    g_assert_true (json_is_array (chat.messages));

    g_autoptr (ChatRequest) request = openai_chat_request (&chat, 0);
    g_autoptr (json_t) job = chat_request_to_job (request);
    g_autofree char *printed = json_print (job, NULL);
    g_assert_cmpuint (printed[0], ==, '{');
    return 0;
}
