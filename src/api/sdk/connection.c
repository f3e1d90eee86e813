/* connection.c: one client's connection to one namespace: who it is, and from frames to calls (spec: sdk.md 2.2 to 3.6).
 *
 *   new ──auth frame──▶ authenticated ──rpcCall, channelCreate──▶ open calls, by kind and id
 *    └──10 s without──▶ refused, closed
 *
 * Knows nothing of WebSockets: text comes in by sdk_connection_take and goes out through the carrier. */
#include "api/sdk/call.h"
#include "api/sdk/types.h"
#include "home/log.h"

#include <gio/gio.h>
#include <string.h>

#define AUTH_TIMEOUT_MS   10000
#define MAX_OPEN_CALLS    8192          /* of one connection; embed() makes a call of each string of an array */
#define MAX_OUR_WARNINGS  64            /* to one connection, so that a flood of garbage is not answered by a flood */
#define MAX_IDENTITY      256           /* characters of identifier and passkey */
#define MAX_WARNING_SHOWN 1024          /* bytes of a client's warning in our log */
#define MAX_WARNINGS      32            /* of one client in our log; the SDK stops after 5 */
#define PARSE_HERE_MAX    (1024 * 1024) /* larger frames are parsed beside the loop (design.md: what blocks) */
#define MAX_WAITING       (128 * 1024 * 1024) /* bytes behind such a frame */

/* Outlives its connection if that goes first. */
struct parse {
    SdkConnection *connection; /* NULL: gone */
};

/* ---- warning the client ----------------------------------------------------------------------------------------------- */

G_GNUC_PRINTF (3, 4) static void warn_client (SdkConnection *connection, const char *kind, const char *format, ...)
{
    if (connection->our_warnings++ >= MAX_OUR_WARNINGS)
        return;
    va_list args;
    va_start (args, format);
    g_autofree char *text = g_strdup_vprintf (format, args);
    va_end (args);
    log_line (LOG_DEBUG, NULL, "SDK client on %s: %s", sdk_space_name (connection->space), text);
    g_autofree char *valid = g_utf8_make_valid (text, -1);
    sdk_connection_send (connection,
                         json_pack ("{s:s, s:s, s:s}", "type", "communicationWarning", "warning", valid, "kind", kind));
}

/* ---- who it is (sdk.md 2.2, 2.3) ------------------------------------------------------------------------------------------- */

static gboolean
refuse_late_client (gpointer data)
{
    SdkConnection *connection = data;
    connection->auth_timer = 0;
    connection->refused = TRUE;
    sdk_connection_send (connection, json_pack ("{s:b, s:s}", "success", FALSE, "error", "Authentication timed out"));
    connection->carrier->close (connection->carrier_data, 1008, "authentication timed out");
    return G_SOURCE_REMOVE;
}

static gboolean
is_identity (const json_t *value)
{
    const char *text = json_string_value (value);
    return text && g_utf8_strlen (text, -1) <= MAX_IDENTITY;
}

static gboolean
has_lms_key (const SdkConnection *connection)
{
    const char *key = connection->listener->api->key;
    return !connection->listener->rest && g_strcmp0 (connection->identifier, "lms-cli") == 0 && key && *key &&
           g_str_has_suffix (connection->passkey, key);
}

static void
take_auth (SdkConnection *connection, const json_t *frame)
{
    const json_t *identifier = json_object_get (frame, "clientIdentifier");
    const json_t *passkey = json_object_get (frame, "clientPasskey");
    if (json_peek_int (frame, "authVersion", 0) != 1 || !is_identity (identifier) || !is_identity (passkey))
        return; /* not an auth message: the timer goes on */

    connection->identifier = g_strdup (json_string_value (identifier));
    connection->passkey = g_strdup (json_string_value (passkey));
    connection->privileged = has_lms_key (connection);
    g_clear_handle_id (&connection->auth_timer, g_source_remove);
    if (settings_get (connection->listener->api->settings)->require_auth && !connection->privileged) {
        connection->refused = TRUE;
        sdk_connection_send (connection,
                             json_pack ("{s:b, s:s}", "success", FALSE, "error",
                                        "This server requires an API token, and this client gave none that is valid"));
        connection->carrier->close (connection->carrier_data, 1008, "not authenticated");
        return;
    }
    connection->authenticated = TRUE;
    sdk_connection_send (connection, json_pack ("{s:b}", "success", TRUE));
}

/* ---- frames (sdk.md 3.1) -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *type, *id, *parameter, *title;
    const char *unknown, *bad_parameter, *busy;
} kinds[] = {
    [SDK_RPC] = { "rpcCall", "callId", "parameter", "rpc", "rpcEndpointUnknown", "rpcParameterTypeError", "unknown" },
    [SDK_CHANNEL] = { "channelCreate", "channelId", "creationParameter", "channel", "channelEndpointUnknown",
                      "channelCreationParameterTypeError", "channelAlreadyOpen" },
};

static gboolean
read_id (const json_t *frame, const char *member, gint64 *id)
{
    return (*id = json_peek_int (frame, member, -1)) >= 0;
}

/* An answer for an id that has become no call. */
static void
refuse_call (SdkConnection *connection, SdkKind kind, gint64 id, json_t *error)
{
    sdk_connection_send (connection, sdk_error_frame (kind, id, error));
}

static void
take_call (SdkConnection *connection, SdkKind kind, const json_t *frame)
{
    gint64 id;
    const char *name = json_peek_string (frame, "endpoint");
    if (!read_id (frame, kinds[kind].id, &id) || !name) {
        warn_client (connection, "unknown", "Received %s without endpoint or %s", kinds[kind].type, kinds[kind].id);
        return;
    }
    const SdkEndpoint *endpoint = sdk_endpoint_find (connection->space, kind, name);
    if (!endpoint) {
        warn_client (connection, kinds[kind].unknown, "Received %s for unknown endpoint, endpoint = %.200s",
                     kinds[kind].type, name);
        g_autofree char *title = g_strdup_printf ("Unknown endpoint \"%.200s\"", name);
        refuse_call (connection, kind, id, sdk_error (title));
        return;
    }
    if (!endpoint->call) {
        g_autofree char *title = g_strdup_printf ("%s is not available in this server", name);
        refuse_call (connection, kind, id, sdk_error (title));
        return;
    }

    SdkCall probe = { .endpoint = endpoint, .id = id };
    if (g_hash_table_contains (connection->calls, &probe)) {
        /* An error for this id would end the call that has it. */
        warn_client (connection, kinds[kind].busy, "The %s id %" G_GINT64_FORMAT " is in use", kinds[kind].title, id);
        return;
    }
    if (g_hash_table_size (connection->calls) >= MAX_OPEN_CALLS) {
        refuse_call (connection, kind, id, sdk_error ("Too many calls are open on this connection"));
        return;
    }

    const json_t *parameter = json_object_get (frame, kinds[kind].parameter);
    if (endpoint->parameter) {
        const Shape shape = { .type = SHAPE_OBJECT, .members = endpoint->parameter };
        g_autofree char *complaint = shape_complain (&shape, parameter, kinds[kind].parameter);
        if (complaint) {
            warn_client (connection, kinds[kind].bad_parameter, "Received %s %s with a bad parameter: %s",
                         kinds[kind].type, name, complaint);
            g_autofree char *title = g_strdup_printf ("Invalid parameter for \"%s\": %s", name, complaint);
            refuse_call (connection, kind, id, sdk_error (title));
            return;
        }
    }

    g_autoptr (SdkCall) call = sdk_call_new (connection, endpoint, id);
    endpoint->call (call, parameter); /* it may end before this returns */
}

static void
take_rpc_call (SdkConnection *connection, const json_t *frame)
{
    take_call (connection, SDK_RPC, frame);
}

static void
take_channel_create (SdkConnection *connection, const json_t *frame)
{
    take_call (connection, SDK_CHANNEL, frame);
}

static void
take_channel_send (SdkConnection *connection, const json_t *frame)
{
    gint64 id, ack;
    static const SdkEndpoint any_channel = { .kind = SDK_CHANNEL };
    if (!read_id (frame, "channelId", &id))
        return;
    if (read_id (frame, "ackId", &ack))
        sdk_connection_send (connection, json_pack ("{s:s, s:I, s:I}", "type", "channelAck", "channelId",
                                                    (json_int_t) id, "ackId", (json_int_t) ack));
    SdkCall probe = { .endpoint = &any_channel, .id = id };
    SdkCall *call = g_hash_table_lookup (connection->calls, &probe);
    if (!call)
        return; /* its cancel crossed our close */

    const json_t *message = json_object_get (frame, "message");
    const SdkEndpoint *endpoint = call->endpoint;
    if (!endpoint->from_client)
        return;
    const Shape shape = { .type = SHAPE_TAGGED, .variants = endpoint->from_client };
    g_autofree char *complaint = shape_complain (&shape, message, "message");
    if (complaint) {
        warn_client (connection, "channelMessageTypeError", "Received a message for channel %s that does not fit: %s",
                     endpoint->name, complaint);
        return;
    }
    g_autoptr (SdkCall) keep = sdk_call_ref (call);
    endpoint->message (keep, json_peek_string (message, "type"), message);
}

static void
take_signal (SdkConnection *connection, const json_t *frame)
{
    const char *type = json_peek_string (frame, "type"), *name = json_peek_string (frame, "endpoint");
    gboolean writable = g_str_has_prefix (type, "writable");
    warn_client (connection, writable ? "writableSignalEndpointUnknown" : "signalEndpointUnknown",
                 "Received %s for unknown endpoint, endpoint = %.200s", type, name ? name : "");
}

static void
take_keep_alive (SdkConnection *connection, const json_t *frame)
{
    sdk_connection_send (connection, json_pack ("{s:s}", "type", "keepAliveAck"));
}

/* Never answered: two sides that warn each other would not stop. */
static void
take_warning (SdkConnection *connection, const json_t *frame)
{
    const char *warning = json_peek_string (frame, "warning");
    if (++connection->client_warnings > MAX_WARNINGS)
        return;
    log_line (LOG_WARN, NULL, "SDK client %.64s on %s could not read what it got (communicationWarning %u): %.*s",
              connection->identifier, sdk_space_name (connection->space), connection->client_warnings,
              MAX_WARNING_SHOWN, warning ? warning : "");
}

static void
take_nothing (SdkConnection *connection, const json_t *frame)
{
}

static const struct {
    const char *type;
    void (*take) (SdkConnection *connection, const json_t *frame);
} frames[] = {
    { "rpcCall", take_rpc_call },
    { "channelCreate", take_channel_create },
    { "channelSend", take_channel_send },
    { "channelAck", take_nothing },
    { "keepAlive", take_keep_alive },
    { "communicationWarning", take_warning },
    { "signalSubscribe", take_signal },
    { "signalUnsubscribe", take_nothing },
    { "writableSignalSubscribe", take_signal },
    { "writableSignalUnsubscribe", take_nothing },
    { "writableSignalUpdate", take_nothing },
};

static void
take_frame (SdkConnection *connection, const json_t *frame)
{
    const char *type = json_peek_string (frame, "type");
    for (guint i = 0; type && i < G_N_ELEMENTS (frames); i++)
        if (strcmp (frames[i].type, type) == 0) {
            frames[i].take (connection, frame);
            return;
        }
    warn_client (connection, "unknown", "Received a frame of unknown type %.64s", type ? type : "(none)");
}

static void
take_parsed (SdkConnection *connection, const json_t *frame, const GError *error)
{
    if (!connection->authenticated)
        take_auth (connection, frame);
    else if (!frame)
        warn_client (connection, "unknown", "Received a frame that is not JSON: %s", error->message);
    else
        take_frame (connection, frame);
}

static void
parse_in_pool (GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
    gsize length;
    const char *text = g_bytes_get_data (task_data, &length);
    GError *error = NULL;
    json_t *frame = json_parse (text, length, &error);
    if (frame)
        g_task_return_pointer (task, frame, (GDestroyNotify) json_decref);
    else
        g_task_return_error (task, error);
}

static void take_bytes (SdkConnection *connection, GBytes *bytes);

static void
parsed (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autofree struct parse *parse = data;
    g_autoptr (GError) error = NULL;
    g_autoptr (json_t) frame = g_task_propagate_pointer (G_TASK (result), &error);
    SdkConnection *connection = parse->connection;
    if (!connection)
        return;
    connection->parse = NULL;
    take_parsed (connection, frame, error);
    while (!connection->parse && connection->waiting.length > 0) {
        g_autoptr (GBytes) next = g_queue_pop_head (&connection->waiting);
        connection->waiting_bytes -= g_bytes_get_size (next);
        take_bytes (connection, next);
    }
}

static void
take_bytes (SdkConnection *connection, GBytes *bytes)
{
    gsize length;
    const char *text = g_bytes_get_data (bytes, &length);
    if (length <= PARSE_HERE_MAX) {
        g_autoptr (GError) error = NULL;
        g_autoptr (json_t) frame = json_parse (text ? text : "", length, &error);
        take_parsed (connection, frame, error);
        return;
    }
    connection->parse = g_new0 (struct parse, 1);
    connection->parse->connection = connection;
    g_autoptr (GTask) task = g_task_new (NULL, NULL, parsed, connection->parse);
    g_task_set_task_data (task, g_bytes_ref (bytes), (GDestroyNotify) g_bytes_unref);
    g_task_run_in_thread (task, parse_in_pool);
}

void
sdk_connection_take (SdkConnection *connection, const char *text, gsize length)
{
    if (connection->refused)
        return;
    if (!connection->parse) {
        g_autoptr (GBytes) bytes =
            length > PARSE_HERE_MAX ? g_bytes_new (text, length) : g_bytes_new_static (text, length);
        take_bytes (connection, bytes);
    } else if (connection->waiting_bytes + length > MAX_WAITING) {
        connection->refused = TRUE;
        connection->carrier->close (connection->carrier_data, 1008, "too much is waiting");
    } else {
        g_queue_push_tail (&connection->waiting, g_bytes_new (text, length));
        connection->waiting_bytes += length;
    }
}

/* ---- life ----------------------------------------------------------------------------------------------------------------- */

SdkConnection *
sdk_connection_new (ApiListener *listener, SdkSpace space, const SdkCarrier *carrier, gpointer carrier_data)
{
    SdkConnection *connection = g_new0 (SdkConnection, 1);
    connection->listener = listener;
    connection->space = space;
    connection->carrier = carrier;
    connection->carrier_data = carrier_data;
    connection->calls = sdk_call_table_new ();
    connection->auth_timer = g_timeout_add (AUTH_TIMEOUT_MS, refuse_late_client, connection);
    return connection;
}

void
sdk_connection_drained (SdkConnection *connection)
{
    g_autoptr (GPtrArray) calls = g_ptr_array_new_with_free_func ((GDestroyNotify) sdk_call_unref);
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init (&iter, connection->calls);
    while (g_hash_table_iter_next (&iter, &key, NULL))
        g_ptr_array_add (calls, sdk_call_ref (key));
    for (guint i = 0; i < calls->len; i++) {
        SdkCall *call = g_ptr_array_index (calls, i);
        if (sdk_call_is_open (call) && call->endpoint->drained)
            call->endpoint->drained (call);
    }
}

void
sdk_connection_free (SdkConnection *connection)
{
    GHashTableIter iter;
    gpointer call;
    while (g_hash_table_iter_init (&iter, connection->calls), g_hash_table_iter_next (&iter, &call, NULL))
        sdk_call_end (call);
    g_hash_table_unref (connection->calls);
    if (connection->parse)
        connection->parse->connection = NULL;
    g_queue_clear_full (&connection->waiting, (GDestroyNotify) g_bytes_unref);
    g_clear_handle_id (&connection->auth_timer, g_source_remove);
    g_free (connection->identifier);
    g_free (connection->passkey);
    g_free (connection);
}

const ApiListener *
sdk_connection_listener (const SdkConnection *connection)
{
    return connection->listener;
}

guint
sdk_connection_warnings (const SdkConnection *connection)
{
    return connection->client_warnings;
}

gboolean
sdk_connection_is_privileged (const SdkConnection *connection)
{
    return connection->privileged;
}
