/* bare-loop.c: the least that llama.cpp needs to generate, as the measure for lms-engine.
 *
 *   bare-loop MODEL.gguf STREAMS PROMPT_TOKENS NEW_TOKENS [THREADS]
 *
 * The same context, thread pool and sampler chain as an instance with default settings, no server, no parser.  Prints one JSON line:
 * {"exec_to_first_ms", "tokens_per_cpu_s", "tokens_per_s", "prompt_tokens_per_s", "rss_kb"}. */
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <llama.h>

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double
seconds (clockid_t clock)
{
    struct timespec t;
    clock_gettime (clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void
quiet (enum ggml_log_level level, const char *text, void *data)
{
}

/* Seconds since this process was made. */
static double
age (void)
{
    unsigned long long start = 0;
    char line[1024], *at;
    FILE *file = fopen ("/proc/self/stat", "r");
    if (file && fgets (line, sizeof line, file) && (at = strrchr (line, ')')))
        sscanf (at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start);
    if (file)
        fclose (file);
    return seconds (CLOCK_BOOTTIME) - start / 100.0;
}

static struct llama_sampler *
new_sampler (int n_vocab, int seed)
{
    struct llama_sampler *chain = llama_sampler_chain_init (llama_sampler_chain_default_params ());
    llama_sampler_chain_add (chain, llama_sampler_init_penalties (n_vocab, 64, 1.1f, 0, 0));
    llama_sampler_chain_add (chain, llama_sampler_init_top_k (40));
    llama_sampler_chain_add (chain, llama_sampler_init_top_p (0.95f, 1));
    llama_sampler_chain_add (chain, llama_sampler_init_min_p (0.05f, 1));
    llama_sampler_chain_add (chain, llama_sampler_init_temp (0.8f));
    llama_sampler_chain_add (chain, llama_sampler_init_dist (seed));
    return chain;
}

static void
add (struct llama_batch *batch, llama_token token, int at, int stream, bool logits)
{
    const int i = batch->n_tokens++;
    batch->token[i] = token;
    batch->pos[i] = at;
    batch->n_seq_id[i] = 1;
    batch->seq_id[i][0] = stream;
    batch->logits[i] = logits;
}

int
main (int argc, char **argv)
{
    if (argc < 5)
        return fprintf (stderr, "usage: bare-loop MODEL.gguf STREAMS PROMPT_TOKENS NEW_TOKENS [THREADS]\n"), 2;
    const int streams = atoi (argv[2]), n_prompt = atoi (argv[3]), n_new = atoi (argv[4]),
              threads = argc > 5 ? atoi (argv[5]) : 1;
    llama_log_set (quiet, NULL);
    Dl_info where;
    dladdr ((void *) llama_decode, &where);
    char *path = strdup (where.dli_fname);
    ggml_backend_load_all_from_path (dirname (path));

    struct llama_model *model = llama_model_load_from_file (argv[1], llama_model_default_params ());
    struct llama_context_params params = llama_context_default_params ();
    params.n_ctx = 4096;
    params.n_batch = 2048;
    params.n_ubatch = 512;
    params.n_seq_max = streams < 4 ? 4 : streams;
    params.n_outputs_max = params.n_seq_max;
    params.kv_unified = true;
    params.n_threads = params.n_threads_batch = threads;
    struct llama_context *context = model ? llama_init_from_model (model, params) : NULL;
    if (!context)
        return fprintf (stderr, "bare-loop: %s does not load\n", argv[1]), 1;

    ggml_backend_reg_t cpu = ggml_backend_dev_backend_reg (ggml_backend_dev_by_type (GGML_BACKEND_DEVICE_TYPE_CPU));
    struct ggml_threadpool *(*pool_new) (struct ggml_threadpool_params *) =
        ggml_backend_reg_get_proc_address (cpu, "ggml_threadpool_new");
    struct ggml_threadpool_params pool_params = ggml_threadpool_params_default (threads);
    struct ggml_threadpool *pool = pool_new (&pool_params);
    llama_attach_threadpool (context, pool, pool);

    const int n_vocab = llama_vocab_n_tokens (llama_model_get_vocab (model));
    struct llama_batch batch = llama_batch_init (2048, 0, 1);
    struct llama_sampler *samplers[64];
    double first = 0, prompt_start = seconds (CLOCK_MONOTONIC);
    llama_token last[64];
    for (int s = 0; s < streams; s++) {
        samplers[s] = new_sampler (n_vocab, s + 1);
        batch.n_tokens = 0;
        for (int i = 0; i < n_prompt; i++)
            add (&batch, (i * 7919 + s * 104729) % (n_vocab - 1000), i, s, i == n_prompt - 1);
        if (llama_decode (context, batch) != 0)
            return fprintf (stderr, "bare-loop: the prompt does not fit\n"), 1;
        last[s] = llama_sampler_sample (samplers[s], context, -1);
        if (s == 0)
            first = age ();
    }
    const double prompt_time = seconds (CLOCK_MONOTONIC) - prompt_start;
    const double wall = seconds (CLOCK_MONOTONIC), spent = seconds (CLOCK_PROCESS_CPUTIME_ID);
    char piece[256];
    for (int i = 0; i < n_new; i++) {
        batch.n_tokens = 0;
        for (int s = 0; s < streams; s++)
            add (&batch, last[s], n_prompt + i, s, true);
        if (llama_decode (context, batch) != 0)
            return fprintf (stderr, "bare-loop: no room\n"), 1;
        for (int s = 0; s < streams; s++) {
            last[s] = llama_sampler_sample (samplers[s], context, s);
            llama_token_to_piece (llama_model_get_vocab (model), last[s], piece, sizeof piece, 0, false);
        }
    }
    const double n = (double) n_new * streams;
    printf (
        "{\"exec_to_first_ms\":%.1f,\"tokens_per_cpu_s\":%.2f,\"tokens_per_s\":%.2f,\"prompt_tokens_per_s\":%.1f}\n",
        first * 1000, n / (seconds (CLOCK_PROCESS_CPUTIME_ID) - spent), n / (seconds (CLOCK_MONOTONIC) - wall),
        n_prompt * streams / prompt_time);
    return 0;
}
