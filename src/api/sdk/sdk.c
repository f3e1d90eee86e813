/* sdk.c: no namespace is served yet. */
#include "api/api.h"

gboolean
sdk_accept (ApiListener *listener, HttpRequest *request)
{
    return FALSE;
}

void
sdk_close_all (ApiListener *listener)
{
}
