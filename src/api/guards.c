/* guards.c: Host, Origin, CORS. */
#include "api/guards.h"

#include <string.h>

static gboolean
is_port (const char *at, const char *end)
{
    while (at < end && g_ascii_isdigit (*at))
        at++;
    return at == end;
}

/* The name in "name", "name:port", "[::1]:port", "name.": lower case, without brackets; NULL if it is none. */
static char *
host_name (const char *host, gsize length)
{
    const char *end = host + length;
    if (length > 0 && host[0] == '[') {
        const char *bracket = memchr (host, ']', length);
        if (!bracket || (bracket + 1 < end && (bracket[1] != ':' || !is_port (bracket + 2, end))))
            return NULL;
        return g_ascii_strdown (host + 1, bracket - host - 1);
    }
    const char *colon = memchr (host, ':', length);
    if (colon && !is_port (colon + 1, end))
        return NULL;
    if (colon)
        end = colon;
    if (end > host && end[-1] == '.')
        end--;
    return end > host ? g_ascii_strdown (host, end - host) : NULL;
}

/* By its text: this is asked for every request, and a GInetAddress costs more than the rest of the rules. */
static gboolean
is_loopback (const char *address)
{
    return g_str_has_prefix (address, "127.") || g_str_equal (address, "::1") || g_str_equal (address, "localhost");
}

gboolean
guards_host_is_fine (const char *bound_address, const char *const *allowed_hosts, const char *host)
{
    static const char *const local_endings[] = { ".localhost", ".local", ".internal" };
    if (!host || !is_loopback (bound_address)) /* HTTP/1.0 has no Host; who is bound wider is reached by any name */
        return TRUE;
    g_autofree char *name = host_name (host, strlen (host));
    if (!name)
        return FALSE;
    if (g_str_equal (name, "localhost") || g_hostname_is_ip_address (name) ||
        g_ascii_strcasecmp (name, g_get_host_name ()) == 0 || (allowed_hosts && g_strv_contains (allowed_hosts, name)))
        return TRUE;
    for (guint i = 0; i < G_N_ELEMENTS (local_endings); i++)
        if (g_str_has_suffix (name, local_endings[i]))
            return TRUE;
    return FALSE;
}

/* "http://localhost:5173"; "null" has no host and is foreign. */
gboolean
guards_origin_is_ours (const char *bound_address, const char *origin)
{
    const char *host = strstr (origin, "://");
    if (!host)
        return FALSE;
    host += 3;
    g_autofree char *name = host_name (host, strcspn (host, "/?#"));
    return name && (g_str_equal (name, "localhost") || g_str_equal (name, "127.0.0.1") || g_str_equal (name, "::1") ||
                    g_str_equal (name, bound_address));
}

static gboolean
is_json (const char *content_type)
{
    return content_type && g_ascii_strncasecmp (content_type, "application/json", 16) == 0 &&
           (content_type[16] == '\0' || strchr ("; \t", content_type[16]));
}

gboolean
guards_check (const ApiListener *listener, const Settings *settings, HttpRequest *http, ApiError *error)
{
    const char *host = http_request_header (http, "Host"), *origin = http_request_header (http, "Origin");
    if (!guards_host_is_fine (listener->bound_address, (const char *const *) settings->allowed_hosts, host))
        return api_error_set (error, API_HOST_NOT_ALLOWED, NULL,
                              "The host name '%s' is not one of this server's. "
                              "Use localhost or an IP address, or add the name to allowedHosts.",
                              host);
    if (!origin)
        return TRUE;
    if (!settings->cors && !guards_origin_is_ours (listener->bound_address, origin))
        return api_error_set (error, API_CORS_DISABLED, NULL,
                              "Requests from web pages of other origins are not allowed while CORS is off "
                              "('lms server start --cors' turns it on).");
    /* A form can be posted across origins without a preflight; JSON can't. */
    if (g_str_equal (http_request_method (http), "POST") && !is_json (http_request_header (http, "Content-Type")))
        return api_error_set (error, API_MEDIA_TYPE, NULL,
                              "A request from a web page needs Content-Type: application/json.");
    return TRUE;
}

void
guards_set_cors (HttpRequest *http)
{
    http_request_set_header (http, "Access-Control-Allow-Origin", "*");
    http_request_set_header (http, "Access-Control-Expose-Headers", "x-request-id, request-id");
}

void
guards_set_preflight (HttpRequest *http)
{
    const char *wanted = http_request_header (http, "Access-Control-Request-Headers");
    http_request_set_header (http, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    http_request_set_header (http, "Access-Control-Allow-Headers", wanted ? wanted : "*");
    http_request_set_header (http, "Access-Control-Max-Age", "86400");
    const char *network = http_request_header (http, "Access-Control-Request-Private-Network");
    if (network && g_ascii_strcasecmp (network, "true") == 0)
        http_request_set_header (http, "Access-Control-Allow-Private-Network", "true");
}
