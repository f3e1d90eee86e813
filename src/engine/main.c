/* main.c: lms-engine, one loaded model (design: docs/architecture.md).
 *
 *   lms-engine                        speaks link on descriptor 3 until STOP, or until its parent is gone
 *   lms-engine --inspect FILE...      what files hold, one JSON object a line
 *   lms-engine --estimate FILE JSON   what a load would take
 *   lms-engine --survey               devices and backends */
#include "engine/backend.h"
#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/last_words.h"
#include "engine/sandbox.h"

#include <fcntl.h>
#include <stdlib.h>

static const char usage[] = "lms-engine is started by lmsd; by hand it takes\n"
                            "  --inspect FILE...      what model files hold, as JSON\n"
                            "  --estimate FILE JSON   what loading a file with these options would take\n"
                            "  --survey               devices and backends\n";

static int
run_engine (void)
{
    g_autoptr (GError) error = NULL;
    g_autoptr (Link) link = link_new (LINK_ENGINE_FD);
    last_words_set_link (link);
    gboolean loaded = backend_load (last_words, &error);
    engine_send_hello (link);
    if (!loaded) {
        g_autoptr (json_t) fail = json_pack ("{s:s, s:s}", "kind", "invalid", "message", error->message);
        link_send_json (link, LINK_FAIL, 0, fail);
        g_printerr ("lms-engine: %s\n", error->message);
        return 1;
    }
    int code = engine_run (link);
    last_words_set_link (NULL);
    return code;
}

int
main (int argc, char **argv)
{
    setenv ("GGML_NO_BACKTRACE", "1", 1); /* no debugger is started on an assertion */
    const char *parent = getenv ("LMS_PARENT_PID");
    g_autoptr (GError) error = NULL;
    if (!sandbox_prepare (parent ? (pid_t) atoi (parent) : 0, argc == 1 ? LINK_ENGINE_FD : -1, &error)) {
        g_printerr ("lms-engine: %s\n", error->message);
        return 1;
    }
    if (argc >= 3 && g_str_equal (argv[1], "--inspect"))
        return inspect_main (argc - 2, argv + 2);
    if (argc == 4 && g_str_equal (argv[1], "--estimate"))
        return estimate_main (argv[2], argv[3]);
    if (argc == 2 && g_str_equal (argv[1], "--survey"))
        return survey_main ();
    if (argc != 1 || fcntl (LINK_ENGINE_FD, F_GETFD) < 0) {
        g_printerr ("%s", usage);
        return 2;
    }
    return run_engine ();
}
