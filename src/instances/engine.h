/* One lms-engine child: started, spoken to by frames, watched until it is gone (spec: engine.md 10, 11). */
#pragma once

#include "link/link.h"

typedef struct Engine Engine;

/* Why an engine is gone. */
typedef struct {
    const char *reason;           /* a sentence for the user, its last words included */
    gboolean illegal_instruction; /* SIGILL: the CPU library was too new for this machine */
    gboolean killed;              /* SIGKILL by somebody else than us: most often the kernel, for memory */
} EngineEnd;

typedef struct {
    void (*frame) (Engine *engine, const LinkFrame *frame, gpointer data); /* HELLO and FATAL are seen to here */
    void (*hello) (Engine *engine, const json_t *hello, gpointer data);
    /* The process is gone and every frame it had sent was handed out.  The Engine is freed when this returns. */
    void (*ended) (Engine *engine, const EngineEnd *end, gpointer data);
} EngineFuncs;

/* Starts @path, in the caller's thread (the engine dies with that thread).  @cpu: a CPU library to insist on, or NULL; @name goes into
 * log lines.  NULL and @error (G_SPAWN_ERROR) when it cannot start. */
Engine *engine_start (const char *path, const char *cpu, const char *name, const EngineFuncs *funcs, gpointer data,
                      GError **error);

/* Frames to an engine that is gone or going are dropped. */
void engine_send (Engine *engine, LinkType type, guint32 job, const json_t *payload);

/* Asks it to go (STOP), kills it after @grace_ms; `ended` follows.  0 kills at once. */
void engine_stop (Engine *engine, guint grace_ms);

/* `ended` and `frame` are not called any more; the process is killed, reaped, and the Engine freed behind the caller's back. */
void engine_abandon (Engine *engine);

GPid engine_pid (const Engine *engine);
