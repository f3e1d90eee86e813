/* JSON with the limits that hold everywhere: UTF-8, no depth beyond 128, no duplicate surprises (the last key wins), a byte
 * offset in every complaint.  Values are jansson's; this header only adds what Atelier needs around them. */
#pragma once

#include <glib.h>
#include <jansson.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC (json_t, json_decref)

#define JSON_MAX_DEPTH 128
/* What one text may grow to: a value counts 1, an array 4, an object 8 (an empty one of a few bytes takes a hundred and more in memory),
 * so that 64 MiB of brackets don't become gigabytes. */
#define JSON_MAX_WEIGHT (4 * 1024 * 1024)

#define JSON_PARSE_ERROR (json_parse_error_quark ())
GQuark json_parse_error_quark (void);
enum { JSON_PARSE_SYNTAX, JSON_PARSE_DEPTH, JSON_PARSE_WEIGHT };

/* Parses @length bytes of UTF-8 (a BOM is skipped, "\u0000" is kept).  Any JSON value is taken.  NULL with JSON_PARSE_ERROR
 * and a sentence that names the byte offset otherwise. */
json_t *json_parse (const char *text, gsize length, GError **error);

/* Prints compactly, UTF-8 unescaped, reals with 15 digits.  The caller frees with g_free; @length may be NULL. */
char *json_print (const json_t *value, gsize *length);

/* A copy of a string member, or NULL when it is absent or no string.  The lent form of the same. */
const char *json_peek_string (const json_t *object, const char *key);

/* Reads an integer member; real numbers without fraction count.  @fallback when it is absent or no number. */
gint64 json_peek_int (const json_t *object, const char *key, gint64 fallback);
double json_peek_number (const json_t *object, const char *key, double fallback);
gboolean json_peek_bool (const json_t *object, const char *key, gboolean fallback);

/* Sets @key to a string of @length bytes that may hold NUL; bytes that are not UTF-8 become U+FFFD. */
void json_set_text (json_t *object, const char *key, const char *text, gsize length);

/* Appends @text, @length bytes of valid UTF-8, as a JSON string with its quotes: for events printed once per token, where a tree
 * would cost more than the text.  @text NULL appends null. */
void json_append_text (GString *out, const char *text, gsize length);
/* The same for a C string. */
void json_append_string (GString *out, const char *text);
/* Appends json_print's form of any value. */
void json_append_value (GString *out, const json_t *value);
