/* system.c: the namespace /system: models on disk, versions, the daemon itself (spec: sdk.md 6.4). */
#include "api/sdk/endpoints.h"
#include "home/home.h"
#include "home/log.h"

#include <string.h>
#include <unistd.h>

#define MAX_FLAGS 256

/* ---- models on disk ------------------------------------------------------------------------------------------------------- */

static void
list_models (gpointer data)
{
    g_autoptr (SdkCall) call = data;
    if (!sdk_call_is_open (call))
        return;
    json_t *list = json_array ();
    const GPtrArray *all = models_list (sdk_call_api (call)->models);
    for (guint i = 0; i < all->len; i++)
        json_array_append_new (list, sdk_model_info (all->pdata[i]));
    sdk_call_result (call, list);
}

void
sdk_list_downloaded_models (SdkCall *call, const json_t *parameter)
{
    models_when_ready (sdk_call_api (call)->models, list_models, sdk_call_ref (call));
}

/* "key" without the "@quant" that tells variants of one model apart. */
static char *
stem_of (const char *key)
{
    const char *at = strrchr (key, '@');
    return at ? g_strndup (key, at - key) : g_strdup (key);
}

static void
list_variants (gpointer data)
{
    g_autoptr (SdkCall) call = data;
    if (!sdk_call_is_open (call))
        return;
    Models *models = sdk_call_api (call)->models;
    const char *key = sdk_call_state (call);
    const Model *model = models_find (models, key);
    if (!model) {
        sdk_call_fail (call, sdk_error_path_not_found (key, models));
        return;
    }
    g_autofree char *stem = stem_of (model->key);
    json_t *list = json_array ();
    const GPtrArray *all = models_list (models);
    for (guint i = 0; i < all->len; i++) {
        g_autofree char *other = stem_of (((const Model *) all->pdata[i])->key);
        if (strcmp (stem, other) == 0)
            json_array_append_new (list, sdk_model_info (all->pdata[i]));
    }
    sdk_call_result (call, list);
}

void
sdk_list_downloaded_variants (SdkCall *call, const json_t *parameter)
{
    sdk_call_set_state (call, g_strdup (json_peek_string (parameter, "modelKey")), g_free);
    models_when_ready (sdk_call_api (call)->models, list_variants, sdk_call_ref (call));
}

/* ---- this program ----------------------------------------------------------------------------------------------------------- */

void
sdk_version (SdkCall *call, const json_t *parameter)
{
    sdk_call_result (call, json_pack ("{s:s, s:i}", "version", SDK_LEVEL_VERSION, "build", SDK_LEVEL_BUILD));
}

void
sdk_info (SdkCall *call, const json_t *parameter)
{
    sdk_call_result (
        call, json_pack ("{s:i, s:b, s:s}", "pid", (int) getpid (), "isDaemon", TRUE, "version", ATELIER_VERSION));
}

/* A desktop application would pop this up; a daemon has its log. */
void
sdk_notify (SdkCall *call, const json_t *parameter)
{
    const char *description = json_peek_string (parameter, "description");
    log_line (LOG_INFO, NULL, "Notification: %.500s%s%.2000s", json_peek_string (parameter, "title"),
              description ? ": " : "", description ? description : "");
    sdk_call_result (call, NULL);
}

void
sdk_alive (SdkCall *call, const json_t *parameter)
{
    /* Stays open until the connection ends, which is what its client waits for. */
}

/* ---- experiment flags: settings.json, developer.experimentFlags ---------------------------------------------------------------- */

/* The `developer` member as it stands; the caller owns it. */
static json_t *
read_developer (void)
{
    g_autofree char *path = home_file ("settings.json");
    g_autoptr (json_t) settings = home_peek_json (path, 0);
    json_t *developer = json_object_get (settings, "developer");
    return json_is_object (developer) ? json_incref (developer) : json_object ();
}

static json_t *
flags_of (const json_t *developer)
{
    json_t *flags = json_array ();
    size_t i;
    json_t *flag;
    json_array_foreach (json_object_get (developer, "experimentFlags"), i, flag)
        if (json_is_string (flag))
            json_array_append (flags, flag);
    return flags;
}

void
sdk_get_experiment_flags (SdkCall *call, const json_t *parameter)
{
    g_autoptr (json_t) developer = read_developer ();
    sdk_call_result (call, flags_of (developer));
}

void
sdk_set_experiment_flag (SdkCall *call, const json_t *parameter)
{
    const char *code = json_peek_string (parameter, "code");
    g_autoptr (json_t) developer = read_developer ();
    json_t *flags = flags_of (developer);
    for (size_t i = json_array_size (flags); i-- > 0;)
        if (g_strcmp0 (json_string_value (json_array_get (flags, i)), code) == 0)
            json_array_remove (flags, i);
    if (json_peek_bool (parameter, "value", FALSE))
        json_array_append (flags, json_object_get (parameter, "code"));
    gboolean too_many = json_array_size (flags) > MAX_FLAGS;
    json_object_set_new (developer, "experimentFlags", flags);
    if (too_many) {
        sdk_call_fail (call, sdk_error ("Too many experiment flags are set"));
        return;
    }
    g_autoptr (json_t) members = json_pack ("{s:O}", "developer", developer);
    g_autoptr (GError) error = NULL;
    if (settings_write (sdk_call_api (call)->settings, members, &error))
        sdk_call_result (call, NULL);
    else
        sdk_call_fail (call, sdk_error_full ("The experiment flag could not be stored", error->message, NULL));
}

/* ---- the HTTP server, the end ---------------------------------------------------------------------------------------------------- */

static void
http_started (const GError *error, gpointer data)
{
    g_autoptr (SdkCall) call = data;
    if (error)
        sdk_call_fail (call, sdk_error_full ("Failed to start the HTTP server", error->message, NULL));
    else
        sdk_call_result (call, NULL);
}

void
sdk_start_http_server (SdkCall *call, const json_t *parameter)
{
    Api *api = sdk_call_api (call);
    const Settings *settings = settings_get (api->settings);
    const char *named = json_peek_string (parameter, "networkInterface");
    g_autofree char *interface =
        g_strdup (named ? named : settings->network_interface); /* settings are read again on the way */
    api->control->start_http (json_peek_int (parameter, "port", -1), interface,
                              json_peek_bool (parameter, "cors", settings->cors), http_started, sdk_call_ref (call),
                              api->daemon);
}

/* The answer goes first: the one who asks may have come through this very server. */
void
sdk_stop_http_server (SdkCall *call, const json_t *parameter)
{
    Api *api = sdk_call_api (call);
    sdk_call_result (call, NULL);
    api->control->stop_http (api->daemon);
}

void
sdk_request_shutdown (SdkCall *call, const json_t *parameter)
{
    Api *api = sdk_call_api (call);
    sdk_call_result (call, NULL);
    api->control->shutdown (api->daemon);
}
