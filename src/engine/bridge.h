/* llama.cpp's `common` for C: chat templates, samplers, grammars, the reply parser, speculation, estimates (spec: engine.md 2).
 *
 *   LbChat ── the templates of one model; immutable
 *     └─ LbTurn ── one request: prompt tokens, constraint, sampler, reply parser
 *   LbSpec ── speculation, for all sequences of one context
 *
 * Everything returns, nothing throws.  `char **err`: set on failure only, to a malloc'd sentence for the caller to free with
 * g_free; NULL when the caller does not care.  A returned `char *` is malloc'd and the caller's; a `const char *` is lent and
 * lives as long as its owner.  Text is UTF-8.  One thread at a time per LbTurn and per LbSpec; an LbChat may be used by several.
 * The model must outlive its LbChat, the LbChat its turns.  Loading models, contexts, decoding and state are no business of this
 * file: those are C already. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "gguf.h"
#include "llama.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct LbChat LbChat;
typedef struct LbTurn LbTurn;
typedef struct LbSpec LbSpec;

/* Silences common's logger and keeps llama's last error line, which some failures would lose (engine.md 2, trap 1).  Once, before
 * any other call here and before the model is loaded, so that no log thread ever starts.  Later llama_log_set calls undo it. */
void lb_init (void);

/* What llama and ggml logged as errors since the last call, lines joined by "; ", at most some hundred bytes; "" is none.  Lent until
 * the thread's next call. */
const char *lb_last_log_error (void);

/* ---- chat: the templates of one model ------------------------------------------------------------------------------------ */

/* @template_text takes the place of the model's own template ("chatml" names that one); NULL keeps the model's.  A model without a
 * template gets ChatML, as everywhere in this field.  Fails when @template_text does not parse; a model whose own template does not is
 * taken all the same, for requests by prompt, tokens or a template of theirs: others then fail ("template"), and lb_chat_info does. */
LbChat *lb_chat_new (const struct llama_model *model, const char *template_text, char **err);
void lb_chat_free (LbChat *chat);

/* What the template can do, JSON:
 *   {"tools":bool, "tool_calls":bool, "parallel":bool, "system":bool, "thinking":"none"|"always"|"switch"|"levels",
 *    "thinking_switch":bool (enable_thinking changes the prompt),
 *    "thinking_start":text, "thinking_ends":[text..], "explicit":bool (false: the model carries none),
 *    "typed_content":bool, "object_arguments":bool, "preserve_reasoning":bool, "reasoning_effort":bool} */
char *lb_chat_info (const LbChat *chat, char **err);

/* The same answer for a template text that belongs to no loaded model (--inspect; engine.md 2, trap 12).  @bos and @eos are the
 * texts of these tokens, "" when unknown. */
char *lb_template_info (const char *template_text, const char *bos, const char *eos, char **err);

/* The head of a GGUF file (no weights), read from @file's position on; free with gguf_free.  Refuses what ggml's reader refuses, and
 * survives what it throws on; the caller has checked the counts in the header (inspect.c). */
struct gguf_context *lb_gguf_open (FILE *file, char **err);

/* ---- turn: one request ---------------------------------------------------------------------------------------------------- */

/* REQUEST, a JSON object; null members count as absent, unknown ones are passed over.
 *
 * The prompt, exactly one of
 *   "messages"   OpenAI's form: [{"role","content":text | null | [{"type":"text","text"}..],"tool_calls":[..],"tool_call_id","name",
 *                "reasoning_content"}..].  Role "developer" is read as "system".  The template is applied.
 *   "prompt"     text: no template, no reply parser; the reply is content as it comes
 *   "tokens"     [int..]: likewise, and no tokenizer; every id must be in the vocabulary
 *
 * With "messages"
 *   "tools"               OpenAI's form: [{"type":"function","function":{"name","description","parameters"}}..]
 *   "tool_choice"         "auto" (default) | "none" | "required" | {"type":"function","function":{"name"}}: only that tool, required.
 *                         none keeps the tools in the prompt and bans the token that opens a call, where there is one.
 *                         A template without a notion of tools (trap 3) gets the default format of http.md 3.12
 *   "parallel_tool_calls" bool, default true; false is not in every grammar: end the job when call 1 begins (trap 4)
 *   "enable_thinking"     bool; absent: the template's habit
 *   "template_kwargs"     object: further variables of the template, e.g. {"reasoning_effort":"high"}
 *   "chat_template"       text, in place of the one that @chat has
 *   "continue_final"      bool: the last message, an assistant's, is the beginning of the reply; the deltas hold only what is new
 *   "strict_call"         bool: with tool_choice required the very next token must begin the call (trap 3)
 *   "now"                 int, Unix seconds: the clock of templates that print the date; absent: the real one
 *
 * The constraint, at most one of "json_schema" (object) and "grammar" (GBNF text), not beside tools.
 *   "reasoning_budget"    tokens of reasoning, after which its end mark is forced; -1 (default) is none
 *
 * "sampling", an object
 *   "temperature" 0.8, 0 is greedy    "top_k" 40, 0 is off     "top_p" 0.95, 1 is off    "min_p" 0.05, 0 is off
 *   "typical_p" 1, off                "xtc_probability" 0, "xtc_threshold" 0.1           "seed" uint32; absent: random
 *   "repeat_penalty" 1, off           "repeat_last_n" 64; 0 is off, -1 the whole context (of the model)
 *   "presence_penalty" 0              "frequency_penalty" 0
 *   "mirostat" 0 | 1 | 2, "mirostat_tau" 5, "mirostat_eta" 0.1
 *   "logit_bias"  [[token id, bias]..]: -100 and less bans, 100 and more forces; ids outside the vocabulary are an error
 *
 * "n_ctx", int: the context's size, so that a text beyond 1 MiB which cannot fit is refused ("context") untokenised
 *
 * @kind, when not NULL, is set on failure to a static word for the FAIL frame: "invalid", "template", "grammar", "context" or
 * "internal". */
LbTurn *lb_turn_new (const LbChat *chat, const char *request_json, char **err, const char **kind);
void lb_turn_free (LbTurn *turn);

/* INFO, a JSON object
 *   "format"              name of the reply format ("Content-only", "peg-native", ..)
 *   "constrained"         bool: a grammar holds the reply from its first token
 *   "grammar_bytes", "grammar_lazy"     size of the grammar (0: none); lazy: it starts at the first tool mark
 *   "stops"               [text..]: further stop strings that the template wants
 *   "supports_thinking"   bool
 *   "thinking_start"      text, "" is none;  "thinking_ends" [text..]: the marks, which the reply parser swallows
 *   "thinking_open"       bool: the prompt ends inside of reasoning, the reply begins with it
 *   "generation_prompt"   text that the template put behind the last message
 *   "preserved"           [token id..]: special tokens whose text the reply parser must see; print other specials as nothing
 *   "seed"                the seed in use
 */
typedef struct {
    const char *info_json;
    const char *prompt; /* rendered; NULL for a request by tokens */
    size_t prompt_length;
    const llama_token *tokens; /* the prompt, BOS included where the model wants one; at least one */
    int n_tokens;
} LbView;

/* Lent until lb_turn_free. */
LbView lb_turn_view (const LbTurn *turn);

/* TRUE when a special token's text must be given to lb_turn_feed (a member of "preserved", found fast). */
bool lb_turn_preserves (const LbTurn *turn, llama_token token);

/* Samples row rows[0] of @context's last decode and, with a draft, walks rows[0..n_draft] as long as the draft is right.  Writes 1
 * to n_draft + 1 tokens to @out, all accepted by grammar, budget and penalties already, and returns how many; -1 on failure.  A row
 * is an index into the batch, as for llama_get_logits_ith, and must have been asked for. */
int lb_turn_draw (LbTurn *turn, struct llama_context *context, const int32_t *rows, const llama_token *draft,
                  int n_draft, llama_token *out, char **err);

/* Log-softmax over a row's raw logits (http.md 4.3): that of @chosen in @chosen_logprob, and the @n most likely tokens in @ids and
 * @logprobs, best first.  Returns how many it wrote (0 to @n), -1 when the row has no logits.  Needs no turn: any time before the next decode. */
int lb_logprobs (struct llama_context *context, int32_t row, llama_token chosen, float *chosen_logprob, int n,
                 llama_token *ids, float *logprobs);

/* Adds @length bytes of reply (any cut, UTF-8 may be split) and returns the DELTAS that this settled, a JSON array of
 *   {"reasoning":text} | {"content":text} | {"call":i,["id":text],["name":text],["args":text]}     (id, name: in the first of call i)
 * "[]" while undecided.  Each call parses the whole reply again (trap 6): feed in lumps, never between two decodes.  @last ends the
 * reply and settles everything; then every byte fed is in a delta or was a mark of the format.  A reply that does not parse never
 * fails: what was understood stays, the rest comes as content, and lb_turn_parse_failed says so (trap 5).  NULL only when memory or
 * the library fails. */
char *lb_turn_feed (LbTurn *turn, const char *text, size_t length, bool last, char **err);
bool lb_turn_parse_failed (const LbTurn *turn);

/* ---- estimates ------------------------------------------------------------------------------------------------------------ */

/* What a model would take, without reading weights: {"n_ctx","n_ctx_train","n_layer","n_expert","devices":[{"name","model","context",
 * "compute","total","free"}..],"total":{"model","context","compute"}}, bytes.  @options_json: LOAD's members (link.h) n_ctx, parallel,
 * n_batch, n_ubatch, type_k, type_v, flash_attn, kv_unified, embedding.  Sets llama's global logger for its time: alone in a process. */
char *lb_estimate (const char *model_path, const char *options_json, char **err);

/* ---- speculation (engine.md 9) ---------------------------------------------------------------------------------------------- */

/* @config_json: {"kind":"draft" | "ngram-simple" | "ngram-map-k" | "ngram-mod" .., "n_max":int, "n_min":int, "p_min":number}.  @draft is
 * the draft model's context for kind "draft", else NULL; sequences are 0..n_seq-1 in both. */
LbSpec *
lb_spec_new (const char *config_json, struct llama_context *target, struct llama_context *draft, int n_seq, char **err);
void lb_spec_free (LbSpec *spec);

/* After EVERY decode of the target, with that very batch.  0, or -1. */
int lb_spec_process (LbSpec *spec, struct llama_batch batch, char **err);

typedef struct {
    llama_seq_id seq;
    bool fresh;       /* the first draft of a reply: @history is its whole prompt */
    int n_max;        /* at most that many; room in @out */
    llama_pos pos0;   /* position of @last */
    llama_token last; /* sampled, not decoded yet */
    const llama_token *history;
    int n_history;    /* tokens before @last */
    llama_token *out; /* written */
    int n_out;        /* written */
} LbWant;

/* One call for all sequences that want a draft.  0, or -1. */
int lb_spec_draft (LbSpec *spec, LbWant *wants, int n, char **err);
/* How many of the last draft of @seq the target kept.  0, or -1. */
int lb_spec_accept (LbSpec *spec, llama_seq_id seq, int n_accepted);

#ifdef __cplusplus
}
#endif
