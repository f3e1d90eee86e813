/* sdkerror.c: words for the daemon's errors. */
#include "cli/sdkerror.h"

#include "cli/terminal.h"

#include <string.h>

G_DEFINE_QUARK (sdk - error - quark, sdk_error)

/* Appends "Here are ...:" with the names of @list, and how many more there are. */
static void
append_sample (GString *out, const json_t *data, const char *list, const char *total, const char *intro,
               const char *none)
{
    const json_t *names = json_object_get (data, list);
    gint64 n = json_peek_int (data, total, (gint64) json_array_size (names));
    if (!json_array_size (names)) {
        g_string_append_printf (out, "\n\n%s", none);
        return;
    }
    g_string_append_printf (out, "\n\n%s", intro);
    size_t i;
    const json_t *name;
    json_array_foreach ((json_t *) names, i, name) {
        const char *text = json_is_string (name) ? json_string_value (name) : json_peek_string (name, "identifier");
        if (text)
            g_string_append_printf (out, "\n  - %s", text);
    }
    if (n > (gint64) json_array_size (names))
        g_string_append_printf (out, "\n  ... and %" G_GINT64_FORMAT " more", n - (gint64) json_array_size (names));
}

static void
path_not_found (GString *out, const json_t *data)
{
    g_string_append_printf (out, "Cannot find a model with path \"%s\".", json_peek_string (data, "path"));
    append_sample (out, data, "availablePathsSample", "totalModels",
                   "Here are your available models:", "You don't have any models downloaded.");
}

static void
identifier_not_found (GString *out, const json_t *data)
{
    g_string_append_printf (out, "Cannot find a model with the identifier \"%s\".",
                            json_peek_string (data, "identifier"));
    append_sample (out, data, "loadedModelsSample", "totalLoadedModels",
                   "Here are your loaded models:", "You don't have any models loaded.");
}

static void
no_model_matching (GString *out, const json_t *data)
{
    g_autofree char *query = json_print (json_object_get (data, "query"), NULL);
    g_string_append_printf (out, "No loaded model satisfies all requirements specified in the query %s.", query);
    append_sample (out, data, "loadedModelsSample", "totalLoadedModels",
                   "Here are your loaded models:", "You don't have any models loaded.");
}

static void
preset_not_found (GString *out, const json_t *data)
{
    g_string_append_printf (out, "Cannot find a preset with the name \"%s\".",
                            json_peek_string (data, "specifiedFuzzyPresetIdentifier"));
    append_sample (out, data, "availablePresetsSample", "totalAvailablePresets",
                   "Here are your presets:", "You don't have any presets.");
}

static void
model_unloaded (GString *out, const json_t *data)
{
    g_string_append (out, "This model has already been unloaded.");
}

static void
domain_mismatch (GString *out, const json_t *data)
{
    g_string_append_printf (out, "Model \"%s\" is of type %s, but %s is needed.", json_peek_string (data, "path"),
                            json_peek_string (data, "actualDomain"), json_peek_string (data, "expectedDomain"));
}

static const struct {
    const char *code;
    const char *member; /* must be there, or the code counts as unknown; a string but for "query" */
    int kind;
    void (*word) (GString *out, const json_t *data);
} codes[] = {
    { "generic.pathNotFound", "path", SDK_ERROR_NO_MODEL, path_not_found },
    { "generic.identifierNotFound", "identifier", SDK_ERROR_NO_MODEL, identifier_not_found },
    { "generic.noModelMatchingQuery", "query", SDK_ERROR_NO_MODEL, no_model_matching },
    { "generic.presetNotFound", "specifiedFuzzyPresetIdentifier", SDK_ERROR_REMOTE, preset_not_found },
    { "generic.specificModelUnloaded", NULL, SDK_ERROR_NO_MODEL, model_unloaded },
    { "generic.domainMismatch", "path", SDK_ERROR_REMOTE, domain_mismatch },
};

static void
append_block (GString *out, const char *heading, const char *text)
{
    if (!text || !*text)
        return;
    g_autofree char *body = indented (text);
    g_string_append_printf (out, "\n\n%s\n\n%s", heading, body);
}

GError *
sdk_error_new (const json_t *error)
{
    const json_t *data = json_object_get (error, "displayData");
    const char *code = json_peek_string (data, "code");
    g_autoptr (GString) text = g_string_new (NULL);
    int kind = SDK_ERROR_REMOTE;
    for (guint i = 0; code && i < G_N_ELEMENTS (codes); i++) {
        const json_t *member = codes[i].member ? json_object_get (data, codes[i].member) : NULL;
        gboolean whole = !codes[i].member || json_is_string (member) ||
                         (json_is_object (member) && strcmp (codes[i].member, "query") == 0);
        if (strcmp (code, codes[i].code) == 0 && whole) {
            codes[i].word (text, data);
            kind = codes[i].kind;
        }
    }
    if (!text->len) {
        const char *title = json_peek_string (error, "title");
        g_string_append (text, title && *title ? title : "Unknown error");
    }
    append_block (text, "(!) SUGGESTION", json_peek_string (error, "suggestion"));
    append_block (text, "(X) CAUSE", json_peek_string (error, "cause"));
    return g_error_new_literal (SDK_ERROR, kind, text->str);
}
