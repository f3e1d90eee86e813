/* routes.c: the table of routes, and how a path finds its row. */
#include "api/routes.h"

#include "api/openai/openai.h"
#include "api/probes.h"

#include <string.h>

#define KiB 1024u
#define MiB (1024u * KiB)

/* A row without a function is a path whose family is still to come: it answers 501 in the family's form. */
static const ApiRoute routes[] = {
    { "GET", "/lmstudio-greeting", FAMILY_OPENAI, probe_greeting, 64 * KiB, ROUTE_ANYWHERE },
    { "GET", "/lms-status", FAMILY_OPENAI, probe_status, 64 * KiB, ROUTE_ANYWHERE },

    { "POST", "/v1/chat/completions", FAMILY_OPENAI, openai_chat, 64 * MiB, ROUTE_BODY | ROUTE_BARE },
    { "POST", "/v1/completions", FAMILY_OPENAI, openai_completions, 64 * MiB, ROUTE_BODY | ROUTE_BARE },
    { "POST", "/v1/embeddings", FAMILY_OPENAI, openai_embeddings, 64 * MiB, ROUTE_BODY | ROUTE_BARE },
    { "GET", "/v1/models", FAMILY_OPENAI, openai_models, 64 * KiB, ROUTE_BARE },
    { "GET", "/v1/models/{id}", FAMILY_OPENAI, openai_model, 64 * KiB, ROUTE_BARE },
    { "POST", "/v1/responses", FAMILY_OPENAI, NULL, 64 * MiB, ROUTE_BODY | ROUTE_BARE },
    { "GET", "/v1/responses/{id}/input_items", FAMILY_OPENAI, NULL, 64 * KiB, ROUTE_BARE },
    { "GET", "/v1/responses/{id}", FAMILY_OPENAI, NULL, 64 * KiB, ROUTE_BARE },
    { "DELETE", "/v1/responses/{id}", FAMILY_OPENAI, NULL, 64 * KiB, ROUTE_BARE },

    { "POST", "/v1/messages", FAMILY_ANTHROPIC, NULL, 64 * MiB, ROUTE_BODY },
    { "POST", "/v1/messages/count_tokens", FAMILY_ANTHROPIC, NULL, 64 * MiB, ROUTE_BODY },

    { "GET", "/api/v0/models", FAMILY_V0, NULL, 64 * KiB, 0 },
    { "GET", "/api/v0/models/{id}", FAMILY_V0, NULL, 64 * KiB, 0 },
    { "POST", "/api/v0/chat/completions", FAMILY_V0, NULL, 64 * MiB, ROUTE_BODY },
    { "POST", "/api/v0/completions", FAMILY_V0, NULL, 64 * MiB, ROUTE_BODY },
    { "POST", "/api/v0/embeddings", FAMILY_V0, NULL, 64 * MiB, ROUTE_BODY },

    { "POST", "/api/v1/chat", FAMILY_V1, NULL, 64 * MiB, ROUTE_BODY },
    { "GET", "/api/v1/models", FAMILY_V1, NULL, 64 * KiB, 0 },
    { "POST", "/api/v1/models/load", FAMILY_V1, NULL, 1 * MiB, ROUTE_BODY },
    { "POST", "/api/v1/models/unload", FAMILY_V1, NULL, 1 * MiB, ROUTE_BODY },
    { "POST", "/api/v1/models/download", FAMILY_V1, NULL, 1 * MiB, ROUTE_BODY },
    { "GET", "/api/v1/models/download/status", FAMILY_V1, NULL, 64 * KiB, 0 },
    { "GET", "/api/v1/models/download/status/{id}", FAMILY_V1, NULL, 64 * KiB, 0 },
};

static const struct {
    const char *prefix;
    ApiFamily family;
} families[] = {
    { "/api/v1", FAMILY_V1 },
    { "/api/v0", FAMILY_V0 },
    { "/v1/messages", FAMILY_ANTHROPIC },
};

/* ---- paths ------------------------------------------------------------------------------------------------------------------- */

/* Into @small when it fits, else into memory that @big owns. */
static const char *
normalise (const char *path, char *small, gsize size, char **big)
{
    gsize length = strlen (path);
    char *out = length + 2 <= size ? small : (*big = g_malloc (length + 2)), *at = out;
    *at++ = '/';
    for (; *path; path++)
        if (*path != '/' || at[-1] != '/')
            *at++ = *path;
    if (at > out + 1 && at[-1] == '/')
        at--;
    *at = '\0';
    return out;
}

/* "openai%2Fgpt-oss-20b" and "openai/gpt-oss-20b" are the same.  What does not decode to text stays as it is. */
static char *
decode (const char *text, gsize length)
{
    char *decoded = g_uri_unescape_segment (text, text + length, NULL);
    if (decoded && g_utf8_validate (decoded, -1, NULL))
        return decoded;
    g_free (decoded);
    return g_utf8_make_valid (text, length);
}

/* The part of @path that {id} of @pattern covers: -1 no match, 0 a match without an id, else its length, beginning at @id. */
static gssize
match (const char *pattern, const char *path, const char **id)
{
    const char *hole = strchr (pattern, '{');
    if (!hole)
        return g_str_equal (pattern, path) ? 0 : -1;
    gsize before = hole - pattern, length = strlen (path);
    const char *after = strchr (hole, '}') + 1;
    gsize behind = strlen (after);
    if (length <= before + behind || strncmp (pattern, path, before) != 0 ||
        !g_str_equal (path + length - behind, after))
        return -1;
    *id = path + before;
    return length - before - behind;
}

static gssize
match_route (const ApiRoute *route, const char *path, const char **id)
{
    gssize length = match (route->path, path, id);
    if (length < 0 && (route->needs & ROUTE_BARE))
        length = match (route->path + strlen ("/v1"), path, id);
    return length;
}

/* ---- finding ----------------------------------------------------------------------------------------------------------------- */

static gboolean
takes_method (const ApiRoute *route, const char *method)
{
    return g_str_equal (route->method, method) || (g_str_equal (method, "HEAD") && g_str_equal (route->method, "GET"));
}

static const char *
allow_header (gboolean get, gboolean post, gboolean delete)
{
    if (get)
        return post ? "GET, HEAD, POST" : delete ? "GET, HEAD, DELETE" : "GET, HEAD";
    return post ? "POST" : "DELETE";
}

RouteMatch
routes_find (const char *method, const char *sent, gboolean rest)
{
    char small[256];
    g_autofree char *big = NULL;
    const char *path = normalise (sent, small, sizeof small, &big), *id = NULL;
    gboolean get = FALSE, post = FALSE, delete = FALSE;
    for (guint i = 0; i < G_N_ELEMENTS (routes); i++) {
        const ApiRoute *route = &routes[i];
        gssize length = rest || (route->needs & ROUTE_ANYWHERE) ? match_route (route, path, &id) : -1;
        if (length < 0)
            continue;
        if (takes_method (route, method))
            return (RouteMatch){ route, length > 0 ? decode (id, length) : NULL, NULL };
        get = get || g_str_equal (route->method, "GET");
        post = post || g_str_equal (route->method, "POST");
        delete = delete || g_str_equal (route->method, "DELETE");
    }
    return (RouteMatch){ NULL, NULL, get || post || delete ? allow_header (get, post, delete) : NULL };
}

ApiFamily
routes_family (const char *sent)
{
    char small[256];
    g_autofree char *big = NULL;
    const char *path = normalise (sent, small, sizeof small, &big);
    for (guint i = 0; i < G_N_ELEMENTS (families); i++) {
        gsize length = strlen (families[i].prefix);
        if (strncmp (path, families[i].prefix, length) == 0 && (path[length] == '/' || path[length] == '\0'))
            return families[i].family;
    }
    return FAMILY_OPENAI;
}
