/* The two small answers by which clients find us, on both listeners (spec: sdk.md 1.2). */
#pragma once

#include "api/call.h"

void probe_greeting (ApiCall *call);
void probe_status (ApiCall *call);
