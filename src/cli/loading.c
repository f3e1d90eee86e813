/* loading.c: a load channel from its creation to its end. */
#include "cli/loading.h"

#include "cli/terminal.h"

#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#define CANCEL_TIMEOUT_MS 5000 /* how long the daemon has to give up the load */

typedef struct {
    ClientCall *channel;
    const char *label;
    Spinner *spinner;   /* NULL until there is something to wait for */
    json_t *info;       /* of the instance, once it is there */
    gboolean cancelled; /* Ctrl-C was pressed */
    gboolean fresh;     /* the instance was made by this call */
} Loading;

static void
on_message (ClientCall *channel, const char *type, json_t *message, gpointer data)
{
    Loading *loading = data;
    if (strcmp (type, "progress") == 0 || strcmp (type, "loadProgress") == 0) {
        double progress = CLAMP (json_peek_number (message, "progress", 0), 0, 1);
        if (!loading->spinner)
            loading->spinner = spinner_new ("");
        spinner_set_text (loading->spinner, "Loading %s %.0f%%", loading->label, progress * 100);
    } else if (strcmp (type, "success") == 0 || strcmp (type, "loadSuccess") == 0 ||
               strcmp (type, "alreadyLoaded") == 0) {
        loading->fresh = strcmp (type, "alreadyLoaded") != 0;
        json_decref (loading->info);
        loading->info = json_incref (json_object_get (message, "info"));
    } else if (strcmp (type, "resolved") == 0 && json_array_size (json_object_get (message, "ambiguous")) > 1) {
        say_warn ("Several models match; the first one is loaded: %s",
                  json_peek_string (json_object_get (message, "info"), "modelKey"));
    }
}

static gboolean
on_interrupt (gpointer data)
{
    Loading *loading = data;
    if (loading->cancelled)
        _exit (1); /* a second Ctrl-C does not wait for the daemon */
    loading->cancelled = TRUE;
    client_send (loading->channel, "cancel");
    g_main_context_wakeup (NULL);
    return G_SOURCE_CONTINUE;
}

/* The cancel crossed the success: what came too late is let go. */
static void
undo (Client *client, const char *namespace, const Loading *loading)
{
    const char *identifier = json_peek_string (loading->info, "identifier");
    if (!loading->fresh || !identifier)
        return;
    g_autoptr (GError) error = NULL;
    client_ask (client, namespace, "unloadModel", json_pack ("{s:s}", "identifier", identifier), &error);
    if (error)
        say_warn ("The model was loaded before it could be cancelled, and cannot be unloaded: %s", error->message);
}

LoadingOutcome
loading_run (Client *client, const char *namespace, const char *endpoint, json_t *creation, const char *label,
             json_t **info, GError **error)
{
    Loading loading = { .label = label };
    loading.channel = client_open (client, namespace, endpoint, creation, on_message, &loading);
    guint interrupt = g_unix_signal_add (SIGINT, on_interrupt, &loading);
    g_autoptr (GError) problem = NULL;
    gboolean closed = client_wait_closed_unless (loading.channel, &loading.cancelled, &problem);
    if (loading.cancelled && client_wait_ended (loading.channel, CANCEL_TIMEOUT_MS))
        undo (client, namespace, &loading);
    g_source_remove (interrupt);
    g_clear_pointer (&loading.spinner, spinner_free);

    g_autoptr (json_t) instance = loading.info;
    if (loading.cancelled)
        return LOADING_CANCELLED;
    if (!closed)
        return g_propagate_error (error, g_steal_pointer (&problem)), LOADING_FAILED;
    if (!instance) {
        g_set_error (error, SDK_ERROR, SDK_ERROR_REMOTE, "Channel closed unexpectedly.");
        return LOADING_FAILED;
    }
    *info = g_steal_pointer (&instance);
    return LOADING_DONE;
}
