/* settings.json and http-server-config.json: what the user set, with defaults (spec: http.md 1.1, disk.md 3.1-3.3).  Unknown keys are kept
 * when a file is written back.  Both files are watched: a change is read 300 ms after the last write, and subscribers are told. */
#pragma once

#include <glib.h>

#include "base/json.h"

typedef enum { GUARD_OFF, GUARD_LOW, GUARD_MEDIUM, GUARD_HIGH, GUARD_CUSTOM } GuardMode;
typedef enum { FILE_LOG_OFF, FILE_LOG_SUCCINCT, FILE_LOG_FULL } FileLogMode;

typedef struct {
    /* http-server-config.json */
    guint16 port;            /* 1234 */
    char *network_interface; /* "127.0.0.1" */
    gboolean cors, auto_start, jit_loading, log_sensitive, log_tokens, verbose;
    FileLogMode file_log;
    gboolean require_auth, allow_request_mcp, allow_mcp_json, allow_image_urls, allow_private_mcp;
    char **allowed_hosts;     /* lower case; never NULL */
    gboolean has_http_config; /* the file exists */
    /* settings.json */
    char *models_folder;        /* absolute */
    char **extra_model_folders; /* never NULL */
    gboolean hf_cache_read;     /* list what lies in the Hugging Face cache too */
    gboolean jit_ttl_enabled;
    guint jit_ttl_seconds; /* 3600 */
    gboolean auto_evict, separate_reasoning;
    guint history_ttl_days;
    GuardMode guard_mode;
    guint64 guard_custom_bytes;
    gboolean guard_load_anyway;
    guint default_context; /* tokens; 0 = the model's maximum */
} Settings;

/* Reads both files.  The result is lent by the store, replaced at a change: do not keep it over a return to the loop. */
typedef struct SettingsStore SettingsStore;
SettingsStore *settings_store_new (void);
void settings_store_free (SettingsStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SettingsStore, settings_store_free)
const Settings *settings_get (SettingsStore *store);

/* @changed runs on the main context after a change was read. */
void
settings_on_changed (SettingsStore *store, void (*changed) (const Settings *settings, gpointer data), gpointer data);
/* Ends that; not from within @changed. */
void
settings_off_changed (SettingsStore *store, void (*changed) (const Settings *settings, gpointer data), gpointer data);

/* Merges @members into http-server-config.json (startHttpServer writes port, cors, networkInterface) and re-reads. */
gboolean settings_write_http (SettingsStore *store, const json_t *members, GError **error);
gboolean settings_write (SettingsStore *store, const json_t *members, GError **error);
