/* settings-read.c: what each settings key means, and what holds when it is missing or nonsense.
 *
 * One row a key: where it stands, what it may be, where it goes, its default.  Keys that need more than a row have a function below.
 * Nothing here opens a file: settings.c does. */
#include "home/settings-read.h"

#include <math.h>
#include <string.h>

typedef enum { IN_SETTINGS, IN_HTTP } File;
typedef enum { BOOL, UINT, UINT64, PORT } Kind;

typedef struct {
    File file;
    const char *path; /* members from the root, '/' between them */
    Kind kind;
    gsize offset; /* in Settings */
    guint64 fallback;
    guint64 min, max; /* UINT, UINT64; outside is as missing */
} Row;

#define TO(member) G_STRUCT_OFFSET (Settings, member)

static const Row rows[] = {
    { IN_HTTP, "port", PORT, TO (port), 1234, 1, 65535 },
    { IN_HTTP, "cors", BOOL, TO (cors), FALSE, 0, 1 },
    { IN_HTTP, "autoStartOnLaunch", BOOL, TO (auto_start), FALSE, 0, 1 },
    { IN_HTTP, "justInTimeModelLoading", BOOL, TO (jit_loading), TRUE, 0, 1 },
    { IN_HTTP, "logSensitiveData", BOOL, TO (log_sensitive), TRUE, 0, 1 },
    { IN_HTTP, "logIncomingTokens", BOOL, TO (log_tokens), FALSE, 0, 1 },
    { IN_HTTP, "verbose", BOOL, TO (verbose), FALSE, 0, 1 },
    { IN_HTTP, "allowImageUrls", BOOL, TO (allow_image_urls), FALSE, 0, 1 },
    { IN_HTTP, "allowPrivateMcpAddresses", BOOL, TO (allow_private_mcp), FALSE, 0, 1 },
    { IN_SETTINGS, "developer/jitModelTTL/enabled", BOOL, TO (jit_ttl_enabled), TRUE, 0, 1 },
    { IN_SETTINGS, "developer/jitModelTTL/ttlSeconds", UINT, TO (jit_ttl_seconds), 3600, 1, G_MAXINT32 },
    { IN_SETTINGS, "developer/unloadPreviousJITModelOnLoad", BOOL, TO (auto_evict), TRUE, 0, 1 },
    { IN_SETTINGS, "developer/separateReasoningContentInAPI", BOOL, TO (separate_reasoning), TRUE, 0, 1 },
    { IN_SETTINGS, "developer/apiPredictionHistoryEviction/ttlDays", UINT, TO (history_ttl_days), 30, 0, 36500 },
    { IN_SETTINGS, "lmsd/hfCacheRead", BOOL, TO (hf_cache_read), FALSE, 0, 1 },
    { IN_SETTINGS, "modelLoadingGuardrails/customThresholdBytes", UINT64, TO (guard_custom_bytes), 0, 0, G_MAXINT64 },
    { IN_SETTINGS, "modelLoadingGuardrails/alwaysAllowLoadAnyway", BOOL, TO (guard_load_anyway), FALSE, 0, 1 },
};

/* NULL when a step is missing or no object. */
static const json_t *
find (const json_t *tree, const char *path)
{
    g_auto (GStrv) steps = g_strsplit (path, "/", -1);
    for (gsize i = 0; steps[i] && tree; i++)
        tree = json_object_get (tree, steps[i]);
    return tree;
}

/* An integer from 0, also written as 8192.0; with @or_text also as "8192". */
static gboolean
read_uint (const json_t *value, gboolean or_text, guint64 *number)
{
    if (json_is_integer (value) && json_integer_value (value) >= 0)
        return *number = json_integer_value (value), TRUE;
    if (json_is_real (value)) {
        double real = json_real_value (value);
        if (!(real >= 0 && real < 9e18) || trunc (real) != real)
            return FALSE;
        return *number = (guint64) real, TRUE;
    }
    if (or_text && json_is_string (value)) {
        g_autofree char *text = g_strstrip (g_strdup (json_string_value (value)));
        return g_ascii_string_to_unsigned (text, 10, 0, G_MAXINT64, number, NULL);
    }
    return FALSE;
}

static void
read_row (const Row *row, const json_t *tree, Settings *into)
{
    const json_t *value = find (tree, row->path);
    gpointer at = G_STRUCT_MEMBER_P (into, row->offset);
    guint64 number;
    if (row->kind == BOOL) {
        *(gboolean *) at = json_is_boolean (value) ? json_is_true (value) : (gboolean) row->fallback;
        return;
    }
    if (!read_uint (value, FALSE, &number) || number < row->min || number > row->max)
        number = row->fallback;
    if (row->kind == PORT)
        *(guint16 *) at = number;
    else if (row->kind == UINT)
        *(guint *) at = number;
    else
        *(guint64 *) at = number;
}

/* The row of @names that is @value, without case; else @fallback. */
static int
read_name (const json_t *value, const char *const *names, int fallback)
{
    for (int i = 0; json_is_string (value) && names[i]; i++)
        if (g_ascii_strcasecmp (json_string_value (value), names[i]) == 0)
            return i;
    return fallback;
}

static const char *const guard_names[] = { "off", "low", "medium", "high", "custom", NULL };
static const char *const file_log_names[] = { "off", "succinct", "full", NULL };

/* An absolute folder, or NULL for whatever else stands there. */
static char *
read_folder (const json_t *value)
{
    if (!json_is_string (value) || strlen (json_string_value (value)) != json_string_length (value))
        return NULL;
    g_autofree char *text = g_strstrip (g_strdup (json_string_value (value)));
    return g_path_is_absolute (text) ? g_canonicalize_filename (text, "/") : NULL;
}

static char **
read_folders (const json_t *value)
{
    g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();
    for (size_t i = 0; i < json_array_size (value) && i < 64; i++) {
        g_autofree char *folder = read_folder (json_array_get (value, i));
        if (folder)
            g_strv_builder_add (builder, folder);
    }
    return g_strv_builder_end (builder);
}

static char **
read_hosts (const json_t *value)
{
    g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();
    for (size_t i = 0; i < json_array_size (value) && i < 256; i++) {
        const json_t *host = json_array_get (value, i);
        if (!json_is_string (host))
            continue;
        g_autofree char *lower = g_strstrip (g_ascii_strdown (json_string_value (host), -1));
        if (*lower)
            g_strv_builder_add (builder, lower);
    }
    return g_strv_builder_end (builder);
}

/* {"type":"custom","value":8192}, the value also "8192"; {"type":"max"}. */
static guint
read_context (const json_t *value)
{
    const char *type = json_peek_string (value, "type");
    guint64 tokens;
    if (type && strcmp (type, "max") == 0)
        return 0;
    if (type && strcmp (type, "custom") == 0 && read_uint (json_object_get (value, "value"), TRUE, &tokens) &&
        tokens >= 1 && tokens <= G_MAXINT32)
        return tokens;
    return 4096;
}

static gboolean
allows (const json_t *permissions, const char *key)
{
    const char *word = json_peek_string (json_object_get (permissions, "serverPermissions"), key);
    return word && strcmp (word, "allow") == 0;
}

/* Our three switches; while http-server-config.json lacks one, the original's file decides (disk.md 3.3). */
static void
read_access (const json_t *http, const json_t *store, Settings *into)
{
    const json_t *permissions = json_object_get (store, "json");
    const char *mode = json_peek_string (permissions, "tokenMode");
    gboolean required = mode && strcmp (mode, "required") == 0;
    into->require_auth = json_peek_bool (http, "requireAuthentication", required);
    into->allow_request_mcp =
        json_peek_bool (http, "allowPerRequestMcp", allows (permissions, "dynamicRemoteMcpServer"));
    into->allow_mcp_json = json_peek_bool (http, "allowMcpJson", required && allows (permissions, "pluginUse"));
}

Settings *
settings_read (const json_t *settings, const json_t *http, const json_t *permissions, const char *home)
{
    Settings *into = g_new0 (Settings, 1);
    for (gsize i = 0; i < G_N_ELEMENTS (rows); i++)
        read_row (&rows[i], rows[i].file == IN_HTTP ? http : settings, into);
    read_access (http, permissions, into);

    const char *interface = json_peek_string (http, "networkInterface");
    into->network_interface = g_strdup (interface && *interface ? interface : "127.0.0.1");
    into->file_log = read_name (json_object_get (http, "fileLoggingMode"), file_log_names, FILE_LOG_SUCCINCT);
    into->allowed_hosts = read_hosts (json_object_get (http, "allowedHosts"));
    into->has_http_config = http != NULL;

    into->models_folder = read_folder (json_object_get (settings, "downloadsFolder"));
    if (!into->models_folder)
        into->models_folder = g_build_filename (home, "models", NULL);
    into->extra_model_folders = read_folders (find (settings, "lmsd/extraModelFolders"));
    into->guard_mode = read_name (find (settings, "modelLoadingGuardrails/mode"), guard_names, GUARD_HIGH);
    into->default_context = read_context (json_object_get (settings, "defaultContextLength"));
    return into;
}

void
settings_free (Settings *settings)
{
    if (!settings)
        return;
    g_free (settings->network_interface);
    g_strfreev (settings->allowed_hosts);
    g_free (settings->models_folder);
    g_strfreev (settings->extra_model_folders);
    g_free (settings);
}
