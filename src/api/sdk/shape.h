/* Shapes: what a JSON value has to look like, as data (spec: sdk.md 3.4, 3.5, 5).
 *
 * One small language serves both directions.  What clients send is checked before a handler sees it, so that a wrong member is named;
 * what we send is checked in builds with sanitizers, because a client that can't parse an answer waits for it for ever. */
#pragma once

#include "base/json.h"

typedef enum {
    SHAPE_ANY,
    SHAPE_TEXT,
    SHAPE_NAME, /* a text of 1 to 1024 bytes without control characters, not "__proto__" */
    SHAPE_FLAG,
    SHAPE_WHOLE, /* a number without fraction */
    SHAPE_NUMBER,
    SHAPE_WORD,   /* one of @words */
    SHAPE_LIST,   /* of @items */
    SHAPE_OBJECT, /* with @members, and any others */
    SHAPE_TAGGED, /* an object whose member "type" (or @tag) chooses one of @variants */
} ShapeType;

typedef struct Shape Shape;

typedef struct {
    const char *name; /* NULL ends a list */
    const Shape *shape;
    gboolean optional; /* may be absent; never null, unless the shape says so */
} ShapeMember;

#define NEED(name, shape)  \
    {                      \
        name, shape, FALSE \
    }
#define MAY(name, shape)  \
    {                     \
        name, shape, TRUE \
    }

typedef struct {
    const char *tag; /* NULL ends a list */
    const ShapeMember *members;
} ShapeVariant;

struct Shape {
    ShapeType type;
    gboolean nullable;
    double min, max; /* of numbers; both 0: any */
    const char *const *words;
    const Shape *items;
    const ShapeMember *members;
    const char *tag;
    const ShapeVariant *variants;
};

/* Bare shapes for the many members that have no more to say. */
extern const Shape shape_any, shape_text, shape_name, shape_flag, shape_whole, shape_number, shape_text_or_null,
    shape_texts;

/* NULL when @value (NULL: absent) fits.  Else a sentence that names the member, "specifier.type is missing"; the caller frees.
 * @root is what the value itself is called. */
char *shape_complain (const Shape *shape, const json_t *value, const char *root);
