/* What the files of the SDK protocol share: connections, calls, and the table of endpoints (spec: sdk.md 2, 3, 6).
 *
 *   WebSocket ─ text ─▶ connection.c ─ frame ─▶ row of table.c ─ parameter checked ─▶ handler in system.c, load.c, predict.c, ...
 *             ◀─ text ─               ◀────────── sdk_call_result, _send, _close, _fail ───────────┘
 *
 * A call is one rpc or one channel, and ends exactly once: by its handler, or because the connection went away.  Whatever a handler keeps for
 * the time in between hangs on the call with a function that lets go of it, so both ends clean up alike. */
#pragma once

#include "api/api.h"
#include "api/sdk/shape.h"

/* The level of LM Studio that we stand for (sdk.md 1.2). */
#define SDK_LEVEL_VERSION "0.4.20"
#define SDK_LEVEL_BUILD   1

typedef enum {
    SDK_LLM = 1,
    SDK_EMBEDDING = 2,
    SDK_SYSTEM = 4,
    SDK_FILES = 8,
    SDK_REPOSITORY = 16,
    SDK_DIAGNOSTICS = 32,
    SDK_PLUGINS = 64,
    SDK_RUNTIME = 128,
} SdkSpace;

/* The namespace behind a path such as "/llm"; 0 for another path. */
SdkSpace sdk_space_from_path (const char *path);
const char *sdk_space_name (SdkSpace space);

typedef struct SdkConnection SdkConnection;
typedef struct SdkCall SdkCall;

/* ---- the table of endpoints ------------------------------------------------------------------------------------------------- */

typedef enum { SDK_RPC, SDK_CHANNEL } SdkKind;

typedef struct {
    int spaces; /* SdkSpace bits */
    SdkKind kind;
    const char *name;
    void (*call) (SdkCall *call, const json_t *parameter); /* NULL: not available in this server */
    const ShapeMember *parameter;                          /* members it must have; NULL: the endpoint takes none */
    const ShapeVariant *from_client;                       /* messages of a channel */
    void (*message) (SdkCall *call, const char *type, const json_t *message);
    void (*drained) (SdkCall *call); /* the client reads again, after sdk_call_send said FALSE; may be NULL */
    const Shape *result;             /* of an rpc; NULL: its answer has no member `result` */
    gboolean may_lack_result;        /* "no such model" is an answer without `result` */
    const Shape *to_client;          /* messages of a channel */
} SdkEndpoint;

const SdkEndpoint *sdk_endpoint_find (SdkSpace space, SdkKind kind, const char *name);
/* All rows, for tests and documentation; ends with a NULL name. */
const SdkEndpoint *sdk_endpoints (void);

/* ---- calls ---------------------------------------------------------------------------------------------------------------- */

SdkCall *sdk_call_ref (SdkCall *call);
void sdk_call_unref (SdkCall *call);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SdkCall, sdk_call_unref)

gboolean sdk_call_is_open (const SdkCall *call); /* FALSE: it ended; whatever is done with it now has no effect */
/* The next three only while it is open. */
Api *sdk_call_api (const SdkCall *call);
SdkSpace sdk_call_space (const SdkCall *call);
SdkConnection *sdk_call_connection (const SdkCall *call);
ModelType sdk_call_model_type (const SdkCall *call); /* which kind the namespace serves */

/* Hangs @state on the call; @let_go runs once, when the call ends, and must see to it that nothing refers to the call any more. */
void sdk_call_set_state (SdkCall *call, gpointer state, GDestroyNotify let_go);
gpointer sdk_call_state (const SdkCall *call);

/* Ends an rpc.  Takes @result; NULL answers without one. */
void sdk_call_result (SdkCall *call, json_t *result);
/* Ends an rpc or a channel.  Takes @error (types.h makes them). */
void sdk_call_fail (SdkCall *call, json_t *error);
/* One message of a channel.  Takes @message.  FALSE: the client reads slowly, `drained` will come. */
gboolean sdk_call_send (SdkCall *call, json_t *message);
/* Ends a channel in good order. */
void sdk_call_close (SdkCall *call);

/* ---- connections ---------------------------------------------------------------------------------------------------------- */

/* What carries the text: a WebSocket, or a test. */
typedef struct {
    gboolean (*send) (gpointer carrier, const char *text, gsize length); /* FALSE: slow down */
    void (*close) (gpointer carrier, guint16 code, const char *reason);
} SdkCarrier;

SdkConnection *
sdk_connection_new (ApiListener *listener, SdkSpace space, const SdkCarrier *carrier, gpointer carrier_data);
void sdk_connection_take (SdkConnection *connection, const char *text, gsize length);
void sdk_connection_drained (SdkConnection *connection);
/* The carrier is gone: every call is let go of. */
void sdk_connection_free (SdkConnection *connection);

const ApiListener *sdk_connection_listener (const SdkConnection *connection);
/* How many communicationWarnings the client has sent: each means that it could not read something of ours. */
guint sdk_connection_warnings (const SdkConnection *connection);
/* TRUE for `lms` on this machine: identifier lms-cli, passkey ending in the content of lms-key-2 (cli.md 1.4). */
gboolean sdk_connection_is_privileged (const SdkConnection *connection);
