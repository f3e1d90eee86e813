/* Configuration as the protocol carries it: fields in layers, the last one wins (spec: sdk.md 5 and 8, disk.md 5.7).
 *
 * One table knows every key: its type and range, its value when nobody sets it, and where it goes in a ChatRequest or an InstanceConfig.
 * Keys that the table does not know are ignored. */
#pragma once

#include "instances/instances.h"

typedef enum { KV_LLM_LOAD, KV_EMBEDDING_LOAD, KV_PREDICTION } KvDomain;

KvDomain kv_load_domain (ModelType type);

/* All layers of a KVConfigStack laid over each other: {"key": value}.  @stack has been checked against its shape. */
json_t *kv_merge (const json_t *stack);

/* NULL, or a sentence that names the first known key of @domain with a value that does not fit; the caller frees. */
char *kv_complain (KvDomain domain, const json_t *merged);

/* Sets what @merged holds (after kv_complain found nothing), and nothing else. */
void kv_to_request (const json_t *merged, ChatRequest *request);
/* Texts and @config->fields are lent from @merged and @fields. */
void kv_to_instance (KvDomain domain, const json_t *merged, InstanceConfig *config);

/* The known keys of @merged as fields, [{"key","value"}]; the caller owns it. */
json_t *kv_fields (KvDomain domain, const json_t *merged);
/* The KVConfig of @domain: each known key with its value in @merged, or the one it has when nobody sets it.  The caller owns it. */
json_t *kv_effective (KvDomain domain, const json_t *merged);
/* How an instance was loaded, as getLoadConfig tells it. */
json_t *kv_of_instance (const Instance *instance);

/* Members of @merged that no ChatRequest has, by the key without "llm.prediction."; lent, NULL when not set. */
const json_t *kv_prediction (const json_t *merged, const char *short_key);
