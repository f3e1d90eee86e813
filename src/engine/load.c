/* load.c: LOAD, from paths to a context that has computed its first token.
 *
 *   options ─▶ sandbox, stage 1 ─▶ model ─▶ templates ─▶ context, threads ─▶ warm-up ─▶ sandbox, stage 2 ─▶ READY
 *
 * The file is foreign input, so the rights go before it is opened.  A file that will not load is the daemon's to report: FAIL of
 * job 0 carries the library's own reason. */
#include "engine/engine.h"

#include "engine/backend.h"
#include "engine/sandbox.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_MS 100
#define PARKED_MIN  2 /* ids beyond the places where the memory's size follows their number */

/* ---- options -------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *path;
    GPtrArray *splits; /* const char *, lent */
    gint64 n_ctx, parallel, n_batch, n_ubatch, n_threads, chunk_ms, park_cells;
    double rope_freq_base, rope_freq_scale;
    gboolean embedding, vocab_only, mmap, mlock;
    int flash_attn; /* -1: the library decides */
    enum ggml_type type_k, type_v;
} LoadOptions;

static const struct {
    const char *key;
    gsize offset;
    gint64 least, most, fallback;
} numbers[] = {
    { "n_ctx", offsetof (LoadOptions, n_ctx), 0, ENGINE_MAX_CONTEXT, 0 },
    { "parallel", offsetof (LoadOptions, parallel), 1, ENGINE_MAX_PARALLEL, 4 },
    { "n_batch", offsetof (LoadOptions, n_batch), 32, ENGINE_MAX_BATCH, 2048 },
    { "n_ubatch", offsetof (LoadOptions, n_ubatch), 32, ENGINE_MAX_BATCH, 512 },
    { "threads", offsetof (LoadOptions, n_threads), 0, 512, 0 },
    { "chunk_ms", offsetof (LoadOptions, chunk_ms), 1, 60000, 250 },
    { "park_cells", offsetof (LoadOptions, park_cells), -1, ENGINE_MAX_CONTEXT, -1 },
};

static const struct {
    const char *name;
    enum ggml_type type;
} cache_types[] = {
    { "f32", GGML_TYPE_F32 },   { "f16", GGML_TYPE_F16 },   { "bf16", GGML_TYPE_BF16 },
    { "q8_0", GGML_TYPE_Q8_0 }, { "q5_1", GGML_TYPE_Q5_1 }, { "q5_0", GGML_TYPE_Q5_0 },
    { "q4_1", GGML_TYPE_Q4_1 }, { "q4_0", GGML_TYPE_Q4_0 }, { "iq4_nl", GGML_TYPE_IQ4_NL },
};

static gboolean
read_cache_type (const json_t *json, const char *key, enum ggml_type *type, GError **error)
{
    const json_t *value = json_object_get (json, key);
    *type = GGML_TYPE_F16;
    if (!value || json_is_null (value))
        return TRUE;
    for (guint i = 0; i < G_N_ELEMENTS (cache_types); i++)
        if (g_strcmp0 (json_string_value (value), cache_types[i].name) == 0) {
            *type = cache_types[i].type;
            return TRUE;
        }
    g_set_error (error, ENGINE_ERROR, ENGINE_ERROR_INVALID, "\"%s\" is no type that a cache can have.", key);
    return FALSE;
}

static gboolean
read_options (LoadOptions *o, const json_t *json, GError **error)
{
    o->path = json_peek_string (json, "path");
    if (!o->path || !*o->path) {
        g_set_error_literal (error, ENGINE_ERROR, ENGINE_ERROR_INVALID, "LOAD names no file.");
        return FALSE;
    }
    size_t i;
    json_t *value;
    json_array_foreach (json_object_get (json, "splits"), i, value)
        if (json_is_string (value))
            g_ptr_array_add (o->splits, (char *) json_string_value (value));
    for (i = 0; i < G_N_ELEMENTS (numbers); i++) {
        gint64 number = json_peek_int (json, numbers[i].key, numbers[i].fallback);
        if (number < numbers[i].least || number > numbers[i].most) {
            g_set_error (error, ENGINE_ERROR, ENGINE_ERROR_INVALID,
                         "\"%s\" must be from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT ".", numbers[i].key,
                         numbers[i].least, numbers[i].most);
            return FALSE;
        }
        *(gint64 *) (void *) ((char *) o + numbers[i].offset) = number;
    }
    o->rope_freq_base = MAX (0, json_peek_number (json, "rope_freq_base", 0));
    o->rope_freq_scale = MAX (0, json_peek_number (json, "rope_freq_scale", 0));
    o->embedding = json_peek_bool (json, "embedding", FALSE);
    o->vocab_only = json_peek_bool (json, "vocab_only", FALSE);
    o->mmap = json_peek_bool (json, "mmap", TRUE);
    o->mlock = json_peek_bool (json, "mlock", FALSE);
    o->flash_attn =
        json_is_boolean (json_object_get (json, "flash_attn")) ? json_peek_bool (json, "flash_attn", 0) : -1;
    return read_cache_type (json, "type_k", &o->type_k, error) && read_cache_type (json, "type_v", &o->type_v, error);
}

/* ---- the library's word on what went wrong -------------------------------------------------------------------------------- */

/* The first line that says something: "f: error loading model: g: no such thing; h: failed to load model" is "no such thing". */
static char *
plain_reason (const char *lines)
{
    static const char *const empty_words[] = { "failed to load model", "failed to initialize", "error loading model" };
    g_auto (GStrv) parts = g_strsplit (lines, "; ", -1);
    for (guint i = 0; parts[i]; i++) {
        const char *said = parts[i];
        for (gsize word; said[word = strspn (said, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "_")] == ':' && word > 0;)
            said = g_strchug ((char *) said + word + 1); /* the name of a function */
        gboolean empty = *said == 0;
        for (guint k = 0; k < G_N_ELEMENTS (empty_words); k++)
            empty |= g_str_has_prefix (said, empty_words[k]) && !strstr (said, ": ");
        const char *reason = strstr (said, "error loading model: ");
        if (!empty)
            return g_strdup (reason ? reason + strlen ("error loading model: ") : said);
    }
    return g_strdup (lines);
}

static void
set_library_error (GError **error, const char *what)
{
    static const char *const memory_words[] = { "alloc", "out of memory", "mmap failed" };
    const char *lines = lb_last_log_error ();
    int code = ENGINE_ERROR_INVALID;
    for (guint i = 0; i < G_N_ELEMENTS (memory_words); i++)
        if (strstr (lines, memory_words[i]))
            code = ENGINE_ERROR_MEMORY;
    g_autofree char *reason = plain_reason (lines);
    g_set_error (error, ENGINE_ERROR, code, "%s%s%s", what, *reason ? ": " : ".", reason);
}

/* ---- progress ------------------------------------------------------------------------------------------------------------- */

typedef struct {
    Engine *g;
    double sent;
    gint64 sent_us;
} Progress;

static void
send_progress (Engine *g, const char *stage, double fraction)
{
    g_autoptr (json_t) progress = json_pack ("{s:s, s:f}", "stage", stage, "fraction", fraction);
    link_send_json (g->link, LINK_PROGRESS, 0, progress);
}

/* FALSE aborts the load: the daemon has changed its mind, or is gone. */
static bool
on_progress (float fraction, void *data)
{
    Progress *progress = data;
    const gint64 now = g_get_monotonic_time ();
    if (fraction > progress->sent && now - progress->sent_us >= PROGRESS_MS * 1000) {
        progress->sent = fraction;
        progress->sent_us = now;
        send_progress (progress->g, "model", 0.9 * fraction);
    }
    link_flush (progress->g->link);
    frames_peek (progress->g);
    return !progress->g->stopping && !progress->g->link_ended;
}

/* ---- memory --------------------------------------------------------------------------------------------------------------- */

/* Pages of this process that are resident, from a descriptor that was opened before the sandbox closed. */
static gint64
resident_bytes (int statm)
{
    char text[128] = { 0 };
    if (statm < 0 || pread (statm, text, sizeof text - 1, 0) <= 0)
        return 0;
    const char *second = strchr (text, ' ');
    return second ? g_ascii_strtoll (second, NULL, 10) * sysconf (_SC_PAGESIZE) : 0;
}

static MemoryKind
memory_kind (const struct llama_model *model, llama_memory_t cache)
{
    if (!cache)
        return MEMORY_NONE;
    if (llama_model_is_hybrid (model))
        return MEMORY_HYBRID;
    if (llama_model_is_recurrent (model))
        return MEMORY_RECURRENT;
    return llama_model_n_swa (model) > 0 ? MEMORY_WINDOW : MEMORY_FULL;
}

/* ---- steps ---------------------------------------------------------------------------------------------------------------- */

static gboolean
enter_sandbox (const LoadOptions *o, GError **error)
{
    tzset (); /* templates that print the date need the zone, which is a file */
    g_autofree char *folder = g_path_get_dirname (o->path);
    g_autoptr (GPtrArray) paths = g_ptr_array_new ();
    g_ptr_array_add (paths, folder);
    g_ptr_array_add (paths, (char *) o->path);
    for (guint i = 0; i < o->splits->len; i++)
        g_ptr_array_add (paths, g_ptr_array_index (o->splits, i));
    g_ptr_array_add (paths, NULL);
    return sandbox_enter_model ((const char *const *) paths->pdata, error);
}

static gboolean
load_model (Engine *g, const LoadOptions *o, GError **error)
{
    Progress progress = { .g = g };
    struct llama_model_params params = llama_model_default_params ();
    params.load_mode = o->mmap ? (o->mlock ? LLAMA_LOAD_MODE_MMAP_MLOCK : LLAMA_LOAD_MODE_MMAP)
                               : (o->mlock ? LLAMA_LOAD_MODE_MLOCK : LLAMA_LOAD_MODE_NONE);
    params.vocab_only = o->vocab_only;
    params.progress_callback = on_progress;
    params.progress_callback_user_data = &progress;
    lb_last_log_error (); /* what was before is not about this file */
    send_progress (g, "model", 0);
    g->model = o->splits->len > 0
                   ? llama_model_load_from_splits ((const char **) o->splits->pdata, o->splits->len, params)
                   : llama_model_load_from_file (o->path, params);
    if (!g->model) {
        set_library_error (error, "The model does not load");
        return FALSE;
    }
    if (llama_model_has_encoder (g->model) || llama_model_is_diffusion (g->model)) {
        g_set_error_literal (error, ENGINE_ERROR, ENGINE_ERROR_INVALID,
                             "Encoder-decoder and diffusion models are not supported.");
        return FALSE;
    }
    g->vocab = llama_model_get_vocab (g->model);
    if (llama_vocab_type (g->vocab) == LLAMA_VOCAB_TYPE_NONE) {
        g_set_error_literal (error, ENGINE_ERROR, ENGINE_ERROR_INVALID, "The file has no vocabulary.");
        return FALSE;
    }
    g->model_bytes = llama_model_size (g->model);
    return TRUE;
}

/* The flag that ends a decode early: nobody wants any part of this batch any more.  Called between operations, hundreds of times in a
 * decode, so even the clock is read only now and then. */
static bool
on_abort_check (void *data)
{
    Engine *g = data;
    if (++g->n_checks % 16 != 0 || g_thread_self () != g->thread)
        return false;
    const gint64 now = g_get_monotonic_time ();
    if (now - g->peeked_us > 1000) {
        g->peeked_us = now;
        frames_peek (g);
    }
    if (g->stopping || g->link_ended || g->embed_cancelled)
        return true;
    for (guint i = 0; i < g->n_parts; i++)
        if (!g->part_jobs[i]->cancelled)
            return false;
    return g->n_parts > 0;
}

static gboolean
make_context (Engine *g, const LoadOptions *o, GError **error)
{
    const guint n_train = llama_model_n_ctx_train (g->model);
    const guint extra =
        llama_model_is_recurrent (g->model) || llama_model_is_hybrid (g->model) || llama_model_n_swa (g->model) > 0
            ? MAX (PARKED_MIN, g->parallel)
            : 0;
    struct llama_context_params params = llama_context_default_params ();
    params.n_ctx = o->n_ctx ? o->n_ctx : n_train;
    if (llama_model_rope_type (g->model) == LLAMA_ROPE_TYPE_NONE && !llama_model_is_recurrent (g->model))
        params.n_ctx = MIN (params.n_ctx, n_train); /* positions are learnt: there are no more than that */
    params.n_seq_max = g->parallel + extra;
    params.n_batch = MAX (o->n_batch, params.n_seq_max);
    params.n_ubatch = MIN (o->n_ubatch, params.n_batch);
    params.n_outputs_max = params.n_seq_max;
    params.kv_unified = true;
    params.type_k = o->type_k;
    params.type_v = o->type_v;
    params.flash_attn_type = o->flash_attn;
    params.rope_freq_base = o->rope_freq_base;
    params.rope_freq_scale = o->rope_freq_scale;
    params.n_threads = params.n_threads_batch = 1; /* until the pool is there */
    params.abort_callback = on_abort_check;
    params.abort_callback_data = g;
    params.no_perf = true;
    if (o->embedding)
        embed_params (g, o->n_ctx, &params);

    lb_last_log_error ();
    g->context = llama_init_from_model (g->model, params);
    if (!g->context) {
        set_library_error (error, "The context cannot be made");
        return FALSE;
    }
    g->cache = llama_get_memory (g->context);
    g->memory = memory_kind (g->model, g->cache);
    g->n_cells = llama_n_ctx (g->context);
    g->n_ctx = MIN (params.n_ctx, g->n_cells);
    g->n_batch = llama_n_batch (g->context);
    g->n_ubatch = llama_n_ubatch (g->context);
    g->n_seqs = g->memory == MEMORY_FULL ? PREFIX_TREE_MAX_IDS : params.n_seq_max;
    g->park_cells = o->park_cells >= 0 ? o->park_cells : g->n_cells / 2;
    g->batch = llama_batch_init (g->n_batch, 0, 1);

    g->threads = threads_new (g->context, engine_n_threads (g, o->n_threads), o->n_threads == 0);
    return TRUE;
}

guint
engine_n_threads (const Engine *g, guint wanted)
{
    if (wanted == 0)
        return g->default_threads;
    const guint most = g->threads_quota ? MIN (g->n_cpus, g->threads_quota) : g->n_cpus;
    return MIN (wanted, most);
}

/* One token through everything, so that what is allocated late is allocated, and the first request is not the slow one. */
static gboolean
warm_up (Engine *g, GError **error)
{
    llama_token token = llama_vocab_bos (g->vocab);
    if (token < 0)
        token = 0;
    struct llama_batch batch = llama_batch_get_one (&token, 1);
    int result = g->cache ? llama_decode (g->context, batch) : llama_encode (g->context, batch);
    llama_synchronize (g->context);
    if (result != 0 && !g->stopping && !g->link_ended) {
        set_library_error (error, "The model does not compute");
        return FALSE;
    }
    if (g->cache)
        llama_memory_clear (g->cache, true);
    return TRUE;
}

/* ---- READY ---------------------------------------------------------------------------------------------------------------- */

static void
set_token_text (const Engine *g, json_t *object, const char *key, llama_token token)
{
    const char *text = token < 0 ? "" : llama_vocab_get_text (g->vocab, token);
    json_set_text (object, key, text, strlen (text));
}

static void
send_ready (Engine *g)
{
    static const char *const memory_names[] = { "none", "full", "window", "recurrent", "hybrid" };
    g_autoptr (json_t) ready = json_pack (
        "{s:i, s:i, s:i, s:i, s:i, s:s, s:i, s:b, s:{s:I, s:I, s:I}, s:i, s:s}", "n_ctx", (int) g->n_ctx, "n_ctx_train",
        llama_model_n_ctx_train (g->model), "parallel", (int) g->parallel, "n_vocab", llama_vocab_n_tokens (g->vocab),
        "n_embd", llama_model_n_embd (g->model), "memory", memory_names[g->memory], "sandbox", sandbox_level (),
        "landlock", sandbox_has_landlock (), "bytes", "model", (json_int_t) g->model_bytes, "context",
        (json_int_t) g->context_bytes, "compute", (json_int_t) g->compute_bytes, "threads",
        g->threads ? (int) threads_now (g->threads) : 0, "cpu", backend_cpu_name ());
    set_token_text (g, ready, "bos", llama_vocab_bos (g->vocab));
    set_token_text (g, ready, "eos", llama_vocab_eos (g->vocab));
    char *info = g->chat ? lb_chat_info (g->chat, NULL) : NULL;
    if (info)
        json_object_set_new (ready, "template", json_parse (info, strlen (info), NULL));
    free (info);
    link_send_json (g->link, LINK_READY, 0, ready);
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------ */

static gboolean
load_with (Engine *g, const LoadOptions *o, const json_t *json, GError **error)
{
    const int statm = open ("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    g->threads_quota = threads_quota ();
    g->n_cpus = g_get_num_processors ();
    g->default_threads = threads_default (threads_cores (), g->threads_quota);
    g->parallel = o->parallel;
    g->chunk_ms = o->chunk_ms;
    g->embedding = o->embedding;
    if (!enter_sandbox (o, error) || !load_model (g, o, error))
        return close (statm), FALSE;

    if (!o->embedding) {
        char *sentence = NULL;
        g->chat = lb_chat_new (g->model, json_peek_string (json, "chat_template"), &sentence);
        if (!g->chat) {
            engine_error_take (error, "template", sentence);
            return close (statm), FALSE;
        }
    }
    if (!o->vocab_only) {
        send_progress (g, "context", 0.9);
        const gint64 before = resident_bytes (statm);
        if (!make_context (g, o, error))
            return close (statm), FALSE;
        const gint64 between = resident_bytes (statm);
        if (!warm_up (g, error))
            return close (statm), FALSE;
        g->context_bytes = MAX (0, between - before);
        g->compute_bytes = MAX (0, resident_bytes (statm) - between);
        if (!g->embedding && !g->cache) {
            g_set_error_literal (error, ENGINE_ERROR, ENGINE_ERROR_INVALID, "This model makes embeddings only.");
            return close (statm), FALSE;
        }
    }
    close (statm);
    return sandbox_enter_running (error);
}

gboolean
engine_load (Engine *g, const json_t *json, GError **error)
{
    g_autoptr (GPtrArray) splits = g_ptr_array_new ();
    LoadOptions options = { .splits = splits };
    if (!read_options (&options, json, error))
        return FALSE;
    g->seed = json_incref (json_object_get (json, "seed"));
    if (!load_with (g, &options, json, error)) {
        engine_unload (g);
        return FALSE;
    }
    if (!options.vocab_only && !options.embedding)
        cells_init (g);
    send_progress (g, "ready", 1);
    send_ready (g);
    return TRUE;
}

void
engine_unload (Engine *g)
{
    cells_clear (g);
    g_clear_pointer (&g->threads, threads_free);
    if (g->batch.token)
        llama_batch_free (g->batch);
    g->batch = (struct llama_batch){ 0 };
    g_clear_pointer (&g->context, llama_free);
    g_clear_pointer (&g->chat, lb_chat_free);
    g_clear_pointer (&g->model, llama_model_free);
    g_clear_pointer (&g->seed, json_decref);
    g->cache = NULL;
    g->vocab = NULL;
    g->n_seqs = 0;
}
