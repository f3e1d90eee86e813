/* sdk.c: lines of any bytes as the frames of an SDK client; every answer is JSON, every error has its titles, and whatever passes its shape becomes a job.
 *
 * The namespace is /repository, whose endpoints need no models; a line that is JSON is also read as the parameter of predict. */
#include "fuzz.h"

#include "api/sdk/request.h"
#include "api/sdk/sdk.h"
#include "api/sdk/types.h"

#include <string.h>

static gboolean
see_frame (gpointer data, const char *text, gsize length)
{
    g_autoptr (GError) error = NULL;
    g_autoptr (json_t) frame = json_parse (text, length, &error);
    g_assert_no_error (error);
    const json_t *problem = json_object_get (frame, "error");
    if (problem && json_is_object (problem)) {
        g_autofree char *complaint = shape_complain (&sdk_shape_error, problem, "error");
        g_assert_cmpstr (complaint, ==, NULL);
    }
    return TRUE;
}

static void
see_close (gpointer data, guint16 code, const char *reason)
{
}

static void
read_as_prediction (const char *line, gsize length)
{
    g_autoptr (json_t) parameter = json_parse (line, length, NULL);
    const Shape shape = { .type = SHAPE_OBJECT,
                          .members = sdk_endpoint_find (SDK_LLM, SDK_CHANNEL, "predict")->parameter };
    g_autofree char *complaint = shape_complain (&shape, parameter, "creationParameter");
    if (complaint) {
        g_assert_cmpuint (complaint[0], !=, '\0');
        return;
    }
    g_auto (SdkRequest) request = { 0 };
    g_autofree char *why = NULL;
    if (!sdk_request_read (&request, json_object_get (parameter, "history"), NULL,
                           json_object_get (parameter, "predictionConfigStack"), NULL, &why)) {
        g_assert_nonnull (why);
        return;
    }
    g_assert_true (json_is_array (request.request->messages));
    g_autoptr (json_t) job = chat_request_to_job (request.request);
    g_autofree char *printed = json_print (job, NULL);
    g_assert_cmpuint (printed[0], ==, '{');
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    static const SdkCarrier carrier = { see_frame, see_close };
    static const char auth[] = "{\"authVersion\":1,\"clientIdentifier\":\"guest:1\",\"clientPasskey\":\"p\"}";
    static SettingsStore *settings;
    if (!settings) {
        g_setenv ("LMS_HOME", "/nonexistent/atelier", TRUE); /* defaults, not those of whoever runs this */
        settings = settings_store_new ();
    }
    Api api = { .settings = settings };
    ApiListener listener = { .api = &api };
    SdkConnection *connection = sdk_connection_new (&listener, SDK_REPOSITORY, &carrier, NULL);
    sdk_connection_take (connection, auth, sizeof auth - 1);
    const char *line = (const char *) data, *end = line + size;
    while (line < end) {
        const char *stop = memchr (line, '\n', end - line);
        gsize length = (stop ? stop : end) - line;
        sdk_connection_take (connection, line, length);
        read_as_prediction (line, length);
        line += length + 1;
    }
    sdk_connection_free (connection);
    return 0;
}
