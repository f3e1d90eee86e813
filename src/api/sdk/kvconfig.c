/* kvconfig.c: the table of configuration keys, and what is done with it. */
#include "api/sdk/kvconfig.h"

#include "api/sdk/template.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define PREDICTION "llm.prediction."

typedef enum {
    KV_NUMBER,
    KV_WHOLE,
    KV_FLAG,
    KV_TEXT,
    KV_WORD,
    KV_SHARE, /* 0..1, "max" or "off" */
    KV_TEXTS,
    KV_LIST,
    KV_OBJECT,
} KvType;

typedef struct KvRow KvRow;
struct KvRow {
    KvDomain domain;
    const char *key;
    KvType type;
    gboolean box; /* {"checked":bool,"value":V}: the value counts only when checked */
    double min, max;
    const char *const *words;
    const char *fallback; /* JSON of the value when nobody sets it; NULL: then it is not reported */
    void (*set) (const KvRow *row, const json_t *value, void *target); /* @value NULL: the box is not checked */
    size_t at;                                                         /* offset in the target */
    double off;                                                        /* value of an unchecked box */
};

/* ---- setters --------------------------------------------------------------------------------------------------------------- */

static void *
place (const KvRow *row, void *target)
{
    return (char *) target + row->at;
}

static double
number_of (const KvRow *row, const json_t *value)
{
    return value ? json_number_value (value) : row->off;
}

static void
set_double (const KvRow *row, const json_t *value, void *target)
{
    *(double *) place (row, target) = number_of (row, value);
}

static void
set_int (const KvRow *row, const json_t *value, void *target)
{
    *(int *) place (row, target) = (int) number_of (row, value);
}

static void
set_int64 (const KvRow *row, const json_t *value, void *target)
{
    *(gint64 *) place (row, target) = (gint64) number_of (row, value);
}

static void
set_uint (const KvRow *row, const json_t *value, void *target)
{
    *(guint *) place (row, target) = (guint) number_of (row, value);
}

static void
set_flag (const KvRow *row, const json_t *value, void *target)
{
    *(gboolean *) place (row, target) = json_is_true (value);
}

static void
set_flag_turned (const KvRow *row, const json_t *value, void *target)
{
    *(gboolean *) place (row, target) = !json_is_true (value);
}

/* 1 on, -1 off; what nobody asked for stays 0, the engine's choice. */
static void
set_three_way (const KvRow *row, const json_t *value, void *target)
{
    *(int *) place (row, target) = json_is_true (value) ? 1 : -1;
}

static void
set_text_lent (const KvRow *row, const json_t *value, void *target)
{
    *(const char **) place (row, target) = json_string_value (value);
}

static void
set_top_k (const KvRow *row, const json_t *value, void *target)
{
    ((ChatRequest *) target)->sampling.top_k = MAX ((int) json_number_value (value), 0);
}

static void
set_seed (const KvRow *row, const json_t *value, void *target)
{
    ChatRequest *request = target;
    double seed = value ? json_number_value (value) : -1;
    request->sampling.has_seed = seed >= 0;
    if (seed >= 0)
        request->sampling.seed = json_is_integer (value) ? (guint64) json_integer_value (value) : (guint64) seed;
}

static void
add_stops (ChatRequest *request, const json_t *stops)
{
    if (json_array_size (stops) == 0)
        return;
    if (!request->stop)
        request->stop = json_array ();
    size_t i;
    json_t *text;
    json_array_foreach (stops, i, text)
        if (json_string_length (text) > 0)
            json_array_append (request->stop, text);
}

static void
set_stops (const KvRow *row, const json_t *value, void *target)
{
    add_stops (target, value);
}

static void
set_overflow (const KvRow *row, const json_t *value, void *target)
{
    const char *word = json_string_value (value);
    for (guint i = 0; row->words[i]; i++)
        if (strcmp (row->words[i], word) == 0)
            ((ChatRequest *) target)->overflow = (ChatOverflow) i;
}

static void
set_thinking (const KvRow *row, const json_t *value, void *target)
{
    ((ChatRequest *) target)->enable_thinking = json_is_true (value);
}

static void
set_mirostat (const KvRow *row, const json_t *value, void *target)
{
    ChatSampling *sampling = &((ChatRequest *) target)->sampling;
    sampling->mirostat = CLAMP (json_peek_int (value, "version", 0), 0, 2);
    sampling->mirostat_eta = json_peek_number (value, "learningRate", sampling->mirostat_eta);
    sampling->mirostat_tau = json_peek_number (value, "targetEntropy", sampling->mirostat_tau);
}

/* [[token, bias or "-inf"]]; what is no such pair is left out. */
static void
set_logit_bias (const KvRow *row, const json_t *value, void *target)
{
    json_t *biases = json_array ();
    size_t i;
    const json_t *pair;
    json_array_foreach (value, i, pair) {
        const json_t *token = json_array_get (pair, 0), *bias = json_array_get (pair, 1);
        if (!json_is_number (token) || (!json_is_number (bias) && g_strcmp0 (json_string_value (bias), "-inf") != 0))
            continue;
        json_array_append_new (biases, json_pack ("[I, f]", (json_int_t) json_number_value (token),
                                                  json_is_number (bias) ? json_number_value (bias) : -100.0));
    }
    ChatSampling *sampling = &((ChatRequest *) target)->sampling;
    json_decref (sampling->logit_bias);
    sampling->logit_bias = biases;
}

static void
set_structured (const KvRow *row, const json_t *value, void *target)
{
    ChatRequest *request = target;
    const char *type = json_peek_string (value, "type"), *grammar = json_peek_string (value, "gbnfGrammar");
    const json_t *schema = json_object_get (value, "jsonSchema");
    if (g_strcmp0 (type, "json") == 0)
        request->json_schema = json_is_object (schema) ? json_incref ((json_t *) schema) : json_object ();
    else if (g_strcmp0 (type, "gbnf") == 0 && grammar)
        request->grammar = g_strdup (grammar);
    else
        return;
    request->enable_thinking = 0; /* the client parses all that comes, thoughts included (sdk.md 7.5) */
}

static void
set_template (const KvRow *row, const json_t *value, void *target)
{
    ChatRequest *request = target;
    g_free (request->chat_template);
    request->chat_template = template_text (value);
    add_stops (request, json_object_get (value, "stopStrings"));
}

static void
set_instance_template (const KvRow *row, const json_t *value, void *target)
{
    ((InstanceConfig *) target)->chat_template =
        json_peek_string (json_object_get (value, "jinjaPromptTemplate"), "template");
}

/* ---- the table (sdk.md 8) ---------------------------------------------------------------------------------------------------- */

#define LIST(...)    ((const char *const[]){ __VA_ARGS__, NULL })
#define SAMPLING(m)  .at = offsetof (ChatRequest, sampling.m)
#define REQUEST(m)   .at = offsetof (ChatRequest, m)
#define INSTANCE(m)  .at = offsetof (InstanceConfig, m)
#define KV_TYPES     .words = LIST ("f32", "f16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
#define ANY_COUNT    .min = 0, .max = G_MAXINT32
#define POSITIVE     .min = 1, .max = G_MAXINT32
#define SHARE_OF_ONE .min = 0, .max = 1
#define NOT_NEGATIVE .min = 0, .max = 1e9
#define BOX          .box = TRUE

/* clang-format off */
static const KvRow rows[] = {
    /* 8.1 llm.load.*, load.* */
    { KV_LLM_LOAD, "llm.load.contextLength", KV_WHOLE, POSITIVE, .fallback = "2048", .set = set_uint,
      INSTANCE (n_ctx) },
    { KV_LLM_LOAD, "llm.load.autoFitMinContextLength", KV_WHOLE, ANY_COUNT, .fallback = "0" },
    { KV_LLM_LOAD, "llm.load.numExperts", KV_WHOLE, ANY_COUNT, .fallback = "0" },
    { KV_LLM_LOAD, "llm.load.seed", KV_WHOLE, BOX, .min = -1, .max = 9e15, .fallback = "-1" },
    { KV_LLM_LOAD, "llm.load.promptTemplate", KV_OBJECT, .set = set_instance_template },
    { KV_LLM_LOAD, "llm.load.offloadKVCacheToGpu", KV_FLAG, .fallback = "true" },
    { KV_LLM_LOAD, "llm.load.numCpuExpertLayersRatio", KV_SHARE, .fallback = "\"off\"" },
    { KV_LLM_LOAD, "llm.load.numParallelSessions", KV_WHOLE, .min = 1, .max = 1023, .fallback = "4", .set = set_uint,
      INSTANCE (parallel) },
    { KV_LLM_LOAD, "llm.load.useUnifiedKvCache", KV_FLAG, .fallback = "true" },
    { KV_LLM_LOAD, "llm.load.llama.autoFit", KV_FLAG, .fallback = "true" },
    { KV_LLM_LOAD, "llm.load.llama.acceleration.offloadRatio", KV_SHARE, .fallback = "\"max\"" },
    { KV_LLM_LOAD, "llm.load.llama.cpuThreadPoolSize", KV_WHOLE, .min = 1, .max = 1024, .fallback = "4",
      .set = set_uint, INSTANCE (threads) },
    { KV_LLM_LOAD, "llm.load.llama.evalBatchSize", KV_WHOLE, POSITIVE, .fallback = "2048", .set = set_uint,
      INSTANCE (n_batch) },
    { KV_LLM_LOAD, "llm.load.llama.physicalBatchSize", KV_WHOLE, POSITIVE, .fallback = "512", .set = set_uint,
      INSTANCE (n_ubatch) },
    { KV_LLM_LOAD, "llm.load.llama.flashAttention", KV_FLAG, .fallback = "false", .set = set_three_way,
      INSTANCE (flash_attention) },
    { KV_LLM_LOAD, "llm.load.llama.contextCheckpoints", KV_WHOLE, ANY_COUNT, .fallback = "32" },
    { KV_LLM_LOAD, "llm.load.llama.reasoningBudgetMessage", KV_TEXT, .fallback = "\"\"" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftMtp", KV_FLAG, .fallback = "false" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftSimple", KV_FLAG, .fallback = "false" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftDflashSidecar", KV_FLAG, .fallback = "false" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftDsparkSidecar", KV_FLAG, .fallback = "false" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftMtpSidecar", KV_FLAG, .fallback = "false" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftModel", KV_TEXT, .fallback = "\"\"" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftMaxTokens", KV_WHOLE, ANY_COUNT, .fallback = "3" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftMinTokens", KV_WHOLE, ANY_COUNT, .fallback = "0" },
    { KV_LLM_LOAD, "llm.load.llama.speculativeDecoding.draftMinContinueProbability", KV_NUMBER, SHARE_OF_ONE,
      .fallback = "0" },
    { KV_LLM_LOAD, "llm.load.llama.ropeFrequencyBase", KV_NUMBER, BOX, NOT_NEGATIVE, .fallback = "0", .set = set_double,
      INSTANCE (rope_freq_base) },
    { KV_LLM_LOAD, "llm.load.llama.ropeFrequencyScale", KV_NUMBER, BOX, NOT_NEGATIVE, .fallback = "0",
      .set = set_double, INSTANCE (rope_freq_scale) },
    { KV_LLM_LOAD, "llm.load.llama.keepModelInMemory", KV_FLAG, .fallback = "true", .set = set_flag, INSTANCE (mlock) },
    { KV_LLM_LOAD, "llm.load.llama.useFp16ForKVCache", KV_FLAG, .fallback = "true" },
    { KV_LLM_LOAD, "llm.load.llama.tryMmap", KV_FLAG, .fallback = "true", .set = set_flag_turned, INSTANCE (no_mmap) },
    { KV_LLM_LOAD, "llm.load.llama.tryDirectIO", KV_FLAG, .fallback = "false" },
    { KV_LLM_LOAD, "llm.load.llama.kCacheQuantizationType", KV_WORD, BOX, KV_TYPES, .fallback = "\"f16\"",
      .set = set_text_lent, INSTANCE (type_k) },
    { KV_LLM_LOAD, "llm.load.llama.vCacheQuantizationType", KV_WORD, BOX, KV_TYPES, .fallback = "\"f16\"",
      .set = set_text_lent, INSTANCE (type_v) },
    { KV_LLM_LOAD, "load.gpuSplitConfig", KV_OBJECT,
      .fallback = "{\"strategy\":\"evenly\",\"disabledGpus\":[],\"priority\":[],\"customRatio\":[]}" },
    { KV_LLM_LOAD, "load.gpuStrictVramCap", KV_FLAG, .fallback = "false" },

    /* 8.2 embedding.load.* */
    { KV_EMBEDDING_LOAD, "embedding.load.contextLength", KV_WHOLE, POSITIVE, .fallback = "2048", .set = set_uint,
      INSTANCE (n_ctx) },
    { KV_EMBEDDING_LOAD, "embedding.load.seed", KV_WHOLE, BOX, .min = -1, .max = 9e15, .fallback = "-1" },
    { KV_EMBEDDING_LOAD, "embedding.load.llama.acceleration.offloadRatio", KV_SHARE, .fallback = "\"max\"" },
    { KV_EMBEDDING_LOAD, "embedding.load.llama.evalBatchSize", KV_WHOLE, POSITIVE, .fallback = "2048", .set = set_uint,
      INSTANCE (n_batch) },
    { KV_EMBEDDING_LOAD, "embedding.load.llama.ropeFrequencyBase", KV_NUMBER, BOX, NOT_NEGATIVE, .fallback = "0",
      .set = set_double, INSTANCE (rope_freq_base) },
    { KV_EMBEDDING_LOAD, "embedding.load.llama.ropeFrequencyScale", KV_NUMBER, BOX, NOT_NEGATIVE, .fallback = "0",
      .set = set_double, INSTANCE (rope_freq_scale) },
    { KV_EMBEDDING_LOAD, "embedding.load.llama.keepModelInMemory", KV_FLAG, .fallback = "true", .set = set_flag,
      INSTANCE (mlock) },
    { KV_EMBEDDING_LOAD, "embedding.load.llama.tryMmap", KV_FLAG, .fallback = "true", .set = set_flag_turned,
      INSTANCE (no_mmap) },

    /* 8.3 llm.prediction.* */
    { KV_PREDICTION, PREDICTION "temperature", KV_NUMBER, .min = 0, .max = 1e6, .fallback = "0.8", .set = set_double,
      SAMPLING (temperature) },
    { KV_PREDICTION, PREDICTION "contextOverflowPolicy", KV_WORD,
      .words = LIST ("stopAtLimit", "truncateMiddle", "rollingWindow"), .fallback = "\"truncateMiddle\"", .set = set_overflow },
    { KV_PREDICTION, PREDICTION "maxPredictedTokens", KV_WHOLE, BOX, .min = 1, .max = 9e15, .fallback = "1000",
      .set = set_int64, REQUEST (max_tokens), .off = -1 },
    { KV_PREDICTION, PREDICTION "stopStrings", KV_TEXTS, .fallback = "[]", .set = set_stops },
    { KV_PREDICTION, PREDICTION "toolCallStopStrings", KV_TEXTS, .fallback = "[]" },
    { KV_PREDICTION, PREDICTION "structured", KV_OBJECT, .fallback = "{\"type\":\"none\"}", .set = set_structured },
    { KV_PREDICTION, PREDICTION "tools", KV_OBJECT, .fallback = "{\"type\":\"none\"}" },
    { KV_PREDICTION, PREDICTION "toolChoice", KV_OBJECT, .fallback = "{\"type\":\"generic\",\"mode\":\"auto\"}" },
    { KV_PREDICTION, PREDICTION "toolNaming", KV_WORD, .words = LIST ("passThrough", "removeSpecial", "snakeCase", "camelCase"),
      .fallback = "\"removeSpecial\"" },
    { KV_PREDICTION, PREDICTION "promptTemplate", KV_OBJECT, .set = set_template },
    { KV_PREDICTION, PREDICTION "systemPrompt", KV_TEXT, .fallback = "\"\"" },
    { KV_PREDICTION, PREDICTION "seed", KV_WHOLE, BOX, .min = -1, .max = 9.3e18, .fallback = "-1", .set = set_seed },
    { KV_PREDICTION, PREDICTION "topKSampling", KV_WHOLE, .min = -1, .max = 500, .fallback = "40", .set = set_top_k },
    { KV_PREDICTION, PREDICTION "repeatPenalty", KV_NUMBER, BOX, .min = 0, .max = 1e6, .fallback = "1.1",
      .set = set_double, SAMPLING (repeat_penalty), .off = 1 },
    { KV_PREDICTION, PREDICTION "minPSampling", KV_NUMBER, BOX, SHARE_OF_ONE, .fallback = "0.05", .set = set_double,
      SAMPLING (min_p), .off = 0 },
    { KV_PREDICTION, PREDICTION "topPSampling", KV_NUMBER, BOX, SHARE_OF_ONE, .fallback = "0.95", .set = set_double,
      SAMPLING (top_p), .off = 1 },
    { KV_PREDICTION, PREDICTION "logProbs", KV_WHOLE, BOX, .min = 0, .max = 100, .fallback = "0", .set = set_int,
      REQUEST (n_logprobs), .off = -1 },
    { KV_PREDICTION, PREDICTION "reasoning.enableThinking", KV_FLAG, .fallback = "true", .set = set_thinking },
    { KV_PREDICTION, PREDICTION "reasoning.budgetTokens", KV_WHOLE, BOX, ANY_COUNT, .fallback = "1024", .set = set_int,
      REQUEST (reasoning_budget), .off = -1 },
    { KV_PREDICTION, PREDICTION "reasoning.parsing", KV_OBJECT,
      .fallback = "{\"enabled\":true,\"startString\":\"<think>\",\"endString\":\"</think>\"}" },
    { KV_PREDICTION, PREDICTION "vision.userMaxImageDimensionPixels", KV_WHOLE, BOX, POSITIVE, .fallback = "1024" },
    { KV_PREDICTION, PREDICTION "vision.ignoreModelPreferredMaxImageDimension", KV_FLAG, .fallback = "false" },
    { KV_PREDICTION, PREDICTION "speculativeDecoding.draftModel", KV_TEXT, .fallback = "\"\"" },
    { KV_PREDICTION, PREDICTION "speculativeDecoding.minDraftLengthToConsider", KV_WHOLE, ANY_COUNT, .fallback = "0" },
    { KV_PREDICTION, PREDICTION "speculativeDecoding.numReuseTokens", KV_WHOLE, POSITIVE, .fallback = "256" },
    { KV_PREDICTION, PREDICTION "speculativeDecoding.minContinueDraftingProbability", KV_NUMBER, SHARE_OF_ONE,
      .fallback = "0.75" },
    { KV_PREDICTION, PREDICTION "speculativeDecoding.maxTokensToDraft", KV_WHOLE, POSITIVE, .fallback = "16" },
    { KV_PREDICTION, PREDICTION "speculativeDecoding.numDraftTokensExact", KV_WHOLE, POSITIVE, .fallback = "2" },
    { KV_PREDICTION, PREDICTION "llama.cpuThreads", KV_WHOLE, POSITIVE, .fallback = "4" },
    { KV_PREDICTION, PREDICTION "llama.frequencyPenalty", KV_NUMBER, BOX, .min = -1e6, .max = 1e6, .fallback = "0",
      .set = set_double, SAMPLING (frequency_penalty) },
    { KV_PREDICTION, PREDICTION "llama.presencePenalty", KV_NUMBER, BOX, .min = -1e6, .max = 1e6, .fallback = "0",
      .set = set_double, SAMPLING (presence_penalty) },
    { KV_PREDICTION, PREDICTION "llama.xtcProbability", KV_NUMBER, BOX, SHARE_OF_ONE, .fallback = "0.5",
      .set = set_double, SAMPLING (xtc_probability) },
    { KV_PREDICTION, PREDICTION "llama.xtcThreshold", KV_NUMBER, BOX, SHARE_OF_ONE, .fallback = "0.1",
      .set = set_double, SAMPLING (xtc_threshold), .off = 0.1 },
    { KV_PREDICTION, PREDICTION "llama.mirostatSampling", KV_OBJECT,
      .fallback = "{\"version\":0,\"learningRate\":0.1,\"targetEntropy\":5}", .set = set_mirostat },
    { KV_PREDICTION, PREDICTION "llama.locallyTypicalSampling", KV_NUMBER, BOX, SHARE_OF_ONE, .fallback = "0.9",
      .set = set_double, SAMPLING (typical_p), .off = 1 },
    { KV_PREDICTION, PREDICTION "llama.logitBias", KV_LIST, .fallback = "[]", .set = set_logit_bias },
};

/* clang-format on */

/* Boxes that are checked when nobody says otherwise. */
static gboolean
is_checked_by_default (const KvRow *row)
{
    static const char *const checked[] = { PREDICTION "repeatPenalty", PREDICTION "minPSampling",
                                           PREDICTION "topPSampling", PREDICTION "vision.userMaxImageDimensionPixels" };
    for (guint i = 0; i < G_N_ELEMENTS (checked); i++)
        if (strcmp (checked[i], row->key) == 0)
            return TRUE;
    return FALSE;
}

KvDomain
kv_load_domain (ModelType type)
{
    return type == MODEL_EMBEDDING ? KV_EMBEDDING_LOAD : KV_LLM_LOAD;
}

json_t *
kv_merge (const json_t *stack)
{
    json_t *merged = json_object ();
    size_t i, j;
    const json_t *layer, *field;
    json_array_foreach (json_object_get (stack, "layers"), i, layer)
        json_array_foreach (json_object_get (json_object_get (layer, "config"), "fields"), j, field) {
            json_t *value = json_object_get (field, "value");
            if (value && !json_is_null (value)) /* a field without a value says nothing */
                json_object_set (merged, json_peek_string (field, "key"), value);
        }
    return merged;
}

/* ---- checking --------------------------------------------------------------------------------------------------------------- */

static char *
complain_number (const KvRow *row, const json_t *value)
{
    const char *noun = row->type == KV_WHOLE ? "a whole number" : "a number";
    double number = json_number_value (value);
    if (!json_is_number (value) || (row->type == KV_WHOLE && trunc (number) != number))
        return g_strdup_printf ("%s must be %s", row->key, noun);
    if ((row->min != 0 || row->max != 0) && !(number >= row->min && number <= row->max))
        return g_strdup_printf ("%s must be %s from %.15g to %.15g", row->key, noun, row->min, row->max);
    return NULL;
}

static char *
complain_word (const KvRow *row, const json_t *value)
{
    for (const char *const *word = row->words; json_is_string (value) && *word; word++)
        if (strcmp (*word, json_string_value (value)) == 0)
            return NULL;
    g_autofree char *words = g_strjoinv (", ", (char **) row->words);
    return g_strdup_printf ("%s must be one of %s", row->key, words);
}

static gboolean
are_texts (const json_t *value)
{
    size_t i;
    const json_t *text;
    json_array_foreach (value, i, text)
        if (!json_is_string (text))
            return FALSE;
    return json_is_array (value);
}

static char *
complain_plain (const KvRow *row, const json_t *value)
{
    switch (row->type) {
    case KV_NUMBER:
    case KV_WHOLE:
        return complain_number (row, value);
    case KV_FLAG:
        return json_is_boolean (value) ? NULL : g_strdup_printf ("%s must be true or false", row->key);
    case KV_TEXT:
        return json_is_string (value) ? NULL : g_strdup_printf ("%s must be a string", row->key);
    case KV_WORD:
        return complain_word (row, value);
    case KV_SHARE: {
        const char *word = json_string_value (value);
        double share = json_number_value (value);
        if (g_strcmp0 (word, "max") == 0 || g_strcmp0 (word, "off") == 0 ||
            (json_is_number (value) && share >= 0 && share <= 1))
            return NULL;
        return g_strdup_printf ("%s must be a number from 0 to 1, \"max\" or \"off\"", row->key);
    }
    case KV_TEXTS:
        return are_texts (value) ? NULL : g_strdup_printf ("%s must be an array of strings", row->key);
    case KV_LIST:
        return json_is_array (value) ? NULL : g_strdup_printf ("%s must be an array", row->key);
    case KV_OBJECT:
        return json_is_object (value) ? NULL : g_strdup_printf ("%s must be an object", row->key);
    }
    g_assert_not_reached ();
}

static char *
complain_row (const KvRow *row, const json_t *value)
{
    if (!row->box)
        return complain_plain (row, value);
    const json_t *checked = json_object_get (value, "checked");
    if (!json_is_boolean (checked))
        return g_strdup_printf ("%s must be an object with \"checked\" and \"value\"", row->key);
    return json_is_true (checked) ? complain_plain (row, json_object_get (value, "value")) : NULL;
}

char *
kv_complain (KvDomain domain, const json_t *merged)
{
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        const json_t *value = rows[i].domain == domain ? json_object_get (merged, rows[i].key) : NULL;
        char *complaint = value ? complain_row (&rows[i], value) : NULL;
        if (complaint)
            return complaint;
    }
    return NULL;
}

/* ---- applying --------------------------------------------------------------------------------------------------------------- */

static void
apply (KvDomain domain, const json_t *merged, void *target)
{
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        const KvRow *row = &rows[i];
        const json_t *value = row->domain == domain && row->set ? json_object_get (merged, row->key) : NULL;
        if (!value)
            continue;
        if (row->box)
            value = json_peek_bool (value, "checked", FALSE) ? json_object_get (value, "value") : NULL;
        row->set (row, value, target);
    }
}

void
kv_to_request (const json_t *merged, ChatRequest *request)
{
    apply (KV_PREDICTION, merged, request);
}

void
kv_to_instance (KvDomain domain, const json_t *merged, InstanceConfig *config)
{
    apply (domain, merged, config);
}

/* ---- telling ---------------------------------------------------------------------------------------------------------------- */

static void
append_field (json_t *fields, const char *key, json_t *value)
{
    json_array_append_new (fields, json_pack ("{s:s, s:o}", "key", key, "value", value));
}

json_t *
kv_fields (KvDomain domain, const json_t *merged)
{
    json_t *fields = json_array ();
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        json_t *value = rows[i].domain == domain ? json_object_get (merged, rows[i].key) : NULL;
        if (value)
            append_field (fields, rows[i].key, json_incref (value));
    }
    return fields;
}

static json_t *
fallback_of (const KvRow *row)
{
    if (!row->fallback)
        return NULL;
    json_t *value = json_loads (row->fallback, JSON_DECODE_ANY, NULL);
    g_assert (value);
    return row->box ? json_pack ("{s:b, s:o}", "checked", is_checked_by_default (row), "value", value) : value;
}

json_t *
kv_effective (KvDomain domain, const json_t *merged)
{
    json_t *fields = json_array ();
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
        if (rows[i].domain != domain)
            continue;
        json_t *value = json_incref (json_object_get (merged, rows[i].key));
        if (!value)
            value = fallback_of (&rows[i]);
        if (value)
            append_field (fields, rows[i].key, value);
    }
    return json_pack ("{s:o}", "fields", fields);
}

json_t *
kv_of_instance (const Instance *instance)
{
    KvDomain domain = kv_load_domain (instance->model->type);
    g_autoptr (json_t) merged = json_object ();
    size_t i;
    const json_t *field;
    json_array_foreach (instance->load_fields, i, field) {
        const char *key = json_peek_string (field, "key");
        json_t *value = json_object_get (field, "value");
        if (key && value)
            json_object_set (merged, key, value);
    }
    /* What was asked for is one thing, what the engine could do another: these two it told us. */
    if (domain == KV_EMBEDDING_LOAD) {
        json_object_set_new (merged, "embedding.load.contextLength", json_integer (instance->n_ctx));
    } else {
        json_object_set_new (merged, "llm.load.contextLength", json_integer (instance->n_ctx));
        json_object_set_new (merged, "llm.load.numParallelSessions", json_integer (instance->parallel));
    }
    return kv_effective (domain, merged);
}

const json_t *
kv_prediction (const json_t *merged, const char *short_key)
{
    g_autofree char *key = g_strconcat (PREDICTION, short_key, NULL);
    return json_object_get (merged, key);
}
