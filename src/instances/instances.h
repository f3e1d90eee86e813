/* Models at work: from a name in a request to a running engine (spec: http.md 2, sdk.md 7.2).
 *
 * An instance is whatever answers JOB with DELTA and DONE: today a child process on this machine, later an upstream server as well, so
 * nothing here names a pid except engine.c.  Everything runs on the main context; no callback runs before the function that asked for it
 * has returned. */
#pragma once

#include "chat/chat.h"
#include "models/models.h"

typedef struct Instances Instances;

/* @engine_path: the lms-engine to run. */
Instances *instances_new (SettingsStore *settings, Models *models, const char *engine_path);
/* Ends every job (CHAT_FAIL_SHUTDOWN) and every engine. */
void instances_free (Instances *instances);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Instances, instances_free)

/* ---- instances --------------------------------------------------------------------------------------------------------- */

/* How to load.  The zero value is the default of each. */
typedef struct {
    guint n_ctx;    /* tokens; 0: settings' default, at most the model's */
    guint parallel; /* jobs at once; 0: 4 */
    guint n_batch, n_ubatch, threads;
    const char *type_k, *type_v; /* "f16", "q8_0", ..; NULL: f16 */
    int flash_attention;         /* 0: the engine decides, 1 on, -1 off */
    gboolean no_mmap, mlock;
    double rope_freq_base, rope_freq_scale;
    const char *chat_template;
    const json_t
        *fields; /* the KVConfig fields that asked for it, [{"key","value"}], kept for getLoadConfig; or NULL */
} InstanceConfig;

typedef enum {
    INSTANCE_LOADING,
    INSTANCE_READY,
    INSTANCE_DOWN,    /* its engine died: the next request starts it again, with the same identifier and reference */
    INSTANCE_LEAVING, /* unloaded, its engine is on the way out */
} InstanceState;
typedef enum {
    INSTANCE_IDLE,
    INSTANCE_PROCESSING_PROMPT,
    INSTANCE_GENERATING,
    INSTANCE_COMPUTING_EMBEDDING
} InstanceActivity;

/* One loaded copy.  Read only for others than instances/; lent until the next return to the loop. */
typedef struct {
    const Model *model;
    char *identifier; /* the name in the API: the key, key:2, or what the load asked for */
    char *reference;  /* never used twice */
    InstanceState state;
    gboolean jit;        /* loaded by a request */
    gint64 ttl_ms;       /* -1: none */
    gint64 last_used_ms; /* Unix ms of the end of the last job; -1: never used */
    guint n_ctx, parallel;
    guint n_running, n_queued;
    InstanceActivity activity;
    double load_progress;
    json_t *load_fields; /* effective KVConfig fields [{"key","value"}] */
    const json_t *ready; /* the engine's READY, or NULL while loading */
} Instance;

/* const Instance *, sorted by identifier, only those that are loading or ready; lent until the next return to the loop. */
const GPtrArray *instances_list (Instances *instances);
const Instance *instances_by_identifier (Instances *instances, const char *identifier);
const Instance *instances_by_reference (Instances *instances, const char *reference);

typedef struct {
    const Model *model;
    const char *identifier; /* NULL: the key, or the first free of key:2, .. */
    InstanceConfig config;
    gint64 ttl_ms; /* -1: none */
    gboolean jit;
} InstanceLoadOptions;

/* One call's wait for a load. */
typedef struct InstanceLoad InstanceLoad;
typedef struct {
    void (*progress) (double fraction, gpointer data);          /* 0 first, rising */
    void (*done) (const Instance *instance, gpointer data);     /* the last call */
    void (*failed) (const ChatFailure *failure, gpointer data); /* or this one is */
} InstanceLoadFuncs;

/* Always a new instance.  NULL and @error (CHAT_ERROR, CHAT_FAIL_INVALID) for an identifier that is taken. */
InstanceLoad *instances_load (Instances *instances, const InstanceLoadOptions *options, const InstanceLoadFuncs *funcs,
                              gpointer data, GError **error);
/* Waits for an instance that is loading already, or one that is ready (then `done` comes soon). */
InstanceLoad *
instances_wait (Instances *instances, const Instance *instance, const InstanceLoadFuncs *funcs, gpointer data);
/* No further calls come.  A load that was not JIT and nobody else waits for is given up. */
void instance_load_cancel (InstanceLoad *load);

/* Ends its jobs (CHAT_FAIL_UNLOADED), then the engine; the identifier is free at once, @done (may be NULL) comes when the memory is. */
gboolean instances_unload (Instances *instances, const char *identifier, void (*done) (gpointer data), gpointer data);

/* After an instance came, went, or became ready. */
void instances_on_changed (Instances *instances, void (*changed) (gpointer data), gpointer data);

/* ---- jobs -------------------------------------------------------------------------------------------------------------- */

/* Which instance is meant (http.md 2.1, 2.2). */
typedef struct {
    const char *model;     /* name in the request: identifier, key, variant, path; NULL or "": the only loaded one */
    const char *reference; /* or this very instance; wins */
    ModelType type;        /* an instance of another type is CHAT_FAIL_MODEL_TYPE */
    gboolean may_load;     /* load it when it is at rest, if just-in-time loading is on */
    gint64 ttl_seconds;    /* of the load this request may cause; 0: the settings' default */
} InstanceWant;

/* One request on its way: waiting for a load or a place, or running. */
typedef struct Job Job;

/* Takes @request.  Events come by @func, the last one exactly once; after it the Job is gone. */
Job *instances_chat (Instances *instances, const InstanceWant *want, ChatRequest *request, ChatEventFunc func,
                     gpointer data);
/* The instance that runs it, from CHAT_LOADING or CHAT_STARTED on; NULL before.  Lent. */
const Instance *job_instance (Job *job);
/* Generation stops within a step; CHAT_DONE with CHAT_STOP_CANCELLED comes (or CHAT_DONE or CHAT_FAILED that crossed it). */
void job_cancel (Job *job);
/* The same, but nobody listens any more: no further event comes, the Job is gone for the caller. */
void job_drop (Job *job);
/* The client reads slowly, or reads again. */
void job_pause (Job *job);
void job_resume (Job *job);

/* One question to an engine that is no chat: TOKENIZE, RENDER, EMBED (link/link.h says payloads and answers).  @answered gets the answer's
 * payload (JSON, or bytes for VECTOR), or a failure; exactly once. */
typedef void (*InstanceAnswerFunc) (const Instance *instance, const json_t *answer, GBytes *bytes,
                                    const ChatFailure *failure, gpointer data);
Job *instances_ask (Instances *instances, const InstanceWant *want, guint link_type, const json_t *payload,
                    InstanceAnswerFunc answered, gpointer data);

/* ---- watching ---------------------------------------------------------------------------------------------------------- */

/* For log streams: every job's rendered prompt, and its reply with the result.  While somebody watches, jobs ask their engine for the prompt. */
typedef struct {
    void (*input) (const Instance *instance, const char *prompt, gsize length, gpointer data);
    void (*output) (const Instance *instance, const char *text, gsize length, const ChatResult *result, gpointer data);
} InstanceWatch;
guint instances_watch (Instances *instances, const InstanceWatch *watch, gpointer data);
void instances_unwatch (Instances *instances, guint id);
