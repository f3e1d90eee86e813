/* WebSocket messages (RFC 6455) over a connected socket, as server or as client, on the GLib loop.  ws.c is the only file that includes
 * wslay.h.  Text in, text out: binary messages are taken as text, fragments are put together, pings are answered, the extension
 * permessage-deflate is never agreed on.  It needs nothing of http.c, so that `lms` links it alone. */
#pragma once

#include "net/error.h"

typedef struct Ws Ws;

typedef struct {
    /* A whole message of valid UTF-8.  Lent for the time of the call; not NUL-terminated. */
    void (*message) (Ws *ws, const char *text, gsize length, gpointer data);
    /* The end: told exactly once, by the peer's close, a drop, a protocol error or ws_close.  @code is the close status (1005 none,
     * 1006 dropped).  The Ws is gone when this returns. */
    void (*closed) (Ws *ws, guint16 code, const char *reason, gpointer data);
    /* The unsent bytes fell below half the high mark after having been over it.  May be NULL. */
    void (*drained) (Ws *ws, gpointer data);
} WsHandler;

typedef struct {
    gsize max_message; /* bytes; larger ones close with 1009; 0 = 64 MiB */
    gsize high_bytes;  /* unsent bytes over which ws_send says FALSE; 0 = 1 MiB */
    gsize max_unsent;  /* unsent bytes over which the peer is cut off; 0 = 32 MiB */
} WsOptions;

/* The server's end, after the handshake (http_request_upgrade).  @extra are bytes that were read too far.  @release is called with
 * @release_data in place of close(fd). */
Ws *ws_new_server (int fd, const void *extra, gsize extra_length, void (*release) (gpointer), gpointer release_data,
                   const WsOptions *options, const WsHandler *handler, gpointer data);

/* The client's end: connects to @host:@port, does the handshake for @path, blocking for at most @timeout_ms; messages then arrive on the
 * thread's default main context.  NULL and @error (NET_ERROR; REFUSED, TIMED_OUT, FAILED with the HTTP status in the message). */
Ws *ws_connect (const char *host, guint16 port, const char *path, guint timeout_ms, const WsOptions *options,
                const WsHandler *handler, gpointer data, GError **error);

/* FALSE: over the high mark, slow down (the message was taken all the same). */
gboolean ws_send (Ws *ws, const char *text, gsize length);
gsize ws_unsent (Ws *ws);
/* Starts the closing handshake; `closed` follows, after a second at most.  Calling it again does nothing. */
void ws_close (Ws *ws, guint16 code, const char *reason);
