/* shape.c: walks a value along its shape, and says where the two part. */
#include "api/sdk/shape.h"

#include <math.h>
#include <string.h>

const Shape shape_any = { .type = SHAPE_ANY };
const Shape shape_text = { .type = SHAPE_TEXT };
const Shape shape_name = { .type = SHAPE_NAME };
const Shape shape_flag = { .type = SHAPE_FLAG };
const Shape shape_whole = { .type = SHAPE_WHOLE };
const Shape shape_number = { .type = SHAPE_NUMBER };
const Shape shape_text_or_null = { .type = SHAPE_TEXT, .nullable = TRUE };
const Shape shape_texts = { .type = SHAPE_LIST, .items = &shape_text };

/* The way from the root to the member at hand.  Frames live on the stack of the walk; the text is only made for a complaint. */
typedef struct Step {
    const struct Step *up;
    const char *name; /* NULL: @index */
    size_t index;
} Step;

static void
print_way (GString *text, const Step *step)
{
    if (step->up)
        print_way (text, step->up);
    if (!step->name)
        g_string_append_printf (text, "[%zu]", step->index);
    else if (step->up && step->up->up)
        g_string_append_printf (text, ".%s", step->name);
    else if (step->up) /* members of the root go by their own names */
        g_string_assign (text, step->name);
    else
        g_string_append (text, step->name);
}

G_GNUC_PRINTF (2, 3) static char *complain (const Step *step, const char *format, ...)
{
    GString *text = g_string_new (NULL);
    print_way (text, step);
    g_string_append_c (text, ' ');
    va_list args;
    va_start (args, format);
    g_string_append_vprintf (text, format, args);
    va_end (args);
    return g_string_free (text, FALSE);
}

static char *walk (const Shape *shape, const json_t *value, const Step *step);

static char *
walk_members (const ShapeMember *members, const json_t *object, const Step *step)
{
    for (const ShapeMember *member = members; member && member->name; member++) {
        const json_t *value = json_object_get (object, member->name);
        Step next = { step, member->name, 0 };
        if (!value && member->optional)
            continue;
        char *complaint = walk (member->shape, value, &next);
        if (complaint)
            return complaint;
    }
    return NULL;
}

static char *
walk_tagged (const Shape *shape, const json_t *value, const Step *step)
{
    const char *tag_name = shape->tag ? shape->tag : "type";
    const char *tag = json_peek_string (value, tag_name);
    Step next = { step, tag_name, 0 };
    if (!tag)
        return complain (&next, json_object_get (value, tag_name) ? "must be a string" : "is missing");
    for (const ShapeVariant *variant = shape->variants; variant->tag; variant++)
        if (strcmp (variant->tag, tag) == 0)
            return walk_members (variant->members, value, step);
    return complain (&next, "is not known: \"%.64s\"", tag);
}

static gboolean
is_name (const json_t *value)
{
    const char *text = json_string_value (value);
    size_t length = json_string_length (value);
    if (!text || length < 1 || length > 1024 || strcmp (text, "__proto__") == 0)
        return FALSE;
    for (size_t i = 0; i < length; i++)
        if ((guchar) text[i] < 0x20 || text[i] == 0x7f)
            return FALSE;
    return TRUE;
}

static char *
walk_number (const Shape *shape, const json_t *value, const Step *step)
{
    const char *noun = shape->type == SHAPE_WHOLE ? "a whole number" : "a number";
    double number = json_number_value (value);
    if (!json_is_number (value) || (shape->type == SHAPE_WHOLE && trunc (number) != number))
        return complain (step, "must be %s", noun);
    if ((shape->min != 0 || shape->max != 0) && !(number >= shape->min && number <= shape->max))
        return complain (step, "must be %s from %g to %g", noun, shape->min, shape->max);
    return NULL;
}

static char *
walk (const Shape *shape, const json_t *value, const Step *step)
{
    if (!value)
        return complain (step, "is missing");
    if (json_is_null (value) && shape->nullable)
        return NULL;
    switch (shape->type) {
    case SHAPE_ANY:
        return NULL;
    case SHAPE_TEXT:
        return json_is_string (value) ? NULL : complain (step, "must be a string");
    case SHAPE_NAME:
        return is_name (value) ? NULL : complain (step, "must be a string of 1 to 1024 characters");
    case SHAPE_FLAG:
        return json_is_boolean (value) ? NULL : complain (step, "must be true or false");
    case SHAPE_WHOLE:
    case SHAPE_NUMBER:
        return walk_number (shape, value, step);
    case SHAPE_WORD:
        for (const char *const *word = shape->words; json_is_string (value) && *word; word++)
            if (strcmp (*word, json_string_value (value)) == 0)
                return NULL;
        return complain (step, "is not one of the words it may be");
    case SHAPE_LIST: {
        if (!json_is_array (value))
            return complain (step, "must be an array");
        size_t i;
        const json_t *item;
        json_array_foreach (value, i, item) {
            Step next = { step, NULL, i };
            char *complaint = walk (shape->items, item, &next);
            if (complaint)
                return complaint;
        }
        return NULL;
    }
    case SHAPE_OBJECT:
        return json_is_object (value) ? walk_members (shape->members, value, step)
                                      : complain (step, "must be an object");
    case SHAPE_TAGGED:
        return json_is_object (value) ? walk_tagged (shape, value, step) : complain (step, "must be an object");
    }
    g_assert_not_reached ();
}

char *
shape_complain (const Shape *shape, const json_t *value, const char *root)
{
    Step step = { NULL, root, 0 };
    return walk (shape, value, &step);
}
