/* embeddings.c: POST /v1/embeddings (spec: http.md 6).
 *
 *   inputs ──▶ one EMBED ──▶ VECTOR ──▶ cut to `dimensions`, normalised again ──▶ numbers or base64
 *
 * Large answers are printed beside the loop: a million numbers as text take a while. */
#include "api/openai/openai.h"

#include "link/link.h"

#include <gio/gio.h>
#include <math.h>
#include <string.h>

#define MAX_INPUTS     2048
#define PRINT_HERE_MAX 65536 /* numbers; more go to the pool */

/* ---- fields --------------------------------------------------------------------------------------------------------------------- */

static const char *const formats[] = { "float", "base64", NULL };

#define AT(member) FIELD_AT (OpenaiEmbedding, member)

static const Field rows[] = {
    { "model", FIELD_STRING, AT (model) },
    { "input", FIELD_ANY, AT (raw_input), .required = TRUE },
    { "encoding_format", FIELD_ENUM, AT (format), .values = formats },
    { "dimensions", FIELD_INT, AT (dimensions), .min = 1, .max = G_MAXINT32 },
    { "ttl", FIELD_INT, AT (ttl), .min = 1, .max = INFINITY },
};
static const FieldTable fields = FIELD_TABLE (rows);

gboolean
openai_embedding_read (OpenaiEmbedding *embedding, const json_t *body, ApiError *error)
{
    *embedding = (OpenaiEmbedding){ 0 };
    if (!fields_read (&fields, body, NULL, embedding, error) ||
        !(embedding->inputs = openai_inputs_read (embedding->raw_input, "input", MAX_INPUTS, error)))
        return FALSE;
    size_t i;
    json_t *input;
    json_array_foreach (embedding->inputs, i, input)
        if (json_is_string (input) && json_string_length (input) == 0)
            return api_error_set (error, API_INVALID_VALUE, "input", "\"input\" must not hold empty strings.");
    return TRUE;
}

void
openai_embedding_clear (OpenaiEmbedding *embedding)
{
    json_decref (embedding->inputs);
    *embedding = (OpenaiEmbedding){ 0 };
}

/* ---- answer --------------------------------------------------------------------------------------------------------------------- */

/* VECTOR: u32 n, u32 dim, u32 n_tokens[n], float32[n*dim]; the link is on one machine, so the order of bytes is ours. */
typedef struct {
    guint32 n, dim;
    const guint8 *n_tokens, *floats;
} Vectors;

static gboolean
read_vectors (GBytes *bytes, guint n_inputs, Vectors *v)
{
    gsize size = 0;
    const guint8 *data = bytes ? g_bytes_get_data (bytes, &size) : NULL;
    guint32 head[2];
    if (size < sizeof head)
        return FALSE;
    memcpy (head, data, sizeof head);
    *v = (Vectors){ head[0], head[1], data + sizeof head, data + sizeof head + 4 * (gsize) head[0] };
    return v->n == n_inputs && v->dim > 0 && size == sizeof head + 4 * (gsize) v->n + 4 * (gsize) v->n * v->dim;
}

/* The first @n components of @from, of length 1 again if they were cut. */
static void
cut_vector (const guint8 *from, guint n, gboolean cut, float *vector)
{
    memcpy (vector, from, n * sizeof *vector);
    double sum = 0;
    for (guint i = 0; i < n; i++)
        sum += (double) vector[i] * vector[i];
    for (guint i = 0; cut && sum > 0 && i < n; i++)
        vector[i] /= sqrt (sum);
}

static void
print_numbers (const float *vector, guint n, GString *out)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    g_string_append_c (out, '[');
    for (guint i = 0; i < n; i++) {
        if (i > 0)
            g_string_append_c (out, ',');
        g_string_append (out, isfinite (vector[i]) ? g_ascii_formatd (text, sizeof text, "%.9g", vector[i]) : "0");
    }
    g_string_append_c (out, ']');
}

/* Little-endian floats, whatever the machine. */
static void
print_base64 (const float *vector, guint n, GString *out)
{
    g_autofree guint32 *words = g_new (guint32, n);
    memcpy (words, vector, n * sizeof *words);
    for (guint i = 0; i < n; i++)
        words[i] = GUINT32_TO_LE (words[i]);
    g_autofree char *text = g_base64_encode ((const guchar *) words, n * sizeof *words);
    g_string_append_printf (out, "\"%s\"", text);
}

gboolean
openai_embedding_print (GBytes *vector, guint n_inputs, guint dimensions, gboolean base64, const char *model,
                        GString *out, ApiError *error)
{
    Vectors v;
    if (!read_vectors (vector, n_inputs, &v))
        return api_error_set (error, API_ENGINE, NULL, "The engine's answer holds no embeddings.");
    if (dimensions > v.dim)
        return api_error_set (error, API_INVALID_VALUE, "dimensions",
                              "\"dimensions\" must be between 1 and %u for this model.", v.dim);
    const guint n = dimensions ? dimensions : v.dim;
    g_autofree float *one = g_new (float, n);
    guint64 n_tokens = 0;
    g_string_append (out, "{\"object\":\"list\",\"data\":[");
    for (guint i = 0; i < v.n; i++) {
        guint32 count;
        memcpy (&count, v.n_tokens + 4 * (gsize) i, sizeof count);
        n_tokens += count;
        cut_vector (v.floats + 4 * (gsize) i * v.dim, n, n < v.dim, one);
        g_string_append (out, i > 0 ? ",{\"object\":\"embedding\",\"embedding\":"
                                    : "{\"object\":\"embedding\",\"embedding\":");
        (base64 ? print_base64 : print_numbers) (one, n, out);
        g_string_append_printf (out, ",\"index\":%u}", i);
    }
    g_string_append (out, "],\"model\":");
    json_append_string (out, model);
    g_string_append_printf (
        out, ",\"usage\":{\"prompt_tokens\":%" G_GUINT64_FORMAT ",\"total_tokens\":%" G_GUINT64_FORMAT "}}", n_tokens,
        n_tokens);
    return TRUE;
}

/* ---- life ----------------------------------------------------------------------------------------------------------------------- */

/* A request on its way. */
typedef struct {
    ApiCall *call; /* a reference */
    Job *job;      /* NULL once it has answered */
    guint n_inputs, dimensions;
    gboolean base64;
    GBytes *vector;
    char *model;
    GString *out;
    ApiError error;
} Work;

static void
work_free (gpointer data)
{
    Work *work = data;
    api_call_unref (work->call);
    g_clear_pointer (&work->vector, g_bytes_unref);
    g_string_free (work->out, TRUE);
    api_error_clear (&work->error);
    g_free (work->model);
    g_free (work);
}

static gboolean
print (Work *work)
{
    return openai_embedding_print (work->vector, work->n_inputs, work->dimensions, work->base64, work->model, work->out,
                                   &work->error);
}

static void
print_in_pool (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    g_task_return_boolean (task, print (data));
}

static void
answer (Work *work)
{
    if (work->error.kind)
        api_call_fail (work->call, &work->error);
    else
        api_call_reply (work->call, 200, work->out->str, work->out->len);
}

static void
printed (GObject *source, GAsyncResult *result, gpointer data)
{
    answer (g_task_get_task_data (G_TASK (result)));
}

/* What the engine says about an input is about the field. */
static void
take_failure (Work *work, const ChatFailure *failure)
{
    api_error_from_failure (&work->error, failure);
    if (work->error.kind == API_CONTEXT_LENGTH || (work->error.kind == API_INVALID_VALUE && !work->error.param)) {
        g_free (work->error.param);
        work->error.param = g_strdup ("input");
    }
    answer (work);
    work_free (work);
}

static void
answered (const Instance *instance, const json_t *json, GBytes *bytes, const ChatFailure *failure, gpointer data)
{
    Work *work = data;
    work->job = NULL;
    work->call->work = NULL;
    work->call->closed = NULL;
    if (failure) {
        take_failure (work, failure);
        return;
    }
    work->vector = bytes ? g_bytes_ref (bytes) : NULL;
    work->model = g_strdup (instance ? instance->identifier : "");
    gboolean large = bytes && g_bytes_get_size (bytes) / sizeof (float) > PRINT_HERE_MAX;
    if (!large) {
        print (work);
        answer (work);
        work_free (work);
        return;
    }
    g_autoptr (GTask) task = g_task_new (NULL, NULL, printed, NULL);
    g_task_set_task_data (task, work, work_free);
    g_task_run_in_thread (task, print_in_pool);
}

/* The client went away before the engine answered. */
static void
drop (ApiCall *call, HttpClosed how)
{
    Work *work = g_steal_pointer (&call->work);
    job_drop (work->job);
    work_free (work);
}

void
openai_embeddings (ApiCall *call)
{
    g_auto (OpenaiEmbedding) embedding = { 0 };
    g_auto (ApiError) error = { 0 };
    if (!openai_embedding_read (&embedding, call->body, &error)) {
        api_call_fail (call, &error);
        return;
    }
    Work *work = g_new0 (Work, 1);
    work->call = api_call_ref (call);
    work->n_inputs = json_array_size (embedding.inputs);
    work->dimensions = embedding.dimensions;
    work->base64 = embedding.format == 1;
    work->out = g_string_new (NULL);
    const InstanceWant want = {
        .model = embedding.model,
        .type = MODEL_EMBEDDING,
        .may_load = TRUE,
        .ttl_seconds = MIN (embedding.ttl, OPENAI_MAX_TTL_SECONDS),
    };
    g_autoptr (json_t) payload = json_pack ("{s:O}", "inputs", embedding.inputs);
    work->job = instances_ask (call->api->instances, &want, LINK_EMBED, payload, answered, work);
    call->work = work;
    call->closed = drop;
}
