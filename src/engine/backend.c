/* backend.c: ggml's backends out of the engine pack's folder.
 *
 * The libraries lie beside libllama, whose own place the dynamic loader knows; nothing here depends on the working directory or on
 * the environment, except on LMS_CPU, which names one CPU library where ggml's choice (by CPUID alone) is wrong for the machine. */
#include "engine/backend.h"

#include <dlfcn.h>
#include <ggml-backend.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bridge.h"

G_DEFINE_QUARK (backend - error - quark, backend_error)

#define CPU_PREFIX "libggml-cpu-"
#define CPU_SUFFIX ".so"

static char *cpu_name; /* of the library in use, without prefix and suffix */

/* "zen4" out of ".../libggml-cpu-zen4.so"; NULL when @path is no CPU library. */
static char *
cpu_name_of (const char *path)
{
    const char *slash = strrchr (path, '/'), *base = slash ? slash + 1 : path;
    if (!g_str_has_prefix (base, CPU_PREFIX) || !g_str_has_suffix (base, CPU_SUFFIX))
        return NULL;
    const char *name = base + strlen (CPU_PREFIX);
    return g_strndup (name, strlen (name) - strlen (CPU_SUFFIX));
}

static int
find_cpu_library (struct dl_phdr_info *info, size_t size, void *data)
{
    char **found = data;
    *found = info->dlpi_name ? cpu_name_of (info->dlpi_name) : NULL;
    return *found != NULL;
}

const char *
backend_folder (void)
{
    static char *folder;
    Dl_info info;
    void *symbol = folder ? NULL : dlsym (RTLD_DEFAULT, "llama_backend_init");
    if (symbol && dladdr (symbol, &info) && info.dli_fname) {
        g_autofree char *real = realpath (info.dli_fname, NULL);
        folder = g_path_get_dirname (real ? real : info.dli_fname);
    }
    return folder;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
    return strcmp (*(const char *const *) a, *(const char *const *) b);
}

/* The names of @folder's CPU libraries, sorted, as one text. */
static char *
list_cpu_names (const char *folder)
{
    g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
    g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
    for (const char *file; dir && (file = g_dir_read_name (dir));) {
        char *name = cpu_name_of (file);
        if (name)
            g_ptr_array_add (names, name);
    }
    g_ptr_array_sort (names, compare_names);
    g_ptr_array_add (names, NULL);
    return g_strjoinv (", ", (char **) names->pdata);
}

static gboolean
load_named (const char *folder, const char *name, GError **error)
{
    g_autofree char *file = g_strconcat (CPU_PREFIX, name, CPU_SUFFIX, NULL);
    g_autofree char *path = g_build_filename (folder, file, NULL);
    if (strchr (name, '/') || !g_file_test (path, G_FILE_TEST_EXISTS)) {
        g_autofree char *names = list_cpu_names (folder);
        g_set_error (error, BACKEND_ERROR, BACKEND_ERROR_UNKNOWN, "LMS_CPU names no CPU library: \"%s\" is none of %s",
                     name, names);
        return FALSE;
    }
    if (!ggml_backend_load (path)) {
        g_set_error (error, BACKEND_ERROR, BACKEND_ERROR_UNUSABLE,
                     "this machine cannot run the CPU library \"%s\" (LMS_CPU)", name);
        return FALSE;
    }
    return TRUE;
}

gboolean
backend_load (void (*on_abort) (const char *message), GError **error)
{
    g_setenv ("GGML_NO_BACKTRACE", "1", TRUE); /* or an assertion forks a debugger */
    g_unsetenv ("GGML_BACKEND_PATH");          /* names a library to load */
    lb_init ();
    ggml_set_abort_callback (on_abort);

    const char *folder = backend_folder (), *wanted = g_getenv ("LMS_CPU");
    if (folder && wanted && *wanted) {
        if (!load_named (folder, wanted, error))
            return FALSE;
    } else {
        ggml_backend_load_all_from_path (folder);
    }
    if (!ggml_backend_dev_by_type (GGML_BACKEND_DEVICE_TYPE_CPU)) {
        g_set_error (error, BACKEND_ERROR, BACKEND_ERROR_UNUSABLE, "no CPU library of %s runs on this machine",
                     folder ? folder : "llama.cpp");
        return FALSE;
    }
    g_clear_pointer (&cpu_name, g_free);
    dl_iterate_phdr (find_cpu_library, &cpu_name);
    if (!cpu_name)
        cpu_name = g_strdup ("builtin");
    return TRUE;
}

const char *
backend_cpu_name (void)
{
    return cpu_name ? cpu_name : "none";
}
