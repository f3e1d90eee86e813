/* tools.c: tools and tool_choice, from any of their forms to the one that templates take (spec: http.md 3.12).
 *
 * Names reach the model in letters that every template and grammar can stand, and come back as the caller wrote them. */
#include "api/openai/openai.h"

#include <string.h>

#define MAX_NAME 128 /* bytes */

typedef struct {
    OpenaiChat *chat;
    const char *field; /* "tools" or "functions" */
    json_t *sent;      /* {the caller's name: the model's} */
    GHashTable *taken; /* the model's names, a set */
    ApiError *error;
} Reader;

/* ---- tools ------------------------------------------------------------------------------------------------------------------- */

/* Characters outside [a-zA-Z0-9_-] become '_'; a number keeps the result unique. */
static char *
name_for_model (const Reader *r, const char *name)
{
    g_autoptr (GString) safe = g_string_new (NULL);
    for (const char *at = name; *at; at = g_utf8_next_char (at))
        g_string_append_c (safe, g_ascii_isalnum (*at) || *at == '_' || *at == '-' ? *at : '_');
    gsize stem = safe->len;
    for (guint i = 2;; i++) {
        if (g_hash_table_add (r->taken, g_strdup (safe->str)))
            return g_string_free (g_steal_pointer (&safe), FALSE);
        g_string_truncate (safe, stem);
        g_string_append_printf (safe, "_%u", i);
    }
}

/* The descriptions of @schema's members, which the model reads and a grammar does not need, back into what is left of them in @prepared. */
static void
keep_descriptions (json_t *prepared, const json_t *schema)
{
    json_t *description = json_object_get (schema, "description"), *member;
    const char *name;
    if (json_is_string (description) && json_is_object (prepared))
        json_object_set (prepared, "description", description);
    json_object_foreach (json_object_get (prepared, "properties"), name, member)
        keep_descriptions (member, json_object_get (json_object_get (schema, "properties"), name));
    if (json_is_object (json_object_get (prepared, "items")))
        keep_descriptions (json_object_get (prepared, "items"), json_object_get (schema, "items"));
}

/* A strict tool's parameters are what its calls are held to, so they must be a schema that can be enforced whole.  The engine takes
 * prompt and constraint from one schema: with `strict` the model reads the prepared one, without it the caller's own. */
static json_t *
hold_to (Reader *r, const char *path, json_t *schema)
{
    g_autoptr (json_t) owned = schema;
    g_autofree char *where = g_strconcat (path, ".parameters", NULL);
    json_t *prepared = openai_schema_prepare (schema, where, r->error);
    if (prepared)
        keep_descriptions (prepared, schema);
    return prepared;
}

/* A tool without parameters takes an empty object; a schema whose root has no type is one of objects. */
static json_t *
read_parameters (Reader *r, const char *path, const json_t *function, gboolean strict)
{
    json_t *given = json_object_get (function, "parameters");
    if (!given || json_is_null (given) || (json_is_object (given) && json_object_size (given) == 0))
        return json_pack ("{s:s, s:{}}", "type", "object", "properties");
    if (!json_is_object (given)) {
        g_autofree char *where = g_strconcat (path, ".parameters", NULL);
        return field_wrong_type (r->error, where, "an object"), NULL;
    }
    json_t *schema = json_copy (given);
    if (!json_object_get (schema, "type"))
        json_object_set_new (schema, "type", json_string ("object"));
    return strict ? hold_to (r, path, schema) : schema;
}

static gboolean
check_strict (Reader *r, const char *path, const json_t *function, gboolean *strict)
{
    static const Field rows[] = { { "strict", FIELD_BOOL_LOOSE, .size = sizeof (gboolean) } };
    static const FieldTable table = FIELD_TABLE (rows);
    return fields_read (&table, function, path, strict, r->error);
}

static gboolean
add_function (Reader *r, const char *path, const json_t *function)
{
    if (!json_is_object (function))
        return function ? field_wrong_type (r->error, path, "an object") : field_missing (r->error, path);
    g_autofree char *name_path = g_strconcat (path, ".name", NULL);
    const json_t *name = json_object_get (function, "name");
    if (!json_is_string (name))
        return name ? field_wrong_type (r->error, name_path, "a string") : field_missing (r->error, name_path);
    const char *text = json_string_value (name);
    if (!*text || strlen (text) != json_string_length (name) || strlen (text) > MAX_NAME)
        return api_error_set (r->error, API_INVALID_VALUE, name_path, "\"%s\" must be 1 to %d bytes long.", name_path,
                              MAX_NAME);
    if (json_object_get (r->sent, text))
        return api_error_set (r->error, API_INVALID_VALUE, name_path, "\"%s\": two tools have the name '%s'.",
                              name_path, text);
    gboolean strict = FALSE;
    json_t *parameters;
    if (!check_strict (r, path, function, &strict) || !(parameters = read_parameters (r, path, function, strict)))
        return FALSE;

    g_autofree char *safe = name_for_model (r, text);
    json_object_set_new (r->sent, text, json_string (safe));
    json_t *out = json_pack ("{s:s, s:o}", "name", safe, "parameters", parameters);
    json_t *description = json_object_get (function, "description");
    if (json_is_string (description))
        json_object_set (out, "description", description);
    if (strict)
        json_object_set_new (out, "strict", json_true ());
    json_array_append_new (r->chat->tools, json_pack ("{s:s, s:o}", "type", "function", "function", out));
    return TRUE;
}

static gboolean
read_tool (Reader *r, gsize index, const json_t *tool)
{
    g_autofree char *path = g_strdup_printf ("tools[%" G_GSIZE_FORMAT "]", index);
    if (!json_is_object (tool))
        return field_wrong_type (r->error, path, "an object");
    if (g_strcmp0 (json_peek_string (tool, "type"), "function") != 0) {
        g_autofree char *where = g_strconcat (path, ".type", NULL);
        return api_error_set (r->error, API_INVALID_VALUE, where, "\"%s\" must be 'function'.", where);
    }
    g_autofree char *inner = g_strconcat (path, ".function", NULL);
    return add_function (r, inner, json_object_get (tool, "function"));
}

static gboolean
read_list (Reader *r)
{
    size_t i;
    json_t *one;
    r->chat->tools = json_array ();
    if (g_str_equal (r->field, "tools")) {
        json_array_foreach (r->chat->raw_tools, i, one)
            if (!read_tool (r, i, one))
                return FALSE;
        return TRUE;
    }
    json_array_foreach (r->chat->raw_functions, i, one) {
        g_autofree char *path = g_strdup_printf ("functions[%zu]", i);
        if (!add_function (r, path, one))
            return FALSE;
    }
    return TRUE;
}

/* ---- names in the history and in the reply ---------------------------------------------------------------------------------------- */

static void
rename_history (Reader *r)
{
    size_t i, k;
    json_t *message, *call;
    json_array_foreach (r->chat->messages, i, message)
        json_array_foreach (json_object_get (message, "tool_calls"), k, call) {
            json_t *function = json_object_get (call, "function");
            const char *name = json_peek_string (function, "name");
            json_t *safe = name ? json_object_get (r->sent, name) : NULL;
            if (safe)
                json_object_set (function, "name", safe);
        }
}

static void
remember_names (Reader *r)
{
    const char *name;
    json_t *safe;
    json_object_foreach (r->sent, name, safe) {
        if (g_str_equal (name, json_string_value (safe)))
            continue;
        if (!r->chat->tool_names)
            r->chat->tool_names = json_object ();
        json_object_set_new (r->chat->tool_names, json_string_value (safe), json_string (name));
    }
}

/* ---- tool_choice ------------------------------------------------------------------------------------------------------------------ */

static gboolean
bad_choice (Reader *r, const char *param, const char *why)
{
    return api_error_set (r->error, API_INVALID_VALUE, param, "\"%s\" %s", param, why);
}

/* Only the tools whose names are in @allowed (the model's names) are offered: the engine takes prompt and constraint from one list. */
static void
offer_only (Reader *r, GHashTable *allowed)
{
    g_autoptr (json_t) only = json_array ();
    size_t i;
    json_t *tool;
    json_array_foreach (r->chat->tools, i, tool)
        if (g_hash_table_contains (allowed, json_peek_string (json_object_get (tool, "function"), "name")))
            json_array_append (only, tool);
    json_decref (r->chat->tools);
    r->chat->tools = g_steal_pointer (&only);
}

/* Adds what the model knows the function as. */
static gboolean
allow (Reader *r, const char *param, const json_t *name, GHashTable *allowed)
{
    const char *safe = json_is_string (name) ? json_peek_string (r->sent, json_string_value (name)) : NULL;
    if (!safe)
        return bad_choice (r, param, "names a function that is not in the tools.");
    g_hash_table_add (allowed, (char *) safe);
    return TRUE;
}

/* Exactly one call of the one function: it alone is offered, and required. */
static gboolean
choose_function (Reader *r, const char *param, const json_t *name)
{
    g_autoptr (GHashTable) allowed = g_hash_table_new (g_str_hash, g_str_equal);
    if (!allow (r, param, name, allowed))
        return FALSE;
    offer_only (r, allowed);
    r->chat->tool_choice = "required";
    r->chat->parallel_tool_calls = FALSE;
    return TRUE;
}

/* {"mode":"auto" or "required","tools":[{"type":"function","function":{"name":N}}]} */
static gboolean
choose_allowed (Reader *r, const char *param, const json_t *choice)
{
    const char *mode = json_peek_string (choice, "mode");
    const json_t *tools = json_object_get (choice, "tools");
    gboolean required = g_strcmp0 (mode, "required") == 0;
    if (!required && g_strcmp0 (mode, "auto") != 0)
        return bad_choice (r, param, "of type allowed_tools needs the mode auto or required.");
    if (json_array_size (tools) == 0)
        return bad_choice (r, param, "of type allowed_tools needs a list of tools.");
    g_autoptr (GHashTable) allowed = g_hash_table_new (g_str_hash, g_str_equal);
    size_t i;
    json_t *tool;
    json_array_foreach (tools, i, tool)
        if (!allow (r, param, json_object_get (json_object_get (tool, "function"), "name"), allowed))
            return FALSE;
    offer_only (r, allowed);
    r->chat->tool_choice = required ? "required" : "auto";
    return TRUE;
}

static gboolean
read_object_choice (Reader *r, const char *param, const json_t *choice)
{
    const char *type = json_peek_string (choice, "type");
    if (g_str_equal (param, "function_call"))
        return choose_function (r, param, json_object_get (choice, "name"));
    if (g_strcmp0 (type, "function") == 0)
        return choose_function (r, param, json_object_get (json_object_get (choice, "function"), "name"));
    if (g_strcmp0 (type, "allowed_tools") == 0)
        return choose_allowed (r, param, json_object_get (choice, "allowed_tools"));
    return bad_choice (r, param, "must be none, auto, required, or name a function.");
}

static gboolean
read_choice (Reader *r, const char *param, const json_t *choice)
{
    static const char *const words[] = { "auto", "none", "required" };
    if (json_is_object (choice))
        return read_object_choice (r, param, choice);
    if (!json_is_string (choice))
        return field_wrong_type (r->error, param, "a string or an object");
    for (guint i = 0; i < G_N_ELEMENTS (words); i++)
        if (g_str_equal (words[i], json_string_value (choice))) {
            if (i == 2 && !r->chat->tools)
                return bad_choice (r, param, "is required, but there are no tools.");
            r->chat->tool_choice = r->chat->tools ? words[i] : NULL;
            return TRUE;
        }
    return bad_choice (r, param, "must be none, auto, required, or name a function.");
}

gboolean
openai_tools_read (OpenaiChat *chat, ApiError *error)
{
    g_autoptr (json_t) sent = json_object ();
    g_autoptr (GHashTable) taken = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    gboolean old = !chat->raw_tools && chat->raw_functions;
    Reader reader = {
        .chat = chat, .field = old ? "functions" : "tools", .sent = sent, .taken = taken, .error = error
    };
    if (json_array_size (old ? chat->raw_functions : chat->raw_tools) > 0 && !read_list (&reader))
        return FALSE;
    chat->old_functions = old;
    if (old)
        chat->parallel_tool_calls = FALSE; /* the old form can say one call only */
    rename_history (&reader);
    remember_names (&reader);
    if (old && chat->raw_function_call)
        return read_choice (&reader, "function_call", chat->raw_function_call);
    return !chat->raw_tool_choice || read_choice (&reader, "tool_choice", chat->raw_tool_choice);
}
