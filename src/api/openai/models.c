/* models.c: GET /v1/models and /v1/models/{id}, in OpenAI's shape or, for a client with `anthropic-version`, in Anthropic's (spec: http.md 7).
 *
 * Loaded instances come first, by identifier; then, with just-in-time loading on, every other model by its key. */
#include "api/openai/openai.h"

#include "api/routes.h"

#include <string.h>

typedef struct {
    const char *name;
    const Model *model;
} Entry;

/* ---- shapes ---------------------------------------------------------------------------------------------------------------------- */

static void
print_openai (const Entry *entry, GString *out)
{
    g_string_append (out, "{\"id\":");
    json_append_string (out, entry->name);
    g_string_append_printf (
        out, ",\"object\":\"model\",\"created\":%" G_GINT64_FORMAT ",\"owned_by\":\"organization_owner\"}",
        entry->model->mtime);
}

static void
print_anthropic (const Entry *entry, GString *out)
{
    g_autoptr (GDateTime) time = g_date_time_new_from_unix_utc (entry->model->mtime);
    g_autofree char *created =
        time ? g_date_time_format (time, "%Y-%m-%dT%H:%M:%SZ") : g_strdup ("1970-01-01T00:00:00Z");
    g_string_append (out, "{\"type\":\"model\",\"id\":");
    json_append_string (out, entry->name);
    g_string_append (out, ",\"display_name\":");
    json_append_string (out, entry->model->display_name ? entry->model->display_name : entry->name);
    g_string_append_printf (out, ",\"created_at\":\"%s\"}", created);
}

static void
print_list (const GArray *entries, gboolean anthropic, GString *out)
{
    g_string_append (out, anthropic ? "{\"data\":[" : "{\"object\":\"list\",\"data\":[");
    for (guint i = 0; i < entries->len; i++) {
        if (i > 0)
            g_string_append_c (out, ',');
        (anthropic ? print_anthropic : print_openai) (&g_array_index (entries, Entry, i), out);
    }
    g_string_append_c (out, ']');
    if (anthropic) {
        g_string_append (out, ",\"has_more\":false,\"first_id\":");
        json_append_string (out, entries->len ? g_array_index (entries, Entry, 0).name : NULL);
        g_string_append (out, ",\"last_id\":");
        json_append_string (out, entries->len ? g_array_index (entries, Entry, entries->len - 1).name : NULL);
    }
    g_string_append_c (out, '}');
}

/* ---- lists ----------------------------------------------------------------------------------------------------------------------- */

static gboolean
wants_anthropic (ApiCall *call)
{
    gboolean anthropic = http_request_header (call->http, "anthropic-version") != NULL;
    if (anthropic)
        call->family = FAMILY_ANTHROPIC;
    return anthropic;
}

/* Calls that came before the first scan was through: a list that lacks half the models would be a wrong answer. */
static GQueue waiting = G_QUEUE_INIT; /* ApiCall, referenced */

static void
leave_queue (ApiCall *call, HttpClosed how)
{
    g_queue_remove (&waiting, call);
    api_call_unref (call);
}

static void
scanned (gpointer data)
{
    for (ApiCall *next; (next = g_queue_pop_head (&waiting)) != NULL;) {
        g_autoptr (ApiCall) call = next;
        call->closed = NULL;
        call->route->handle (call);
    }
}

/* TRUE: the call's turn comes again, later. */
static gboolean
must_wait (ApiCall *call)
{
    if (models_is_ready (call->api->models))
        return FALSE;
    call->closed = leave_queue;
    g_queue_push_tail (&waiting, api_call_ref (call));
    if (waiting.length == 1)
        models_when_ready (call->api->models, scanned, NULL);
    return TRUE;
}

void
openai_models (ApiCall *call)
{
    if (must_wait (call))
        return;
    gboolean anthropic = wants_anthropic (call);
    const GPtrArray *instances = instances_list (call->api->instances);
    const GPtrArray *models = models_list (call->api->models);
    g_autoptr (GArray) entries = g_array_new (FALSE, FALSE, sizeof (Entry));
    for (guint i = 0; i < instances->len; i++) {
        const Instance *instance = instances->pdata[i];
        if (instance->state == INSTANCE_READY)
            g_array_append_val (entries, ((Entry){ instance->identifier, instance->model }));
    }
    guint n_loaded = entries->len;
    for (guint i = 0; settings_get (call->api->settings)->jit_loading && i < models->len; i++) {
        const Model *model = models->pdata[i];
        gboolean listed = FALSE;
        for (guint k = 0; k < n_loaded && !listed; k++)
            listed = g_str_equal (g_array_index (entries, Entry, k).name, model->key);
        if (!listed)
            g_array_append_val (entries, ((Entry){ model->key, model }));
    }
    g_autoptr (GString) out = g_string_sized_new (256);
    print_list (entries, anthropic, out);
    api_call_reply (call, 200, out->str, out->len);
}

/* ---- one -------------------------------------------------------------------------------------------------------------------------- */

/* Names at most 20 keys, so that a caller sees what to write instead. */
static void
fail_unknown (ApiCall *call)
{
    const GPtrArray *models = models_list (call->api->models);
    g_autoptr (GString) some = g_string_new (NULL);
    for (guint i = 0; i < models->len && i < 20; i++)
        g_string_append_printf (some, "%s%s", i > 0 ? ", " : "", ((const Model *) models->pdata[i])->key);
    api_call_fail_with (call, API_MODEL_NOT_FOUND, "model",
                        "Invalid model identifier \"%s\". Please specify a valid downloaded model%s%s%s.", call->id,
                        some->len ? " (e.g., " : "", some->str, some->len ? ")" : "");
}

void
openai_model (ApiCall *call)
{
    if (must_wait (call))
        return;
    gboolean anthropic = wants_anthropic (call);
    Entry entry = { 0 };
    const Instance *instance = instances_by_identifier (call->api->instances, call->id);
    if (instance) {
        entry = (Entry){ instance->identifier, instance->model };
    } else {
        const Model *model = models_find (call->api->models, call->id);
        if (!model) {
            fail_unknown (call);
            return;
        }
        entry = (Entry){ model->key, model };
    }
    g_autoptr (GString) out = g_string_sized_new (256);
    (anthropic ? print_anthropic : print_openai) (&entry, out);
    api_call_reply (call, 200, out->str, out->len);
}
