/* Prompt templates that come with a request (llm.prediction.promptTemplate; spec: sdk.md 7.3, 8.3). */
#pragma once

#include "base/json.h"

/* The Jinja text of @value, {"type":"jinja"|"manual",..}; NULL when it holds none.  The caller frees. */
char *template_text (const json_t *value);
