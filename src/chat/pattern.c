/* pattern.c: one pass over a regular expression, printing it again for the grammar converter.
 *
 * Why print it again: the converter copies characters into the grammar as they are, so `.` or `[^a]` would allow a raw quote and end the
 * JSON string early; it takes only ^...$; it applies a quantifier behind an escaped character to the whole literal before it; and what it does
 * not understand becomes "any string", without an error.  So here every class becomes explicit ranges, every quantified literal a group,
 * and what cannot be said is refused. */
#include "chat/pattern.h"

#include "chat/chat.h"

#include <string.h>

#define MAX_REPEAT 2000  /* llama.cpp's own limit for one repetition */
#define MAX_SIZE   20000 /* elements after all repetitions are written out */
#define MAX_DEPTH  50
#define MAX_LENGTH 4096

typedef struct {
    const char *at;
    int depth;
    GError **error;
} Reader;

/* A set of code points: sorted, disjoint pairs (first, last) once it was put in order. */
typedef GArray Ranges;

static gboolean G_GNUC_PRINTF (2, 3) fail (Reader *r, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    g_autofree char *message = g_strdup_vprintf (format, args);
    va_end (args);
    g_set_error_literal (r->error, CHAT_ERROR, CHAT_FAIL_INVALID, message);
    return FALSE;
}

/* ---- classes ----------------------------------------------------------------------------------------------------------- */

static void
add_range (Ranges *ranges, gunichar first, gunichar last)
{
    const gunichar pair[2] = { first, last };
    g_array_append_vals (ranges, pair, 2);
}

static const gunichar digits[] = { '0', '9' };
static const gunichar word[] = { '0', '9', 'A', 'Z', '_', '_', 'a', 'z' };
static const gunichar space[] = { '\t', '\r', ' ', ' ', 0xA0, 0xA0, 0x2028, 0x2029, 0xFEFF, 0xFEFF };
static const gunichar line_ends[] = { '\n', '\n', '\r', '\r', 0x2028, 0x2029 };

/* What may not stand in a JSON string as it is, and what is no character. */
static const gunichar unsafe[] = { 0, 0x1F, '"', '"', '\\', '\\', 0x7F, 0x7F, 0xD800, 0xDFFF };

static int
by_first (gconstpointer a, gconstpointer b)
{
    const gunichar x = *(const gunichar *) a, y = *(const gunichar *) b;
    return x < y ? -1 : x > y;
}

static void
sort (Ranges *ranges)
{
    qsort (ranges->data, ranges->len / 2, 2 * sizeof (gunichar), by_first);
}

static void
complement (Ranges *ranges)
{
    sort (ranges);
    g_autoptr (GArray) result = g_array_new (FALSE, FALSE, sizeof (gunichar));
    gunichar next = 0;
    for (guint i = 0; i < ranges->len; i += 2) {
        const gunichar first = g_array_index (ranges, gunichar, i), last = g_array_index (ranges, gunichar, i + 1);
        if (first > next)
            add_range (result, next, first - 1);
        next = MAX (next, last + 1);
    }
    if (next <= 0x10FFFF)
        add_range (result, next, 0x10FFFF);
    g_array_set_size (ranges, 0);
    g_array_append_vals (ranges, result->data, result->len);
}

static void
print_code (GString *out, gunichar c)
{
    if (c < 0x100)
        g_string_append_printf (out, "\\x%02X", c);
    else if (c < 0x10000)
        g_string_append_printf (out, "\\u%04X", c);
    else
        g_string_append_printf (out, "\\U%08X", c);
}

/* Prints the set without the unsafe ones.  FALSE: nothing is left. */
static gboolean
print_class (GString *out, Ranges *ranges)
{
    complement (ranges);
    g_array_append_vals (ranges, unsafe, G_N_ELEMENTS (unsafe));
    complement (ranges);
    if (ranges->len == 0)
        return FALSE;
    g_string_append_c (out, '[');
    for (guint i = 0; i < ranges->len; i += 2) {
        const gunichar first = g_array_index (ranges, gunichar, i), last = g_array_index (ranges, gunichar, i + 1);
        print_code (out, first);
        if (last > first) {
            g_string_append_c (out, '-');
            print_code (out, last);
        }
    }
    g_string_append_c (out, ']');
    return TRUE;
}

static void
print_any (GString *out)
{
    g_autoptr (GArray) ranges = g_array_new (FALSE, FALSE, sizeof (gunichar));
    g_array_append_vals (ranges, line_ends, G_N_ELEMENTS (line_ends));
    complement (ranges);
    print_class (out, ranges);
}

/* ---- escapes ----------------------------------------------------------------------------------------------------------- */

static gboolean
read_hex (Reader *r, int n_digits, gunichar *c)
{
    *c = 0;
    for (int i = 0; i < n_digits; i++) {
        int digit = g_ascii_xdigit_value (*r->at);
        if (digit < 0)
            return fail (r, "a character code lacks digits");
        *c = *c * 16 + digit;
        r->at++;
    }
    return TRUE;
}

/* Behind a backslash: one character in @c, or a set in @ranges (which then has members). */
static gboolean
read_escape (Reader *r, gunichar *c, Ranges *ranges)
{
    static const struct {
        char letter;
        const gunichar *set;
        guint n;
        gboolean inverted;
    } sets[] = {
        { 'd', digits, G_N_ELEMENTS (digits), FALSE }, { 'D', digits, G_N_ELEMENTS (digits), TRUE },
        { 'w', word, G_N_ELEMENTS (word), FALSE },     { 'W', word, G_N_ELEMENTS (word), TRUE },
        { 's', space, G_N_ELEMENTS (space), FALSE },   { 'S', space, G_N_ELEMENTS (space), TRUE },
    };
    static const char controls[] = "t\tn\nr\rf\fv\v";
    const char letter = *r->at;
    for (guint i = 0; i < G_N_ELEMENTS (sets); i++) {
        if (letter != sets[i].letter)
            continue;
        r->at++;
        g_autoptr (GArray) set = g_array_new (FALSE, FALSE, sizeof (gunichar));
        g_array_append_vals (set, sets[i].set, sets[i].n);
        if (sets[i].inverted)
            complement (set);
        g_array_append_vals (ranges, set->data, set->len);
        return TRUE;
    }
    for (const char *pair = controls; *pair; pair += 2)
        if (letter == pair[0])
            return r->at++, *c = pair[1], TRUE;
    if (letter == '0' && !g_ascii_isdigit (r->at[1]))
        return r->at++, *c = 0, TRUE;
    if (letter == 'x')
        return r->at++, read_hex (r, 2, c);
    if (letter == 'u')
        return r->at++, read_hex (r, 4, c);
    if (letter == '\0')
        return fail (r, "it ends in a backslash");
    if (g_ascii_isalnum (letter))
        return fail (r, "\\%c cannot be enforced", letter);
    *c = g_utf8_get_char (r->at);
    r->at = g_utf8_next_char (r->at);
    return TRUE;
}

static gboolean
read_class (Reader *r, GString *out)
{
    g_autoptr (GArray) ranges = g_array_new (FALSE, FALSE, sizeof (gunichar));
    gboolean inverted = *r->at == '^';
    if (inverted)
        r->at++;
    while (*r->at != ']') {
        if (!*r->at)
            return fail (r, "a class [...] is not closed");
        gunichar ends[2] = { 0, 0 };
        int n = 0;
        do { /* one character, or first-last */
            if (n == 1)
                r->at++; /* the hyphen */
            guint before = ranges->len;
            if (*r->at == '\\') {
                r->at++;
                if (!read_escape (r, &ends[n], ranges))
                    return FALSE;
            } else {
                ends[n] = g_utf8_get_char (r->at);
                r->at = g_utf8_next_char (r->at);
            }
            if (ranges->len > before) { /* \d and its like stand alone */
                n = -1;
                break;
            }
            n++;
        } while (n == 1 && r->at[0] == '-' && r->at[1] && r->at[1] != ']');
        if (n < 0)
            continue;
        if (n == 2 && ends[1] < ends[0])
            return fail (r, "a range of characters runs backwards");
        add_range (ranges, ends[0], ends[n - 1]);
    }
    r->at++;
    if (inverted)
        complement (ranges);
    return print_class (out, ranges) || fail (r, "a class [...] has no character that may stand in a JSON string");
}

/* ---- the rest ---------------------------------------------------------------------------------------------------------- */

/* A character as the inside of a JSON string has it. */
static gboolean
print_literal (Reader *r, GString *out, gunichar c)
{
    static const char escaped[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: character, letter behind the backslash */
    for (const char *pair = escaped; *pair; pair += 2)
        if (c == (guchar) pair[0]) {
            g_string_append (out, "\\\\");
            if (pair[1] == '\\')
                g_string_append (out, "\\\\");
            else
                g_string_append_c (out, pair[1]);
            return TRUE;
        }
    if (c < 0x20 || (c >= 0xD800 && c < 0xE000))
        return fail (r, "the character U+%04X cannot stand in a JSON string", c);
    if (c < 0x80 && strchr ("^$.[](){}|*+?", c))
        g_string_append_c (out, '\\');
    g_string_append_unichar (out, c);
    return TRUE;
}

/* {n}, {n,}, {n,m} behind the brace, or FALSE with @r where it was: then it is a literal brace. */
static gboolean
read_counts (Reader *r, guint64 *least, guint64 *most)
{
    const char *at = r->at;
    char *end;
    if (!g_ascii_isdigit (*at))
        return FALSE;
    *least = *most = g_ascii_strtoull (at, &end, 10);
    if (*end == ',') {
        at = end + 1;
        if (*at == '}') {
            *most = G_MAXUINT64;
            end = (char *) at;
        } else if (g_ascii_isdigit (*at)) {
            *most = g_ascii_strtoull (at, &end, 10);
        } else {
            return FALSE;
        }
    }
    if (*end != '}')
        return FALSE;
    r->at = end + 1;
    return TRUE;
}

/* A quantifier, if one follows @atom.  @size: elements of the atom, then of the whole. */
static gboolean
read_quantifier (Reader *r, GString *out, const char *atom, guint64 *size)
{
    guint64 least = 1, most = 1;
    const char mark = *r->at;
    if (mark == '*' || mark == '+' || mark == '?') {
        r->at++;
        least = mark == '+';
        most = mark == '?' ? 1 : G_MAXUINT64;
    } else if (mark == '{') {
        r->at++;
        if (!read_counts (r, &least, &most)) {
            r->at--;
            return g_string_append (out, atom), TRUE;
        }
    } else {
        return g_string_append (out, atom), TRUE;
    }
    if (*r->at == '?') /* lazy: the same strings match */
        r->at++;
    else if (*r->at == '+' || *r->at == '*')
        return fail (r, "nothing to repeat");
    if (most < least)
        return fail (r, "a repetition {%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT "} runs backwards", least, most);
    if (least > MAX_REPEAT || (most != G_MAXUINT64 && most > MAX_REPEAT))
        return fail (r, "a repetition may be at most %d", MAX_REPEAT);
    *size *= MAX (1, most == G_MAXUINT64 ? least + 1 : most);
    if (most == 0)
        return TRUE;
    if (mark != '{') {
        g_string_append_printf (out, "%s%c", atom, mark);
        return TRUE;
    }
    if (most != G_MAXUINT64) {
        g_string_append_printf (out, "%s{%u,%u}", atom, (guint) least, (guint) most);
        return TRUE;
    }
    if (least > 0)
        g_string_append_printf (out, "%s{%u,%u}", atom, (guint) least, (guint) least);
    g_string_append_printf (out, "%s*", atom);
    return TRUE;
}

static gboolean read_alternatives (Reader *r, GString *out, gboolean outermost, guint64 *size);

static gboolean
read_group (Reader *r, GString *out, guint64 *size)
{
    if (*r->at == '?') {
        if (r->at[1] != ':')
            return fail (r, "lookaround and named groups cannot be enforced");
        r->at += 2;
    }
    if (++r->depth > MAX_DEPTH)
        return fail (r, "groups are nested deeper than %d", MAX_DEPTH);
    g_string_append (out, "(?:");
    if (!read_alternatives (r, out, FALSE, size))
        return FALSE;
    if (*r->at != ')')
        return fail (r, "a group (...) is not closed");
    r->at++;
    r->depth--;
    g_string_append_c (out, ')');
    return TRUE;
}

static gboolean
read_atom (Reader *r, GString *out, guint64 *size)
{
    g_autoptr (GString) atom = g_string_new (NULL);
    const char mark = *r->at;
    *size = 1;
    if (mark == '^' || mark == '$')
        return fail (r, "an anchor inside it cannot be enforced");
    if (mark == '*' || mark == '+' || mark == '?')
        return fail (r, "nothing to repeat");
    if (mark == '.') {
        r->at++;
        print_any (atom);
    } else if (mark == '[') {
        r->at++;
        if (!read_class (r, atom))
            return FALSE;
    } else if (mark == '(') {
        r->at++;
        if (!read_group (r, atom, size))
            return FALSE;
    } else {
        gunichar c;
        g_autoptr (GArray) set = g_array_new (FALSE, FALSE, sizeof (gunichar));
        if (mark == '\\') {
            r->at++;
            if (!read_escape (r, &c, set))
                return FALSE;
        } else {
            c = g_utf8_get_char (r->at);
            r->at = g_utf8_next_char (r->at);
        }
        if (set->len > 0) {
            if (!print_class (atom, set))
                return fail (r, "a class has no character that may stand in a JSON string");
        } else {
            gboolean repeated = *r->at && strchr ("*+?{", *r->at);
            if (repeated)
                g_string_append (atom, "(?:");
            if (!print_literal (r, atom, c))
                return FALSE;
            if (repeated)
                g_string_append_c (atom, ')');
        }
    }
    return read_quantifier (r, out, atom->str, size);
}

/* a|b|c up to a closing parenthesis or the end.  Outermost, an alternative without ^ or $ may have anything before or behind it. */
static gboolean
read_alternatives (Reader *r, GString *out, gboolean outermost, guint64 *size)
{
    *size = 0;
    for (;;) {
        if (outermost && *r->at == '^')
            r->at++;
        else if (outermost)
            print_any (out), g_string_append_c (out, '*');
        gboolean anchored = FALSE;
        while (*r->at && *r->at != '|' && *r->at != ')') {
            if (outermost && *r->at == '$' && (r->at[1] == '\0' || r->at[1] == '|')) {
                r->at++;
                anchored = TRUE;
                break;
            }
            guint64 one;
            if (!read_atom (r, out, &one))
                return FALSE;
            *size += one;
            if (*size > MAX_SIZE)
                return fail (r, "it is too large once its repetitions are written out");
        }
        if (outermost && !anchored)
            print_any (out), g_string_append_c (out, '*');
        if (*r->at != '|')
            return TRUE;
        r->at++;
        g_string_append_c (out, '|');
    }
}

char *
pattern_for_grammar (const char *pattern, GError **error)
{
    Reader reader = { .at = pattern, .error = error };
    if (strlen (pattern) > MAX_LENGTH) {
        fail (&reader, "it is longer than %d bytes", MAX_LENGTH);
        return NULL;
    }
    g_autoptr (GString) out = g_string_new ("^(?:");
    guint64 size;
    if (!read_alternatives (&reader, out, TRUE, &size))
        return NULL;
    if (*reader.at) {
        fail (&reader, "a parenthesis is closed that was not opened");
        return NULL;
    }
    g_string_append (out, ")$");
    return g_strdup (out->str);
}
