/* handler.c: what net/http asks of the API: from a request's head to its route's function.
 *
 *   head ──▶ Host, Origin ──▶ OPTIONS? WebSocket? ──▶ route ──▶ body's limit      all of it before a byte of the body is taken
 *   request ──▶ JSON (over 1 MiB: in the pool) ──▶ an object? ──▶ route->handle */
#include "api/call.h"
#include "api/guards.h"
#include "api/routes.h"
#include "home/log.h"

#include <gio/gio.h>
#include <string.h>

/* Larger bodies are parsed beside the loop (design.md: what blocks). */
#define PARSE_HERE_MAX (1024 * 1024)

/* ---- head -------------------------------------------------------------------------------------------------------------------- */

static void
refuse_path (ApiCall *call, const char *allow)
{
    const char *method = http_request_method (call->http), *path = http_request_path (call->http);
    if (allow)
        http_request_set_header (call->http, "Allow", allow);
    api_call_fail_with (call, allow ? API_WRONG_METHOD : API_NOT_FOUND, NULL, "Unexpected endpoint or method. (%s %s)",
                        method, path);
}

static void
answer_options (ApiCall *call, gboolean cors)
{
    if (!cors) {
        api_call_fail_with (call, API_CORS_DISABLED, NULL, "CORS is off ('lms server start --cors' turns it on).");
        return;
    }
    guards_set_preflight (call->http);
    http_reply (call->http, 204, NULL, NULL, 0);
}

/* TRUE: the request is to go on. */
static gboolean
route_call (ApiCall *call, const char *path)
{
    RouteMatch match = routes_find (http_request_method (call->http), path, call->listener->rest);
    if (!match.route)
        return refuse_path (call, match.allow), FALSE;
    call->route = match.route;
    call->family = match.route->family;
    call->id = match.id;
    http_request_set_max_body (call->http, match.route->max_body);
    return TRUE;
}

static gboolean
take_head (HttpRequest *http, gpointer data)
{
    ApiListener *listener = data;
    const Settings *settings = settings_get (listener->api->settings);
    const char *path = http_request_path (http);
    ApiCall *call = api_call_new (listener, http);
    call->family = routes_family (path);
    if (settings->cors)
        guards_set_cors (http);

    g_auto (ApiError) error = { 0 };
    if (!guards_check (listener, settings, http, &error))
        return api_call_fail (call, &error), FALSE;
    if (g_str_equal (http_request_method (http), "OPTIONS"))
        return answer_options (call, settings->cors), FALSE;
    if (http_request_is_websocket (http))
        return TRUE; /* its namespace is looked at when the request is whole */
    return route_call (call, path);
}

/* ---- body -------------------------------------------------------------------------------------------------------------------- */

static void
handle (ApiCall *call)
{
    if (call->route->handle)
        call->route->handle (call);
    else
        api_call_fail_with (call, API_NOT_IMPLEMENTED, NULL, "%s %s is not built yet.",
                            http_request_method (call->http), call->route->path);
}

static void
take_json (ApiCall *call, json_t *body, const GError *problem)
{
    static const char *const kinds[] = {
        [JSON_ARRAY] = "an array", [JSON_STRING] = "a string", [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",
        [JSON_TRUE] = "a boolean", [JSON_FALSE] = "a boolean", [JSON_NULL] = "null",
    };
    if (!body) {
        api_call_fail_with (call, API_INVALID_JSON, NULL, "%s", problem->message);
    } else if (!json_is_object (body)) {
        api_call_fail_with (call, API_INVALID_TYPE, NULL, "The body must be a JSON object, not %s.",
                            kinds[json_typeof (body)]);
        json_decref (body);
    } else {
        call->body = body;
        handle (call);
    }
}

static void
parse_in_pool (GTask *task, gpointer source, gpointer task_data, GCancellable *cancellable)
{
    gsize length;
    const char *text = g_bytes_get_data (task_data, &length);
    GError *error = NULL;
    json_t *body = json_parse (text, length, &error);
    if (body)
        g_task_return_pointer (task, body, (GDestroyNotify) json_decref);
    else
        g_task_return_error (task, error);
}

static void
parsed (GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr (ApiCall) call = data;
    g_autoptr (GError) error = NULL;
    json_t *body = g_task_propagate_pointer (G_TASK (result), &error);
    if (call->http)
        take_json (call, body, error);
    else
        json_decref (body); /* the client did not wait */
}

static void
parse_body (ApiCall *call, GBytes *bytes)
{
    gsize length;
    const char *text = g_bytes_get_data (bytes, &length);
    if (length == 0) {
        api_call_fail_with (call, API_INVALID_JSON, NULL, "The request has no body. A JSON object is needed.");
    } else if (length <= PARSE_HERE_MAX) {
        g_autoptr (GError) error = NULL;
        json_t *body = json_parse (text, length, &error);
        take_json (call, body, error);
    } else {
        g_autoptr (GTask) task = g_task_new (NULL, NULL, parsed, api_call_ref (call));
        g_task_set_task_data (task, g_bytes_ref (bytes), (GDestroyNotify) g_bytes_unref);
        g_task_run_in_thread (task, parse_in_pool);
    }
}

static void
log_request (ApiCall *call, GBytes *bytes)
{
    if (!log_wants (LOG_DEBUG))
        return;
    gsize length = 0;
    const char *text = bytes ? g_bytes_get_data (bytes, &length) : NULL;
    g_autofree char *body = length > 0 ? api_loggable (text, length) : NULL;
    log_line (LOG_DEBUG, NULL, "Received request: %s to %s%s%s", http_request_method (call->http),
              http_request_path (call->http), body ? " with body " : "", body ? body : "");
}

static void
take_request (HttpRequest *http, gpointer data)
{
    ApiListener *listener = data;
    g_autoptr (ApiCall) call = api_call_ref (http_request_get_data (http));
    if (http_request_is_websocket (http)) {
        if (sdk_accept (listener, http) || !route_call (call, http_request_path (http)))
            return; /* a path of ours asked with Upgrade is answered as if without, RFC 9110 7.8 */
    }
    GBytes *bytes = http_request_body (http);
    log_request (call, bytes);
    if (call->route->needs & ROUTE_BODY)
        parse_body (call, bytes);
    else
        handle (call);
}

/* ---- the rest ---------------------------------------------------------------------------------------------------------------- */

static void
word_refusal (HttpRequest *http, guint status, const char *why, gpointer data)
{
    static const struct {
        guint status;
        ApiErrorKind kind;
    } kinds[] = {
        { 408, API_REQUEST_TIMEOUT }, { 413, API_TOO_LARGE }, { 415, API_MEDIA_TYPE }, { 431, API_HEAD_TOO_LARGE }
    };
    ApiErrorKind kind = API_BAD_REQUEST;
    for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
        if (kinds[i].status == status)
            kind = kinds[i].kind;
    ApiCall *call = http_request_get_data (http);
    if (call) {
        api_call_fail_with (call, kind, NULL, "%s", why);
        return;
    }
    g_auto (ApiError) error = { 0 };
    api_error_set (&error, kind, NULL, "%s", why);
    const char *path = http_request_path (http);
    api_fail_request (http, path ? routes_family (path) : FAMILY_OPENAI, &error);
}

static void
close_call (HttpRequest *http, HttpClosed how, gpointer data)
{
    g_autoptr (ApiCall) call = http_request_get_data (http);
    if (!call)
        return;
    if (call->closed)
        call->closed (call, how);
    call->http = NULL;
}

const HttpHandler api_http_handler = {
    .head = take_head,
    .request = take_request,
    .refused = word_refusal,
    .closed = close_call,
};
