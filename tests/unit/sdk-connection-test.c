/* api/sdk/connection.c with a carrier that only writes down: who is let in, what is answered, who lets go of what. */
#include "api/sdk/sdk.h"
#include "api/sdk/types.h"

#include "folder.h"
#include "home/home.h"

#include <string.h>

/* ---- a client ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
    Api api;
    ApiListener listener;
    SdkConnection *connection;
    GPtrArray *sent; /* char * */
    gboolean closed;
} Client;

static gboolean
note_text (gpointer data, const char *text, gsize length)
{
    g_ptr_array_add (((Client *) data)->sent, g_strndup (text, length));
    return TRUE;
}

static void
note_close (gpointer data, guint16 code, const char *reason)
{
    ((Client *) data)->closed = TRUE;
}

static const SdkCarrier notes = { note_text, note_close };
static SettingsStore *settings;

static void
say (Client *client, const char *text)
{
    sdk_connection_take (client->connection, text, strlen (text));
}

static Client *
client_new (SdkSpace space, gboolean rest)
{
    Client *client = g_new0 (Client, 1);
    client->api.settings = settings;
    client->api.key = (char *) "0123456789abcdef";
    client->listener = (ApiListener){ .api = &client->api, .rest = rest };
    client->sent = g_ptr_array_new_with_free_func (g_free);
    client->connection = sdk_connection_new (&client->listener, space, &notes, client);
    return client;
}

static Client *
client_in (SdkSpace space)
{
    Client *client = client_new (space, FALSE);
    say (client, "{\"authVersion\":1,\"clientIdentifier\":\"guest:1\",\"clientPasskey\":\"p\"}");
    return client;
}

static void
client_free (Client *client)
{
    g_clear_pointer (&client->connection, sdk_connection_free);
    g_ptr_array_unref (client->sent);
    g_free (client);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Client, client_free)

static const char *
last (const Client *client)
{
    return client->sent->len ? client->sent->pdata[client->sent->len - 1] : NULL;
}

/* ---- who is let in ---------------------------------------------------------------------------------------------------------------- */

static void
test_auth_is_answered_by_success_alone (void)
{
    g_autoptr (Client) client = client_in (SDK_LLM);
    g_assert_cmpuint (client->sent->len, ==, 1);
    g_assert_cmpstr (last (client), ==, "{\"success\":true}");
    g_assert_false (sdk_connection_is_privileged (client->connection));
}

static void
test_auth_ignores_what_is_no_auth_message (void)
{
    g_autofree char *long_key = g_strnfill (257, 'x');
    g_autofree char *too_long =
        g_strdup_printf ("{\"authVersion\":1,\"clientIdentifier\":\"a\",\"clientPasskey\":\"%s\"}", long_key);
    const char *const frames[] = { "",
                                   "no JSON",
                                   "[]",
                                   "{}",
                                   "{\"authVersion\":2,\"clientIdentifier\":\"a\",\"clientPasskey\":\"b\"}",
                                   "{\"authVersion\":1,\"clientIdentifier\":\"a\"}",
                                   "{\"authVersion\":1,\"clientIdentifier\":7,\"clientPasskey\":\"b\"}",
                                   "{\"type\":\"rpcCall\",\"endpoint\":\"version\",\"callId\":0}",
                                   too_long };
    g_autoptr (Client) client = client_new (SDK_SYSTEM, FALSE);
    for (guint i = 0; i < G_N_ELEMENTS (frames); i++)
        say (client, frames[i]);
    g_assert_cmpuint (client->sent->len, ==, 0);
    g_assert_false (client->closed);
    say (client, "{\"authVersion\":1,\"clientIdentifier\":\"a\",\"clientPasskey\":\"b\"}");
    g_assert_cmpstr (last (client), ==, "{\"success\":true}");
}

static void
test_auth_knows_lms (void)
{
    static const struct {
        gboolean rest;
        const char *identifier, *passkey;
        gboolean privileged;
    } cases[] = {
        { FALSE, "lms-cli", "built-in0123456789abcdef", TRUE }, { FALSE, "lms-cli", "0123456789abcdef", TRUE },
        { FALSE, "lms-cli", "0123456789abcdef!", FALSE },       { FALSE, "lms-cli", "", FALSE },
        { FALSE, "lms-cli-dev", "0123456789abcdef", FALSE },    { TRUE, "lms-cli", "0123456789abcdef", FALSE },
    };
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autoptr (Client) client = client_new (SDK_SYSTEM, cases[i].rest);
        g_autofree char *auth =
            g_strdup_printf ("{\"authVersion\":1,\"clientIdentifier\":\"%s\",\"clientPasskey\":\"%s\"}",
                             cases[i].identifier, cases[i].passkey);
        say (client, auth);
        g_assert_cmpint (sdk_connection_is_privileged (client->connection), ==, cases[i].privileged);
    }
}

/* ---- frames ---------------------------------------------------------------------------------------------------------------------- */

static void
test_frames (void)
{
    static const struct {
        SdkSpace space;
        const char *frame;
        guint n_answers;
        const char *answer; /* the last */
    } cases[] = {
        { SDK_SYSTEM, "{\"type\":\"keepAlive\"}", 1, "{\"type\":\"keepAliveAck\"}" },
        { SDK_SYSTEM, "{\"type\":\"rpcCall\",\"endpoint\":\"version\",\"callId\":7}", 1,
          "{\"type\":\"rpcResult\",\"callId\":7,\"result\":{\"version\":\"" SDK_LEVEL_VERSION "\",\"build\":1}}" },
        { SDK_SYSTEM, "{\"type\":\"rpcCall\",\"endpoint\":\"notify\",\"callId\":0,\"parameter\":{\"title\":\"t\"}}", 1,
          "{\"type\":\"rpcResult\",\"callId\":0}" },
        { SDK_SYSTEM, "{\"type\":\"rpcCall\",\"endpoint\":\"notify\",\"callId\":0,\"parameter\":{}}", 2,
          "{\"type\":\"rpcError\",\"callId\":0,\"error\":{\"title\":\"Invalid parameter for \\\"notify\\\": title is "
          "missing\","
          "\"rootTitle\":\"Invalid parameter for \\\"notify\\\": title is missing\"}}" },
        { SDK_SYSTEM, "{\"type\":\"rpcCall\",\"endpoint\":\"nope\",\"callId\":1}", 2,
          "{\"type\":\"rpcError\",\"callId\":1,\"error\":{\"title\":\"Unknown endpoint \\\"nope\\\"\","
          "\"rootTitle\":\"Unknown endpoint \\\"nope\\\"\"}}" },
        { SDK_FILES, "{\"type\":\"channelCreate\",\"endpoint\":\"retrieve\",\"channelId\":1}", 1,
          "{\"type\":\"channelError\",\"channelId\":1,\"error\":{\"title\":\"retrieve is not available in this "
          "server\","
          "\"rootTitle\":\"retrieve is not available in this server\"}}" },
        { SDK_SYSTEM, "{\"type\":\"communicationWarning\",\"warning\":\"w\"}", 0, NULL },
        { SDK_SYSTEM, "{\"type\":\"channelSend\",\"channelId\":1,\"message\":{\"type\":\"cancel\"}}", 0, NULL },
        { SDK_SYSTEM, "{\"type\":\"channelAck\",\"channelId\":1,\"ackId\":2}", 0, NULL },
        { SDK_SYSTEM, "{\"type\":\"channelCreate\",\"endpoint\":\"alive\",\"channelId\":0}", 0, NULL },
    };
    for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autoptr (Client) client = client_in (cases[i].space);
        g_ptr_array_set_size (client->sent, 0);
        say (client, cases[i].frame);
        g_assert_cmpuint (client->sent->len, ==, cases[i].n_answers);
        g_assert_cmpstr (last (client), ==, cases[i].answer);
    }
}

static void
test_frames_cut_anywhere_do_no_harm (void)
{
    const char *whole = "{\"type\":\"rpcCall\",\"endpoint\":\"notify\",\"callId\":0,\"parameter\":{\"title\":\"t\"}}";
    g_autoptr (Client) client = client_in (SDK_SYSTEM);
    for (gsize length = 0; length < strlen (whole); length++)
        sdk_connection_take (client->connection, whole, length);
    say (client, whole);
    g_assert_cmpstr (last (client), ==, "{\"type\":\"rpcResult\",\"callId\":0}");
}

/* A frame of @length bytes, spaces inside. */
static char *
long_notify (guint id, gsize length)
{
    g_autofree char *spaces = g_strnfill (length, ' ');
    return g_strdup_printf (
        "{\"type\":\"rpcCall\",\"endpoint\":\"notify\",\"callId\":%u,%s\"parameter\":{\"title\":\"t\"}}", id, spaces);
}

static void
test_large_frames_keep_their_order (void)
{
    g_autoptr (Client) client = client_in (SDK_SYSTEM);
    g_ptr_array_set_size (client->sent, 0);
    for (guint id = 0; id < 6; id++) { /* large, small, large, small, .. */
        g_autofree char *frame = long_notify (id, id % 2 ? 1 : 2 * 1024 * 1024);
        say (client, frame);
    }
    g_assert_cmpuint (client->sent->len, ==, 0); /* none overtakes the first */
    while (client->sent->len < 6)
        g_main_context_iteration (NULL, TRUE);
    for (guint id = 0; id < 6; id++) {
        g_autofree char *expected = g_strdup_printf ("{\"type\":\"rpcResult\",\"callId\":%u}", id);
        g_assert_cmpstr (client->sent->pdata[id], ==, expected);
    }
}

static void
test_large_frame_of_a_client_that_goes (void)
{
    Client *client = client_in (SDK_SYSTEM);
    g_autofree char *large = long_notify (0, 2 * 1024 * 1024), *small = long_notify (1, 1);
    say (client, large);
    say (client, small);
    client_free (client);
    for (guint i = 0; i < 100; i++) { /* the parse comes back to nobody; the address checker watches */
        g_main_context_iteration (NULL, FALSE);
        g_usleep (2000);
    }
}

static void
test_too_much_behind_a_large_frame (void)
{
    g_autoptr (Client) client = client_in (SDK_SYSTEM);
    g_autofree char *large = long_notify (0, 33 * 1024 * 1024);
    for (guint i = 0; i < 5; i++)
        say (client, large);
    g_assert_true (client->closed);
}

static void
test_warnings_are_counted (void)
{
    g_autoptr (Client) client = client_in (SDK_LLM);
    say (client, "{\"type\":\"communicationWarning\",\"warning\":\"w\"}");
    say (client, "{\"type\":\"communicationWarning\"}");
    g_assert_cmpuint (sdk_connection_warnings (client->connection), ==, 2);
}

/* ---- the table ----------------------------------------------------------------------------------------------------------------------- */

static void
test_table_is_consistent (void)
{
    guint n = 0;
    for (const SdkEndpoint *row = sdk_endpoints (); row->name; row++, n++) {
        for (int bit = SDK_LLM; bit <= SDK_RUNTIME; bit <<= 1)
            if (row->spaces & bit) /* no name twice */
                g_assert_true (sdk_endpoint_find (bit, row->kind, row->name) == row);
        g_assert_false (row->kind == SDK_RPC && (row->from_client || row->to_client));
        g_assert_false (row->kind == SDK_CHANNEL && row->result);
        g_assert_true (!row->from_client == !row->message);
    }
    g_assert_cmpuint (n, >=, 80);
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_autofree char *folder = folder_new ();
    g_setenv ("LMS_HOME", folder, TRUE);
    g_assert_nonnull (home_path (NULL));
    settings = settings_store_new ();
    g_test_add_func ("/sdk-007/auth-is-answered-by-success-alone", test_auth_is_answered_by_success_alone);
    g_test_add_func ("/auth/ignores-what-is-no-auth-message", test_auth_ignores_what_is_no_auth_message);
    g_test_add_func ("/auth/knows-lms", test_auth_knows_lms);
    g_test_add_func ("/frames/answers", test_frames);
    g_test_add_func ("/frames/cut-anywhere", test_frames_cut_anywhere_do_no_harm);
    g_test_add_func ("/frames/large-ones-keep-their-order", test_large_frames_keep_their_order);
    g_test_add_func ("/frames/large-one-of-a-client-that-goes", test_large_frame_of_a_client_that_goes);
    g_test_add_func ("/frames/too-much-behind-a-large-one", test_too_much_behind_a_large_frame);
    g_test_add_func ("/frames/warnings-are-counted", test_warnings_are_counted);
    g_test_add_func ("/table/is-consistent", test_table_is_consistent);
    int result = g_test_run ();
    settings_store_free (settings);
    folder_remove (folder);
    return result;
}
