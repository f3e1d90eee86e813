/* cells.c: the sequences of the cache: given, shared, parked, evicted.
 *
 * A unified cache only marks cells with the ids that use them, so sharing a prefix costs nothing, and ids beyond the running streams
 * are free to use for what is parked.  What a given memory kind cannot take back is never asked of it: cells_usable knows the rules
 * (engine.md 3).  Here is the place where parked sequences will move to memory and disk instead of being dropped. */
#include "engine/engine.h"

static const llama_token *
sequence_tokens (const Sequence *seq)
{
    return (const llama_token *) (void *) seq->tokens->data;
}

void
cells_init (Engine *g)
{
    for (guint i = 0; i < g->n_seqs; i++)
        g->seqs[i] = (Sequence){ .id = i };
    g->tree = prefix_tree_new ();
}

static void
unlist (Engine *g, Sequence *seq)
{
    prefix_tree_remove (g->tree, seq->id);
    seq->n_listed = 0;
}

/* The tree learns of @seq's tokens from n_listed on. */
static void
list (Engine *g, Sequence *seq)
{
    if (seq->n_listed == seq->tokens->len)
        return;
    const llama_token *fresh = sequence_tokens (seq) + seq->n_listed;
    gsize n = seq->tokens->len - seq->n_listed;
    if (seq->n_listed == 0)
        prefix_tree_add (g->tree, seq->id, seq->owner, fresh, n);
    else
        prefix_tree_extend (g->tree, seq->id, fresh, n);
    seq->n_listed = seq->tokens->len;
}

void
cells_list_all (Engine *g)
{
    for (guint i = 0; i < g->n_seqs; i++)
        if (g->seqs[i].state == SEQ_BUSY)
            list (g, &g->seqs[i]);
}

/* Empties @seq but for its cells. */
static void
forget_tokens (Engine *g, Sequence *seq)
{
    unlist (g, seq);
    g_clear_pointer (&seq->tokens, g_array_unref);
    g_clear_pointer (&seq->owner, g_free);
    seq->job = NULL;
    seq->n_kv = 0;
    seq->state = SEQ_FREE;
}

void
cells_free (Engine *g, Sequence *seq)
{
    if (seq->state == SEQ_FREE)
        return;
    llama_memory_seq_rm (g->cache, seq->id, -1, -1);
    forget_tokens (g, seq);
}

void
cells_clear (Engine *g)
{
    for (guint i = 0; i < g->n_seqs; i++)
        if (g->seqs[i].state != SEQ_FREE)
            forget_tokens (g, &g->seqs[i]);
    g_clear_pointer (&g->tree, prefix_tree_free);
}

static Sequence *
oldest_parked (Engine *g)
{
    Sequence *oldest = NULL;
    for (guint i = 0; i < g->n_seqs; i++)
        if (g->seqs[i].state == SEQ_PARKED && (!oldest || g->seqs[i].used_us < oldest->used_us))
            oldest = &g->seqs[i];
    return oldest;
}

gboolean
cells_evict (Engine *g)
{
    Sequence *oldest = oldest_parked (g);
    if (oldest)
        cells_free (g, oldest);
    return oldest != NULL;
}

void
cells_forget (Engine *g, const char *owner)
{
    for (guint i = 0; i < g->n_seqs; i++)
        if (g->seqs[i].state == SEQ_PARKED && (!owner || g_str_equal (g->seqs[i].owner, owner)))
            cells_free (g, &g->seqs[i]);
}

guint
cells_usable (Engine *g, const Sequence *seq, guint n_match)
{
    guint n = MIN (n_match, seq->n_kv);
    switch (g->memory) {
    case MEMORY_FULL:
        return n;
    case MEMORY_WINDOW: {
        /* The window before the next token must still be there, whatever seq_rm says. */
        gint64 first_needed = MAX (0, (gint64) n - llama_model_n_swa (g->model));
        return llama_memory_seq_pos_min (g->cache, seq->id) <= first_needed ? n : 0;
    }
    case MEMORY_RECURRENT:
    case MEMORY_HYBRID:
        return n == seq->n_kv ? n : 0; /* there is one state, that of the end */
    case MEMORY_NONE:
        break;
    }
    return 0;
}

static Sequence *
take_free (Engine *g, const Sequence *keep)
{
    for (;;) {
        for (guint i = 0; i < g->n_seqs; i++)
            if (g->seqs[i].state == SEQ_FREE)
                return &g->seqs[i];
        /* There are more ids than places, so one is parked; the one that is to be copied goes last. */
        Sequence *oldest = NULL;
        for (guint i = 0; i < g->n_seqs; i++) {
            Sequence *seq = &g->seqs[i];
            if (seq->state == SEQ_PARKED && seq != keep && (!oldest || seq->used_us < oldest->used_us))
                oldest = seq;
        }
        g_assert (oldest);
        cells_free (g, oldest);
    }
}

void
cells_give (Engine *g, Job *job, Sequence *source, guint n)
{
    Sequence *seq = source;
    if (source && source->state == SEQ_PARKED && source->n_kv == n) {
        forget_tokens (g, source);
    } else {
        seq = take_free (g, source);
        if (source)
            llama_memory_seq_cp (g->cache, source->id, seq->id, 0, n);
    }
    if (source)
        source->used_us = g_get_monotonic_time ();
    seq->state = SEQ_BUSY;
    seq->job = job;
    seq->owner = g_strdup (job->owner);
    seq->tokens = g_array_ref (job->tokens);
    seq->n_kv = n;
    list (g, seq);
    job->seq = seq;
}

/* What another sequence holds as well is not worth an id: this one's if it adds nothing, else the others'.  TRUE: @seq is needed. */
static gboolean
drop_what_is_covered (Engine *g, Sequence *seq)
{
    if (g->memory != MEMORY_FULL)
        return TRUE;
    PrefixMatch matches[PREFIX_TREE_MAX_IDS];
    guint n = prefix_tree_find (g->tree, seq->owner, sequence_tokens (seq), seq->n_kv, matches);
    for (guint i = 0; i < n; i++) {
        const Sequence *other = &g->seqs[matches[i].id];
        if (other != seq && matches[i].n_tokens == seq->n_kv && other->n_kv >= seq->n_kv)
            return FALSE;
    }
    for (guint i = 0; i < n; i++) {
        Sequence *other = &g->seqs[matches[i].id];
        if (other != seq && other->state == SEQ_PARKED && matches[i].n_tokens == other->n_kv)
            cells_free (g, other);
    }
    return TRUE;
}

static void
keep_within_budget (Engine *g)
{
    for (;;) {
        gsize n_used, n_parked;
        cells_count (g, &n_used, &n_parked);
        if (n_parked <= g->park_cells || !cells_evict (g))
            return;
    }
}

void
cells_release (Engine *g, Job *job)
{
    Sequence *seq = g_steal_pointer (&job->seq);
    if (!seq)
        return;
    seq->job = NULL;
    seq->used_us = g_get_monotonic_time ();
    if (seq->n_kv == 0) {
        cells_free (g, seq);
        return;
    }
    /* From here on the tokens are its own, and no more than are computed. */
    unlist (g, seq);
    GArray *tokens = g_array_sized_new (FALSE, FALSE, sizeof (llama_token), seq->n_kv);
    g_array_append_vals (tokens, seq->tokens->data, seq->n_kv);
    g_array_unref (seq->tokens);
    seq->tokens = tokens;
    seq->state = SEQ_PARKED;
    list (g, seq);
    if (!drop_what_is_covered (g, seq))
        cells_free (g, seq);
    keep_within_budget (g);
}

void
cells_read_back (Engine *g, Sequence *seq)
{
    seq->n_kv = llama_memory_seq_pos_max (g->cache, seq->id) + 1;
}

void
cells_count (Engine *g, gsize *n_used, gsize *n_parked)
{
    gsize all[PREFIX_TREE_MAX_IDS] = { 0 }, busy[PREFIX_TREE_MAX_IDS] = { 0 };
    for (guint i = 0; i < g->n_seqs; i++) {
        const Sequence *seq = &g->seqs[i];
        all[i] = seq->state == SEQ_FREE ? 0 : seq->n_kv;
        busy[i] = seq->state == SEQ_BUSY ? seq->n_kv : 0;
    }
    *n_used = prefix_tree_count (g->tree, all);
    *n_parked = *n_used - prefix_tree_count (g->tree, busy);
}
