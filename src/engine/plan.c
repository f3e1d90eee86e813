/* plan.c: streams first, then prompts by age.
 *
 * Whoever streams gets its rows in every batch; a prompt gets what remains, cut so that a batch never takes much longer than the gap
 * that a reader of a stream is asked to bear.  Contract: plan.h. */
#include "engine/plan.h"

/* Puts @index in its place among @parts[0..n), by order; equal orders keep the order given. */
static void
insert_ordered (PlanPart *parts, guint n, guint index, guint n_tokens, const PlanSeq *seqs)
{
    guint at = n;
    while (at > 0 && seqs[parts[at - 1].index].order > seqs[index].order) {
        parts[at] = parts[at - 1];
        at--;
    }
    parts[at] = (PlanPart){ .index = index, .n_tokens = n_tokens };
}

guint
plan_batch (const PlanSeq *seqs, guint n_seqs, PlanLimits limits, PlanPart *parts)
{
    guint n_streams = 0, n_all = 0;
    for (guint i = 0; i < n_seqs; i++)
        if (seqs[i].n_rows > 0)
            insert_ordered (parts, n_streams++, i, seqs[i].n_rows, seqs);
    n_all = n_streams;
    for (guint i = 0; i < n_seqs; i++)
        if (seqs[i].n_rows == 0)
            insert_ordered (parts + n_streams, n_all++ - n_streams, i, seqs[i].n_prompt, seqs);

    guint room = limits.n_batch, kept = 0;
    for (guint i = 0; i < n_streams; i++) {
        if (parts[i].n_tokens > room)
            continue;
        room -= parts[i].n_tokens;
        parts[kept++] = parts[i];
    }
    room = MIN (room, limits.chunk);
    for (guint i = n_streams; i < n_all && room > 0; i++) {
        PlanPart part = parts[i];
        part.n_tokens = MIN (part.n_tokens, room);
        room -= part.n_tokens;
        parts[kept++] = part;
    }
    return kept;
}

guint
plan_chunk (guint n_streams, guint target_ms, PlanRates rates, guint n_ubatch, guint n_batch)
{
    if (n_streams == 0)
        return n_batch;
    const double few = rates.few * target_ms / 1000, many = rates.many * target_ms / 1000;
    if (n_ubatch < PLAN_TILE)
        return CLAMP (few, PLAN_CHUNK_MIN, MAX (n_ubatch, PLAN_CHUNK_MIN));
    if (rates.many > 0 && many < PLAN_TILE) {
        /* Even one tile takes too long.  Fewer rows are worth it only where they are done sooner: over a long context they take longer. */
        const gboolean unknown = rates.few == 0;
        if (unknown || PLAN_CHUNK_MIN / rates.few < 0.75 * PLAN_TILE / rates.many)
            return CLAMP (unknown ? many : few, PLAN_CHUNK_MIN, PLAN_TILE - 1);
    }
    /* Whole tiles, the streams' rows among them: one row more would cost a tile more. */
    guint tiles = CLAMP (many / PLAN_TILE, 1.0, n_ubatch / PLAN_TILE);
    while (tiles * PLAN_TILE < n_streams + PLAN_CHUNK_MIN)
        tiles++;
    return tiles * PLAN_TILE - n_streams;
}

void
plan_note (PlanRates *rates, guint n_prompt, guint n_rows, double ms)
{
    if (n_prompt < PLAN_CHUNK_MIN || ms <= 0)
        return; /* the end of a prompt, mostly what a batch costs anyway */
    double *rate = n_rows < PLAN_TILE ? &rates->few : &rates->many;
    const double fresh = n_prompt * 1000.0 / ms;
    *rate = *rate > 0 ? (*rate + fresh) / 2 : fresh;
}
