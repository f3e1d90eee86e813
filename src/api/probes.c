/* probes.c: GET /lmstudio-greeting and GET /lms-status. */
#include "api/probes.h"

#include <string.h>

static void
reply (ApiCall *call, const char *json)
{
    api_call_reply (call, 200, json, strlen (json));
}

void
probe_greeting (ApiCall *call)
{
    reply (call, "{\"lmstudio\":true}");
}

void
probe_status (ApiCall *call)
{
    reply (call, "{\"package\":\"llmster\",\"version\":\"" API_LMS_LEVEL "\",\"lmsd\":\"" ATELIER_VERSION "\"}");
}
