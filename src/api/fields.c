/* fields.c: the reader of request fields.
 *
 * The body's keys are walked, not the table's rows: a request has five keys, a table fifty rows. */
#include "api/fields.h"

#include <math.h>
#include <string.h>

/* One field under the reader's eye. */
typedef struct {
    const Field *field;
    json_t *value;
    const char *path;
    char *place;
    gpointer target;
    ApiError *error;
} Reading;

gboolean
field_missing (ApiError *error, const char *path)
{
    return api_error_set (error, API_MISSING, path, "\"%s\" is required", path);
}

gboolean
field_wrong_type (ApiError *error, const char *path, const char *what)
{
    return api_error_set (error, API_INVALID_TYPE, path, "\"%s\" must be %s.", path, what);
}

static gboolean
has_range (const Field *field)
{
    return field->min != 0 || field->max != 0 || field->above_min;
}

/* "must be between 0 and 2", "must be greater than 0", "must be at least 1": an infinite max has no upper end to speak of. */
static gboolean
out_of_range (const Reading *r)
{
    const Field *field = r->field;
    g_autofree char *range = NULL;
    if (isinf (field->max))
        range = g_strdup_printf (field->above_min ? "greater than %.15g" : "at least %.15g", field->min);
    else if (field->above_min)
        range = g_strdup_printf ("greater than %.15g and at most %.15g", field->min, field->max);
    else
        range = g_strdup_printf ("between %.15g and %.15g", field->min, field->max);
    return api_error_set (r->error, API_INVALID_VALUE, r->path, "\"%s\" must be %s.", r->path, range);
}

static gboolean
in_range (const Field *field, double value)
{
    return !has_range (field) ||
           (value >= field->min && value <= field->max && !(field->above_min && value == field->min));
}

/* A row without a place is checked only. */
static gboolean
store (const Reading *r, gconstpointer value, gsize size)
{
    if (r->field->size > 0) {
        g_assert (r->field->size == size);
        memcpy (r->place, value, size);
    }
    return TRUE;
}

/* ---- one function per type --------------------------------------------------------------------------------------------------- */

static gboolean
read_bool (const Reading *r)
{
    const json_t *value = r->value;
    gboolean taken;
    if (json_is_boolean (value))
        taken = json_is_true (value);
    else if (r->field->type == FIELD_BOOL_LOOSE && json_is_string (value) &&
             (g_str_equal (json_string_value (value), "true") || g_str_equal (json_string_value (value), "false")))
        taken = json_string_value (value)[0] == 't';
    else
        return field_wrong_type (r->error, r->path, "a boolean");
    return store (r, &taken, sizeof taken);
}

static gboolean
read_int (const Reading *r)
{
    gint64 number;
    if (json_is_integer (r->value)) {
        number = json_integer_value (r->value);
    } else if (json_is_real (r->value) && trunc (json_real_value (r->value)) == json_real_value (r->value)) {
        double real = json_real_value (r->value);
        if (!in_range (r->field, real) || fabs (real) >= 0x1p63)
            return out_of_range (r);
        number = (gint64) real;
    } else {
        return field_wrong_type (r->error, r->path, "an integer");
    }
    if (!in_range (r->field, (double) number))
        return out_of_range (r);
    if (r->field->size == sizeof (gint32)) {
        gint32 narrow = CLAMP (number, G_MININT32, G_MAXINT32);
        return store (r, &narrow, sizeof narrow);
    }
    return store (r, &number, sizeof number);
}

static gboolean
read_number (const Reading *r)
{
    if (!json_is_number (r->value))
        return field_wrong_type (r->error, r->path, "a number");
    double number = json_number_value (r->value);
    if (!in_range (r->field, number))
        return out_of_range (r);
    return store (r, &number, sizeof number);
}

static gboolean
length_is_fine (const Field *field, const json_t *text)
{
    gsize length = json_string_length (text);
    return length >= (gsize) field->min && (field->max == 0 || length <= (gsize) field->max);
}

static gboolean
read_string (const Reading *r)
{
    if (!json_is_string (r->value))
        return field_wrong_type (r->error, r->path, "a string");
    const char *text = json_string_value (r->value);
    if (strlen (text) != json_string_length (r->value))
        return api_error_set (r->error, API_INVALID_VALUE, r->path, "\"%s\" must not contain U+0000.", r->path);
    if (!length_is_fine (r->field, r->value))
        return api_error_set (r->error, API_INVALID_VALUE, r->path, "\"%s\" must be %.0f to %.0f bytes long.", r->path,
                              r->field->min, r->field->max);
    return store (r, &text, sizeof text);
}

static gboolean
read_enum (const Reading *r)
{
    if (!json_is_string (r->value))
        return field_wrong_type (r->error, r->path, "a string");
    for (int i = 0; r->field->values[i]; i++)
        if (g_str_equal (json_string_value (r->value), r->field->values[i]))
            return store (r, &i, sizeof i);
    g_autofree char *list = g_strjoinv (", ", (char **) r->field->values);
    return api_error_set (r->error, API_INVALID_VALUE, r->path, "\"%s\" must be one of: %s.", r->path, list);
}

static gboolean
read_strings (const Reading *r)
{
    if (!json_is_string (r->value) && !json_is_array (r->value))
        return field_wrong_type (r->error, r->path, "a string or an array of strings");
    g_autoptr (json_t) list = json_is_string (r->value) ? json_pack ("[O]", r->value) : json_incref (r->value);
    if (r->field->most && json_array_size (list) > r->field->most)
        return api_error_set (r->error, API_INVALID_VALUE, r->path, "\"%s\" must have at most %u elements.", r->path,
                              r->field->most);
    size_t i;
    json_t *text;
    json_array_foreach (list, i, text) {
        if (!json_is_string (text))
            return field_wrong_type (r->error, r->path, "a string or an array of strings");
        if (!length_is_fine (r->field, text))
            return api_error_set (r->error, API_INVALID_VALUE, r->path,
                                  "\"%s\" must hold strings of %.0f to %.0f bytes.", r->path, r->field->min,
                                  r->field->max);
    }
    if (r->field->size == 0)
        return TRUE;
    json_t *kept = g_steal_pointer (&list), *old;
    memcpy (&old, r->place, sizeof old);
    json_decref (old);
    return store (r, &kept, sizeof kept);
}

static gboolean
lend (const Reading *r)
{
    return store (r, &r->value, sizeof r->value);
}

static gboolean
read_array (const Reading *r)
{
    if (!json_is_array (r->value))
        return field_wrong_type (r->error, r->path, "an array");
    gsize n = json_array_size (r->value);
    if (n == 0 && r->field->min > 0)
        return api_error_set (r->error, API_INVALID_VALUE, r->path, "\"%s\" must not be empty.", r->path);
    if (r->field->max > 0 && n > r->field->max)
        return api_error_set (r->error, API_INVALID_VALUE, r->path, "\"%s\" must have at most %.0f elements.", r->path,
                              r->field->max);
    return lend (r);
}

static gboolean
read_object (const Reading *r)
{
    if (!json_is_object (r->value))
        return field_wrong_type (r->error, r->path, "an object");
    if (r->field->members && !fields_read (r->field->members, r->value, r->path, r->target, r->error))
        return FALSE;
    return lend (r);
}

static gboolean
refuse (const Reading *r)
{
    return api_error_set (r->error, r->field->refusal ? r->field->refusal : API_NOT_IMPLEMENTED, r->path, "\"%s\" %s.",
                          r->path, r->field->says ? r->field->says : "is not supported yet");
}

static gboolean
ignore (const Reading *r)
{
    return TRUE;
}

static gboolean (*const readers[]) (const Reading *) = {
    [FIELD_IGNORED] = ignore,
    [FIELD_BOOL] = read_bool,
    [FIELD_BOOL_LOOSE] = read_bool,
    [FIELD_INT] = read_int,
    [FIELD_NUMBER] = read_number,
    [FIELD_STRING] = read_string,
    [FIELD_ENUM] = read_enum,
    [FIELD_STRINGS] = read_strings,
    [FIELD_ARRAY] = read_array,
    [FIELD_OBJECT] = read_object,
    [FIELD_ANY] = lend,
    [FIELD_REFUSED] = refuse,
};

/* ---- the walk ---------------------------------------------------------------------------------------------------------------- */

static const Field *
find_row (const FieldTable *table, const char *name)
{
    for (guint i = 0; i < table->n_rows; i++)
        if (g_str_equal (table->rows[i].name, name))
            return &table->rows[i];
    return table->also ? find_row (table->also, name) : NULL;
}

static gboolean
read_one (const Field *field, json_t *value, const char *path, gpointer target, ApiError *error)
{
    Reading reading = { field, value, path, (char *) target + field->offset, target, error };
    return readers[field->type](&reading) && (!field->check || field->check (value, path, target, error));
}

gboolean
fields_read (const FieldTable *table, const json_t *object, const char *path, gpointer target, ApiError *error)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *) object, key, value) {
        const Field *field = find_row (table, key);
        if (!field && table->strict)
            return api_error_set (error, API_UNRECOGNIZED_KEYS, key, "Unrecognized key(s) in object: '%s'", key);
        if (!field || json_is_null (value))
            continue;
        g_autofree char *whole = path ? g_strconcat (path, ".", key, NULL) : NULL;
        if (!read_one (field, value, whole ? whole : key, target, error))
            return FALSE;
    }
    for (guint i = 0; i < table->n_rows; i++) {
        const Field *field = &table->rows[i];
        if (!field->required || !(value = json_object_get (object, field->name), !value || json_is_null (value)))
            continue;
        g_autofree char *whole = path ? g_strconcat (path, ".", field->name, NULL) : g_strdup (field->name);
        return field_missing (error, whole);
    }
    return TRUE;
}
