/* main.c: lms-engine, one loaded model (design: docs/architecture.md).
 *
 *   lms-engine                        speaks link on descriptor 3 until STOP, or until its parent is gone
 *   lms-engine --inspect FILE...      what files hold, one JSON object a line
 *   lms-engine --estimate FILE JSON   what a load would take
 *   lms-engine --survey               devices and backends
 *
 * Its last words: a failed assertion of the library ends the process, but first its text goes out as a FATAL frame, by one write and
 * without an allocation, for nothing can be trusted by then. */
#include "engine/backend.h"
#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/sandbox.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "lms-engine is started by lmsd; by hand it takes\n"
                            "  --inspect FILE...      what model files hold, as JSON\n"
                            "  --estimate FILE JSON   what loading a file with these options would take\n"
                            "  --survey               devices and backends\n";

/* Where a frame would begin in the middle of another one, the words go to stderr only. */
static Link *last_words_link;

static void
on_abort (const char *message)
{
    guint8 frame[LINK_HEADER_SIZE + 1024];
    gsize length = MIN (strlen (message), sizeof frame - LINK_HEADER_SIZE);
    link_pack_header (frame, LINK_FATAL, 0, 0, length);
    memcpy (frame + LINK_HEADER_SIZE, message, length);
    ssize_t n = 0;
    if (last_words_link && link_queued_bytes (last_words_link) == 0)
        n = write (LINK_ENGINE_FD, frame, LINK_HEADER_SIZE + length);
    n = write (STDERR_FILENO, message, length);
    n = write (STDERR_FILENO, "\n", 1);
    (void) n;
}

static int
run_engine (void)
{
    g_autoptr (GError) error = NULL;
    g_autoptr (Link) link = link_new (LINK_ENGINE_FD);
    last_words_link = link;
    if (!backend_load (on_abort, &error)) {
        g_autoptr (json_t) fail = json_pack ("{s:s, s:s}", "kind", "invalid", "message", error->message);
        link_send_json (link, LINK_FAIL, 0, fail);
        g_printerr ("lms-engine: %s\n", error->message);
        return 1;
    }
    int code = engine_run (link);
    last_words_link = NULL;
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
    if (argc != 1) {
        g_printerr ("%s", usage);
        return 2;
    }
    return run_engine ();
}
