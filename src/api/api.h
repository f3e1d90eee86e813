/* What every API family shares: the program's parts, the table of routes, the families and their error forms (spec: http.md 1).
 *
 * A family is one file or folder: it parses bytes into a ChatRequest, and prints ChatEvents.  Adding one is a file and some rows in routes.c. */
#pragma once

#include "home/settings.h"
#include "instances/instances.h"
#include "models/models.h"
#include "net/http.h"

/* The level of LM Studio that we stand for in probes and in system.version (sdk.md 1.2); ATELIER_VERSION, our own, comes from meson. */
#define API_LMS_LEVEL "0.4.20"

/* What the daemon does for clients that may ask it to (sdk.md 6.4). */
typedef struct {
    /* Opens (or moves) the HTTP server.  @port 0 takes a free one, -1 the last used one; @done gets NULL when the port is open. */
    void (*start_http) (int port, const char *network_interface, gboolean cors,
                        void (*done) (const GError *error, gpointer data), gpointer data, gpointer daemon);
    void (*stop_http) (gpointer daemon); /* open requests are cut, but not before the current return to the loop */
    void (*shutdown) (gpointer daemon);  /* ends the program in good order */
} ApiControl;

typedef struct {
    SettingsStore *settings;
    Models *models;
    Instances *instances;
    const ApiControl *control;
    gpointer daemon; /* for @control */
    char *key;       /* text of lms-key-2 */
    guint next_call; /* counters that live as long as the server */
} Api;

/* One of the two listeners (sdk.md 1.1).  The `data` of api_http_handler. */
typedef struct {
    Api *api;
    gboolean rest;       /* the HTTP server; FALSE: the local API server, which has no REST */
    char *bound_address; /* "127.0.0.1" */
    guint16 port;
} ApiListener;

extern const HttpHandler api_http_handler;

/* ---- the SDK's half of the house (api/sdk) ------------------------------------------------------------------------------ */

/* Takes over a WebSocket request for one of the eight namespaces ("llm", "system", ...).  FALSE, and nothing done, for another path. */
gboolean sdk_accept (ApiListener *listener, HttpRequest *request);
/* Closes every connection (shutdown; or those of one listener when it stops). */
void sdk_close_all (ApiListener *listener_or_null);
