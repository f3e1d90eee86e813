/* lms ps: which models are loaded (spec: cli.md 7). */
#include "cli/commands.h"

#include "cli/format.h"
#include "cli/loaded.h"
#include "cli/terminal.h"

#include <string.h>
#include <unistd.h>

static void
print_json (json_t *infos)
{
    size_t i;
    json_t *info;
    json_array_foreach (infos, i, info)
        json_object_del (info, "instanceReference");
    g_autofree char *text = json_print (infos, NULL);
    print_outf ("%s\n", text);
}

/* "58m / 1h": what is left, and dim the whole; a model that was never used has all of it. */
static char *
ttl_cell (const json_t *info)
{
    gint64 ttl = json_peek_int (info, "ttlMs", -1), used = json_peek_int (info, "lastUsedTime", -1);
    if (ttl < 0)
        return g_strdup ("");
    gint64 left = used < 0 ? ttl : ttl - (g_get_real_time () / 1000 - used);
    g_autofree char *remaining = format_ttl (CLAMP (left, 0, ttl)), *whole = format_ttl (ttl);
    g_autofree char *tail = g_strdup_printf ("/ %s", whole);
    g_autofree char *dim = style_text (STDOUT_FILENO, STYLE_DIM, tail);
    return g_strdup_printf ("%s %s", remaining, dim);
}

static void
add_row (Grid *grid, const json_t *info, const json_t *link_status)
{
    g_autofree char *status = g_ascii_strup (json_peek_string (info, "status"), -1);
    g_autofree char *size = format_size ((guint64) json_peek_int (info, "sizeBytes", 0));
    g_autofree char *context = g_strdup_printf ("%" G_GINT64_FORMAT, json_peek_int (info, "contextLength", 0));
    gint64 slots = json_peek_int (info, "parallel", 0);
    g_autofree char *parallel = slots ? g_strdup_printf ("%" G_GINT64_FORMAT, slots) : g_strdup ("-");
    g_autofree char *ttl = ttl_cell (info);
    grid_add (grid, (const char *const[]){ json_peek_string (info, "identifier"), json_peek_string (info, "modelKey"),
                                           status, size, context, parallel, loaded_device (info, link_status), ttl });
}

static int
by_identifier (gconstpointer a, gconstpointer b)
{
    return g_strcmp0 (json_peek_string (*(json_t *const *) a, "identifier"),
                      json_peek_string (*(json_t *const *) b, "identifier"));
}

static void
print_table (json_t *infos, const json_t *link_status)
{
    static const char *const heads[] = {
        "IDENTIFIER", "MODEL", "STATUS", "SIZE", "CONTEXT", "PARALLEL", "DEVICE", "TTL"
    };
    g_autoptr (Grid) grid = grid_new (G_N_ELEMENTS (heads));
    char *dim[G_N_ELEMENTS (heads)];
    for (guint i = 0; i < G_N_ELEMENTS (heads); i++)
        dim[i] = style_text (STDOUT_FILENO, STYLE_DIM, heads[i]);
    grid_add (grid, (const char *const *) dim);
    for (guint i = 0; i < G_N_ELEMENTS (heads); i++)
        g_free (dim[i]);

    g_autoptr (GPtrArray) sorted = g_ptr_array_new ();
    size_t i;
    json_t *info;
    json_array_foreach (infos, i, info)
        g_ptr_array_add (sorted, info);
    g_ptr_array_sort (sorted, by_identifier);
    for (guint j = 0; j < sorted->len; j++)
        add_row (grid, g_ptr_array_index (sorted, j), link_status);
    g_autofree char *text = grid_print (grid);
    print_outf ("\n%s\n", text);
}

int
cmd_ps (const Args *args)
{
    g_autoptr (GError) error = NULL;
    g_autoptr (Client) client = client_new (args, DAEMON_WAKE, "system", &error);
    if (!client)
        return say_failure (error);
    LoadedQuestion question = loaded_ask (client);
    g_autoptr (json_t) infos = loaded_take (&question, TRUE, &error);
    if (!infos)
        return say_failure (error);

    if (args_has (args, "json"))
        print_json (infos);
    else if (json_array_size (infos))
        print_table (infos, loaded_link_status (client, infos));
    else
        say_info ("No models are currently loaded.\n\nTo load a model, run:\n\n    lms load <model path>");
    return 0;
}
