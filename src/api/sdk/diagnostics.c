/* diagnostics.c: the log stream: prompts, replies, the server's lines, the engines' lines (spec: sdk.md 6.6, 7.9).
 *
 * Everything goes into one stream; clients filter.  Clients of version 1.5 know prompts alone and answer each other kind with a warning: after
 * the first one they are spared.  A client that does not read misses lines, and is told how many. */
#include "api/sdk/endpoints.h"
#include "home/log.h"

#include <string.h>

typedef struct {
    SdkCall *call; /* not a reference: the call owns this */
    Instances *instances;
    guint watch, subscription;
    guint warnings_before; /* of the connection, when the stream began */
    gboolean slow;
    guint64 n_missed;
} Stream;

static void
stream_free (gpointer data)
{
    Stream *stream = data;
    instances_unwatch (stream->instances, stream->watch);
    log_unsubscribe (stream->subscription);
    g_free (stream);
}

/* Takes @data_member. */
static void
tell (Stream *stream, json_t *data_member)
{
    if (stream->slow) {
        stream->n_missed++;
        json_decref (data_member);
        return;
    }
    json_t *log = json_pack ("{s:I, s:o}", "timestamp", (json_int_t) (g_get_real_time () / 1000), "data", data_member);
    stream->slow = !sdk_call_send (stream->call, json_pack ("{s:s, s:o}", "type", "log", "log", log));
}

static gboolean
knows_prompts_only (const Stream *stream)
{
    return sdk_connection_warnings (sdk_call_connection (stream->call)) > stream->warnings_before;
}

static void
saw_input (const Instance *instance, const char *prompt, gsize length, gpointer data)
{
    json_t *member = json_pack ("{s:s, s:s, s:s}", "type", "llm.prediction.input", "modelPath", instance->model->path,
                                "modelIdentifier", instance->identifier);
    json_set_text (member, "input", prompt, length);
    tell (data, member);
}

static void
saw_output (const Instance *instance, const char *text, gsize length, const ChatResult *result, gpointer data)
{
    if (knows_prompts_only (data))
        return;
    json_t *member = json_pack ("{s:s, s:s}", "type", "llm.prediction.output", "modelIdentifier", instance->identifier);
    json_set_text (member, "output", text, length);
    if (result)
        json_object_set_new (member, "stats", sdk_stats (result, sdk_stop_reason (result->stop)));
    tell (data, member);
}

static void
saw_line (LogLevel level, const char *source, const char *text, gpointer data)
{
    static const char *const levels[] = { "debug", "info", "warn", "error" };
    Stream *stream = data;
    if (knows_prompts_only (stream))
        return;
    json_t *member = json_pack ("{s:s}", "level", levels[level]);
    const char *text_member = source ? "message" : "content";
    json_object_set_new (member, "type", json_string (source ? "runtime.log" : "server.log"));
    json_set_text (member, text_member, text, strlen (text));
    if (source) {
        const Instance *instance = instances_by_identifier (stream->instances, source);
        const char *version = json_peek_string (instance ? instance->ready : NULL, "llama");
        json_object_set_new (member, "engineName", json_string ("llama.cpp"));
        json_object_set_new (member, "engineVersion", json_string (version ? version : "unknown"));
        json_object_set_new (member, "engineType", json_string ("llama.cpp"));
        json_object_set_new (member, "modelIdentifier", json_string (source));
    }
    tell (stream, member);
}

void
sdk_stream_logs (SdkCall *call, const json_t *parameter)
{
    static const InstanceWatch watch = { saw_input, saw_output };
    Stream *stream = g_new0 (Stream, 1);
    stream->call = call;
    stream->instances = sdk_call_api (call)->instances;
    stream->warnings_before = sdk_connection_warnings (sdk_call_connection (call));
    stream->watch = instances_watch (stream->instances, &watch, stream);
    stream->subscription = log_subscribe (saw_line, stream);
    sdk_call_set_state (call, stream, stream_free);
}

/* The one message is `stop`. */
void
sdk_stream_logs_message (SdkCall *call, const char *type, const json_t *message)
{
    sdk_call_close (call);
}

void
sdk_stream_logs_drained (SdkCall *call)
{
    Stream *stream = sdk_call_state (call);
    stream->slow = FALSE;
    if (stream->n_missed == 0 || knows_prompts_only (stream))
        return;
    g_autofree char *text = g_strdup_printf (
        "%" G_GUINT64_FORMAT " log entries were left out: this client read too slowly", stream->n_missed);
    stream->n_missed = 0;
    tell (stream, json_pack ("{s:s, s:s, s:s}", "type", "server.log", "level", "warn", "content", text));
}
