/* table.c: every endpoint of the protocol (spec: sdk.md 6).
 *
 * A row says who serves it, what its parameter must hold, and what goes to the client.  Rows without a handler are endpoints that clients know
 * and this server does not offer: they fail at once and politely (sdk.md 3.5), where an unknown one would also warn. */
#include "api/sdk/endpoints.h"

#include <string.h>

#define LIST(...)     ((const char *const[]){ __VA_ARGS__, NULL })
#define MEMBERS(...)  ((const ShapeMember[]){ __VA_ARGS__, { 0 } })
#define OBJECT(...)   (&(const Shape){ .type = SHAPE_OBJECT, .members = MEMBERS (__VA_ARGS__) })
#define VARIANTS(...) ((const ShapeVariant[]){ __VA_ARGS__, { NULL, NULL } })
#define MESSAGES(...) (&(const Shape){ .type = SHAPE_TAGGED, .variants = VARIANTS (__VA_ARGS__) })

#define MODELS (SDK_LLM | SDK_EMBEDDING)

/* ---- parameters ---- */

static const Shape share = { .type = SHAPE_NUMBER, .min = 0, .max = 1 };
static const Shape ttl = { .type = SHAPE_WHOLE, .min = 1, .max = 9e15 };
static const Shape port = { .type = SHAPE_WHOLE, .min = 0, .max = 65535 }; /* 0, ours: a free one (cli.md 9) */
static const Shape name_or_null = { .type = SHAPE_NAME, .nullable = TRUE };
static const Shape options = { .type = SHAPE_OBJECT,
                               .members = MEMBERS (MAY ("omitBosToken", &shape_flag), MAY ("omitEosToken", &shape_flag),
                                                   MAY ("toolDefinitions", &sdk_shape_tools)) };

#define SPECIFIER       NEED ("specifier", &sdk_shape_specifier)
#define MODEL_SPECIFIER NEED ("modelSpecifier", &sdk_shape_specifier)
#define LOAD_STACK      NEED ("loadConfigStack", &sdk_shape_config_stack)
#define CONFIG_STACK    NEED ("predictionConfigStack", &sdk_shape_config_stack)
#define DEVICE          MAY ("deviceIdentifier", &name_or_null)

static const ShapeMember by_specifier[] = { SPECIFIER, { 0 } };
static const ShapeMember by_specifier_or_not[] = { SPECIFIER, NEED ("throwIfNotFound", &shape_flag), { 0 } };
static const ShapeMember text_of_model[] = { SPECIFIER, NEED ("inputString", &shape_text), { 0 } };

/* ---- messages ---- */

static const ShapeVariant cancel[] = { { "cancel", NULL }, { 0 } };
static const ShapeVariant stop[] = { { "stop", NULL }, { 0 } };

static const ShapeMember model_info[] = { NEED ("info", &sdk_shape_model), { 0 } };
static const ShapeMember instance_info[] = { NEED ("info", &sdk_shape_instance), { 0 } };
static const ShapeMember progress[] = { NEED ("progress", &share), { 0 } };

static const ShapeMember progress_details[] = {
    NEED ("cachedTokenCount", &shape_whole),
    NEED ("totalPromptTokenCount", &shape_whole),
    NEED ("processedPromptTokenCount", &shape_whole),
    NEED ("unprocessedPromptTokenCount", &shape_whole),
    { 0 },
};
static const Shape details = { .type = SHAPE_OBJECT, .members = progress_details };
static const ShapeMember prompt_progress[] = { NEED ("progress", &share), NEED ("details", &details), { 0 } };
static const ShapeMember a_fragment[] = { NEED ("fragment", &sdk_shape_fragment), { 0 } };
static const ShapeMember success[] = {
    NEED ("stats", &sdk_shape_stats),
    NEED ("modelInfo", &sdk_shape_instance),
    NEED ("loadModelConfig", &sdk_shape_config),
    NEED ("predictionConfig", &sdk_shape_config),
    { 0 },
};
static const ShapeMember call_start[] = { MAY ("toolCallId", &shape_text), { 0 } };
static const ShapeMember call_name[] = { NEED ("name", &shape_text), { 0 } };
static const ShapeMember call_arguments[] = { NEED ("content", &shape_text), { 0 } };
static const ShapeMember call_end[] = {
    NEED ("toolCallRequest", &sdk_shape_tool_call_request),
    MAY ("rawContent", &shape_text),
    { 0 },
};
static const ShapeMember call_failed[] = { NEED ("error", &sdk_shape_error), MAY ("rawContent", &shape_text), { 0 } };

static const Shape level = { .type = SHAPE_WORD, .words = LIST ("debug", "info", "warn", "error") };
static const Shape log_data = {
    SHAPE_TAGGED, .variants = VARIANTS (
                      { "llm.prediction.input", MEMBERS (NEED ("input", &shape_text), NEED ("modelPath", &shape_text),
                                                         NEED ("modelIdentifier", &shape_text)) },
                      { "llm.prediction.output", MEMBERS (NEED ("output", &shape_text), MAY ("stats", &sdk_shape_stats),
                                                          NEED ("modelIdentifier", &shape_text)) },
                      { "server.log", MEMBERS (NEED ("content", &shape_text), NEED ("level", &level)) },
                      { "runtime.log", MEMBERS (NEED ("level", &level), NEED ("message", &shape_text),
                                                NEED ("engineName", &shape_text), NEED ("engineVersion", &shape_text),
                                                NEED ("engineType", &shape_text)) })
};

static const Shape link_status_words = { .type = SHAPE_WORD,
                                         .words = LIST ("offline", "starting", "online", "stopping") };
static const Shape any_list = { .type = SHAPE_LIST, .items = &shape_any };
static const Shape number_list = { .type = SHAPE_LIST, .items = &shape_number };

/* ---- the table ---- */

#define RPC(where, what)     .spaces = where, .kind = SDK_RPC, .name = what
#define CHANNEL(where, what) .spaces = where, .kind = SDK_CHANNEL, .name = what

static const SdkEndpoint endpoints[] = {
    /* 6.1 language and embedding models */
    { RPC (MODELS, "listLoaded"), sdk_list_loaded, .result = &sdk_shape_instances },
    { RPC (MODELS, "getModelInfo"), sdk_get_model_info, by_specifier_or_not, .result = &sdk_shape_instance,
      .may_lack_result = TRUE },
    { RPC (MODELS, "unloadModel"), sdk_unload_model, MEMBERS (NEED ("identifier", &shape_name), DEVICE) },
    { RPC (MODELS, "getLoadConfig"), sdk_get_load_config, by_specifier, .result = &sdk_shape_config },
    { RPC (MODELS, "getBasePredictionConfig"), sdk_get_base_prediction_config, by_specifier,
      .result = &sdk_shape_config },
    { RPC (MODELS, "getInstanceProcessingState"), sdk_get_processing_state, by_specifier_or_not,
      .result = &sdk_shape_processing_state, .may_lack_result = TRUE },
    { RPC (MODELS, "estimateModelUsage") },
    { RPC (MODELS, "tokenize"), sdk_tokenize, text_of_model, .result = OBJECT (NEED ("tokens", &number_list)) },
    { RPC (MODELS, "countTokens"), sdk_count_tokens, text_of_model,
      .result = OBJECT (NEED ("tokenCount", &shape_whole)) },
    { CHANNEL (MODELS, "loadModel"), sdk_load_model,
      MEMBERS (NEED ("modelKey", &shape_name), MAY ("identifier", &shape_name), DEVICE, MAY ("ttlMs", &ttl),
               LOAD_STACK),
      cancel, sdk_load_message,
      .to_client = MESSAGES ({ "resolved", model_info }, { "progress", progress }, { "success", instance_info }) },
    { CHANNEL (MODELS, "getOrLoad"), sdk_get_or_load,
      MEMBERS (NEED ("identifier", &shape_name), DEVICE, MAY ("loadTtlMs", &ttl), LOAD_STACK), cancel, sdk_load_message,
      .to_client =
          MESSAGES ({ "alreadyLoaded", instance_info }, { "unloadingOtherJITModel", instance_info },
                    { "startLoading", MEMBERS (NEED ("identifier", &shape_text), NEED ("info", &sdk_shape_model)) },
                    { "loadProgress", progress }, { "loadSuccess", instance_info }) },

    /* 6.2 language models */
    { RPC (SDK_LLM, "applyPromptTemplate"), sdk_apply_prompt_template,
      MEMBERS (SPECIFIER, NEED ("history", &sdk_shape_history), CONFIG_STACK, NEED ("opts", &options)),
      .result = OBJECT (NEED ("formatted", &shape_text)) },
    { RPC (SDK_LLM, "preloadDraftModel") },
    { CHANNEL (SDK_LLM, "predict"), sdk_predict,
      MEMBERS (MODEL_SPECIFIER, NEED ("history", &sdk_shape_history), CONFIG_STACK,
               MAY ("fuzzyPresetIdentifier", &shape_text), MAY ("ignoreServerSessionConfig", &shape_flag)),
      cancel, sdk_predict_message, sdk_predict_drained,
      .to_client = MESSAGES ({ "promptProcessingProgress", prompt_progress }, { "fragment", a_fragment },
                             { "toolCallGenerationStart", call_start }, { "toolCallGenerationNameReceived", call_name },
                             { "toolCallGenerationArgumentFragmentGenerated", call_arguments },
                             { "toolCallGenerationEnd", call_end }, { "toolCallGenerationFailed", call_failed },
                             { "success", success }) },
    { CHANNEL (SDK_LLM, "completeRawText"), sdk_complete_raw_text,
      MEMBERS (MODEL_SPECIFIER, NEED ("rawPrompt", &shape_text), CONFIG_STACK,
               MAY ("fuzzyPresetIdentifier", &shape_text), MAY ("ignoreServerSessionConfig", &shape_flag)),
      cancel, sdk_predict_message, sdk_predict_drained,
      .to_client = MESSAGES ({ "promptProcessingProgress", prompt_progress }, { "fragment", a_fragment },
                             { "success", success }) },

    /* 6.3 embedding models */
    { RPC (SDK_EMBEDDING, "embedString"), sdk_embed_string,
      MEMBERS (MODEL_SPECIFIER, NEED ("inputString", &shape_text)),
      .result = OBJECT (NEED ("embedding", &number_list)) },

    /* 6.4 the daemon */
    { RPC (SDK_SYSTEM, "listDownloadedModels"), sdk_list_downloaded_models, .result = &sdk_shape_models },
    { RPC (SDK_SYSTEM, "listDownloadedModelVariants"), sdk_list_downloaded_variants,
      MEMBERS (NEED ("modelKey", &shape_name)), .result = &sdk_shape_models },
    { RPC (SDK_SYSTEM, "version"), sdk_version,
      .result = OBJECT (NEED ("version", &shape_text), NEED ("build", &shape_number)) },
    { RPC (SDK_SYSTEM, "info"), sdk_info,
      .result = OBJECT (NEED ("pid", &shape_whole), NEED ("isDaemon", &shape_flag), NEED ("version", &shape_text)) },
    { RPC (SDK_SYSTEM, "notify"), sdk_notify,
      MEMBERS (NEED ("title", &shape_text), MAY ("description", &shape_text), MAY ("noAutoDismiss", &shape_flag)) },
    { RPC (SDK_SYSTEM, "setExperimentFlag"), sdk_set_experiment_flag,
      MEMBERS (NEED ("code", &shape_name), NEED ("value", &shape_flag)) },
    { RPC (SDK_SYSTEM, "getExperimentFlags"), sdk_get_experiment_flags, .result = &shape_texts },
    { RPC (SDK_SYSTEM, "startHttpServer"), sdk_start_http_server,
      MEMBERS (MAY ("port", &port), MAY ("cors", &shape_flag), MAY ("networkInterface", &shape_name)) },
    { RPC (SDK_SYSTEM, "stopHttpServer"), sdk_stop_http_server },
    { RPC (SDK_SYSTEM, "requestShutdown"), sdk_request_shutdown },
    { CHANNEL (SDK_SYSTEM, "alive"), sdk_alive },

    /* 6.10 ours */
    { RPC (SDK_SYSTEM, "lmsd.ps"), sdk_lmsd_ps, .result = &sdk_shape_instances },

    /* 6.5 files */
    { RPC (SDK_FILES, "uploadFileBase64") },
    { RPC (SDK_FILES, "getLocalFileAbsolutePath") },
    { RPC (SDK_FILES, "getDocumentParsingLibrary") },
    { CHANNEL (SDK_FILES, "retrieve") },
    { CHANNEL (SDK_FILES, "parseDocument") },

    /* 6.6 logs */
    { CHANNEL (SDK_DIAGNOSTICS, "streamLogs"), sdk_stream_logs, NULL, stop, sdk_stream_logs_message,
      sdk_stream_logs_drained,
      .to_client = MESSAGES (
          { "log", MEMBERS (NEED ("log", OBJECT (NEED ("timestamp", &shape_number), NEED ("data", &log_data)))) }) },

    /* 6.7 engines */
    { RPC (SDK_RUNTIME, "listEngines") },
    { RPC (SDK_RUNTIME, "getEngineSelections") },
    { RPC (SDK_RUNTIME, "selectEngine") },
    { RPC (SDK_RUNTIME, "removeEngine") },
    { RPC (SDK_RUNTIME, "surveyHardware") },
    { RPC (SDK_RUNTIME, "searchRuntimeExtensions") },
    { CHANNEL (SDK_RUNTIME, "downloadRuntimeExtension") },

    /* 6.8 the hub */
    { RPC (SDK_REPOSITORY, "searchModels") },
    { RPC (SDK_REPOSITORY, "getModelDownloadOptions") },
    { RPC (SDK_REPOSITORY, "getModelCatalog"), sdk_model_catalog, .result = OBJECT (NEED ("models", &any_list)) },
    { RPC (SDK_REPOSITORY, "fuzzyFindStaffPicks") },
    { RPC (SDK_REPOSITORY, "installPluginDependencies") },
    { RPC (SDK_REPOSITORY, "installLocalPlugin") },
    { RPC (SDK_REPOSITORY, "getLocalArtifactFiles") },
    { RPC (SDK_REPOSITORY, "getWritableArtifactOwners") },
    { RPC (SDK_REPOSITORY, "isAuthenticated"), sdk_is_authenticated,
      .result = OBJECT (NEED ("authenticated", &shape_flag)) },
    { RPC (SDK_REPOSITORY, "getAuthenticationStatus"), sdk_authentication_status,
      .result = OBJECT (NEED ("authenticationStatus", OBJECT (NEED ("type", &shape_text)))) },
    { RPC (SDK_REPOSITORY, "deauthenticate"), sdk_deauthenticate },
    { RPC (SDK_REPOSITORY, "loginAsComputeDevice") },
    { RPC (SDK_REPOSITORY, "loginWithPreAuthenticatedKeys") },
    { RPC (SDK_REPOSITORY, "lmLinkStatus"), sdk_link_status,
      .result = OBJECT (NEED ("status", &link_status_words), NEED ("issues", &shape_texts), NEED ("peers", &any_list),
                        NEED ("deviceIdentifier", &shape_text_or_null), NEED ("deviceName", &shape_text)) },
    { RPC (SDK_REPOSITORY, "lmLinkSetDisabled") },
    { RPC (SDK_REPOSITORY, "lmLinkUpdateDeviceName") },
    { RPC (SDK_REPOSITORY, "lmLinkSetPreferredDevice") },
    { CHANNEL (SDK_REPOSITORY, "downloadModel") },
    { CHANNEL (SDK_REPOSITORY, "downloadArtifact") },
    { CHANNEL (SDK_REPOSITORY, "createDownloadPlan") },
    { CHANNEL (SDK_REPOSITORY, "createArtifactDownloadPlan") },
    { CHANNEL (SDK_REPOSITORY, "pushArtifact") },
    { CHANNEL (SDK_REPOSITORY, "ensureAuthenticated") },

    /* 6.9 plugins */
    { RPC (SDK_PLUGINS, "reindexPlugins") },
    { RPC (SDK_PLUGINS, "pluginInitCompleted") },
    { RPC (SDK_PLUGINS, "processingHandleUpdate") },
    { RPC (SDK_PLUGINS, "processingHandleRequest") },
    { RPC (SDK_PLUGINS, "processingPullHistory") },
    { RPC (SDK_PLUGINS, "processingGetOrLoadTokenSource") },
    { RPC (SDK_PLUGINS, "processingHasStatus") },
    { RPC (SDK_PLUGINS, "processingNeedsNaming") },
    { RPC (SDK_PLUGINS, "processingSuggestName") },
    { RPC (SDK_PLUGINS, "processingSetSenderName") },
    { RPC (SDK_PLUGINS, "setConfigSchematics") },
    { RPC (SDK_PLUGINS, "setGlobalConfigSchematics") },
    { RPC (SDK_PLUGINS, "reportError") },
    { CHANNEL (SDK_PLUGINS, "startToolUseSession") },
    { CHANNEL (SDK_PLUGINS, "generateWithGenerator") },
    { CHANNEL (SDK_PLUGINS, "registerDevelopmentPlugin") },
    { CHANNEL (SDK_PLUGINS, "setPromptPreprocessor") },
    { CHANNEL (SDK_PLUGINS, "setPredictionLoopHandler") },
    { CHANNEL (SDK_PLUGINS, "setToolsProvider") },
    { CHANNEL (SDK_PLUGINS, "setGenerator") },

    { 0 },
};

const SdkEndpoint *
sdk_endpoint_find (SdkSpace space, SdkKind kind, const char *name)
{
    for (const SdkEndpoint *row = endpoints; row->name; row++)
        if ((row->spaces & space) && row->kind == kind && strcmp (row->name, name) == 0)
            return row;
    return NULL;
}

const SdkEndpoint *
sdk_endpoints (void)
{
    return endpoints;
}
