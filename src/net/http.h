/* An HTTP/1.1 server on the GLib loop (spec: libraries.md 1 and 6, http.md 1.2-1.4, 1.8, 1.9).
 *
 * Mechanics only: bytes, limits, time-outs, hang-ups.  What a path means, which Origin may ask and how an error reads is the
 * handler's.  http.c is the only file that includes microhttpd.h.
 *
 * THE LIFE OF A REQUEST.  head -> (body) -> request -> one answer -> closed.  The handler answers now or later: until it does, the
 * connection rests.  `closed` is told exactly once, after the answer went out or the client went away (read side closed, reset,
 * too slow); the HttpRequest is gone when it returns.  Everything runs on the main context's thread. */
#pragma once

#include <glib.h>

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;

typedef enum {
    HTTP_CLOSED_DONE,     /* the answer was sent whole */
    HTTP_CLOSED_GONE,     /* the client went away, or was cut off for not reading */
    HTTP_CLOSED_SHUTDOWN, /* http_server_free */
} HttpClosed;

typedef struct {
    /* The head is there, the body is not.  Return TRUE to take the body; FALSE after having answered (http_reply) refuses it unread.
     * Routing, Host, Origin and authentication belong here.  May set http_request_set_max_body. */
    gboolean (*head) (HttpRequest *request, gpointer data);
    /* The body is there, inflated if it came gzipped. */
    void (*request) (HttpRequest *request, gpointer data);
    /* Net refuses by itself; the handler words the answer with http_reply.  @status is 400, 408, 413, 415 or 431. */
    void (*refused) (HttpRequest *request, guint status, const char *why, gpointer data);
    /* Told once for every request for which `head` was called. */
    void (*closed) (HttpRequest *request, HttpClosed how, gpointer data);
} HttpHandler;

typedef struct {
    gsize max_body;          /* bytes, inflated; 0 = 64 MiB */
    guint head_timeout_ms;   /* a whole head; 0 = 30 s */
    guint body_timeout_ms;   /* without a byte of the body; 0 = 30 s */
    guint idle_timeout_ms;   /* between requests; 0 = 75 s */
    gsize stream_high_bytes; /* unsent bytes of a stream over which `http_stream_write` says FALSE; 0 = 1 MiB */
    gsize stream_max_bytes;  /* unsent bytes over which the client is cut off; 0 = 8 MiB */
    guint max_connections;   /* in all; 0 = 1024 */
    guint max_per_address;   /* 0 = no limit of its own */
} HttpOptions;

/* A listening TCP socket, non-blocking, SO_REUSEADDR, backlog 1024.  @port 0 takes a free one and says which.  -1 and @error (G_IO_ERROR;
 * G_IO_ERROR_ADDRESS_IN_USE for a taken port) when it can't be had. */
int http_listen (const char *address, guint16 *port, GError **error);

/* Serves on @listen_fd, which it takes over.  @handler is kept, not copied; @options may be NULL. */
HttpServer *
http_server_new (int listen_fd, const HttpOptions *options, const HttpHandler *handler, gpointer data, GError **error);
/* Stops listening, cuts every connection (closed: HTTP_CLOSED_SHUTDOWN), frees.  Upgraded sockets live on. */
void http_server_free (HttpServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (HttpServer, http_server_free)

/* ---- reading ----------------------------------------------------------------------------------------------------------- */

const char *http_request_method (HttpRequest *request);
const char *http_request_path (HttpRequest *request);  /* as sent, percent signs untouched, without the query */
const char *http_request_query (HttpRequest *request); /* as sent, without '?'; NULL is none */
const char *http_request_header (HttpRequest *request, const char *name); /* any case; NULL is none */
GBytes *http_request_body (HttpRequest *request); /* lent; NULL before it is whole, empty when there was none */
char *http_request_peer (HttpRequest *request);   /* the client's address; the caller frees */
void http_request_set_max_body (HttpRequest *request, gsize max_body);
void http_request_set_data (HttpRequest *request, gpointer data, GDestroyNotify destroy); /* destroyed after `closed` */
gpointer http_request_get_data (HttpRequest *request);

/* ---- answering --------------------------------------------------------------------------------------------------------- */

/* A header of the answer; before http_reply or http_stream_begin.  The last value for a name counts. */
void http_request_set_header (HttpRequest *request, const char *name, const char *value);

/* The whole answer.  @body is copied (NULL is empty).  HEAD sends the headers alone. */
void http_reply (HttpRequest *request, guint status, const char *content_type, const char *body, gsize length);

/* An answer of unknown length, chunked, each write sent by itself (TCP_NODELAY).  Writes after the end or the client's going are ignored. */
void http_stream_begin (HttpRequest *request, guint status, const char *content_type);
gboolean
http_stream_write (HttpRequest *request, const char *bytes, gsize length); /* FALSE: over the high mark, slow down */
void http_stream_finish (HttpRequest *request);                            /* the end, in good order */
void http_stream_abort (HttpRequest *request);                             /* cut the connection after what is queued */
gsize http_stream_unsent (HttpRequest *request);
/* Called each time the unsent bytes fall below half the high mark after having been over it. */
void
http_stream_on_drained (HttpRequest *request, void (*drained) (HttpRequest *request, gpointer data), gpointer data);

/* ---- WebSocket --------------------------------------------------------------------------------------------------------- */

/* TRUE when the request asks for a WebSocket in the form of RFC 6455 (version 13). */
gboolean http_request_is_websocket (HttpRequest *request);

/* Answers 101 and hands the socket over.  @take is called once with a connected descriptor, the bytes that came behind the head, and
 * @release, to be called with @release_data when the socket is no longer used (it closes it; do not close @fd).  The request is closed
 * (HTTP_CLOSED_DONE) before @take is called.  If the client went away before, @take is never called and @gone is, with @data. */
typedef void (*HttpUpgradeFunc) (int fd, const void *extra, gsize extra_length, void (*release) (gpointer),
                                 gpointer release_data, gpointer data);
void http_request_upgrade (HttpRequest *request, HttpUpgradeFunc take, GDestroyNotify gone, gpointer data);
