/* sdk.c: connections on WebSockets: the upgrade, the table of those that are open, their end (spec: sdk.md 1.1, 2.1).
 *
 *   sdk_accept ─▶ 101 ─▶ Socket (a Ws and an SdkConnection) ─▶ closed: both are gone */
#include "api/sdk/sdk.h"

#include "api/guards.h"
#include "api/sdk/endpoints.h"
#include "home/log.h"
#include "net/ws.h"

#include <string.h>

#define MAX_SOCKETS 512 /* of all clients together; one client of the SDK opens at most eight */

typedef struct {
    ApiListener *listener;
    SdkSpace space;
    Ws *ws;
    SdkConnection *connection; /* NULL once it was closed from our side */
} Socket;

static GPtrArray *sockets; /* Socket, those whose handshake is through; lent */

static const struct {
    const char *name;
    SdkSpace space;
    gsize max_message; /* bytes; images and documents come as base64 in one frame of /files */
} spaces[] = {
    { "llm", SDK_LLM, 64 << 20 },
    { "embedding", SDK_EMBEDDING, 64 << 20 },
    { "system", SDK_SYSTEM, 1 << 20 },
    { "files", SDK_FILES, 64 << 20 },
    { "repository", SDK_REPOSITORY, 1 << 20 },
    { "diagnostics", SDK_DIAGNOSTICS, 1 << 20 },
    { "plugins", SDK_PLUGINS, 16 << 20 },
    { "runtime", SDK_RUNTIME, 1 << 20 },
};

SdkSpace
sdk_space_from_path (const char *path)
{
    for (guint i = 0; i < G_N_ELEMENTS (spaces); i++)
        if (path[0] == '/' && strcmp (path + 1, spaces[i].name) == 0)
            return spaces[i].space;
    return 0;
}

const char *
sdk_space_name (SdkSpace space)
{
    for (guint i = 0; i < G_N_ELEMENTS (spaces); i++)
        if (spaces[i].space == space)
            return spaces[i].name;
    g_assert_not_reached ();
}

static gsize
max_message_of (SdkSpace space)
{
    for (guint i = 0; i < G_N_ELEMENTS (spaces); i++)
        if (spaces[i].space == space)
            return spaces[i].max_message;
    g_assert_not_reached ();
}

/* ---- between Ws and connection -------------------------------------------------------------------------------------------------- */

static gboolean
carrier_send (gpointer data, const char *text, gsize length)
{
    Socket *socket = data;
    return ws_send (socket->ws, text, length);
}

static void
carrier_close (gpointer data, guint16 code, const char *reason)
{
    Socket *socket = data;
    ws_close (socket->ws, code, reason);
}

static const SdkCarrier carrier = { carrier_send, carrier_close };

static void
ws_message (Ws *ws, const char *text, gsize length, gpointer data)
{
    Socket *socket = data;
    if (socket->connection)
        sdk_connection_take (socket->connection, text, length);
}

static void
ws_drained (Ws *ws, gpointer data)
{
    Socket *socket = data;
    if (socket->connection)
        sdk_connection_drained (socket->connection);
}

static void
ws_closed (Ws *ws, guint16 code, const char *reason, gpointer data)
{
    Socket *socket = data;
    log_line (LOG_DEBUG, NULL, "SDK client on %s is gone (%u)", sdk_space_name (socket->space), code);
    g_clear_pointer (&socket->connection, sdk_connection_free);
    g_ptr_array_remove_fast (sockets, socket);
    if (sockets->len == 0)
        g_clear_pointer (&sockets, g_ptr_array_unref);
    g_free (socket);
}

static const WsHandler ws_handler = { ws_message, ws_closed, ws_drained };

/* ---- accepting and closing ------------------------------------------------------------------------------------------------------- */

static void
take_socket (int fd, const void *extra, gsize extra_length, void (*release) (gpointer), gpointer release_data,
             gpointer data)
{
    Socket *socket = data;
    const WsOptions options = { .max_message = max_message_of (socket->space) };
    if (!sockets)
        sockets = g_ptr_array_new ();
    g_ptr_array_add (sockets, socket);
    socket->connection = sdk_connection_new (socket->listener, socket->space, &carrier, socket);
    socket->ws = ws_new_server (fd, extra, extra_length, release, release_data, &options, &ws_handler, socket);
}

gboolean
sdk_accept (ApiListener *listener, HttpRequest *request)
{
    SdkSpace space = sdk_space_from_path (http_request_path (request));
    if (!space || !http_request_is_websocket (request))
        return FALSE;
    const char *origin = http_request_header (request, "Origin");
    if (!listener->rest && origin && !guards_origin_is_ours (listener->bound_address, origin)) {
        /* CORS opens the HTTP server to web pages, never the local one (sdk.md 2.1). */
        static const char body[] = "Web pages of other origins may not use the local API server.\n";
        http_reply (request, 403, "text/plain; charset=utf-8", body, sizeof body - 1);
        return TRUE;
    }
    if (sockets && sockets->len >= MAX_SOCKETS) {
        static const char body[] = "Too many WebSocket connections are open.\n";
        http_reply (request, 503, "text/plain; charset=utf-8", body, sizeof body - 1);
        return TRUE;
    }
    Socket *socket = g_new0 (Socket, 1);
    socket->listener = listener;
    socket->space = space;
    http_request_upgrade (request, take_socket, g_free, socket);
    return TRUE;
}

void
sdk_close_all (ApiListener *listener_or_null)
{
    for (guint i = sockets ? sockets->len : 0; i-- > 0;) { /* from the end: one that closes at once leaves the array */
        Socket *socket = sockets->pdata[i];
        if (listener_or_null && socket->listener != listener_or_null)
            continue;
        /* The connection refers to the listener, which may be gone before the closing handshake is over. */
        g_clear_pointer (&socket->connection, sdk_connection_free);
        socket->listener = NULL;
        ws_close (socket->ws, 1001, "the server is going away");
    }
    if (!listener_or_null)
        sdk_embed_forget ();
}
