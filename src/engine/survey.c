/* survey.c: one-shot answers that need the backends: what this machine computes on, and what a model would take of it. */
#include <ggml-backend.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "engine/backend.h"
#include "engine/bridge.h"
#include "engine/inspect.h"
#include "engine/sandbox.h"
#include "link/link.h"

static const char *const kinds[] = {
    [GGML_BACKEND_DEVICE_TYPE_CPU] = "cpu",
    [GGML_BACKEND_DEVICE_TYPE_GPU] = "gpu",
    [GGML_BACKEND_DEVICE_TYPE_IGPU] = "igpu",
    [GGML_BACKEND_DEVICE_TYPE_ACCEL] = "accelerator",
};

static json_t *
describe_device (ggml_backend_dev_t device)
{
    size_t free_bytes = 0, total_bytes = 0;
    ggml_backend_dev_memory (device, &free_bytes, &total_bytes);
    enum ggml_backend_dev_type type = ggml_backend_dev_type (device);
    const char *kind = (gsize) type < G_N_ELEMENTS (kinds) && kinds[type] ? kinds[type] : "other";
    json_t *row =
        json_pack ("{s:s, s:I, s:I}", "kind", kind, "total", (json_int_t) total_bytes, "free", (json_int_t) free_bytes);
    const char *name = ggml_backend_dev_name (device), *text = ggml_backend_dev_description (device);
    json_set_text (row, "name", name, strlen (name));
    json_set_text (row, "description", text, strlen (text));
    return row;
}

/* "AVX2", "VNNI", ..: what the CPU library in use was built with. */
static json_t *
list_features (void)
{
    json_t *features = json_array ();
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type (GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t reg = cpu ? ggml_backend_dev_backend_reg (cpu) : NULL;
    ggml_backend_get_features_t get =
        reg ? (ggml_backend_get_features_t) ggml_backend_reg_get_proc_address (reg, "ggml_backend_get_features") : NULL;
    for (const struct ggml_backend_feature *feature = get ? get (reg) : NULL; feature && feature->name; feature++)
        if (strcmp (feature->value, "0") != 0)
            json_array_append_new (features, json_string (feature->name));
    return features;
}

/* Prints @line and frees it. */
static int
finish (json_t *line)
{
    g_autofree char *text = json_print (line, NULL);
    json_decref (line);
    return puts (text) >= 0 && fflush (stdout) == 0 ? 0 : 1;
}

static int
finish_badly (const char *reason)
{
    json_t *line = json_object ();
    json_object_set_new (line, "ok", json_false ());
    json_set_text (line, "reason", reason, strlen (reason));
    return finish (line);
}

int
survey_main (void)
{
    g_autoptr (GError) error = NULL;
    if (!backend_load (NULL, &error))
        return finish_badly (error->message);
    json_t *line = json_pack ("{s:b, s:s, s:o, s:s, s:i}", "ok", TRUE, "cpu", backend_cpu_name (), "features",
                              list_features (), "llama", llama_version (), "protocol", LINK_PROTOCOL);
    json_t *devices = json_array ();
    for (size_t i = 0; i < ggml_backend_dev_count (); i++)
        json_array_append_new (devices, describe_device (ggml_backend_dev_get (i)));
    json_object_set_new (line, "devices", devices);
    return finish (line);
}

int
estimate_main (const char *file, const char *options)
{
    g_autoptr (GError) error = NULL;
    if (!backend_load (NULL, &error))
        return finish_badly (error->message);
    g_autofree char *folder = g_path_get_dirname (file); /* the other parts of a split model lie there */
    if (!sandbox_enter_model ((const char *const[]){ folder, file, NULL }, &error))
        return finish_badly (error->message);
    char *reason = NULL;
    g_autofree char *answer = lb_estimate (file, options, &reason);
    json_t *line = answer ? json_parse (answer, strlen (answer), &error) : NULL;
    if (!line) {
        int code = finish_badly (reason ? reason : error->message);
        free (reason);
        return code;
    }
    json_object_set_new (line, "ok", json_true ());
    return finish (line);
}
