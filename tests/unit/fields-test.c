/* fields-test.c: the reader of request fields: one body, one outcome per row. */
#include "api/fields.h"

#include <math.h>
#include <string.h>

typedef struct {
    gboolean yes, loose, inner_yes;
    gint64 n;
    int small, kind;
    double heat, ratio;
    const char *name, *inner_name;
    json_t *words; /* owned */
    json_t *list, *object, *any;
} Target;

#define AT(member) FIELD_AT (Target, member)

static const char *const kinds[] = { "red", "green", NULL };

static gboolean
not_seven (const json_t *value, const char *path, gpointer target, ApiError *error)
{
    return json_integer_value (value) != 7 || api_error_set (error, API_INVALID, path, "\"%s\" is seven.", path);
}

static const Field inner_rows[] = {
    { "yes", FIELD_BOOL, AT (inner_yes) },
    { "name", FIELD_STRING, AT (inner_name), .required = TRUE },
};
static const FieldTable inner = FIELD_TABLE (inner_rows);

static const Field rows[] = {
    { "yes", FIELD_BOOL, AT (yes) },
    { "loose", FIELD_BOOL_LOOSE, AT (loose) },
    { "n", FIELD_INT, AT (n), .min = 1, .max = 16, .check = not_seven },
    { "small", FIELD_INT, AT (small), .min = -1, .max = INFINITY },
    { "heat", FIELD_NUMBER, AT (heat), .min = 0, .max = 2 },
    { "ratio", FIELD_NUMBER, AT (ratio), .max = INFINITY, .above_min = TRUE },
    { "name", FIELD_STRING, AT (name), .min = 1, .max = 5 },
    { "kind", FIELD_ENUM, AT (kind), .values = kinds },
    { "words", FIELD_STRINGS, AT (words), .min = 1, .max = 4, .most = 3 },
    { "list", FIELD_ARRAY, AT (list), .min = 1, .max = 2 },
    { "object", FIELD_OBJECT, AT (object), .members = &inner },
    { "any", FIELD_ANY, AT (any) },
    { "old", FIELD_IGNORED, .size = 0 },
    { "later", FIELD_REFUSED, .says = "is not supported yet" },
    { "never", FIELD_REFUSED, .refusal = API_UNSUPPORTED_CONTENT, .says = "is none of ours" },
    { "checked", FIELD_STRING, .size = 0 },
};
static const FieldTable table = FIELD_TABLE (rows), strict = FIELD_TABLE_STRICT (rows);

static gboolean
read_text (const FieldTable *fields, const char *text, Target *target, ApiError *error)
{
    g_autoptr (GError) problem = NULL;
    g_autoptr (json_t) body = json_parse (text, strlen (text), &problem);
    g_assert_no_error (problem);
    gboolean fine = fields_read (fields, body, NULL, target, error);
    g_assert_true (fine == (error->kind == API_OK));
    return fine;
}

static const struct {
    const char *body;
    ApiErrorKind kind;
    const char *param, *message;
} cases[] = {
    { "{}", API_OK, NULL, NULL },
    { "{\"unknown\":1,\"old\":[{}]}", API_OK, NULL, NULL },
    { "{\"yes\":1}", API_INVALID_TYPE, "yes", "\"yes\" must be a boolean." },
    { "{\"yes\":\"true\"}", API_INVALID_TYPE, "yes", "\"yes\" must be a boolean." },
    { "{\"loose\":\"TRUE\"}", API_INVALID_TYPE, "loose", "\"loose\" must be a boolean." },
    { "{\"n\":\"1\"}", API_INVALID_TYPE, "n", "\"n\" must be an integer." },
    { "{\"n\":1.5}", API_INVALID_TYPE, "n", "\"n\" must be an integer." },
    { "{\"n\":true}", API_INVALID_TYPE, "n", "\"n\" must be an integer." },
    { "{\"n\":0}", API_INVALID_VALUE, "n", "\"n\" must be between 1 and 16." },
    { "{\"n\":17.0}", API_INVALID_VALUE, "n", "\"n\" must be between 1 and 16." },
    { "{\"n\":1e300}", API_INVALID_VALUE, "n", "\"n\" must be between 1 and 16." },
    { "{\"n\":7}", API_INVALID, "n", "\"n\" is seven." },
    { "{\"small\":-2}", API_INVALID_VALUE, "small", "\"small\" must be at least -1." },
    { "{\"small\":1e19}", API_INVALID_VALUE, "small", "\"small\" must be at least -1." },
    { "{\"heat\":\"hot\"}", API_INVALID_TYPE, "heat", "\"heat\" must be a number." },
    { "{\"heat\":-0.1}", API_INVALID_VALUE, "heat", "\"heat\" must be between 0 and 2." },
    { "{\"heat\":2.0001}", API_INVALID_VALUE, "heat", "\"heat\" must be between 0 and 2." },
    { "{\"ratio\":0}", API_INVALID_VALUE, "ratio", "\"ratio\" must be greater than 0." },
    { "{\"name\":5}", API_INVALID_TYPE, "name", "\"name\" must be a string." },
    { "{\"name\":\"\"}", API_INVALID_VALUE, "name", "\"name\" must be 1 to 5 bytes long." },
    { "{\"name\":\"123456\"}", API_INVALID_VALUE, "name", "\"name\" must be 1 to 5 bytes long." },
    { "{\"name\":\"a\\u0000b\"}", API_INVALID_VALUE, "name", "\"name\" must not contain U+0000." },
    { "{\"kind\":\"blue\"}", API_INVALID_VALUE, "kind", "\"kind\" must be one of: red, green." },
    { "{\"kind\":1}", API_INVALID_TYPE, "kind", "\"kind\" must be a string." },
    { "{\"words\":{}}", API_INVALID_TYPE, "words", "\"words\" must be a string or an array of strings." },
    { "{\"words\":[\"a\",1]}", API_INVALID_TYPE, "words", "\"words\" must be a string or an array of strings." },
    { "{\"words\":[null]}", API_INVALID_TYPE, "words", "\"words\" must be a string or an array of strings." },
    { "{\"words\":\"\"}", API_INVALID_VALUE, "words", "\"words\" must hold strings of 1 to 4 bytes." },
    { "{\"words\":[\"abcde\"]}", API_INVALID_VALUE, "words", "\"words\" must hold strings of 1 to 4 bytes." },
    { "{\"words\":[\"a\",\"b\",\"c\",\"d\"]}", API_INVALID_VALUE, "words", "\"words\" must have at most 3 elements." },
    { "{\"list\":{}}", API_INVALID_TYPE, "list", "\"list\" must be an array." },
    { "{\"list\":[]}", API_INVALID_VALUE, "list", "\"list\" must not be empty." },
    { "{\"list\":[1,2,3]}", API_INVALID_VALUE, "list", "\"list\" must have at most 2 elements." },
    { "{\"object\":[]}", API_INVALID_TYPE, "object", "\"object\" must be an object." },
    { "{\"object\":{}}", API_MISSING, "object.name", "\"object.name\" is required" },
    { "{\"object\":{\"name\":null}}", API_MISSING, "object.name", "\"object.name\" is required" },
    { "{\"object\":{\"name\":\"x\",\"yes\":0}}", API_INVALID_TYPE, "object.yes", "\"object.yes\" must be a boolean." },
    { "{\"later\":1}", API_NOT_IMPLEMENTED, "later", "\"later\" is not supported yet." },
    { "{\"never\":{}}", API_UNSUPPORTED_CONTENT, "never", "\"never\" is none of ours." },
    { "{\"checked\":1}", API_INVALID_TYPE, "checked", "\"checked\" must be a string." },
    { "{\"checked\":\"x\"}", API_OK, NULL, NULL },
};

static void
test_case (gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE (data);
    g_auto (ApiError) error = { 0 };
    Target target = { 0 };
    read_text (&table, cases[i].body, &target, &error);
    g_assert_cmpint (error.kind, ==, cases[i].kind);
    g_assert_cmpstr (error.param, ==, cases[i].param);
    g_assert_cmpstr (error.message, ==, cases[i].message);
    json_decref (target.words);
}

static void
test_values_arrive (void)
{
    const char text[] =
        "{\"yes\":true,\"loose\":\"true\",\"n\":5.0,\"small\":9000000000,\"heat\":1,\"ratio\":1e-9,\"name\":\"abc\","
        "\"kind\":\"green\",\"words\":\"w\",\"list\":[1],\"object\":{\"name\":\"in\",\"yes\":true},\"any\":3}";
    g_autoptr (json_t) body = json_parse (text, strlen (text), NULL);
    g_auto (ApiError) error = { 0 };
    Target t = { 0 };
    g_assert_true (fields_read (&table, body, NULL, &t, &error));
    g_assert_true (t.yes && t.loose && t.inner_yes);
    g_assert_cmpint (t.n, ==, 5);
    g_assert_cmpint (t.small, ==, G_MAXINT32); /* clamped to the place */
    g_assert_cmpfloat (t.heat, ==, 1);
    g_assert_cmpfloat (t.ratio, ==, 1e-9);
    g_assert_cmpstr (t.name, ==, "abc");
    g_assert_cmpstr (t.inner_name, ==, "in");
    g_assert_cmpint (t.kind, ==, 1);
    g_assert_cmpuint (json_array_size (t.words), ==, 1);
    g_assert_cmpuint (json_array_size (t.list), ==, 1);
    g_assert_cmpuint (json_object_size (t.object), ==, 2);
    g_assert_cmpint (json_integer_value (t.any), ==, 3);
    json_decref (t.words);
}

/* http-011: null is absent, for every row. */
static void
test_null_leaves_the_default (void)
{
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_autofree char *text = g_strdup_printf ("{\"%s\":null}", rows[i].name);
        g_auto (ApiError) error = { 0 };
        Target t, before;
        memset (&t, 0x5A, sizeof t);
        before = t;
        g_assert_true (read_text (&table, text, &t, &error));
        g_assert_cmpmem (&t, sizeof t, &before, sizeof before);
    }
}

static void
test_strict_table_names_the_key (void)
{
    g_auto (ApiError) error = { 0 };
    Target t = { 0 };
    g_assert_false (read_text (&strict, "{\"yes\":true,\"foo\":null}", &t, &error));
    g_assert_cmpint (error.kind, ==, API_UNRECOGNIZED_KEYS);
    g_assert_cmpstr (error.message, ==, "Unrecognized key(s) in object: 'foo'");
    g_assert_cmpstr (error.param, ==, "foo");
}

/* "words" twice in one walk can't be (the last key wins), but a table may have two rows with one place. */
static void
test_strings_replace_what_was_there (void)
{
    g_auto (ApiError) error = { 0 };
    Target t = { .words = json_pack ("[s]", "old") };
    g_assert_true (read_text (&table, "{\"words\":[\"a\",\"b\"]}", &t, &error));
    g_assert_cmpuint (json_array_size (t.words), ==, 2);
    json_decref (t.words);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autofree char *name = g_strdup_printf ("/fields/%02zu", i);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_case);
    }
    g_test_add_func ("/fields/values", test_values_arrive);
    g_test_add_func ("/http-011/null-is-absent", test_null_leaves_the_default);
    g_test_add_func ("/fields/strict", test_strict_table_names_the_key);
    g_test_add_func ("/fields/strings-replace", test_strings_replace_what_was_there);
    return g_test_run ();
}
