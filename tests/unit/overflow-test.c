/* Which messages go: a letter each, s system, u user, a assistant, t tool result. */
#include "engine/overflow.h"

#include <string.h>

static json_t *
conversation (const char *letters)
{
    json_t *messages = json_array ();
    for (guint i = 0; letters[i]; i++) {
        const char *role = letters[i] == 's'   ? "system"
                           : letters[i] == 'u' ? "user"
                           : letters[i] == 'a' ? "assistant"
                                               : "tool";
        json_array_append_new (messages, json_pack ("{s:s, s:i}", "role", role, "content", (int) i));
    }
    return messages;
}

static char *
letters_of (const json_t *messages)
{
    GString *letters = g_string_new (NULL);
    size_t i;
    json_t *message;
    json_array_foreach (messages, i, message)
        g_string_append_c (letters, json_peek_string (message, "role")[0]);
    return g_string_free (letters, FALSE);
}

static void
by_example (void)
{
    static const struct {
        const char *messages;
        Overflow policy;
        const char *left[8]; /* after 0, 1, 2, .. units are gone */
    } rows[] = {
        { "suauau", OVERFLOW_STOP, { "suauau" } },
        { "suauau", OVERFLOW_ROLLING, { "suauau", "sauau", "suau", "sau", "su" } },
        { "suauau", OVERFLOW_MIDDLE, { "suauau", "suuau", "suau", "suu" } },
        { "u", OVERFLOW_ROLLING, { "u" } },
        { "u", OVERFLOW_MIDDLE, { "u" } },
        { "su", OVERFLOW_ROLLING, { "su" } },
        { "", OVERFLOW_ROLLING, { "" } },
        { "uattau", OVERFLOW_ROLLING, { "uattau", "attau", "au", "u" } }, /* results go with their call */
        { "uattau", OVERFLOW_MIDDLE, { "uattau", "uau", "uu" } },
        { "uauatt", OVERFLOW_ROLLING, { "uauatt", "auatt", "uatt", "att" } }, /* the last unit has results */
        { "uauatt", OVERFLOW_MIDDLE, { "uauatt", "uuatt", "uatt" } },
        { "susuau", OVERFLOW_ROLLING, { "susuau", "ssuau", "ssau", "ssu" } }, /* no system message goes */
        { "tu", OVERFLOW_ROLLING, { "tu", "u" } },                            /* a result without a call */
    };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_autoptr (json_t) messages = conversation (rows[i].messages);
        guint n = 0;
        for (; n < G_N_ELEMENTS (rows[i].left) && rows[i].left[n]; n++) {
            g_autoptr (json_t) left = overflow_drop (messages, rows[i].policy, n);
            g_autofree char *letters = letters_of (left);
            g_assert_cmpstr (letters, ==, rows[i].left[n]);
        }
        g_assert_cmpuint (overflow_n_droppable (messages, rows[i].policy), ==, n - 1);
    }
}

/* Every conversation of up to 6 messages: what stays is in order, system messages and the last message stay, no result is first of its
 * call, and each step drops something. */
static void
all_small_conversations (void)
{
    static const char roles[] = "suat";
    for (guint length = 1; length <= 6; length++)
        for (guint code = 0; code < 1u << (2 * length); code++) {
            char letters[8] = { 0 };
            for (guint i = 0; i < length; i++)
                letters[i] = roles[code >> (2 * i) & 3];
            g_autoptr (json_t) messages = conversation (letters);
            for (Overflow policy = OVERFLOW_MIDDLE; policy <= OVERFLOW_ROLLING; policy++) {
                const guint n = overflow_n_droppable (messages, policy);
                gsize before = length + 1;
                for (guint dropped = 0; dropped <= n; dropped++) {
                    g_autoptr (json_t) left = overflow_drop (messages, policy, dropped);
                    g_assert_cmpuint (json_array_size (left), <, before);
                    before = json_array_size (left);
                    guint n_system = 0;
                    gint64 last = -1;
                    size_t i;
                    json_t *message;
                    json_array_foreach (left, i, message) {
                        gint64 index = json_peek_int (message, "content", -1);
                        g_assert_cmpint (index, >, last);
                        /* A result whose call or fellow result stood before it has it still. */
                        if (letters[index] == 't' && index > 0 && strchr ("at", letters[index - 1]))
                            g_assert_cmpint (last, ==, index - 1);
                        last = index;
                        n_system += letters[index] == 's';
                    }
                    g_assert_cmpint (last, ==, length - 1);
                    for (guint k = 0; k < length; k++)
                        n_system -= letters[k] == 's';
                    g_assert_cmpuint (n_system, ==, 0);
                }
            }
        }
}

static void
names (void)
{
    g_assert_cmpint (overflow_from_name ("truncateMiddle"), ==, OVERFLOW_MIDDLE);
    g_assert_cmpint (overflow_from_name ("rollingWindow"), ==, OVERFLOW_ROLLING);
    g_assert_cmpint (overflow_from_name ("stopAtLimit"), ==, OVERFLOW_STOP);
    g_assert_cmpint (overflow_from_name (NULL), ==, OVERFLOW_STOP);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/overflow/by-example", by_example);
    g_test_add_func ("/overflow/all-small-conversations", all_small_conversations);
    g_test_add_func ("/overflow/names", names);
    return g_test_run ();
}
