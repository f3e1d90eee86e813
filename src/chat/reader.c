/* reader.c: from an engine's frames to ChatEvents.
 *
 * The engine says what changed (START, PREFILL, DELTA, DONE, FAIL; payloads in link/link.h); this file adds what the events
 * promise on top: a call has a begin, pieces and an end, and the last event is the last. */
#include "chat/chat.h"

#include "base/ids.h"
#include "link/link.h"

#include <string.h>

struct ChatReader {
    gint64 open_call; /* index of the call whose arguments are coming, 0 to G_MAXUINT, or -1 */
    gboolean ended;
};

ChatReader *
chat_reader_new (void)
{
    ChatReader *reader = g_new0 (ChatReader, 1);
    reader->open_call = -1;
    return reader;
}

void
chat_reader_free (ChatReader *reader)
{
    g_free (reader);
}

static const struct {
    const char *name;
    ChatStop stop;
} stops[] = {
    { "stop", CHAT_STOP_EOS },  { "stop_string", CHAT_STOP_STRING },  { "length", CHAT_STOP_LENGTH },
    { "call", CHAT_STOP_CALL }, { "cancelled", CHAT_STOP_CANCELLED }, { "context_full", CHAT_STOP_CONTEXT },
};

static const struct {
    const char *name;
    ChatFailKind kind;
} failures[] = {
    { "invalid", CHAT_FAIL_INVALID }, { "template", CHAT_FAIL_INVALID },  { "grammar", CHAT_FAIL_INVALID },
    { "context", CHAT_FAIL_CONTEXT }, { "unloaded", CHAT_FAIL_UNLOADED }, { "memory", CHAT_FAIL_MEMORY },
    { "internal", CHAT_FAIL_ENGINE },
};

static void
end_call (ChatReader *reader, ChatEventFunc func, gpointer data)
{
    if (reader->open_call < 0)
        return;
    func (&(ChatEvent){ .type = CHAT_CALL_END, .call_index = reader->open_call }, data);
    reader->open_call = -1;
}

static void
give_text (const json_t *text, ChatEventType type, int *n_tokens, ChatEventFunc func, gpointer data)
{
    if (!json_is_string (text) || json_string_length (text) == 0)
        return;
    func (&(ChatEvent){ .type = type,
                        .text = json_string_value (text),
                        .length = json_string_length (text),
                        .n_tokens = *n_tokens },
          data);
    *n_tokens = 0;
}

static void
take_call_delta (ChatReader *reader, const json_t *delta, int *n_tokens, ChatEventFunc func, gpointer data)
{
    gint64 index = json_peek_int (delta, "call", 0);
    if (index != reader->open_call) {
        end_call (reader, func, data);
        g_autofree char *made_id = NULL;
        const char *id = json_peek_string (delta, "id");
        if (!id || !*id)
            id = made_id = ids_new ("", IDS_DIGITS, 9);
        const char *name = json_peek_string (delta, "name");
        reader->open_call = index;
        func (&(ChatEvent){ .type = CHAT_CALL_BEGIN,
                            .call_index = index,
                            .call_id = id,
                            .call_name = name ? name : "",
                            .n_tokens = *n_tokens },
              data);
        *n_tokens = 0;
    }
    const json_t *text = json_object_get (delta, "args");
    if (json_is_string (text) && json_string_length (text) > 0) {
        func (&(ChatEvent){ .type = CHAT_CALL_ARGUMENTS,
                            .call_index = index,
                            .text = json_string_value (text),
                            .length = json_string_length (text),
                            .n_tokens = *n_tokens },
              data);
        *n_tokens = 0;
    }
}

/* FALSE: a call has no index, or one that no engine of ours gives. */
static gboolean
take_deltas (ChatReader *reader, const json_t *payload, ChatEventFunc func, gpointer data)
{
    int n_tokens = json_peek_int (payload, "tokens", 0);
    size_t i;
    json_t *delta;
    json_array_foreach (json_object_get (payload, "deltas"), i, delta) {
        if (json_object_get (delta, "call")) {
            gint64 index = json_peek_int (delta, "call", -1);
            if (index < 0 || index > G_MAXUINT)
                return FALSE;
            take_call_delta (reader, delta, &n_tokens, func, data);
            continue;
        }
        end_call (reader, func, data);
        give_text (json_object_get (delta, "reasoning"), CHAT_REASONING, &n_tokens, func, data);
        give_text (json_object_get (delta, "content"), CHAT_CONTENT, &n_tokens, func, data);
    }
    const json_t *logprobs = json_object_get (payload, "logprobs");
    if (json_array_size (logprobs) > 0)
        func (&(ChatEvent){ .type = CHAT_LOGPROBS, .logprobs = logprobs }, data);
    return TRUE;
}

static void
take_done (ChatReader *reader, const json_t *payload, ChatEventFunc func, gpointer data)
{
    const json_t *usage = json_object_get (payload, "usage"), *times = json_object_get (payload, "times");
    ChatResult result = {
        .stop_string = (char *) json_peek_string (payload, "stop_string"),
        .n_prompt = json_peek_int (usage, "prompt", 0),
        .n_cached = json_peek_int (usage, "cached", 0),
        .n_completion = json_peek_int (usage, "completion", 0),
        .n_reasoning = json_peek_int (usage, "reasoning", 0),
        .queue_seconds = json_peek_number (times, "queue_ms", 0) / 1000,
        .prompt_seconds = json_peek_number (times, "prompt_ms", 0) / 1000,
        .first_seconds = json_peek_number (times, "first_ms", 0) / 1000,
        .generate_seconds = json_peek_number (times, "generate_ms", 0) / 1000,
        .parse_failed = json_peek_bool (payload, "parse_failed", FALSE),
    };
    for (guint i = 0; i < G_N_ELEMENTS (stops); i++)
        if (g_strcmp0 (json_peek_string (payload, "reason"), stops[i].name) == 0)
            result.stop = stops[i].stop;
    end_call (reader, func, data);
    reader->ended = TRUE;
    func (&(ChatEvent){ .type = CHAT_DONE, .result = &result }, data);
}

void
chat_failure_read (ChatFailure *failure, const json_t *payload)
{
    const char *kind = json_peek_string (payload, "kind"), *message = json_peek_string (payload, "message");
    *failure = (ChatFailure){
        .kind = CHAT_FAIL_ENGINE,
        .message = (char *) (message ? message : "The engine failed without a reason."),
        .param = (char *) json_peek_string (payload, "param"),
        .n_prompt = json_peek_int (payload, "n_prompt", 0),
        .n_ctx = json_peek_int (payload, "n_ctx", 0),
    };
    for (guint i = 0; i < G_N_ELEMENTS (failures); i++)
        if (g_strcmp0 (kind, failures[i].name) == 0)
            failure->kind = failures[i].kind;
}

static void
take_failure (ChatReader *reader, const json_t *payload, ChatEventFunc func, gpointer data)
{
    ChatFailure failure;
    chat_failure_read (&failure, payload);
    reader->ended = TRUE;
    func (&(ChatEvent){ .type = CHAT_FAILED, .failure = &failure }, data);
}

static void
fail_contract (ChatReader *reader, const char *what, guint link_type, ChatEventFunc func, gpointer data)
{
    g_autofree char *message = g_strdup_printf ("The engine sent %s%s for a job.", what, link_type_name (link_type));
    g_autoptr (json_t) failure = json_pack ("{s:s, s:s}", "kind", "internal", "message", message);
    take_failure (reader, failure, func, data);
}

gboolean
chat_reader_take (ChatReader *reader, guint link_type, const json_t *payload, ChatEventFunc func, gpointer data)
{
    if (reader->ended)
        return TRUE;
    switch (link_type) {
    case LINK_START: {
        const json_t *prompt = json_object_get (payload, "prompt");
        func (&(ChatEvent){ .type = CHAT_STARTED,
                            .n_prompt = json_peek_int (payload, "n_prompt", 0),
                            .n_cached = json_peek_int (payload, "n_cached", 0),
                            .text = json_string_value (prompt),
                            .length = json_string_length (prompt) },
              data);
        break;
    }
    case LINK_PREFILL:
        func (&(ChatEvent){ .type = CHAT_PROMPT_PROGRESS,
                            .n_done = json_peek_int (payload, "done", 0),
                            .n_prompt = json_peek_int (payload, "total", 0) },
              data);
        break;
    case LINK_DELTA:
        if (!take_deltas (reader, payload, func, data))
            fail_contract (reader, "a broken ", link_type, func, data);
        break;
    case LINK_DONE:
        take_done (reader, payload, func, data);
        break;
    case LINK_FAIL:
        take_failure (reader, payload, func, data);
        break;
    default:
        fail_contract (reader, "", link_type, func, data);
    }
    return reader->ended;
}
