/* What schema.c and schema-check.c share. */
#pragma once

#include "base/json.h"

#include <glib.h>

enum {
    SCHEMA_NULL = 1,
    SCHEMA_BOOLEAN = 2,
    SCHEMA_INTEGER = 4,
    SCHEMA_NUMBER = 8, /* with a fraction; `number` is this and SCHEMA_INTEGER */
    SCHEMA_STRING = 16,
    SCHEMA_ARRAY = 32,
    SCHEMA_OBJECT = 64,
    SCHEMA_ALL = 127
};

/* The keywords of all terms of a node, merged. */
typedef struct {
    guint types, hinted; /* what `type` leaves; what the other keywords are about */
    gboolean typed;
    json_t *values; /* enum and const, or NULL; owned */
    char *values_path, *bound_path;
    gint64 least, most;                                  /* whole numbers */
    gboolean whole;                                      /* multipleOf 1 */
    gint64 min_length, max_length, min_items, max_items; /* -1: not said */
    char *pattern;
    const char *format;
    json_t *required; /* {name: true} */
} SchemaPlain;

guint schema_type_of (const json_t *value);                         /* one SCHEMA_ bit */
gboolean schema_list_has (const json_t *list, const json_t *value); /* 1 and 1.0 are one value */

/* Of printed branches: can a value that is written for one fit another? */
gboolean schema_branches_exclude_each_other (const json_t *branches, const json_t *defs);

/* Looks at a printed schema and its definitions: takes out what no finite value meets, refuses a root that none meets, and references that lead
 * back to themselves before a character is written. */
gboolean schema_check_whole (json_t *root, json_t *defs, GError **error);
