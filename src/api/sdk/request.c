/* request.c: conversation, tools and configuration of the SDK become one ChatRequest (spec: sdk.md 7.3 to 7.5). */
#include "api/sdk/request.h"

#include "api/sdk/kvconfig.h"
#include "api/sdk/types.h"
#include "chat/schema.h"

#include <string.h>

void
sdk_request_clear (SdkRequest *request)
{
    chat_request_free (request->request);
    tool_names_free (request->names);
    json_decref (request->merged);
    *request = (SdkRequest){ 0 };
}

/* The list in llm.prediction.tools; NULL: none. */
static const json_t *
tools_of (const json_t *merged)
{
    const json_t *value = kv_prediction (merged, "tools");
    if (g_strcmp0 (json_peek_string (value, "type"), "toolArray") != 0)
        return NULL;
    return json_object_get (value, "tools");
}

static char *
complain_tools (const json_t *tools)
{
    return tools ? shape_complain (&sdk_shape_tools, tools, "llm.prediction.tools.tools") : NULL;
}

static void
set_tools (SdkRequest *request)
{
    static const char *const modes[] = { "none", "auto", "required" };
    const char *mode = json_peek_string (kv_prediction (request->merged, "toolChoice"), "mode");
    request->request->tools = tool_names_tools (request->names);
    for (guint i = 0; request->request->tools && i < G_N_ELEMENTS (modes); i++)
        if (g_strcmp0 (mode, modes[i]) == 0)
            request->request->tool_choice = g_strdup (mode);
}

/* What is to be enforced is enforced whole, or refused by the keyword's path (http.md 3.11). */
static char *
complain_schema (ChatRequest *request)
{
    if (!request->json_schema || json_object_size (request->json_schema) == 0)
        return NULL; /* any JSON */
    g_autoptr (GError) error = NULL;
    g_autofree char *where = NULL;
    json_t *prepared =
        chat_schema_prepare (request->json_schema, "llm.prediction.structured.jsonSchema", &where, &error);
    if (!prepared)
        return g_strdup (error->message);
    json_decref (request->json_schema);
    request->json_schema = prepared;
    return NULL;
}

gboolean
sdk_request_read (SdkRequest *request, const json_t *history, const json_t *raw_prompt, const json_t *stack,
                  const json_t *tools, char **complaint)
{
    request->merged = kv_merge (stack);
    if ((*complaint = kv_complain (KV_PREDICTION, request->merged)))
        return FALSE;
    if (!tools)
        tools = tools_of (request->merged);
    if ((*complaint = complain_tools (tools)))
        return FALSE;

    request->request = chat_request_new ();
    request->request->overflow = CHAT_OVERFLOW_TRUNCATE_MIDDLE;
    kv_to_request (request->merged, request->request);
    if ((*complaint = complain_schema (request->request)))
        return FALSE;
    request->names = tool_names_new (tools, json_string_value (kv_prediction (request->merged, "toolNaming")));
    if (raw_prompt) {
        request->request->prompt = json_incref ((json_t *) raw_prompt);
        return TRUE;
    }
    set_tools (request);
    const char *system_prompt = json_string_value (kv_prediction (request->merged, "systemPrompt"));
    request->request->messages = history_to_messages (history, system_prompt, request->names, complaint);
    return request->request->messages != NULL;
}
