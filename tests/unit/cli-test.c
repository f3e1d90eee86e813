/* cli/: the pure parts beside the parser: numbers, fuzzy words, tables, errors, the choice of a model. */
#include "cli/choose.h"
#include "cli/format.h"
#include "cli/fuzzy.h"
#include "cli/prefs.h"
#include "cli/sdkerror.h"
#include "cli/terminal.h"

#include <math.h>
#include <string.h>

/* ---- numbers ------------------------------------------------------------------------------------------------------------ */

static void
check_text (char *text, const char *expected)
{
    g_assert_cmpstr (text, ==, expected);
    g_free (text);
}

static void
test_sizes (void)
{
    check_text (format_size (0), "0 B");
    check_text (format_size (512), "512 B");
    check_text (format_size (999), "999 B");
    check_text (format_size (1000), "1.00 KB");
    check_text (format_size (84106624), "84.11 MB");
    check_text (format_size (4920734976), "4.92 GB");
    check_text (format_size (1500000000000), "1.50 TB");
    check_text (format_memory (0), "0 Bytes");
    check_text (format_memory (1023), "1023 Bytes");
    check_text (format_memory (1024), "1.00 KiB");
    check_text (format_memory (70523357102), "65.68 GiB");
}

static void
test_times (void)
{
    check_text (format_elapsed (0.742), "742.00ms");
    check_text (format_elapsed (0), "0.00ms");
    check_text (format_elapsed (5.32), "5.32s");
    check_text (format_elapsed (59.999), "1m 0.00s");
    check_text (format_elapsed (65), "1m 5.00s");
    check_text (format_elapsed (3661), "1h 1m 1.00s");
    check_text (format_ttl (45000), "45s");
    check_text (format_ttl (720000), "12m");
    check_text (format_ttl (3600000), "1h");
    check_text (format_ttl (3480000), "58m");
    check_text (format_ttl (0), "0s");
    check_text (format_thousands (8192), "8,192");
    check_text (format_thousands (999), "999");
    check_text (format_thousands (1234567), "1,234,567");
}

/* ---- words -------------------------------------------------------------------------------------------------------------- */

static void
test_fuzzy_scores (void)
{
    g_assert_cmpfloat (fuzzy_score ("", "anything"), ==, 0);
    g_assert_cmpfloat (fuzzy_score ("abd", "abc"), ==, -1);
    g_assert_true (isinf (fuzzy_score ("abc", "abc")));
    /* a: run 1, score 1; b: run 3, score 4; miss. */
    g_assert_cmpfloat (fuzzy_score ("ab", "abx"), ==, 4);
    g_assert_cmpfloat (fuzzy_score ("AB", "abx"), ==, 4);
    /* greedy from the left: the first a, then b after a miss. */
    g_assert_cmpfloat (fuzzy_score ("ab", "axab"), ==, 2);
    g_assert_cmpfloat (fuzzy_score ("q3", "qwen/qwen3-8b"), >, 0);
}

static void
test_fuzzy_rank_is_stable (void)
{
    static const char *const texts[] = { "xaxb", "none", "ab-1", "ab-2", "ab" };
    g_autoptr (GArray) order = fuzzy_rank ("ab", texts, G_N_ELEMENTS (texts));
    static const guint expected[] = { 4, 2, 3, 0 };
    g_assert_cmpmem (order->data, order->len * sizeof (guint), expected, sizeof expected);
}

static void
test_fuzzy_positions (void)
{
    g_autoptr (GArray) hits = fuzzy_positions ("ab", "xaäb");
    static const guint expected[] = { 1, 4 };
    g_assert_cmpmem (hits->data, hits->len * sizeof (guint), expected, sizeof expected);
    g_assert_null (fuzzy_positions ("zz", "xaäb"));
}

/* A second opinion on the distance: the recursive definition, for short words. */
static guint
slow_distance (const char *a, const char *b)
{
    gsize n = strlen (a), m = strlen (b);
    if (!n || !m)
        return (guint) MAX (n, m);
    g_autofree char *a1 = g_strndup (a, n - 1), *b1 = g_strndup (b, m - 1);
    guint best = MIN (slow_distance (a1, b), slow_distance (a, b1)) + 1;
    best = MIN (best, slow_distance (a1, b1) + (a[n - 1] != b[m - 1]));
    if (n > 1 && m > 1 && a[n - 1] == b[m - 2] && a[n - 2] == b[m - 1]) {
        g_autofree char *a2 = g_strndup (a, n - 2), *b2 = g_strndup (b, m - 2);
        best = MIN (best, slow_distance (a2, b2) + 1);
    }
    return best;
}

static void
test_distance_against_its_definition (void)
{
    static const char *const words[] = { "", "a", "ab", "ba", "abc", "acb", "bca", "abcd", "badc", "axcd", "dcba" };
    for (guint i = 0; i < G_N_ELEMENTS (words); i++)
        for (guint j = 0; j < G_N_ELEMENTS (words); j++)
            if (MAX (strlen (words[i]), strlen (words[j])) - MIN (strlen (words[i]), strlen (words[j])) <= 3)
                g_assert_cmpuint (fuzzy_distance (words[i], words[j]), ==, slow_distance (words[i], words[j]));
    g_assert_cmpuint (fuzzy_distance ("a", "abcdefgh"), ==, 8);
}

/* ---- what is shown ------------------------------------------------------------------------------------------------------ */

static void
test_display_width (void)
{
    g_assert_cmpuint (display_width ("abc"), ==, 3);
    g_assert_cmpuint (display_width ("\x1b[31mabc\x1b[0m"), ==, 3);
    g_assert_cmpuint (display_width ("模型"), ==, 4);
    g_assert_cmpuint (display_width ("e\xCC\x81"), ==, 1);
    g_assert_cmpuint (display_width ("\xff"), ==, 1);
}

static void
test_grid_cuts_blanks (void)
{
    g_autoptr (Grid) grid = grid_new (3);
    grid_add (grid, (const char *const[]){ "NAME", "SIZE", "" });
    grid_add (grid, (const char *const[]){ "模型", "1 B", "x" });
    grid_add (grid, (const char *const[]){ "longer", NULL, NULL });
    check_text (grid_print (grid), "NAME      SIZE\n模型      1 B     x\nlonger\n");
}

/* ---- the daemon's errors ------------------------------------------------------------------------------------------------ */

static void
check_error (const char *json, int kind, const char *expected)
{
    g_autoptr (json_t) value = json_parse (json, strlen (json), NULL);
    g_autoptr (GError) error = sdk_error_new (value);
    g_assert_error (error, SDK_ERROR, kind);
    g_assert_cmpstr (error->message, ==, expected);
}

static void
test_errors (void)
{
    check_error ("{}", SDK_ERROR_REMOTE, "Unknown error");
    check_error ("{\"title\":7}", SDK_ERROR_REMOTE, "Unknown error");
    check_error ("{\"title\":\"T\"}", SDK_ERROR_REMOTE, "T");
    check_error ("{\"title\":\"T\",\"cause\":\"C\\n\\nD\",\"suggestion\":\"S\"}", SDK_ERROR_REMOTE,
                 "T\n\n(!) SUGGESTION\n\n  S\n\n(X) CAUSE\n\n  C\n\n  D");
    check_error (
        "{\"title\":\"T\",\"displayData\":{\"code\":\"generic.pathNotFound\",\"path\":\"x\","
        "\"availablePathsSample\":[\"a\",\"b\"],\"totalModels\":5}}",
        SDK_ERROR_NO_MODEL,
        "Cannot find a model with path \"x\".\n\nHere are your available models:\n  - a\n  - b\n  ... and 3 more");
    check_error ("{\"title\":\"T\",\"displayData\":{\"code\":\"generic.pathNotFound\"}}", SDK_ERROR_REMOTE, "T");
    check_error ("{\"title\":\"T\",\"displayData\":{\"code\":\"generic.new\"}}", SDK_ERROR_REMOTE, "T");
    check_error ("{\"title\":\"T\",\"displayData\":{\"code\":\"generic.specificModelUnloaded\"}}", SDK_ERROR_NO_MODEL,
                 "This model has already been unloaded.");
    check_error ("null", SDK_ERROR_REMOTE, "Unknown error");
}

/* ---- which model -------------------------------------------------------------------------------------------------------- */

static json_t *
models (const char *text)
{
    g_autofree char *json = g_strdelimit (g_strdup (text), "'", '"');
    json_t *list = json_parse (json, strlen (json), NULL);
    g_assert_nonnull (list);
    return list;
}

static const char *
key_at (GPtrArray *array, guint i)
{
    return json_peek_string (g_ptr_array_index (array, i), "modelKey");
}

static void
test_candidates_in_last_loaded_order (void)
{
    g_autoptr (json_t) list = models ("[{'modelKey':'a'},{'modelKey':'p','architecture':'clip'},{'modelKey':'b'},"
                                      "{'modelKey':'c','deviceIdentifier':'d'},{'modelKey':'e'}]");
    const char *last[] = { "gone", "e", "b", NULL };
    g_autoptr (GPtrArray) all = choose_candidates (list, last, FALSE);
    g_assert_cmpuint (all->len, ==, 4);
    g_assert_cmpstr (key_at (all, 0), ==, "e");
    g_assert_cmpstr (key_at (all, 1), ==, "b");
    g_assert_cmpstr (key_at (all, 2), ==, "a");
    g_autoptr (GPtrArray) local = choose_candidates (list, last, TRUE);
    g_assert_cmpuint (local->len, ==, 3);
}

static void
test_exact_key_wins (void)
{
    g_autoptr (json_t) list = models ("[{'modelKey':'demo-large'},{'modelKey':'demo'},{'modelKey':'demo-2'}]");
    g_autoptr (GPtrArray) all = choose_candidates (list, (const char *[]){ NULL }, FALSE);
    g_autoptr (GPtrArray) exact = NULL, several = NULL, none = NULL;
    g_assert_cmpint (choose_match (all, "demo", NULL, &exact), ==, CHOICE_ONE);
    g_assert_cmpstr (key_at (exact, 0), ==, "demo");
    g_assert_cmpint (choose_match (all, "dem", NULL, &several), ==, CHOICE_SEVERAL);
    g_assert_cmpuint (several->len, ==, 3);
    g_assert_cmpint (choose_match (all, "zzz", NULL, &none), ==, CHOICE_NONE);
}

static void
test_one_key_on_several_devices (void)
{
    g_autoptr (json_t) list =
        models ("[{'modelKey':'demo','deviceIdentifier':'d1'},{'modelKey':'demo','deviceIdentifier':null},"
                "{'modelKey':'demo','deviceIdentifier':'d2'}]");
    g_autoptr (GPtrArray) all = choose_candidates (list, (const char *[]){ NULL }, FALSE);
    g_autoptr (GPtrArray) here = NULL, there = NULL;
    g_assert_cmpint (choose_match (all, "demo", NULL, &here), ==, CHOICE_ONE);
    g_assert_null (json_peek_string (g_ptr_array_index (here, 0), "deviceIdentifier"));
    g_assert_cmpint (choose_match (all, "dem", "d2", &there), ==, CHOICE_ONE);
    g_assert_cmpstr (json_peek_string (g_ptr_array_index (there, 0), "deviceIdentifier"), ==, "d2");
}

static void
test_last_models_list (void)
{
    const char *keys[30] = { 0 };
    for (guint i = 0; i < 25; i++)
        keys[i] = i == 3 ? "b" : "other";
    g_auto (GStrv) list = prefs_list_touched (keys, "b");
    g_assert_cmpuint (g_strv_length (list), ==, 20);
    g_assert_cmpstr (list[0], ==, "b");
    for (guint i = 1; list[i]; i++)
        g_assert_cmpstr (list[i], ==, "other");
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/cli/format/sizes", test_sizes);
    g_test_add_func ("/cli/format/times", test_times);
    g_test_add_func ("/cli/fuzzy/scores", test_fuzzy_scores);
    g_test_add_func ("/cli/fuzzy/rank-is-stable", test_fuzzy_rank_is_stable);
    g_test_add_func ("/cli/fuzzy/positions", test_fuzzy_positions);
    g_test_add_func ("/cli/fuzzy/distance-against-its-definition", test_distance_against_its_definition);
    g_test_add_func ("/cli/terminal/display-width", test_display_width);
    g_test_add_func ("/cli/terminal/grid-cuts-blanks", test_grid_cuts_blanks);
    g_test_add_func ("/cli/errors", test_errors);
    g_test_add_func ("/cli/choose/last-loaded-order", test_candidates_in_last_loaded_order);
    g_test_add_func ("/cli-023/exact-key-wins", test_exact_key_wins);
    g_test_add_func ("/cli/choose/one-key-on-several-devices", test_one_key_on_several_devices);
    g_test_add_func ("/cli-032/list-has-twenty-and-no-duplicates", test_last_models_list);
    return g_test_run ();
}
