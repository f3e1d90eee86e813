/* What a JSON schema may ask of a reply that is sampled under it (spec: http.md 3.11, engine.md 2, trap 11).
 *
 * llama.cpp's converter turns a part of JSON Schema into a grammar and drops the rest without a word.  This pass stands before it and fails
 * closed: it prints the schema again in the part that the converter takes whole, or says which keyword cannot be enforced. */
#pragma once

#include <glib.h>

#include "base/json.h"

/* The schema to hand to the engine: every value that fits it fits @schema (it may be narrower: listed properties only, where `additionalProperties`
 * is not said; no "\u" escapes where lengths count).  References become #/$defs/N; the caller owns the result.
 *
 * NULL for what cannot be enforced, does not end, leads nowhere, or that no value meets: a sentence in @error (CHAT_ERROR, CHAT_FAIL_INVALID) and
 * in @where the path of the keyword below @param, "response_format.json_schema.schema.properties.age.multipleOf"; the caller frees it.
 *
 * Ceilings: 64 levels, 4096 nodes after references and allOf are written out; as it comes, 16384 values and 2048 in one list. */
json_t *chat_schema_prepare (const json_t *schema, const char *param, char **where, GError **error);
