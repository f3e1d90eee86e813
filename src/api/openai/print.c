/* print.c: a reply as chat.completion.chunk events, or as one chat.completion (spec: http.md 3.6, 3.7, 3.9, 4.2-4.4).
 *
 * A token costs one append between two constants: what every chunk of an answer has in common is made once (`head`).
 *
 *   data: {"id":..,"object":..,"created":..,"model":..,"system_fingerprint":..,"choices":[{"index":  head
 *   0,"delta":{                                                                                         open_chunk
 *   "content":"Hi"                                                                                      the event
 *   },"logprobs":null,"finish_reason":null}]}                                                         close_chunk */
#include "api/openai/openai.h"

#include "api/sse.h"

#include <string.h>

typedef struct {
    gboolean begun;    /* the chunk with the role is out */
    gboolean thinking; /* inside a thought that is shown as content */
    guint n_calls;     /* begun */
    GString *held;     /* content that waits for its logprobs; NULL without them */
    json_t *logprobs;  /* entries that wait for their content; owned, or NULL */
    ChatResult result;
} Choice;

struct OpenaiChatPrinter {
    char *id, *model;
    gint64 created;
    gboolean include_usage, wants_logprobs, old_functions, separate_reasoning;
    json_t *tool_names;        /* {the model's: the caller's}, or NULL */
    const char *reasoning_key; /* static; NULL: inside the content */
    char *think_start, *think_end;
    GString *head;
    guint n;
    Choice choices[];
};

static const char *const finish_reasons[] = {
    [CHAT_STOP_EOS] = "stop",       [CHAT_STOP_STRING] = "stop",     [CHAT_STOP_LENGTH] = "length",
    [CHAT_STOP_CONTEXT] = "length", [CHAT_STOP_CALL] = "tool_calls", [CHAT_STOP_CANCELLED] = "stop",
};

/* A reply that ended by itself with calls ended because of them. */
static const char *
finish_reason (const OpenaiChatPrinter *p, ChatStop stop, guint n_calls)
{
    const char *reason = finish_reasons[stop];
    if (g_str_equal (reason, "length"))
        return reason;
    return n_calls == 0 ? "stop" : p->old_functions ? "function_call" : "tool_calls";
}

static const char *
callers_name (const OpenaiChatPrinter *p, const char *name)
{
    const char *known = p->tool_names ? json_peek_string (p->tool_names, name) : NULL;
    return known ? known : name;
}

/* ---- parts that both forms have ------------------------------------------------------------------------------------------------- */

/* {"token":S,"logprob":L,"bytes":[..]} without its closing brace. */
static void
print_candidate (const json_t *entry, GString *out)
{
    char text[256];
    gsize length = 0, i;
    json_t *byte;
    json_array_foreach (json_object_get (entry, "bytes"), i, byte)
        if (length < sizeof text)
            text[length++] = json_integer_value (byte);
    g_autofree char *valid = g_utf8_make_valid (text, length);
    g_string_append (out, "{\"token\":");
    json_append_string (out, valid);
    g_string_append (out, ",\"logprob\":");
    json_append_value (out, json_object_get (entry, "logprob"));
    g_string_append (out, ",\"bytes\":");
    json_append_value (out, json_object_get (entry, "bytes"));
}

static void
print_logprobs (const json_t *entries, GString *out)
{
    if (!entries) {
        g_string_append (out, "null");
        return;
    }
    size_t i, k;
    json_t *entry, *candidate;
    g_string_append (out, "{\"content\":[");
    json_array_foreach (entries, i, entry) {
        if (i > 0)
            g_string_append_c (out, ',');
        print_candidate (entry, out);
        g_string_append (out, ",\"top_logprobs\":[");
        json_array_foreach (json_object_get (entry, "top"), k, candidate) {
            if (k > 0)
                g_string_append_c (out, ',');
            print_candidate (candidate, out);
            g_string_append_c (out, '}');
        }
        g_string_append (out, "]}");
    }
    g_string_append (out, "],\"refusal\":null}");
}

/* The prompt counts once, however many replies it got. */
void
openai_print_usage (const ChatResult *first, int n_completion, int n_reasoning, GString *out)
{
    g_string_append_printf (out,
                            "\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
                            "\"prompt_tokens_details\":{\"cached_tokens\":%d},"
                            "\"completion_tokens_details\":{\"reasoning_tokens\":%d}}",
                            first->n_prompt, n_completion, first->n_prompt + n_completion, first->n_cached,
                            n_reasoning);
}

/* ---- chunks --------------------------------------------------------------------------------------------------------------------- */

static void
open_chunk (const OpenaiChatPrinter *p, guint choice, GString *out)
{
    g_string_append_len (out, p->head->str, p->head->len);
    if (choice < 10)
        g_string_append_c (out, '0' + choice);
    else
        g_string_append_printf (out, "%u", choice);
    g_string_append (out, ",\"delta\":{");
}

static void
close_chunk (const OpenaiChatPrinter *p, const json_t *logprobs, const char *finish, GString *out)
{
    g_string_append (out, "},\"logprobs\":");
    print_logprobs (logprobs, out);
    g_string_append (out, ",\"finish_reason\":");
    json_append_string (out, finish);
    g_string_append (out, p->include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

static void
begin_choice (OpenaiChatPrinter *p, guint choice, GString *out)
{
    if (p->choices[choice].begun)
        return;
    p->choices[choice].begun = TRUE;
    open_chunk (p, choice, out);
    g_string_append (out, "\"role\":\"assistant\",\"content\":\"\"");
    close_chunk (p, NULL, NULL, out);
}

static void
text_chunk (OpenaiChatPrinter *p, guint choice, const char *key, const char *text, gsize length, const json_t *logprobs,
            GString *out)
{
    open_chunk (p, choice, out);
    g_string_append_c (out, '"');
    g_string_append (out, key);
    g_string_append (out, "\":");
    json_append_text (out, text, length);
    close_chunk (p, logprobs, NULL, out);
}

/* Content and the logprobs of its tokens leave in one chunk, whichever comes first. */
static void
release_held (OpenaiChatPrinter *p, guint index, GString *out)
{
    Choice *choice = &p->choices[index];
    if (!choice->held || (choice->held->len == 0 && !choice->logprobs))
        return;
    text_chunk (p, index, "content", choice->held->str, choice->held->len, choice->logprobs, out);
    g_string_truncate (choice->held, 0);
    json_decref (g_steal_pointer (&choice->logprobs));
}

static void
content (OpenaiChatPrinter *p, guint index, const char *text, gsize length, GString *out)
{
    Choice *choice = &p->choices[index];
    if (length == 0)
        return;
    if (!choice->held) {
        text_chunk (p, index, "content", text, length, NULL, out);
        return;
    }
    if (choice->held->len > 0)
        release_held (p, index, out);
    g_string_append_len (choice->held, text, length);
}

static void
logprobs (OpenaiChatPrinter *p, guint index, const json_t *entries, GString *out)
{
    Choice *choice = &p->choices[index];
    if (!choice->held)
        return;
    if (!choice->logprobs)
        choice->logprobs = json_array ();
    json_array_extend (choice->logprobs, (json_t *) entries);
    if (choice->held->len > 0)
        release_held (p, index, out);
}

/* A thought has a field of its own, or is content between the model's marks. */
static void
reasoning (OpenaiChatPrinter *p, guint index, const char *text, gsize length, GString *out)
{
    Choice *choice = &p->choices[index];
    if (p->reasoning_key) {
        text_chunk (p, index, p->reasoning_key, text, length, NULL, out);
        return;
    }
    if (!choice->thinking)
        content (p, index, p->think_start, strlen (p->think_start), out);
    choice->thinking = TRUE;
    content (p, index, text, length, out);
}

static void
end_thinking (OpenaiChatPrinter *p, guint index, GString *out)
{
    Choice *choice = &p->choices[index];
    if (choice->thinking)
        content (p, index, p->think_end, strlen (p->think_end), out);
    choice->thinking = FALSE;
}

/* The opener has id, type and name; later pieces have neither, not even an empty name: clients concatenate. */
static void
begin_call (OpenaiChatPrinter *p, guint choice, const ChatEvent *event, GString *out)
{
    const char *name = callers_name (p, event->call_name);
    p->choices[choice].n_calls++;
    open_chunk (p, choice, out);
    if (p->old_functions) {
        g_string_append (out, "\"function_call\":{\"name\":");
        json_append_string (out, name);
        g_string_append (out, ",\"arguments\":\"\"}");
    } else {
        g_string_append_printf (out, "\"tool_calls\":[{\"index\":%u,\"id\":", event->call_index);
        json_append_string (out, event->call_id);
        g_string_append (out, ",\"type\":\"function\",\"function\":{\"name\":");
        json_append_string (out, name);
        g_string_append (out, ",\"arguments\":\"\"}}]");
    }
    close_chunk (p, NULL, NULL, out);
}

static void
call_arguments (OpenaiChatPrinter *p, guint choice, const ChatEvent *event, GString *out)
{
    open_chunk (p, choice, out);
    if (p->old_functions)
        g_string_append (out, "\"function_call\":{\"arguments\":");
    else
        g_string_append_printf (out, "\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":", event->call_index);
    json_append_text (out, event->text, event->length);
    g_string_append (out, p->old_functions ? "}" : "}}]");
    close_chunk (p, NULL, NULL, out);
}

static void
done (OpenaiChatPrinter *p, guint index, const ChatResult *result, GString *out)
{
    Choice *choice = &p->choices[index];
    choice->result = *result;
    choice->result.stop_string = NULL; /* lent */
    open_chunk (p, index, out);
    close_chunk (p, NULL, finish_reason (p, result->stop, choice->n_calls), out);
}

static void
print_event (gpointer printer, guint index, const ChatEvent *event, GString *out)
{
    OpenaiChatPrinter *p = printer;
    if (event->type < CHAT_REASONING)
        return;
    begin_choice (p, index, out);
    if (event->type != CHAT_REASONING && event->type != CHAT_LOGPROBS)
        end_thinking (p, index, out);
    if (event->type != CHAT_CONTENT && event->type != CHAT_LOGPROBS &&
        (event->type != CHAT_REASONING || p->reasoning_key))
        release_held (p, index, out);
    switch (event->type) {
    case CHAT_REASONING:
        reasoning (p, index, event->text, event->length, out);
        break;
    case CHAT_CONTENT:
        content (p, index, event->text, event->length, out);
        break;
    case CHAT_CALL_BEGIN:
        begin_call (p, index, event, out);
        break;
    case CHAT_CALL_ARGUMENTS:
        call_arguments (p, index, event, out);
        break;
    case CHAT_LOGPROBS:
        logprobs (p, index, event->logprobs, out);
        break;
    case CHAT_DONE:
        done (p, index, event->result, out);
        break;
    default:
        break;
    }
}

static void
print_end (gpointer printer, GString *out)
{
    OpenaiChatPrinter *p = printer;
    if (p->include_usage) {
        int n_completion = 0, n_reasoning = 0;
        for (guint i = 0; i < p->n; i++) {
            n_completion += p->choices[i].result.n_completion;
            n_reasoning += p->choices[i].result.n_reasoning;
        }
        g_string_append_len (out, p->head->str, p->head->len - strlen ("{\"index\":"));
        g_string_append (out, "],");
        openai_print_usage (&p->choices[0].result, n_completion, n_reasoning, out);
        g_string_append (out, "}\n\n");
    }
    g_string_append (out, "data: [DONE]\n\n");
}

/* ---- one body ------------------------------------------------------------------------------------------------------------------- */

static void
print_content (const OpenaiChatPrinter *p, const ChatFold *fold, GString *out)
{
    gboolean inside = !p->reasoning_key && fold->reasoning->len > 0;
    if (fold->content->len == 0 && fold->calls->len > 0 && !inside) {
        g_string_append (out, "null");
    } else if (inside) {
        g_autoptr (GString) all = g_string_new (p->think_start);
        g_string_append_len (all, fold->reasoning->str, fold->reasoning->len);
        g_string_append (all, p->think_end);
        g_string_append_len (all, fold->content->str, fold->content->len);
        json_append_text (out, all->str, all->len);
    } else {
        json_append_text (out, fold->content->str, fold->content->len);
    }
}

static void
print_function (const OpenaiChatPrinter *p, const ChatCall *call, GString *out)
{
    g_string_append (out, "{\"name\":");
    json_append_string (out, callers_name (p, call->name));
    g_string_append (out, ",\"arguments\":");
    json_append_text (out, call->arguments->str, call->arguments->len);
    g_string_append_c (out, '}');
}

static void
print_calls (const OpenaiChatPrinter *p, const GPtrArray *calls, GString *out)
{
    if (p->old_functions) {
        g_string_append (out, ",\"function_call\":");
        print_function (p, calls->pdata[0], out);
        return;
    }
    for (guint i = 0; i < calls->len; i++) {
        const ChatCall *call = calls->pdata[i];
        g_string_append (out, i == 0 ? ",\"tool_calls\":[{\"id\":" : ",{\"id\":");
        json_append_string (out, call->id);
        g_string_append (out, ",\"type\":\"function\",\"function\":");
        print_function (p, call, out);
        g_string_append_c (out, '}');
    }
    g_string_append_c (out, ']');
}

static void
print_choice (const OpenaiChatPrinter *p, guint index, const ChatFold *fold, GString *out)
{
    g_string_append_printf (out, "{\"index\":%u,\"message\":{\"role\":\"assistant\",\"content\":", index);
    print_content (p, fold, out);
    if (p->reasoning_key && fold->reasoning->len > 0) {
        g_string_append_printf (out, ",\"%s\":", p->reasoning_key);
        json_append_text (out, fold->reasoning->str, fold->reasoning->len);
    }
    g_string_append (out, ",\"refusal\":null");
    if (fold->calls->len > 0)
        print_calls (p, fold->calls, out);
    g_string_append (out, "},\"logprobs\":");
    print_logprobs (p->wants_logprobs ? fold->logprobs : NULL, out);
    g_string_append (out, ",\"finish_reason\":");
    json_append_string (out, finish_reason (p, fold->result.stop, fold->calls->len));
    g_string_append_c (out, '}');
}

static void
print_whole (gpointer printer, const ChatFold *const *folds, GString *out)
{
    OpenaiChatPrinter *p = printer;
    int n_completion = 0, n_reasoning = 0;
    g_string_append_printf (
        out, "{\"id\":\"%s\",\"object\":\"chat.completion\",\"created\":%" G_GINT64_FORMAT ",\"model\":", p->id,
        p->created);
    json_append_string (out, p->model);
    g_string_append (out, ",\"choices\":[");
    for (guint i = 0; i < p->n; i++) {
        if (i > 0)
            g_string_append_c (out, ',');
        print_choice (p, i, folds[i], out);
        n_completion += folds[i]->result.n_completion;
        n_reasoning += folds[i]->result.n_reasoning;
    }
    g_string_append (out, "],");
    openai_print_usage (&folds[0]->result, n_completion, n_reasoning, out);
    g_string_append (out, ",\"stats\":{},\"system_fingerprint\":");
    json_append_string (out, p->model);
    g_string_append_c (out, '}');
}

/* ---- life ----------------------------------------------------------------------------------------------------------------------- */

OpenaiChatPrinter *
openai_chat_printer_new (const char *id, gint64 created, const OpenaiChat *chat, gboolean separate_reasoning)
{
    OpenaiChatPrinter *p = g_malloc0 (sizeof *p + chat->n * sizeof (Choice));
    p->id = g_strdup (id);
    p->created = created;
    p->n = chat->n;
    p->include_usage = chat->include_usage;
    p->wants_logprobs = chat->logprobs;
    p->old_functions = chat->old_functions;
    p->tool_names = chat->tool_names ? json_incref (chat->tool_names) : NULL;
    p->separate_reasoning = separate_reasoning;
    p->head = g_string_sized_new (256);
    for (guint i = 0; chat->logprobs && i < p->n; i++)
        p->choices[i].held = g_string_new (NULL);
    return p;
}

/* gpt-oss always shows its thoughts as `reasoning`; all others as `reasoning_content`, unless the user wants them in the content. */
void
openai_chat_printer_name (OpenaiChatPrinter *p, const char *identifier, const char *architecture,
                          const char *think_start, const char *think_end)
{
    gboolean gpt_oss = architecture && (g_str_equal (architecture, "gpt-oss") || g_str_equal (architecture, "gpt_oss"));
    p->model = g_strdup (identifier);
    p->reasoning_key = gpt_oss ? "reasoning" : p->separate_reasoning ? "reasoning_content" : NULL;
    p->think_start = g_strdup (think_start ? think_start : "");
    p->think_end = g_strdup (think_end ? think_end : "");

    g_string_append_printf (
        p->head,
        "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%" G_GINT64_FORMAT ",\"model\":", p->id,
        p->created);
    json_append_string (p->head, p->model);
    g_string_append (p->head, ",\"system_fingerprint\":");
    json_append_string (p->head, p->model);
    g_string_append (p->head, ",\"choices\":[{\"index\":");
}

static void
start (gpointer printer, const Instance *instance)
{
    const json_t *marks = instance ? json_object_get (instance->ready, "template") : NULL;
    const json_t *end = json_array_get (json_object_get (marks, "thinking_ends"), 0);
    openai_chat_printer_name (printer, instance ? instance->identifier : "",
                              instance && instance->model ? instance->model->architecture : NULL,
                              json_peek_string (marks, "thinking_start"), json_string_value (end));
}

static void
printer_free (gpointer printer)
{
    OpenaiChatPrinter *p = printer;
    for (guint i = 0; i < p->n; i++) {
        if (p->choices[i].held)
            g_string_free (p->choices[i].held, TRUE);
        json_decref (p->choices[i].logprobs);
    }
    g_free (p->id);
    g_free (p->model);
    g_free (p->think_start);
    g_free (p->think_end);
    json_decref (p->tool_names);
    g_string_free (p->head, TRUE);
    g_free (p);
}

const ApiPrinter openai_chat_printer_type = {
    .keep_alive = SSE_KEEP_ALIVE,
    .start = start,
    .event = print_event,
    .end = print_end,
    .whole = print_whole,
    .free = printer_free,
};
