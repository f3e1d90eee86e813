/* Who else begins like this: a prefix tree from token sequences to the ids of the sequences that hold them (spec: engine.md 4).
 *
 *             (root of owner "local")
 *                 │ 1 2 3                       {A, B, C}
 *            ┌────┴──────┐
 *            │ 4 5 6     │ 7 8                  {A, B}   {C}
 *            │ 9                                {B}                 A = 1 2 3 4 5 6,  B = 1 2 3 4 5 6 9,  C = 1 2 3 7 8
 *
 * Paths are compressed; each node knows the set of ids whose tokens run through it.  Every owner has a root of its own, so one never
 * learns, not even by timing, what another has asked.  The tree holds what a sequence will be, also while it is still being computed:
 * how much of it is in the cache is the caller's knowledge.  Pure; ids are 0 to PREFIX_TREE_MAX_IDS - 1. */
#pragma once

#include <glib.h>

#define PREFIX_TREE_MAX_IDS 256

typedef struct PrefixTree PrefixTree;

PrefixTree *prefix_tree_new (void);
void prefix_tree_free (PrefixTree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PrefixTree, prefix_tree_free)

/* @id, not in the tree yet, holds @tokens (copied). */
void prefix_tree_add (PrefixTree *tree, guint id, const char *owner, const gint32 *tokens, gsize n_tokens);
/* @id goes on with @tokens. */
void prefix_tree_extend (PrefixTree *tree, guint id, const gint32 *tokens, gsize n_tokens);
/* Nothing happens when @id is not in the tree. */
void prefix_tree_remove (PrefixTree *tree, guint id);

typedef struct {
    guint id;
    gsize n_tokens; /* how many tokens it has in common with those asked for, at least 1 */
} PrefixMatch;

/* All sequences of @owner that begin like @tokens, longest match first.  Returns how many were written. */
guint prefix_tree_find (const PrefixTree *tree, const char *owner, const gint32 *tokens, gsize n_tokens,
                        PrefixMatch matches[PREFIX_TREE_MAX_IDS]);

/* How many tokens there are when what sequences have in common counts once: of each id the first @held[id], 0 leaves it out. */
gsize prefix_tree_count (const PrefixTree *tree, const gsize held[PREFIX_TREE_MAX_IDS]);
