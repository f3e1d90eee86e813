/* base/: JSON limits and random names. */
#include "base/ids.h"
#include "base/json.h"

#include <string.h>

static void
test_json_names_the_byte (void)
{
    g_autoptr (GError) error = NULL;
    g_assert_null (json_parse ("{\"a\":]", 6, &error));
    g_assert_error (error, JSON_PARSE_ERROR, JSON_PARSE_SYNTAX);
    g_assert_nonnull (strstr (error->message, "byte 6"));
}

static void
test_json_refuses_depth (void)
{
    g_autoptr (GString) deep = g_string_new (NULL);
    for (int i = 0; i < JSON_MAX_DEPTH + 1; i++)
        g_string_append_c (deep, '[');
    g_autoptr (GError) error = NULL;
    g_assert_null (json_parse (deep->str, deep->len, &error));
    g_assert_error (error, JSON_PARSE_ERROR, JSON_PARSE_DEPTH);
}

static void
test_json_brackets_in_strings_are_no_depth (void)
{
    g_autoptr (GString) text = g_string_new ("\"\\\"");
    for (int i = 0; i < 1000; i++)
        g_string_append_c (text, '[');
    g_string_append_c (text, '"');
    g_autoptr (json_t) value = json_parse (text->str, text->len, NULL);
    g_assert_cmpuint (json_string_length (value), ==, 1001);
}

static void
test_json_skips_a_bom (void)
{
    g_autoptr (json_t) value = json_parse ("\xEF\xBB\xBF{\"a\":5.0}", 12, NULL);
    g_assert_cmpint (json_peek_int (value, "a", 0), ==, 5);
}

static void
test_json_prints_what_it_read (void)
{
    const char text[] = "{\"a\":0.1,\"b\":[1,2.5,\"\xC3\xA4\"],\"c\":null}";
    g_autoptr (json_t) value = json_parse (text, strlen (text), NULL);
    gsize length;
    g_autofree char *printed = json_print (value, &length);
    g_assert_cmpstr (printed, ==, text);
    g_assert_cmpuint (length, ==, strlen (text));
}

static void
test_ids_keep_to_their_alphabet (void)
{
    for (int i = 0; i < 200; i++) {
        g_autofree char *digits = ids_new ("", IDS_DIGITS, 9);
        g_assert_cmpuint (strspn (digits, "0123456789"), ==, 9);
        g_assert_cmpint (digits[0], !=, '0');
        g_autofree char *hex = ids_new ("resp_", IDS_HEX, 48);
        g_assert_cmpuint (strlen (hex), ==, 53);
        g_assert_cmpuint (strspn (hex + 5, "0123456789abcdef"), ==, 48);
    }
}

/* A million of "[]," is 3 MB of text, and would be more than 100 MB of arrays. */
static void
test_json_refuses_weight (void)
{
    static const struct {
        const char *piece;
        guint n;
        gboolean fine;
    } cases[] = {
        { "[],", 1024 * 1024, FALSE }, { "{},", 512 * 1024, FALSE }, { "1,", 4 * 1024 * 1024, FALSE },
        { "[],", 100000, TRUE },       { "\"[{,\",", 900000, TRUE },
    };
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autoptr (GString) text = g_string_new ("[");
        for (guint k = 0; k < cases[i].n; k++)
            g_string_append (text, cases[i].piece);
        g_string_append (text, "0]");
        g_autoptr (GError) error = NULL;
        g_autoptr (json_t) value = json_parse (text->str, text->len, &error);
        g_assert_true ((value != NULL) == cases[i].fine);
        if (!cases[i].fine)
            g_assert_error (error, JSON_PARSE_ERROR, JSON_PARSE_WEIGHT);
    }
}

static void
test_json_append_escapes_like_print (void)
{
    const char text[] = "a\"b\\c\n\r\t\x01\x1f\x7f/ \xF0\x9F\x98\x80\0z";
    g_autoptr (json_t) value = json_stringn (text, sizeof text - 1);
    g_autoptr (GString) out = g_string_new ("x");
    json_append_text (out, text, sizeof text - 1);
    g_assert_cmpstr (out->str, ==, "x\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f\x7f/ \xF0\x9F\x98\x80\\u0000z\"");
    g_autoptr (json_t) back = json_parse (out->str + 1, out->len - 1, NULL);
    g_assert_true (json_equal (back, value));
    g_string_truncate (out, 0);
    json_append_string (out, NULL);
    json_append_value (out, value);
    g_assert_true (g_str_has_prefix (out->str, "null\"a"));
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/json/names-the-byte", test_json_names_the_byte);
    g_test_add_func ("/json/refuses-depth", test_json_refuses_depth);
    g_test_add_func ("/json/brackets-in-strings", test_json_brackets_in_strings_are_no_depth);
    g_test_add_func ("/json/bom", test_json_skips_a_bom);
    g_test_add_func ("/json/round-trip", test_json_prints_what_it_read);
    g_test_add_func ("/json/weight", test_json_refuses_weight);
    g_test_add_func ("/json/append", test_json_append_escapes_like_print);
    g_test_add_func ("/ids/alphabet", test_ids_keep_to_their_alphabet);
    return g_test_run ();
}
