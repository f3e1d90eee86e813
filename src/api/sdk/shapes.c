/* shapes.c: the shapes of the shared types (spec: sdk.md 4, 5), as clients of version 2.0 demand them. */
#include "api/sdk/types.h"

/* clang-format off */
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define END        { 0 }
/* clang-format on */

static const Shape number_or_null = { .type = SHAPE_NUMBER, .nullable = TRUE };

/* ---- errors ---- */

static const ShapeMember display_members[] = { NEED ("code", &shape_text), END };
static const Shape display = { .type = SHAPE_OBJECT, .members = display_members };
static const ShapeMember error_members[] = {
    NEED ("title", &shape_text),
    NEED ("rootTitle", &shape_text),
    MAY ("cause", &shape_text),
    MAY ("suggestion", &shape_text),
    MAY ("displayData", &display),
    MAY ("stack", &shape_text),
    END,
};
const Shape sdk_shape_error = { .type = SHAPE_OBJECT, .members = error_members };

/* ---- models ---- */

static const Shape format = {
    .type = SHAPE_WORD, .words = WORDS ("gguf", "safetensors", "onnx", "ggml", "mlx_placeholder", "torch_safetensors")
};
static const ShapeMember quantization_members[] = { NEED ("name", &shape_text), NEED ("bits", &shape_whole), END };
static const Shape quantization = { .type = SHAPE_OBJECT, .members = quantization_members };

/* clang-format off */
#define MODEL_MEMBERS                                                                                           \
    NEED ("modelKey", &shape_text), NEED ("format", &format), NEED ("displayName", &shape_text),               \
    NEED ("publisher", &shape_text), NEED ("path", &shape_text), NEED ("sizeBytes", &shape_whole),             \
    NEED ("indexedModelIdentifier", &shape_text), NEED ("deviceIdentifier", &shape_text_or_null),              \
    MAY ("paramsString", &shape_text), MAY ("architecture", &shape_text), MAY ("quantization", &quantization), \
    MAY ("variants", &shape_texts), MAY ("selectedVariant", &shape_text), NEED ("maxContextLength", &shape_whole)
#define INSTANCE_MEMBERS                                                                                       \
    NEED ("identifier", &shape_name), NEED ("instanceReference", &shape_text), NEED ("ttlMs", &number_or_null), \
    NEED ("lastUsedTime", &number_or_null), NEED ("contextLength", &shape_whole)
#define LLM_MEMBERS NEED ("vision", &shape_flag), NEED ("trainedForToolUse", &shape_flag)
/* clang-format on */

static const ShapeMember llm_members[] = { MODEL_MEMBERS, LLM_MEMBERS, END };
static const ShapeMember embedding_members[] = { MODEL_MEMBERS, END };
static const ShapeMember llm_instance_members[] = { MODEL_MEMBERS, INSTANCE_MEMBERS, LLM_MEMBERS, END };
static const ShapeMember embedding_instance_members[] = { MODEL_MEMBERS, INSTANCE_MEMBERS, END };

const Shape sdk_shape_model = { .type = SHAPE_TAGGED,
                                .variants = (const ShapeVariant[]){
                                    { "llm", llm_members }, { "embedding", embedding_members }, { 0 } } };
const Shape sdk_shape_models = { .type = SHAPE_LIST, .items = &sdk_shape_model };
const Shape sdk_shape_instance = { .type = SHAPE_TAGGED,
                                   .variants = (const ShapeVariant[]){ { "llm", llm_instance_members },
                                                                       { "embedding", embedding_instance_members },
                                                                       { 0 } } };
const Shape sdk_shape_instances = { .type = SHAPE_LIST, .items = &sdk_shape_instance };

/* ---- configuration ---- */

static const ShapeMember field_members[] = { NEED ("key", &shape_text), MAY ("value", &shape_any), END };
static const Shape field = { .type = SHAPE_OBJECT, .members = field_members };
static const Shape fields = { .type = SHAPE_LIST, .items = &field };
static const ShapeMember config_members[] = { NEED ("fields", &fields), END };
const Shape sdk_shape_config = { .type = SHAPE_OBJECT, .members = config_members };
static const ShapeMember layer_members[] = { NEED ("layerName", &shape_text), NEED ("config", &sdk_shape_config), END };
static const Shape layer = { .type = SHAPE_OBJECT, .members = layer_members };
static const Shape layers = { .type = SHAPE_LIST, .items = &layer };
static const ShapeMember stack_members[] = { NEED ("layers", &layers), END };
const Shape sdk_shape_config_stack = { .type = SHAPE_OBJECT, .members = stack_members };

/* ---- which model is meant ---- */

static const ShapeMember reference_members[] = { NEED ("instanceReference", &shape_text), END };
static const Shape name_or_null = { .type = SHAPE_NAME, .nullable = TRUE };
static const ShapeMember query_members[] = {
    MAY ("domain", &shape_text),     MAY ("deviceIdentifier", &name_or_null),
    MAY ("identifier", &shape_name), MAY ("path", &shape_name),
    MAY ("vision", &shape_flag),     END,
};
static const Shape query = { .type = SHAPE_OBJECT, .members = query_members };
static const ShapeMember by_query_members[] = { NEED ("query", &query), END };
const Shape sdk_shape_specifier = { .type = SHAPE_TAGGED,
                                    .variants = (const ShapeVariant[]){ { "instanceReference", reference_members },
                                                                        { "query", by_query_members },
                                                                        { 0 } } };

/* ---- conversations ---- */

static const ShapeMember no_members[] = { END };
static const Shape any_object = { .type = SHAPE_OBJECT, .members = no_members };
static const ShapeMember call_members[] = { MAY ("id", &shape_text), NEED ("name", &shape_text),
                                            MAY ("arguments", &any_object), END };
const Shape sdk_shape_tool_call_request = { .type = SHAPE_TAGGED,
                                            .variants = (const ShapeVariant[]){ { "function", call_members }, { 0 } } };
static const ShapeMember text_part[] = { NEED ("text", &shape_text), END };
static const ShapeMember file_part[] = { NEED ("name", &shape_text), NEED ("identifier", &shape_text),
                                         NEED ("fileType", &shape_text), END };
static const ShapeMember call_part[] = { NEED ("toolCallRequest", &sdk_shape_tool_call_request), END };
static const ShapeMember result_part[] = { NEED ("content", &shape_text), MAY ("toolCallId", &shape_text),
                                           MAY ("name", &shape_text), END };
static const Shape part = { .type = SHAPE_TAGGED,
                            .variants = (const ShapeVariant[]){ { "text", text_part },
                                                                { "file", file_part },
                                                                { "toolCallRequest", call_part },
                                                                { "toolCallResult", result_part },
                                                                { 0 } } };
static const Shape parts = { .type = SHAPE_LIST, .items = &part };
static const ShapeMember message_members[] = { NEED ("content", &parts), END };
static const Shape message = { .type = SHAPE_TAGGED,
                               .tag = "role",
                               .variants = (const ShapeVariant[]){ { "system", message_members },
                                                                   { "user", message_members },
                                                                   { "assistant", message_members },
                                                                   { "tool", message_members },
                                                                   { 0 } } };
static const Shape messages = { .type = SHAPE_LIST, .items = &message };
static const ShapeMember history_members[] = { NEED ("messages", &messages), END };
const Shape sdk_shape_history = { .type = SHAPE_OBJECT, .members = history_members };

static const ShapeMember function_members[] = { NEED ("name", &shape_name), MAY ("description", &shape_text),
                                                MAY ("parameters", &any_object), END };
static const Shape function = { .type = SHAPE_OBJECT, .members = function_members };
static const ShapeMember tool_members[] = { NEED ("function", &function), END };
static const Shape tool = { .type = SHAPE_TAGGED,
                            .variants = (const ShapeVariant[]){ { "function", tool_members }, { 0 } } };
const Shape sdk_shape_tools = { .type = SHAPE_LIST, .items = &tool };

/* ---- predictions ---- */

static const Shape stop_reason = { .type = SHAPE_WORD,
                                   .words =
                                       WORDS ("userStopped", "modelUnloaded", "failed", "eosFound", "stopStringFound",
                                              "toolCalls", "maxPredictedTokensReached", "contextLengthReached") };
static const ShapeMember stats_members[] = {
    NEED ("stopReason", &stop_reason),       MAY ("stopString", &shape_text),
    MAY ("tokensPerSecond", &shape_number),  MAY ("timeToFirstTokenSec", &shape_number),
    MAY ("totalTimeSec", &shape_number),     MAY ("numGpuLayers", &shape_number),
    MAY ("promptTokensCount", &shape_whole), MAY ("predictedTokensCount", &shape_whole),
    MAY ("totalTokensCount", &shape_whole),  END,
};
const Shape sdk_shape_stats = { .type = SHAPE_OBJECT, .members = stats_members };

static const Shape reasoning_type = { .type = SHAPE_WORD,
                                      .words = WORDS ("none", "reasoning", "reasoningStartTag", "reasoningEndTag") };
static const ShapeMember candidate_members[] = { NEED ("text", &shape_text), NEED ("id", &shape_whole),
                                                 NEED ("logProb", &shape_number), END };
static const Shape candidate = { .type = SHAPE_OBJECT, .members = candidate_members };
static const Shape candidates = { .type = SHAPE_LIST, .items = &candidate };
static const ShapeMember token_members[] = { NEED ("text", &shape_text), NEED ("id", &shape_whole),
                                             MAY ("logProb", &shape_number), MAY ("candidates", &candidates), END };
static const Shape token = { .type = SHAPE_OBJECT, .members = token_members };
static const Shape tokens = { .type = SHAPE_LIST, .items = &token };
static const ShapeMember fragment_members[] = {
    NEED ("content", &shape_text),
    NEED ("tokensCount", &shape_whole),
    NEED ("containsDrafted", &shape_flag),
    NEED ("reasoningType", &reasoning_type),
    NEED ("isStructural", &shape_flag),
    MAY ("tokens", &tokens),
    END,
};
const Shape sdk_shape_fragment = { .type = SHAPE_OBJECT, .members = fragment_members };

static const Shape status = { .type = SHAPE_WORD,
                              .words = WORDS ("idle", "processingPrompt", "generating", "computingEmbedding") };
static const ShapeMember state_members[] = { NEED ("status", &status), NEED ("queued", &shape_number), END };
const Shape sdk_shape_processing_state = { .type = SHAPE_OBJECT, .members = state_members };
