/* The handlers behind the rows of table.c, and what several of them need.  Each is told its parameter only after that was checked. */
#pragma once

#include "api/sdk/sdk.h"
#include "api/sdk/types.h"

/* The loaded instance that a ModelSpecifier means, lent until the next return to the loop; NULL with an @error that the caller owns. */
const Instance *sdk_find_instance (SdkCall *call, const json_t *specifier, json_t **error);

/* The same, and the call fails if there is none. */
const Instance *sdk_need_instance (SdkCall *call, const json_t *specifier);

/* loaded.c */
void sdk_list_loaded (SdkCall *call, const json_t *parameter);
void sdk_lmsd_ps (SdkCall *call, const json_t *parameter);
void sdk_get_model_info (SdkCall *call, const json_t *parameter);
void sdk_unload_model (SdkCall *call, const json_t *parameter);
void sdk_get_load_config (SdkCall *call, const json_t *parameter);
void sdk_get_base_prediction_config (SdkCall *call, const json_t *parameter);
void sdk_get_processing_state (SdkCall *call, const json_t *parameter);

/* load.c */
void sdk_load_model (SdkCall *call, const json_t *parameter);
void sdk_get_or_load (SdkCall *call, const json_t *parameter);
void sdk_load_message (SdkCall *call, const char *type, const json_t *message);

/* predict.c */
void sdk_predict (SdkCall *call, const json_t *parameter);
void sdk_complete_raw_text (SdkCall *call, const json_t *parameter);
void sdk_predict_message (SdkCall *call, const char *type, const json_t *message);
void sdk_predict_drained (SdkCall *call);

/* ask.c */
void sdk_tokenize (SdkCall *call, const json_t *parameter);
void sdk_count_tokens (SdkCall *call, const json_t *parameter);
void sdk_apply_prompt_template (SdkCall *call, const json_t *parameter);
void sdk_embed_string (SdkCall *call, const json_t *parameter);
/* Lets go of calls that wait for the next turn of the loop; when the program ends. */
void sdk_embed_forget (void);

/* system.c */
void sdk_list_downloaded_models (SdkCall *call, const json_t *parameter);
void sdk_list_downloaded_variants (SdkCall *call, const json_t *parameter);
void sdk_version (SdkCall *call, const json_t *parameter);
void sdk_info (SdkCall *call, const json_t *parameter);
void sdk_notify (SdkCall *call, const json_t *parameter);
void sdk_set_experiment_flag (SdkCall *call, const json_t *parameter);
void sdk_get_experiment_flags (SdkCall *call, const json_t *parameter);
void sdk_start_http_server (SdkCall *call, const json_t *parameter);
void sdk_stop_http_server (SdkCall *call, const json_t *parameter);
void sdk_request_shutdown (SdkCall *call, const json_t *parameter);
void sdk_alive (SdkCall *call, const json_t *parameter);

/* diagnostics.c */
void sdk_stream_logs (SdkCall *call, const json_t *parameter);
void sdk_stream_logs_message (SdkCall *call, const char *type, const json_t *message);
void sdk_stream_logs_drained (SdkCall *call);

/* repository.c */
void sdk_link_status (SdkCall *call, const json_t *parameter);
void sdk_authentication_status (SdkCall *call, const json_t *parameter);
void sdk_is_authenticated (SdkCall *call, const json_t *parameter);
void sdk_deauthenticate (SdkCall *call, const json_t *parameter);
void sdk_model_catalog (SdkCall *call, const json_t *parameter);
