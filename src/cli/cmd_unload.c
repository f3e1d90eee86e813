/* lms unload: let models go (spec: cli.md 5). */
#include "cli/commands.h"

#include "cli/loaded.h"
#include "cli/prompt.h"
#include "cli/terminal.h"

#include <string.h>
#include <unistd.h>

static gboolean
unload (Client *client, const json_t *info, GError **error)
{
    json_t *parameter = json_pack ("{s:s}", "identifier", json_peek_string (info, "identifier"));
    const char *device = json_peek_string (info, "deviceIdentifier");
    if (device)
        json_object_set_new (parameter, "deviceIdentifier", json_string (device));
    GError *problem = NULL;
    client_ask (client, loaded_namespace (info), "unloadModel", parameter, &problem);
    if (problem)
        return g_propagate_error (error, problem), FALSE;
    return TRUE;
}

static int
unload_all (Client *client, json_t *infos)
{
    gsize n = json_array_size (infos), i;
    if (!n) {
        say_info ("No models to unload.");
        return 0;
    }
    g_autoptr (GError) error = NULL;
    const json_t *link_status = loaded_link_status (client, infos);
    json_t *info;
    json_array_foreach (infos, i, info) {
        gboolean remote = json_is_string (json_object_get (info, "deviceIdentifier"));
        say_info ("Unloading \"%s\"%s%s...", json_peek_string (info, "identifier"), remote ? " on " : "",
                  remote ? loaded_device (info, link_status) : "");
        if (!unload (client, info, &error))
            return say_failure (error);
    }
    say_info (n == 1 ? "Unloaded %zu model." : "Unloaded %zu models.", n);
    return 0;
}

/* A row of the picker for each of @infos: "identifier (path) · device".  The index that was chosen, or -1. */
static int
pick (const char *question, GPtrArray *infos, const json_t *link_status)
{
    g_autoptr (GPtrArray) labels = g_ptr_array_new_with_free_func (g_free);
    g_autofree PromptRow *rows = g_new0 (PromptRow, infos->len);
    for (guint i = 0; i < infos->len; i++) {
        const json_t *info = g_ptr_array_index (infos, i);
        char *tail = g_strdup_printf (" (%s) · %s", json_peek_string (info, "path"), loaded_device (info, link_status));
        g_ptr_array_add (labels, tail);
        rows[i] = (PromptRow){ .text = json_peek_string (info, "identifier"), .note = tail };
    }
    return prompt_search (question, rows, infos->len, 5, NULL);
}

static int
unload_one (Client *client, const json_t *info)
{
    g_autoptr (GError) error = NULL;
    if (!unload (client, info, &error))
        return say_failure (error);
    say_info ("Model \"%s\" unloaded.", json_peek_string (info, "identifier"));
    return 0;
}

static int
unload_named (Client *client, json_t *infos, const char *identifier)
{
    g_autoptr (GPtrArray) matches = g_ptr_array_new ();
    size_t i;
    json_t *info;
    json_array_foreach (infos, i, info)
        if (g_strcmp0 (json_peek_string (info, "identifier"), identifier) == 0)
            g_ptr_array_add (matches, info);
    if (!matches->len) {
        say_titled_error (
            "Model Not Found",
            "Cannot find a model with the identifier \"%s\".\n\nTo see a list of loaded models, run:\n\n    lms ps",
            identifier);
        return 1;
    }
    int chosen = 0;
    if (matches->len > 1) {
        if (!prompt_possible ("Unload it on the device itself, or unload all models with --all"))
            return 1;
        chosen = pick ("Multiple models found. Select one to unload", matches, loaded_link_status (client, infos));
    }
    return chosen < 0 ? 1 : unload_one (client, g_ptr_array_index (matches, chosen));
}

static int
unload_any (Client *client, json_t *infos)
{
    gsize n = json_array_size (infos);
    if (!n) {
        say_error ("You don't have any models loaded. Use \"lms load\" to load a model.");
        return 1;
    }
    if (n == 1)
        return unload_one (client, json_array_get (infos, 0));
    if (!prompt_possible ("Pass the identifier of a model, or --all"))
        return 1;
    g_autofree char *hint = style_text (STDERR_FILENO, STYLE_DIM, "! To unload all models, use the --all flag.");
    say_info ("%s", hint);
    g_autoptr (GPtrArray) all = g_ptr_array_new ();
    for (gsize i = 0; i < n; i++)
        g_ptr_array_add (all, json_array_get (infos, i));
    int chosen = pick ("Select a model to unload |", all, loaded_link_status (client, infos));
    return chosen < 0 ? 1 : unload_one (client, g_ptr_array_index (all, chosen));
}

int
cmd_unload (const Args *args)
{
    const char *identifier = args_word (args, 0);
    if (identifier && args_has (args, "all")) {
        say_titled_error ("Invalid Usage", "You cannot provide [path] when the flag --all is set.");
        return 1;
    }
    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new (args, DAEMON_WAKE, "system", &error);
    if (!client)
        return say_failure (error);
    LoadedQuestion question = loaded_ask (client);
    g_autoptr (json_t) infos = loaded_take (&question, FALSE, &error);
    if (!infos)
        return say_failure (error);
    if (args_has (args, "all"))
        return unload_all (client, infos);
    return identifier ? unload_named (client, infos, identifier) : unload_any (client, infos);
}
