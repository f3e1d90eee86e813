/* schema.c: a schema, printed again for the grammar converter.
 *
 * JSON Schema is a conjunction: every keyword of a node must hold, and allOf, $ref and anyOf beside other keywords join further nodes to it.
 * So the unit of work is a list of nodes that must all hold (Terms).  It is flattened (allOf, $ref), distributed over anyOf, and merged into
 * one Plain node, which is then printed type by type.
 *
 *   {"$ref":"#/$defs/a","required":["x"]}            Terms: [a's node, {"required":["x"]}]
 *   {"anyOf":[p,q],"type":"object"}                  anyOf of Terms [p,{"type"}] and [q,{"type"}]
 *
 * A node that is nothing but a $ref stays one, so recursion survives.  What is printed is checked as a whole in schema-check.c. */
#include "chat/schema.h"

#include "chat/chat.h"
#include "chat/pattern.h"
#include "chat/schema-internal.h"

#include <math.h>
#include <string.h>

#define MAX_NODES  4096
#define MAX_DEPTH  64
#define MAX_LIST   2048 /* elements or members of one list or object of the schema */
#define MAX_VALUES 16384
#define MAX_REPEAT 2000            /* llama.cpp's limit for one repetition */
#define MAX_INT    999999999999999 /* 15 digits: what the converter's integers have */

enum { UNSAT = 1000 }; /* an error code of ours alone: no value meets this node; a branch may be dropped for it */

typedef struct {
    const json_t *root;
    json_t *defs;      /* printed targets of references: "0", "1", .. */
    GHashTable *names; /* resolved target (const json_t *) -> its name + 1 */
    GPtrArray *kept;   /* json_t * made on the way, freed at the end */
    guint n_nodes, depth;
    char **where;
    GError **error;
} Pass;

typedef struct {
    const json_t *schema; /* lent */
    char *path;
} Term;

typedef GArray Terms; /* of Term */

static json_t *print_terms (Pass *pass, Terms *terms);

/* ---- saying no --------------------------------------------------------------------------------------------------------- */

static gpointer
    G_GNUC_PRINTF (5, 6) refuse (Pass *pass, int code, const char *path, const char *keyword, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    g_autofree char *message = g_strdup_vprintf (format, args);
    va_end (args);
    g_clear_error (pass->error);
    g_free (*pass->where);
    *pass->where = keyword ? g_strdup_printf ("%s.%s", path, keyword) : g_strdup (path);
    g_set_error (pass->error, CHAT_ERROR, code, "Invalid schema at '%s': %s.", *pass->where, message);
    return NULL;
}

static gboolean
is_unsat (Pass *pass)
{
    return g_error_matches (*pass->error, CHAT_ERROR, UNSAT);
}

static void
forgive (Pass *pass)
{
    g_clear_error (pass->error);
    g_clear_pointer (pass->where, g_free);
}

/* ---- keywords ---------------------------------------------------------------------------------------------------------- */

typedef enum { HANDLED, IGNORED, REFUSED } KeywordKind;

static const struct {
    const char *name;
    KeywordKind kind;
} keywords[] = {
    { "$ref", HANDLED },
    { "allOf", HANDLED },
    { "anyOf", HANDLED },
    { "oneOf", HANDLED },
    { "type", HANDLED },
    { "enum", HANDLED },
    { "const", HANDLED },
    { "properties", HANDLED },
    { "required", HANDLED },
    { "additionalProperties", HANDLED },
    { "items", HANDLED },
    { "prefixItems", HANDLED },
    { "additionalItems", HANDLED },
    { "minItems", HANDLED },
    { "maxItems", HANDLED },
    { "minLength", HANDLED },
    { "maxLength", HANDLED },
    { "pattern", HANDLED },
    { "format", HANDLED },
    { "minimum", HANDLED },
    { "maximum", HANDLED },
    { "exclusiveMinimum", HANDLED },
    { "exclusiveMaximum", HANDLED },
    { "multipleOf", HANDLED },
    { "uniqueItems", HANDLED },
    { "$defs", IGNORED },
    { "definitions", IGNORED },
    { "title", IGNORED },
    { "description", IGNORED },
    { "default", IGNORED },
    { "examples", IGNORED },
    { "$schema", IGNORED },
    { "$id", IGNORED },
    { "$comment", IGNORED },
    { "deprecated", IGNORED },
    { "readOnly", IGNORED },
    { "writeOnly", IGNORED },
    { "$anchor", IGNORED },
    { "$vocabulary", IGNORED },
    { "contentEncoding", IGNORED }, /* annotations, by the standard */
    { "contentMediaType", IGNORED },
    { "contentSchema", IGNORED },
    { "not", REFUSED },
    { "if", REFUSED },
    { "then", REFUSED },
    { "else", REFUSED },
    { "patternProperties", REFUSED },
    { "propertyNames", REFUSED },
    { "minProperties", REFUSED },
    { "maxProperties", REFUSED },
    { "dependencies", REFUSED },
    { "dependentRequired", REFUSED },
    { "dependentSchemas", REFUSED },
    { "unevaluatedItems", REFUSED },
    { "unevaluatedProperties", REFUSED },
    { "contains", REFUSED },
    { "minContains", REFUSED },
    { "maxContains", REFUSED },
    { "$dynamicRef", REFUSED },
    { "$recursiveRef", REFUSED },
};

/* A word that is no keyword of JSON Schema asks for nothing. */
static KeywordKind
keyword_kind (const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS (keywords); i++)
        if (strcmp (name, keywords[i].name) == 0)
            return keywords[i].kind;
    return IGNORED;
}

static gboolean
check_keywords (Pass *pass, const json_t *schema, const char *path)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *) schema, key, value) {
        if (keyword_kind (key) == REFUSED)
            return refuse (pass, CHAT_FAIL_INVALID, path, key, "'%s' cannot be enforced", key), FALSE;
    }
    return TRUE;
}

/* Does it say anything besides @but? */
static gboolean
asks_beside (const json_t *schema, const char *but)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *) schema, key, value)
        if (strcmp (key, but) != 0 && keyword_kind (key) == HANDLED)
            return TRUE;
    return FALSE;
}

/* ---- terms ------------------------------------------------------------------------------------------------------------- */

static void
term_clear (gpointer term)
{
    g_free (((Term *) term)->path);
}

static Terms *
terms_new (void)
{
    Terms *terms = g_array_new (FALSE, FALSE, sizeof (Term));
    g_array_set_clear_func (terms, term_clear);
    return terms;
}

static void G_GNUC_PRINTF (3, 4) terms_add (Terms *terms, const json_t *schema, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    Term term = { schema, g_strdup_vprintf (format, args) };
    va_end (args);
    g_array_append_val (terms, term);
}

/* @schema without one keyword; lives as long as the pass. */
static const json_t *
without (Pass *pass, const json_t *schema, const char *keyword)
{
    json_t *rest = json_copy ((json_t *) schema);
    json_object_del (rest, keyword);
    g_ptr_array_add (pass->kept, rest);
    return rest;
}

/* Follows "#/a/b~1c/0" (RFC 6901, percent-encoded in a fragment). */
static const json_t *
resolve (Pass *pass, const char *ref, const char *path)
{
    if (ref[0] != '#' || (ref[1] && ref[1] != '/'))
        return refuse (pass, CHAT_FAIL_INVALID, path, "$ref",
                       "only references into the schema itself (#/...) can be followed");
    g_autofree char *plain = g_uri_unescape_string (ref + 1, NULL);
    if (!plain)
        return refuse (pass, CHAT_FAIL_INVALID, path, "$ref", "\"%s\" is no JSON pointer", ref);
    const json_t *target = pass->root;
    g_auto (GStrv) steps = g_strsplit (plain, "/", -1);
    for (guint i = 1; target && steps[0] && steps[i]; i++) {
        g_autoptr (GString) step = g_string_new (steps[i]);
        g_string_replace (step, "~1", "/", 0);
        g_string_replace (step, "~0", "~", 0);
        if (json_is_array (target))
            target =
                g_ascii_isdigit (*step->str) ? json_array_get (target, g_ascii_strtoull (step->str, NULL, 10)) : NULL;
        else
            target = json_object_get (target, step->str);
    }
    return target ? target : refuse (pass, CHAT_FAIL_INVALID, path, "$ref", "\"%s\" leads nowhere", ref);
}

/* {"$ref":"#/$defs/N"}; the target is printed once. */
static json_t *
print_reference (Pass *pass, const char *ref, const char *path)
{
    const json_t *target = resolve (pass, ref, path);
    if (!target)
        return NULL;
    guint name = GPOINTER_TO_UINT (g_hash_table_lookup (pass->names, target));
    g_autofree char *key = NULL;
    if (!name) {
        name = g_hash_table_size (pass->names) + 1;
        g_hash_table_insert (pass->names, (gpointer) target, GUINT_TO_POINTER (name));
        key = g_strdup_printf ("%u", name);
        g_autoptr (GArray) terms = terms_new ();
        const char *at = ref[1] ? ref + 2 : "";
        g_autofree char *dotted = g_strdelimit (g_strdup (at), "/", '.');
        g_autofree char *param = g_strndup (path, strcspn (path, ":")); /* paths begin with the parameter and a colon */
        terms_add (terms, target, "%s:%s%s", param, *dotted ? "." : "", dotted);
        json_t *printed = print_terms (pass, terms);
        if (!printed && is_unsat (pass)) { /* who refers to it learns that from the check of the whole */
            forgive (pass);
            printed = json_pack ("{s:[]}", "anyOf");
        }
        if (!printed)
            return NULL;
        json_object_set_new (pass->defs, key, printed);
    } else {
        key = g_strdup_printf ("%u", name);
    }
    g_autofree char *to = g_strconcat ("#/$defs/", key, NULL);
    return json_pack ("{s:s}", "$ref", to);
}

/* Replaces allOf and $ref by what they stand for, until none is left.  TRUE also when one lone $ref is left: then it stays. */
static gboolean
flatten (Pass *pass, Terms *terms)
{
    for (guint i = 0; i < terms->len; i++) {
        const json_t *schema = g_array_index (terms, Term, i).schema;
        g_autofree char *path = g_strdup (g_array_index (terms, Term, i).path);
        if (++pass->n_nodes > MAX_NODES)
            return refuse (pass, CHAT_FAIL_INVALID, path, NULL, "the schema is too large (more than %d nodes)",
                           MAX_NODES),
                   FALSE;
        if (json_is_true (schema) || (json_is_object (schema) && json_object_size (schema) == 0)) {
            g_array_remove_index (terms, i--);
            continue;
        }
        if (json_is_false (schema))
            return refuse (pass, UNSAT, path, NULL, "no value meets 'false'"), FALSE;
        if (!json_is_object (schema))
            return refuse (pass, CHAT_FAIL_INVALID, path, NULL, "a schema must be an object or a boolean"), FALSE;
        if (!check_keywords (pass, schema, path))
            return FALSE;
        const json_t *ref = json_object_get (schema, "$ref"), *all = json_object_get (schema, "allOf");
        if (ref) {
            if (!json_is_string (ref))
                return refuse (pass, CHAT_FAIL_INVALID, path, "$ref", "it must be a string"), FALSE;
            if (terms->len == 1 && !asks_beside (schema, "$ref"))
                return TRUE;
            const json_t *target = resolve (pass, json_string_value (ref), path);
            if (!target)
                return FALSE;
            g_array_index (terms, Term, i).schema = without (pass, schema, "$ref");
            terms_add (terms, target, "%s", path);
            i--;
        } else if (all) {
            if (!json_is_array (all) || json_array_size (all) == 0)
                return refuse (pass, CHAT_FAIL_INVALID, path, "allOf", "it must be a list of schemas"), FALSE;
            g_array_index (terms, Term, i).schema = without (pass, schema, "allOf");
            size_t k;
            json_t *branch;
            json_array_foreach ((json_t *) all, k, branch)
                terms_add (terms, branch, "%s.allOf.%u", path, (guint) k);
            i--;
        }
    }
    /* Terms that only describe ask for nothing. */
    for (guint i = 0; i < terms->len; i++)
        if (!asks_beside (g_array_index (terms, Term, i).schema, ""))
            g_array_remove_index (terms, i--);
    return TRUE;
}

/* ---- alternatives ------------------------------------------------------------------------------------------------------ */

/* anyOf (or oneOf) of term @i, every other keyword and term joined to each branch. */
static json_t *
print_alternatives (Pass *pass, Terms *terms, guint i, const char *keyword)
{
    const Term *term = &g_array_index (terms, Term, i);
    const json_t *branches = json_object_get (term->schema, keyword);
    if (!json_is_array (branches) || json_array_size (branches) == 0)
        return refuse (pass, CHAT_FAIL_INVALID, term->path, keyword, "it must be a list of schemas");
    const json_t *rest = without (pass, term->schema, keyword);
    g_autoptr (json_t) printed = json_array ();
    size_t k;
    json_t *branch;
    json_array_foreach ((json_t *) branches, k, branch) {
        g_autoptr (GArray) joined = terms_new ();
        terms_add (joined, branch, "%s.%s.%u", term->path, keyword, (guint) k);
        for (guint n = 0; n < terms->len; n++) {
            const Term *other = &g_array_index (terms, Term, n);
            if (n != i)
                terms_add (joined, other->schema, "%s", other->path);
            else if (asks_beside (rest, ""))
                terms_add (joined, rest, "%s", other->path);
        }
        json_t *one = print_terms (pass, joined);
        if (one)
            json_array_append_new (printed, one);
        else if (is_unsat (pass))
            forgive (pass);
        else
            return NULL;
    }
    if (json_array_size (printed) == 0)
        return refuse (pass, UNSAT, term->path, keyword, "no value meets any of its branches");
    if (strcmp (keyword, "oneOf") == 0 && !schema_branches_exclude_each_other (printed, pass->defs))
        return refuse (
            pass, CHAT_FAIL_INVALID, term->path, keyword,
            "its branches must exclude each other by type, by a required constant or by their keys; use 'anyOf'");
    if (json_array_size (printed) == 1)
        return json_incref (json_array_get (printed, 0));
    return json_pack ("{s:O}", "anyOf", printed);
}

/* ---- one plain node ---------------------------------------------------------------------------------------------------- */

static gboolean
read_count (Pass *pass, const Term *term, const char *keyword, gint64 most, gint64 *value)
{
    const json_t *given = json_object_get (term->schema, keyword);
    if (!given)
        return TRUE;
    gint64 count = json_peek_int (term->schema, keyword, -1);
    if (count < 0)
        return refuse (pass, CHAT_FAIL_INVALID, term->path, keyword, "it must be a whole number, 0 or more"), FALSE;
    if (most >= 0 && count > most)
        return refuse (pass, CHAT_FAIL_INVALID, term->path, keyword, "more than %d cannot be enforced", (int) most),
               FALSE;
    gboolean is_least = g_str_has_prefix (keyword, "min");
    if (*value < 0 || (is_least ? count > *value : count < *value))
        *value = count;
    return TRUE;
}

/* The bounds of numbers, as the integers they admit. */
static gboolean
read_bounds (Pass *pass, const Term *term, SchemaPlain *plain)
{
    static const struct {
        const char *keyword, *exclusive;
        int sign;
    } rows[] = { { "minimum", "exclusiveMinimum", 1 }, { "maximum", "exclusiveMaximum", -1 } };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        const json_t *bound = json_object_get (term->schema, rows[i].keyword);
        const json_t *exclusive = json_object_get (term->schema, rows[i].exclusive);
        const char *names[] = { rows[i].keyword, rows[i].exclusive };
        const json_t *values[] = { bound, exclusive };
        for (guint k = 0; k < 2; k++) {
            const json_t *value = values[k];
            if (!value || (k == 1 && json_is_boolean (value)))
                continue; /* draft 4: exclusiveMinimum true beside minimum */
            if (!json_is_number (value) || !isfinite (json_number_value (value)))
                return refuse (pass, CHAT_FAIL_INVALID, term->path, names[k], "it must be a number"), FALSE;
            const gboolean excludes = k == 1 || json_is_true (exclusive);
            const double at = json_number_value (value), inward = rows[i].sign > 0 ? ceil (at) : floor (at);
            double edge = excludes && inward == at ? inward + rows[i].sign : inward;
            edge = CLAMP (edge, -1e18, 1e18);
            if (rows[i].sign > 0)
                plain->least = MAX (plain->least, (gint64) edge);
            else
                plain->most = MIN (plain->most, (gint64) edge);
            g_free (plain->bound_path);
            plain->bound_path = g_strdup_printf ("%s.%s", term->path, names[k]);
        }
    }
    const json_t *multiple = json_object_get (term->schema, "multipleOf");
    if (multiple && !(json_is_number (multiple) && json_number_value (multiple) == 1))
        return refuse (pass, CHAT_FAIL_INVALID, term->path, "multipleOf", "'multipleOf' cannot be enforced"), FALSE;
    if (multiple)
        plain->whole = TRUE;
    return TRUE;
}

static const struct {
    const char *name;
    guint bit;
} types[] = {
    { "null", SCHEMA_NULL },       { "boolean", SCHEMA_BOOLEAN },
    { "integer", SCHEMA_INTEGER }, { "number", SCHEMA_NUMBER | SCHEMA_INTEGER },
    { "string", SCHEMA_STRING },   { "array", SCHEMA_ARRAY },
    { "object", SCHEMA_OBJECT },
};

static gboolean
read_types (Pass *pass, const Term *term, SchemaPlain *plain)
{
    const json_t *given = json_object_get (term->schema, "type");
    if (!given)
        return TRUE;
    guint mask = 0;
    const gsize n = json_is_array (given) ? json_array_size (given) : 1;
    for (gsize i = 0; i < n; i++) {
        const char *name = json_string_value (json_is_array (given) ? json_array_get (given, i) : given);
        guint bits = 0;
        for (guint k = 0; k < G_N_ELEMENTS (types); k++)
            if (g_strcmp0 (name, types[k].name) == 0)
                bits = types[k].bit;
        if (!bits)
            return refuse (pass, CHAT_FAIL_INVALID, term->path, "type", "it must name types of JSON (%s)",
                           "null, boolean, integer, number, string, array, object"),
                   FALSE;
        mask |= bits;
    }
    plain->types &= mask;
    plain->typed = TRUE;
    return TRUE;
}

static gboolean
read_values (Pass *pass, const Term *term, SchemaPlain *plain)
{
    const json_t *constant = json_object_get (term->schema, "const"), *list = json_object_get (term->schema, "enum");
    if (list && (!json_is_array (list) || json_array_size (list) == 0))
        return refuse (pass, CHAT_FAIL_INVALID, term->path, "enum", "it must be a list of values"), FALSE;
    for (guint k = 0; k < 2; k++) {
        g_autoptr (json_t) values =
            k == 0 ? (constant ? json_pack ("[O]", constant) : NULL) : json_incref ((json_t *) list);
        if (!values)
            continue;
        if (!plain->values) {
            plain->values = json_incref (values);
            plain->values_path = g_strdup_printf ("%s.%s", term->path, k == 0 ? "const" : "enum");
            continue;
        }
        json_t *both = json_array ();
        size_t i;
        json_t *value;
        json_array_foreach (plain->values, i, value)
            if (schema_list_has (values, value))
                json_array_append (both, value);
        json_decref (plain->values);
        plain->values = both;
    }
    return TRUE;
}

static gboolean
read_text (Pass *pass, const Term *term, SchemaPlain *plain)
{
    static const struct {
        const char *format, *pattern; /* NULL: the converter knows it */
    } formats[] = {
        { "date", NULL },
        { "time", NULL },
        { "date-time", NULL },
        { "uuid", NULL },
        { "email", "^[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9]+(-[A-Za-z0-9]+)*(\\.[A-Za-z0-9]+(-[A-Za-z0-9]+)*)"
                   "*\\.[A-Za-z]{2,20}$" },
        { "ipv4",
          "^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$" },
    };
    const char *words[] = { "pattern", "format" };
    for (guint k = 0; k < 2; k++) {
        const json_t *given = json_object_get (term->schema, words[k]);
        if (!given)
            continue;
        if (!json_is_string (given))
            return refuse (pass, CHAT_FAIL_INVALID, term->path, words[k], "it must be a string"), FALSE;
        const char *text = json_string_value (given), *format = NULL;
        g_autofree char *pattern = NULL;
        if (k == 1) {
            guint row = 0;
            while (row < G_N_ELEMENTS (formats) && strcmp (formats[row].format, text) != 0)
                row++;
            if (row == G_N_ELEMENTS (formats))
                return refuse (pass, CHAT_FAIL_INVALID, term->path, "format",
                               "\"%s\" cannot be enforced (date, time, date-time, uuid, email and ipv4 can)", text),
                       FALSE;
            format = formats[row].pattern ? NULL : formats[row].format;
            text = formats[row].pattern;
        }
        if (text && !format) {
            g_autoptr (GError) error = NULL;
            pattern = pattern_for_grammar (text, &error);
            if (!pattern)
                return refuse (pass, CHAT_FAIL_INVALID, term->path, words[k], "the pattern cannot be enforced: %s",
                               error->message),
                       FALSE;
        }
        if ((plain->pattern && g_strcmp0 (plain->pattern, pattern) != 0) ||
            (plain->format && g_strcmp0 (plain->format, format) != 0))
            return refuse (pass, CHAT_FAIL_INVALID, term->path, words[k],
                           "two patterns or formats at once cannot be enforced"),
                   FALSE;
        g_free (plain->pattern);
        plain->pattern = g_steal_pointer (&pattern);
        plain->format = format;
    }
    if (!read_count (pass, term, "minLength", MAX_REPEAT, &plain->min_length) ||
        !read_count (pass, term, "maxLength", MAX_REPEAT, &plain->max_length))
        return FALSE;
    if ((plain->pattern || plain->format) && (plain->min_length > 0 || plain->max_length >= 0))
        return refuse (pass, CHAT_FAIL_INVALID, term->path,
                       json_object_get (term->schema, "minLength") ? "minLength" : "maxLength",
                       "a length beside a pattern or format cannot be enforced"),
               FALSE;
    return TRUE;
}

static gboolean
read_plain (Pass *pass, const Term *term, SchemaPlain *plain)
{
    if (!read_types (pass, term, plain) || !read_values (pass, term, plain) || !read_bounds (pass, term, plain) ||
        !read_text (pass, term, plain) || !read_count (pass, term, "minItems", MAX_REPEAT, &plain->min_items) ||
        !read_count (pass, term, "maxItems", MAX_REPEAT, &plain->max_items))
        return FALSE;
    if (json_is_true (json_object_get (term->schema, "uniqueItems")))
        return refuse (pass, CHAT_FAIL_INVALID, term->path, "uniqueItems", "'uniqueItems' cannot be enforced"), FALSE;
    const json_t *properties = json_object_get (term->schema, "properties"),
                 *required = json_object_get (term->schema, "required");
    if (properties && !json_is_object (properties))
        return refuse (pass, CHAT_FAIL_INVALID, term->path, "properties", "it must be an object"), FALSE;
    if (required && !json_is_array (required))
        return refuse (pass, CHAT_FAIL_INVALID, term->path, "required", "it must be a list of names"), FALSE;
    size_t i;
    json_t *name;
    json_array_foreach ((json_t *) required, i, name) {
        if (!json_is_string (name))
            return refuse (pass, CHAT_FAIL_INVALID, term->path, "required", "it must be a list of names"), FALSE;
        json_object_set_new (plain->required, json_string_value (name), json_true ());
    }
    /* What a node without `type` is about, its keywords tell. */
    static const struct {
        const char *keyword;
        guint type;
    } hints[] = {
        { "properties", SCHEMA_OBJECT },
        { "required", SCHEMA_OBJECT },
        { "additionalProperties", SCHEMA_OBJECT },
        { "items", SCHEMA_ARRAY },
        { "prefixItems", SCHEMA_ARRAY },
        { "minItems", SCHEMA_ARRAY },
        { "maxItems", SCHEMA_ARRAY },
        { "pattern", SCHEMA_STRING },
        { "format", SCHEMA_STRING },
        { "minLength", SCHEMA_STRING },
        { "maxLength", SCHEMA_STRING },
        { "minimum", SCHEMA_INTEGER },
        { "maximum", SCHEMA_INTEGER },
        { "exclusiveMinimum", SCHEMA_INTEGER },
        { "exclusiveMaximum", SCHEMA_INTEGER },
        { "multipleOf", SCHEMA_INTEGER },
    };
    for (guint k = 0; k < G_N_ELEMENTS (hints); k++)
        if (json_object_get (term->schema, hints[k].keyword))
            plain->hinted |= hints[k].type;
    return TRUE;
}

/* ---- printing, type by type -------------------------------------------------------------------------------------------- */

/* Every term's say on the property @name: its own schema, else its additionalProperties.  FALSE: one term forbids it. */
static gboolean
terms_of_property (const Terms *terms, const char *name, Terms *into)
{
    for (guint i = 0; i < terms->len; i++) {
        const Term *term = &g_array_index (terms, Term, i);
        const json_t *own = json_object_get (json_object_get (term->schema, "properties"), name);
        const json_t *other = json_object_get (term->schema, "additionalProperties");
        if (own)
            terms_add (into, own, "%s.properties.%s", term->path, name);
        else if (json_is_false (other))
            return FALSE;
        else if (other)
            terms_add (into, other, "%s.additionalProperties", term->path);
    }
    return TRUE;
}

static json_t *
print_object (Pass *pass, const Terms *terms, const SchemaPlain *plain, const char *path)
{
    g_autoptr (json_t) properties = json_object ();
    g_autoptr (json_t) required = json_array ();
    g_autoptr (GPtrArray) names = g_ptr_array_new (); /* in order of appearance: the order of the output */
    const char *name;
    json_t *value;
    for (guint i = 0; i < terms->len; i++)
        json_object_foreach (json_object_get (g_array_index (terms, Term, i).schema, "properties"), name, value)
            if (!g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL))
                g_ptr_array_add (names, (gpointer) name);
    json_object_foreach (plain->required, name, value)
        if (!g_ptr_array_find_with_equal_func (names, name, g_str_equal, NULL))
            g_ptr_array_add (names, (gpointer) name);

    for (guint i = 0; i < names->len; i++) {
        name = g_ptr_array_index (names, i);
        const gboolean needed = json_object_get (plain->required, name) != NULL;
        g_autoptr (GArray) joined = terms_new ();
        json_t *printed = NULL;
        if (terms_of_property (terms, name, joined))
            printed = print_terms (pass, joined);
        else
            refuse (pass, UNSAT, path, "required", "the property \"%s\" is required and forbidden at once", name);
        if (!printed && (!is_unsat (pass) || needed))
            return NULL;
        if (!printed) {
            forgive (pass); /* a property that may not be there is left out */
            continue;
        }
        json_object_set_new (properties, name, printed);
        if (needed)
            json_array_append_new (required, json_string (name));
    }

    /* Further properties: closed as soon as one term says so; open where one says so; else what is listed (all, if nothing is). */
    gboolean open = FALSE, closed = FALSE;
    g_autoptr (GArray) others = terms_new ();
    for (guint i = 0; i < terms->len; i++) {
        const Term *term = &g_array_index (terms, Term, i);
        const json_t *other = json_object_get (term->schema, "additionalProperties");
        if (json_is_false (other))
            closed = TRUE;
        else if (other)
            open = TRUE, terms_add (others, other, "%s.additionalProperties", term->path);
    }
    json_t *additional = NULL;
    if (open && !closed) {
        additional = print_terms (pass, others);
        if (!additional && !is_unsat (pass))
            return NULL;
        forgive (pass);
    }
    json_t *object = json_pack ("{s:s}", "type", "object");
    if (json_object_size (properties) == 0 && !closed && !open)
        return object; /* any object */
    json_object_set (object, "properties", properties);
    if (json_array_size (required) > 0)
        json_object_set (object, "required", required);
    if (additional && json_object_size (additional) == 0) {
        json_object_set_new (object, "additionalProperties", json_true ());
        json_decref (additional);
    } else {
        json_object_set_new (object, "additionalProperties", additional ? additional : json_false ());
    }
    return object;
}

static json_t *
print_array (Pass *pass, const Terms *terms, const SchemaPlain *plain, const char *path)
{
    const Term *tuple = NULL;
    const json_t *first = NULL;
    g_autoptr (GArray) items = terms_new ();
    for (guint i = 0; i < terms->len; i++) {
        const Term *term = &g_array_index (terms, Term, i);
        const json_t *prefix = json_object_get (term->schema, "prefixItems"),
                     *rest = json_object_get (term->schema, "items");
        if (json_is_array (rest)) /* drafts before 2020 */
            prefix = rest, rest = json_object_get (term->schema, "additionalItems");
        if (prefix && !json_is_array (prefix))
            return refuse (pass, CHAT_FAIL_INVALID, term->path, "prefixItems", "it must be a list of schemas");
        if (prefix && tuple)
            return refuse (pass, CHAT_FAIL_INVALID, term->path, "prefixItems",
                           "two of them at once cannot be enforced");
        if (prefix)
            tuple = term, first = prefix;
        else if (rest)
            terms_add (items, rest, "%s.items", term->path);
    }
    if (plain->max_items >= 0 && plain->min_items > plain->max_items)
        return refuse (pass, UNSAT, path, "minItems", "it is larger than maxItems");
    if (!tuple) {
        const gboolean any = items->len == 0;
        json_t *item = print_terms (pass, items);
        if (!item && (!is_unsat (pass) || plain->min_items > 0))
            return NULL;
        gint64 most = plain->max_items;
        if (!item) {
            forgive (pass);
            item = json_object ();
            most = 0;
        }
        json_t *array = json_pack ("{s:s}", "type", "array");
        if (!any || plain->min_items > 0 || most >= 0)
            json_object_set (array, "items", item);
        json_decref (item);
        if (plain->min_items > 0)
            json_object_set_new (array, "minItems", json_integer (plain->min_items));
        if (most >= 0)
            json_object_set_new (array, "maxItems", json_integer (most));
        return array;
    }
    /* The converter writes a tuple whole: as many items as are listed, or as maxItems lets through. */
    gint64 n = json_array_size (first);
    if (plain->min_items > n)
        return refuse (pass, CHAT_FAIL_INVALID, path, "minItems",
                       "more items than 'prefixItems' lists cannot be enforced");
    if (plain->max_items >= 0)
        n = MIN (n, plain->max_items);
    g_autoptr (json_t) printed = json_array ();
    for (gint64 i = 0; i < n; i++) {
        g_autoptr (GArray) joined = terms_new ();
        terms_add (joined, json_array_get (first, i), "%s.prefixItems.%d", tuple->path, (int) i);
        for (guint k = 0; k < items->len; k++)
            terms_add (joined, g_array_index (items, Term, k).schema, "%s", g_array_index (items, Term, k).path);
        json_t *one = print_terms (pass, joined);
        if (!one && is_unsat (pass) && i >= plain->min_items) {
            forgive (pass);
            break; /* a shorter tuple does */
        }
        if (!one)
            return NULL;
        json_array_append_new (printed, one);
    }
    if (json_array_size (printed) == 0)
        return json_pack ("{s:s, s:{}, s:i}", "type", "array", "items", "maxItems", 0);
    return json_pack ("{s:s, s:O}", "type", "array", "prefixItems", printed);
}

static json_t *
print_string (Pass *pass, const SchemaPlain *plain, const char *path)
{
    json_t *string = json_pack ("{s:s}", "type", "string");
    if (plain->pattern) {
        json_object_set_new (string, "pattern", json_string (plain->pattern));
    } else if (plain->format) {
        json_object_set_new (string, "format", json_string (plain->format));
    } else if (plain->min_length > 0 || plain->max_length >= 0) {
        if (plain->max_length >= 0 && plain->min_length > plain->max_length) {
            json_decref (string);
            return refuse (pass, UNSAT, path, "minLength", "it is larger than maxLength");
        }
        /* As a pattern, because an escape such as \ud83d counts as a character to the converter and as half of one to a reader. */
        const gint64 least = MAX (plain->min_length, 0);
        g_autofree char *pattern =
            plain->max_length >= 0
                ? g_strdup_printf ("^[^\\x00-\\x1F\\x22\\x5C\\x7F]{%d,%d}$", (int) least, (int) plain->max_length)
                : g_strdup_printf ("^[^\\x00-\\x1F\\x22\\x5C\\x7F]{%d,%d}[^\\x00-\\x1F\\x22\\x5C\\x7F]*$", (int) least,
                                   (int) least);
        json_object_set_new (string, "pattern", json_string (pattern));
    }
    return string;
}

static json_t *
print_number (Pass *pass, const SchemaPlain *plain, const char *path)
{
    const gboolean bounded = plain->least != G_MININT64 || plain->most != G_MAXINT64;
    if ((plain->types & SCHEMA_NUMBER) && plain->typed && !plain->whole) {
        if (!bounded)
            return json_pack ("{s:s}", "type", "number");
        g_autofree char *parent = g_strndup (plain->bound_path, strrchr (plain->bound_path, '.') - plain->bound_path);
        return refuse (pass, CHAT_FAIL_INVALID, parent, strrchr (plain->bound_path, '.') + 1,
                       "bounds can be enforced for type 'integer' alone");
    }
    if (!bounded)
        return json_pack ("{s:s}", "type", "integer");
    /* Both ends always: the converter's one-ended ranges admit numbers outside them. */
    const gint64 least = MAX (plain->least, -MAX_INT), most = MIN (plain->most, MAX_INT);
    if (least > most)
        return refuse (pass, UNSAT, path, "minimum", "no whole number lies between the bounds");
    return json_pack ("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t) least, "maximum",
                      (json_int_t) most);
}

/* Those of the listed values that the other keywords let through. */
static json_t *
print_values (Pass *pass, const Terms *terms, const SchemaPlain *plain, const char *path)
{
    g_autoptr (json_t) fit = json_array ();
    size_t i;
    json_t *value;
    json_array_foreach (plain->values, i, value) {
        const guint type = schema_type_of (value);
        if (!(plain->types & type))
            continue;
        if (json_is_number (value) &&
            (json_number_value (value) < plain->least || json_number_value (value) > plain->most))
            continue;
        if (json_is_string (value)) {
            const glong length = g_utf8_strlen (json_string_value (value), -1);
            if (length < plain->min_length || (plain->max_length >= 0 && length > plain->max_length))
                continue;
            if (plain->pattern || plain->format)
                return refuse (pass, CHAT_FAIL_INVALID, path, "enum",
                               "a list of values beside a pattern or format cannot be enforced");
        }
        if ((type & (SCHEMA_OBJECT | SCHEMA_ARRAY)) && (plain->hinted & type))
            return refuse (pass, CHAT_FAIL_INVALID, path, "enum",
                           "listed objects and arrays beside other keywords cannot be enforced");
        if (!schema_list_has (fit, value))
            json_array_append (fit, value);
    }
    if (json_array_size (fit) == 0)
        return refuse (pass, UNSAT, path, "enum", "none of its values meets the other keywords");
    return json_pack ("{s:O}", "enum", fit);
}

static json_t *
print_plain (Pass *pass, const Terms *terms, SchemaPlain *plain)
{
    const char *path = terms->len > 0 ? g_array_index (terms, Term, 0).path : "";
    if (plain->values)
        return print_values (pass, terms, plain, path);
    if (!plain->typed && !plain->hinted)
        return json_object (); /* any value */
    guint wanted = plain->typed ? plain->types : plain->hinted;
    if (wanted & SCHEMA_NUMBER)
        wanted &= ~SCHEMA_INTEGER; /* a number may be whole */
    g_autoptr (json_t) printed = json_array ();
    for (guint i = 0; i < G_N_ELEMENTS (types); i++) {
        const guint bit = types[i].bit & (SCHEMA_NUMBER | SCHEMA_INTEGER)
                              ? (types[i].bit & SCHEMA_NUMBER ? SCHEMA_NUMBER : SCHEMA_INTEGER)
                              : types[i].bit;
        if (!(wanted & bit))
            continue;
        json_t *one = bit == SCHEMA_OBJECT                     ? print_object (pass, terms, plain, path)
                      : bit == SCHEMA_ARRAY                    ? print_array (pass, terms, plain, path)
                      : bit == SCHEMA_STRING                   ? print_string (pass, plain, path)
                      : bit & (SCHEMA_NUMBER | SCHEMA_INTEGER) ? print_number (pass, plain, path)
                                                               : json_pack ("{s:s}", "type", types[i].name);
        if (one)
            json_array_append_new (printed, one);
        else if (is_unsat (pass) && (wanted & ~bit))
            forgive (pass);
        else
            return NULL;
    }
    if (json_array_size (printed) == 0)
        return refuse (pass, UNSAT, path, plain->typed ? "type" : NULL, "no value meets it");
    if (json_array_size (printed) == 1)
        return json_incref (json_array_get (printed, 0));
    return json_pack ("{s:O}", "anyOf", printed);
}

static json_t *
print_terms (Pass *pass, Terms *terms)
{
    if (++pass->depth > MAX_DEPTH)
        return refuse (pass, CHAT_FAIL_INVALID, terms->len ? g_array_index (terms, Term, 0).path : "", NULL,
                       "the schema is nested deeper than %d levels, or does not end", MAX_DEPTH);
    json_t *printed = NULL;
    if (!flatten (pass, terms)) {
        pass->depth--;
        return NULL;
    }
    const Term *only = terms->len == 1 ? &g_array_index (terms, Term, 0) : NULL;
    const char *ref = only ? json_peek_string (only->schema, "$ref") : NULL;
    if (ref) {
        printed = print_reference (pass, ref, only->path);
        pass->depth--;
        return printed;
    }
    for (guint i = 0; i < terms->len; i++) {
        const json_t *schema = g_array_index (terms, Term, i).schema;
        const char *keyword = json_object_get (schema, "anyOf")   ? "anyOf"
                              : json_object_get (schema, "oneOf") ? "oneOf"
                                                                  : NULL;
        if (keyword) {
            printed = print_alternatives (pass, terms, i, keyword);
            pass->depth--;
            return printed;
        }
    }
    SchemaPlain plain = { .types = SCHEMA_ALL,
                          .least = G_MININT64,
                          .most = G_MAXINT64,
                          .min_length = -1,
                          .max_length = -1,
                          .min_items = -1,
                          .max_items = -1,
                          .required = json_object () };
    gboolean read = TRUE;
    for (guint i = 0; read && i < terms->len; i++)
        read = read_plain (pass, &g_array_index (terms, Term, i), &plain);
    if (read)
        printed = print_plain (pass, terms, &plain);
    json_decref (plain.required);
    json_decref (plain.values);
    g_free (plain.values_path);
    g_free (plain.bound_path);
    g_free (plain.pattern);
    pass->depth--;
    return printed;
}

static void
decref (gpointer value)
{
    json_decref (value);
}

/* Lists are compared each with each, so neither one nor all of them may be long: this runs on the daemon's loop. */
static gboolean
is_small (const json_t *value, gsize *n_values)
{
    gsize n = json_array_size (value) + json_object_size (value), i;
    const char *key;
    json_t *member;
    if (n > MAX_LIST || (*n_values += n) > MAX_VALUES)
        return FALSE;
    json_array_foreach (value, i, member)
        if (!is_small (member, n_values))
            return FALSE;
    json_object_foreach ((json_t *) value, key, member)
        if (!is_small (member, n_values))
            return FALSE;
    return TRUE;
}

json_t *
chat_schema_prepare (const json_t *schema, const char *param, char **where, GError **error)
{
    g_autoptr (GError) problem = NULL;
    g_autofree char *place = NULL;
    g_autoptr (GHashTable) names = g_hash_table_new (NULL, NULL);
    g_autoptr (GPtrArray) kept = g_ptr_array_new_with_free_func (decref);
    g_autoptr (json_t) defs = json_object ();
    Pass pass = { .root = schema, .defs = defs, .names = names, .kept = kept, .where = &place, .error = &problem };
    g_autoptr (GArray) terms = terms_new ();
    terms_add (terms, schema, "%s:", param);
    g_autofree char *root = g_strdup_printf ("%s:", param);
    gsize n_values = 0;
    g_autoptr (json_t) printed =
        is_small (schema, &n_values)
            ? print_terms (&pass, terms)
            : refuse (&pass, CHAT_FAIL_INVALID, root, NULL,
                      "the schema is too large: more than %d values, or %d in one list", MAX_VALUES, MAX_LIST);
    if (printed && !schema_check_whole (printed, defs, &problem))
        place = g_strdup_printf ("%s:", param);
    if (problem) {
        /* The colon kept the parameter apart from the path below it. */
        g_auto (GStrv) halves = g_strsplit (place ? place : "", ":", 2);
        g_free (*where);
        *where = g_strjoinv ("", halves);
        g_autoptr (GString) message = g_string_new (problem->message);
        g_autofree char *with_colon = g_strdup_printf ("'%s", place);
        g_autofree char *plain_where = g_strdup_printf ("'%s", *where);
        g_string_replace (message, with_colon, plain_where, 1);
        g_set_error_literal (error, CHAT_ERROR, CHAT_FAIL_INVALID, message->str);
        return NULL;
    }
    if (json_object_size (defs) > 0)
        json_object_set (printed, "$defs", defs);
    return json_incref (printed);
}
