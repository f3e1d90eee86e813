/* routes-test.c: from a method and a path to a row, an id, or the methods that the path does have; who may ask. */
#include "api/guards.h"
#include "api/routes.h"

#include <string.h>

static const struct {
    const char *method, *path;
    gboolean rest;
    const char *route, *id, *allow; /* route NULL: none */
} cases[] = {
    { "GET", "/v1/models", TRUE, "/v1/models", NULL, NULL },
    { "HEAD", "/v1/models", TRUE, "/v1/models", NULL, NULL },
    { "GET", "//v1///models//", TRUE, "/v1/models", NULL, NULL },
    { "GET", "/models", TRUE, "/v1/models", NULL, NULL },
    { "GET", "/models/a/b", TRUE, "/v1/models/{id}", "a/b", NULL },
    { "GET", "/v1/models/openai%2Fgpt-oss-20b", TRUE, "/v1/models/{id}", "openai/gpt-oss-20b", NULL },
    { "GET", "/v1/models/openai/gpt-oss-20b/", TRUE, "/v1/models/{id}", "openai/gpt-oss-20b", NULL },
    { "GET", "/v1/models/a%252Fb", TRUE, "/v1/models/{id}", "a%2Fb", NULL },
    { "GET", "/v1/models/a%zz", TRUE, "/v1/models/{id}", "a%zz", NULL },
    { "GET", "/v1/models/a%00b", TRUE, "/v1/models/{id}", "a%00b", NULL },
    { "GET", "/v1/models/%FF", TRUE, "/v1/models/{id}", "%FF", NULL },
    { "GET", "/v1/models/q@q4_k_m", TRUE, "/v1/models/{id}", "q@q4_k_m", NULL },
    { "POST", "/v1/chat/completions", TRUE, "/v1/chat/completions", NULL, NULL },
    { "POST", "/chat/completions", TRUE, "/v1/chat/completions", NULL, NULL },
    { "POST", "/completions/", TRUE, "/v1/completions", NULL, NULL },
    { "POST", "/embeddings", TRUE, "/v1/embeddings", NULL, NULL },
    { "POST", "/responses", TRUE, "/v1/responses", NULL, NULL },
    { "POST", "/messages", TRUE, NULL, NULL, NULL },
    { "GET", "/v1/responses/resp_1/input_items", TRUE, "/v1/responses/{id}/input_items", "resp_1", NULL },
    { "DELETE", "/v1/responses/resp_1", TRUE, "/v1/responses/{id}", "resp_1", NULL },
    { "POST", "/v1/responses/resp_1", TRUE, NULL, NULL, "GET, HEAD, DELETE" },
    { "POST", "/v1/messages/count_tokens", TRUE, "/v1/messages/count_tokens", NULL, NULL },
    { "GET", "/v1/messages", TRUE, NULL, NULL, "POST" },
    { "HEAD", "/v1/chat/completions", TRUE, NULL, NULL, "POST" },
    { "POST", "/v1/models", TRUE, NULL, NULL, "GET, HEAD" },
    { "get", "/v1/models", TRUE, NULL, NULL, "GET, HEAD" },
    { "GET", "/v1/model", TRUE, NULL, NULL, NULL },
    { "GET", "/V1/models", TRUE, NULL, NULL, NULL },
    { "GET", "/v1/modelsx", TRUE, NULL, NULL, NULL },
    { "GET", "/", TRUE, NULL, NULL, NULL },
    { "GET", "", TRUE, NULL, NULL, NULL },
    { "GET", "///", TRUE, NULL, NULL, NULL },
    { "GET", "*", TRUE, NULL, NULL, NULL },
    { "GET", "/api/v0/models/x/y", TRUE, "/api/v0/models/{id}", "x/y", NULL },
    { "GET", "/api/v1/models/download/status/job_1", TRUE, "/api/v1/models/download/status/{id}", "job_1", NULL },
    { "GET", "/api/v1/models/download/status", TRUE, "/api/v1/models/download/status", NULL, NULL },
    { "GET", "/lmstudio-greeting", TRUE, "/lmstudio-greeting", NULL, NULL },
    { "GET", "/lmstudio-greeting", FALSE, "/lmstudio-greeting", NULL, NULL },
    { "GET", "/lms-status", FALSE, "/lms-status", NULL, NULL },
    { "GET", "/v1/models", FALSE, NULL, NULL, NULL },
    { "POST", "/v1/chat/completions", FALSE, NULL, NULL, NULL },
};

static void
test_case (gconstpointer data)
{
    gsize i = GPOINTER_TO_SIZE (data);
    RouteMatch match = routes_find (cases[i].method, cases[i].path, cases[i].rest);
    g_autofree char *id = match.id;
    g_assert_cmpstr (match.route ? match.route->path : NULL, ==, cases[i].route);
    g_assert_cmpstr (id, ==, cases[i].id);
    g_assert_cmpstr (match.allow, ==, cases[i].allow);
}

static void
test_a_long_path_is_only_long (void)
{
    g_autoptr (GString) path = g_string_new ("/v1/models/");
    for (guint i = 0; i < 2000; i++)
        g_string_append (path, "//x");
    RouteMatch match = routes_find ("GET", path->str, TRUE);
    g_autofree char *id = match.id;
    g_assert_cmpstr (match.route->path, ==, "/v1/models/{id}");
    g_assert_cmpuint (strlen (id), ==, 2000 * 2 - 1);
}

static void
test_families (void)
{
    static const struct {
        const char *path;
        ApiFamily family;
    } prefixes[] = {
        { "/api/v1/nope", FAMILY_V1 },
        { "/api/v1", FAMILY_V1 },
        { "//api//v1/", FAMILY_V1 },
        { "/api/v0/x", FAMILY_V0 },
        { "/v1/messages", FAMILY_ANTHROPIC },
        { "/v1/messages/x", FAMILY_ANTHROPIC },
        { "/v1/messagesx", FAMILY_OPENAI },
        { "/api/v12", FAMILY_OPENAI },
        { "/", FAMILY_OPENAI },
        { "/nope", FAMILY_OPENAI },
    };
    for (guint i = 0; i < G_N_ELEMENTS (prefixes); i++)
        g_assert_cmpint (routes_family (prefixes[i].path), ==, prefixes[i].family);
}

static void
test_hosts (void)
{
    static const char *const allowed[] = { "box.example", NULL };
    static const struct {
        const char *host;
        gboolean fine;
    } hosts[] = {
        { NULL, TRUE },
        { "localhost", TRUE },
        { "localhost:1234", TRUE },
        { "LOCALHOST.:80", TRUE },
        { "app.localhost", TRUE },
        { "127.0.0.1:1234", TRUE },
        { "192.168.1.5", TRUE },
        { "[::1]:1234", TRUE },
        { "[::1]", TRUE },
        { "printer.local", TRUE },
        { "host.docker.internal:1234", TRUE },
        { "box.example:1234", TRUE },
        { "BOX.example", TRUE },
        { "evil.example", FALSE },
        { "evil.example:80", FALSE },
        { "localhost.evil.example", FALSE },
        { "127.0.0.1.evil.example", FALSE },
        { "local", FALSE },
        { ".", FALSE },
        { "", FALSE },
        { ":1234", FALSE },
        { "[::1", FALSE },
        { "[::1]x", FALSE },
        { "[evil.example]", FALSE },
        { "localhost:1234@evil.example", FALSE },
    };
    for (guint i = 0; i < G_N_ELEMENTS (hosts); i++) {
        g_test_message ("%s", hosts[i].host);
        g_assert_true (guards_host_is_fine ("127.0.0.1", allowed, hosts[i].host) == hosts[i].fine);
        g_assert_true (guards_host_is_fine ("0.0.0.0", allowed, hosts[i].host));
    }
    g_assert_true (guards_host_is_fine ("127.0.0.1", NULL, g_get_host_name ()));
    g_assert_false (guards_host_is_fine ("::1", NULL, "evil.example"));
}

static void
test_origins (void)
{
    static const struct {
        const char *origin;
        gboolean ours;
    } origins[] = {
        { "http://localhost:5173", TRUE },
        { "https://localhost", TRUE },
        { "http://127.0.0.1:1", TRUE },
        { "http://[::1]:1234", TRUE },
        { "http://10.0.0.7", TRUE },
        { "null", FALSE },
        { "", FALSE },
        { "localhost", FALSE },
        { "file://", FALSE },
        { "http://evil.example", FALSE },
        { "http://localhost.evil", FALSE },
        { "http://127.0.0.1.evil", FALSE },
        { "http://localhost@evil.example", FALSE },
        { "http://localhost:x@evil.example", FALSE },
        { "http://10.0.0.8", FALSE },
    };
    for (guint i = 0; i < G_N_ELEMENTS (origins); i++) {
        g_test_message ("%s", origins[i].origin);
        g_assert_true (guards_origin_is_ours ("10.0.0.7", origins[i].origin) == origins[i].ours);
    }
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autofree char *name = g_strdup_printf ("/routes/%02zu", i);
        g_test_add_data_func (name, GSIZE_TO_POINTER (i), test_case);
    }
    g_test_add_func ("/routes/long-path", test_a_long_path_is_only_long);
    g_test_add_func ("/routes/families", test_families);
    g_test_add_func ("/http-017/hosts", test_hosts);
    g_test_add_func ("/http-017/origins", test_origins);
    return g_test_run ();
}
