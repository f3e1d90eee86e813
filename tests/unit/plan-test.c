/* The planner in all small worlds: up to four sequences, each a stream of 1 or 2 rows or a prompt of 1, 3 or 40 tokens, in every order
 * of age, in batches of several sizes. */
#include "engine/plan.h"

#define MOST 4

/* What plan.h promises, checked on one plan. */
static void
check (const PlanSeq *seqs, guint n_seqs, PlanLimits limits)
{
    PlanPart parts[MOST];
    guint n = plan_batch (seqs, n_seqs, limits, parts);
    g_assert_cmpuint (n, <=, n_seqs);

    guint n_rows = 0, n_prompt = 0, n_stream_rows = 0, seen = 0, all_stream_rows = 0;
    gboolean prompts_began = FALSE;
    for (guint i = 0; i < n; i++) {
        const PlanSeq *seq = &seqs[parts[i].index];
        g_assert_cmpuint (parts[i].n_tokens, >=, 1);
        g_assert_false (seen & 1u << parts[i].index); /* once each */
        seen |= 1u << parts[i].index;
        n_rows += parts[i].n_tokens;
        if (seq->n_rows > 0) {
            g_assert_false (prompts_began);                        /* streams first */
            g_assert_cmpuint (parts[i].n_tokens, ==, seq->n_rows); /* whole or not at all */
            n_stream_rows += parts[i].n_tokens;
        } else {
            prompts_began = TRUE;
            g_assert_cmpuint (parts[i].n_tokens, <=, seq->n_prompt);
            n_prompt += parts[i].n_tokens;
        }
        for (guint k = 0; k < i; k++) /* each group by age */
            if ((seqs[parts[k].index].n_rows > 0) == (seq->n_rows > 0))
                g_assert_cmpuint (seqs[parts[k].index].order, <=, seq->order);
    }
    g_assert_cmpuint (n_rows, <=, limits.n_batch);
    g_assert_cmpuint (n_prompt, <=, limits.chunk);

    /* Nobody is left out while there is room: a stream only if its rows no longer fit, a prompt only if chunk or batch is used up, or
     * an older one has taken the rest. */
    guint all_prompt = 0;
    for (guint i = 0; i < n_seqs; i++) {
        all_stream_rows += seqs[i].n_rows;
        all_prompt += seqs[i].n_rows ? 0 : seqs[i].n_prompt;
        if (seqs[i].n_rows > 0 && !(seen & 1u << i))
            g_assert_cmpuint (n_stream_rows + seqs[i].n_rows, >, limits.n_batch);
    }
    if (all_stream_rows <= limits.n_batch)
        g_assert_cmpuint (n_stream_rows, ==, all_stream_rows);
    g_assert_cmpuint (n_prompt, ==, MIN (all_prompt, MIN (limits.chunk, limits.n_batch - n_stream_rows)));

    /* A prompt gets something only when every older one got all it has. */
    for (guint i = 0; i < n; i++)
        for (guint k = 0; k < n_seqs; k++)
            if (seqs[parts[i].index].n_rows == 0 && seqs[k].n_rows == 0 && seqs[k].order < seqs[parts[i].index].order) {
                guint got = 0;
                for (guint p = 0; p < n; p++)
                    got += parts[p].index == k ? parts[p].n_tokens : 0;
                g_assert_cmpuint (got, ==, seqs[k].n_prompt);
            }
}

static void
all_small_worlds (void)
{
    static const PlanSeq kinds[] = {
        { .n_rows = 1 }, { .n_rows = 2 }, { .n_prompt = 1 }, { .n_prompt = 3 }, { .n_prompt = 40 }
    };
    static const guint batches[] = { 2, 3, 5, 64 }, chunks[] = { 0, 1, 32, 64 };
    guint n_worlds = 0;
    for (guint n = 0; n <= MOST; n++) {
        guint n_shapes = 1, n_orders = 1;
        for (guint i = 0; i < n; i++) {
            n_shapes *= G_N_ELEMENTS (kinds);
            n_orders *= n; /* ties included */
        }
        for (guint shape = 0; shape < n_shapes; shape++)
            for (guint order = 0; order < n_orders; order++) {
                PlanSeq seqs[MOST];
                for (guint i = 0, s = shape, o = order; i < n; i++, s /= G_N_ELEMENTS (kinds), o /= n) {
                    seqs[i] = kinds[s % G_N_ELEMENTS (kinds)];
                    seqs[i].order = o % n;
                }
                for (guint b = 0; b < G_N_ELEMENTS (batches); b++)
                    for (guint c = 0; c < G_N_ELEMENTS (chunks); c++, n_worlds++)
                        check (seqs, n, (PlanLimits){ .n_batch = batches[b], .chunk = chunks[c] });
            }
    }
    g_test_message ("%u worlds", n_worlds);
}

/* More streams than a batch has rows for: whoever had to wait goes first next time, so each is served in turn. */
static void
no_stream_starves (void)
{
    for (guint n_batch = 2; n_batch <= 5; n_batch++) {
        PlanSeq seqs[5];
        guint served[5] = { 0 };
        for (guint i = 0; i < 5; i++)
            seqs[i] = (PlanSeq){ .n_rows = 1 + i % 2 };
        for (guint batch = 1; batch <= 100; batch++) {
            PlanPart parts[5];
            guint n = plan_batch (seqs, 5, (PlanLimits){ .n_batch = n_batch, .chunk = 32 }, parts);
            for (guint i = 0; i < n; i++) {
                seqs[parts[i].index].order = batch;
                served[parts[i].index]++;
            }
        }
        for (guint i = 0; i < 5; i++)
            g_assert_cmpuint (served[i], >=, 100 * n_batch / 7 / 2);
    }
}

/* A stream among long prompts has its row in every batch, and the prompts get done, the oldest first. */
static void
a_stream_never_waits_for_prompts (void)
{
    PlanSeq seqs[] = { { .n_prompt = 1000, .order = 2 }, { .n_rows = 1, .order = 9 }, { .n_prompt = 500, .order = 1 } };
    PlanPart parts[3];
    while (seqs[0].n_prompt + seqs[2].n_prompt > 0) {
        PlanSeq left[3];
        guint index[3], n_left = 0;
        for (guint i = 0; i < 3; i++)
            if (seqs[i].n_rows || seqs[i].n_prompt) {
                index[n_left] = i;
                left[n_left++] = seqs[i];
            }
        guint n = plan_batch (left, n_left, (PlanLimits){ .n_batch = 128, .chunk = 96 }, parts);
        g_assert_cmpuint (index[parts[0].index], ==, 1);
        for (guint i = 1; i < n; i++)
            seqs[index[parts[i].index]].n_prompt -= parts[i].n_tokens;
        if (seqs[2].n_prompt >= 96)
            g_assert_cmpuint (seqs[0].n_prompt, ==, 1000);
    }
}

static void
chunk_by_time (void)
{
    static const struct {
        guint n_streams, target_ms;
        PlanRates rates;
        guint n_ubatch, n_batch, expected;
    } rows[] = {
        { 0, 250, { 100, 400 }, 512, 2048, 2048 }, /* nobody streams: no limit */
        { 1,
          250,
          { 100, 400 },
          512,
          2048,
          63 }, /* a quarter of a second at 400 a second: one tile, the stream's row in it */
        { 8, 250, { 100, 800 }, 512, 2048, 184 }, /* three tiles, eight streams */
        { 1, 250, { 0, 0 }, 512, 2048, 63 },      /* not measured yet */
        { 1, 250, { 40, 0 }, 512, 2048, 63 },
        { 40, 250, { 40, 0 }, 512, 2048, 88 },    /* many streams: still 32 rows for prompts, and whole tiles */
        { 1, 250, { 200, 255 }, 512, 2048, 50 },  /* not a tile: what fits, where that is sooner */
        { 1, 250, { 900, 255 }, 512, 2048, 63 },  /* and less than a tile */
        { 1, 250, { 40, 200 }, 512, 2048, 63 },   /* a tile takes 320 ms, 32 rows would take 800 */
        { 1, 250, { 19, 20 }, 512, 2048, 32 },    /* a slow model: 1.7 s instead of 3.2 */
        { 1, 250, { 0, 20 }, 512, 2048, 32 },     /* worth a try */
        { 1, 250, { 100, 1e9 }, 512, 2048, 511 }, /* never more than is computed at once */
        { 1, 60000, { 100, 1e300 }, 512, 2048, 511 },
        { 1, 50, { 100, 4000 }, 512, 2048, 191 },
        { 1, 250, { 100, 400 }, 16, 2048, 32 },
        { 1, 250, { 150, 400 }, 48, 2048, 37 }, /* micro-batches smaller than a tile */
    };
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
        g_assert_cmpuint (
            plan_chunk (rows[i].n_streams, rows[i].target_ms, rows[i].rates, rows[i].n_ubatch, rows[i].n_batch), ==,
            rows[i].expected);
}

/* A machine on which 32 rows take as long as 200: the chunk must not stay at 32.  200 a quarter second is three tiles. */
static void
few_rows_are_no_trap (void)
{
    PlanRates rates = { 0 };
    guint chunk = 0;
    for (guint i = 0; i < 20; i++) {
        chunk = plan_chunk (1, 250, rates, 512, 2048);
        plan_note (&rates, chunk, chunk + 1, chunk + 1 < PLAN_TILE ? 250 : chunk * 1.25);
    }
    g_assert_cmpuint (chunk, ==, 3 * PLAN_TILE - 1);
}

static void
rates_follow_the_context (void)
{
    PlanRates rates = { 0 };
    plan_note (&rates, 512, 512, 512);
    g_assert_cmpfloat (rates.many, ==, 1000);
    plan_note (&rates, 100, 100, 400);
    g_assert_cmpfloat (rates.many, ==, 625);
    plan_note (&rates, 31, 31, 1); /* says nothing */
    plan_note (&rates, 64, 64, 0);
    g_assert_cmpfloat (rates.many, ==, 625);
    g_assert_cmpfloat (rates.few, ==, 0);
    plan_note (&rates, 63, 63, 630);
    g_assert_cmpfloat (rates.few, ==, 100);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_test_add_func ("/plan/all-small-worlds", all_small_worlds);
    g_test_add_func ("/plan/no-stream-starves", no_stream_starves);
    g_test_add_func ("/plan/a-stream-never-waits-for-prompts", a_stream_never_waits_for_prompts);
    g_test_add_func ("/plan/chunk-by-time", chunk_by_time);
    g_test_add_func ("/plan/few-rows-are-no-trap", few_rows_are_no_trap);
    g_test_add_func ("/plan/rates", rates_follow_the_context);
    return g_test_run ();
}
