/* Which rows the next batch has.  Pure: no clock, no model; tests/unit/plan-test.c walks all small worlds.  Spec: engine.md 5, 11. */
#pragma once

#include <glib.h>

typedef struct {
    guint n_rows;   /* a stream: rows that must go together, at least 1.  0: a prompt */
    guint n_prompt; /* a prompt: tokens that wait, at least 1 */
    guint64
        order; /* smaller goes first: arrival for prompts, the number of the batch that last served it for streams */
} PlanSeq;

typedef struct {
    guint n_batch; /* rows that one decode may take */
    guint chunk;   /* of these, rows for prompts: plan_chunk */
} PlanLimits;

typedef struct {
    guint index; /* into the sequences that were given */
    guint n_tokens;
} PlanPart;

/* Writes up to @n_seqs parts and returns how many.  First all streams, each whole or not at all, those served longest ago first;
 * then prompts, oldest first, each as much as is left of the chunk and of the batch.  A stream of more than n_batch rows never fits:
 * the caller does not make one. */
guint plan_batch (const PlanSeq *seqs, guint n_seqs, PlanLimits limits, PlanPart *parts);

#define PLAN_CHUNK_MIN 32
#define PLAN_TILE \
    64 /* rows that the library's attention computes at once: fewer do not share work, one more costs a tile more */

/* Prompt tokens a second, measured in batches of fewer than PLAN_TILE rows, and in others; 0: not measured yet. */
typedef struct {
    double few, many;
} PlanRates;

/* How many prompt tokens a batch may have.  Without streams @n_batch.  While @n_streams of them stream, one row each: what is computed in
 * @target_ms, in whole tiles of which the streams' rows are a part, at least one tile and about @n_ubatch at most; less than a tile,
 * but at least PLAN_CHUNK_MIN, where even one takes too long and fewer rows are done sooner. */
guint plan_chunk (guint n_streams, guint target_ms, PlanRates rates, guint n_ubatch, guint n_batch);
/* Keeps @rates up to date: @n_prompt tokens of prompts were in a batch of @n_rows that took @ms. */
void plan_note (PlanRates *rates, guint n_prompt, guint n_rows, double ms);
