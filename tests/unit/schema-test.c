/* chat/schema.c and chat/pattern.c: what a schema becomes for the grammar converter, and what is refused, with its path.
 * A case is a row; `printed` NULL means refused at `where`. */
#include "chat/pattern.h"
#include "chat/schema.h"

#include <string.h>

static const struct {
    const char *name, *schema, *printed, *where;
} rows[] = {
    /* plain nodes */
    { "any", "{}", "{}", NULL },
    { "true", "true", "{}", NULL },
    { "annotations", "{'title':'T','description':'D','default':1,'$schema':'x','x-of-ours':1}", "{}", NULL },
    { "types", "{'type':'boolean'}", "{'type':'boolean'}", NULL },
    { "type-list", "{'type':['string','null']}", "{'anyOf':[{'type':'null'},{'type':'string'}]}", NULL },
    { "number-is-integer-too", "{'type':['integer','number']}", "{'type':'number'}", NULL },
    { "object", "{'type':'object'}", "{'type':'object'}", NULL },
    { "listed-properties", "{'type':'object','properties':{'b':{'type':'null'},'a':{}},'required':['b']}",
      "{'type':'object','properties':{'b':{'type':'null'},'a':{}},'required':['b'],'additionalProperties':false}",
      NULL },
    { "open-object", "{'properties':{'a':{}},'additionalProperties':true}",
      "{'type':'object','properties':{'a':{}},'additionalProperties':true}", NULL },
    { "typed-additional", "{'type':'object','additionalProperties':{'type':'integer'}}",
      "{'type':'object','properties':{},'additionalProperties':{'type':'integer'}}", NULL },
    { "required-unlisted", "{'type':'object','required':['x']}",
      "{'type':'object','properties':{'x':{}},'required':['x'],'additionalProperties':false}", NULL },
    { "array", "{'type':'array','items':{'type':'null'},'minItems':1,'maxItems':3}",
      "{'type':'array','items':{'type':'null'},'minItems':1,'maxItems':3}", NULL },
    { "tuple", "{'prefixItems':[{'type':'null'},{}],'maxItems':1}", "{'type':'array','prefixItems':[{'type':'null'}]}",
      NULL },
    { "old-tuple", "{'items':[{'type':'null'}],'additionalItems':false}",
      "{'type':'array','prefixItems':[{'type':'null'}]}", NULL },
    { "nothing-in-it", "{'type':'array','items':false}", "{'type':'array','items':{},'maxItems':0}", NULL },
    /* numbers: both ends always, exclusive ends folded in, draft 4's booleans */
    { "one-end", "{'type':'integer','minimum':105}", "{'type':'integer','minimum':105,'maximum':999999999999999}",
      NULL },
    { "exclusive", "{'type':'integer','exclusiveMinimum':1,'minimum':0,'exclusiveMaximum':4.5}",
      "{'type':'integer','minimum':2,'maximum':4}", NULL },
    { "draft-4", "{'type':'integer','minimum':1,'exclusiveMinimum':true,'maximum':9}",
      "{'type':'integer','minimum':2,'maximum':9}", NULL },
    { "multiple-of-1", "{'type':'number','multipleOf':1}", "{'type':'integer'}", NULL },
    { "bounds-of-a-number", "{'type':'object','properties':{'p':{'type':'number','minimum':0}}}", NULL,
      "s.properties.p.minimum" },
    { "multiple-of", "{'type':'integer','multipleOf':5}", NULL, "s.multipleOf" },
    { "empty-range", "{'type':'integer','minimum':3,'maximum':2}", NULL, "s.minimum" },
    /* values */
    { "const", "{'const':{'a':[1]}}", "{'enum':[{'a':[1]}]}", NULL },
    { "enum-by-type", "{'type':'string','enum':['a',1,null,'bb'],'maxLength':1}", "{'enum':['a']}", NULL },
    { "enum-and-const", "{'enum':[1,2],'const':2.0}", "{'enum':[2.0]}", NULL },
    { "enum-empty", "{'type':'integer','enum':['a']}", NULL, "s.enum" },
    { "enum-no-list", "{'enum':[]}", NULL, "s.enum" },
    /* strings */
    { "format", "{'type':'string','format':'date-time'}", "{'type':'string','format':'date-time'}", NULL },
    { "format-unknown", "{'type':'string','format':'iri'}", NULL, "s.format" },
    { "length-and-format", "{'type':'string','format':'date','minLength':3}", NULL, "s.minLength" },
    { "length-too-long", "{'type':'string','maxLength':5000}", NULL, "s.maxLength" },
    { "lookahead", "{'type':'string','pattern':'^(?=a)b$'}", NULL, "s.pattern" },
    /* conjunctions */
    { "all-of",
      "{'allOf':[{'properties':{'a':{'type':'integer','minimum':1}},'required':['a']},{'properties':{'a':{'maximum':5},"
      "'b':{}}}]}",
      "{'type':'object','properties':{'a':{'type':'integer','minimum':1,'maximum':5},'b':{}},'required':['a'],'"
      "additionalProperties':false}",
      NULL },
    { "all-of-closed",
      "{'allOf':[{'type':'object','properties':{'a':{}},'additionalProperties':false},{'properties':{'b':{}}}]}",
      "{'type':'object','properties':{'a':{}},'additionalProperties':false}", NULL },
    { "all-of-contradiction", "{'allOf':[{'type':'string'},{'type':'null'}]}", NULL, "s.allOf.0.type" },
    { "any-of-beside",
      "{'type':'object','properties':{'k':{}},'anyOf':[{'required':['k']},{'properties':{'z':{'type':'null'}}}]}",
      "{'anyOf':[{'type':'object','properties':{'k':{}},'required':['k'],'additionalProperties':false},"
      "{'type':'object','properties':{'z':{'type':'null'},'k':{}},'additionalProperties':false}]}",
      NULL },
    { "any-of-drops", "{'type':'string','anyOf':[{'type':'null'},{'minLength':0}]}", "{'type':'string'}", NULL },
    { "one-of-by-type", "{'oneOf':[{'type':'string'},{'type':'null'}]}",
      "{'anyOf':[{'type':'string'},{'type':'null'}]}", NULL },
    { "one-of-by-constant",
      "{'oneOf':[{'properties':{'t':{'const':1}},'required':['t']},{'properties':{'t':{'const':2}},'required':['t']}]}",
      "{'anyOf':[{'type':'object','properties':{'t':{'enum':[1]}},'required':['t'],'additionalProperties':false},"
      "{'type':'object','properties':{'t':{'enum':[2]}},'required':['t'],'additionalProperties':false}]}",
      NULL },
    { "one-of-overlaps", "{'oneOf':[{'type':'integer'},{'type':'number'}]}", NULL, "s.oneOf" },
    /* references */
    { "ref", "{'$defs':{'a':{'type':'null'}},'$ref':'#/$defs/a'}", "{'$ref':'#/$defs/1','$defs':{'1':{'type':'null'}}}",
      NULL },
    { "ref-escapes", "{'$defs':{'a/b%':{'type':'null'}},'items':{'$ref':'#/$defs/a~1b%25'}}",
      "{'type':'array','items':{'$ref':'#/$defs/1'},'$defs':{'1':{'type':'null'}}}", NULL },
    { "ref-to-itself", "{'type':'object','properties':{'next':{'$ref':'#'}}}",
      "{'type':'object','properties':{'next':{'$ref':'#/$defs/1'}},'additionalProperties':false,"
      "'$defs':{'1':{'type':'object','properties':{'next':{'$ref':'#/$defs/1'}},'additionalProperties':false}}}",
      NULL },
    { "ref-beside", "{'$defs':{'a':{'type':'string'}},'properties':{'p':{'$ref':'#/$defs/a','enum':['x',1]}}}",
      "{'type':'object','properties':{'p':{'enum':['x']}},'additionalProperties':false}", NULL },
    { "ref-nowhere", "{'properties':{'p':{'$ref':'#/$defs/none'}}}", NULL, "s.properties.p.$ref" },
    { "ref-elsewhere", "{'$ref':'http://example.com/x'}", NULL, "s.$ref" },
    { "ref-in-place", "{'$ref':'#'}", NULL, "s" },
    { "ref-in-place-any-of", "{'anyOf':[{'$ref':'#'},{'type':'null'}]}", NULL, "s" },
    { "ref-never-ends", "{'type':'object','properties':{'a':{'$ref':'#'}},'required':['a']}", NULL, "s" },
    { "ref-grows", "{'allOf':[{'$ref':'#'},{'type':'object'}]}", NULL, "s" },
    /* what is never dropped */
    { "not", "{'properties':{'a':{'not':{}}}}", NULL, "s.properties.a.not" },
    { "if", "{'if':{},'then':{}}", NULL, "s.if" },
    { "unique", "{'type':'array','uniqueItems':true}", NULL, "s.uniqueItems" },
    { "not-unique", "{'type':'array','uniqueItems':false}", "{'type':'array'}", NULL },
    { "pattern-properties", "{'patternProperties':{}}", NULL, "s.patternProperties" },
    { "false", "false", NULL, "s" },
    { "no-schema", "{'properties':{'a':3}}", NULL, "s.properties.a" },
    { "no-type", "{'type':'strnig'}", NULL, "s.type" },
};

static json_t *
parse (const char *text)
{
    g_autofree char *json = g_strdelimit (g_strdup (text), "'", '"');
    g_autoptr (GError) error = NULL;
    json_t *value = json_parse (json, strlen (json), &error);
    g_assert_no_error (error);
    return value;
}

static void
test_row (gconstpointer data)
{
    const guint i = GPOINTER_TO_UINT (data);
    g_autoptr (json_t) schema = parse (rows[i].schema);
    g_autofree char *where = NULL;
    g_autoptr (GError) error = NULL;
    g_autoptr (json_t) printed = chat_schema_prepare (schema, "s", &where, &error);
    if (!rows[i].printed) {
        g_assert_null (printed);
        g_assert_nonnull (error);
        if (strcmp (rows[i].name, "ref-grows") != 0) /* its path is as deep as the ceiling */
            g_assert_cmpstr (where, ==, rows[i].where);
        return;
    }
    g_assert_no_error (error);
    g_autoptr (json_t) expected = parse (rows[i].printed);
    g_autofree char *text = json_print (printed, NULL);
    if (!json_equal (printed, expected))
        g_test_message ("printed %s", text);
    g_assert_true (json_equal (printed, expected));
    /* The order of properties is the order of the output. */
    g_autofree char *expected_text = json_print (expected, NULL);
    g_assert_cmpuint (strlen (text), ==, strlen (expected_text));
}

static void
test_ceilings (void)
{
    g_autoptr (GString) wide = g_string_new ("{'properties':{");
    for (int i = 0; i < 5000; i++)
        g_string_append_printf (wide, "%s'p%d':{'type':'null'}", i ? "," : "", i);
    g_string_append (wide, "}}");
    g_autoptr (json_t) many = parse (wide->str);
    g_autofree char *where = NULL;
    g_autoptr (GError) error = NULL;
    g_assert_null (chat_schema_prepare (many, "s", &where, &error));
    g_assert_nonnull (strstr (error->message, "too large"));

    g_autoptr (GString) deep = g_string_new (NULL);
    for (int i = 0; i < 70; i++)
        g_string_append (deep, "{'items':");
    g_string_append (deep, "{}");
    for (int i = 0; i < 70; i++)
        g_string_append_c (deep, '}');
    g_autoptr (json_t) nested = parse (deep->str);
    g_clear_error (&error);
    g_clear_pointer (&where, g_free);
    g_assert_null (chat_schema_prepare (nested, "s", &where, &error));
    g_assert_nonnull (strstr (error->message, "nested deeper"));

    /* anyOf beside anyOf multiplies: 2^20 branches end at the ceiling, not in the memory. */
    g_autoptr (GString) product = g_string_new ("{'allOf':[");
    for (int i = 0; i < 20; i++)
        g_string_append_printf (product, "%s{'anyOf':[{'required':['a%d']},{'required':['b%d']}]}", i ? "," : "", i, i);
    g_string_append (product, "]}");
    g_autoptr (json_t) branches = parse (product->str);
    g_clear_error (&error);
    g_clear_pointer (&where, g_free);
    g_assert_null (chat_schema_prepare (branches, "s", &where, &error));
    g_assert_nonnull (error);
}

#define SAFE "[\\x20-\\x21\\x23-\\x5B\\x5D-\\x7E\\x80-\\u2027\\u202A-\\uD7FF\\uE000-\\U0010FFFF]"

static const struct {
    const char *pattern, *printed; /* NULL: refused */
} patterns[] = {
    { "^ab$", "^(?:ab)$" },
    { "^ab*$", "^(?:a(?:b)*)$" },
    { "^a\\.+$", "^(?:a(?:\\.)+)$" },
    { "^[0-9]{2}$", "^(?:[\\x30-\\x39]{2,2})$" },
    { "^\\d{2,}$", "^(?:[\\x30-\\x39]{2,2}[\\x30-\\x39]*)$" },
    { "^(a|b)?$", "^(?:(?:a|b)?)$" },
    { "^a|b$", "^(?:a" SAFE "*|" SAFE "*b)$" },
    { "x", "^(?:" SAFE "*x" SAFE "*)$" },
    { "^.$", "^(?:" SAFE ")$" },
    { "^[^a-z]$", "^(?:[\\x20-\\x21\\x23-\\x5B\\x5D-\\x60\\x7B-\\x7E\\x80-\\uD7FF\\uE000-\\U0010FFFF])$" },
    { "^\"\\\\$", "^(?:\\\\\"\\\\\\\\)$" }, /* a quote, a backslash: as JSON writes them */
    { "^\\n$", "^(?:\\\\n)$" },
    { "^a{0}b$", "^(?:b)$" },
    { "^a+?$", "^(?:(?:a)+)$" },
    { "^\\u00e4$", "^(?:\xC3\xA4)$" },
    { "^(?=a)$", NULL },
    { "^(a)\\1$", NULL },
    { "^a\\b$", NULL },
    { "^a^b$", NULL },
    { "^(a$", NULL },
    { "^a)$", NULL },
    { "^*a$", NULL },
    { "^a{2001}$", NULL },
    { "^a{3,2}$", NULL },
    { "^(a{2000}){2000}$", NULL },
    { "^[z-a]$", NULL },
    { "^[a$", NULL },
    { "^[\"]$", NULL },
    { "^a\\", NULL },
    { "^\\p{L}$", NULL },
};

static void
test_pattern (gconstpointer data)
{
    const guint i = GPOINTER_TO_UINT (data);
    g_autoptr (GError) error = NULL;
    g_autofree char *printed = pattern_for_grammar (patterns[i].pattern, &error);
    g_assert_cmpstr (printed, ==, patterns[i].printed);
    g_assert_true ((printed == NULL) == (error != NULL));
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_autofree char *path = g_strdup_printf ("/schema/%s", rows[i].name);
        g_test_add_data_func (path, GUINT_TO_POINTER (i), test_row);
    }
    g_test_add_func ("/schema/ceilings", test_ceilings);
    for (guint i = 0; i < G_N_ELEMENTS (patterns); i++) {
        g_autofree char *path = g_strdup_printf ("/pattern/%u", i);
        g_test_add_data_func (path, GUINT_TO_POINTER (i), test_pattern);
    }
    return g_test_run ();
}
