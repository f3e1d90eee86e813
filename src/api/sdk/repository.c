/* repository.c: the namespace /repository, as far as it needs no network: no links to other devices, no account (spec: sdk.md 6.8, 9). */
#include "api/sdk/endpoints.h"

void
sdk_link_status (SdkCall *call, const json_t *parameter)
{
    sdk_call_result (call, json_pack ("{s:s, s:[s], s:[], s:n, s:s}", "status", "offline", "issues", "deviceDisabled",
                                      "peers", "deviceIdentifier", "deviceName", g_get_host_name ()));
}

void
sdk_authentication_status (SdkCall *call, const json_t *parameter)
{
    sdk_call_result (call, json_pack ("{s:{s:s}}", "authenticationStatus", "type", "none"));
}

void
sdk_is_authenticated (SdkCall *call, const json_t *parameter)
{
    sdk_call_result (call, json_pack ("{s:b}", "authenticated", FALSE));
}

void
sdk_deauthenticate (SdkCall *call, const json_t *parameter)
{
    sdk_call_result (call, NULL);
}

void
sdk_model_catalog (SdkCall *call, const json_t *parameter)
{
    sdk_call_result (call, json_pack ("{s:[]}", "models"));
}
