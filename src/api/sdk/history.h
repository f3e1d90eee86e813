/* From the protocol's conversation to the one that engines are given: ChatHistory and tools in, OpenAI's messages and tools out
 * (spec: sdk.md 5 and 7.4). */
#pragma once

#include "base/json.h"

/* What tools are called, by the client and before the model (llm.prediction.toolNaming). */
typedef struct ToolNames ToolNames;

/* @tools: [LLMTool], checked against its shape, or NULL.  @naming: passThrough, removeSpecial, snakeCase, camelCase. */
ToolNames *tool_names_new (const json_t *tools, const char *naming);
void tool_names_free (ToolNames *names);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ToolNames, tool_names_free)

/* The tools in OpenAI's form, under the names the model sees; the caller owns it.  NULL when there are none. */
json_t *tool_names_tools (const ToolNames *names);
/* @name itself when it is nobody's.  Lent by @names or @name. */
const char *tool_names_shown (const ToolNames *names, const char *name);
const char *tool_names_original (const ToolNames *names, const char *shown);

/* @history: {"messages"}, checked against its shape.  @system_prompt (may be NULL or "") goes in front when no system message is there.
 * The caller owns the messages.  NULL with @complaint, a sentence for the user that the caller frees, when a part can't be given to the model. */
json_t *
history_to_messages (const json_t *history, const char *system_prompt, const ToolNames *names, char **complaint);
