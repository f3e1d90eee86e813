/* lms load: bring a model to work, or say what it would take (spec: cli.md 4). */
#include "cli/commands.h"

#include "cli/choose.h"
#include "cli/format.h"
#include "cli/loaded.h"
#include "cli/loading.h"
#include "cli/prefs.h"
#include "cli/terminal.h"

#include <string.h>
#include <unistd.h>

/* ---- the flags for drafting --------------------------------------------------------------------------------------------- */

static gboolean
has_tuning (const Args *args)
{
    return args_has (args, "speculative-draft-max-tokens") || args_has (args, "speculative-draft-min-tokens") ||
           args_has (args, "speculative-draft-min-continue-probability");
}

static gboolean
has_drafting (const Args *args)
{
    return args_has (args, "speculative-draft-mtp") || args_has (args, "no-speculative-draft-mtp") ||
           args_has (args, "speculative-draft-simple") || args_has (args, "speculative-draft-model") ||
           has_tuning (args);
}

/* The first rule that the flags break, or NULL. */
static const char *
check_drafting (const Args *args)
{
    gboolean mtp = args_has (args, "speculative-draft-mtp"), simple = args_has (args, "speculative-draft-simple");
    const char *model = args_text (args, "speculative-draft-model");
    if (mtp && simple)
        return "--speculative-draft-mtp and --speculative-draft-simple cannot both be used.";
    if (model && !*model)
        return "--speculative-draft-model must not be empty.";
    if (mtp && model)
        return "--speculative-draft-mtp cannot be combined with --speculative-draft-model.";
    if (model && !simple)
        return "--speculative-draft-model requires --speculative-draft-simple.";
    if (simple && !model)
        return "--speculative-draft-simple requires --speculative-draft-model.";
    if (has_tuning (args) && !simple && !mtp)
        return "--speculative draft tuning flags require --speculative-draft-simple or --speculative-draft-mtp.";
    if (args_has (args, "speculative-draft-max-tokens") &&
        args_number (args, "speculative-draft-min-tokens", 0) > args_number (args, "speculative-draft-max-tokens", 0))
        return "--speculative-draft-min-tokens must be less than or equal to --speculative-draft-max-tokens.";
    return NULL;
}

/* ---- the load configuration --------------------------------------------------------------------------------------------- */

#define DRAFT_PREFIX "llm.load.llama.speculativeDecoding."

static void
add_field (json_t *fields, const char *key, json_t *value)
{
    json_array_append_new (fields, json_pack ("{s:s, s:o}", "key", key, "value", value));
}

/* Numbers without fraction go out as integers (sdk.md 11.6). */
static json_t *
number (double value)
{
    return value == (double) (json_int_t) value ? json_integer ((json_int_t) value) : json_real (value);
}

static void
add_drafting (json_t *fields, const Args *args)
{
    gboolean mtp = args_has (args, "speculative-draft-mtp"), simple = args_has (args, "speculative-draft-simple");
    if (mtp || simple || args_has (args, "no-speculative-draft-mtp"))
        add_field (fields, DRAFT_PREFIX "draftMtp", json_boolean (mtp));
    if (simple) {
        add_field (fields, DRAFT_PREFIX "draftSimple", json_true ());
        add_field (fields, DRAFT_PREFIX "draftModel", json_string (args_text (args, "speculative-draft-model")));
    }
    static const struct {
        const char *flag, *key;
    } tuning[] = {
        { "speculative-draft-max-tokens", DRAFT_PREFIX "draftMaxTokens" },
        { "speculative-draft-min-tokens", DRAFT_PREFIX "draftMinTokens" },
        { "speculative-draft-min-continue-probability", DRAFT_PREFIX "draftMinContinueProbability" },
    };
    for (guint i = 0; i < G_N_ELEMENTS (tuning); i++)
        if (args_has (args, tuning[i].flag))
            add_field (fields, tuning[i].key, number (args_number (args, tuning[i].flag, 0)));
}

/* The flags as the one layer that clients send (sdk.md 5, 8.1). */
static json_t *
load_config (const Args *args, const json_t *model)
{
    json_t *fields = json_array ();
    gboolean llm = strcmp (loaded_namespace (model), "llm") == 0;
    double context = args_number (args, "context-length", 0), gpu = args_number (args, "gpu", -1);
    static const char *const fitting[] = { "llm.load.llama.autoFit", "llm.load.mlx.autoFit", "llm.load.yuzu.autoFit" };
    for (guint i = 0; llm && (context > 0 || gpu >= 0) && i < G_N_ELEMENTS (fitting); i++)
        add_field (fields, fitting[i], json_false ()); /* the user has decided */
    if (context > 0)
        add_field (fields, llm ? "llm.load.contextLength" : "embedding.load.contextLength", number (context));
    if (gpu >= 0)
        add_field (fields,
                   llm ? "llm.load.llama.acceleration.offloadRatio" : "embedding.load.llama.acceleration.offloadRatio",
                   number (gpu));
    if (llm && args_has (args, "parallel"))
        add_field (fields, "llm.load.numParallelSessions", number (args_number (args, "parallel", 0)));
    if (llm)
        add_drafting (fields, args);
    return json_pack ("{s:[{s:s, s:{s:o}}]}", "layers", "layerName", "apiOverride", "config", "fields", fields);
}

static json_t *
load_parameter (const Args *args, const json_t *model)
{
    json_t *parameter = json_pack ("{s:s, s:o}", "modelKey", json_peek_string (model, "modelKey"), "loadConfigStack",
                                   load_config (args, model));
    const char *device = json_peek_string (model, "deviceIdentifier");
    if (device)
        json_object_set_new (parameter, "deviceIdentifier", json_string (device));
    return parameter;
}

/* ---- estimate ----------------------------------------------------------------------------------------------------------- */

static void
print_estimate_json (const Args *args, const json_t *model, json_t *usage)
{
    double context = args_number (args, "context-length", 0), gpu = args_number (args, "gpu", -1);
    g_autoptr (json_t) out = json_pack (
        "{s:s, s:o, s:o, s:O, s:O}", "modelKey", json_peek_string (model, "modelKey"), "contextLength",
        context > 0 ? number (context) : json_null (), "gpuRatio", gpu >= 0 ? number (gpu) : json_null (),
        "passesGuardrails", json_object_get (usage, "passesGuardrails"), "memory", json_object_get (usage, "memory"));
    g_autofree char *text = json_print (out, NULL);
    print_outf ("%s\n", text);
}

static void
say_estimate (const Args *args, const json_t *model, const json_t *usage)
{
    const json_t *memory = json_object_get (usage, "memory");
    double context = args_number (args, "context-length", 0), gpu = args_number (args, "gpu", -1);
    g_autoptr (GString) text = g_string_new (NULL);
    g_string_append_printf (text, "Model: %s\n", json_peek_string (model, "modelKey"));
    if (context > 0) {
        g_autofree char *tokens = format_thousands ((guint64) context);
        g_string_append_printf (text, "Context Length: %s\n", tokens);
    }
    if (gpu >= 0)
        g_string_append_printf (text, "GPU Offload: %.0f%%\n", gpu * 100);
    g_autofree char *vram = format_memory ((guint64) json_peek_number (memory, "totalVramBytes", 0));
    g_autofree char *total = format_memory ((guint64) json_peek_number (memory, "totalBytes", 0));
    g_string_append_printf (text, "Estimated GPU Memory:   %s\nEstimated Total Memory: %s\n", vram, total);
    if (g_strcmp0 (json_peek_string (memory, "confidence"), "low") == 0)
        g_string_append (text, "Confidence: LOW\n");
    gboolean passes = json_peek_bool (usage, "passesGuardrails", FALSE);
    g_autofree char *verdict =
        style_text (STDERR_FILENO, passes ? STYLE_GREEN : STYLE_YELLOW,
                    passes ? "Estimate: This model may be loaded based on your resource guardrails settings."
                           : "Estimate: This model will fail to load based on your resource guardrails settings.");
    say_info ("%s\n%s", text->str, verdict);
}

static int
estimate (const Args *args, Client *client, const json_t *model)
{
    g_autoptr (GError) error = NULL;
    json_t *usage =
        client_ask (client, loaded_namespace (model), "estimateModelUsage", load_parameter (args, model), &error);
    if (!usage)
        return say_failure (error);
    if (args_has (args, "json"))
        print_estimate_json (args, model, usage);
    else
        say_estimate (args, model, usage);
    return 0;
}

/* ---- load --------------------------------------------------------------------------------------------------------------- */

static int
load (const Args *args, Client *client, const json_t *model, const json_t *link_status)
{
    json_t *parameter = load_parameter (args, model);
    if (args_has (args, "identifier"))
        json_object_set_new (parameter, "identifier", json_string (args_text (args, "identifier")));
    if (args_has (args, "ttl"))
        json_object_set_new (parameter, "ttlMs", number (args_number (args, "ttl", 0) * 1000));
    gboolean remote = json_is_string (json_object_get (model, "deviceIdentifier"));
    g_autofree char *label = g_strdup_printf ("%s%s%s", json_peek_string (model, "modelKey"), remote ? " on " : "",
                                              remote ? loaded_device (model, link_status) : "");

    gint64 begin = g_get_monotonic_time ();
    g_autoptr (GError) error = NULL;
    g_autoptr (json_t) info = NULL;
    switch (loading_run (client, loaded_namespace (model), "loadModel", parameter, label, &info, &error)) {
    case LOADING_CANCELLED:
        say_warn ("Load cancelled.");
        return 1;
    case LOADING_FAILED:
        return say_failure (error);
    case LOADING_DONE:
        break;
    }
    g_autofree char *time = format_elapsed ((double) (g_get_monotonic_time () - begin) / G_USEC_PER_SEC);
    g_autofree char *size = format_memory ((guint64) json_peek_int (info, "sizeBytes", 0));
    say_info ("Model loaded successfully in %s.\n(%s)\nTo use the model in the API/SDK, use the identifier \"%s\".",
              time, size, json_peek_string (info, "identifier"));
    return 0;
}

int
cmd_load (const Args *args)
{
    const char *wrong = check_drafting (args);
    if (wrong) {
        say_error ("%s", wrong);
        return 1;
    }
    gboolean exact = args_has (args, "exact");
    if (exact && !args_word (args, 0)) {
        say_titled_error ("Path not provided", "The parameter [path] is required when using the --exact flag.");
        return 1;
    }
    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new (args, DAEMON_WAKE, "system", &error);
    if (!client)
        return say_failure (error);
    json_t *list = client_ask (client, "system", "listDownloadedModels", NULL, &error);
    if (!list)
        return say_failure (error);
    const json_t *link_status = loaded_link_status (client, list);
    g_auto (GStrv) last = prefs_last_models ();
    g_autoptr (GPtrArray) candidates = choose_candidates (list, (const char *const *) last, args_has (args, "local"));
    gboolean estimating = args_has (args, "estimate-only");
    json_t *model = exact ? choose_exact (candidates, args_word (args, 0))
                          : choose_model (candidates, args_word (args, 0), args_has (args, "yes"),
                                          estimating ? "estimate" : "load", link_status);
    if (!model)
        return 1;
    if (strcmp (loaded_namespace (model), "embedding") == 0 && has_drafting (args)) {
        say_titled_error ("Unsupported load option", "Speculative decoding can only be configured for LLM models.");
        return 1;
    }
    if (estimating)
        return estimate (args, client, model);
    if (!exact)
        prefs_touch_model (json_peek_string (model, "modelKey"));
    return load (args, client, model, link_status);
}
