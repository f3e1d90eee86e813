/* fake-engine.c: an engine that computes nothing and plays a script over link/, for tests of timing, death and garbage.
 *
 * lmsd starts it in place of lms-engine when LMS_ENGINE names it.  The script is the JSON file named by FAKE_ENGINE_SCRIPT (absent: {}):
 *
 *   { "hello": {..},              sent in place of the usual HELLO
 *     "load":  [STEP..],          played for LOAD; absent: progress 0, progress 1, ready
 *     "ready": {..},              merged into the usual READY
 *     "jobs":  [[STEP..], ..],    the n-th JOB plays the n-th list, later ones the last; absent: start, "Hello", " world", done
 *     "named": {"text": [STEP..]}, a JOB whose last message is that text plays this instead
 *     "ignore_cancel": true }     CANCEL is not obeyed
 *
 * STEP is an object with one of
 *   {"wait_ms": n}              {"wait_cancel": true}       rests until CANCEL, then goes on
 *   {"progress": 0..1}          {"ready": {..}}             (load)
 *   {"start": {..}}             merged into {"n_prompt":5,"n_cached":0}; absent steps start by themselves at the first text
 *   {"text": S, "times": n, "every_ms": m}      n DELTAs with content S, m ms apart
 *   {"reasoning": S}            {"delta": {..}}  a DELTA's payload as it stands
 *   {"done": {..}}              merged into the usual DONE     {"fail": {..}}   a FAIL payload
 *   {"frame": number, "payload": S}              any frame with any bytes
 *   {"raw": S}                  bytes that are no frame at all
 *   {"exit": code} {"kill": signal} {"close": true} {"fatal": S}   ends of all kinds
 *   {"stderr": S}               a line on stderr
 *
 * Jobs beyond LOAD's `parallel` wait their turn, as in the real engine.  TOKENIZE gives one token a byte, RENDER the messages' texts, EMBED
 * vectors of dimension 4.  STATS counts the DELTAs sent.  --inspect, --survey and --estimate are handed to the real lms-engine (LMS_REAL_ENGINE). */
#include "base/json.h"
#include "link/link.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

typedef struct {
    guint32 id;
    const json_t *steps; /* lent by the script */
    gsize at;            /* the next step */
    guint repeated;      /* of a text step with `times` */
    gboolean started, waiting_for_cancel, cancelled, paused;
    guint n_tokens;
    guint timer;
} Play;

static struct {
    Link *link;
    json_t *script;
    GMainLoop *loop;
    guint out_watch;
    guint parallel, n_running, n_jobs;
    guint64 n_sent;
    GQueue waiting;   /* Play * not yet begun */
    GHashTable *jobs; /* id -> Play * */
    Play load;
} engine;

static void play_on (Play *play);

static void
watch_output (void)
{
    /* A closed socket reads as EOF elsewhere; here only what would not fit is sent later. */
    if (link_flush (engine.link))
        return;
    struct timespec nap = { .tv_nsec = 1000000 };
    nanosleep (&nap, NULL);
}

static void
send_json (LinkType type, guint32 job, const json_t *payload)
{
    link_send_json (engine.link, type, job, payload);
    while (link_queued_bytes (engine.link) > 0)
        watch_output ();
}

/* A copy of @base with the members of @more (may be NULL) over it. */
static json_t *
merged (json_t *base, const json_t *more)
{
    if (more)
        json_object_update (base, (json_t *) more);
    return base;
}

static void
send_ready (const json_t *more)
{
    json_t *ready =
        json_pack ("{s:i, s:i, s:i, s:i, s:i, s:s, s:i, s:b, s:{s:i,s:i,s:i}, s:i, s:s, s:{s:s,s:[s]}}", "n_ctx", 4096,
                   "n_ctx_train", 4096, "parallel", (int) engine.parallel, "n_vocab", 256, "n_embd", 4, "memory",
                   "full", "sandbox", 0, "landlock", 0, "bytes", "model", 1000, "context", 1000, "compute", 1000,
                   "threads", 1, "cpu", "fake", "template", "thinking_start", "<think>", "thinking_ends", "</think>");
    merged (ready, json_object_get (engine.script, "ready"));
    g_autoptr (json_t) whole = merged (ready, more);
    send_json (LINK_READY, 0, whole);
}

static void
end_play (Play *play)
{
    g_clear_handle_id (&play->timer, g_source_remove);
    g_hash_table_remove (engine.jobs, GUINT_TO_POINTER (play->id));
    engine.n_running--;
    Play *next = g_queue_pop_head (&engine.waiting);
    if (next) {
        engine.n_running++;
        play_on (next);
    }
}

static gboolean
play_later (gpointer data)
{
    Play *play = data;
    play->timer = 0;
    play_on (play);
    return G_SOURCE_REMOVE;
}

static void
start_once (Play *play, const json_t *more)
{
    if (play->started || play->id == 0)
        return;
    play->started = TRUE;
    g_autoptr (json_t) start =
        merged (json_pack ("{s:i, s:i, s:f}", "n_prompt", 5, "n_cached", 0, "queue_ms", 0.0), more);
    send_json (LINK_START, play->id, start);
}

static void
send_done (Play *play, const json_t *more)
{
    start_once (play, NULL);
    json_t *done =
        json_pack ("{s:s, s:{s:i,s:i,s:i,s:i}, s:{s:f,s:f,s:f,s:f}}", "reason", play->cancelled ? "cancelled" : "stop",
                   "usage", "prompt", 5, "cached", 0, "completion", (int) play->n_tokens, "reasoning", 0, "times",
                   "queue_ms", 0.0, "prompt_ms", 1.0, "first_ms", 1.0, "generate_ms", 1.0);
    g_autoptr (json_t) whole = merged (done, more);
    send_json (LINK_DONE, play->id, whole);
    end_play (play);
}

static void
send_delta (Play *play, const char *kind, const json_t *text)
{
    start_once (play, NULL);
    g_autoptr (json_t) delta = json_pack ("{s:[{s:O}], s:i}", "deltas", kind, text, "tokens", 1);
    play->n_tokens++;
    engine.n_sent++;
    send_json (LINK_DELTA, play->id, delta);
}

/* Plays one step.  FALSE: the play rests or is over. */
static gboolean
play_step (Play *play, const json_t *step)
{
    const json_t *value;
    if ((value = json_object_get (step, "wait_ms"))) {
        play->at++;
        play->timer = g_timeout_add (json_integer_value (value), play_later, play);
        return FALSE;
    }
    if (json_object_get (step, "wait_cancel")) {
        if (!play->cancelled) {
            play->waiting_for_cancel = TRUE;
            return FALSE;
        }
    } else if ((value = json_object_get (step, "progress"))) {
        g_autoptr (json_t) progress = json_pack ("{s:s, s:O}", "stage", "loading", "fraction", value);
        send_json (LINK_PROGRESS, 0, progress);
    } else if ((value = json_object_get (step, "ready"))) {
        send_ready (value);
    } else if ((value = json_object_get (step, "start"))) {
        start_once (play, value);
    } else if ((value = json_object_get (step, "text"))) {
        guint times = json_peek_int (step, "times", 1), every = json_peek_int (step, "every_ms", 0);
        send_delta (play, "content", value);
        if (++play->repeated < times) {
            play->timer = g_timeout_add (every, play_later, play);
            return FALSE;
        }
        play->repeated = 0;
    } else if ((value = json_object_get (step, "reasoning"))) {
        send_delta (play, "reasoning", value);
    } else if ((value = json_object_get (step, "delta"))) {
        start_once (play, NULL);
        engine.n_sent++;
        send_json (LINK_DELTA, play->id, value);
    } else if ((value = json_object_get (step, "done"))) {
        return send_done (play, value), FALSE;
    } else if ((value = json_object_get (step, "fail"))) {
        send_json (LINK_FAIL, play->id, value);
        if (play->id != 0)
            end_play (play);
        return FALSE;
    } else if ((value = json_object_get (step, "frame"))) {
        const json_t *payload = json_object_get (step, "payload");
        link_send (engine.link, json_integer_value (value), play->id, json_string_value (payload),
                   json_string_length (payload));
    } else if ((value = json_object_get (step, "raw"))) {
        if (write (link_fd (engine.link), json_string_value (value), json_string_length (value)) < 0)
            exit (1);
    } else if ((value = json_object_get (step, "fatal"))) {
        link_send (engine.link, LINK_FATAL, 0, json_string_value (value), json_string_length (value));
        abort ();
    } else if ((value = json_object_get (step, "exit"))) {
        exit (json_integer_value (value));
    } else if ((value = json_object_get (step, "kill"))) {
        raise (json_integer_value (value));
    } else if (json_object_get (step, "close")) {
        close (link_fd (engine.link));
        return FALSE;
    } else if ((value = json_object_get (step, "stderr"))) {
        g_printerr ("%s\n", json_string_value (value));
    } else {
        g_printerr ("fake-engine: a step without a meaning\n");
        exit (2);
    }
    play->at++;
    return TRUE;
}

static void
play_on (Play *play)
{
    if (play->cancelled && play->id != 0 && !json_is_true (json_object_get (engine.script, "ignore_cancel")) &&
        !play->waiting_for_cancel) {
        send_done (play, NULL);
        return;
    }
    play->waiting_for_cancel = FALSE;
    const json_t *step;
    while (!play->paused && (step = json_array_get (play->steps, play->at)))
        if (!play_step (play, step))
            return;
    if (!play->paused && play->id != 0)
        send_done (play, NULL);
}

static void
take_job (const LinkFrame *frame)
{
    static json_t *usual;
    if (!usual)
        usual = json_pack ("[{s:s}, {s:s}]", "text", "Hello", "text", " world");
    const json_t *lists = json_object_get (engine.script, "jobs"), *steps = usual;
    if (json_array_size (lists) > 0)
        steps = json_array_get (lists, MIN (engine.n_jobs, json_array_size (lists) - 1));
    engine.n_jobs++;
    g_autoptr (json_t) job = json_parse (frame->payload, frame->length, NULL);
    const json_t *messages = json_object_get (json_object_get (job, "request"), "messages");
    const char *last = json_peek_string (json_array_get (messages, json_array_size (messages) - 1), "content");
    const json_t *named = last ? json_object_get (json_object_get (engine.script, "named"), last) : NULL;
    if (named)
        steps = named;
    Play *play = g_new0 (Play, 1);
    play->id = frame->job;
    play->steps = steps;
    g_hash_table_insert (engine.jobs, GUINT_TO_POINTER (play->id), play);
    if (engine.n_running >= engine.parallel) {
        g_queue_push_tail (&engine.waiting, play);
        return;
    }
    engine.n_running++;
    play_on (play);
}

static void
take_cancel (Play *play)
{
    play->cancelled = TRUE;
    if (g_queue_remove (&engine.waiting, play)) {
        engine.n_running++; /* end_play counts down */
        send_done (play, NULL);
    } else if (play->waiting_for_cancel) {
        play->at++;
        play_on (play);
    } else if (!json_is_true (json_object_get (engine.script, "ignore_cancel"))) {
        send_done (play, NULL);
    }
}

static void
take_load (const LinkFrame *frame)
{
    g_autoptr (json_t) load = json_parse (frame->payload, frame->length, NULL);
    engine.parallel = json_peek_int (load, "parallel", 4);
    engine.load.steps = json_object_get (engine.script, "load");
    if (engine.load.steps) {
        play_on (&engine.load);
        return;
    }
    g_autoptr (json_t) none = json_pack ("{s:s, s:f}", "stage", "loading", "fraction", 0.0);
    send_json (LINK_PROGRESS, 0, none);
    g_autoptr (json_t) all = json_pack ("{s:s, s:f}", "stage", "loading", "fraction", 1.0);
    send_json (LINK_PROGRESS, 0, all);
    send_ready (NULL);
}

static void
take_embed (const LinkFrame *frame)
{
    g_autoptr (json_t) ask = json_parse (frame->payload, frame->length, NULL);
    guint32 n = json_array_size (json_object_get (ask, "inputs")), dim = 4, one_token = 1;
    g_autoptr (GByteArray) bytes = g_byte_array_new ();
    g_byte_array_append (bytes, (guint8 *) &n, 4);
    g_byte_array_append (bytes, (guint8 *) &dim, 4);
    for (guint32 i = 0; i < n; i++)
        g_byte_array_append (bytes, (guint8 *) &one_token, 4);
    for (guint32 i = 0; i < n * dim; i++) {
        float x = i % dim == i / dim % dim ? 1 : 0;
        g_byte_array_append (bytes, (guint8 *) &x, 4);
    }
    link_send (engine.link, LINK_VECTOR, frame->job, bytes->data, bytes->len);
}

static void
take_question (const LinkFrame *frame)
{
    g_autoptr (json_t) ask = json_parse (frame->payload, frame->length, NULL);
    if (frame->type == LINK_TOKENIZE) {
        const json_t *text = json_object_get (ask, "text");
        g_autoptr (json_t) answer = json_pack ("{s:[]}", "tokens");
        for (gsize i = 0; i < json_string_length (text); i++)
            json_array_append_new (json_object_get (answer, "tokens"),
                                   json_integer ((guint8) json_string_value (text)[i]));
        send_json (LINK_TOKENS, frame->job, answer);
        return;
    }
    g_autoptr (GString) prompt = g_string_new (NULL);
    size_t i;
    json_t *message;
    json_array_foreach (json_object_get (json_object_get (ask, "request"), "messages"), i, message) {
        const char *content = json_peek_string (message, "content");
        g_string_append_printf (prompt, "%s: %s\n", json_peek_string (message, "role"), content ? content : "");
    }
    g_autoptr (json_t) answer = json_pack ("{s:s, s:i}", "prompt", prompt->str, "n_tokens", (int) prompt->len);
    send_json (LINK_RENDERED, frame->job, answer);
}

static void
take_frame (const LinkFrame *frame)
{
    Play *play = frame->job ? g_hash_table_lookup (engine.jobs, GUINT_TO_POINTER (frame->job)) : NULL;
    switch (frame->type) {
    case LINK_LOAD:
        take_load (frame);
        break;
    case LINK_JOB:
        take_job (frame);
        break;
    case LINK_CANCEL:
        if (play && !play->cancelled)
            take_cancel (play);
        break;
    case LINK_PAUSE:
        if (play)
            play->paused = TRUE;
        break;
    case LINK_RESUME:
        if (play && play->paused) {
            play->paused = FALSE;
            if (play->timer == 0 && !play->waiting_for_cancel)
                play_on (play);
        }
        break;
    case LINK_TOKENIZE:
    case LINK_RENDER:
        take_question (frame);
        break;
    case LINK_EMBED:
        take_embed (frame);
        break;
    case LINK_STATS: {
        g_autoptr (json_t) state = json_pack ("{s:i, s:i, s:I, s:I, s:s}", "jobs", (int) engine.n_running, "queued",
                                              (int) engine.waiting.length, "n_decode", (json_int_t) engine.n_sent,
                                              "n_tokens_decoded", (json_int_t) engine.n_sent, "cpu", "fake");
        send_json (LINK_STATE, frame->job, state);
        break;
    }
    case LINK_STOP:
        exit (0);
    default:
        break;
    }
}

static gboolean
readable (int fd, GIOCondition condition, gpointer data)
{
    LinkFrame frame;
    LinkResult result;
    while ((result = link_read (engine.link, &frame, NULL)) == LINK_GOT_FRAME)
        take_frame (&frame);
    if (result != LINK_WANTS_MORE)
        exit (0);
    return G_SOURCE_CONTINUE;
}

int
main (int argc, char **argv)
{
    if (argc > 1) {
        const char *real = g_getenv ("LMS_REAL_ENGINE");
        argv[0] = (char *) (real ? real : "lms-engine");
        execv (argv[0], argv);
        g_printerr ("fake-engine: %s: %s\n", argv[0], g_strerror (errno));
        return 1;
    }
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    const char *path = g_getenv ("FAKE_ENGINE_SCRIPT");
    json_error_t problem;
    engine.script = path ? json_load_file (path, 0, &problem) : json_object ();
    if (!engine.script) {
        g_printerr ("fake-engine: %s: %s\n", path, problem.text);
        return 2;
    }
    engine.jobs = g_hash_table_new_full (NULL, NULL, NULL, g_free);
    engine.link = link_new (LINK_ENGINE_FD);
    const json_t *hello = json_object_get (engine.script, "hello");
    g_autoptr (json_t) usual = json_pack ("{s:i, s:s, s:s}", "protocol", LINK_PROTOCOL, "llama", "none", "cpu", "fake");
    send_json (LINK_HELLO, 0, hello ? hello : usual);
    g_unix_fd_add (LINK_ENGINE_FD, G_IO_IN | G_IO_HUP, readable, NULL);
    engine.loop = g_main_loop_new (NULL, FALSE);
    g_main_loop_run (engine.loop);
    return 0;
}
