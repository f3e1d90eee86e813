/* One conversation, whatever API it came by: a request goes in, events come out.
 *
 * M wire formats and N model families meet here, so they cost M + N files.  An API family parses its bytes into a ChatRequest
 * and prints ChatEvents; it never sees an engine.  A body that is not streamed is a ChatFold over the same events, so the two
 * cannot differ.  Exactly one last event (CHAT_DONE or CHAT_FAILED) comes for each request, whatever happens. */
#pragma once

#include <glib.h>

#include "base/json.h"

/* ---- request ------------------------------------------------------------------------------------------------------------ */

/* What an HTTP or SDK client asked of the sampler; http.md 3.1.  Defaults: chat_request_new. */
typedef struct {
    double temperature;                    /* 0..2; 0 is greedy */
    double top_p;                          /* 0 < p <= 1; 1 is off */
    int top_k;                             /* 0 is off */
    double min_p;                          /* 0..1; 0 is off */
    double repeat_penalty;                 /* > 0; 1 is off */
    double presence_penalty;               /* -2..2 */
    double frequency_penalty;              /* -2..2 */
    double xtc_probability, xtc_threshold; /* probability 0 is off */
    double typical_p;                      /* 1 is off */
    int mirostat;                          /* 0 off, 1, 2 */
    double mirostat_eta, mirostat_tau;
    json_t *logit_bias; /* [[token id, bias], ..], biases of -100 and less ban; NULL is none; owned */
    gboolean has_seed;
    guint64 seed; /* folded to 32 bits by chat_request_to_job (http.md 3.2) */
} ChatSampling;

typedef enum { CHAT_OVERFLOW_STOP, CHAT_OVERFLOW_TRUNCATE_MIDDLE, CHAT_OVERFLOW_ROLLING } ChatOverflow;

typedef struct {
    /* One of these three is the prompt. */
    json_t *
        messages; /* OpenAI's form: [{"role","content":text or parts,"tool_calls","tool_call_id","name","reasoning_content"}] */
    json_t *prompt; /* a JSON string (may hold NUL): no template is applied */
    json_t *tokens; /* [int]: likewise */

    json_t *tools;     /* OpenAI's form, or NULL */
    char *tool_choice; /* "auto", "none", "required", or NULL */
    gboolean parallel_tool_calls;
    json_t *template_kwargs; /* further variables of the template, or NULL */
    char *chat_template;     /* in place of the model's own, or NULL */
    int enable_thinking;     /* -1 not said, 0, 1 */
    int reasoning_budget;    /* tokens; -1 is none */
    json_t *json_schema;     /* constrains the reply, or NULL */
    char *grammar;           /* GBNF, likewise */
    gboolean continue_final; /* a last assistant message is the beginning of the reply */

    ChatSampling sampling;
    gint64 max_tokens; /* -1: until the end token or the end of the context */
    json_t *stop;      /* [text], or NULL */
    int n_logprobs;    /* -1: none asked for; else the number of candidates beside the chosen one */
    gboolean
        prompt_logprobs; /* with @n_logprobs and a @prompt or @tokens: the tokens of the prompt get entries too, before the reply's */
    ChatOverflow overflow;
    gboolean want_prompt; /* ask for the rendered prompt in CHAT_STARTED */
    char *owner;          /* whose cached prefixes it may share: a token id, or NULL for "local" */
} ChatRequest;

/* A request with the last defaults of http.md 3.1. */
ChatRequest *chat_request_new (void);
void chat_request_free (ChatRequest *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ChatRequest, chat_request_free)

/* The payload of a JOB frame (link/link.h).  The caller owns it. */
json_t *chat_request_to_job (const ChatRequest *request);

/* ---- events -------------------------------------------------------------------------------------------------------------- */

typedef enum {
    CHAT_QUEUED,          /* no place yet */
    CHAT_LOADING,         /* the instance is loading: progress */
    CHAT_STARTED,         /* the job got a place: n_prompt, n_cached, text = the rendered prompt when asked for */
    CHAT_PROMPT_PROGRESS, /* n_done of n_prompt, cached ones included */
    CHAT_REASONING,       /* text */
    CHAT_CONTENT,         /* text */
    CHAT_CALL_BEGIN,      /* call_index, call_id, call_name */
    CHAT_CALL_ARGUMENTS,  /* call_index, text: a piece of the arguments' JSON */
    CHAT_CALL_END,        /* call_index */
    CHAT_LOGPROBS,        /* logprobs of the visible tokens since the last one */
    CHAT_DONE,            /* result */
    CHAT_FAILED,          /* failure */
} ChatEventType;

typedef enum {
    CHAT_STOP_EOS,
    CHAT_STOP_STRING,
    CHAT_STOP_LENGTH,
    CHAT_STOP_CONTEXT,
    CHAT_STOP_CALL,
    CHAT_STOP_CANCELLED,
} ChatStop;

typedef struct {
    ChatStop stop;
    char *stop_string;                                 /* with CHAT_STOP_STRING, else NULL; lent */
    int n_prompt, n_cached, n_completion, n_reasoning; /* http.md 3.7 */
    double queue_seconds, prompt_seconds, first_seconds,
        generate_seconds;  /* first: from the start of the job to the first token */
    gboolean parse_failed; /* what did not parse as a reply is in the content */
} ChatResult;

/* Why a request failed; the API's edge turns the kind into a status and a code (http.md 1.7). */
typedef enum {
    CHAT_FAIL_INVALID,       /* the request itself: 400 */
    CHAT_FAIL_CONTEXT,       /* the prompt does not fit: 400 context_length_exceeded */
    CHAT_FAIL_MODEL_UNKNOWN, /* 404 model_not_found */
    CHAT_FAIL_MODEL_MISSING, /* no model named, and none or several loaded: 400 */
    CHAT_FAIL_MODEL_TYPE,    /* 400 unsupported_model */
    CHAT_FAIL_LOAD,          /* the model will not load: 400 model_load_failed */
    CHAT_FAIL_MEMORY,        /* 400 insufficient_memory */
    CHAT_FAIL_UNLOADED,      /* unloaded while running: 500 engine_error */
    CHAT_FAIL_ENGINE,        /* the engine died or erred: 500 engine_error, worth a retry */
    CHAT_FAIL_OVERLOADED,    /* queue full: 503 */
    CHAT_FAIL_SHUTDOWN,      /* the daemon is going: 503 */
} ChatFailKind;

typedef struct {
    ChatFailKind kind;
    char *message;       /* a sentence for the user */
    char *param;         /* the field that is wrong, or NULL */
    int n_prompt, n_ctx; /* with CHAT_FAIL_CONTEXT */
} ChatFailure;

/* Reads the payload of a FAIL frame; the strings are lent by @payload. */
void chat_failure_read (ChatFailure *failure, const json_t *payload);

#define CHAT_ERROR (chat_error_quark ()) /* codes: ChatFailKind */
GQuark chat_error_quark (void);

/* Everything is lent for the time of the call. */
typedef struct {
    ChatEventType type;
    const char *text;
    gsize length; /* of @text in bytes; whole UTF-8 characters */
    int n_tokens; /* with text events: tokens sampled since the last event that carried some */
    int n_prompt, n_cached, n_done;
    double progress; /* 0..1 */
    guint call_index;
    const char *call_id, *call_name;
    const json_t *logprobs; /* [{"id","bytes":[int],"logprob","top":[{"id","bytes","logprob"}]}] */
    const ChatResult *result;
    const ChatFailure *failure;
} ChatEvent;

typedef void (*ChatEventFunc) (const ChatEvent *event, gpointer data);

/* Turns a frame of an engine's job into events (none, one or several).  @payload is the frame's, parsed.  TRUE when the last
 * event was given.  A frame that breaks the link's contract gives CHAT_FAILED. */
typedef struct ChatReader ChatReader;
ChatReader *chat_reader_new (void);
void chat_reader_free (ChatReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ChatReader, chat_reader_free)
gboolean
chat_reader_take (ChatReader *reader, guint link_type, const json_t *payload, ChatEventFunc func, gpointer data);

/* ---- fold: all events of one reply, as one value ------------------------------------------------------------------------- */

typedef struct {
    char *id, *name;
    GString *arguments;
} ChatCall;

typedef struct {
    GString *content, *reasoning;
    GString *prompt;   /* the rendered prompt, when it was asked for; else NULL */
    GPtrArray *calls;  /* ChatCall */
    json_t *logprobs;  /* array, or NULL */
    gboolean done;     /* @result is set */
    ChatResult result; /* owns its stop_string */
} ChatFold;

ChatFold *chat_fold_new (void);
void chat_fold_free (ChatFold *fold);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ChatFold, chat_fold_free)
void chat_fold_add (ChatFold *fold, const ChatEvent *event);
