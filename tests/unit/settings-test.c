/* home/settings: what the files say, leniently, and what stays in them when we write (disk.md 3.1-3.3, http.md 1.1). */
#include "home/home.h"
#include "home/settings-read.h"
#include "home/settings.h"

#include "folder.h"

#include <string.h>

#define HTTP "/home/.internal/http-server-config.json"

static char *sandbox;

static Settings *
read_texts (const char *settings, const char *http, const char *permissions)
{
    g_autoptr (json_t) a = settings ? json_parse (settings, strlen (settings), NULL) : NULL;
    g_autoptr (json_t) b = http ? json_parse (http, strlen (http), NULL) : NULL;
    g_autoptr (json_t) c = permissions ? json_parse (permissions, strlen (permissions), NULL) : NULL;
    g_assert_true ((a || !settings) && (b || !http) && (c || !permissions));
    return settings_read (a, b, c, "/h");
}

static void
test_defaults (void)
{
    g_autoptr (Settings) s = read_texts (NULL, NULL, NULL);
    g_assert_cmpuint (s->port, ==, 1234);
    g_assert_cmpstr (s->network_interface, ==, "127.0.0.1");
    g_assert_false (s->cors || s->auto_start || s->log_tokens || s->verbose || s->require_auth ||
                    s->allow_request_mcp || s->allow_mcp_json || s->allow_image_urls || s->allow_private_mcp ||
                    s->has_http_config);
    g_assert_true (s->jit_loading && s->log_sensitive && s->jit_ttl_enabled && s->auto_evict && s->separate_reasoning);
    g_assert_cmpint (s->file_log, ==, FILE_LOG_SUCCINCT);
    g_assert_cmpuint (g_strv_length (s->allowed_hosts), ==, 0);
    g_assert_cmpstr (s->models_folder, ==, "/h/models");
    g_assert_cmpuint (g_strv_length (s->extra_model_folders), ==, 0);
    g_assert_cmpuint (s->jit_ttl_seconds, ==, 3600);
    g_assert_cmpuint (s->history_ttl_days, ==, 30);
    g_assert_cmpint (s->guard_mode, ==, GUARD_HIGH);
    g_assert_cmpuint (s->default_context, ==, 4096);
}

static void
test_everything_set (void)
{
    g_autoptr (Settings) s = read_texts (
        "{\"downloadsFolder\":\"/data/models/\",\"defaultContextLength\":{\"type\":\"custom\",\"value\":8192},"
        "\"modelLoadingGuardrails\":{\"mode\":\"custom\",\"customThresholdBytes\":5000000000,\"alwaysAllowLoadAnyway\":"
        "true},"
        "\"developer\":{\"jitModelTTL\":{\"enabled\":false,\"ttlSeconds\":60},\"unloadPreviousJITModelOnLoad\":false,"
        "\"separateReasoningContentInAPI\":false,\"apiPredictionHistoryEviction\":{\"type\":\"time\",\"ttlDays\":7}},"
        "\"lmsd\":{\"extraModelFolders\":[\"/more\",5,\"relative\",\"/and/more\"]}}",
        "{\"autoStartOnLaunch\":true,\"port\":8080,\"cors\":true,\"networkInterface\":\"0.0.0.0\","
        "\"justInTimeModelLoading\":false,"
        "\"verbose\":true,\"logSensitiveData\":false,\"logIncomingTokens\":true,\"fileLoggingMode\":\"full\","
        "\"requireAuthentication\":true,\"allowPerRequestMcp\":true,\"allowMcpJson\":true,\"allowImageUrls\":true,"
        "\"allowPrivateMcpAddresses\":true,\"allowedHosts\":[\"Box.Local\",3,\"\"]}",
        NULL);
    g_assert_cmpstr (s->models_folder, ==, "/data/models");
    g_assert_cmpuint (s->default_context, ==, 8192);
    g_assert_cmpint (s->guard_mode, ==, GUARD_CUSTOM);
    g_assert_cmpuint (s->guard_custom_bytes, ==, 5000000000);
    g_assert_true (s->guard_load_anyway);
    g_assert_false (s->jit_ttl_enabled || s->auto_evict || s->separate_reasoning);
    g_assert_cmpuint (s->jit_ttl_seconds, ==, 60);
    g_assert_cmpuint (s->history_ttl_days, ==, 7);
    g_assert_cmpuint (g_strv_length (s->extra_model_folders), ==, 2);
    g_assert_cmpstr (s->extra_model_folders[1], ==, "/and/more");
    g_assert_true (s->auto_start && s->cors && s->verbose && s->log_tokens && s->require_auth && s->allow_request_mcp &&
                   s->allow_mcp_json && s->allow_image_urls && s->allow_private_mcp && s->has_http_config);
    g_assert_false (s->jit_loading || s->log_sensitive);
    g_assert_cmpuint (s->port, ==, 8080);
    g_assert_cmpstr (s->network_interface, ==, "0.0.0.0");
    g_assert_cmpint (s->file_log, ==, FILE_LOG_FULL);
    g_assert_cmpuint (g_strv_length (s->allowed_hosts), ==, 1);
    g_assert_cmpstr (s->allowed_hosts[0], ==, "box.local");
}

/* settings.json, and the two values that such lines decide. */
static const struct {
    const char *text, *models_folder;
    guint default_context;
} lenient[] = {
    { "{\"downloadsFolder\":\"\"}", "/h/models", 4096 },
    { "{\"downloadsFolder\":\"  \\t\"}", "/h/models", 4096 },
    { "{\"downloadsFolder\":5}", "/h/models", 4096 },
    { "{\"downloadsFolder\":null}", "/h/models", 4096 },
    { "{\"downloadsFolder\":{\"a\":1}}", "/h/models", 4096 },
    { "{\"downloadsFolder\":\"models\"}", "/h/models", 4096 },
    { "{\"downloadsFolder\":\"/a\\u0000b\"}", "/h/models", 4096 },
    { "{\"downloadsFolder\":\" /data \"}", "/data", 4096 },
    { "{\"defaultContextLength\":{\"type\":\"custom\",\"value\":\"16384\"}}", "/h/models", 16384 },
    { "{\"defaultContextLength\":{\"type\":\"custom\",\"value\":2048.0}}", "/h/models", 2048 },
    { "{\"defaultContextLength\":{\"type\":\"custom\",\"value\":\"x\"}}", "/h/models", 4096 },
    { "{\"defaultContextLength\":{\"type\":\"custom\",\"value\":0}}", "/h/models", 4096 },
    { "{\"defaultContextLength\":{\"type\":\"custom\",\"value\":-5}}", "/h/models", 4096 },
    { "{\"defaultContextLength\":{\"type\":\"custom\",\"value\":1e300}}", "/h/models", 4096 },
    { "{\"defaultContextLength\":{\"type\":\"max\"}}", "/h/models", 0 },
    { "{\"defaultContextLength\":8192}", "/h/models", 4096 },
    { "{\"developer\":[],\"modelLoadingGuardrails\":\"high\",\"lmsd\":7}", "/h/models", 4096 },
};

static void
test_lenient (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (lenient); i++) {
        g_test_message ("%s", lenient[i].text);
        g_autoptr (Settings) s = read_texts (lenient[i].text, NULL, NULL);
        g_assert_cmpstr (s->models_folder, ==, lenient[i].models_folder);
        g_assert_cmpuint (s->default_context, ==, lenient[i].default_context);
        g_assert_cmpuint (s->jit_ttl_seconds, ==, 3600);
        g_assert_cmpint (s->guard_mode, ==, GUARD_HIGH);
    }
}

static const struct {
    const char *text;
    guint port;
} ports[] = {
    { "{\"port\":0}", 1234 },      { "{\"port\":65536}", 1234 },      { "{\"port\":-1}", 1234 },
    { "{\"port\":\"80\"}", 1234 }, { "{\"port\":80.5}", 1234 },       { "{\"port\":80.0}", 80 },
    { "{\"port\":65535}", 65535 }, { "{\"port\":4294967297}", 1234 },
};

static void
test_ports (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (ports); i++) {
        g_autoptr (Settings) s = read_texts (NULL, ports[i].text, NULL);
        g_assert_cmpuint (s->port, ==, ports[i].port);
    }
}

#define STORE(mode, mcp, plugins)                                                                    \
    "{\"json\":{\"tokenMode\":\"" mode "\",\"serverPermissions\":{\"dynamicRemoteMcpServer\":\"" mcp \
    "\",\"pluginUse\":\"" plugins "\"}}}"

/* disk.md 3.3: the original's file decides only what ours leaves open. */
static const struct {
    const char *http, *permissions;
    gboolean auth, request_mcp, mcp_json;
} access_cases[] = {
    { NULL, STORE ("required", "allow", "allow"), TRUE, TRUE, TRUE },
    { NULL, STORE ("disabled", "allow", "allow"), FALSE, TRUE, FALSE },
    { NULL, STORE ("optional", "deny", "deny"), FALSE, FALSE, FALSE },
    { "{\"requireAuthentication\":false,\"allowMcpJson\":false}", STORE ("required", "allow", "allow"), FALSE, TRUE,
      FALSE },
    { "{\"requireAuthentication\":true,\"allowPerRequestMcp\":false}", STORE ("disabled", "allow", "allow"), TRUE,
      FALSE, FALSE },
    { NULL, "{\"json\":5}", FALSE, FALSE, FALSE },
    { NULL, "[]", FALSE, FALSE, FALSE },
};

static void
test_access (void)
{
    for (gsize i = 0; i < G_N_ELEMENTS (access_cases); i++) {
        g_autoptr (Settings) s = read_texts (NULL, access_cases[i].http, access_cases[i].permissions);
        g_assert_cmpint (s->require_auth, ==, access_cases[i].auth);
        g_assert_cmpint (s->allow_request_mcp, ==, access_cases[i].request_mcp);
        g_assert_cmpint (s->allow_mcp_json, ==, access_cases[i].mcp_json);
    }
}

/* ---- files ------------------------------------------------------------------------------------------------------------- */

static void
clear (void)
{
    static const char *const files[] = { "home/settings.json", "home/.internal/http-server-config.json",
                                         "home/.internal/permissions-store.json" };
    for (gsize i = 0; i < G_N_ELEMENTS (files); i++) {
        g_autofree char *path = g_build_filename (sandbox, files[i], NULL);
        g_remove (path);
    }
}

static void
test_unknown_keys_stay (void)
{
    clear ();
    folder_put (sandbox, "home/settings.json",
                "\xEF\xBB\xBF{ \"zeta\": [1, {\"x\": null}], \"developer\": {\"own\": \"\xC3\xA4\", "
                "\"unloadPreviousJITModelOnLoad\": true},\n"
                "\"ui\": {\"scale\": 1.25}, \"alpha\": -3 }");
    g_autoptr (SettingsStore) store = settings_store_new ();
    g_autoptr (json_t) change =
        json_pack ("{s:{s:b}, s:s}", "developer", "unloadPreviousJITModelOnLoad", FALSE, "new", "last");
    g_autoptr (GError) error = NULL;
    g_assert_true (settings_write (store, change, &error));
    g_assert_no_error (error);
    g_assert_false (settings_get (store)->auto_evict); /* read again at once */
    g_autofree char *text = folder_get (sandbox, "home/settings.json");
    g_assert_cmpstr (
        text, ==,
        "{\n  \"zeta\": [\n    1,\n    {\n      \"x\": null\n    }\n  ],\n  \"developer\": {\n    \"own\": "
        "\"\xC3\xA4\",\n"
        "    \"unloadPreviousJITModelOnLoad\": false\n  },\n  \"ui\": {\n    \"scale\": 1.25\n  },\n  \"alpha\": -3,\n"
        "  \"new\": \"last\"\n}\n");
}

static void
test_broken_settings_are_renamed (void)
{
    clear ();
    folder_put (sandbox, "home/settings.json", "{\"downloadsFolder\": \"/data");
    g_autoptr (SettingsStore) store = settings_store_new ();
    g_autofree char *expected = g_build_filename (sandbox, "home/models", NULL);
    g_assert_cmpstr (settings_get (store)->models_folder, ==, expected);
    g_assert_cmpuint (folder_count (sandbox, "home", "settings.json.corrupt-*"), ==, 1);
    g_autofree char *gone = folder_get (sandbox, "home/settings.json");
    g_assert_null (gone);

    g_autoptr (json_t) change = json_pack ("{s:s}", "downloadsFolder", "/new");
    g_assert_true (settings_write (store, change, NULL));
    g_assert_cmpstr (settings_get (store)->models_folder, ==, "/new");
    g_assert_cmpuint (folder_count (sandbox, "home", "settings.json.corrupt-*"), ==, 1);
}

static void
test_unreadable_settings_are_not_overwritten (void)
{
    clear ();
    g_autofree char *folder = g_build_filename (sandbox, "home/settings.json", NULL);
    g_assert_cmpint (g_mkdir (folder, 0700), ==, 0);
    g_autoptr (SettingsStore) store = settings_store_new ();
    g_assert_cmpuint (settings_get (store)->default_context, ==, 4096);
    g_autoptr (json_t) change = json_pack ("{s:i}", "a", 1);
    g_autoptr (GError) error = NULL;
    g_assert_false (settings_write (store, change, &error));
    g_assert_nonnull (error);
    g_assert_true (g_file_test (folder, G_FILE_TEST_IS_DIR));
}

typedef struct {
    GMainLoop *loop;
    guint calls;
    guint16 port;
    char *folder;
} Heard;

static void
heard_change (const Settings *settings, gpointer data)
{
    Heard *heard = data;
    heard->calls++;
    heard->port = settings->port;
    g_free (heard->folder);
    heard->folder = g_strdup (settings->models_folder);
    g_main_loop_quit (heard->loop);
}

static gboolean
give_up (gpointer loop)
{
    g_main_loop_quit (loop);
    return G_SOURCE_REMOVE;
}

static void
run_until_quit (GMainLoop *loop, guint at_most_ms)
{
    guint timer = g_timeout_add (at_most_ms, give_up, loop);
    g_main_loop_run (loop);
    GSource *left = g_main_context_find_source_by_id (NULL, timer);
    if (left)
        g_source_destroy (left);
}

static void
test_changes_are_seen (void)
{
    clear ();
    g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
    g_autoptr (SettingsStore) store = settings_store_new ();
    Heard heard = { .loop = loop };
    settings_on_changed (store, heard_change, &heard);

    folder_put (sandbox, HTTP, "{\"port\":4321}"); /* renamed into place */
    run_until_quit (loop, 10000);
    g_assert_cmpuint (heard.port, ==, 4321);

    g_autofree char *path = g_build_filename (sandbox, "home/settings.json", NULL);
    FILE *in_place = fopen (path, "w"); /* written in place, slowly */
    fputs ("{\"downloadsFolder\"", in_place);
    fflush (in_place);
    fputs (":\"/elsewhere\"}", in_place);
    fclose (in_place);
    run_until_quit (loop, 10000);
    g_assert_cmpstr (heard.folder, ==, "/elsewhere");
    g_assert_cmpuint (heard.calls, ==, 2);

    /* What is none of ours wakes nobody. */
    folder_put (sandbox, "home/other.json", "{}");
    run_until_quit (loop, 600);
    g_assert_cmpuint (heard.calls, ==, 2);
    g_free (heard.folder);
}

static void
test_own_writes_are_told_once (void)
{
    clear ();
    g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
    g_autoptr (SettingsStore) store = settings_store_new ();
    Heard heard = { .loop = loop };
    settings_on_changed (store, heard_change, &heard);
    g_autoptr (json_t) change =
        json_pack ("{s:i, s:b, s:s}", "port", 9999, "cors", TRUE, "networkInterface", "0.0.0.0");
    g_assert_true (settings_write_http (store, change, NULL));
    g_assert_cmpuint (heard.calls, ==, 0); /* not from within the write */
    g_assert_cmpuint (settings_get (store)->port, ==, 9999);
    run_until_quit (loop, 10000);
    run_until_quit (loop, 600); /* the watch sees the write as well */
    g_assert_cmpuint (heard.calls, ==, 1);
    g_free (heard.folder);
}

int
main (int argc, char **argv)
{
    sandbox = folder_new ();
    g_autofree char *home = g_build_filename (sandbox, "home", NULL);
    g_setenv ("HOME", sandbox, TRUE);
    g_setenv ("LMS_HOME", home, TRUE);
    g_test_init (&argc, &argv, NULL);
    g_assert_nonnull (home_path (NULL));
    g_test_add_func ("/settings/defaults", test_defaults);
    g_test_add_func ("/settings/everything-set", test_everything_set);
    g_test_add_func ("/disk-007/lenient", test_lenient);
    g_test_add_func ("/settings/ports", test_ports);
    g_test_add_func ("/settings/access", test_access);
    g_test_add_func ("/disk-004/unknown-keys-and-order-stay", test_unknown_keys_stay);
    g_test_add_func ("/disk-005/broken-is-renamed", test_broken_settings_are_renamed);
    g_test_add_func ("/settings/changes-are-seen", test_changes_are_seen);
    g_test_add_func ("/settings/own-writes-are-told-once", test_own_writes_are_told_once);
    g_test_add_func ("/disk-005/unreadable-is-not-overwritten", test_unreadable_settings_are_not_overwritten);
    int failed = g_test_run ();
    folder_remove (sandbox);
    g_free (sandbox);
    return failed;
}
