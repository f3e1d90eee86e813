/* fuzzy.c: two rules for words that are nearly right; pure. */
#include "cli/fuzzy.h"

#include <math.h>
#include <string.h>

#define MAX_DISTANCE   3
#define MIN_SIMILARITY 0.4

/* The one walk over the text.  @positions may be NULL. */
static double
walk (const char *pattern, const char *text, GArray *positions)
{
    double score = 0, run = 0;
    const char *wanted = pattern;
    for (const char *at = text; *at; at = g_utf8_next_char (at)) {
        if (*wanted && g_unichar_tolower (g_utf8_get_char (at)) == g_unichar_tolower (g_utf8_get_char (wanted))) {
            run += 1 + run;
            wanted = g_utf8_next_char (wanted);
            if (positions) {
                guint offset = (guint) (at - text);
                g_array_append_val (positions, offset);
            }
        } else {
            run = 0;
        }
        score += run;
    }
    return *wanted ? -1 : score;
}

double
fuzzy_score (const char *pattern, const char *text)
{
    if (!g_utf8_validate (pattern, -1, NULL) || !g_utf8_validate (text, -1, NULL))
        return strcmp (pattern, text) == 0 ? INFINITY : -1;
    if (!*pattern)
        return 0;
    return strcmp (pattern, text) == 0 ? INFINITY : walk (pattern, text, NULL);
}

GArray *
fuzzy_positions (const char *pattern, const char *text)
{
    g_autoptr (GArray) positions = g_array_new (FALSE, FALSE, sizeof (guint));
    if (fuzzy_score (pattern, text) < 0)
        return NULL;
    if (g_utf8_validate (pattern, -1, NULL))
        walk (pattern, text, positions);
    return g_steal_pointer (&positions);
}

GArray *
fuzzy_rank (const char *pattern, const char *const *texts, guint n)
{
    GArray *order = g_array_new (FALSE, FALSE, sizeof (guint));
    g_autofree double *scores = g_new (double, n + 1);
    for (guint i = 0; i < n; i++) {
        scores[i] = fuzzy_score (pattern, texts[i]);
        if (scores[i] < 0)
            continue;
        guint place = order->len; /* insertion keeps equal scores in list order */
        while (place > 0 && scores[g_array_index (order, guint, place - 1)] < scores[i])
            place--;
        g_array_insert_val (order, place, i);
    }
    return order;
}

guint
fuzzy_distance (const char *a, const char *b)
{
    gsize rows = strlen (a), columns = strlen (b);
    if (MAX (rows, columns) - MIN (rows, columns) > MAX_DISTANCE)
        return (guint) MAX (rows, columns);

    /* cost[i][j]: from the first i letters of a to the first j of b. */
    g_autofree guint *cells = g_new (guint, (rows + 1) * (columns + 1));
#define COST(i, j) cells[(i) * (columns + 1) + (j)]
    for (gsize i = 0; i <= rows; i++)
        COST (i, 0) = (guint) i;
    for (gsize j = 0; j <= columns; j++)
        COST (0, j) = (guint) j;
    for (gsize i = 1; i <= rows; i++)
        for (gsize j = 1; j <= columns; j++) {
            guint best = COST (i - 1, j - 1) + (a[i - 1] != b[j - 1]);
            best = MIN (best, COST (i - 1, j) + 1);
            best = MIN (best, COST (i, j - 1) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN (best, COST (i - 2, j - 2) + 1);
            COST (i, j) = best;
        }
    return COST (rows, columns);
#undef COST
}

static int
by_name (gconstpointer a, gconstpointer b)
{
    return strcmp (*(const char *const *) a, *(const char *const *) b);
}

char **
fuzzy_suggest (const char *word, const char *const *candidates)
{
    g_autoptr (GPtrArray) nearest = g_ptr_array_new_with_free_func (g_free);
    guint nearest_distance = MAX_DISTANCE;
    for (; *candidates; candidates++) {
        if (strlen (*candidates) <= 1)
            continue;
        guint distance = fuzzy_distance (word, *candidates);
        double longer = (double) MAX (strlen (word), strlen (*candidates));
        if (distance > nearest_distance || (longer - distance) / longer <= MIN_SIMILARITY)
            continue;
        if (distance < nearest_distance)
            g_ptr_array_set_size (nearest, 0);
        nearest_distance = distance;
        if (!g_ptr_array_find_with_equal_func (nearest, *candidates, g_str_equal, NULL))
            g_ptr_array_add (nearest, g_strdup (*candidates));
    }
    g_ptr_array_sort (nearest, by_name);
    g_ptr_array_add (nearest, NULL);
    return (char **) g_ptr_array_free (g_steal_pointer (&nearest), FALSE);
}
