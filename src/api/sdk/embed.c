/* embed.c: embedString (spec: sdk.md 6.3).
 *
 * embed(["a","b"]) is one call per string, all sent at once.  So calls gather until the loop comes round, and go to the engine together:
 *
 *   embedString ┐
 *   embedString ├─ one turn of the loop ─▶ EMBED {"inputs": [..]} ─▶ VECTOR ─▶ one result each
 *   embedString ┘ */
#include "api/sdk/endpoints.h"
#include "link/link.h"

#include <string.h>

#define MAX_INPUTS 64 /* in one EMBED, so that other clients get their turn */

/* Calls that wait for one answer.  It lives until that came; calls that end before it are simply no longer open then. */
typedef struct {
    Api *api;
    char *reference;
    GPtrArray *calls; /* SdkCall, references */
    json_t *inputs;
} Batch;

/* The batches that the next turn of the loop sends, by instance reference. */
static GHashTable *gathering;
static guint flush_source;

static void
batch_free (gpointer data)
{
    Batch *batch = data;
    g_ptr_array_unref (batch->calls);
    json_decref (batch->inputs);
    g_free (batch->reference);
    g_free (batch);
}

/* VECTOR: u32 n, u32 dim, u32 n_tokens[n], float32[n*dim]; the link is on one machine, so the order of bytes is ours. */
static const float *
vectors_of (GBytes *bytes, guint n_wanted, guint32 *dim)
{
    gsize size = 0;
    const guint8 *data = bytes ? g_bytes_get_data (bytes, &size) : NULL;
    guint32 head[2];
    if (size < sizeof head)
        return NULL;
    memcpy (head, data, sizeof head);
    *dim = head[1];
    if (head[0] != n_wanted || size != sizeof head + (gsize) n_wanted * 4 + (gsize) n_wanted * head[1] * sizeof (float))
        return NULL;
    return (const float *) (data + sizeof head + (gsize) n_wanted * 4);
}

static json_t *
embedding_to_json (const float *vector, guint32 dim)
{
    json_t *list = json_array ();
    for (guint32 i = 0; i < dim; i++) {
        float value;
        memcpy (&value, vector + i, sizeof value);
        json_array_append_new (list, json_real (value));
    }
    return json_pack ("{s:o}", "embedding", list);
}

static void
answered (const Instance *instance, const json_t *answer, GBytes *bytes, const ChatFailure *failure, gpointer data)
{
    Batch *batch = data;
    guint32 dim = 0;
    const float *vectors = failure ? NULL : vectors_of (bytes, batch->calls->len, &dim);
    const ChatFailure no_vectors = { .kind = CHAT_FAIL_ENGINE,
                                     .message = (char *) "The engine's answer holds no embeddings." };
    for (guint i = 0; i < batch->calls->len; i++) {
        SdkCall *call = batch->calls->pdata[i];
        if (vectors)
            sdk_call_result (call, embedding_to_json (vectors + (gsize) i * dim, dim));
        else
            sdk_call_fail (call, sdk_error_from_failure (failure ? failure : &no_vectors, "embed"));
    }
    batch_free (batch);
}

static void
send_batch (Batch *batch)
{
    const InstanceWant want = { .reference = batch->reference, .type = MODEL_EMBEDDING };
    g_autoptr (json_t) payload = json_pack ("{s:O}", "inputs", batch->inputs);
    instances_ask (batch->api->instances, &want, LINK_EMBED, payload, answered, batch);
}

static gboolean
flush (gpointer data)
{
    g_autoptr (GHashTable) batches = g_steal_pointer (&gathering);
    flush_source = 0;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init (&iter, batches);
    while (g_hash_table_iter_next (&iter, NULL, &value)) {
        Batch *batch = value;
        gboolean anybody = FALSE;
        for (guint i = 0; i < batch->calls->len; i++)
            anybody |= sdk_call_is_open (batch->calls->pdata[i]);
        g_hash_table_iter_steal (&iter);
        if (anybody)
            send_batch (batch);
        else
            batch_free (batch);
    }
    return G_SOURCE_REMOVE;
}

static Batch *
batch_for (SdkCall *call, const Instance *instance)
{
    if (!gathering)
        gathering = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, batch_free);
    Batch *batch = g_hash_table_lookup (gathering, instance->reference);
    if (batch && batch->calls->len >= MAX_INPUTS) {
        g_hash_table_steal (gathering, instance->reference);
        send_batch (batch);
        batch = NULL;
    }
    if (!batch) {
        batch = g_new0 (Batch, 1);
        batch->api = sdk_call_api (call);
        batch->reference = g_strdup (instance->reference);
        batch->calls = g_ptr_array_new_with_free_func ((GDestroyNotify) sdk_call_unref);
        batch->inputs = json_array ();
        g_hash_table_insert (gathering, batch->reference, batch);
    }
    if (!flush_source)
        flush_source = g_idle_add_full (G_PRIORITY_DEFAULT, flush, NULL, NULL);
    return batch;
}

void
sdk_embed_string (SdkCall *call, const json_t *parameter)
{
    const Instance *instance = sdk_need_instance (call, json_object_get (parameter, "modelSpecifier"));
    if (!instance)
        return;
    Batch *batch = batch_for (call, instance);
    g_ptr_array_add (batch->calls, sdk_call_ref (call));
    json_array_append (batch->inputs, json_object_get (parameter, "inputString"));
}

void
sdk_embed_forget (void)
{
    g_clear_handle_id (&flush_source, g_source_remove);
    g_clear_pointer (&gathering, g_hash_table_unref);
}
