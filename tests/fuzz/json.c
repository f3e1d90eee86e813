/* json.c: any bytes to json_parse; what is taken must print, and be the same when read again. */
#include "fuzz.h"

#include "base/json.h"

#include <string.h>

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    g_autoptr (GError) error = NULL;
    /* A copy of just this size: the checker sees a read behind its end. */
    g_autofree char *text = g_memdup2 (data, size);
    g_autoptr (json_t) value = json_parse (text ? text : "", size, &error);
    if (!value) {
        g_assert_nonnull (error);
        return 0;
    }
    g_assert_no_error (error);

    gsize length = 0;
    g_autofree char *printed = json_print (value, &length);
    g_assert_true (g_utf8_validate_len (printed, length, NULL));
    g_autoptr (json_t) again = json_parse (printed, length, &error);
    g_assert_no_error (error);
    /* The first print may round a real number to its 15 digits; from then on nothing changes. */
    gsize second_length = 0;
    g_autofree char *second = json_print (again, &second_length);
    g_assert_cmpmem (printed, length, second, second_length);

    if (json_is_string (value)) {
        g_autoptr (GString) appended = g_string_new (NULL);
        json_append_text (appended, json_string_value (value), json_string_length (value));
        g_autoptr (json_t) back = json_parse (appended->str, appended->len, &error);
        g_assert_no_error (error);
        g_assert_true (json_equal (value, back));
    }
    return 0;
}
