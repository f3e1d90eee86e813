/* The protocol's shared types: how a model, an instance, an error, the statistics of a prediction read on the wire (spec: sdk.md 4, 5).
 *
 * Two halves that must agree: functions that make the values, and shapes that say what a client accepts. */
#pragma once

#include "api/sdk/shape.h"
#include "instances/instances.h"

/* ---- values; the caller owns each ------------------------------------------------------------------------------------------ */

json_t *sdk_model_info (const Model *model);
json_t *sdk_instance_info (const Instance *instance);
json_t *sdk_stats (const ChatResult *result, const char *stop_reason);
const char *sdk_stop_reason (ChatStop stop);
json_t *sdk_processing_state (const Instance *instance);

/* ---- errors; the caller owns each ------------------------------------------------------------------------------------------ */

/* @title is the one line that users see. */
json_t *sdk_error (const char *title);
/* The same, with more text; @cause and @suggestion may be NULL. */
json_t *sdk_error_full (const char *title, const char *cause, const char *suggestion);

/* Errors that clients word by themselves (sdk.md 4, displayData).  Samples show at most 10 names. */
json_t *sdk_error_path_not_found (const char *path, Models *models);
json_t *sdk_error_identifier_not_found (const char *identifier, Instances *instances, ModelType type);
json_t *sdk_error_no_match (const json_t *query, Instances *instances, ModelType type);
json_t *sdk_error_unloaded (void);
json_t *sdk_error_domain (const char *path, ModelType actual, ModelType expected);
json_t *sdk_error_preset_not_found (const char *preset);

/* What went wrong in an instance.  @doing is what the user wanted, "load the model", for failures that are not the request's fault. */
json_t *sdk_error_from_failure (const ChatFailure *failure, const char *doing);

const char *sdk_domain (ModelType type); /* "llm" */

/* ---- shapes ---------------------------------------------------------------------------------------------------------------- */

extern const Shape sdk_shape_error;
extern const Shape sdk_shape_model, sdk_shape_models;       /* ModelInfo, [ModelInfo] */
extern const Shape sdk_shape_instance, sdk_shape_instances; /* ModelInstanceInfo */
extern const Shape sdk_shape_config, sdk_shape_config_stack;
extern const Shape sdk_shape_stats, sdk_shape_fragment, sdk_shape_tool_call_request, sdk_shape_processing_state;
extern const Shape sdk_shape_specifier, sdk_shape_history, sdk_shape_tools;
