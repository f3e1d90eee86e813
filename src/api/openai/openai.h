/* The OpenAI-compatible API: chat completions and the list of models (spec: http.md 4, 7).
 *
 *   messages.c  what may stand in `messages`        request.c  the body's fields, into ChatRequests
 *   tools.c     tools, tool_choice, formats         print.c    ChatEvents, into chunks or one body
 *   chat.c      the endpoint                        models.c   the lists */
#pragma once

#include "api/call.h"
#include "api/fields.h"
#include "api/run.h"

/* ---- endpoints ----------------------------------------------------------------------------------------------------------- */

void openai_chat (ApiCall *call);
void openai_models (ApiCall *call);
void openai_model (ApiCall *call);

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

/* Parts of openai_chat_read. */
gboolean openai_messages_read (OpenaiChat *chat, ApiError *error);
gboolean openai_tools_read (OpenaiChat *chat, ApiError *error);

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
