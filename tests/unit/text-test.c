/* Whole characters, stop strings, counted reasoning: the answer must not depend on how the bytes were cut. */
#include "engine/text.h"

#include <string.h>

#define FFFD "\xEF\xBF\xBD"

/* ---- characters ---------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *bytes, *text;
} characters[] = {
    { "ascii", "plain", "plain" },
    { "two-three-four", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x99\x82.", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x99\x82." },
    { "ends-inside", "a\xF0\x9F\x99", "a" FFFD },
    { "lone-continuation", "a\x80z", "a" FFFD "z" },
    { "two-lone-continuations", "\x80\xBF", FFFD FFFD },
    { "broken-then-ascii", "\xE2\x82z", FFFD "z" },
    { "broken-then-lead", "\xE2\x82\xC3\xA4", FFFD "\xC3\xA4" },
    { "overlong", "\xC0\xAF", FFFD FFFD },
    { "overlong-three", "\xE0\x80\x80", FFFD FFFD FFFD },
    { "surrogate", "\xED\xA0\x80", FFFD FFFD FFFD },
    { "beyond-unicode", "\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD },
    { "no-byte-of-utf-8", "\xFF\xFE", FFFD FFFD },
    { "last-of-unicode", "\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF" },
    { "unicode-book", "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64",
      "a" FFFD FFFD FFFD "b" FFFD "c" FFFD FFFD "d" },
};

static void
check_characters (gconstpointer data)
{
    gsize row = GPOINTER_TO_SIZE (data), n = strlen (characters[row].bytes);
    /* Every cut into three, which includes whole and in two; then byte by byte. */
    for (gsize a = 0; a <= n; a++)
        for (gsize b = a; b <= n; b++) {
            TextGate gate = { 0 };
            g_autoptr (GString) out = g_string_new (NULL);
            text_gate_feed (&gate, characters[row].bytes, a, out);
            g_assert_true (g_utf8_validate (out->str, out->len, NULL));
            text_gate_feed (&gate, characters[row].bytes + a, b - a, out);
            g_assert_true (g_utf8_validate (out->str, out->len, NULL));
            text_gate_feed (&gate, characters[row].bytes + b, n - b, out);
            text_gate_finish (&gate, out);
            g_assert_cmpstr (out->str, ==, characters[row].text);
        }
    TextGate gate = { 0 };
    g_autoptr (GString) out = g_string_new (NULL);
    for (gsize i = 0; i < n; i++)
        text_gate_feed (&gate, characters[row].bytes + i, 1, out);
    text_gate_finish (&gate, out);
    g_assert_cmpstr (out->str, ==, characters[row].text);
}

static void
nul_is_a_character (void)
{
    TextGate gate = { 0 };
    g_autoptr (GString) out = g_string_new (NULL);
    text_gate_feed (&gate, "a\0b", 3, out);
    g_assert_cmpmem (out->str, out->len, "a\0b", 3);
}

static void
whole_characters_are_not_held (void)
{
    TextGate gate = { 0 };
    g_autoptr (GString) out = g_string_new (NULL);
    text_gate_feed (&gate, "\xE2\x82\xAC\xE2\x82", 5, out);
    g_assert_cmpstr (out->str, ==, "\xE2\x82\xAC");
}

/* ---- stop strings -------------------------------------------------------------------------------------------------------- */

/* The same promise, naively: the end that comes first; of those that end there, the longest. */
static const char *
naive_stop (const char *const *strings, const char *text, char **before)
{
    for (gsize end = 1; end <= strlen (text); end++) {
        const char *best = NULL;
        for (guint i = 0; strings[i]; i++) {
            gsize length = strlen (strings[i]);
            if (length > 0 && length <= end && memcmp (text + end - length, strings[i], length) == 0 &&
                (!best || length > strlen (best)))
                best = strings[i];
        }
        if (best) {
            *before = g_strndup (text, end - strlen (best));
            return best;
        }
    }
    *before = g_strdup (text);
    return NULL;
}

static void
check_stops (const char *const *strings, const char *text)
{
    g_autofree char *before = NULL;
    const char *expected = naive_stop (strings, text, &before);
    const gsize n = strlen (text);
    for (gsize cut = 0; cut <= n; cut++) {
        g_autoptr (TextStops) stops = text_stops_new (strings);
        g_autoptr (GString) out = g_string_new (NULL);
        const char *found = text_stops_feed (stops, text, cut, out);
        /* What is out already must never have to be taken back. */
        g_assert_true (g_str_has_prefix (before, out->str));
        found = text_stops_feed (stops, text + cut, n - cut, out);
        if (!found)
            text_stops_flush (stops, out);
        g_assert_cmpstr (found, ==, expected);
        g_assert_cmpstr (out->str, ==, before);
    }
    g_autoptr (TextStops) stops = text_stops_new (strings);
    g_autoptr (GString) out = g_string_new (NULL);
    const char *found = NULL;
    for (gsize i = 0; i < n; i++)
        found = text_stops_feed (stops, text + i, 1, out);
    if (!found)
        text_stops_flush (stops, out);
    g_assert_cmpstr (found, ==, expected);
    g_assert_cmpstr (out->str, ==, before);
}

static void
stops_by_example (void)
{
    static const struct {
        const char *strings[4], *text;
    } rows[] = {
        { { "END" }, "some text END and more" },
        { { "END" }, "EN END" },
        { { "END" }, "EEND" },
        { { "END" }, "it does not come: EN" },
        { { "aab" }, "aaab" },
        { { "abcd", "bc" }, "xabcd" },
        { { "abc", "c" }, "abc" },
        { { "b", "abc" }, "abc" },
        { { "\n\n" }, "a\n\n" },
        { { "\xE2\x82\xAC" }, "10 \xE2\x82\xAC" },
        { { "\xE2\x82\xAC" }, "\xE2\x82\xA3 is another currency" },
        { { "", "x" }, "abx" },
        { { NULL }, "nothing stops this" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
        check_stops (rows[i].strings, rows[i].text);
}

/* All texts of 7 letters of two, against all pairs of a few stop strings. */
static void
stops_exhaustively (void)
{
    static const char *const words[] = { "a", "ab", "ba", "aab", "aba", "abab", "bb", "bbb" };
    for (guint i = 0; i < G_N_ELEMENTS (words); i++)
        for (guint k = 0; k < G_N_ELEMENTS (words); k++)
            for (guint bits = 0; bits < 1u << 7; bits++) {
                char text[8] = { 0 };
                for (guint at = 0; at < 7; at++)
                    text[at] = bits >> at & 1 ? 'a' : 'b';
                check_stops ((const char *const[]){ words[i], words[k], NULL }, text);
            }
}

static void
only_what_may_become_a_stop_is_held (void)
{
    g_autoptr (TextStops) stops = text_stops_new ((const char *const[]){ "STOP", NULL });
    g_autoptr (GString) out = g_string_new (NULL);
    text_stops_feed (stops, "go ST", 5, out);
    g_assert_cmpstr (out->str, ==, "go ");
    text_stops_feed (stops, "AY", 2, out);
    g_assert_cmpstr (out->str, ==, "go STAY");
}

static void
after_a_stop_everything_is_swallowed (void)
{
    g_autoptr (TextStops) stops = text_stops_new ((const char *const[]){ "|", NULL });
    g_autoptr (GString) out = g_string_new (NULL);
    g_assert_cmpstr (text_stops_feed (stops, "a|b", 3, out), ==, "|");
    g_assert_cmpstr (text_stops_feed (stops, "c", 1, out), ==, "|");
    g_assert_cmpstr (out->str, ==, "a");
    text_stops_reset (stops);
    g_assert_null (text_stops_feed (stops, "d", 1, out));
    g_assert_cmpstr (out->str, ==, "ad");
}

/* A flush is a border: a stop string does not reach across it. */
static void
a_flush_is_a_border (void)
{
    g_autoptr (TextStops) stops = text_stops_new ((const char *const[]){ "ab", NULL });
    g_autoptr (GString) out = g_string_new (NULL);
    text_stops_feed (stops, "a", 1, out);
    text_stops_flush (stops, out);
    g_assert_null (text_stops_feed (stops, "b", 1, out));
    g_assert_cmpstr (out->str, ==, "ab");
}

/* ---- reasoning ----------------------------------------------------------------------------------------------------------- */

static void
reasoning_is_counted_with_its_marks (void)
{
    static const struct {
        const char *name, *start, *ends[3];
        gboolean open;
        const char *tokens[10];
        int expected;
    } rows[] = {
        { "none", "<t>", { "</t>" }, FALSE, { "Hello", " you" }, 0 },
        { "one token marks", "<t>", { "</t>" }, FALSE, { "<t>", "hm", "</t>", "yes" }, 3 },
        { "marks in pieces", "<t>", { "</t>" }, FALSE, { "<", "t>", "h", "m", "</", "t", ">", "yes" }, 7 },
        { "space first", "<t>", { "</t>" }, FALSE, { "\n", "<t>", "hm", "</t>", "yes" }, 4 },
        { "not at the start", "<t>", { "</t>" }, FALSE, { "so ", "<t>", "hm", "</t>" }, 0 },
        { "open in the prompt", "<t>", { "</t>" }, TRUE, { "hm", "hm", "</t>", "yes" }, 3 },
        { "never closed", "<t>", { "</t>" }, FALSE, { "<t>", "hm", "hm" }, 3 },
        { "once only", "<t>", { "</t>" }, FALSE, { "<t>", "</t>", "<t>", "</t>" }, 2 },
        { "several ends", "<t>", { "</t>", "[end]" }, FALSE, { "<t>", "hm", "[end]", "yes", "</t>" }, 3 },
        { "mark and text in one token", "<t>", { "</t>" }, FALSE, { "<t>a", "b</t>c", "d" }, 2 },
        { "a format without", "", { NULL }, FALSE, { "<t>", "hm" }, 0 },
        { "spaced mark", "<t>\n", { "\n</t>" }, FALSE, { "<t>", "\nhm\n", "</t>", "x" }, 3 },
    };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        g_autoptr (TextThinking) thinking = text_thinking_new (rows[i].start, rows[i].ends, rows[i].open);
        for (guint k = 0; rows[i].tokens[k]; k++)
            text_thinking_token (thinking, rows[i].tokens[k], strlen (rows[i].tokens[k]));
        g_test_message ("%s", rows[i].name);
        g_assert_cmpint (text_thinking_count (thinking), ==, rows[i].expected);
    }
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS (characters); i++) {
        g_autofree char *path = g_strdup_printf ("/text/characters/%s", characters[i].name);
        g_test_add_data_func (path, GSIZE_TO_POINTER (i), check_characters);
    }
    g_test_add_func ("/text/characters/nul", nul_is_a_character);
    g_test_add_func ("/text/characters/whole-ones-go-at-once", whole_characters_are_not_held);
    g_test_add_func ("/text/stops/by-example", stops_by_example);
    g_test_add_func ("/text/stops/exhaustively", stops_exhaustively);
    g_test_add_func ("/text/stops/held-back", only_what_may_become_a_stop_is_held);
    g_test_add_func ("/text/stops/swallowed", after_a_stop_everything_is_swallowed);
    g_test_add_func ("/text/stops/border", a_flush_is_a_border);
    g_test_add_func ("/text/reasoning/counted", reasoning_is_counted_with_its_marks);
    return g_test_run ();
}
