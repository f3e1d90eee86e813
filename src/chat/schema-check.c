/* schema-check.c: what only the whole of a printed schema shows: whether values end, whether references turn in place, whether branches overlap.
 *
 * Printed schemas are simple: a node is {"$ref"}, {"anyOf"}, {"enum"}, {}, or has one `type`. */
#include "chat/schema-internal.h"

#include "chat/chat.h"

#include <string.h>

guint
schema_type_of (const json_t *value)
{
    switch (json_typeof (value)) {
    case JSON_NULL:
        return SCHEMA_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return SCHEMA_BOOLEAN;
    case JSON_INTEGER:
        return SCHEMA_INTEGER;
    case JSON_REAL:
        return json_real_value (value) == (double) (gint64) json_real_value (value) ? SCHEMA_INTEGER : SCHEMA_NUMBER;
    case JSON_STRING:
        return SCHEMA_STRING;
    case JSON_ARRAY:
        return SCHEMA_ARRAY;
    default:
        return SCHEMA_OBJECT;
    }
}

gboolean
schema_list_has (const json_t *list, const json_t *value)
{
    size_t i;
    json_t *one;
    json_array_foreach ((json_t *) list, i, one) {
        if (json_equal (one, (json_t *) value))
            return TRUE;
        if (json_is_number (one) && json_is_number (value) && json_number_value (one) == json_number_value (value))
            return TRUE;
    }
    return FALSE;
}

static const json_t *
definition (const json_t *node, const json_t *defs)
{
    const char *ref = json_peek_string (node, "$ref");
    return ref ? json_object_get (defs, ref + strlen ("#/$defs/")) : NULL;
}

/* ---- values that end --------------------------------------------------------------------------------------------------- */

/* Can a finite value be written for @node, given which definitions (@good: {name: true}) are known to have one? */
static gboolean
ends (const json_t *node, const json_t *good)
{
    const char *ref = json_peek_string (node, "$ref");
    if (ref)
        return json_object_get (good, ref + strlen ("#/$defs/")) != NULL;
    const json_t *branches = json_object_get (node, "anyOf");
    size_t i;
    json_t *child;
    if (branches) {
        json_array_foreach ((json_t *) branches, i, child)
            if (ends (child, good))
                return TRUE;
        return FALSE;
    }
    const json_t *properties = json_object_get (node, "properties");
    json_array_foreach (json_object_get (node, "required"), i, child)
        if (!ends (json_object_get (properties, json_string_value (child)), good))
            return FALSE;
    json_array_foreach (json_object_get (node, "prefixItems"), i, child)
        if (!ends (child, good))
            return FALSE;
    const json_t *items = json_object_get (node, "items");
    return !items || json_peek_int (node, "minItems", 0) == 0 || ends (items, good);
}

/* Takes out of @node the ways that never end. */
static void
prune (json_t *node, const json_t *good)
{
    json_t *branches = json_object_get (node, "anyOf"), *child;
    for (size_t i = json_array_size (branches); i-- > 0;) {
        if (ends (json_array_get (branches, i), good))
            prune (json_array_get (branches, i), good);
        else
            json_array_remove (branches, i);
    }
    json_t *properties = json_object_get (node, "properties");
    const char *name;
    void *next;
    json_object_foreach_safe (properties, next, name, child) {
        if (ends (child, good))
            prune (child, good);
        else
            json_object_del (properties, name);
    }
    size_t i;
    json_array_foreach (json_object_get (node, "prefixItems"), i, child)
        prune (child, good);
    json_t *items = json_object_get (node, "items"), *additional = json_object_get (node, "additionalProperties");
    if (items && ends (items, good)) {
        prune (items, good);
    } else if (items) {
        json_object_set_new (node, "items", json_object ());
        json_object_set_new (node, "maxItems", json_integer (0));
    }
    if (json_is_object (additional) && ends (additional, good))
        prune (additional, good);
    else if (json_is_object (additional))
        json_object_set_new (node, "additionalProperties", json_false ());
}

/* ---- references that turn in place ------------------------------------------------------------------------------------- */

/* Does @node come back to a definition on @way (an array of names) without a character written? */
static gboolean
turns_in_place (const json_t *node, const json_t *defs, json_t *way)
{
    const json_t *target = definition (node, defs);
    if (target) {
        const char *name = json_peek_string (node, "$ref") + strlen ("#/$defs/");
        json_t *text = json_string (name);
        if (schema_list_has (way, text)) {
            json_decref (text);
            return TRUE;
        }
        json_array_append_new (way, text);
        gboolean turns = turns_in_place (target, defs, way);
        json_array_remove (way, json_array_size (way) - 1);
        return turns;
    }
    size_t i;
    json_t *child;
    json_array_foreach (json_object_get (node, "anyOf"), i, child)
        if (turns_in_place (child, defs, way))
            return TRUE;
    return FALSE;
}

static gboolean
refuse_whole (GError **error, const char *why)
{
    g_set_error (error, CHAT_ERROR, CHAT_FAIL_INVALID, "Invalid schema: %s.", why);
    return FALSE;
}

gboolean
schema_check_whole (json_t *root, json_t *defs, GError **error)
{
    const char *name;
    json_t *node;
    g_autoptr (json_t) way = json_array ();
    if (turns_in_place (root, defs, way))
        return refuse_whole (error, "a $ref leads back to itself before anything is written");
    json_object_foreach (defs, name, node) {
        json_t *self = json_string (name);
        json_array_append_new (way, self);
        if (turns_in_place (node, defs, way))
            return refuse_whole (error, "a $ref leads back to itself before anything is written");
        json_array_clear (way);
    }
    g_autoptr (json_t) good = json_object ();
    for (gboolean more = TRUE; more;) {
        more = FALSE;
        json_object_foreach (defs, name, node)
            if (!json_object_get (good, name) && ends (node, good)) {
                json_object_set_new (good, name, json_true ());
                more = TRUE;
            }
    }
    if (!ends (root, good))
        return refuse_whole (error, "no value that ends meets it");
    prune (root, good);
    void *next;
    json_object_foreach_safe (defs, next, name, node) {
        if (json_object_get (good, name))
            prune (node, good);
        else
            json_object_del (defs, name); /* nobody refers to it any more */
    }
    return TRUE;
}

/* ---- branches ---------------------------------------------------------------------------------------------------------- */

static const json_t *
followed (const json_t *node, const json_t *defs)
{
    for (int i = 0; i < 16 && definition (node, defs); i++)
        node = definition (node, defs);
    return node;
}

static guint
types_of (const json_t *node, const json_t *defs, int depth)
{
    static const struct {
        const char *name;
        guint bits;
    } names[] = {
        { "null", SCHEMA_NULL },
        { "boolean", SCHEMA_BOOLEAN },
        { "integer", SCHEMA_INTEGER },
        { "string", SCHEMA_STRING },
        { "array", SCHEMA_ARRAY },
        { "object", SCHEMA_OBJECT },
        { "number", SCHEMA_NUMBER | SCHEMA_INTEGER },
    };
    node = followed (node, defs);
    if (depth > 16 || !node || json_peek_string (node, "$ref"))
        return SCHEMA_ALL;
    guint bits = 0;
    size_t i;
    json_t *child;
    json_array_foreach (json_object_get (node, "anyOf"), i, child)
        bits |= types_of (child, defs, depth + 1);
    json_array_foreach (json_object_get (node, "enum"), i, child)
        bits |= schema_type_of (child);
    const char *type = json_peek_string (node, "type");
    for (guint k = 0; k < G_N_ELEMENTS (names); k++)
        if (g_strcmp0 (type, names[k].name) == 0)
            bits |= names[k].bits;
    return bits ? bits : SCHEMA_ALL;
}

static gboolean
lists_are_apart (const json_t *a, const json_t *b)
{
    size_t i;
    json_t *value;
    if (!a || !b)
        return FALSE;
    json_array_foreach ((json_t *) a, i, value)
        if (schema_list_has (b, value))
            return FALSE;
    return TRUE;
}

/* Does @a need a key that @b, closed, does not have?  Then what is written for @b does not fit @a. */
static gboolean
needs_what_lacks (const json_t *a, const json_t *b)
{
    size_t i;
    json_t *name;
    json_array_foreach (json_object_get (a, "required"), i, name)
        if (!json_object_get (json_object_get (b, "properties"), json_string_value (name)) &&
            json_is_false (json_object_get (b, "additionalProperties")))
            return TRUE;
    return FALSE;
}

static gboolean
two_exclude_each_other (const json_t *a, const json_t *b, const json_t *defs)
{
    if ((types_of (a, defs, 0) & types_of (b, defs, 0)) == 0)
        return TRUE;
    a = followed (a, defs);
    b = followed (b, defs);
    if (lists_are_apart (json_object_get (a, "enum"), json_object_get (b, "enum")))
        return TRUE;
    const json_t *of_a = json_object_get (a, "properties"), *of_b = json_object_get (b, "properties");
    size_t i;
    json_t *name;
    json_array_foreach (json_object_get (a, "required"), i, name) {
        const json_t *in_a = followed (json_object_get (of_a, json_string_value (name)), defs);
        const json_t *in_b = followed (json_object_get (of_b, json_string_value (name)), defs);
        if (lists_are_apart (json_object_get (in_a, "enum"), json_object_get (in_b, "enum")))
            return TRUE;
    }
    return needs_what_lacks (a, b) && needs_what_lacks (b, a);
}

gboolean
schema_branches_exclude_each_other (const json_t *branches, const json_t *defs)
{
    const size_t n = json_array_size (branches);
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (!two_exclude_each_other (json_array_get (branches, i), json_array_get (branches, k), defs))
                return FALSE;
    return TRUE;
}
