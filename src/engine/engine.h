/* The state of lms-engine's one loop: a model, a cache of sequences, and the jobs that use them (spec: engine.md 3, 4, 11).
 *
 *            JOB                 place free            prompt computed              reply over
 *   (frame) ────▶ QUEUED ────▶ WAIT ──▶ PROMPT ─────────────────────▶ STREAM ─────────────────────▶ (DONE, FAIL)
 *                                │  ▲      ▲                             │
 *                                ▼  │      └── no room: PREEMPTED ◀──────┘
 *                              FOLLOW: the prompt it begins like is being computed by another job
 *
 * A Sequence is a row of the cache: an id, the tokens it has or will have, and n_kv, how many of them are computed.  A job that has a
 * place owns one; when it ends the sequence is parked, so that later prompts may begin where it stands.  What must hold after every
 * step: the cache's last position of a sequence is n_kv - 1.
 *
 * One thread owns all of this and waits in poll on the one socket.  Files: loop.c (the order of things), frames.c (the daemon's
 * words), job.c, cells.c (sequences), admit.c, decode.c, draw.c, emit.c, load.c, embed.c. */
#pragma once

#include <glib.h>
#include <llama.h>

#include "base/json.h"
#include "engine/bridge.h"
#include "engine/plan.h"
#include "engine/prefix_tree.h"
#include "engine/text.h"
#include "engine/threads.h"
#include "link/link.h"

/* ---- ceilings ------------------------------------------------------------------------------------------------------------- */

#define ENGINE_MAX_PARALLEL 64            /* places */
#define ENGINE_MAX_JOBS     1024          /* queued and running */
#define ENGINE_MAX_CONTEXT  (1 << 24)     /* tokens */
#define ENGINE_MAX_BATCH    (1 << 14)     /* rows of one decode; embeddings take their longest input at once */
#define ENGINE_MAX_INPUTS   2048          /* texts of one EMBED */
#define ENGINE_MAX_STOPS    128           /* the request's and the template's */
#define ENGINE_MAX_LOGPROBS 64            /* candidates per token */
#define ENGINE_OUT_LOW      (64 * 1024)   /* bytes in the socket's queue below which deltas go out */
#define ENGINE_LAG_MAX      (1024 * 1024) /* bytes of a job's text that wait for its reader before the job is paused */
#define ENGINE_LAG_MAX_MS   60000         /* so long may it stay paused */
#define ENGINE_FEED_MS      20            /* the reply parser is fed so often, see emit.c */

/* ---- errors: the kinds of FAIL -------------------------------------------------------------------------------------------- */

#define ENGINE_ERROR (engine_error_quark ())
GQuark engine_error_quark (void);
typedef enum {
    ENGINE_ERROR_INVALID,
    ENGINE_ERROR_CONTEXT,
    ENGINE_ERROR_TEMPLATE,
    ENGINE_ERROR_GRAMMAR,
    ENGINE_ERROR_UNLOADED,
    ENGINE_ERROR_MEMORY,
    ENGINE_ERROR_INTERNAL,
} EngineError;

/* The word on the link for an error of this domain; "internal" for others. */
const char *engine_error_kind (const GError *error);
/* A GError of the bridge's sentence, which is freed; @kind is lb_turn_new's word. */
void engine_error_take (GError **error, const char *kind, char *sentence);

/* ---- sequences ------------------------------------------------------------------------------------------------------------ */

typedef struct Engine Engine;
typedef struct Job Job;

typedef enum { SEQ_FREE, SEQ_PARKED, SEQ_BUSY } SequenceState;

typedef struct {
    llama_seq_id id;
    SequenceState state;
    GArray *tokens; /* llama_token; busy: shared with its job, computed or not; parked: n_kv of them */
    guint n_kv;     /* so many of them are in the cache */
    guint n_listed; /* so many of them the tree knows */
    char *owner;
    gint64 used_us; /* when a job last let go of it: the oldest parked one is evicted first */
    Job *job;       /* SEQ_BUSY */
} Sequence;

/* What going back means in this model's cache (engine.md 3, "Removing and checkpoints"). */
typedef enum {
    MEMORY_NONE,      /* no cache: embeddings only, or a vocabulary only */
    MEMORY_FULL,      /* any prefix of a sequence can be shared */
    MEMORY_WINDOW,    /* only where the window's cells are still there */
    MEMORY_RECURRENT, /* only the whole of what was computed */
    MEMORY_HYBRID,    /* likewise */
} MemoryKind;

/* ---- jobs ----------------------------------------------------------------------------------------------------------------- */

/* What is known of a sampled token until its text goes out. */
typedef struct {
    json_t *json;      /* an entry of DELTA's logprobs */
    gsize n_bytes;     /* of its text */
    gboolean settled;  /* it is visible content */
    gsize content_end; /* when settled: where its text ends, in bytes of content */
} TokenLogprobs;

typedef enum { JOB_QUEUED, JOB_WAIT, JOB_FOLLOW, JOB_PREEMPTED, JOB_PROMPT, JOB_STREAM } JobState;

struct Job {
    guint32 id; /* the daemon's number */
    JobState state;
    char *owner;
    int priority;    /* higher goes first */
    guint64 arrival; /* a counter, never equal */

    LbTurn *turn;
    LbView view;
    gint64 max_tokens; /* -1 is none */
    int n_logprobs;    /* -1 is none */
    gboolean want_prompt, keep_special, one_call;
    gboolean
        scores_prompt; /* its prompt's tokens get logprobs: they are fed one by one, like a reply that is known already */
    int n_scored;      /* of them have an entry */

    GArray *tokens; /* llama_token: the prompt, then what was sampled */
    Sequence *seq;  /* JOB_PROMPT and JOB_STREAM */
    Job *leader;    /* JOB_FOLLOW: who computes what it needs */
    guint n_shared; /* JOB_FOLLOW: so many tokens; JOB_PREEMPTED: how many jobs had ended by then */
    guint64 served; /* number of the last batch that had a row of it */
    int row;        /* its row in this batch whose logits are to be drawn from, -1 is none */

    gboolean cancelled, paused; /* by the daemon */
    gboolean lagging;           /* its text waits for the reader: ENGINE_LAG_MAX */
    gint64 held_since_us;       /* since when it is paused or lagging, 0: is not */
    const char *limit; /* why the reply gets no more tokens; emit makes an end of it when the last text is parsed */
    const char *end;   /* reason of DONE; the loop ends the job at its next border */
    char *stop_string; /* with "stop_string" */
    GError *error;     /* ends it with FAIL instead */

    /* from tokens to deltas: bytes -> gate -> unparsed -> reply parser -> stops -> deltas -> DELTA frames */
    TextGate gate;
    GString *unparsed;
    TextStops
        *scout; /* looks for stop strings in the raw text, to feed the parser at the very token that completes one */
    TextStops *stops;  /* the real search, over visible content */
    json_t *own_stops; /* those that the request names, or NULL; the template's are an end like its end token */
    TextThinking *thinking;
    GQueue logprobs_open;      /* TokenLogprobs whose tokens the parser has not settled, or the stops hold back */
    gsize n_content;           /* bytes of content that the parser settled */
    gsize n_shown;             /* of these, let through by the stops */
    json_t *deltas, *logprobs; /* settled, not yet sent */
    gsize n_waiting_bytes;     /* of them */
    int n_unsent;              /* tokens sampled since the last DELTA */
    gboolean feed_now;         /* the parser may have something to say that must not wait */
    gboolean fed_last;         /* it knows that the reply is over */
    gint64 fed_us, feed_cost_us;
    int last_call;      /* index of the last call that began, -1 is none */
    GString *call_zero; /* the arguments of call 0 */

    /* counts and times */
    int n_prompt, n_cached, n_completion;
    gint64 arrived_us, started_us, first_us, progress_us;
};

/* ---- engine --------------------------------------------------------------------------------------------------------------- */

struct Engine {
    Link *link;
    GThread *thread; /* the loop's */
    GQueue inbox;    /* Frame: received while a load or a decode ran, see frames.c */
    gboolean stopping;
    gboolean link_ended, link_bad;

    /* the model, since LOAD */
    struct llama_model *model;
    const struct llama_vocab *vocab;
    struct llama_context *context;
    llama_memory_t cache;
    LbChat *chat;
    MemoryKind memory;
    gboolean embedding;
    guint n_ctx;   /* what one job may use */
    guint n_cells; /* what all share; n_ctx rounded up */
    guint parallel, n_batch, n_ubatch;
    guint chunk_ms;
    guint park_cells; /* cells that parked sequences may keep for themselves */
    json_t *seed;     /* for requests without one, or NULL */
    Threads *threads;
    guint default_threads, threads_quota, n_cpus; /* read before the sandbox closed; no quota is 0 */
    gsize model_bytes, context_bytes, compute_bytes;

    /* the cache */
    Sequence seqs[PREFIX_TREE_MAX_IDS];
    guint n_seqs; /* ids in use: 0 to n_seqs - 1 */
    PrefixTree *tree;

    /* the jobs */
    GPtrArray *jobs; /* Job, owned, by arrival */
    guint64 n_arrived;
    guint n_ended;
    GHashTable *turns; /* owner -> number of the admission that last served it; only owners with jobs */
    guint64 n_admitted;

    guint32 embed_job; /* the EMBED that is being computed, 0 is none */
    gboolean embed_cancelled;

    /* the batch */
    struct llama_batch batch;
    PlanPart parts[ENGINE_MAX_PARALLEL];
    Job *part_jobs[ENGINE_MAX_PARALLEL]; /* whose part it is */
    guint n_parts, n_prompt_rows, n_stream_rows;
    guint chunk_limit; /* lowered while there is no room, see decode.c */
    gint64 peeked_us;  /* when the abort callback last looked at the socket */
    guint n_checks;    /* calls of it */
    guint n_failed_decodes;

    /* measured */
    PlanRates rates;
    guint64 n_decode, n_tokens_decoded;
};

/* load.c.  ENGINE_ERROR_MEMORY when something did not fit, else _INVALID with the library's own reason. */
gboolean engine_load (Engine *g, const json_t *options, GError **error);
void engine_unload (Engine *g);
/* How many threads to use when @wanted were asked for, 0 being the default: never more than there are CPUs, nor above the cgroup's
 * quota, since each spins for its share. */
guint engine_n_threads (const Engine *g, guint wanted);

/* frames.c */
void take_frames (Engine *g);
/* Reads what has come without handling it, but marks jobs that a CANCEL names and a STOP: safe inside of a load or a decode. */
void frames_peek (Engine *g);
/* What waits unread gets its FAIL. */
void frames_end (Engine *g);
void send_fail (Engine *g, guint32 job, const GError *error);

/* job.c */
Job *job_new (Engine *g, guint32 id, const json_t *payload, GError **error);
/* The same; if the prompt does not fit and the payload's "overflow" allows it, with messages dropped so that it does, and leaves some
 * room for the reply.  When nothing helps the job is as it would have been. */
Job *job_new_fitting (Engine *g, guint32 id, json_t *payload, GError **error);
void job_free (Job *job);
Job *job_find (Engine *g, guint32 id);
gboolean job_has_place (const Job *job);
/* Neither paused, nor lagging, nor about to end. */
gboolean job_may_run (const Job *job);
void job_end (Job *job, const char *reason); /* the first reason stays */
void job_fail (Job *job, GError *error);     /* takes @error; likewise */

/* cells.c */
void cells_init (Engine *g);
void cells_clear (Engine *g);
/* Gives @job a sequence that holds the first @n of its tokens, as @source does (NULL: none): @source itself, if it is parked and
 * holds no more than that, else a free one, made so by evicting the oldest parked one when need be. */
void cells_give (Engine *g, Job *job, Sequence *source, guint n);
/* Takes @job's sequence away: parks it when that may help, else frees it. */
void cells_release (Engine *g, Job *job);
void cells_free (Engine *g, Sequence *seq);
/* Frees the parked sequence that was used longest ago; FALSE when there is none. */
gboolean cells_evict (Engine *g);
/* Drops what @owner has parked; NULL is everybody. */
void cells_forget (Engine *g, const char *owner);
/* How many of @n_match common tokens can be taken from @seq as it stands. */
guint cells_usable (Engine *g, const Sequence *seq, guint n_match);
/* What the cache says, after a decode that did not end well. */
void cells_read_back (Engine *g, Sequence *seq);
/* The tree learns what was sampled since it last asked. */
void cells_list_all (Engine *g);
void cells_count (Engine *g, gsize *n_used, gsize *n_parked);

/* the steps of the loop, each in the file of its name; retire is in job.c */
void admit (Engine *g);
/* TRUE for a preempted job as long as nobody has given back cells. */
gboolean admit_must_wait (const Engine *g, const Job *job);
void plan (Engine *g);
gboolean decode (Engine *g);
void draw (Engine *g);
void emit (Engine *g);
void retire (Engine *g);

/* emit.c: everything that is still held goes out, the reply is over. */
void emit_last (Engine *g, Job *job);

/* embed.c: what a context for embeddings needs; @n_ctx as LOAD has it. */
void embed_params (Engine *g, gint64 n_ctx, struct llama_context_params *params);
/* Answers EMBED. */
void embed (Engine *g, guint32 id, const json_t *payload);

/* loop.c: the first frame. */
void engine_send_hello (Link *link);
/* Until STOP or the end of the link; returns the exit code. */
int engine_run (Link *link);
