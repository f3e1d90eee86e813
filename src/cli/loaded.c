/* loaded.c: the list of instances.
 *
 * lmsd answers `lmsd.ps` on /system with everything in one frame.  An official daemon is asked as the official program asks it: both
 * namespaces for their lists, then each instance for its state and its load configuration, all at once. */
#include "cli/loaded.h"

#include <string.h>

LoadedQuestion
loaded_ask (Client *client)
{
    LoadedQuestion question = { .client = client };
    if (client_is_lmsd (client)) {
        question.calls[question.n_calls++] = client_call (client, "system", "lmsd.ps", NULL);
    } else {
        question.calls[question.n_calls++] = client_call (client, "llm", "listLoaded", NULL);
        question.calls[question.n_calls++] = client_call (client, "embedding", "listLoaded", NULL);
    }
    return question;
}

const char *
loaded_namespace (const json_t *info)
{
    return g_strcmp0 (json_peek_string (info, "type"), "embedding") == 0 ? "embedding" : "llm";
}

/* The number of slots in a load configuration (sdk.md 8.1). */
static gint64
peek_parallel (const json_t *config)
{
    size_t i;
    json_t *field;
    json_array_foreach (json_object_get (config, "fields"), i, field)
        if (g_strcmp0 (json_peek_string (field, "key"), "llm.load.numParallelSessions") == 0)
            return json_peek_int (field, "value", 4);
    return 4;
}

static json_t *
specifier_of (const json_t *info)
{
    return json_pack ("{s:{s:s, s:s}}", "specifier", "type", "instanceReference", "instanceReference",
                      json_peek_string (info, "instanceReference"));
}

static gboolean
add_states (Client *client, json_t *infos, GError **error)
{
    gsize n = json_array_size (infos), i;
    g_autofree ClientCall **states = g_new0 (ClientCall *, n), **configs = g_new0 (ClientCall *, n);
    json_t *info;
    json_array_foreach (infos, i, info) {
        const char *namespace = loaded_namespace (info);
        json_t *question = specifier_of (info);
        json_object_set_new (question, "throwIfNotFound", json_false ());
        states[i] = client_call (client, namespace, "getInstanceProcessingState", question);
        if (strcmp (namespace, "llm") == 0)
            configs[i] = client_call (client, namespace, "getLoadConfig", specifier_of (info));
    }
    if (!client_finish (client, error))
        return FALSE;
    json_array_foreach (infos, i, info) {
        const json_t *state = client_wait (states[i], NULL);
        const char *status = json_peek_string (state, "status");
        json_object_set_new (info, "status", json_string (status ? status : "idle"));
        json_object_set_new (info, "queued", json_integer (json_peek_int (state, "queued", 0)));
        json_object_set_new (info, "parallel",
                             configs[i] ? json_integer (peek_parallel (client_wait (configs[i], NULL))) : json_null ());
    }
    return TRUE;
}

json_t *
loaded_take (LoadedQuestion *question, gboolean state, GError **error)
{
    g_autoptr (json_t) infos = json_array ();
    for (guint i = 0; i < question->n_calls; i++) {
        g_autoptr (GError) problem = NULL;
        json_t *answer = client_wait (question->calls[i], &problem);
        if (problem)
            return g_propagate_error (error, g_steal_pointer (&problem)), NULL;
        size_t j;
        json_t *info;
        json_array_foreach (answer, j, info)
            if (json_is_object (info))
                json_array_append_new (infos, json_copy (info));
    }
    if (state && !client_is_lmsd (question->client) && !add_states (question->client, infos, error))
        return NULL;
    return g_steal_pointer (&infos);
}

const json_t *
loaded_link_status (Client *client, const json_t *infos)
{
    size_t i;
    json_t *info;
    json_array_foreach ((json_t *) infos, i, info)
        if (json_is_string (json_object_get (info, "deviceIdentifier")))
            return client_ask (client, "repository", "lmLinkStatus", NULL, NULL); /* without names the identifiers do */
    return NULL;
}

const char *
loaded_device (const json_t *info, const json_t *link_status)
{
    const char *device = json_peek_string (info, "deviceIdentifier");
    if (!device)
        return "Local";
    size_t i;
    json_t *peer;
    json_array_foreach (json_object_get (link_status, "peers"), i, peer)
        if (g_strcmp0 (json_peek_string (peer, "deviceIdentifier"), device) == 0 &&
            json_peek_string (peer, "deviceName"))
            return json_peek_string (peer, "deviceName");
    return device;
}
