/* The link between lmsd and lms-engine: frames on a SOCK_STREAM socketpair (spec: engine.md 11).
 *
 *   0        4      6      8        12
 *   | length | type | flag |  job   | payload |        little-endian; length counts the payload, at most LINK_MAX_PAYLOAD
 *
 * Both ends are ours and from the same build, so an unknown type or a wrong length is a bug or an attack and closes the link.
 * One Link is one end.  It never blocks: what the socket will not take is queued, and link_flush tries again.
 *
 * PAYLOADS (JSON objects unless noted; members in [brackets] may be absent)
 *
 * daemon -> engine
 *   LOAD     {"path", ["splits":[path..]], ["n_ctx":int, 0 = the model's], ["parallel":4], ["n_batch":2048], ["n_ubatch":512],
 *             ["threads":0 = adaptive], ["type_k","type_v":"f16".."q4_0"], ["flash_attn":bool], ["mmap":true], ["mlock":false],
 *             ["rope_freq_base","rope_freq_scale":number], ["embedding":false], ["vocab_only":false],
 *             ["chat_template":text], ["chunk_ms":250], ["park_cells":int], ["seed":int], ["kv_unified":true]}
 *   JOB      {"request":REQUEST, ["owner":text, default "local"], ["max_tokens":-1], ["stop":[text..]], ["n_logprobs":-1 = none],
 *             ["priority":0], ["want_prompt":false], ["keep_special":false],
 *             ["prompt_logprobs":false]}; REQUEST as in engine/bridge.h: lb_turn_new
 *             prompt_logprobs, with n_logprobs: DELTAs first bring an entry for each token of the prompt; the first one's logprob is null
 *   CANCEL   (empty)            PAUSE, RESUME (empty)            FORGET {"owner"}
 *   EMBED    {"inputs":[text | [token..] ..]}                    answered by VECTOR or FAIL
 *   TOKENIZE {"text", ["add_special":false], ["parse_special":true]}   answered by TOKENS {"tokens":[int..]} or FAIL
 *   RENDER   {"request":REQUEST}                                 answered by RENDERED {"prompt","n_tokens"} or FAIL
 *   TUNE     {["threads"],["chunk_ms"]}
 *   STATS    (empty)                                             answered by STATE
 *   STOP     (empty): ends every job with FAIL "unloaded", exits 0
 *
 * engine -> daemon
 *   HELLO    {"protocol","llama","cpu"}                 first frame; the daemon refuses another protocol
 *   PROGRESS {"stage","fraction":0..1}                  while loading, at most 10 a second, rising
 *   READY    {"n_ctx","n_ctx_train","parallel","n_vocab","n_embd","memory":"full"|"window"|"recurrent"|"hybrid"|"none",
 *             "sandbox":0..2,"landlock":bool,"bytes":{"model","context","compute"},"threads","cpu",
 *             "template":{"thinking_start","thinking_ends":[..], caps..},"bos","eos":text}
 *   START    {"n_prompt","n_cached","queue_ms",["prompt":text when want_prompt]}     the job got a place
 *   PREFILL  {"done","total"}                           tokens of the prompt, cached ones included; at most 5 a second
 *   DELTA    {"deltas":[{"content":S} | {"reasoning":S} | {"call":i,["id"],["name"],["args":S]} ..],"tokens":n sampled since the last,
 *             ["logprobs":[{"id","bytes":[..],"logprob","top":[{"id","bytes","logprob"}..]}..]]}
 *   DONE     {"reason":"stop"|"stop_string"|"length"|"call"|"cancelled"|"context_full",["stop_string"],
 *             "usage":{"prompt","cached","completion","reasoning"},"times":{"queue_ms","prompt_ms","first_ms","generate_ms"},
 *             ["parse_failed":true],["draft":{..}]}
 *   FAIL     {"kind":"invalid"|"context"|"template"|"grammar"|"unloaded"|"memory"|"internal","message",["n_prompt","n_ctx"]}
 *            DONE or FAIL ends a job, exactly once.  For job 0 FAIL ends the load.
 *   VECTOR   binary: u32 n, u32 dim, u32 n_tokens[n], float32[n*dim], all little-endian
 *   STATE    {"jobs","queued","cells_used","cells_parked","n_decode","n_tokens_decoded","threads","cpu",..}
 *   FATAL    text, no JSON: last words of the abort callback, before the process dies */
#pragma once

#include <glib.h>

#include "base/json.h"

#define LINK_PROTOCOL    1
#define LINK_HEADER_SIZE 12
#define LINK_MAX_PAYLOAD (64u * 1024 * 1024)
#define LINK_ENGINE_FD   3 /* where an engine finds its end */

typedef enum {
    /* daemon -> engine */
    LINK_LOAD = 1,
    LINK_JOB,
    LINK_CANCEL,
    LINK_FORGET,
    LINK_PAUSE,
    LINK_RESUME,
    LINK_FILE,
    LINK_EMBED,
    LINK_RERANK,
    LINK_TOKENIZE,
    LINK_RENDER,
    LINK_TUNE,
    LINK_STATS,
    LINK_STOP,
    /* engine -> daemon */
    LINK_HELLO = 64,
    LINK_PROGRESS,
    LINK_READY,
    LINK_START,
    LINK_PREFILL,
    LINK_DELTA,
    LINK_DONE,
    LINK_FAIL,
    LINK_VECTOR,
    LINK_TOKENS,
    LINK_RENDERED,
    LINK_WANT,
    LINK_STORED,
    LINK_STATE,
    LINK_FATAL,
} LinkType;

/* "JOB", "DELTA", ...; NULL for a number that is no type. */
const char *link_type_name (guint type);

typedef struct {
    LinkType type;
    guint16 flags;
    guint32 job;         /* 0: concerns the whole engine */
    const char *payload; /* lent until the next link_read; @length bytes, no NUL behind them */
    gsize length;
    int fd; /* a descriptor that came with the frame, or -1; the receiver closes it */
} LinkFrame;

typedef struct Link Link;

#define LINK_ERROR (link_error_quark ())
GQuark link_error_quark (void);
enum { LINK_ERROR_PROTOCOL };

/* Takes over @fd, which becomes non-blocking. */
Link *link_new (int fd);
void link_free (Link *link); /* closes the descriptor */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Link, link_free)
int link_fd (const Link *link);

/* Queues a frame and tries to send.  A JSON payload is lent, NULL is an empty one.  @fd, when not -1, goes along
 * (SCM_RIGHTS) and stays the caller's.  After an error on the socket frames are dropped: the reader learns of it by EOF. */
void link_send (Link *link, LinkType type, guint32 job, const void *payload, gsize length);
void link_send_json (Link *link, LinkType type, guint32 job, const json_t *payload);
void link_send_fd (Link *link, LinkType type, guint32 job, const json_t *payload, int fd);

/* Sends what is queued; TRUE when nothing is left (or the link is broken). */
gboolean link_flush (Link *link);
gsize link_queued_bytes (const Link *link);

typedef enum { LINK_GOT_FRAME, LINK_WANTS_MORE, LINK_ENDED, LINK_BAD } LinkResult;

/* The next frame.  LINK_WANTS_MORE: nothing complete has come yet, poll for reading.  LINK_ENDED: the peer closed, and all its
 * frames were handed out.  LINK_BAD: this is not our protocol; @error says why. */
LinkResult link_read (Link *link, LinkFrame *frame, GError **error);

/* A header as bytes: for FATAL, which must be written without allocation, and for tests. */
void link_pack_header (guint8 header[LINK_HEADER_SIZE], LinkType type, guint16 flags, guint32 job, guint32 length);
