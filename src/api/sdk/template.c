/* template.c: the two forms in which a client names a prompt template, as one: Jinja.
 *
 *   manual  beforeUser "U:", afterUser "\n", ..   ─▶   {% for message in messages %}{% if message['role'] == 'user' %}{{ 'U:' + .. }} */
#include "api/sdk/template.h"

/* "a" + 'b' in Jinja's own quotes. */
static void
append_quoted (GString *text, const json_t *literal)
{
    g_string_append_c (text, '\'');
    for (const char *p = json_is_string (literal) ? json_string_value (literal) : ""; *p; p++) {
        if (*p == '\n') {
            g_string_append (text, "\\n");
            continue;
        }
        if (*p == '\'' || *p == '\\')
            g_string_append_c (text, '\\');
        g_string_append_c (text, *p);
    }
    g_string_append_c (text, '\'');
}

/* A template given as texts before and after each role's messages, as Jinja. */
static char *
manual_template (const json_t *manual)
{
    static const struct {
        const char *role, *before, *after;
    } roles[] = {
        { "system", "beforeSystem", "afterSystem" },
        { "user", "beforeUser", "afterUser" },
        { "assistant", "beforeAssistant", "afterAssistant" },
    };
    GString *text = g_string_new ("{% for message in messages %}");
    for (guint i = 0; i < G_N_ELEMENTS (roles); i++) {
        g_string_append_printf (text, "{%% if message['role'] == '%s' %%}{{ ", roles[i].role);
        append_quoted (text, json_object_get (manual, roles[i].before));
        g_string_append (text, " + message['content'] + ");
        append_quoted (text, json_object_get (manual, roles[i].after));
        g_string_append (text, " }}{% endif %}");
    }
    g_string_append (text, "{% endfor %}{% if add_generation_prompt %}{{ ");
    append_quoted (text, json_object_get (manual, "beforeAssistant"));
    g_string_append (text, " }}{% endif %}");
    return g_string_free (text, FALSE);
}

char *
template_text (const json_t *value)
{
    const char *jinja = json_peek_string (json_object_get (value, "jinjaPromptTemplate"), "template");
    const json_t *manual = json_object_get (value, "manualPromptTemplate");
    if (g_strcmp0 (json_peek_string (value, "type"), "jinja") == 0)
        return g_strdup (jinja);
    return json_is_object (manual) ? manual_template (manual) : NULL;
}
