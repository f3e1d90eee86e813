/* The prefix tree against a list that is searched from end to end: small alphabets, so that paths split, join and end in each other. */
#include "engine/prefix_tree.h"

#include <string.h>

#define N_IDS    12
#define MAX_LEN  24
#define N_OWNERS 2

typedef struct {
    gboolean used;
    guint owner;
    gint32 tokens[MAX_LEN];
    gsize n;
} Naive;

static const char *const owners[N_OWNERS] = { "ada", "bob" };

static gsize
common (const gint32 *a, gsize n_a, const gint32 *b, gsize n_b)
{
    gsize n = 0;
    while (n < n_a && n < n_b && a[n] == b[n])
        n++;
    return n;
}

static void
check_find (const PrefixTree *tree, const Naive *naive, guint owner, const gint32 *tokens, gsize n)
{
    PrefixMatch matches[PREFIX_TREE_MAX_IDS];
    guint n_matches = prefix_tree_find (tree, owners[owner], tokens, n, matches), n_expected = 0;
    gsize got[N_IDS] = { 0 };
    for (guint i = 0; i < n_matches; i++) {
        g_assert_cmpuint (matches[i].id, <, N_IDS);
        g_assert_cmpuint (got[matches[i].id], ==, 0);
        got[matches[i].id] = matches[i].n_tokens;
        if (i > 0)
            g_assert_cmpuint (matches[i].n_tokens, <=, matches[i - 1].n_tokens); /* longest first */
    }
    for (guint id = 0; id < N_IDS; id++) {
        gsize expected =
            naive[id].used && naive[id].owner == owner ? common (naive[id].tokens, naive[id].n, tokens, n) : 0;
        g_assert_cmpuint (got[id], ==, expected);
        n_expected += expected > 0;
    }
    g_assert_cmpuint (n_matches, ==, n_expected);
}

/* Tokens counted once: a token is new unless an id before it has the same beginning up to there. */
static gsize
naive_count (const Naive *naive, const gsize *held)
{
    gsize n = 0;
    for (guint id = 0; id < N_IDS; id++)
        for (gsize at = 0; naive[id].used && at < MIN (held[id], naive[id].n); at++) {
            gboolean seen = FALSE;
            for (guint other = 0; other < id && !seen; other++)
                seen = naive[other].used && naive[other].owner == naive[id].owner && held[other] > at &&
                       common (naive[other].tokens, naive[other].n, naive[id].tokens, naive[id].n) > at;
            n += !seen;
        }
    return n;
}

static gsize
random_tokens (gint32 *tokens, gsize most)
{
    gsize n = g_test_rand_int_range (0, most + 1);
    for (gsize i = 0; i < n; i++)
        tokens[i] = g_test_rand_int_range (1, 3);
    return n;
}

static void
random_operations (void)
{
    g_autoptr (PrefixTree) tree = prefix_tree_new ();
    Naive naive[N_IDS] = { 0 };
    for (guint step = 0; step < 20000; step++) {
        guint id = g_test_rand_int_range (0, N_IDS);
        Naive *one = &naive[id];
        gint32 tokens[MAX_LEN];
        if (!one->used) {
            one->used = TRUE;
            one->owner = g_test_rand_int_range (0, N_OWNERS);
            one->n = random_tokens (one->tokens, MAX_LEN / 2);
            prefix_tree_add (tree, id, owners[one->owner], one->tokens, one->n);
        } else if (g_test_rand_int_range (0, 3) > 0 && one->n < MAX_LEN) {
            gsize n = random_tokens (tokens, MIN (6, MAX_LEN - one->n));
            memcpy (one->tokens + one->n, tokens, n * sizeof *tokens);
            one->n += n;
            prefix_tree_extend (tree, id, tokens, n);
        } else {
            one->used = FALSE;
            prefix_tree_remove (tree, id);
            prefix_tree_remove (tree, id); /* a second time does nothing */
        }

        gsize n = random_tokens (tokens, MAX_LEN);
        check_find (tree, naive, g_test_rand_int_range (0, N_OWNERS), tokens, n);
        const Naive *asked = &naive[g_test_rand_int_range (0, N_IDS)];
        check_find (tree, naive, asked->owner, asked->tokens, asked->n);

        gsize held[PREFIX_TREE_MAX_IDS] = { 0 };
        for (guint i = 0; i < N_IDS; i++)
            held[i] = naive[i].used ? (gsize) g_test_rand_int_range (0, naive[i].n + 1) : 0;
        g_assert_cmpuint (prefix_tree_count (tree, held), ==, naive_count (naive, held));
    }
}

/* Every way to have three sequences of up to three tokens of two kinds, then every removal. */
static void
all_small_worlds (void)
{
    gint32 words[15][3];
    gsize lengths[15];
    guint n_words = 0;
    for (gsize n = 0; n <= 3; n++)
        for (guint bits = 0; bits < 1u << n; bits++, n_words++) {
            lengths[n_words] = n;
            for (gsize at = 0; at < n; at++)
                words[n_words][at] = bits >> at & 1;
        }
    for (guint world = 0; world < n_words * n_words * n_words; world++)
        for (guint removed = 0; removed < 3; removed++) {
            g_autoptr (PrefixTree) tree = prefix_tree_new ();
            Naive naive[N_IDS] = { 0 };
            for (guint id = 0, w = world; id < 3; id++, w /= n_words) {
                naive[id].used = TRUE;
                naive[id].n = lengths[w % n_words];
                memcpy (naive[id].tokens, words[w % n_words], sizeof words[0]);
                prefix_tree_add (tree, id, owners[0], naive[id].tokens, naive[id].n);
            }
            for (guint w = 0; w < n_words; w++)
                check_find (tree, naive, 0, words[w], lengths[w]);
            prefix_tree_remove (tree, removed);
            naive[removed].used = FALSE;
            for (guint w = 0; w < n_words; w++)
                check_find (tree, naive, 0, words[w], lengths[w]);
        }
}

static void
owners_do_not_see_each_other (void)
{
    g_autoptr (PrefixTree) tree = prefix_tree_new ();
    const gint32 tokens[] = { 1, 2, 3 };
    PrefixMatch matches[PREFIX_TREE_MAX_IDS];
    prefix_tree_add (tree, 7, "ada", tokens, 3);
    g_assert_cmpuint (prefix_tree_find (tree, "bob", tokens, 3, matches), ==, 0);
    g_assert_cmpuint (prefix_tree_find (tree, "ada", tokens, 3, matches), ==, 1);
    g_assert_cmpuint (matches[0].id, ==, 7);
}

/* As many ids as there are, each the last one and a token more: the deepest tree there can be. */
static void
all_ids_on_one_path (void)
{
    g_autoptr (PrefixTree) tree = prefix_tree_new ();
    gint32 tokens[PREFIX_TREE_MAX_IDS];
    gsize held[PREFIX_TREE_MAX_IDS];
    PrefixMatch matches[PREFIX_TREE_MAX_IDS];
    for (guint i = 0; i < PREFIX_TREE_MAX_IDS; i++) {
        tokens[i] = i;
        held[i] = i + 1;
        prefix_tree_add (tree, i, "ada", tokens, i + 1);
    }
    g_assert_cmpuint (prefix_tree_find (tree, "ada", tokens, PREFIX_TREE_MAX_IDS, matches), ==, PREFIX_TREE_MAX_IDS);
    g_assert_cmpuint (matches[0].id, ==, PREFIX_TREE_MAX_IDS - 1);
    g_assert_cmpuint (matches[PREFIX_TREE_MAX_IDS - 1].n_tokens, ==, 1);
    g_assert_cmpuint (prefix_tree_count (tree, held), ==, PREFIX_TREE_MAX_IDS);
    for (guint i = 0; i < PREFIX_TREE_MAX_IDS; i++)
        prefix_tree_remove (tree, (i * 37) % PREFIX_TREE_MAX_IDS);
    g_assert_cmpuint (prefix_tree_find (tree, "ada", tokens, PREFIX_TREE_MAX_IDS, matches), ==, 0);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/prefix-tree/random-operations", random_operations);
    g_test_add_func ("/prefix-tree/all-small-worlds", all_small_worlds);
    g_test_add_func ("/prefix-tree/owners", owners_do_not_see_each_other);
    g_test_add_func ("/prefix-tree/all-ids-on-one-path", all_ids_on_one_path);
    return g_test_run ();
}
