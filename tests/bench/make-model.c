/* make-model.c: a model of random weights with a real vocabulary, for measuring.
 *
 *   make-model VOCAB.gguf OUT.gguf LAYERS WIDTH HEADS KV_HEADS FEED_FORWARD CONTEXT
 *
 * llama architecture, tied embeddings, weights in Q4_K (norms in F32), a ChatML template.  The same arguments give the same file: the
 * numbers come from a fixed generator. */
#include <ggml.h>
#include <ggml-backend.h>
#include <gguf.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char chatml[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

static uint64_t state = 0x9E3779B97F4A7C15;

/* Uniform in [-1, 1) (xorshift64*): random weights need no better. */
static float
uniform (void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (float) ((int64_t) (state * 0x2545F4914F6CDD1D) >> 40) / (float) (1 << 23);
}

static void
add_tensor (struct gguf_context *gguf, const char *name, int64_t columns, int64_t rows, enum ggml_type type)
{
    struct ggml_context *context =
        ggml_init ((struct ggml_init_params){ .mem_size = ggml_tensor_overhead (), .no_alloc = true });
    struct ggml_tensor *tensor =
        rows ? ggml_new_tensor_2d (context, type, columns, rows) : ggml_new_tensor_1d (context, type, columns);
    ggml_set_name (tensor, name);
    const int64_t n = columns * (rows ? rows : 1);
    float *values = malloc (n * sizeof *values);
    const float scale = sqrtf (3.0f / columns); /* keeps the variance of what flows through */
    for (int64_t i = 0; i < n; i++)
        values[i] = rows ? uniform () * scale : 1;
    tensor->data = malloc (ggml_nbytes (tensor));
    if (type == GGML_TYPE_F32)
        memcpy (tensor->data, values, ggml_nbytes (tensor));
    else
        ggml_quantize_chunk (type, values, tensor->data, 0, rows ? rows : 1, columns, NULL);
    free (values);
    gguf_add_tensor (gguf, tensor); /* keeps the pointer to the data until the file is written */
    ggml_free (context);
}

int
main (int argc, char **argv)
{
    if (argc != 9) {
        fprintf (stderr, "usage: make-model VOCAB.gguf OUT.gguf LAYERS WIDTH HEADS KV_HEADS FEED_FORWARD CONTEXT\n");
        return 2;
    }
    const int layers = atoi (argv[3]), width = atoi (argv[4]), heads = atoi (argv[5]), kv_heads = atoi (argv[6]),
              ff = atoi (argv[7]);
    struct gguf_context *vocab = gguf_init_from_file (argv[1], (struct gguf_init_params){ .no_alloc = true });
    if (!vocab) {
        fprintf (stderr, "make-model: %s is no GGUF file\n", argv[1]);
        return 1;
    }
    const int64_t n_vocab = gguf_get_arr_n (vocab, gguf_find_key (vocab, "tokenizer.ggml.tokens"));
    struct gguf_context *gguf = gguf_init_empty ();
    gguf_set_kv (gguf, vocab);
    gguf_set_val_str (gguf, "general.architecture", "llama");
    gguf_set_val_str (gguf, "general.name", "Random");
    gguf_set_val_u32 (gguf, "general.file_type", 14);
    gguf_set_val_u32 (gguf, "llama.block_count", layers);
    gguf_set_val_u32 (gguf, "llama.context_length", atoi (argv[8]));
    gguf_set_val_u32 (gguf, "llama.embedding_length", width);
    gguf_set_val_u32 (gguf, "llama.feed_forward_length", ff);
    gguf_set_val_u32 (gguf, "llama.attention.head_count", heads);
    gguf_set_val_u32 (gguf, "llama.attention.head_count_kv", kv_heads);
    gguf_set_val_f32 (gguf, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_set_val_f32 (gguf, "llama.rope.freq_base", 10000);
    gguf_set_val_str (gguf, "tokenizer.chat_template", chatml);

    const int kv_width = width / heads * kv_heads;
    add_tensor (gguf, "token_embd.weight", width, n_vocab, GGML_TYPE_Q4_K);
    add_tensor (gguf, "output_norm.weight", width, 0, GGML_TYPE_F32);
    for (int i = 0; i < layers; i++) {
        const struct {
            const char *name;
            int columns, rows;
        } parts[] = {
            { "attn_norm", width, 0 },     { "attn_q", width, width },      { "attn_k", width, kv_width },
            { "attn_v", width, kv_width }, { "attn_output", width, width }, { "ffn_norm", width, 0 },
            { "ffn_gate", width, ff },     { "ffn_up", width, ff },         { "ffn_down", ff, width },
        };
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            char name[64];
            snprintf (name, sizeof name, "blk.%d.%s.weight", i, parts[k].name);
            add_tensor (gguf, name, parts[k].columns, parts[k].rows, parts[k].rows ? GGML_TYPE_Q4_K : GGML_TYPE_F32);
        }
    }
    if (!gguf_write_to_file (gguf, argv[2], false)) {
        fprintf (stderr, "make-model: cannot write %s\n", argv[2]);
        return 1;
    }
    return 0;
}
