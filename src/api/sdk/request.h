/* What predict, completeRawText and applyPromptTemplate share: from a creation parameter to a ChatRequest. */
#pragma once

#include "api/sdk/history.h"
#include "instances/instances.h"

typedef struct {
    ChatRequest *request; /* owned, until somebody steals it */
    ToolNames *names;
    json_t *merged; /* every layer laid over each other */
} SdkRequest;

/* @history: a ChatHistory, or NULL when @raw_prompt is the prompt.  @tools: in place of those in @stack, or NULL.
 * FALSE with @complaint, a sentence that the caller frees. */
gboolean sdk_request_read (SdkRequest *request, const json_t *history, const json_t *raw_prompt, const json_t *stack,
                           const json_t *tools, char **complaint);
void sdk_request_clear (SdkRequest *request);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SdkRequest, sdk_request_clear)
