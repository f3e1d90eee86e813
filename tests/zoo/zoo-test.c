/* zoo: every chat template of the release reads the replies of its family, whole and cut anywhere, to the same events.
 *
 * families.json has a row for each way of writing: the marks of reasoning and text, one call, two calls, as the models of that family
 * write them.  The cases below are put together from it.  What must hold for every reply and every cut:
 *   - it never fails;
 *   - what parses comes as the expected reasoning, content and calls, and no mark is among them;
 *   - conservation: each word of the reply comes once, in reasoning, content or arguments, be it parsed or not.
 * A member "except" names the cases that a family's format cannot read, and why: there only conservation is asked for.
 * docs/compatibility.md is this program's table; ATELIER_WRITE_DOCS=1 writes it, and without that a page that differs fails. */
#include "engine/bridge.h"

#include "base/json.h"
#include "engine/backend.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT "Héllo 🌍, 1 < 2 <b> done."
#define THOUGHT "Pondering é."
#define CALL_1  "get_weather {\"city\":\"Kraków ☂\"}"
#define CALL_2  "add_note {\"stars\":3,\"text\":\"say \\\"hi\\\" 🌧\"}"
#define USER    "\"messages\":[{\"role\":\"user\",\"content\":\"Hello there\"}]"
#define TOOL(name, properties, required)                                                                      \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"description\":\"" name "\",\"parameters\":" \
    "{\"type\":\"object\",\"properties\":{" properties "},\"required\":[" required "]}}}"
#define TOOLS                                                                                   \
    "\"tools\":[" TOOL ("get_weather", "\"city\":{\"type\":\"string\"}", "\"city\"") "," TOOL ( \
        "add_note", "\"text\":{\"type\":\"string\"},\"stars\":{\"type\":\"integer\"}", "\"text\",\"stars\"") "],"

enum { N_CASES = 8 };
static const char *const case_names[N_CASES] = { "plain",     "reasoning", "call",   "reasoning-call",
                                                 "text-call", "two-calls", "quoted", "broken" };

/* One reply, and what must come of it. */
typedef struct {
    gboolean applies, tools;
    const char *except; /* why the family's format cannot read this; lent */
    char *reply;
    const char *reasoning, *calls;
    char *content;
} Case;

/* What deltas add up to; calls as "NAME {arguments, sorted}; ..". */
typedef struct {
    GString *reasoning, *content;
    GPtrArray *names, *arguments; /* char *, GString * */
    gboolean failed;
} Events;

static struct llama_model *vocabulary;
static json_t *families;
static GString *page; /* docs/compatibility.md */

/* ---- events ------------------------------------------------------------------------------------------------------------------- */

static void
free_string (gpointer string)
{
    g_string_free (string, TRUE);
}

static Events
events_new (void)
{
    return (Events){ g_string_new (NULL), g_string_new (NULL), g_ptr_array_new_with_free_func (g_free),
                     g_ptr_array_new_with_free_func (free_string), FALSE };
}

static void
events_clear (Events *events)
{
    g_string_free (events->reasoning, TRUE);
    g_string_free (events->content, TRUE);
    g_ptr_array_unref (events->names);
    g_ptr_array_unref (events->arguments);
}

static void
feed (LbTurn *turn, Events *events, const char *text, gsize length, gboolean last)
{
    char *err = NULL;
    g_autofree char *deltas = lb_turn_feed (turn, text, length, last, &err);
    g_assert_cmpstr (err, ==, NULL);
    g_autoptr (json_t) list = json_parse (deltas, strlen (deltas), NULL);
    g_assert_true (json_is_array (list));
    size_t i;
    json_t *delta;
    json_array_foreach (list, i, delta) {
        const char *reasoning = json_peek_string (delta, "reasoning"), *content = json_peek_string (delta, "content");
        const char *name = json_peek_string (delta, "name"), *arguments = json_peek_string (delta, "args");
        g_string_append (events->reasoning, reasoning ? reasoning : "");
        g_string_append (events->content, content ? content : "");
        gint64 call = json_peek_int (delta, "call", -1);
        if (call == (gint64) events->names->len) {
            g_assert_true (name && *name);
            g_ptr_array_add (events->names, g_strdup (name));
            g_ptr_array_add (events->arguments, g_string_new (NULL));
        }
        g_assert_cmpint (call, <, events->names->len);
        if (arguments)
            g_string_append (events->arguments->pdata[call], arguments);
    }
}

/* Feeds the first @length bytes of @reply, @first of them in one piece and then @step at a time. */
static Events
read_reply (const LbChat *chat, const Case *c, gsize length, gsize first, gsize step)
{
    char *err = NULL;
    LbTurn *turn = lb_turn_new (chat, c->tools ? "{" TOOLS USER "}" : "{" USER "}", &err, NULL);
    g_assert_cmpstr (err, ==, NULL);
    Events events = events_new ();
    feed (turn, &events, c->reply, MIN (first, length), FALSE);
    for (gsize at = MIN (first, length); at < length; at += step)
        feed (turn, &events, c->reply + at, MIN (step, length - at), FALSE);
    feed (turn, &events, "", 0, TRUE);
    events.failed = lb_turn_parse_failed (turn);
    lb_turn_free (turn);
    return events;
}

static char *
calls_of (const Events *events)
{
    GString *calls = g_string_new (NULL);
    for (guint i = 0; i < events->names->len; i++) {
        const GString *arguments = events->arguments->pdata[i];
        g_autoptr (json_t) value = json_parse (arguments->str, arguments->len, NULL);
        char *sorted = value ? json_dumps (value, JSON_COMPACT | JSON_SORT_KEYS) : strdup ("not JSON");
        g_string_append_printf (calls, "%s%s %s", i ? "; " : "", (char *) events->names->pdata[i], sorted);
        free (sorted);
    }
    return g_string_free (calls, FALSE);
}

/* ---- the laws ------------------------------------------------------------------------------------------------------------------ */

static guint
count (const char *text, const char *word)
{
    guint n = 0;
    for (const char *at = text; (at = strstr (at, word)); at += strlen (word))
        n++;
    return n;
}

/* Each word that is no mark comes exactly once, whatever was understood: those of the first @length bytes. */
static gboolean
conserves (const Case *c, gsize length, const Events *events)
{
    static const char *const words[] = { "Héllo", "🌍",        "done.", "Pondering", "é.",   "Krak", "ó",
                                         "say",   "In code:", "so.",   "Papaya",    "oops", NULL };
    g_autofree char *part = g_strndup (c->reply, length);
    g_autoptr (GString) all = g_string_new (events->reasoning->str);
    g_string_append_printf (all, "\n%s", events->content->str);
    for (guint i = 0; i < events->arguments->len; i++)
        g_string_append_printf (all, "\n%s", ((GString *) events->arguments->pdata[i])->str);
    for (int i = 0; words[i]; i++) {
        if (count (part, words[i]) != count (all->str, words[i])) {
            g_test_message ("\"%s\" comes %u times, not %u, of\n%s\nin\n%s", words[i], count (all->str, words[i]),
                            count (part, words[i]), part, all->str);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
as_expected (const Case *c, const Events *events)
{
    g_autofree char *calls = calls_of (events), *content = g_strstrip (g_strdup (events->content->str)),
                    *reasoning = g_strstrip (g_strdup (events->reasoning->str));
    gboolean good = !events->failed && g_str_equal (reasoning, c->reasoning) && g_str_equal (content, c->content) &&
                    g_str_equal (calls, c->calls);
    if (!good)
        g_test_message ("%s\n-> %s(%s) (%s) (%s)", c->reply, events->failed ? "unparsed " : "", reasoning, content,
                        calls);
    return good;
}

/* ---- cases --------------------------------------------------------------------------------------------------------------------- */

static const char *
text_of (const json_t *family, const char *key, const char *fallback)
{
    const char *text = json_peek_string (family, key);
    return text ? text : fallback;
}

static const char *
pair_of (const json_t *family, const char *key, int i)
{
    const char *text = json_string_value (json_array_get (json_object_get (family, key), (size_t) i));
    return text ? text : "";
}

static void
make_case (Case *c, int which, const json_t *family, gboolean thinking_open)
{
    const char *one = json_peek_string (family, "one"), *two = json_peek_string (family, "two");
    const char *join = text_of (family, "join", "\n\n"), *sep = text_of (family, "sep", "\n\n");
    const char *line = text_of (family, "nl", "\n"), *before = pair_of (family, "say", 0),
               *after = pair_of (family, "say", 1);
    const gboolean thinks = json_object_get (family, "think") != NULL;
    const gboolean calls_only = json_peek_bool (family, "calls_only", FALSE);
    /* Where the prompt ends inside of reasoning, a reply without any closes it at once. */
    g_autofree char *head = thinking_open ? g_strconcat (pair_of (family, "think", 1), sep, NULL) : g_strdup ("");
    g_autofree char *thought = g_strconcat (thinking_open ? "" : pair_of (family, "think", 0), line, THOUGHT, line,
                                            pair_of (family, "think", 1), sep, NULL);
    g_autofree char *say = g_strconcat (before, CONTENT, after, NULL);
    g_autofree char *quoted = g_strconcat ("In code:\n```\n", one ? one : "{\"name\":\"f\"}", "\n```\nso.", NULL);

    *c = (Case){ .applies = TRUE, .tools = TRUE, .reasoning = "", .calls = "" };
    c->except = json_peek_string (json_object_get (family, "except"), case_names[which]);
    const char *content = "";
    switch (which) {
    case 0:
        c->reply = g_strconcat (head, say, NULL), content = CONTENT;
        break;
    case 1:
        c->applies = thinks;
        c->reply = g_strconcat (thought, say, NULL), content = CONTENT, c->reasoning = THOUGHT;
        break;
    case 2:
        c->applies = one != NULL;
        c->reply = g_strconcat (head, one, NULL), c->calls = CALL_1;
        break;
    case 3:
        c->applies = thinks && one;
        c->reply = g_strconcat (thought, one, NULL), c->reasoning = THOUGHT, c->calls = CALL_1;
        break;
    case 4:
        c->applies = one && !calls_only;
        c->reply = g_strconcat (head, say, join, one, NULL), content = CONTENT, c->calls = CALL_1;
        break;
    case 5:
        c->applies = two != NULL;
        c->reply = g_strconcat (head, two, NULL), c->calls = CALL_1 "; " CALL_2;
        break;
    case 6: /* a request without tools: the syntax of a call is text */
        c->tools = FALSE;
        c->reply = g_strconcat (head, before, quoted, after, NULL), content = quoted;
        break;
    default: /* the call goes wrong halfway */
        c->applies = one != NULL;
        g_autofree char *half = g_utf8_substring (one ? one : "", 0, one ? g_utf8_strlen (one, -1) / 2 : 0);
        c->reply = g_strconcat (head, half, " Papaya\n oops", NULL);
        c->except = "";
        break;
    }
    c->content = g_strdup (content);
}

static void
case_clear (Case *c)
{
    g_free (c->reply);
    g_free (c->content);
}

/* ---- one template ---------------------------------------------------------------------------------------------------------------- */

static LbChat *
chat_from (const char *template_name)
{
    g_autofree char *text = NULL;
    g_autofree char *path = g_strdup_printf (LLAMA_RELEASE "/models/templates/%s.jinja", template_name);
    g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
    char *err = NULL;
    LbChat *chat = lb_chat_new (vocabulary, text, &err);
    g_assert_cmpstr (err, ==, NULL);
    return chat;
}

static gboolean
is_thinking_open (const LbChat *chat)
{
    LbTurn *turn = lb_turn_new (chat, "{" TOOLS USER "}", NULL, NULL);
    g_assert_nonnull (turn);
    const char *text = lb_turn_view (turn).info_json;
    g_autoptr (json_t) info = json_parse (text, strlen (text), NULL);
    gboolean open = json_peek_bool (info, "thinking_open", FALSE);
    lb_turn_free (turn);
    return open;
}

static gboolean
check_piece (const LbChat *chat, const Case *c, gsize length, gsize first, gsize step)
{
    Events events = read_reply (chat, c, length, first, step);
    const gboolean whole = length == strlen (c->reply) && !c->except;
    const gboolean good = (!whole || as_expected (c, &events)) && conserves (c, length, &events);
    events_clear (&events);
    return good;
}

/* Whole, byte by byte; with @stride also in two pieces, and ended by a limit, at every @stride'th byte. */
static gboolean
check_case (const LbChat *chat, const Case *c, gsize stride)
{
    const gsize length = strlen (c->reply);
    if (!check_piece (chat, c, length, length, 1) || !check_piece (chat, c, length, 0, 1))
        return FALSE;
    for (gsize cut = 1; stride && cut < length; cut += stride) {
        if (!check_piece (chat, c, length, cut, length))
            return FALSE;
        if (((unsigned char) c->reply[cut] & 0xc0) != 0x80 && !check_piece (chat, c, cut, cut, 1)) {
            g_test_message ("ended at byte %" G_GSIZE_FORMAT, cut);
            return FALSE;
        }
    }
    return TRUE;
}

static void
check_template (const json_t *family, const char *template_name, gsize stride)
{
    LbChat *chat = chat_from (template_name);
    const gboolean open = is_thinking_open (chat);
    g_string_append_printf (page, "| %s | %s |", template_name, json_peek_string (family, "family"));
    for (int i = 0; i < N_CASES; i++) {
        Case c;
        make_case (&c, i, family, open);
        const gboolean rich =
            i == (json_object_get (family, "think") ? 3 : 4); /* cut at every point: the richest case alone */
        const gboolean good = !c.applies || check_case (chat, &c, rich ? stride : 0);
        g_string_append (page, !c.applies              ? " |"
                               : !good                 ? " fails |"
                               : c.except && *c.except ? " as text |"
                                                       : " yes |");
        if (!good) {
            g_test_message ("%s: %s", template_name, case_names[i]);
            g_test_fail ();
        }
        case_clear (&c);
    }
    g_string_append_c (page, '\n');
    lb_chat_free (chat);
}

static void
test_family (gconstpointer data)
{
    const json_t *family = data;
    size_t i;
    json_t *name;
    json_array_foreach (json_object_get (family, "templates"), i, name)
        check_template (family, json_string_value (name), i ? 0 : (gsize) json_peek_int (family, "stride", 61));
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------- */

/* Every template of the release is in one family. */
static void
test_whole (void)
{
    g_autoptr (GHashTable) known = g_hash_table_new (g_str_hash, g_str_equal);
    size_t i, j;
    json_t *family, *name;
    json_array_foreach (families, i, family)
        json_array_foreach (json_object_get (family, "templates"), j, name)
            g_assert_true (g_hash_table_add (known, (char *) json_string_value (name)));
    g_autoptr (GDir) dir = g_dir_open (LLAMA_RELEASE "/models/templates", 0, NULL);
    g_assert_nonnull (dir);
    guint n = 0;
    for (const char *file; (file = g_dir_read_name (dir));) {
        if (!g_str_has_suffix (file, ".jinja"))
            continue;
        g_autofree char *stem = g_strndup (file, strlen (file) - strlen (".jinja"));
        g_assert_true (g_hash_table_contains (known, stem));
        n++;
    }
    g_assert_cmpuint (n, ==, g_hash_table_size (known));
}

static void
test_page (void)
{
    g_string_append (page, "\nWhat a format cannot read, and why; such a reply comes as text, whole:\n\n");
    size_t i;
    json_t *family, *why;
    const char *name;
    json_array_foreach (families, i, family)
        json_object_foreach (json_object_get (family, "except"), name, why)
            g_string_append_printf (page, "- %s, %s: %s\n", json_peek_string (family, "family"), name,
                                    json_string_value (why));
    for (gsize at = 0; at < page->len;) {
        const char *end = strchrnul (page->str + at, '\n');
        g_test_message ("%.*s", (int) (end - page->str - (gssize) at), page->str + at);
        at = (gsize) (end - page->str) + 1;
    }
    if (g_getenv ("ATELIER_WRITE_DOCS")) {
        g_assert_true (g_file_set_contents (COMPATIBILITY_PAGE, page->str, (gssize) page->len, NULL));
        return;
    }
    g_autofree char *written = NULL;
    g_assert_true (g_file_get_contents (COMPATIBILITY_PAGE, &written, NULL, NULL));
    g_assert_cmpstr (written, ==, page->str);
}

static void
begin_page (void)
{
    page = g_string_new (
        "# Chat templates\n\n"
        "The templates of the llama.cpp release, and which replies of their models are told apart into "
        "reasoning, text and calls.\n"
        "Written by `tests/zoo` (`ATELIER_WRITE_DOCS=1`), which fails when this page is out of date.\n\n"
        "yes: as expected, whole, byte by byte and cut anywhere.  as text: not told apart, nothing lost.  "
        "Empty: the family has no such reply.\n\n| template | family |");
    for (int i = 0; i < N_CASES; i++)
        g_string_append_printf (page, " %s |", case_names[i]);
    g_string_append (page, "\n| --- | --- |");
    for (int i = 0; i < N_CASES; i++)
        g_string_append (page, " --- |");
    g_string_append_c (page, '\n');
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    g_autoptr (GError) error = NULL;
    g_assert_true (backend_load (NULL, &error));
    struct llama_model_params params = llama_model_default_params ();
    params.vocab_only = true;
    vocabulary = llama_model_load_from_file (LLAMA_RELEASE "/models/ggml-vocab-qwen2.gguf", params);
    g_assert_nonnull (vocabulary);
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true (g_file_get_contents (FAMILIES, &text, &length, NULL));
    families = json_parse (text, length, &error);
    g_assert_no_error (error);

    begin_page ();
    g_test_add_func ("/zoo/every-template", test_whole);
    size_t i;
    json_t *family;
    json_array_foreach (families, i, family) {
        g_autofree char *path = g_strconcat ("/zoo/", json_peek_string (family, "family"), NULL);
        g_test_add_data_func (path, family, test_family);
    }
    g_test_add_func ("/zoo/page", test_page);
    int result = g_test_run ();
    g_string_free (page, TRUE);
    json_decref (families);
    llama_model_free (vocabulary);
    return result;
}
