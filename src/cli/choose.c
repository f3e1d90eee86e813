/* choose.c: from letters to a model. */
#include "cli/choose.h"

#include "cli/format.h"
#include "cli/fuzzy.h"
#include "cli/loaded.h"
#include "cli/prompt.h"
#include "cli/terminal.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const char *
key_of (const json_t *model)
{
    const char *key = json_peek_string (model, "modelKey");
    return key ? key : "";
}

GPtrArray *
choose_candidates (json_t *list, const char *const *last_loaded, gboolean only_local)
{
    g_autoptr (GPtrArray) rest = g_ptr_array_new ();
    size_t i;
    json_t *model;
    json_array_foreach (list, i, model) {
        const char *architecture = json_peek_string (model, "architecture");
        gboolean remote = json_is_string (json_object_get (model, "deviceIdentifier"));
        if (!(architecture && strstr (architecture, "clip")) && !(only_local && remote))
            g_ptr_array_add (rest, model);
    }
    GPtrArray *ordered = g_ptr_array_new ();
    for (; *last_loaded; last_loaded++)
        for (guint j = 0; j < rest->len;)
            if (strcmp (key_of (g_ptr_array_index (rest, j)), *last_loaded) == 0)
                g_ptr_array_add (ordered, g_ptr_array_steal_index (rest, j));
            else
                j++;
    g_ptr_array_extend (ordered, rest, NULL, NULL);
    return ordered;
}

/* Of models with one key, the one on the preferred device, else here, else the first. */
static void
keep_one_device (GPtrArray *models, const char *preferred)
{
    guint best = 0;
    for (guint i = models->len; i > 0; i--) {
        const char *device = json_peek_string (g_ptr_array_index (models, i - 1), "deviceIdentifier");
        if (!device)
            best = i - 1;
    }
    for (guint i = 0; preferred && i < models->len; i++)
        if (g_strcmp0 (json_peek_string (g_ptr_array_index (models, i), "deviceIdentifier"), preferred) == 0)
            best = i;
    gpointer model = g_ptr_array_index (models, best);
    g_ptr_array_set_size (models, 0);
    g_ptr_array_add (models, model);
}

ChoiceKind
choose_match (GPtrArray *candidates, const char *pattern, const char *preferred_device, GPtrArray **matches)
{
    g_autofree const char **keys = g_new0 (const char *, candidates->len + 1);
    for (guint i = 0; i < candidates->len; i++)
        keys[i] = key_of (g_ptr_array_index (candidates, i));
    g_autoptr (GArray) order = fuzzy_rank (pattern, keys, candidates->len);
    *matches = g_ptr_array_new ();
    gboolean same_key = TRUE;
    for (guint i = 0; i < order->len; i++) {
        gpointer model = g_ptr_array_index (candidates, g_array_index (order, guint, i));
        if (i && isinf (fuzzy_score (pattern, key_of (g_ptr_array_index (*matches, 0)))) &&
            strcmp (key_of (model), pattern) != 0)
            break; /* an exact key settles it */
        g_ptr_array_add (*matches, model);
        same_key = same_key && strcmp (key_of (model), key_of (g_ptr_array_index (*matches, 0))) == 0;
    }
    if (!(*matches)->len)
        return CHOICE_NONE;
    if (same_key)
        keep_one_device (*matches, preferred_device);
    return (*matches)->len == 1 ? CHOICE_ONE : CHOICE_SEVERAL;
}

json_t *
choose_from_list (GPtrArray *models, const char *question, guint reserved, const char *typed, const json_t *link_status)
{
    g_autoptr (GPtrArray) notes = g_ptr_array_new_with_free_func (g_free);
    g_autofree PromptRow *rows = g_new0 (PromptRow, models->len + 1);
    for (guint i = 0; i < models->len; i++) {
        const json_t *model = g_ptr_array_index (models, i);
        const char *device = loaded_device (model, link_status);
        gboolean remote = json_is_string (json_object_get (model, "deviceIdentifier"));
        g_autofree char *size = format_memory ((guint64) json_peek_int (model, "sizeBytes", 0));
        char *note = g_strdup_printf (" (%s)%s%s", size, remote ? " · " : "", remote ? device : "");
        g_ptr_array_add (notes, note);
        rows[i] = (PromptRow){ key_of (model), note };
    }
    int chosen = prompt_search (question, rows, models->len, reserved, typed);
    return chosen < 0 ? NULL : g_ptr_array_index (models, chosen);
}

static json_t *
pick (GPtrArray *models, const char *verb, const char *typed, const json_t *link_status)
{
    g_autofree char *question = g_strdup_printf ("Select a model to %s |", verb);
    return choose_from_list (models, question, typed ? 5 : 4, typed, link_status);
}

static json_t *
not_found (GPtrArray *candidates, const char *pattern, gboolean yes, const char *verb, const json_t *link_status)
{
    if (yes || !terminal_is (STDIN_FILENO)) {
        say_titled_error (
            "Model not found",
            "No model found that matches model key \"%s\".\n\nTo see a list of all downloaded models, run:\n\n"
            "    lms ls\n\nTo select a model interactively, run:\n\n    lms load",
            pattern);
        return NULL;
    }
    if (!prompt_possible ("Pass the exact key of a model"))
        return NULL;
    g_autofree char *text = g_strdup_printf (
        "! Cannot find a model matching the provided model key (%s). Please select one from the list below.", pattern);
    g_autofree char *red = style_text (STDERR_FILENO, STYLE_RED, text);
    say_info ("%s", red);
    return pick (candidates, verb, NULL, link_status);
}

json_t *
choose_model (GPtrArray *candidates, const char *pattern, gboolean yes, const char *verb, const json_t *link_status)
{
    if (!candidates->len) {
        say_titled_error ("No models", "You have not downloaded any models yet.");
        return NULL;
    }
    if (!pattern) {
        if (yes)
            return g_ptr_array_index (candidates, 0);
        return prompt_possible ("Pass a model key, or --yes") ? pick (candidates, verb, NULL, link_status) : NULL;
    }
    g_autoptr (GPtrArray) matches = NULL;
    switch (choose_match (candidates, pattern, json_peek_string (link_status, "preferredDeviceIdentifier"), &matches)) {
    case CHOICE_NONE:
        return not_found (candidates, pattern, yes, verb, link_status);
    case CHOICE_ONE:
        return g_ptr_array_index (matches, 0);
    case CHOICE_SEVERAL:
        break;
    }
    if (yes) {
        say_warn ("%u models match the provided model key on the same device. Loading the first one.", matches->len);
        return g_ptr_array_index (matches, 0);
    }
    if (!prompt_possible ("Pass the exact key of a model, or --yes"))
        return NULL;
    say_info ("! Multiple models match the provided model key. Please select one.");
    return pick (candidates, verb, pattern, link_status);
}

json_t *
choose_exact (GPtrArray *candidates, const char *path)
{
    const char *shortest = NULL;
    for (guint i = 0; i < candidates->len; i++) {
        json_t *model = g_ptr_array_index (candidates, i);
        const char *candidate = json_peek_string (model, "path");
        if (g_strcmp0 (candidate, path) == 0 || strcmp (key_of (model), path) == 0)
            return model;
        if (candidate && (!shortest || strlen (candidate) < strlen (shortest)))
            shortest = candidate;
    }
    say_titled_error (
        "Model not found",
        "Cannot find a model with path \"%s\".\n\nTo see a list of all downloaded models, run:\n\n    lms ls --json\n\n"
        "The path looks like this:\n\n    lms load --exact %s",
        path, shortest ? shortest : "publisher/repository/file.gguf");
    return NULL;
}
