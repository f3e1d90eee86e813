/* messages.c: what may stand in `messages`, and the one form in which the engine gets it (spec: http.md 4.1, 3.12 History).
 *
 * Clients of ten years write the same thing in many ways; templates know one.  So: developer becomes system, function becomes tool, text parts
 * become one string, old function_call becomes tool_calls, a tool message without a known id gets the id of the call at its position. */
#include "api/image.h"
#include "api/openai/openai.h"

#include <string.h>

typedef enum { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL } Role;

static const struct {
    const char *name;
    Role role;
} roles[] = {
    { "system", ROLE_SYSTEM },       { "developer", ROLE_SYSTEM }, { "user", ROLE_USER },
    { "assistant", ROLE_ASSISTANT }, { "tool", ROLE_TOOL },        { "function", ROLE_TOOL },
};

static const char *const role_names[] = { "system", "user", "assistant", "tool" };

#define MAX_CALLS  256   /* of one message: each answer looks for its call among them */
#define MAX_PIECES 65536 /* parts and calls of all messages: they are read on the loop */

/* The conversation as far as it was read. */
typedef struct {
    json_t *out;
    gsize n_pieces;
    json_t *calls; /* of the last assistant message; lent */
    gsize n_answered;
    ApiError *error;
} Reader;

/* "messages[3].content" */
static char *
path_of (gsize index, const char *member)
{
    return g_strdup_printf ("messages[%" G_GSIZE_FORMAT "]%s%s", index, member ? "." : "", member ? member : "");
}

static gboolean
wrong_type (Reader *r, gsize index, const char *member, const char *what)
{
    g_autofree char *path = path_of (index, member);
    return field_wrong_type (r->error, path, what);
}

static gboolean
count_pieces (Reader *r, const json_t *list)
{
    r->n_pieces += json_array_size (list);
    return r->n_pieces <= MAX_PIECES ||
           api_error_set (r->error, API_INVALID_VALUE, "messages", "\"messages\" must have at most %d parts and calls.",
                          MAX_PIECES);
}

static json_t *
member (const json_t *object, const char *key)
{
    json_t *value = json_object_get (object, key);
    return json_is_null (value) ? NULL : value;
}

/* ---- content ----------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *type, *text; /* the member that holds a text; NULL: no text at all */
    const char *image;       /* the member that holds an image's URL, itself or as its `url` */
} parts[] = {
    { .type = "text", .text = "text" },
    { .type = "input_text", .text = "text" },
    { .type = "output_text", .text = "text" },
    { .type = "refusal", .text = "refusal" },
    { .type = "image_url", .image = "image_url" },
    { .type = "input_image", .image = "image_url" },
    { .type = "input_audio" },
    { .type = "file" },
    { .type = "input_file" },
};

/* A picture that is none is wrong for every model, and is said first. */
static gboolean
check_image (Reader *r, const json_t *part, const char *path, const char *member)
{
    const json_t *given = json_object_get (part, member),
                 *url = json_is_object (given) ? json_object_get (given, "url") : given;
    g_autofree char *where = g_strconcat (path, ".", member, json_is_object (given) ? ".url" : "", NULL);
    if (!json_is_string (url))
        return url ? field_wrong_type (r->error, where, "a string") : field_missing (r->error, where);
    return image_url_is_fine (json_string_value (url), json_string_length (url)) ||
           api_error_set (r->error, API_INVALID_VALUE, where, "'url' field must be a base64 encoded image.");
}

static gboolean
add_part (Reader *r, const json_t *part, const char *path, GString *text)
{
    if (!json_is_object (part))
        return field_wrong_type (r->error, path, "an object");
    const char *type = json_peek_string (part, "type");
    if (!type) {
        g_autofree char *where = g_strconcat (path, ".type", NULL);
        return json_object_get (part, "type") ? field_wrong_type (r->error, where, "a string")
                                              : field_missing (r->error, where);
    }
    for (guint i = 0; i < G_N_ELEMENTS (parts); i++) {
        if (!g_str_equal (parts[i].type, type))
            continue;
        if (parts[i].image && !check_image (r, part, path, parts[i].image))
            return FALSE;
        if (!parts[i].text)
            return api_error_set (r->error, API_UNSUPPORTED_CONTENT, path,
                                  "\"%s\": parts of type '%s' are not supported by this model.", path, type);
        const json_t *value = json_object_get (part, parts[i].text);
        if (!json_is_string (value)) {
            g_autofree char *where = g_strconcat (path, ".", parts[i].text, NULL);
            return value ? field_wrong_type (r->error, where, "a string") : field_missing (r->error, where);
        }
        g_string_append_len (text, json_string_value (value), json_string_length (value));
        return TRUE;
    }
    g_autofree char *where = g_strconcat (path, ".type", NULL);
    return api_error_set (r->error, API_INVALID_VALUE, where, "\"%s\" must be one of: text, image_url. Got '%s'.",
                          where, type);
}

/* A new string, or json null for an assistant that only calls; NULL and the error. */
static json_t *
read_content (Reader *r, gsize index, const json_t *message, gboolean may_be_null)
{
    const json_t *content = member (message, "content");
    if (!content)
        return may_be_null ? json_null () : json_string ("");
    if (json_is_string (content))
        return json_incref ((json_t *) content);
    if (!json_is_array (content))
        return wrong_type (r, index, "content", "a string or an array of parts"), NULL;
    if (!count_pieces (r, content))
        return NULL;
    g_autoptr (GString) text = g_string_new (NULL);
    size_t i;
    json_t *part;
    json_array_foreach (content, i, part) {
        g_autofree char *path = g_strdup_printf ("messages[%" G_GSIZE_FORMAT "].content[%zu]", index, i);
        if (!add_part (r, part, path, text))
            return NULL;
    }
    return json_stringn (text->str, text->len);
}

/* Copies a member that must be a string. */
static gboolean
copy_string (Reader *r, gsize index, const json_t *message, const char *from, json_t *out, const char *to)
{
    json_t *value = member (message, from);
    if (value && !json_is_string (value))
        return wrong_type (r, index, from, "a string");
    if (value)
        json_object_set (out, to, value);
    return TRUE;
}

/* ---- calls ------------------------------------------------------------------------------------------------------------------- */

/* {"name","arguments"}; arguments that came as an object are written as text. */
static json_t *
read_function (Reader *r, const char *path, const json_t *function)
{
    if (!json_is_object (function))
        return field_wrong_type (r->error, path, "an object"), NULL;
    const json_t *name = json_object_get (function, "name");
    json_t *arguments = member (function, "arguments");
    if (!json_is_string (name)) {
        g_autofree char *where = g_strconcat (path, ".name", NULL);
        return name ? field_wrong_type (r->error, where, "a string") : field_missing (r->error, where), NULL;
    }
    if (arguments && !json_is_string (arguments) && !json_is_object (arguments)) {
        g_autofree char *where = g_strconcat (path, ".arguments", NULL);
        return field_wrong_type (r->error, where, "a string"), NULL;
    }
    json_t *out = json_pack ("{s:O}", "name", name);
    if (json_is_string (arguments)) {
        json_object_set (out, "arguments", arguments);
    } else {
        gsize length = 2;
        g_autofree char *text = arguments ? json_print (arguments, &length) : g_strdup ("{}");
        json_set_text (out, "arguments", text, length);
    }
    return out;
}

static gboolean
add_call (Reader *r, json_t *calls, const char *path, const json_t *function, const json_t *id)
{
    json_t *read = read_function (r, path, function);
    if (!read)
        return FALSE;
    json_t *call = json_pack ("{s:s, s:o}", "type", "function", "function", read);
    if (json_is_string (id)) {
        json_object_set (call, "id", (json_t *) id);
    } else {
        g_autofree char *made = g_strdup_printf ("call_%zu", json_array_size (calls));
        json_object_set_new (call, "id", json_string (made));
    }
    json_array_append_new (calls, call);
    return TRUE;
}

/* Into @out: "tool_calls", if there are any. */
static gboolean
read_calls (Reader *r, gsize index, const json_t *message, json_t *out)
{
    const json_t *given = member (message, "tool_calls"), *old = member (message, "function_call");
    if (given && !json_is_array (given))
        return wrong_type (r, index, "tool_calls", "an array");
    if (!count_pieces (r, given))
        return FALSE;
    if (json_array_size (given) > MAX_CALLS) {
        g_autofree char *path = path_of (index, "tool_calls");
        return api_error_set (r->error, API_INVALID_VALUE, path, "\"%s\" must have at most %d elements.", path,
                              MAX_CALLS);
    }
    g_autoptr (json_t) calls = json_array ();
    size_t i;
    json_t *call;
    json_array_foreach (given, i, call) {
        g_autofree char *path = g_strdup_printf ("messages[%" G_GSIZE_FORMAT "].tool_calls[%zu]", index, i);
        if (!json_is_object (call))
            return field_wrong_type (r->error, path, "an object");
        g_autofree char *inner = g_strconcat (path, ".function", NULL);
        if (!add_call (r, calls, inner, json_object_get (call, "function"), json_object_get (call, "id")))
            return FALSE;
    }
    if (old && json_array_size (calls) == 0) {
        g_autofree char *path = path_of (index, "function_call");
        if (!add_call (r, calls, path, old, NULL))
            return FALSE;
    }
    if (json_array_size (calls) > 0)
        json_object_set (out, "tool_calls", calls);
    return TRUE;
}

/* Which of the calls a tool message answers: by its id; without a known one by its position. */
static gboolean
read_call_id (Reader *r, gsize index, const json_t *message, json_t *out)
{
    if (!copy_string (r, index, message, "tool_call_id", out, "tool_call_id"))
        return FALSE;
    gsize position = r->n_answered++, i;
    const char *id = json_peek_string (out, "tool_call_id");
    json_t *call;
    json_array_foreach (r->calls, i, call)
        if (id && g_strcmp0 (json_peek_string (call, "id"), id) == 0)
            return TRUE;
    json_t *known = json_object_get (json_array_get (r->calls, position), "id");
    if (known)
        json_object_set (out, "tool_call_id", known);
    return TRUE;
}

/* ---- messages ---------------------------------------------------------------------------------------------------------------- */

static gboolean
read_role (Reader *r, gsize index, const json_t *message, Role *role)
{
    const json_t *given = json_object_get (message, "role");
    for (guint i = 0; json_is_string (given) && i < G_N_ELEMENTS (roles); i++)
        if (g_str_equal (roles[i].name, json_string_value (given)))
            return *role = roles[i].role, TRUE;
    g_autofree char *path = path_of (index, "role");
    g_autofree char *got = !given                   ? g_strdup ("undefined")
                           : json_is_string (given) ? g_strdup (json_string_value (given))
                                                    : json_print (given, NULL);
    return api_error_set (r->error, json_is_string (given) || !given ? API_INVALID_VALUE : API_INVALID_TYPE, path,
                          "'messages' array must only contain objects with a 'role' field that is in "
                          "[user, assistant, system, tool]. Got '%s'",
                          got);
}

static gboolean
read_assistant (Reader *r, gsize index, const json_t *message, json_t *out)
{
    if (!read_calls (r, index, message, out) ||
        !copy_string (r, index, message, "reasoning", out, "reasoning_content") ||
        !copy_string (r, index, message, "reasoning_content", out, "reasoning_content"))
        return FALSE;
    r->calls = json_object_get (out, "tool_calls");
    r->n_answered = 0;
    return TRUE;
}

static gboolean
read_message (Reader *r, gsize index, const json_t *message)
{
    Role role = ROLE_USER;
    if (!json_is_object (message))
        return wrong_type (r, index, NULL, "an object");
    if (!read_role (r, index, message, &role))
        return FALSE;
    json_t *out = json_pack ("{s:s}", "role", role_names[role]);
    json_array_append_new (r->out, out);
    if (!copy_string (r, index, message, "name", out, "name"))
        return FALSE;
    if (role == ROLE_ASSISTANT && !read_assistant (r, index, message, out))
        return FALSE;
    if (role == ROLE_TOOL && !read_call_id (r, index, message, out))
        return FALSE;
    json_t *content = read_content (r, index, message, json_object_get (out, "tool_calls") != NULL);
    return content && json_object_set_new (out, "content", content) == 0;
}

/* A last assistant message with a text and without calls is the beginning of the reply. */
static gboolean
is_beginning (const json_t *message)
{
    return g_strcmp0 (json_peek_string (message, "role"), "assistant") == 0 &&
           !json_object_get (message, "tool_calls") && json_string_length (json_object_get (message, "content")) > 0;
}

gboolean
openai_messages_read (OpenaiChat *chat, ApiError *error)
{
    chat->messages = json_array ();
    Reader reader = { .out = chat->messages, .error = error };
    size_t i;
    json_t *message;
    json_array_foreach (chat->raw_messages, i, message)
        if (!read_message (&reader, i, message))
            return FALSE;
    chat->continues = chat->continue_final_message &&
                      is_beginning (json_array_get (chat->messages, json_array_size (chat->messages) - 1));
    return TRUE;
}
