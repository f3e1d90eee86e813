/* call.c: a call's life, from its frame to its one end, and what it sends in between (spec: sdk.md 3.2, 3.6).
 *
 *   new ──▶ open ──result, fail, close, or the connection's end──▶ ended: let go of, out of the table, silent */
#include "api/sdk/call.h"

#include "api/sdk/types.h"

/* ---- calls ---------------------------------------------------------------------------------------------------------------- */

static guint
call_hash (gconstpointer key)
{
    const SdkCall *call = key;
    return g_int64_hash (&call->id) ^ call->endpoint->kind;
}

static gboolean
call_equal (gconstpointer one, gconstpointer other)
{
    const SdkCall *a = one, *b = other;
    return a->id == b->id && a->endpoint->kind == b->endpoint->kind;
}

GHashTable *
sdk_call_table_new (void)
{
    return g_hash_table_new_full (call_hash, call_equal, (GDestroyNotify) sdk_call_unref, NULL);
}

SdkCall *
sdk_call_new (SdkConnection *connection, const SdkEndpoint *endpoint, gint64 id)
{
    SdkCall *call = g_rc_box_new0 (SdkCall);
    call->connection = connection;
    call->endpoint = endpoint;
    call->id = id;
    g_hash_table_add (connection->calls, call);
    return sdk_call_ref (call);
}

SdkCall *
sdk_call_ref (SdkCall *call)
{
    return g_rc_box_acquire (call);
}

void
sdk_call_unref (SdkCall *call)
{
    g_rc_box_release (call);
}

/* The end of a call, whichever way it came. */
void
sdk_call_end (SdkCall *call)
{
    g_autoptr (SdkCall) keep = sdk_call_ref (call);
    SdkConnection *connection = g_steal_pointer (&call->connection);
    GDestroyNotify let_go = g_steal_pointer (&call->let_go);
    if (let_go)
        let_go (g_steal_pointer (&call->state));
    g_hash_table_remove (connection->calls, keep);
}

gboolean
sdk_call_is_open (const SdkCall *call)
{
    return call->connection != NULL;
}

Api *
sdk_call_api (const SdkCall *call)
{
    return call->connection->listener->api;
}

SdkSpace
sdk_call_space (const SdkCall *call)
{
    return call->connection->space;
}

SdkConnection *
sdk_call_connection (const SdkCall *call)
{
    return call->connection;
}

ModelType
sdk_call_model_type (const SdkCall *call)
{
    return sdk_call_space (call) == SDK_EMBEDDING ? MODEL_EMBEDDING : MODEL_LLM;
}

void
sdk_call_set_state (SdkCall *call, gpointer state, GDestroyNotify let_go)
{
    call->state = state;
    call->let_go = let_go;
}

gpointer
sdk_call_state (const SdkCall *call)
{
    return call->state;
}

/* ---- sending -------------------------------------------------------------------------------------------------------------- */

/* Takes @frame. */
gboolean
sdk_connection_send (SdkConnection *connection, json_t *frame)
{
    gsize length;
    g_autofree char *text = json_print (frame, &length);
    json_decref (frame);
    return connection->carrier->send (connection->carrier_data, text, length);
}

/* A client drops an answer that it can't parse and waits for ever (sdk.md 3.4), so builds with checks stop at the first such slip. */
static void
check_outgoing (const SdkCall *call, const Shape *shape, const json_t *value, const char *what)
{
#ifdef SDK_CHECK_OUTPUT
    g_autofree char *complaint = shape   ? shape_complain (shape, value, what)
                                 : value ? g_strdup ("must be absent")
                                         : NULL;
    if (complaint) {
        g_autofree char *text = json_print (value, NULL);
        g_error ("SDK endpoint %s sends what no client can read: %s: %s", call->endpoint->name, complaint, text);
    }
#endif
}

void
sdk_call_result (SdkCall *call, json_t *result)
{
    if (!sdk_call_is_open (call)) {
        json_decref (result);
        return;
    }
    if (result || !call->endpoint->may_lack_result)
        check_outgoing (call, call->endpoint->result, result, "result");
    json_t *frame =
        json_pack ("{s:s, s:I, s:o*}", "type", "rpcResult", "callId", (json_int_t) call->id, "result", result);
    sdk_connection_send (call->connection, frame);
    sdk_call_end (call);
}

json_t *
sdk_error_frame (SdkKind kind, gint64 id, json_t *error)
{
    return json_pack ("{s:s, s:I, s:o}", "type", kind == SDK_RPC ? "rpcError" : "channelError",
                      kind == SDK_RPC ? "callId" : "channelId", (json_int_t) id, "error", error);
}

void
sdk_call_fail (SdkCall *call, json_t *error)
{
    if (!sdk_call_is_open (call)) {
        json_decref (error);
        return;
    }
    check_outgoing (call, &sdk_shape_error, error, "error");
    sdk_connection_send (call->connection, sdk_error_frame (call->endpoint->kind, call->id, error));
    sdk_call_end (call);
}

gboolean
sdk_call_send (SdkCall *call, json_t *message)
{
    if (!sdk_call_is_open (call)) {
        json_decref (message);
        return TRUE;
    }
    check_outgoing (call, call->endpoint->to_client, message, "message");
    return sdk_connection_send (call->connection, json_pack ("{s:s, s:I, s:o}", "type", "channelSend", "channelId",
                                                             (json_int_t) call->id, "message", message));
}

void
sdk_call_close (SdkCall *call)
{
    if (!sdk_call_is_open (call))
        return;
    sdk_connection_send (call->connection,
                         json_pack ("{s:s, s:I}", "type", "channelClose", "channelId", (json_int_t) call->id));
    sdk_call_end (call);
}
