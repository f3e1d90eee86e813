/* prefix_tree.c: a compressed tree whose nodes carry sets of ids.  Picture and contract: prefix_tree.h.
 *
 * What holds between calls: the sets of a node's children are disjoint and part of its own; no set is empty (roots aside); and a node
 * with one child has an id of its own that ends there, else the two would be one.  Where an id ends is not stored: it is the last
 * node on the way down whose set has it. */
#include "engine/prefix_tree.h"

#include <string.h>

#define N_WORDS (PREFIX_TREE_MAX_IDS / 64)

typedef struct {
    guint64 words[N_WORDS];
} IdSet;

typedef struct Node Node;
struct Node {
    GArray *label;       /* gint32: the tokens from the parent's end to this one's */
    GPtrArray *children; /* Node, owned; their labels begin with different tokens */
    IdSet ids;
};

struct PrefixTree {
    GHashTable *roots; /* owner -> Node */
    Node *root_of[PREFIX_TREE_MAX_IDS];
};

/* ---- sets ---------------------------------------------------------------------------------------------------------------- */

static gboolean
set_has (const IdSet *set, guint id)
{
    return set->words[id / 64] >> (id % 64) & 1;
}

static void
set_put (IdSet *set, guint id)
{
    set->words[id / 64] |= G_GUINT64_CONSTANT (1) << (id % 64);
}

static void
set_drop (IdSet *set, guint id)
{
    set->words[id / 64] &= ~(G_GUINT64_CONSTANT (1) << (id % 64));
}

static gboolean
set_is_empty (const IdSet *set)
{
    static const IdSet nothing;
    return memcmp (set, &nothing, sizeof nothing) == 0;
}

static gboolean
set_equals (const IdSet *a, const IdSet *b)
{
    return memcmp (a, b, sizeof *a) == 0;
}

/* ---- nodes --------------------------------------------------------------------------------------------------------------- */

static void
node_free (gpointer data)
{
    Node *node = data;
    g_array_unref (node->label);
    g_ptr_array_unref (node->children);
    g_free (node);
}

static Node *
node_new (const gint32 *label, gsize n)
{
    Node *node = g_new0 (Node, 1);
    node->label = g_array_new (FALSE, FALSE, sizeof (gint32));
    if (n > 0)
        g_array_append_vals (node->label, label, n);
    node->children = g_ptr_array_new_with_free_func (node_free);
    return node;
}

static const gint32 *
node_tokens (const Node *node)
{
    return (const gint32 *) (void *) node->label->data;
}

static Node *
child_by_token (const Node *node, gint32 token)
{
    for (guint i = 0; i < node->children->len; i++) {
        Node *child = g_ptr_array_index (node->children, i);
        if (node_tokens (child)[0] == token)
            return child;
    }
    return NULL;
}

static Node *
child_by_id (const Node *node, guint id)
{
    for (guint i = 0; i < node->children->len; i++) {
        Node *child = g_ptr_array_index (node->children, i);
        if (set_has (&child->ids, id))
            return child;
    }
    return NULL;
}

static gsize
common_length (const Node *node, const gint32 *tokens, gsize n_tokens)
{
    const gint32 *label = node_tokens (node);
    gsize most = MIN (n_tokens, node->label->len), n = 0;
    while (n < most && label[n] == tokens[n])
        n++;
    return n;
}

/* Cuts @node in two after @at tokens; it keeps the first part, with the second as its only child. */
static void
node_split (Node *node, gsize at)
{
    Node *rest = node_new (node_tokens (node) + at, node->label->len - at);
    GPtrArray *grandchildren = rest->children;
    rest->children = node->children;
    rest->ids = node->ids;
    node->children = grandchildren;
    g_ptr_array_add (node->children, rest);
    g_array_set_size (node->label, at);
}

/* The reverse, where no id ends at @node any more.  Roots stay as they are. */
static void
node_join (Node *node)
{
    if (node->label->len == 0 || node->children->len != 1)
        return;
    Node *child = g_ptr_array_index (node->children, 0);
    if (!set_equals (&node->ids, &child->ids))
        return;
    g_array_append_vals (node->label, child->label->data, child->label->len);
    GPtrArray *grandchildren = child->children;
    child->children = g_ptr_array_new ();
    g_ptr_array_unref (node->children); /* frees the child */
    node->children = grandchildren;
}

/* Leads @id, which has come as far as @node, on by @tokens. */
static void
node_lead (Node *node, guint id, const gint32 *tokens, gsize n_tokens)
{
    while (n_tokens > 0) {
        Node *child = child_by_token (node, tokens[0]);
        if (!child) {
            child = node_new (tokens, n_tokens);
            set_put (&child->ids, id);
            g_ptr_array_add (node->children, child);
            return;
        }
        gsize n = common_length (child, tokens, n_tokens);
        if (n < child->label->len)
            node_split (child, n);
        set_put (&child->ids, id);
        node = child;
        tokens += n;
        n_tokens -= n;
    }
}

/* ---- tree ---------------------------------------------------------------------------------------------------------------- */

PrefixTree *
prefix_tree_new (void)
{
    PrefixTree *tree = g_new0 (PrefixTree, 1);
    tree->roots = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, node_free);
    return tree;
}

void
prefix_tree_free (PrefixTree *tree)
{
    if (!tree)
        return;
    g_hash_table_unref (tree->roots);
    g_free (tree);
}

void
prefix_tree_add (PrefixTree *tree, guint id, const char *owner, const gint32 *tokens, gsize n_tokens)
{
    g_return_if_fail (id < PREFIX_TREE_MAX_IDS && !tree->root_of[id]);
    Node *root = g_hash_table_lookup (tree->roots, owner);
    if (!root) {
        root = node_new (NULL, 0);
        g_hash_table_insert (tree->roots, g_strdup (owner), root);
    }
    set_put (&root->ids, id);
    tree->root_of[id] = root;
    node_lead (root, id, tokens, n_tokens);
}

void
prefix_tree_extend (PrefixTree *tree, guint id, const gint32 *tokens, gsize n_tokens)
{
    g_return_if_fail (id < PREFIX_TREE_MAX_IDS && tree->root_of[id]);
    if (n_tokens == 0)
        return;
    Node *above = NULL, *end = tree->root_of[id];
    for (Node *next; (next = child_by_id (end, id)); end = next)
        above = end;

    IdSet alone = { 0 };
    set_put (&alone, id);
    if (above && end->children->len == 0 && set_equals (&end->ids, &alone)) {
        g_array_append_vals (end->label, tokens, n_tokens);
        return;
    }
    node_lead (end, id, tokens, n_tokens);
    node_join (end);
}

/* Takes @id out of @node's children and what is below; TRUE when nothing is left of @node. */
static gboolean
node_remove (Node *node, guint id)
{
    set_drop (&node->ids, id);
    Node *child = child_by_id (node, id);
    if (child && node_remove (child, id))
        g_ptr_array_remove_fast (node->children, child);
    node_join (node);
    return set_is_empty (&node->ids);
}

void
prefix_tree_remove (PrefixTree *tree, guint id)
{
    g_return_if_fail (id < PREFIX_TREE_MAX_IDS);
    Node *root = tree->root_of[id];
    if (!root)
        return;
    tree->root_of[id] = NULL;
    if (!node_remove (root, id))
        return;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init (&iter, tree->roots);
    while (g_hash_table_iter_next (&iter, NULL, &value))
        if (value == root) {
            g_hash_table_iter_remove (&iter);
            return;
        }
}

/* Writes the ids of @set that are not in @seen, and adds them to it. */
static guint
take_new (const IdSet *set, IdSet *seen, gsize n_tokens, PrefixMatch *matches)
{
    guint n = 0;
    for (guint word = 0; word < N_WORDS; word++) {
        guint64 fresh = set->words[word] & ~seen->words[word];
        seen->words[word] |= fresh;
        for (; fresh; fresh &= fresh - 1)
            matches[n++] = (PrefixMatch){ .id = word * 64 + __builtin_ctzll (fresh), .n_tokens = n_tokens };
    }
    return n;
}

guint
prefix_tree_find (const PrefixTree *tree, const char *owner, const gint32 *tokens, gsize n_tokens,
                  PrefixMatch matches[PREFIX_TREE_MAX_IDS])
{
    /* The way down; no deeper than there are ids, since each step leaves one behind (or is the first). */
    const IdSet *way[PREFIX_TREE_MAX_IDS + 1];
    gsize depths[PREFIX_TREE_MAX_IDS + 1];
    guint n_way = 0;
    gsize depth = 0;
    const Node *node = g_hash_table_lookup (tree->roots, owner);
    while (node && depth < n_tokens && (node = child_by_token (node, tokens[depth]))) {
        gsize n = common_length (node, tokens + depth, n_tokens - depth);
        depth += n;
        g_assert (n_way < G_N_ELEMENTS (way));
        way[n_way] = &node->ids;
        depths[n_way++] = depth;
        if (n < node->label->len)
            break;
    }

    IdSet seen = { 0 };
    guint n_matches = 0;
    while (n_way-- > 0)
        n_matches += take_new (way[n_way], &seen, depths[n_way], matches + n_matches);
    return n_matches;
}

static gsize
node_count (const Node *node, gsize depth, const gsize *held)
{
    gsize end = depth + node->label->len, reached = depth;
    for (guint id = 0; id < PREFIX_TREE_MAX_IDS; id++)
        if (set_has (&node->ids, id))
            reached = MAX (reached, MIN (end, held[id]));
    gsize n = reached - depth;
    for (guint i = 0; reached == end && i < node->children->len; i++)
        n += node_count (g_ptr_array_index (node->children, i), end, held);
    return n;
}

gsize
prefix_tree_count (const PrefixTree *tree, const gsize held[PREFIX_TREE_MAX_IDS])
{
    gsize n = 0;
    GHashTableIter iter;
    gpointer root;
    g_hash_table_iter_init (&iter, tree->roots);
    while (g_hash_table_iter_next (&iter, NULL, &root))
        n += node_count (root, 0, held);
    return n;
}
