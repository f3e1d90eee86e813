/* One HTTP request on its way through the API: from its route to its answer. */
#pragma once

#include "api/api.h"
#include "api/errors.h"

typedef struct ApiCall ApiCall;
typedef struct ApiRoute ApiRoute;

struct ApiCall {
    Api *api;
    ApiListener *listener;
    HttpRequest *http; /* NULL once it is closed: nobody listens any more */
    const ApiRoute *route;
    ApiFamily family;    /* whose error form is spoken */
    char *id;            /* the decoded {id} of the path, or NULL */
    json_t *body;        /* an object, where the route needs one */
    char request_id[32]; /* "req_" + 24 */

    /* What a handler keeps until the request is closed; @closed (may be NULL) is told once, when it is. */
    gpointer work;
    void (*closed) (ApiCall *call, HttpClosed how);
};

/* A call for a request whose head came, with the headers that every answer has.  It is the request's data. */
ApiCall *api_call_new (ApiListener *listener, HttpRequest *http);
ApiCall *api_call_ref (ApiCall *call);
void api_call_unref (ApiCall *call);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ApiCall, api_call_unref)

/* The answer, JSON.  After it the call may be closed. */
void api_call_reply (ApiCall *call, guint status, const char *json, gsize length);
/* The answer is an error in the family's form, with its hints and a line in the log. */
void api_call_fail (ApiCall *call, const ApiError *error);
void
api_call_fail_with (ApiCall *call, ApiErrorKind kind, const char *param, const char *format, ...) G_GNUC_PRINTF (4, 5);

/* An answer to a request that never became a call (net refused it while reading its head). */
void api_fail_request (HttpRequest *http, ApiFamily family, const ApiError *error);

/* A request's text as it may stand in the log: image data cut, or its length alone (http.md 1.10).  The caller frees. */
char *api_loggable (const char *text, gsize length);
