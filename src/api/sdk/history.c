/* history.c: messages of the SDK as messages of OpenAI's form.
 *
 *   assistant [text "let me see", toolCallRequest {id, name, arguments: object}]
 *        ─▶   {"role":"assistant","content":"let me see","tool_calls":[{id, function: {name, arguments: text}}]}
 *   tool [toolCallResult, toolCallResult]   ─▶   one message each, with the name that belongs to the id */
#include "api/sdk/history.h"

#include <string.h>

/* ---- names of tools -------------------------------------------------------------------------------------------------------- */

struct ToolNames {
    const json_t *tools;     /* lent */
    GHashTable *by_original; /* name -> shown */
    GHashTable *by_shown;    /* shown -> name */
};

static gboolean
is_plain (char c)
{
    return g_ascii_isalnum (c) || c == '_' || c == '-';
}

static char *
remove_special (const char *name)
{
    GString *shown = g_string_new (NULL);
    for (const char *p = name; *p; p++)
        if (is_plain (*p))
            g_string_append_c (shown, *p);
    return g_string_free (shown, FALSE);
}

/* Words end at anything but letters and digits, and before a capital that follows a small letter. */
static char *
join_words (const char *name, gboolean camel)
{
    GString *shown = g_string_new (NULL);
    gboolean at_start = TRUE;
    for (const char *p = name; *p; p++) {
        if (!g_ascii_isalnum (*p)) {
            at_start = TRUE;
            continue;
        }
        if (p > name && g_ascii_isupper (*p) && g_ascii_islower (p[-1]))
            at_start = TRUE;
        if (at_start && shown->len > 0 && !camel)
            g_string_append_c (shown, '_');
        g_string_append_c (shown, at_start && camel && shown->len > 0 ? g_ascii_toupper (*p) : g_ascii_tolower (*p));
        at_start = FALSE;
    }
    return g_string_free (shown, FALSE);
}

static char *
show_name (const char *name, const char *naming)
{
    if (g_strcmp0 (naming, "passThrough") == 0)
        return g_strdup (name);
    if (g_strcmp0 (naming, "snakeCase") == 0)
        return join_words (name, FALSE);
    if (g_strcmp0 (naming, "camelCase") == 0)
        return join_words (name, TRUE);
    return remove_special (name);
}

static const char *
tool_name (const json_t *tool)
{
    return json_peek_string (json_object_get (tool, "function"), "name");
}

ToolNames *
tool_names_new (const json_t *tools, const char *naming)
{
    ToolNames *names = g_new0 (ToolNames, 1);
    names->tools = tools;
    names->by_original = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
    names->by_shown = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
    size_t i;
    const json_t *tool;
    json_array_foreach (tools, i, tool) {
        const char *name = tool_name (tool);
        g_autofree char *plain = show_name (name, naming);
        const char *base = *plain ? plain : "tool";
        g_autofree char *shown = g_strdup (base);
        for (guint n = 2; g_hash_table_contains (names->by_shown, shown); n++) {
            g_free (shown);
            shown = g_strdup_printf ("%s_%u", base, n);
        }
        g_hash_table_insert (names->by_original, g_strdup (name), g_strdup (shown));
        g_hash_table_insert (names->by_shown, g_steal_pointer (&shown), g_strdup (name));
    }
    return names;
}

void
tool_names_free (ToolNames *names)
{
    if (!names)
        return;
    g_hash_table_unref (names->by_original);
    g_hash_table_unref (names->by_shown);
    g_free (names);
}

json_t *
tool_names_tools (const ToolNames *names)
{
    if (json_array_size (names->tools) == 0)
        return NULL;
    json_t *tools = json_array ();
    size_t i;
    const json_t *tool;
    json_array_foreach (names->tools, i, tool) {
        const json_t *function = json_object_get (tool, "function"),
                     *description = json_object_get (function, "description");
        json_t *parameters = json_object_get (function, "parameters");
        json_t *shown = json_pack ("{s:s, s:o}", "name", tool_names_shown (names, tool_name (tool)), "parameters",
                                   parameters ? json_incref (parameters)
                                              : json_pack ("{s:s, s:{}}", "type", "object", "properties"));
        if (description)
            json_object_set (shown, "description", (json_t *) description);
        json_array_append_new (tools, json_pack ("{s:s, s:o}", "type", "function", "function", shown));
    }
    return tools;
}

const char *
tool_names_shown (const ToolNames *names, const char *name)
{
    const char *shown = g_hash_table_lookup (names->by_original, name);
    return shown ? shown : name;
}

const char *
tool_names_original (const ToolNames *names, const char *shown)
{
    const char *name = g_hash_table_lookup (names->by_shown, shown);
    return name ? name : shown;
}

/* ---- messages -------------------------------------------------------------------------------------------------------------- */

/* Calls of the last assistant message: id -> name, for results that don't say it, and in order for those that have no id. */
typedef struct {
    const ToolNames *names;
    json_t *calls; /* the last `tool_calls`, or NULL; lent */
    size_t n_results;
} Context;

static gboolean
is_part (const json_t *part, const char *type)
{
    return g_strcmp0 (json_peek_string (part, "type"), type) == 0;
}

static json_t *
text_of (const json_t *parts)
{
    g_autoptr (GString) text = g_string_new (NULL);
    size_t i;
    const json_t *part;
    json_array_foreach (parts, i, part) {
        const json_t *piece = is_part (part, "text") ? json_object_get (part, "text") : NULL;
        if (piece)
            g_string_append_len (text, json_string_value (piece), json_string_length (piece));
    }
    return json_stringn (text->str, text->len);
}

static json_t *
call_to_openai (const Context *context, const json_t *request)
{
    json_t *arguments = json_object_get (request, "arguments");
    g_autofree char *text = arguments ? json_print (arguments, NULL) : g_strdup ("{}");
    const char *id = json_peek_string (request, "id");
    return json_pack ("{s:s, s:s, s:{s:s, s:s}}", "id", id ? id : "", "type", "function", "function", "name",
                      tool_names_shown (context->names, json_peek_string (request, "name")), "arguments", text);
}

static void
add_assistant (Context *context, json_t *messages, const json_t *parts)
{
    json_t *calls = json_array ();
    size_t i;
    const json_t *part;
    json_array_foreach (parts, i, part)
        if (is_part (part, "toolCallRequest"))
            json_array_append_new (calls, call_to_openai (context, json_object_get (part, "toolCallRequest")));
    json_t *message = json_pack ("{s:s, s:o}", "role", "assistant", "content", text_of (parts));
    context->calls = NULL;
    context->n_results = 0;
    if (json_array_size (calls) > 0) {
        context->calls = calls;
        json_object_set (message, "tool_calls", calls);
    }
    json_decref (calls);
    json_array_append_new (messages, message);
}

static const json_t *
find_call (const Context *context, const char *id)
{
    size_t i;
    const json_t *call;
    json_array_foreach (context->calls, i, call)
        if (id && g_strcmp0 (json_peek_string (call, "id"), id) == 0)
            return call;
    return json_array_get (context->calls, context->n_results);
}

static void
add_results (Context *context, json_t *messages, const json_t *parts)
{
    size_t i;
    const json_t *part;
    json_array_foreach (parts, i, part) {
        if (!is_part (part, "toolCallResult"))
            continue;
        const char *id = json_peek_string (part, "toolCallId"), *name = json_peek_string (part, "name");
        const json_t *call = find_call (context, id);
        if (!id)
            id = json_peek_string (call, "id");
        const char *shown = name ? tool_names_shown (context->names, name)
                                 : json_peek_string (json_object_get (call, "function"), "name");
        json_t *message = json_pack ("{s:s, s:O, s:s*, s:s*}", "role", "tool", "content",
                                     json_object_get (part, "content"), "tool_call_id", id, "name", shown);
        json_array_append_new (messages, message);
        context->n_results++;
    }
}

static char *
complain_file (const json_t *parts)
{
    size_t i;
    const json_t *part;
    json_array_foreach (parts, i, part)
        if (is_part (part, "file"))
            return g_strdup_printf ("The file \"%.200s\" can't be given to the model: this server has no file uploads",
                                    json_peek_string (part, "name"));
    return NULL;
}

json_t *
history_to_messages (const json_t *history, const char *system_prompt, const ToolNames *names, char **complaint)
{
    g_autoptr (json_t) messages = json_array ();
    Context context = { .names = names };
    gboolean has_system = FALSE;
    size_t i;
    const json_t *message;
    json_array_foreach (json_object_get (history, "messages"), i, message) {
        const char *role = json_peek_string (message, "role");
        const json_t *parts = json_object_get (message, "content");
        if ((*complaint = complain_file (parts)))
            return NULL;
        if (strcmp (role, "assistant") == 0)
            add_assistant (&context, messages, parts);
        else if (strcmp (role, "tool") == 0)
            add_results (&context, messages, parts);
        else
            json_array_append_new (messages, json_pack ("{s:s, s:o}", "role", role, "content", text_of (parts)));
        has_system |= strcmp (role, "system") == 0;
    }
    if (!has_system && system_prompt && *system_prompt)
        json_array_insert_new (messages, 0, json_pack ("{s:s, s:s}", "role", "system", "content", system_prompt));
    return g_steal_pointer (&messages);
}
