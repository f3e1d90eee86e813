/* The OpenAI-compatible API: chat completions, completions, embeddings and the list of models (spec: http.md 4 to 7).
 *
 *   messages.c     what may stand in `messages`     request.c  the body's fields, into ChatRequests
 *   tools.c        tools and tool_choice            print.c    ChatEvents, into chunks or one body of a chat
 *   chat.c         the endpoint                     text.c     the same for completions
 *   completions.c  prompts in place of messages     embeddings.c, models.c  no generation */
#pragma once

#include "api/call.h"
#include "api/fields.h"
#include "api/run.h"

/* ---- endpoints ----------------------------------------------------------------------------------------------------------- */

void openai_chat (ApiCall *call);
void openai_completions (ApiCall *call);
void openai_embeddings (ApiCall *call);
void openai_models (ApiCall *call);
void openai_model (ApiCall *call);

#define OPENAI_MAX_TTL_SECONDS (10 * 366 * 24 * 3600) /* more is for ever */
#define OPENAI_MAX_N           16
#define OPENAI_MAX_CHOICES     256 /* jobs of one request for completions: prompts times best_of */

/* ---- request ------------------------------------------------------------------------------------------------------------- */

/* What the body of a chat completion says, read and checked.  Strings and json_t are lent by the body unless said otherwise. */
typedef struct {
    const char *model;
    gboolean stream, include_usage;
    gint64 n;   /* choices */
    gint64 ttl; /* seconds; 0: not given */

    ChatSampling sampling;                    /* logit_bias owned */
    gint64 seed;                              /* -1: random */
    gint64 max_tokens, max_completion_tokens; /* G_MININT64: not given; -1: none */
    json_t *stop;                             /* owned */
    gboolean logprobs;
    gint64 top_logprobs; /* -1: not given */
    int overflow;        /* ChatOverflow */
    const char *grammar;

    json_t *messages; /* owned: normalised */
    gboolean continue_final_message, continues;
    json_t *tools;           /* owned: normalised, or NULL */
    const char *tool_choice; /* static: "auto", "none", "required", or NULL */
    gboolean parallel_tool_calls;
    gboolean old_functions; /* `functions` was used: the reply is `function_call` */
    json_t *tool_names;     /* owned: {name for the model: the caller's}, where they differ; or NULL */
    json_t *json_schema;    /* owned, or NULL */
    int effort;             /* position in openai_efforts, or -1 */
    json_t *template_kwargs;

    /* not yet normalised */
    json_t *raw_messages, *raw_tools, *raw_functions, *raw_tool_choice, *raw_function_call, *raw_schema, *raw_bias;
    int format;      /* position in the list of response_format types, or -1 */
    gboolean strict; /* read, without effect: a schema is always enforced */
} OpenaiChat;

/* Reads a body.  FALSE and @error at the first mistake; @chat must be cleared either way. */
gboolean openai_chat_read (OpenaiChat *chat, const json_t *body, ApiError *error);
void openai_chat_clear (OpenaiChat *chat);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (OpenaiChat, openai_chat_clear)

/* The request for choice @index (seed + index).  The caller owns it. */
ChatRequest *openai_chat_request (const OpenaiChat *chat, guint index);

/* Parts of openai_chat_read.  The rows that every generating endpoint shares have their places in an OpenaiChat, which completions
 * therefore begin with; settling checks them against each other. */
extern const FieldTable openai_shared_fields;
void openai_chat_init (OpenaiChat *chat);
gboolean openai_shared_settle (OpenaiChat *chat, const json_t *body, ApiError *error);
gboolean openai_messages_read (OpenaiChat *chat, ApiError *error);
gboolean openai_tools_read (OpenaiChat *chat, ApiError *error);

/* chat_schema_prepare, with its error in this API's form: a keyword that cannot be enforced is API_INVALID_VALUE with the keyword's path
 * below @path.  The caller owns the result. */
json_t *openai_schema_prepare (const json_t *schema, const char *path, ApiError *error);

/* ---- printer ------------------------------------------------------------------------------------------------------------- */

typedef struct OpenaiChatPrinter OpenaiChatPrinter;
extern const ApiPrinter openai_chat_printer_type;

/* @id and @created are the answer's; what it needs of @chat it copies. */
OpenaiChatPrinter *
openai_chat_printer_new (const char *id, gint64 created, const OpenaiChat *chat, gboolean separate_reasoning);
/* What `start` learns of an instance, given by hand (tests).  @think_start, @think_end: the marks that go around a thought which is
 * shown inside the content; NULL: none. */
void openai_chat_printer_name (OpenaiChatPrinter *printer, const char *identifier, const char *architecture,
                               const char *think_start, const char *think_end);

/* `include_usage` and the usage of a whole body; @first has the prompt's numbers. */
void openai_print_usage (const ChatResult *first, int n_completion, int n_reasoning, GString *out);

/* ---- completions: prompts without a template (http.md 5) ------------------------------------------------------------------------ */

typedef struct {
    OpenaiChat chat; /* what both share; no messages, no tools */
    json_t *raw_prompt;
    json_t *prompts; /* owned: [text or [token..], ..] */
    gboolean echo;
    gint64 logprobs; /* candidates per token; -1: not given */
    gint64 best_of;  /* 0: not given, then n */
    const char *suffix;
} OpenaiCompletion;

gboolean openai_completion_read (OpenaiCompletion *completion, const json_t *body, ApiError *error);
void openai_completion_clear (OpenaiCompletion *completion);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (OpenaiCompletion, openai_completion_clear)

/* Jobs stand prompt after prompt, best_of of each.  The request for job @index; the caller owns it. */
guint openai_completion_n_jobs (const OpenaiCompletion *completion);
ChatRequest *openai_completion_request (const OpenaiCompletion *completion, guint index);

/* The printer gives choice prompt * n + i for the i-th job of a prompt, or for the i-th best. */
typedef struct OpenaiTextPrinter OpenaiTextPrinter;
extern const ApiPrinter openai_text_printer_type;
OpenaiTextPrinter *openai_text_printer_new (const char *id, gint64 created, const OpenaiCompletion *completion);
void openai_text_printer_name (OpenaiTextPrinter *printer, const char *identifier);

/* ---- embeddings (http.md 6) ------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *model;
    json_t *raw_input;
    json_t *inputs;    /* owned: [text or [token..], ..] */
    int format;        /* 0 float, 1 base64 */
    gint64 dimensions; /* 0: the model's */
    gint64 ttl;
} OpenaiEmbedding;

gboolean openai_embedding_read (OpenaiEmbedding *embedding, const json_t *body, ApiError *error);
void openai_embedding_clear (OpenaiEmbedding *embedding);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (OpenaiEmbedding, openai_embedding_clear)

/* Appends the answer's body.  @vector is a VECTOR's payload (link/link.h).  FALSE and @error: it is none for @n_inputs inputs, or has fewer than
 * @dimensions (0: all). */
gboolean openai_embedding_print (GBytes *vector, guint n_inputs, guint dimensions, gboolean base64, const char *model,
                                 GString *out, ApiError *error);

/* One text, a list of texts, one text as tokens, or a list of such: as a list of inputs, which the caller owns.  NULL and @error for
 * anything else; @most inputs. */
json_t *openai_inputs_read (json_t *value, const char *path, guint most, ApiError *error);
