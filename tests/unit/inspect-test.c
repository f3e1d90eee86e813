/* models/inspect: children that die, hang, talk nonsense or too much, and who is blamed for it (disk.md 4.2, engine.md 7). */
#include "models/inspect.h"

#include "folder.h"

#include <signal.h>
#include <string.h>

static char *sandbox, *double_path;

#define LLM "{\"ok\":true,\"arch\":\"llama\",\"n_ctx_train\":4096}"

static gboolean
give_up (gpointer data)
{
    g_error ("nothing happened in time");
    return G_SOURCE_REMOVE;
}

typedef struct {
    GMainLoop *loop;
    Inspect *inspect;
    json_t *answers[200];
    guint n_answers;
    char *unusable;
    gboolean done;
} Asked;

static void
take_answer (guint index, json_t *answer, gpointer data)
{
    Asked *asked = data;
    g_assert_false (asked->done);
    g_assert_null (asked->answers[index]);
    asked->answers[index] = json_incref (answer);
    asked->n_answers++;
}

static void
all_in (const char *unusable, gpointer data)
{
    Asked *asked = data;
    g_assert_false (asked->done);
    asked->done = TRUE;
    asked->unusable = g_strdup (unusable);
    g_clear_pointer (&asked->inspect, inspect_free);
    g_main_loop_quit (asked->loop);
}

/* Asks @engine about files with these texts; @file_ms is long where nothing hangs: a busy machine is no misbehaviour. */
static void
ask (Asked *asked, const char *engine, guint file_ms, const char *const *texts, gsize n)
{
    memset (asked, 0, sizeof *asked);
    g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
    for (gsize i = 0; i < n; i++) {
        g_autofree char *relative = g_strdup_printf ("ask/%u.gguf", (guint) i);
        folder_put (sandbox, relative, texts[i]);
        g_ptr_array_add (paths, g_build_filename (sandbox, relative, NULL));
    }
    g_ptr_array_add (paths, NULL);
    asked->loop = g_main_loop_new (NULL, FALSE);
    InspectFuncs funcs = {
        .engine_path = engine, .file_ms = file_ms, .answer = take_answer, .done = all_in, .data = asked
    };
    asked->inspect = inspect_new ((const char *const *) paths->pdata, &funcs);
    guint timer = g_timeout_add (60000, give_up, NULL);
    g_main_loop_run (asked->loop);
    g_source_remove (timer);
    g_main_loop_unref (asked->loop);
}

static void
asked_clear (Asked *asked)
{
    for (guint i = 0; i < G_N_ELEMENTS (asked->answers); i++)
        json_decref (asked->answers[i]);
    g_free (asked->unusable);
}

static const struct {
    const char *text, *reason; /* NULL: it is fine */
} misbehaviours[] = {
    { LLM, NULL },
    { "!die", "died while reading it (signal 9)" },
    { LLM, NULL },
    { "!exit", "exit code 3" },
    { "!hang", "in time" },
    { "!drip", "in time" },
    { LLM, NULL },
    { "!flood", "can't be used" },
    { "!long", "can't be used" },
    { "!garbage", "can't be used" },
    { "!binary", "can't be used" },
    { "!scalar", "can't be used" },
    { "{\"path\":\"x\"}", "can't be used" },
    { "{\"ok\":false,\"reason\":\"because\"}", "because" },
    { LLM, NULL },
};

static void
test_every_misbehaviour (void)
{
    const char *texts[G_N_ELEMENTS (misbehaviours)];
    for (gsize i = 0; i < G_N_ELEMENTS (misbehaviours); i++)
        texts[i] = misbehaviours[i].text;
    Asked asked;
    ask (&asked, double_path, 3000, texts, G_N_ELEMENTS (misbehaviours));
    g_assert_null (asked.unusable);
    g_assert_cmpuint (asked.n_answers, ==, G_N_ELEMENTS (misbehaviours));
    for (gsize i = 0; i < G_N_ELEMENTS (misbehaviours); i++) {
        g_test_message ("%s", misbehaviours[i].text);
        const char *reason = json_peek_string (asked.answers[i], "reason");
        g_assert_cmpint (json_peek_bool (asked.answers[i], "ok", FALSE), ==, misbehaviours[i].reason == NULL);
        if (misbehaviours[i].reason)
            g_assert_nonnull (strstr (reason, misbehaviours[i].reason));
    }
    asked_clear (&asked);
}

/* Answers that a dying child takes along are asked for again; only the killer is blamed. */
static void
test_the_killer_alone_is_blamed (void)
{
    const char *const texts[] = { "{\"ok\":true,\"unflushed\":1}", "{\"ok\":true,\"unflushed\":2}",
                                  "{\"ok\":true,\"unflushed\":3}", "{\"ok\":true,\"unflushed\":4}",
                                  "{\"ok\":true,\"unflushed\":5}", "!die",
                                  "{\"ok\":true,\"unflushed\":7}" };
    Asked asked;
    ask (&asked, double_path, 0, texts, G_N_ELEMENTS (texts));
    for (gsize i = 0; i < G_N_ELEMENTS (texts); i++)
        g_assert_cmpint (json_peek_bool (asked.answers[i], "ok", TRUE), ==, i != 5);
    asked_clear (&asked);
}

static void
test_two_hundred_files (void)
{
    const char *texts[200];
    for (int i = 0; i < 200; i++)
        texts[i] = i % 50 == 49 ? "!die" : LLM;
    Asked asked;
    ask (&asked, double_path, 0, texts, 200);
    g_assert_cmpuint (asked.n_answers, ==, 200);
    for (int i = 0; i < 200; i++)
        g_assert_cmpint (json_peek_bool (asked.answers[i], "ok", TRUE), ==, i % 50 != 49);
    asked_clear (&asked);
}

/* disk-017: whatever a file makes of the engine's memory, it is not the machine's. */
static void
test_limits (void)
{
    const char *const texts[] = { "!limits" };
    Asked asked;
    ask (&asked, double_path, 0, texts, 1);
#ifndef __SANITIZE_ADDRESS__
    g_assert_cmpint (json_peek_int (asked.answers[0], "memory", 0), ==, INSPECT_MEMORY);
#endif
    g_assert_cmpint (json_peek_int (asked.answers[0], "core", -1), ==, 0);
    g_assert_cmpint (json_peek_int (asked.answers[0], "death", 0), ==, SIGKILL);
    g_assert_cmpint (json_peek_int (asked.answers[0], "descriptors", -1), ==,
                     0); /* nothing of ours but stdout and stderr */
    asked_clear (&asked);
}

static void
test_no_engine (void)
{
    const char *const texts[] = { LLM, LLM, LLM };
    Asked asked;
    ask (&asked, "/no/such/engine", 0, texts, G_N_ELEMENTS (texts));
    g_assert_nonnull (asked.unusable);
    g_assert_cmpuint (asked.n_answers, ==, 0);
    asked_clear (&asked);
    const char *const unlinked[] = { "!missing" }; /* what the dynamic linker says when a library is missing */
    ask (&asked, double_path, 0, unlinked, 1);
    g_assert_nonnull (strstr (asked.unusable, "exit code 127"));
    asked_clear (&asked);
}

int
main (int argc, char **argv)
{
    sandbox = folder_new ();
    g_test_init (&argc, &argv, NULL);
    double_path = g_test_build_filename (G_TEST_BUILT, "inspect-double", NULL);
    g_test_add_func ("/inspect/misbehaviours", test_every_misbehaviour);
    g_test_add_func ("/inspect/killer-alone", test_the_killer_alone_is_blamed);
    g_test_add_func ("/inspect/two-hundred", test_two_hundred_files);
    g_test_add_func ("/disk-017/limits", test_limits);
    g_test_add_func ("/inspect/no-engine", test_no_engine);
    int failed = g_test_run ();
    folder_remove (sandbox);
    g_free (sandbox);
    g_free (double_path);
    return failed;
}
