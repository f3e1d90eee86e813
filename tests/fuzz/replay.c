/* replay.c: a fuzz target's corpus as a test, and every file of it cut at each of its first bytes.
 *
 * The folder of the corpus is the first argument; each file is one test. */
#include "fuzz.h"

#define MAX_CUTS 512

static void
replay (gconstpointer path)
{
    g_autofree char *bytes = NULL;
    g_autoptr (GError) error = NULL;
    gsize length;
    g_file_get_contents (path, &bytes, &length, &error);
    g_assert_no_error (error);
    LLVMFuzzerTestOneInput ((const guint8 *) bytes, length);
    for (gsize cut = 0; cut < MIN (length, MAX_CUTS); cut++)
        LLVMFuzzerTestOneInput ((const guint8 *) bytes, cut);
}

int
main (int argc, char **argv)
{
    const char *folder = argv[--argc];
    g_test_init (&argc, &argv, NULL);
    g_autoptr (GError) error = NULL;
    g_autoptr (GDir) dir = g_dir_open (folder, 0, &error);
    if (!dir)
        g_error ("%s", error->message);
    for (const char *name; (name = g_dir_read_name (dir));) {
        g_autofree char *test = g_strdup_printf ("/corpus/%s", name);
        g_test_add_data_func_full (test, g_build_filename (folder, name, NULL), replay, g_free);
    }
    return g_test_run ();
}
