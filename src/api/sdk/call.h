/* What call.c and connection.c share: the insides of both. */
#pragma once

#include "api/sdk/sdk.h"

struct SdkConnection {
    ApiListener *listener;
    SdkSpace space;
    const SdkCarrier *carrier;
    gpointer carrier_data;
    gboolean authenticated, privileged, refused;
    guint auth_timer;
    char *identifier, *passkey;
    GHashTable *calls; /* SdkCall, owned, by its own kind and id */
    guint client_warnings, our_warnings;
    struct parse *parse; /* of a large frame, in the pool; what comes behind it waits */
    GQueue waiting;      /* GBytes */
    gsize waiting_bytes;
};

struct SdkCall {
    SdkConnection *connection; /* NULL: ended */
    const SdkEndpoint *endpoint;
    gint64 id;
    gpointer state;
    GDestroyNotify let_go;
};

/* SdkCall by their own kind and id, owned. */
GHashTable *sdk_call_table_new (void);
/* Opens a call in the connection's table; the caller gets a reference of its own. */
SdkCall *sdk_call_new (SdkConnection *connection, const SdkEndpoint *endpoint, gint64 id);
/* The end of an open call without a word to the client. */
void sdk_call_end (SdkCall *call);

/* Takes @frame.  FALSE: the client reads slowly. */
gboolean sdk_connection_send (SdkConnection *connection, json_t *frame);
/* rpcError or channelError.  Takes @error. */
json_t *sdk_error_frame (SdkKind kind, gint64 id, json_t *error);
