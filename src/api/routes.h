/* Every path that the HTTP server knows, as one table (spec: http.md 1.2). */
#pragma once

#include "api/call.h"

typedef enum {
    ROUTE_BODY = 1 << 0,     /* a JSON object as body, parsed before the handler runs */
    ROUTE_BARE = 1 << 1,     /* also without /v1 */
    ROUTE_ANYWHERE = 1 << 2, /* also on the local API server, which has no REST */
} RouteNeeds;

struct ApiRoute {
    const char *method; /* GET answers HEAD too */
    const char *path;   /* normalised; one {id} may stand for one character or more, slashes included */
    ApiFamily family;
    void (*handle) (ApiCall *call); /* NULL: named, but not built yet */
    gsize max_body;                 /* bytes */
    guint needs;                    /* RouteNeeds */
};

typedef struct {
    const ApiRoute *route; /* NULL: none */
    char *id;              /* what {id} stands for, percent-decoded once; or NULL; the caller frees */
    const char *allow;     /* with no route: the methods that the path does have ("GET, HEAD"), or NULL: no such path */
} RouteMatch;

/* @path as it was sent: runs of '/' count as one, a trailing one is dropped.  @rest FALSE: only what the local API server has. */
RouteMatch routes_find (const char *method, const char *path, gboolean rest);

/* Whose error form a path speaks, known or not. */
ApiFamily routes_family (const char *path);
