/* embed.c: texts to vectors.
 *
 * Pooling happens within one micro-batch, so the longest input must fit in one: here batch, micro-batch and context are the same
 * size.  Several inputs go into one decode, a sequence each; nothing is kept between two (engine.md 8). */
#include "engine/engine.h"

#include <math.h>
#include <string.h>

#define DEFAULT_MAX 8192 /* tokens of an input when LOAD does not say: the compute buffers grow with it */
#define N_SEQS      64   /* inputs of one decode */

void
embed_params (Engine *g, gint64 n_ctx, struct llama_context_params *params)
{
    const guint n_train = llama_model_n_ctx_train (g->model),
                n = n_ctx ? MIN (n_ctx, n_train) : MIN (n_train, DEFAULT_MAX);
    params->n_ctx = params->n_batch = params->n_ubatch = CLAMP (n, N_SEQS, ENGINE_MAX_BATCH);
    params->n_seq_max = N_SEQS;
    params->n_outputs_max = 0; /* every token is an output */
    params->embeddings = true;
}

static gboolean G_GNUC_PRINTF (3, 4) refuse (GError **error, EngineError code, const char *format, ...)
{
    va_list arguments;
    va_start (arguments, format);
    g_propagate_error (error, g_error_new_valist (ENGINE_ERROR, code, format, arguments));
    va_end (arguments);
    return FALSE;
}

/* ---- inputs --------------------------------------------------------------------------------------------------------------- */

static GArray *
read_text (Engine *g, const json_t *text)
{
    const gsize length = json_string_length (text), most = length + 16;
    GArray *tokens = g_array_new (FALSE, FALSE, sizeof (llama_token));
    g_array_set_size (tokens, most);
    gint32 n = llama_tokenize (g->vocab, json_string_value (text), length, (llama_token *) (void *) tokens->data, most,
                               true, true);
    if (n < 0) {
        g_array_set_size (tokens, -n);
        n = llama_tokenize (g->vocab, json_string_value (text), length, (llama_token *) (void *) tokens->data, -n, true,
                            true);
    }
    g_array_set_size (tokens, MAX (n, 0));
    return tokens;
}

static GArray *
read_ids (Engine *g, const json_t *ids)
{
    g_autoptr (GArray) tokens = g_array_new (FALSE, FALSE, sizeof (llama_token));
    size_t i;
    json_t *value;
    json_array_foreach (ids, i, value) {
        json_int_t id = json_integer_value (value);
        if (!json_is_integer (value) || id < 0 || id >= llama_vocab_n_tokens (g->vocab))
            return NULL;
        llama_token token = id;
        g_array_append_val (tokens, token);
    }
    return g_steal_pointer (&tokens);
}

/* The inputs as tokens, GArray of llama_token each. */
static GPtrArray *
read_inputs (Engine *g, const json_t *inputs, GError **error)
{
    const gsize n = json_array_size (inputs);
    if (n == 0 || n > ENGINE_MAX_INPUTS)
        return refuse (error, ENGINE_ERROR_INVALID, "EMBED takes 1 to %d inputs.", ENGINE_MAX_INPUTS), NULL;
    g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) g_array_unref);
    size_t i;
    json_t *input;
    json_array_foreach (inputs, i, input) {
        /* A token has at least a byte, on average; what is far beyond is not even tokenised. */
        if (json_string_length (input) > 256 * (gsize) g->n_ctx)
            return refuse (error, ENGINE_ERROR_CONTEXT, "Input %zu is longer than the context of %u tokens.", i,
                           g->n_ctx),
                   NULL;
        GArray *tokens = json_is_string (input)  ? read_text (g, input)
                         : json_is_array (input) ? read_ids (g, input)
                                                 : NULL;
        if (!tokens)
            return refuse (error, ENGINE_ERROR_INVALID, "Input %zu is neither a text nor a list of the model's tokens.",
                           i),
                   NULL;
        g_ptr_array_add (all, tokens);
        if (tokens->len == 0)
            return refuse (error, ENGINE_ERROR_INVALID, "Input %zu is empty.", i), NULL;
        if (tokens->len > g->n_ctx)
            return refuse (error, ENGINE_ERROR_CONTEXT, "Input %zu has %u tokens, more than the context of %u tokens.",
                           i, tokens->len, g->n_ctx),
                   NULL;
    }
    return g_steal_pointer (&all);
}

/* ---- vectors -------------------------------------------------------------------------------------------------------------- */

static void
add_row (Engine *g, const GArray *tokens, llama_seq_id seq)
{
    for (guint k = 0; k < tokens->len; k++) {
        gint32 row = g->batch.n_tokens++;
        g->batch.token[row] = g_array_index (tokens, llama_token, k);
        g->batch.pos[row] = k;
        g->batch.n_seq_id[row] = 1;
        g->batch.seq_id[row][0] = seq;
        g->batch.logits[row] = 1;
    }
}

static void
normalise (float *vector, guint dim)
{
    double sum = 0;
    for (guint i = 0; i < dim; i++)
        sum += (double) vector[i] * vector[i];
    const double length = sqrt (sum);
    for (guint i = 0; length > 0 && i < dim; i++)
        vector[i] /= length;
}

/* One vector for the sequence; where the model does not pool, the mean of its tokens' vectors. */
static gboolean
read_vector (Engine *g, llama_seq_id seq, guint first_row, guint n_rows, float *vector, guint dim)
{
    if (llama_pooling_type (g->context) != LLAMA_POOLING_TYPE_NONE) {
        const float *pooled = llama_get_embeddings_seq (g->context, seq);
        if (!pooled)
            return FALSE;
        memcpy (vector, pooled, dim * sizeof *vector);
    } else {
        memset (vector, 0, dim * sizeof *vector);
        for (guint row = first_row; row < first_row + n_rows; row++) {
            const float *one = llama_get_embeddings_ith (g->context, row);
            if (!one)
                return FALSE;
            for (guint i = 0; i < dim; i++)
                vector[i] += one[i] / n_rows;
        }
    }
    normalise (vector, dim);
    return TRUE;
}

/* Computes inputs from @first on, as many as go into one decode.  Returns how many, 0 on failure. */
static guint
compute_some (Engine *g, const GPtrArray *inputs, guint first, float *vectors, guint dim, GError **error)
{
    g->batch.n_tokens = 0;
    guint n = 0, first_rows[N_SEQS];
    for (; n < N_SEQS && first + n < inputs->len; n++) {
        const GArray *tokens = g_ptr_array_index (inputs, first + n);
        if (g->batch.n_tokens + tokens->len > g->n_batch)
            break;
        first_rows[n] = g->batch.n_tokens;
        add_row (g, tokens, n);
    }
    if (g->cache)
        llama_memory_clear (g->cache, false);
    int result = g->cache ? llama_decode (g->context, g->batch) : llama_encode (g->context, g->batch);
    llama_synchronize (g->context);
    if (g->embed_cancelled || g->stopping || g->link_ended)
        return refuse (error, ENGINE_ERROR_UNLOADED, "Cancelled."), 0;
    if (result != 0)
        return refuse (error, ENGINE_ERROR_INTERNAL, "Computing failed (%d). %s", result, lb_last_log_error ()), 0;
    g->n_decode++;
    g->n_tokens_decoded += g->batch.n_tokens;
    for (guint i = 0; i < n; i++) {
        const GArray *tokens = g_ptr_array_index (inputs, first + i);
        if (!read_vector (g, i, first_rows[i], tokens->len, vectors + (gsize) (first + i) * dim, dim))
            return refuse (error, ENGINE_ERROR_INTERNAL, "The library gave no vector for input %u.", first + i), 0;
    }
    return n;
}

static void
send_vectors (Engine *g, guint32 id, const GPtrArray *inputs, const float *vectors, guint dim)
{
    g_autoptr (GByteArray) bytes = g_byte_array_new ();
    guint32 head[2] = { GUINT32_TO_LE (inputs->len), GUINT32_TO_LE (dim) };
    g_byte_array_append (bytes, (const guint8 *) head, sizeof head);
    for (guint i = 0; i < inputs->len; i++) {
        guint32 n_tokens = GUINT32_TO_LE (((const GArray *) g_ptr_array_index (inputs, i))->len);
        g_byte_array_append (bytes, (const guint8 *) &n_tokens, sizeof n_tokens);
    }
    for (gsize i = 0; i < (gsize) inputs->len * dim; i++) {
        guint32 word;
        memcpy (&word, vectors + i, sizeof word);
        word = GUINT32_TO_LE (word);
        g_byte_array_append (bytes, (const guint8 *) &word, sizeof word);
    }
    link_send (g->link, LINK_VECTOR, id, bytes->data, bytes->len);
}

static gboolean
embed_all (Engine *g, guint32 id, const json_t *payload, GError **error)
{
    if (llama_pooling_type (g->context) == LLAMA_POOLING_TYPE_RANK)
        return refuse (error, ENGINE_ERROR_INVALID, "This model ranks texts; it makes no embeddings.");
    g_autoptr (GPtrArray) inputs = read_inputs (g, json_object_get (payload, "inputs"), error);
    if (!inputs)
        return FALSE;
    const guint dim = llama_model_n_embd_out (g->model);
    if ((gsize) inputs->len * (dim + 1) * 4 + 8 > LINK_MAX_PAYLOAD)
        return refuse (error, ENGINE_ERROR_INVALID, "The answer would be larger than %u bytes: send fewer inputs.",
                       LINK_MAX_PAYLOAD);
    g_autofree float *vectors = g_new (float, (gsize) inputs->len *dim);
    for (guint done = 0; done < inputs->len;) {
        guint n = compute_some (g, inputs, done, vectors, dim, error);
        if (n == 0)
            return FALSE;
        done += n;
    }
    send_vectors (g, id, inputs, vectors, dim);
    return TRUE;
}

void
embed (Engine *g, guint32 id, const json_t *payload)
{
    g_autoptr (GError) error = NULL;
    g->embed_job = id;
    g->embed_cancelled = FALSE;
    if (!embed_all (g, id, payload, &error))
        send_fail (g, id, error);
    g->embed_job = 0;
}
