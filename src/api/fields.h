/* The fields of a request: a table says name, type, range and where the value goes; one reader checks them all (spec: http.md 1.3).
 *
 *   typedef struct { gboolean stream; double temperature; gint64 n; const char *model; } Ask;
 *
 *   static const Field rows[] = {
 *       { "stream",      FIELD_BOOL,   FIELD_AT (Ask, stream) },
 *       { "temperature", FIELD_NUMBER, FIELD_AT (Ask, temperature), .min = 0, .max = 2 },
 *       { "n",           FIELD_INT,    FIELD_AT (Ask, n), .min = 1, .max = 16 },
 *       { "model",       FIELD_STRING, FIELD_AT (Ask, model), .required = TRUE },
 *   };
 *   static const FieldTable table = FIELD_TABLE (rows);
 *
 * An absent field leaves its place as it was, so defaults are what the target holds before; null counts as absent in every family.
 * An error names the field with its whole path: "stream_options.include_usage", "messages[2].role". */
#pragma once

#include "api/errors.h"

typedef enum {
    FIELD_IGNORED,    /* any value, accepted and not looked at */
    FIELD_BOOL,       /* gboolean */
    FIELD_BOOL_LOOSE, /* gboolean; "true" and "false" as strings too: bool~ */
    FIELD_INT,        /* gint64, gint32 or int; 5.0 is an integer; clamped to what the place holds after the check */
    FIELD_NUMBER,     /* double */
    FIELD_STRING,     /* const char *, lent by the body; without NUL, not empty if .min is 1; .max bytes at most */
    FIELD_ENUM,       /* int: the position in .values */
    FIELD_STRINGS, /* json_t *: an array of strings, one string is wrapped; owned by the target; .min, .max bytes of each, .most of them */
    FIELD_ARRAY,   /* json_t *, lent; .min to .max elements */
    FIELD_OBJECT,  /* json_t *, lent; or with .members read into the same target */
    FIELD_ANY,     /* json_t *, lent */
    FIELD_REFUSED, /* any value but null is .refusal, with .says */
} FieldType;

typedef struct Field Field;
typedef struct FieldTable FieldTable;

struct Field {
    const char *name;
    FieldType type;
    gsize offset, size; /* FIELD_AT */
    double min, max;    /* both 0: no range */
    gboolean above_min; /* min itself is out of range */
    guint most;         /* FIELD_STRINGS: elements */
    gboolean required;
    const char *const *values; /* FIELD_ENUM, NULL-terminated */
    const FieldTable *members; /* FIELD_OBJECT */
    ApiErrorKind refusal;      /* FIELD_REFUSED; 0 is API_NOT_IMPLEMENTED */
    const char *says;          /* FIELD_REFUSED: the sentence behind the name, or NULL */
    /* A look at a value that has the right type and range, for rules that a row cannot say.  @path names the field. */
    gboolean (*check) (const json_t *value, const char *path, gpointer target, ApiError *error);
};

struct FieldTable {
    const Field *rows;
    guint n_rows;
    gboolean strict; /* unknown keys are API_UNRECOGNIZED_KEYS (v1); else ignored */
    const FieldTable
        *also; /* rows that several tables share, with nothing required among them; looked at after @rows */
};

#define FIELD_AT(Target, member) .offset = offsetof (Target, member), .size = sizeof (((Target *) 0)->member)
#define FIELD_TABLE(list)                             \
    {                                                 \
        .rows = (list), .n_rows = G_N_ELEMENTS (list) \
    }
#define FIELD_TABLE_STRICT(list)                                      \
    {                                                                 \
        .rows = (list), .n_rows = G_N_ELEMENTS (list), .strict = TRUE \
    }
#define FIELD_TABLE_ALSO(list, more)                                  \
    {                                                                 \
        .rows = (list), .n_rows = G_N_ELEMENTS (list), .also = (more) \
    }

/* Reads @object into @target.  @path is what the object itself is called in errors, NULL for the body.  FALSE and @error at the
 * first field that is wrong, in the order of the body; then the target is half read.  The strings of FIELD_STRINGS belong to the target
 * either way. */
gboolean
fields_read (const FieldTable *table, const json_t *object, const char *path, gpointer target, ApiError *error);

/* The errors in the reader's words, for checks of one's own: "x" is required; "x" must be WHAT. */
gboolean field_missing (ApiError *error, const char *path);
gboolean field_wrong_type (ApiError *error, const char *path, const char *what);
