/* client.c: calls and channels over WebSockets.
 *
 *   Client ──┬── Socket "system"     auth frame first; what is sent before its answer is held back
 *            ├── Socket "llm"
 *            └── calls: id -> ClientCall, one counter for all of them as in the official client
 *
 * A frame that makes no sense is logged at debug level and dropped; the connection goes on (sdk.md 3.5). */
#include "cli/client.h"

#include "cli/terminal.h"
#include "net/ws.h"

#include <string.h>

#define CONNECT_TIMEOUT_MS 3000
#define MAX_SOCKETS        8 /* there are eight namespaces */

typedef struct {
    Client *client; /* NULL once the client is freed: then `closed` frees the socket */
    char *namespace;
    Ws *ws;          /* NULL once it is closed */
    gboolean let_in; /* the auth frame was answered with success */
    GPtrArray *held; /* frames (char *) that wait for that */
} Socket;

struct ClientCall {
    Client *client;
    Socket *socket;
    guint id;
    gboolean done;
    json_t *result;               /* rpc; NULL is none */
    GError *error;                /* it failed */
    gboolean reported;            /* the error was handed out */
    ClientMessageFunc on_message; /* NULL: an rpc */
    gpointer data;
};

struct Client {
    Daemon daemon;
    Socket *sockets[MAX_SOCKETS];
    guint n_sockets;
    GPtrArray *calls; /* index is the id */
};

/* ---- frames in ---------------------------------------------------------------------------------------------------------- */

static ClientCall *
find_call (Socket *socket, const json_t *frame, const char *key)
{
    gint64 id = json_peek_int (frame, key, -1);
    if (id < 0 || id >= socket->client->calls->len)
        return NULL;
    ClientCall *call = g_ptr_array_index (socket->client->calls, id);
    return call->socket == socket && !call->done ? call : NULL;
}

static void
end_call (ClientCall *call, GError *error)
{
    call->done = TRUE;
    call->error = error;
}

static void
on_rpc_result (Socket *socket, const json_t *frame)
{
    ClientCall *call = find_call (socket, frame, "callId");
    if (!call || call->on_message)
        return;
    call->result = json_incref (json_object_get (frame, "result"));
    end_call (call, NULL);
}

static void
on_rpc_error (Socket *socket, const json_t *frame)
{
    ClientCall *call = find_call (socket, frame, "callId");
    if (call)
        end_call (call, sdk_error_new (json_object_get (frame, "error")));
}

static void
on_channel_send (Socket *socket, const json_t *frame)
{
    ClientCall *call = find_call (socket, frame, "channelId");
    json_t *message = json_object_get (frame, "message");
    const char *type = json_peek_string (message, "type");
    if (call && call->on_message && type)
        call->on_message (call, type, message, call->data);
}

static void
on_channel_close (Socket *socket, const json_t *frame)
{
    ClientCall *call = find_call (socket, frame, "channelId");
    if (call)
        end_call (call, NULL);
}

static void
on_channel_error (Socket *socket, const json_t *frame)
{
    ClientCall *call = find_call (socket, frame, "channelId");
    if (call)
        end_call (call, sdk_error_new (json_object_get (frame, "error")));
}

static void
on_warning (Socket *socket, const json_t *frame)
{
    const char *warning = json_peek_string (frame, "warning");
    say_debug ("the daemon warns: %s", warning ? warning : "");
}

static const struct {
    const char *type;
    void (*take) (Socket *socket, const json_t *frame);
} frames[] = {
    { "rpcResult", on_rpc_result },       { "rpcError", on_rpc_error },         { "channelSend", on_channel_send },
    { "channelClose", on_channel_close }, { "channelError", on_channel_error }, { "communicationWarning", on_warning },
};

/* ---- a socket's life ---------------------------------------------------------------------------------------------------- */

static void
socket_free (Socket *socket)
{
    g_ptr_array_unref (socket->held);
    g_free (socket->namespace);
    g_free (socket);
}

static void
fail_all (Socket *socket, const char *why)
{
    GPtrArray *calls = socket->client->calls;
    for (guint i = 0; i < calls->len; i++) {
        ClientCall *call = g_ptr_array_index (calls, i);
        if (call->socket == socket && !call->done)
            end_call (call, g_error_new_literal (SDK_ERROR, SDK_ERROR_CLOSED, why));
    }
}

static void
on_auth_answer (Socket *socket, const json_t *frame)
{
    if (json_is_true (json_object_get (frame, "success"))) {
        socket->let_in = TRUE;
        for (guint i = 0; i < socket->held->len; i++) {
            const char *text = g_ptr_array_index (socket->held, i);
            ws_send (socket->ws, text, strlen (text));
        }
        g_ptr_array_set_size (socket->held, 0);
        return;
    }
    const char *error = json_peek_string (frame, "error");
    g_autofree char *why = g_strdup_printf ("Failed to authenticate: %s", error ? error : "the daemon gave no reason");
    fail_all (socket, why);
    ws_close (socket->ws, 1000, "");
}

static void
on_message (Ws *ws, const char *text, gsize length, gpointer data)
{
    Socket *socket = data;
    if (!socket->client)
        return;
    g_autoptr (json_t) frame = json_parse (text, length, NULL);
    if (!frame)
        say_debug ("a frame that is not JSON on /%s", socket->namespace);
    if (!socket->let_in) {
        on_auth_answer (socket, frame);
        return;
    }
    const char *type = json_peek_string (frame, "type");
    for (guint i = 0; type && i < G_N_ELEMENTS (frames); i++)
        if (strcmp (frames[i].type, type) == 0) {
            frames[i].take (socket, frame);
            return;
        }
}

static void
on_closed (Ws *ws, guint16 code, const char *reason, gpointer data)
{
    Socket *socket = data;
    socket->ws = NULL;
    if (socket->client)
        fail_all (socket, "WebSocket connection closed");
    else
        socket_free (socket);
}

static const WsHandler ws_handler = { .message = on_message, .closed = on_closed };

static void
send_json (Socket *socket, json_t *frame)
{
    gsize length;
    char *text = json_print (frame, &length);
    json_decref (frame);
    if (socket->ws && socket->let_in)
        ws_send (socket->ws, text, length);
    else if (socket->ws)
        g_ptr_array_add (socket->held, g_steal_pointer (&text));
    g_free (text);
}

/* The socket of a namespace, connected now if it was not. */
static Socket *
open_socket (Client *client, const char *namespace, GError **error)
{
    for (guint i = 0; i < client->n_sockets; i++)
        if (strcmp (client->sockets[i]->namespace, namespace) == 0)
            return client->sockets[i];
    g_assert (client->n_sockets < MAX_SOCKETS);

    Socket *socket = g_new0 (Socket, 1);
    g_autofree char *path = g_strconcat ("/", namespace, NULL);
    const Daemon *daemon = &client->daemon;
    socket->ws = ws_connect (daemon->host, daemon->port, path, CONNECT_TIMEOUT_MS, NULL, &ws_handler, socket, error);
    if (!socket->ws)
        return g_free (socket), NULL;
    socket->client = client;
    socket->namespace = g_strdup (namespace);
    socket->held = g_ptr_array_new_with_free_func (g_free);
    client->sockets[client->n_sockets++] = socket;

    g_autoptr (json_t) auth = json_pack ("{s:i, s:s, s:s}", "authVersion", 1, "clientIdentifier", daemon->identifier,
                                         "clientPasskey", daemon->passkey);
    gsize length;
    g_autofree char *text = json_print (auth, &length);
    ws_send (socket->ws, text, length);
    return socket;
}

/* ---- calls and channels ------------------------------------------------------------------------------------------------- */

static void
call_free (gpointer data)
{
    ClientCall *call = data;
    json_decref (call->result);
    g_clear_error (&call->error);
    g_free (call);
}

/* Registers a call and connects.  A failure to connect is kept as the call's own. */
static ClientCall *
new_call (Client *client, const char *namespace)
{
    ClientCall *call = g_new0 (ClientCall, 1);
    call->client = client;
    call->id = client->calls->len;
    g_ptr_array_add (client->calls, call);
    GError *error = NULL;
    call->socket = open_socket (client, namespace, &error);
    if (error) {
        end_call (call, g_error_new (SDK_ERROR, SDK_ERROR_CLOSED, "Cannot connect to the daemon at %s:%d: %s",
                                     client->daemon.host, client->daemon.port, error->message));
        g_error_free (error);
    } else if (!call->socket->ws) {
        end_call (call, g_error_new_literal (SDK_ERROR, SDK_ERROR_CLOSED, "WebSocket connection closed"));
    }
    return call;
}

ClientCall *
client_call (Client *client, const char *namespace, const char *endpoint, json_t *parameter)
{
    ClientCall *call = new_call (client, namespace);
    json_t *frame = json_pack ("{s:s, s:s, s:i}", "type", "rpcCall", "endpoint", endpoint, "callId", (int) call->id);
    if (parameter)
        json_object_set_new (frame, "parameter", parameter);
    if (call->done)
        json_decref (frame);
    else
        send_json (call->socket, frame);
    return call;
}

ClientCall *
client_open (Client *client, const char *namespace, const char *endpoint, json_t *creation,
             ClientMessageFunc on_message_, gpointer data)
{
    ClientCall *call = new_call (client, namespace);
    call->on_message = on_message_;
    call->data = data;
    json_t *frame =
        json_pack ("{s:s, s:s, s:i}", "type", "channelCreate", "endpoint", endpoint, "channelId", (int) call->id);
    if (creation)
        json_object_set_new (frame, "creationParameter", creation);
    if (call->done)
        json_decref (frame);
    else
        send_json (call->socket, frame);
    return call;
}

void
client_send (ClientCall *channel, const char *type)
{
    if (!channel->done)
        send_json (channel->socket, json_pack ("{s:s, s:i, s:{s:s}}", "type", "channelSend", "channelId",
                                               (int) channel->id, "message", "type", type));
}

static gboolean
wait_done (ClientCall *call, GError **error)
{
    while (!call->done)
        g_main_context_iteration (NULL, TRUE);
    if (!call->error)
        return TRUE;
    if (error)
        *error = g_error_copy (call->error);
    call->reported = TRUE;
    return FALSE;
}

json_t *
client_wait (ClientCall *call, GError **error)
{
    return wait_done (call, error) ? call->result : NULL;
}

gboolean
client_wait_closed (ClientCall *channel, GError **error)
{
    return wait_done (channel, error);
}

gboolean
client_wait_closed_unless (ClientCall *channel, const gboolean *stop, GError **error)
{
    while (!channel->done && !*stop)
        g_main_context_iteration (NULL, TRUE);
    return *stop || wait_done (channel, error);
}

static gboolean
set_flag (gpointer flag)
{
    *(gboolean *) flag = TRUE;
    return G_SOURCE_REMOVE;
}

gboolean
client_wait_ended (ClientCall *channel, guint timeout_ms)
{
    gboolean late = FALSE;
    guint timer = g_timeout_add (timeout_ms, set_flag, &late);
    while (!channel->done && !late)
        g_main_context_iteration (NULL, TRUE);
    if (!late)
        g_source_remove (timer);
    return channel->done;
}

gboolean
client_finish (Client *client, GError **error)
{
    for (guint i = 0; i < client->calls->len; i++) {
        ClientCall *call = g_ptr_array_index (client->calls, i);
        if (!call->reported && !wait_done (call, error))
            return FALSE;
    }
    return TRUE;
}

json_t *
client_ask (Client *client, const char *namespace, const char *endpoint, json_t *parameter, GError **error)
{
    return client_wait (client_call (client, namespace, endpoint, parameter), error);
}

/* ---- the client --------------------------------------------------------------------------------------------------------- */

Client *
client_new_for (Daemon *daemon)
{
    Client *client = g_new0 (Client, 1);
    client->daemon = *daemon;
    *daemon = (Daemon){ 0 };
    client->calls = g_ptr_array_new_with_free_func (call_free);
    return client;
}

Client *
client_new (const Args *args, DaemonWish wish, const char *first, GError **error)
{
    g_auto (Daemon) daemon = { 0 };
    if (!daemon_find (args, wish, TRUE, &daemon, error))
        return NULL;
    gboolean unasked = daemon.unasked;
    g_autoptr (Client) client = client_new_for (&daemon);
    if (!unasked || open_socket (client, first, NULL))
        return g_steal_pointer (&client);

    /* Its file promised a daemon that does not answer: look properly. */
    return daemon_find (args, wish, FALSE, &daemon, error) ? client_new_for (&daemon) : NULL;
}

void
client_free (Client *client)
{
    for (guint i = 0; i < client->n_sockets; i++) {
        Socket *socket = client->sockets[i];
        socket->client = NULL;
        if (socket->ws)
            ws_close (socket->ws, 1000, ""); /* on_closed frees it, or the program ends before */
        else
            socket_free (socket);
    }
    g_ptr_array_unref (client->calls);
    daemon_clear (&client->daemon);
    g_free (client);
}

gboolean
client_is_lmsd (const Client *client)
{
    return client->daemon.is_lmsd;
}
