/* call.c: answers, and the headers and log lines that every answer has. */
#include "api/call.h"

#include "base/ids.h"
#include "home/log.h"

#include <string.h>

#define JSON_TYPE "application/json; charset=utf-8"

static void
set_request_id (HttpRequest *http, char request_id[32])
{
    g_autofree char *made = ids_new ("req_", IDS_LOWER_ALNUM, 24);
    g_strlcpy (request_id, made, 32);
    http_request_set_header (http, "x-request-id", request_id);
}

ApiCall *
api_call_new (ApiListener *listener, HttpRequest *http)
{
    ApiCall *call = g_rc_box_new0 (ApiCall);
    call->api = listener->api;
    call->listener = listener;
    call->http = http;
    set_request_id (http, call->request_id);
    http_request_set_data (http, call, NULL); /* `closed` gives it back */
    return call;
}

ApiCall *
api_call_ref (ApiCall *call)
{
    return g_rc_box_acquire (call);
}

static void
call_clear (gpointer data)
{
    ApiCall *call = data;
    g_free (call->id);
    json_decref (call->body);
}

void
api_call_unref (ApiCall *call)
{
    g_rc_box_release_full (call, call_clear);
}

void
api_call_reply (ApiCall *call, guint status, const char *json, gsize length)
{
    if (!call->http)
        return;
    if (call->family == FAMILY_ANTHROPIC)
        http_request_set_header (call->http, "request-id", call->request_id);
    http_reply (call->http, status, JSON_TYPE, json, length);
}

static void
set_hints (HttpRequest *http, const ApiError *error)
{
    const char *retry = api_error_should_retry (error);
    if (retry)
        http_request_set_header (http, "x-should-retry", retry);
    if (api_error_retry_after (error) > 0) {
        g_autofree char *seconds = g_strdup_printf ("%u", api_error_retry_after (error));
        http_request_set_header (http, "Retry-After", seconds);
    }
}

/* The body of the error, and its line in the log.  The sentences about wrong fields quote what the client sent. */
static GString *
word_error (const ApiError *error, ApiFamily family, const char *request_id)
{
    GString *body = g_string_sized_new (256);
    api_error_print (error, family, request_id, body);
    g_autofree char *allowed = log_sensitive (error->message, strlen (error->message));
    if (error->kind > API_UNRECOGNIZED_KEYS || g_str_equal (allowed, error->message)) {
        log_line (LOG_ERROR, NULL, "%s", body->str);
        return body;
    }
    ApiError shown = *error;
    shown.message = allowed;
    g_autoptr (GString) text = g_string_sized_new (256);
    api_error_print (&shown, family, request_id, text);
    log_line (LOG_ERROR, NULL, "%s", text->str);
    return body;
}

void
api_call_fail (ApiCall *call, const ApiError *error)
{
    if (!call->http)
        return;
    g_autoptr (GString) body = word_error (error, call->family, call->request_id);
    set_hints (call->http, error);
    api_call_reply (call, api_error_status (error, call->family), body->str, body->len);
}

void
api_call_fail_with (ApiCall *call, ApiErrorKind kind, const char *param, const char *format, ...)
{
    g_auto (ApiError) error = { 0 };
    va_list args;
    va_start (args, format);
    g_autofree char *message = g_strdup_vprintf (format, args);
    va_end (args);
    api_error_set (&error, kind, param, "%s", message);
    api_call_fail (call, &error);
}

void
api_fail_request (HttpRequest *http, ApiFamily family, const ApiError *error)
{
    char request_id[32];
    set_request_id (http, request_id);
    if (family == FAMILY_ANTHROPIC)
        http_request_set_header (http, "request-id", request_id);
    g_autoptr (GString) body = word_error (error, family, request_id);
    http_reply (http, api_error_status (error, family), JSON_TYPE, body->str, body->len);
}

/* ";base64," and 32 characters are enough to know what an image was. */
char *
api_loggable (const char *text, gsize length)
{
    g_autofree char *allowed = log_sensitive (text, length);
    if (!strstr (allowed, ";base64,"))
        return g_steal_pointer (&allowed);
    g_autoptr (GString) cut = g_string_new (NULL);
    const char *rest = allowed;
    for (const char *mark; (mark = strstr (rest, ";base64,")) != NULL;) {
        const char *data = mark + strlen (";base64,");
        gsize n = strcspn (data, "\"\\");
        g_string_append_len (cut, rest, data - rest + MIN (n, 32));
        if (n > 32)
            g_string_append_printf (cut, "<%" G_GSIZE_FORMAT " more>", n - 32);
        rest = data + n;
    }
    g_string_append (cut, rest);
    return g_string_free (g_steal_pointer (&cut), FALSE);
}
