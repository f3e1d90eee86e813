/* text.c: replies to bare prompts as text_completion events, or as one text_completion (spec: http.md 5).
 *
 * With `echo` a choice's text begins with its prompt; with `logprobs` too, the engine's entries begin with the prompt's tokens, the first of which
 * has no probability: nothing stands before it.  So text and entries are two sequences that run side by side, whatever they hold. */
#include "api/openai/openai.h"

#include "api/sse.h"

#include <string.h>

typedef struct {
    GString *held;   /* text that waits for its logprobs; the prompt, until the first event */
    gboolean begun;  /* the prompt is out or in @held */
    gsize n_chars;   /* of the text that the printed entries cover */
    guint n_entries; /* printed */
    ChatResult result;
} Choice;

struct OpenaiTextPrinter {
    char *id, *model;
    gint64 created;
    gboolean include_usage, echo;
    gint64 logprobs; /* -1: none */
    GString *head;
    guint n, best_of, n_jobs;
    Choice choices[]; /* n_jobs of them; streams have best_of = n */
};

static const char *
finish_reason (ChatStop stop)
{
    return stop == CHAT_STOP_LENGTH || stop == CHAT_STOP_CONTEXT ? "length" : "stop";
}

/* ---- logprobs ------------------------------------------------------------------------------------------------------------------- */

/* A token as text; what is no UTF-8 by itself is spelt "bytes:\xe2\x80", so that two such tokens stay two. */
static char *
token_text (const json_t *entry, GString *bytes)
{
    g_string_truncate (bytes, 0);
    size_t i;
    json_t *byte;
    json_array_foreach (json_object_get (entry, "bytes"), i, byte)
        g_string_append_c (bytes, (char) json_integer_value (byte));
    if (g_utf8_validate_len (bytes->str, bytes->len, NULL))
        return g_strndup (bytes->str, bytes->len);
    g_autoptr (GString) spelt = g_string_new ("bytes:");
    for (i = 0; i < bytes->len; i++)
        g_string_append_printf (spelt, "\\x%02x", (guint8) bytes->str[i]);
    return g_string_free (g_steal_pointer (&spelt), FALSE);
}

static void
print_top (const json_t *entry, GString *bytes, GString *out)
{
    if (json_is_null (json_object_get (entry, "logprob"))) {
        g_string_append (out, "null");
        return;
    }
    size_t i;
    json_t *candidate;
    g_string_append_c (out, '{');
    json_array_foreach (json_object_get (entry, "top"), i, candidate) {
        g_autofree char *text = token_text (candidate, bytes);
        if (i > 0)
            g_string_append_c (out, ',');
        json_append_string (out, text);
        g_string_append_c (out, ':');
        json_append_value (out, json_object_get (candidate, "logprob"));
    }
    g_string_append_c (out, '}');
}

/* Characters that begin in these bytes. */
static gsize
n_begun (const GString *bytes)
{
    gsize n = 0;
    for (gsize i = 0; i < bytes->len; i++)
        n += ((guint8) bytes->str[i] & 0xc0) != 0x80;
    return n;
}

/* @text is what the entries' text begins with: a mark that the model wants in front of every prompt is an entry, but no text. */
static void
print_logprobs (Choice *choice, const json_t *entries, const GString *text, GString *out)
{
    g_autoptr (GString) bytes = g_string_new (NULL), tokens = g_string_new (NULL), values = g_string_new (NULL),
                        tops = g_string_new (NULL), offsets = g_string_new (NULL);
    size_t i;
    json_t *entry;
    json_array_foreach (entries, i, entry) {
        const char *comma = i > 0 ? "," : "";
        g_string_append (tops, comma);
        print_top (entry, bytes, tops);
        g_autofree char *token = token_text (entry, bytes);
        g_string_append (tokens, comma);
        json_append_string (tokens, token);
        g_string_append (values, comma);
        json_append_value (values, json_object_get (entry, "logprob"));
        g_string_append_printf (offsets, "%s%" G_GSIZE_FORMAT, comma, choice->n_chars);
        gboolean shown =
            choice->n_entries++ > 0 || (bytes->len <= text->len && memcmp (bytes->str, text->str, bytes->len) == 0);
        if (shown)
            choice->n_chars += n_begun (bytes);
    }
    g_string_append_printf (out, "{\"tokens\":[%s],\"token_logprobs\":[%s],\"top_logprobs\":[%s],\"text_offset\":[%s]}",
                            tokens->str, values->str, tops->str, offsets->str);
}

/* ---- chunks --------------------------------------------------------------------------------------------------------------------- */

static void
chunk (OpenaiTextPrinter *p, guint index, const char *text, gsize length, const json_t *entries, const char *finish,
       GString *out)
{
    g_string_append_len (out, p->head->str, p->head->len);
    g_string_append_printf (out, "{\"index\":%u,\"text\":", index);
    json_append_text (out, text, length);
    g_string_append (out, ",\"logprobs\":");
    if (entries)
        print_logprobs (&p->choices[index], entries, p->choices[index].held, out);
    else
        g_string_append (out, "null");
    g_string_append (out, ",\"finish_reason\":");
    json_append_string (out, finish);
    g_string_append (out, p->include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

static void
release_held (OpenaiTextPrinter *p, guint index, const json_t *entries, GString *out)
{
    GString *held = p->choices[index].held;
    if (held->len == 0 && !entries)
        return;
    chunk (p, index, held->str, held->len, entries, NULL, out);
    g_string_truncate (held, 0);
}

static void
print_event (gpointer printer, guint index, const ChatEvent *event, GString *out)
{
    OpenaiTextPrinter *p = printer;
    Choice *choice = &p->choices[index];
    if (event->type == CHAT_STARTED && p->echo && event->text && !choice->begun) {
        choice->begun = TRUE;
        g_string_append_len (choice->held, event->text, event->length);
    }
    if (event->type == CHAT_CONTENT && p->logprobs >= 0) {
        g_string_append_len (choice->held, event->text, event->length);
    } else if (event->type == CHAT_CONTENT) {
        release_held (p, index, NULL, out);
        chunk (p, index, event->text, event->length, NULL, NULL, out);
    } else if (event->type == CHAT_LOGPROBS && p->logprobs >= 0) {
        release_held (p, index, event->logprobs, out);
    } else if (event->type == CHAT_DONE) {
        release_held (p, index, NULL, out);
        choice->result = *event->result;
        choice->result.stop_string = NULL; /* lent */
        chunk (p, index, "", 0, NULL, finish_reason (event->result->stop), out);
    }
}

/* Each prompt counts once, however many replies it got. */
static void
print_usage (const OpenaiTextPrinter *p, GString *out)
{
    ChatResult sum = { 0 };
    for (guint i = 0; i < p->n_jobs; i++) {
        const ChatResult *one = &p->choices[i].result;
        sum.n_completion += one->n_completion;
        if (i % p->best_of == 0) {
            sum.n_prompt += one->n_prompt;
            sum.n_cached += one->n_cached;
        }
    }
    openai_print_usage (&sum, sum.n_completion, 0, out);
}

static void
print_end (gpointer printer, GString *out)
{
    OpenaiTextPrinter *p = printer;
    if (p->include_usage) {
        g_string_append_len (out, p->head->str, p->head->len);
        g_string_append (out, "],");
        print_usage (p, out);
        g_string_append (out, "}\n\n");
    }
    g_string_append (out, "data: [DONE]\n\n");
}

/* ---- one body ------------------------------------------------------------------------------------------------------------------- */

static double
mean_logprob (const ChatFold *fold)
{
    gsize n = json_array_size (fold->logprobs), n_own = MIN (n, (gsize) fold->result.n_completion);
    double sum = 0;
    for (gsize i = n - n_own; i < n; i++)
        sum += json_peek_number (json_array_get (fold->logprobs, i), "logprob", 0);
    return n_own > 0 ? sum / n_own : 0;
}

/* The @rank-th best of a prompt's replies, by counting who is better; equals stay in order. */
static guint
find_rank (const OpenaiTextPrinter *p, const ChatFold *const *folds, guint rank)
{
    for (guint i = 0; p->best_of > p->n && i < p->best_of; i++) {
        guint n_better = 0;
        for (guint k = 0; k < p->best_of; k++) {
            double own = mean_logprob (folds[i]), other = mean_logprob (folds[k]);
            n_better += other > own || (other == own && k < i);
        }
        if (n_better == rank)
            return i;
    }
    return rank;
}

static void
print_choice (OpenaiTextPrinter *p, guint index, Choice *choice, const ChatFold *fold, GString *out)
{
    g_autoptr (GString) text = g_string_new (NULL);
    if (p->echo && fold->prompt)
        g_string_append_len (text, fold->prompt->str, fold->prompt->len);
    g_string_append_len (text, fold->content->str, fold->content->len);
    g_string_append_printf (out, "%s{\"index\":%u,\"text\":", index > 0 ? "," : "", index);
    json_append_text (out, text->str, text->len);
    g_string_append (out, ",\"logprobs\":");
    if (p->logprobs >= 0)
        print_logprobs (choice, fold->logprobs, text, out);
    else
        g_string_append (out, "null");
    g_string_append (out, ",\"finish_reason\":");
    json_append_string (out, finish_reason (fold->result.stop));
    g_string_append_c (out, '}');
}

static void
print_whole (gpointer printer, const ChatFold *const *folds, GString *out)
{
    OpenaiTextPrinter *p = printer;
    g_string_append_printf (
        out, "{\"id\":\"%s\",\"object\":\"text_completion\",\"created\":%" G_GINT64_FORMAT ",\"model\":", p->id,
        p->created);
    json_append_string (out, p->model);
    g_string_append (out, ",\"choices\":[");
    for (guint i = 0; i < p->n_jobs; i++)
        p->choices[i].result = folds[i]->result;
    for (guint prompt = 0; prompt < p->n_jobs / p->best_of; prompt++)
        for (guint i = 0; i < p->n; i++) {
            guint job = prompt * p->best_of + find_rank (p, folds + prompt * p->best_of, i);
            print_choice (p, prompt * p->n + i, &p->choices[job], folds[job], out);
        }
    g_string_append (out, "],");
    print_usage (p, out);
    g_string_append (out, ",\"stats\":{},\"system_fingerprint\":");
    json_append_string (out, p->model);
    g_string_append_c (out, '}');
}

/* ---- life ----------------------------------------------------------------------------------------------------------------------- */

OpenaiTextPrinter *
openai_text_printer_new (const char *id, gint64 created, const OpenaiCompletion *completion)
{
    guint n_jobs = openai_completion_n_jobs (completion);
    OpenaiTextPrinter *p = g_malloc0 (sizeof *p + n_jobs * sizeof (Choice));
    p->id = g_strdup (id);
    p->created = created;
    p->n = completion->chat.n;
    p->best_of = n_jobs / json_array_size (completion->prompts);
    p->n_jobs = n_jobs;
    p->include_usage = completion->chat.include_usage;
    p->echo = completion->echo;
    p->logprobs = completion->logprobs;
    p->head = g_string_sized_new (256);
    for (guint i = 0; i < n_jobs; i++)
        p->choices[i].held = g_string_new (NULL);
    return p;
}

void
openai_text_printer_name (OpenaiTextPrinter *p, const char *identifier)
{
    p->model = g_strdup (identifier);
    g_string_append_printf (
        p->head,
        "data: {\"id\":\"%s\",\"object\":\"text_completion\",\"created\":%" G_GINT64_FORMAT ",\"model\":", p->id,
        p->created);
    json_append_string (p->head, p->model);
    g_string_append (p->head, ",\"system_fingerprint\":");
    json_append_string (p->head, p->model);
    g_string_append (p->head, ",\"choices\":[");
}

static void
start (gpointer printer, const Instance *instance)
{
    openai_text_printer_name (printer, instance ? instance->identifier : "");
}

static void
printer_free (gpointer printer)
{
    OpenaiTextPrinter *p = printer;
    for (guint i = 0; i < p->n_jobs; i++)
        g_string_free (p->choices[i].held, TRUE);
    g_free (p->id);
    g_free (p->model);
    g_string_free (p->head, TRUE);
    g_free (p);
}

const ApiPrinter openai_text_printer_type = {
    .keep_alive = SSE_KEEP_ALIVE,
    .start = start,
    .event = print_event,
    .end = print_end,
    .whole = print_whole,
    .free = printer_free,
};
