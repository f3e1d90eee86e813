/* Who may ask at all: the rules on Host and Origin, and CORS (spec: http.md 1.5).
 *
 * A page on the web can neither read nor cause anything while CORS is off, and a name that was rebound to 127.0.0.1 is no way around it. */
#pragma once

#include "api/api.h"
#include "api/errors.h"

/* TRUE: the Host header names this machine, or we are bound to more than loopback anyway. */
gboolean guards_host_is_fine (const char *bound_address, const char *const *allowed_hosts, const char *host);
/* TRUE: the page comes from this machine itself. */
gboolean guards_origin_is_ours (const char *bound_address, const char *origin);

/* Applies both rules to a request; FALSE and @error (API_HOST_NOT_ALLOWED, API_CORS_DISABLED, API_MEDIA_TYPE) refuses it. */
gboolean guards_check (const ApiListener *listener, const Settings *settings, HttpRequest *http, ApiError *error);

/* With CORS on: what every answer carries; and what a preflight carries beside it. */
void guards_set_cors (HttpRequest *http);
void guards_set_preflight (HttpRequest *http);
