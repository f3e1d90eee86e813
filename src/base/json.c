/* json.c: jansson with our limits. */
#include "base/json.h"

#include <math.h>
#include <string.h>

G_DEFINE_QUARK (json - parse - error - quark, json_parse_error)

/* jansson allows 2048 levels, and values without end; we want JSON_MAX_DEPTH and JSON_MAX_WEIGHT.  A walk over the bytes is cheaper than one
 * over the tree, and comes before any memory is spent on it. */
static gboolean
size_is_fine (const char *text, gsize length, gsize skipped, GError **error)
{
    int depth = 0;
    gsize weight = 0;
    gboolean in_string = FALSE;
    for (gsize i = 0; i < length; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = FALSE;
            continue;
        }
        switch (c) {
        case '"':
            in_string = TRUE;
            break;
        case '{':
        case '[':
            if (++depth > JSON_MAX_DEPTH) {
                g_set_error (error, JSON_PARSE_ERROR, JSON_PARSE_DEPTH,
                             "JSON is nested deeper than %d levels at byte %" G_GSIZE_FORMAT, JSON_MAX_DEPTH,
                             i + skipped);
                return FALSE;
            }
            weight += c == '{' ? 8 : 4;
            break;
        case '}':
        case ']':
            depth--;
            break;
        case ',':
        case ':':
            weight++;
            break;
        }
    }
    if (weight <= JSON_MAX_WEIGHT)
        return TRUE;
    g_set_error (error, JSON_PARSE_ERROR, JSON_PARSE_WEIGHT, "JSON holds more than %d values.", JSON_MAX_WEIGHT);
    return FALSE;
}

json_t *
json_parse (const char *text, gsize length, GError **error)
{
    gsize skipped = length >= 3 && memcmp (text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    if (!size_is_fine (text + skipped, length - skipped, skipped, error))
        return NULL;
    json_error_t problem;
    json_t *value = json_loadb (text + skipped, length - skipped, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
    if (!value)
        g_set_error (error, JSON_PARSE_ERROR, JSON_PARSE_SYNTAX, "Invalid JSON at byte %" G_GSIZE_FORMAT ": %s",
                     (gsize) MAX (problem.position, 0) + skipped, problem.text);
    return value;
}

char *
json_print (const json_t *value, gsize *length)
{
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION (15);
    /* Most of what we print is one small event: one pass into a buffer of the stack's, one copy. */
    char small[1024];
    size_t n = json_dumpb (value, small, sizeof small, flags);
    char *text = g_malloc (n + 1);
    if (n <= sizeof small)
        memcpy (text, small, n);
    else
        json_dumpb (value, text, n, flags);
    text[n] = '\0';
    if (length)
        *length = n;
    return text;
}

const char *
json_peek_string (const json_t *object, const char *key)
{
    return json_string_value (json_object_get (object, key));
}

gint64
json_peek_int (const json_t *object, const char *key, gint64 fallback)
{
    const json_t *value = json_object_get (object, key);
    if (json_is_integer (value))
        return json_integer_value (value);
    if (json_is_real (value) && trunc (json_real_value (value)) == json_real_value (value) &&
        fabs (json_real_value (value)) < 9.2e18)
        return (gint64) json_real_value (value);
    return fallback;
}

double
json_peek_number (const json_t *object, const char *key, double fallback)
{
    const json_t *value = json_object_get (object, key);
    return json_is_number (value) ? json_number_value (value) : fallback;
}

gboolean
json_peek_bool (const json_t *object, const char *key, gboolean fallback)
{
    const json_t *value = json_object_get (object, key);
    return json_is_boolean (value) ? json_is_true (value) : fallback;
}

void
json_set_text (json_t *object, const char *key, const char *text, gsize length)
{
    json_t *value = json_stringn (text, length);
    if (!value) {
        g_autofree char *valid = g_utf8_make_valid (text, length);
        value = json_string (valid);
    }
    json_object_set_new (object, key, value);
}

void
json_append_text (GString *out, const char *text, gsize length)
{
    if (!text) {
        g_string_append_len (out, "null", 4);
        return;
    }
    g_string_append_c (out, '"');
    gsize start = 0;
    for (gsize i = 0; i < length; i++) {
        guchar c = text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        g_string_append_len (out, text + start, i - start);
        start = i + 1;
        switch (c) {
        case '"':
            g_string_append_len (out, "\\\"", 2);
            break;
        case '\\':
            g_string_append_len (out, "\\\\", 2);
            break;
        case '\n':
            g_string_append_len (out, "\\n", 2);
            break;
        case '\r':
            g_string_append_len (out, "\\r", 2);
            break;
        case '\t':
            g_string_append_len (out, "\\t", 2);
            break;
        default:
            g_string_append_printf (out, "\\u%04x", c);
        }
    }
    g_string_append_len (out, text + start, length - start);
    g_string_append_c (out, '"');
}

void
json_append_string (GString *out, const char *text)
{
    json_append_text (out, text, text ? strlen (text) : 0);
}

void
json_append_value (GString *out, const json_t *value)
{
    gsize length = 0;
    g_autofree char *text = json_print (value, &length);
    g_string_append_len (out, text, length);
}
