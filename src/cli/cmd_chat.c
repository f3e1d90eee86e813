/* lms chat: one answer on stdout (spec: cli.md 2).
 *
 * The prompt is -p, what is piped in, or both.  stdout holds the reply and nothing else, as it comes.  Talking on and on at the
 * terminal is a screen of its own and not part of this file. */
#include "cli/commands.h"

#include "cli/choose.h"
#include "cli/loaded.h"
#include "cli/loading.h"
#include "cli/prefs.h"
#include "cli/terminal.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#define MAX_STDIN_BYTES     (16 * 1024 * 1024)
#define DEFAULT_TTL_SECONDS 3600
#define CANCEL_TIMEOUT_MS   2000
#define SYSTEM_PROMPT                                                                                                \
    "You are a helpful assistant running in the user's terminal. Answer concisely and to the point; use plain text " \
    "where it will do."

/* ---- the prompt --------------------------------------------------------------------------------------------------------- */

/* All of stdin, trimmed.  NULL when it is larger than it may be, or cannot be read; that has been said. */
static char *
read_stdin (void)
{
    g_autoptr (GString) text = g_string_new (NULL);
    char chunk[65536];
    gssize n;
    while ((n = read (STDIN_FILENO, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            say_error ("Cannot read stdin: %s", g_strerror (errno));
            return NULL;
        }
        if (text->len + (gsize) n > MAX_STDIN_BYTES) {
            say_error ("The text on stdin is larger than 16 MiB.");
            return NULL;
        }
        g_string_append_len (text, chunk, n);
    }
    g_autofree char *valid = g_utf8_make_valid (text->str, (gssize) text->len);
    return g_strdup (g_strstrip (valid));
}

/* What the user wants to say.  NULL: why not has been said. */
static char *
prompt_text (const Args *args)
{
    const char *flag = args_text (args, "prompt");
    gboolean piped = !terminal_is (STDIN_FILENO);
    if (flag && !*flag)
        flag = NULL;
    if (!flag && !piped) {
        say_error ("The interactive chat screen is not part of this version. Pass a prompt with -p, or pipe one in.");
        return NULL;
    }
    g_autofree char *input = piped ? read_stdin () : g_strdup ("");
    if (!input)
        return NULL;
    if (!flag && !*input) {
        say_error ("No prompt provided for non-interactive chat.");
        return NULL;
    }
    if (!flag)
        return g_steal_pointer (&input);
    return *input ? g_strconcat (flag, "\n\n", input, NULL) : g_strdup (flag);
}

/* ---- the model ---------------------------------------------------------------------------------------------------------- */

static int
say_no_model (const char *name)
{
    if (name)
        say_error ("Model \"%s\" not found, load with:\n       lms load %s", name, name);
    else
        say_error ("No loaded model found, load with:\n       lms load");
    return 1;
}

/* Loads @name, or takes it as it is loaded.  0 and *info (a new reference), or the exit code; *missing is set where there is no such model,
 * and then nothing has been said. */
static int
load_model (const Args *args, Client *client, const char *name, json_t **info, gboolean *missing)
{
    g_autoptr (GError) error = NULL;
    json_int_t ttl_ms = (json_int_t) args_number (args, "ttl", DEFAULT_TTL_SECONDS) * 1000;
    json_t *creation = json_pack ("{s:s, s:I, s:{s:[{s:s, s:{s:[]}}]}}", "identifier", name, "loadTtlMs", ttl_ms,
                                  "loadConfigStack", "layers", "layerName", "apiOverride", "config", "fields");
    switch (loading_run (client, "llm", "getOrLoad", creation, name, info, &error)) {
    case LOADING_CANCELLED:
        say_warn ("Load cancelled.");
        return 1;
    case LOADING_FAILED:
        *missing = g_error_matches (error, SDK_ERROR, SDK_ERROR_NO_MODEL);
        return *missing ? 1 : say_failure (error);
    case LOADING_DONE:
        break;
    }
    return 0;
}

/* At a terminal: which of the downloaded models.  NULL when the user left, or there is none; that has been said. */
static const char *
pick_model (Client *client, GError **error)
{
    json_t *list = client_ask (client, "system", "listDownloadedModels", NULL, error);
    if (!list)
        return NULL;
    g_auto (GStrv) last = prefs_last_models ();
    g_autoptr (GPtrArray) models = choose_candidates (list, (const char *const *) last, FALSE);
    for (guint i = models->len; i > 0; i--)
        if (strcmp (loaded_namespace (g_ptr_array_index (models, i - 1)), "llm") != 0)
            g_ptr_array_remove_index (models, i - 1);
    if (!models->len) {
        say_no_model (NULL);
        return NULL;
    }
    say_error ("Did not find the model. Please select a model to use:");
    const json_t *model =
        choose_from_list (models, "Select a model to chat with", 4, NULL, loaded_link_status (client, list));
    return json_peek_string (model, "modelKey");
}

/* @name names no model, or nothing is loaded and @name is NULL: what can be done about it depends on who is there to ask. */
static int
find_another (const Args *args, Client *client, const char *name, json_t **info)
{
    if (!terminal_is (STDIN_FILENO) || !terminal_is (STDERR_FILENO))
        return say_no_model (name);
    const char *slash = name ? strchr (name, '/') : NULL;
    if (name && (!slash || slash == name || !slash[1] || strchr (slash + 1, '/'))) {
        say_error ("Invalid model name '%s'. Please provide a model name in the format 'owner/model-name'.", name);
        return 1;
    }
    if (args_has (args, "yes"))
        return say_no_model (name);
    g_autoptr (GError) error = NULL;
    const char *key = pick_model (client, &error);
    gboolean missing = FALSE;
    if (error)
        return say_failure (error);
    int code = key ? load_model (args, client, key, info, &missing) : 1;
    return missing ? say_no_model (key) : code;
}

/* The model to talk to: @name, loaded if it must be; without it, any loaded one.  0 and *info (a new reference), or the exit code. */
static int
find_model (const Args *args, Client *client, const char *name, json_t **info)
{
    g_autoptr (GError) error = NULL;
    if (name) {
        gboolean missing = FALSE;
        int code = load_model (args, client, name, info, &missing);
        return missing ? find_another (args, client, name, info) : code;
    }
    json_t *any = client_ask (
        client, "llm", "getModelInfo",
        json_pack ("{s:{s:s, s:{}}, s:b}", "specifier", "type", "query", "query", "throwIfNotFound", FALSE), &error);
    if (error)
        return say_failure (error);
    *info = json_incref (any);
    return any ? 0 : find_another (args, client, NULL, info);
}

/* ---- the reply ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    ClientCall *channel;
    char last;          /* the last byte on stdout; '\n' at the start */
    gboolean cancelled; /* Ctrl-C was pressed */
    json_t *stats;      /* of the end */
} Reply;

static void
print_reply (Reply *reply, const char *text, gsize length)
{
    if (!length)
        return;
    print_out (text, length);
    reply->last = text[length - 1];
}

static void
on_fragment (Reply *reply, const json_t *fragment)
{
    const char *kind = json_peek_string (fragment, "reasoningType");
    if (g_strcmp0 (kind, "reasoningStartTag") == 0)
        print_reply (reply, "<think>\n", strlen ("<think>\n"));
    else if (g_strcmp0 (kind, "reasoningEndTag") == 0)
        print_reply (reply, "\n</think>\n", strlen ("\n</think>\n"));
    else if (!json_peek_bool (fragment, "isStructural", FALSE))
        print_reply (reply, json_string_value (json_object_get (fragment, "content")),
                     json_string_length (json_object_get (fragment, "content")));
}

static void
on_message (ClientCall *channel, const char *type, json_t *message, gpointer data)
{
    Reply *reply = data;
    if (strcmp (type, "fragment") == 0) {
        on_fragment (reply, json_object_get (message, "fragment"));
    } else if (strcmp (type, "success") == 0) {
        json_decref (reply->stats);
        reply->stats = json_incref (json_object_get (message, "stats"));
    }
}

static gboolean
on_interrupt (gpointer data)
{
    Reply *reply = data;
    if (reply->cancelled)
        _exit (130);
    reply->cancelled = TRUE;
    client_send (reply->channel, "cancel");
    return G_SOURCE_CONTINUE;
}

static void
say_stats (const json_t *stats)
{
    static const struct {
        const char *label, *member;
        int decimals;
        const char *unit;
    } lines[] = {
        { "Tokens/Second", "tokensPerSecond", 2, "" },   { "Time to First Token", "timeToFirstTokenSec", 3, "s" },
        { "Prompt Tokens", "promptTokensCount", 0, "" }, { "Predicted Tokens", "predictedTokensCount", 0, "" },
        { "Total Tokens", "totalTokensCount", 0, "" },
    };
    fputs ("\nPrediction Stats:\n", stderr);
    const char *reason = json_peek_string (stats, "stopReason");
    if (reason)
        fprintf (stderr, "  Stop Reason: %s\n", reason);
    for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
        const json_t *value = json_object_get (stats, lines[i].member);
        if (json_is_number (value))
            fprintf (stderr, "  %s: %.*f%s\n", lines[i].label, lines[i].decimals, json_number_value (value),
                     lines[i].unit);
    }
}

static json_t *
predict_parameter (const Args *args, const json_t *info, const char *prompt)
{
    const char *system = args_text (args, "system-prompt"), *reasoning = args_text (args, "reasoning");
    json_t *fields = json_array ();
    if (reasoning && strcmp (reasoning, "auto") != 0)
        json_array_append_new (fields, json_pack ("{s:s, s:b}", "key", "llm.prediction.reasoning.enableThinking",
                                                  "value", strcmp (reasoning, "on") == 0));
    json_t *messages = json_array ();
    if (!system)
        system = SYSTEM_PROMPT;
    if (*system)
        json_array_append_new (
            messages, json_pack ("{s:s, s:[{s:s, s:s}]}", "role", "system", "content", "type", "text", "text", system));
    json_array_append_new (
        messages, json_pack ("{s:s, s:[{s:s, s:s}]}", "role", "user", "content", "type", "text", "text", prompt));
    return json_pack ("{s:{s:s, s:s}, s:{s:o}, s:{s:[{s:s, s:{s:o}}]}}", "modelSpecifier", "type", "instanceReference",
                      "instanceReference", json_peek_string (info, "instanceReference"), "history", "messages",
                      messages, "predictionConfigStack", "layers", "layerName", "apiOverride", "config", "fields",
                      fields);
}

static int
answer (const Args *args, Client *client, const json_t *info, const char *prompt)
{
    Reply reply = { .last = '\n' };
    json_t *parameter = predict_parameter (args, info, prompt);
    if (!parameter) {
        say_error ("Error during chat: the text is not valid UTF-8.");
        return 1;
    }
    reply.channel = client_open (client, "llm", "predict", parameter, on_message, &reply);
    guint interrupt = g_unix_signal_add (SIGINT, on_interrupt, &reply);
    g_autoptr (GError) error = NULL;
    gboolean closed = client_wait_closed_unless (reply.channel, &reply.cancelled, &error);
    if (reply.cancelled)
        client_wait_ended (reply.channel, CANCEL_TIMEOUT_MS);
    g_source_remove (interrupt);
    g_autoptr (json_t) stats = reply.stats;
    if (reply.last != '\n')
        print_out ("\n", 1);
    if (reply.cancelled)
        return 130;
    if (!closed || !stats) {
        say_error ("Error during chat: %s", error ? error->message : "Channel closed unexpectedly.");
        return 1;
    }
    if (args_has (args, "stats") && say_shows (SAY_INFO))
        say_stats (stats);
    return 0;
}

int
cmd_chat (const Args *args)
{
    g_autofree char *prompt = prompt_text (args);
    if (!prompt)
        return 1;
    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new (args, DAEMON_WAKE, "llm", &error);
    if (!client)
        return say_failure (error);
    g_autoptr (json_t) info = NULL;
    int code = find_model (args, client, args_word (args, 0), &info);
    return code ? code : answer (args, client, info, prompt);
}
