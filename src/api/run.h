/* What every generating endpoint does between its parser and its printer: start the jobs, carry their events to the client as a stream or
 * as one body, follow a slow or vanished reader, end in the family's form (spec: http.md 1.8, 1.9).
 *
 * A family gives a parsed request and a printer.  Printers are pure, events in, bytes out, so that tests compare whole answers. */
#pragma once

#include "api/call.h"

typedef struct {
    const char *keep_alive; /* after 10 s of silence */
    /* Once, before the first event that prints: the instance that answers. */
    void (*start) (gpointer printer, const Instance *instance);
    /* Streams: appends what an event is for the client.  CHAT_FAILED never comes here. */
    void (*event) (gpointer printer, guint choice, const ChatEvent *event, GString *out);
    /* Streams: after the last choice's CHAT_DONE. */
    void (*end) (gpointer printer, GString *out);
    /* The whole body, when not streaming. */
    void (*whole) (gpointer printer, const ChatFold *const *folds, GString *out);
    void (*free) (gpointer printer);
} ApiPrinter;

typedef struct {
    const ApiPrinter *type;
    gpointer printer; /* taken */
    gboolean stream;
    InstanceWant want;      /* its strings are lent by call->body */
    ChatRequest **requests; /* @n of them, one per choice; the requests are taken, the array is not */
    guint n;
    const char *prompt_field; /* what a prompt that does not fit is called in errors, static; NULL: "messages" */
    const char *what;         /* for the log: "chat completion on conversation with 3 messages" */
} ApiRunOptions;

/* Runs until the answer is out or the client has gone.  The call must have no work yet. */
void api_run (ApiCall *call, const ApiRunOptions *options);
