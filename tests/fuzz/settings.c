/* settings.c: any JSON in the place of all three settings files; what comes out must be usable. */
#include "fuzz.h"

#include "home/settings-read.h"

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    g_autoptr (json_t) tree = json_parse ((const char *) data, size, NULL);
    g_autoptr (Settings) settings = settings_read (tree, tree, tree, "/home");
    g_assert_cmpuint (settings->port, >, 0);
    g_assert_true (*settings->network_interface);
    g_assert_true (g_path_is_absolute (settings->models_folder));
    for (char **folder = settings->extra_model_folders; *folder; folder++)
        g_assert_true (g_path_is_absolute (*folder));
    for (char **host = settings->allowed_hosts; *host; host++)
        g_assert_true (**host);
    g_assert_cmpint (settings->guard_mode, <=, GUARD_CUSTOM);
    g_assert_cmpint (settings->file_log, <=, FILE_LOG_FULL);
    g_assert_cmpuint (settings->jit_ttl_seconds, >, 0);
    return 0;
}
