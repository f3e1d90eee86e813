/* loop.c: the engine's one loop.  Each step is a file of its name; the state they share is in engine.h (spec: engine.md 11). */
#include "engine/engine.h"

#include "engine/backend.h"

void
engine_send_hello (Link *link)
{
    g_autoptr (json_t) hello =
        json_pack ("{s:i, s:s, s:s}", "protocol", LINK_PROTOCOL, "llama", llama_version (), "cpu", backend_cpu_name ());
    link_send_json (link, LINK_HELLO, 0, hello);
}

static void
unload_jobs (Engine *g)
{
    for (guint i = 0; i < g->jobs->len; i++)
        job_fail (g_ptr_array_index (g->jobs, i),
                  g_error_new_literal (ENGINE_ERROR, ENGINE_ERROR_UNLOADED, "The model was unloaded."));
    retire (g);
    frames_end (g);
}

int
engine_run (Link *link)
{
    Engine *g = g_new0 (Engine, 1);
    g->link = link;
    g->thread = g_thread_self ();
    g->jobs = g_ptr_array_new ();
    g->turns = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    g->chunk_limit = G_MAXUINT;
    g_queue_init (&g->inbox);

    while (!g->stopping) {
        take_frames (g);
        retire (g); /* who was cancelled meanwhile makes room */
        admit (g);
        plan (g);
        if (decode (g))
            draw (g);
        emit (g);
        retire (g);
    }

    unload_jobs (g);
    int code = g->link_bad ? 1 : 0;
    engine_unload (g);
    g_ptr_array_unref (g->jobs);
    g_hash_table_unref (g->turns);
    g_free (g);
    return code;
}
