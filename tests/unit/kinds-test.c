/* Prefix reuse in every kind of memory: full attention, sliding window, recurrent state, both.
 *
 * The models are made here: a few layers of random weights with the demo model's vocabulary.  Random conversations (a known beginning, cut
 * anywhere, and a new end; alone and several at once; some cancelled) are asked twice: by an owner that shares everything, and by
 * one that has asked nothing before.  What is reused wrongly shows in the first token's distribution. */
#include "engine-client.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <gguf.h>
#include <glib/gstdio.h>
#include <math.h>

#define WIDTH  64
#define FF     128
#define LAYERS 4
#define WINDOW 32

/* ---- models --------------------------------------------------------------------------------------------------------------- */

typedef enum { ALL, ATTENTION, STATE } Layers; /* of a hybrid, layers 1 and 3 have attention, 0 and 2 state */

typedef struct {
    const char *name;
    int columns, rows; /* rows 0: a vector */
    Layers layers;
    enum { RANDOM, ONES, DECAY } fill;
} Part;

typedef struct {
    const char *architecture, *memory;
    Part parts[24];
} Kind;

#define INNER      (2 * WIDTH)
#define STATE_SIZE 16
#define RANK       8

#define MATRIX(name, columns, rows, layers) \
    {                                       \
        name, columns, rows, layers, RANDOM \
    }
#define VECTOR(name, n, layers)    \
    {                              \
        name, n, 0, layers, RANDOM \
    }
#define NORM(name, n, layers)    \
    {                            \
        name, n, 0, layers, ONES \
    }

#define ATTENTION_PARTS(layers)                                                                         \
    MATRIX ("attn_q.weight", WIDTH, WIDTH, layers), MATRIX ("attn_k.weight", WIDTH, WIDTH / 2, layers), \
        MATRIX ("attn_v.weight", WIDTH, WIDTH / 2, layers), MATRIX ("attn_output.weight", WIDTH, WIDTH, layers)

#define STATE_PARTS(layers)                                                                                       \
    MATRIX ("ssm_in.weight", WIDTH, 2 * INNER, layers), MATRIX ("ssm_conv1d.weight", 4, INNER, layers),           \
        VECTOR ("ssm_conv1d.bias", INNER, layers), MATRIX ("ssm_x.weight", INNER, RANK + 2 * STATE_SIZE, layers), \
        MATRIX ("ssm_dt.weight", RANK, INNER, layers), VECTOR ("ssm_dt.bias", INNER, layers),                     \
        { "ssm_a", STATE_SIZE, INNER, layers, DECAY }, NORM ("ssm_d", INNER, layers),                             \
        MATRIX ("ssm_out.weight", INNER, WIDTH, layers)

#define FEED_FORWARD_PARTS                                                            \
    NORM ("ffn_norm.weight", WIDTH, ALL), MATRIX ("ffn_gate.weight", WIDTH, FF, ALL), \
        MATRIX ("ffn_up.weight", WIDTH, FF, ALL), MATRIX ("ffn_down.weight", FF, WIDTH, ALL)

static const Kind kinds[] = {
    { "llama", "full", { NORM ("attn_norm.weight", WIDTH, ALL), ATTENTION_PARTS (ALL), FEED_FORWARD_PARTS } },
    { "gemma2",
      "window",
      { NORM ("attn_norm.weight", WIDTH, ALL), ATTENTION_PARTS (ALL), NORM ("post_attention_norm.weight", WIDTH, ALL),
        FEED_FORWARD_PARTS, NORM ("post_ffw_norm.weight", WIDTH, ALL) } },
    { "mamba", "recurrent", { NORM ("attn_norm.weight", WIDTH, ALL), STATE_PARTS (ALL) } },
    { "jamba",
      "hybrid",
      { NORM ("attn_norm.weight", WIDTH, ALL), STATE_PARTS (STATE), NORM ("ssm_dt_norm.weight", RANK, STATE),
        NORM ("ssm_b_norm.weight", STATE_SIZE, STATE), NORM ("ssm_c_norm.weight", STATE_SIZE, STATE),
        ATTENTION_PARTS (ATTENTION), FEED_FORWARD_PARTS } },
};

/* Values of one tensor; the caller keeps them until the file is written. */
static float *
add_tensor (struct gguf_context *gguf, const char *name, const Part *part, GRand *rand)
{
    struct ggml_context *context =
        ggml_init ((struct ggml_init_params){ .mem_size = ggml_tensor_overhead (), .no_alloc = true });
    struct ggml_tensor *tensor = part->rows ? ggml_new_tensor_2d (context, GGML_TYPE_F32, part->columns, part->rows)
                                            : ggml_new_tensor_1d (context, GGML_TYPE_F32, part->columns);
    const gsize n = (gsize) part->columns * MAX (part->rows, 1);
    float *values = g_new (float, n);
    for (gsize i = 0; i < n; i++)
        values[i] = part->fill == ONES    ? 1
                    : part->fill == DECAY ? -1.0f - i % part->columns
                                          : g_rand_double_range (rand, -1, 1) * sqrt (3.0 / part->columns) * 1.5;
    ggml_set_name (tensor, name);
    tensor->data = values;
    gguf_add_tensor (gguf, tensor);
    ggml_free (context);
    return values;
}

static void
set_number (struct gguf_context *gguf, const char *architecture, const char *key, guint32 value)
{
    g_autofree char *full = g_strdup_printf ("%s.%s", architecture, key);
    gguf_set_val_u32 (gguf, full, value);
}

static char *
make_model (const Kind *kind, const char *folder)
{
    g_autofree char *demo = model_path ("atelier-demo.gguf");
    struct gguf_context *vocabulary = gguf_init_from_file (demo, (struct gguf_init_params){ .no_alloc = true });
    g_assert_nonnull (vocabulary);
    const int n_vocab = gguf_get_arr_n (vocabulary, gguf_find_key (vocabulary, "tokenizer.ggml.tokens"));
    struct gguf_context *gguf = gguf_init_empty ();
    gguf_set_kv (gguf, vocabulary);
    const char *a = kind->architecture;
    gguf_set_val_str (gguf, "general.architecture", a);
    set_number (gguf, a, "block_count", LAYERS);
    set_number (gguf, a, "context_length", 2048);
    set_number (gguf, a, "embedding_length", WIDTH);
    set_number (gguf, a, "feed_forward_length", FF);
    set_number (gguf, a, "attention.head_count", g_str_equal (a, "mamba") ? 0 : 4);
    set_number (gguf, a, "attention.head_count_kv", 2);
    set_number (gguf, a, "attention.sliding_window", WINDOW);
    set_number (gguf, a, "attention.key_length", WIDTH / 4);
    set_number (gguf, a, "attention.value_length", WIDTH / 4);
    set_number (gguf, a, "ssm.conv_kernel", 4);
    set_number (gguf, a, "ssm.inner_size", INNER);
    set_number (gguf, a, "ssm.state_size", STATE_SIZE);
    set_number (gguf, a, "ssm.time_step_rank", RANK);
    if (g_str_equal (a, "jamba"))
        gguf_set_arr_data (gguf, "jamba.attention.head_count_kv", GGUF_TYPE_UINT32, (guint32[LAYERS]){ 0, 2, 0, 2 },
                           LAYERS);
    g_autofree char *epsilon = g_strdup_printf ("%s.attention.layer_norm_rms_epsilon", a);
    gguf_set_val_f32 (gguf, epsilon, 1e-5f);

    g_autoptr (GPtrArray) values = g_ptr_array_new_with_free_func (g_free);
    g_autoptr (GRand) rand = g_rand_new_with_seed (7);
    g_ptr_array_add (values,
                     add_tensor (gguf, "token_embd.weight", &(Part){ .columns = WIDTH, .rows = n_vocab }, rand));
    g_ptr_array_add (values, add_tensor (gguf, "output_norm.weight", &(Part){ .columns = WIDTH, .fill = ONES }, rand));
    for (int layer = 0; layer < LAYERS; layer++)
        for (guint i = 0; i < G_N_ELEMENTS (kind->parts) && kind->parts[i].name; i++) {
            const Part *part = &kind->parts[i];
            if (part->layers != ALL && (part->layers == ATTENTION) != (layer % 2 == 1))
                continue;
            g_autofree char *name = g_strdup_printf ("blk.%d.%s", layer, part->name);
            g_ptr_array_add (values, add_tensor (gguf, name, part, rand));
        }
    char *path = g_build_filename (folder, "model.gguf", NULL);
    g_assert_true (gguf_write_to_file (gguf, path, false));
    gguf_free (gguf);
    gguf_free (vocabulary);
    return path;
}

/* ---- conversations -------------------------------------------------------------------------------------------------------- */

typedef struct {
    Client *c;
    guint32 next_id;
    json_t *bans;     /* no reply ends by itself: the first token is always told */
    GPtrArray *known; /* GArray of gint32: prompts asked before, with their replies */
    gint64 n_cached, n_prompts;
} World;

/* A beginning of something known, or nothing, and a new end. */
static GArray *
new_prompt (const World *w)
{
    GArray *tokens = g_array_new (FALSE, FALSE, sizeof (gint32));
    if (w->known->len > 0 && g_test_rand_int_range (0, 5) > 0) {
        const GArray *base = g_ptr_array_index (w->known, g_test_rand_int_range (0, w->known->len));
        /* All of it, as in a next turn; or cut anywhere, as in an edited one. */
        guint n = g_test_rand_bit () ? base->len : (guint) g_test_rand_int_range (0, base->len + 1);
        g_array_append_vals (tokens, base->data, MIN (n, 500u));
    }
    const guint n_new = g_test_rand_int_range (1, 60);
    for (guint i = 0; i < n_new; i++) {
        gint32 token = g_test_rand_int_range (300, 900);
        g_array_append_val (tokens, token);
    }
    return tokens;
}

static guint32
send_prompt (World *w, const GArray *tokens, const char *owner, int max_tokens)
{
    json_t *list = json_array ();
    for (guint i = 0; i < tokens->len; i++)
        json_array_append_new (list, json_integer (g_array_index (tokens, gint32, i)));
    client_send (w->c, LINK_JOB, ++w->next_id,
                 json_pack ("{s:{s:o, s:{s:i, s:O}}, s:s, s:i, s:i, s:b}", "request", "tokens", list, "sampling",
                            "temperature", 0, "logit_bias", w->bans, "owner", owner, "max_tokens", max_tokens,
                            "n_logprobs", 1, "keep_special", 1));
    return w->next_id;
}

/* The logprob of the first token; 1 when it has no text (the vocabulary has such tokens). */
static double
first_logprob (const Reply *reply)
{
    const json_t *top = json_array_get (json_object_get (json_array_get (reply->logprobs, 0), "top"), 0);
    return json_peek_number (top, "logprob", 1);
}

/* What somebody gets who shares nothing with anybody. */
static double
alone (World *w, const GArray *tokens)
{
    g_autofree char *owner = g_strdup_printf ("stranger %u", w->next_id);
    const Reply *reply = client_wait (w->c, send_prompt (w, tokens, owner, 1));
    g_assert_cmpint (json_peek_int (reply->start, "n_cached", -1), ==, 0);
    double logprob = first_logprob (reply);
    client_send (w->c, LINK_FORGET, 0, json_pack ("{s:s}", "owner", owner));
    return logprob;
}

static void
check (World *w, const GArray *tokens, guint32 id)
{
    const Reply *reply = client_wait (w->c, id);
    g_assert_true (reply->done);
    w->n_cached += json_peek_int (reply->start, "n_cached", 0);
    w->n_prompts++;
    const double expected = alone (w, tokens);
    if (expected <= 0)
        g_assert_cmpfloat_with_epsilon (first_logprob (reply), expected, 0.03);

    GArray *known = g_array_new (FALSE, FALSE, sizeof (gint32));
    g_array_append_vals (known, tokens->data, tokens->len);
    size_t i;
    json_t *entry;
    json_array_foreach (reply->logprobs, i, entry) {
        gint32 token = json_peek_int (entry, "id", 0);
        g_array_append_val (known, token);
    }
    g_ptr_array_add (w->known, known);
}

static void
reuse_is_right (gconstpointer data)
{
    const Kind *kind = data;
    g_autofree char *folder = g_dir_make_tmp ("kinds-test-XXXXXX", NULL);
    g_autofree char *path = make_model (kind, folder);
    g_autoptr (Client) c = client_start ();
    client_send (c, LINK_LOAD, 0,
                 json_pack ("{s:s, s:i, s:i, s:i}", "path", path, "n_ctx", 2048, "n_batch", 64, "parallel", 3));
    while (!c->ready && !c->load_failure)
        g_assert_true (client_step (c));
    if (c->load_failure)
        g_error ("%s", json_peek_string (c->load_failure, "message"));
    g_assert_cmpstr (json_peek_string (c->ready, "memory"), ==, kind->memory);

    World w = { .c = c,
                .known = g_ptr_array_new_with_free_func ((GDestroyNotify) g_array_unref),
                .bans = json_array () };
    client_send (c, LINK_TOKENIZE, ++w.next_id, json_pack ("{s:s}", "text", "<|im_end|><|endoftext|>"));
    client_wait (c, w.next_id);
    size_t at;
    json_t *token;
    json_array_foreach (json_object_get (c->tokens, "tokens"), at, token)
        json_array_append_new (w.bans, json_pack ("[O, i]", token, -100));
    for (guint step = 0; step < 25; step++) {
        GArray *prompts[3];
        guint32 ids[3];
        const guint n = g_test_rand_bit () ? 1 : 3;
        for (guint i = 0; i < n; i++) {
            prompts[i] = new_prompt (&w);
            ids[i] = send_prompt (&w, prompts[i], "shares", g_test_rand_int_range (1, 8));
        }
        g_autoptr (GArray) unwanted = new_prompt (&w);
        if (step % 4 == 0) {
            guint32 id = send_prompt (&w, unwanted, "shares", 50);
            link_send (c->link, LINK_CANCEL, id, NULL, 0);
        }
        for (guint i = 0; i < n; i++) {
            check (&w, prompts[i], ids[i]);
            g_array_unref (prompts[i]);
        }
    }
    g_test_message ("%s: %" G_GINT64_FORMAT " tokens reused in %" G_GINT64_FORMAT " prompts", kind->architecture,
                    w.n_cached, w.n_prompts);
    g_assert_cmpint (w.n_cached, >, w.n_prompts); /* it does reuse */
    json_decref (w.bans);
    g_ptr_array_unref (w.known);
    g_unlink (path);
    g_rmdir (folder);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
        g_autofree char *name = g_strdup_printf ("/kinds/%s", kinds[i].memory);
        g_test_add_data_func (name, &kinds[i], reuse_is_right);
    }
    return g_test_run ();
}
