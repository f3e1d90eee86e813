/* text.c: whole characters, stop strings, counted reasoning.  What they promise: text.h.
 *
 * The search is Knuth's: for each string the matcher remembers how many of its bytes the text ends with.  So a byte costs one step
 * per string, nothing is looked at twice, and the longest of these beginnings is exactly what must be held back. */
#include "engine/text.h"

#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD"

/* ---- characters ---------------------------------------------------------------------------------------------------------- */

/* How long the character is that begins with @lead, and what its second byte may be (Unicode 15, table 3-7).  0: no beginning,
 * and no second byte fits. */
static guint
character_length (guint8 lead, guint8 *second_min, guint8 *second_max)
{
    static const struct {
        guint8 first, last, length, second_min, second_max;
    } rows[] = {
        { 0x00, 0x7F, 1, 0x00, 0x00 }, { 0xC2, 0xDF, 2, 0x80, 0xBF }, { 0xE0, 0xE0, 3, 0xA0, 0xBF },
        { 0xE1, 0xEC, 3, 0x80, 0xBF }, { 0xED, 0xED, 3, 0x80, 0x9F }, { 0xEE, 0xEF, 3, 0x80, 0xBF },
        { 0xF0, 0xF0, 4, 0x90, 0xBF }, { 0xF1, 0xF3, 4, 0x80, 0xBF }, { 0xF4, 0xF4, 4, 0x80, 0x8F },
    };
    *second_min = *second_max = 0;
    for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
        if (lead >= rows[i].first && lead <= rows[i].last) {
            *second_min = rows[i].second_min;
            *second_max = rows[i].second_max;
            return rows[i].length;
        }
    *second_min = 0xFF;
    *second_max = 0;
    return 0;
}

static void
gate_byte (TextGate *gate, guint8 byte, GString *out)
{
    guint8 min, max;
    if (gate->n_held > 0) {
        guint length = character_length (gate->held[0], &min, &max);
        if (gate->n_held > 1)
            min = 0x80, max = 0xBF;
        if (byte >= min && byte <= max) {
            gate->held[gate->n_held++] = byte;
            if (gate->n_held == length) {
                g_string_append_len (out, gate->held, length);
                gate->n_held = 0;
            }
            return;
        }
        g_string_append (out, REPLACEMENT);
        gate->n_held = 0;
    }
    guint length = character_length (byte, &min, &max);
    if (length == 1)
        g_string_append_c (out, byte);
    else if (length == 0)
        g_string_append (out, REPLACEMENT);
    else
        gate->held[gate->n_held++] = byte;
}

void
text_gate_feed (TextGate *gate, const char *bytes, gsize n_bytes, GString *out)
{
    for (gsize i = 0; i < n_bytes; i++)
        gate_byte (gate, bytes[i], out);
}

void
text_gate_finish (TextGate *gate, GString *out)
{
    if (gate->n_held > 0)
        g_string_append (out, REPLACEMENT);
    gate->n_held = 0;
}

/* ---- matcher ------------------------------------------------------------------------------------------------------------- */

typedef struct {
    char *text;
    guint length;
    guint *
        back; /* back[k]: the longest real beginning of text[0..k] that is its end too; where to go on after a mismatch */
    guint state; /* so many bytes of @text are the end of what was read */
} Pattern;

static void
pattern_clear (gpointer data)
{
    Pattern *pattern = data;
    g_free (pattern->text);
    g_free (pattern->back);
}

static GArray *
patterns_new (const char *const *strings)
{
    GArray *patterns = g_array_new (FALSE, TRUE, sizeof (Pattern));
    g_array_set_clear_func (patterns, pattern_clear);
    for (guint i = 0; strings && strings[i]; i++) {
        guint length = strlen (strings[i]);
        if (length == 0)
            continue;
        Pattern pattern = { .text = g_strdup (strings[i]), .length = length, .back = g_new0 (guint, length) };
        for (guint k = 1, state = 0; k < length; k++) {
            while (state > 0 && pattern.text[k] != pattern.text[state])
                state = pattern.back[state - 1];
            if (pattern.text[k] == pattern.text[state])
                state++;
            pattern.back[k] = state;
        }
        g_array_append_val (patterns, pattern);
    }
    return patterns;
}

/* One byte further.  Returns the longest pattern that ends here, or NULL; @longest gets the longest beginning that the text now ends
 * with. */
static const Pattern *
patterns_step (GArray *patterns, char byte, guint *longest)
{
    const Pattern *found = NULL;
    *longest = 0;
    for (guint i = 0; i < patterns->len; i++) {
        Pattern *p = &g_array_index (patterns, Pattern, i);
        if (p->state == p->length)
            p->state = p->back[p->length - 1];
        while (p->state > 0 && p->text[p->state] != byte)
            p->state = p->back[p->state - 1];
        if (p->text[p->state] == byte)
            p->state++;
        *longest = MAX (*longest, p->state);
        if (p->state == p->length && (!found || p->length > found->length))
            found = p;
    }
    return found;
}

static void
patterns_reset (GArray *patterns)
{
    for (guint i = 0; i < patterns->len; i++)
        g_array_index (patterns, Pattern, i).state = 0;
}

/* ---- stop strings -------------------------------------------------------------------------------------------------------- */

struct TextStops {
    GArray *patterns;
    GString *held; /* the longest end of the text that begins a stop string */
    const char *found;
};

TextStops *
text_stops_new (const char *const *strings)
{
    TextStops *stops = g_new0 (TextStops, 1);
    stops->patterns = patterns_new (strings);
    stops->held = g_string_new (NULL);
    return stops;
}

void
text_stops_free (TextStops *stops)
{
    if (!stops)
        return;
    g_array_unref (stops->patterns);
    g_string_free (stops->held, TRUE);
    g_free (stops);
}

const char *
text_stops_feed (TextStops *stops, const char *text, gsize length, GString *out)
{
    if (stops->patterns->len == 0) {
        g_string_append_len (out, text, length);
        return NULL;
    }
    for (gsize i = 0; i < length && !stops->found; i++) {
        guint longest;
        const Pattern *found = patterns_step (stops->patterns, text[i], &longest);
        g_string_append_c (stops->held, text[i]);
        /* Of what is held, all but the beginning of a stop string is safe, and all but the stop string itself. */
        gsize n_safe = stops->held->len - (found ? found->length : longest);
        g_string_append_len (out, stops->held->str, n_safe);
        g_string_erase (stops->held, 0, n_safe);
        if (found) {
            stops->found = found->text;
            g_string_truncate (stops->held, 0);
        }
    }
    return stops->found;
}

void
text_stops_flush (TextStops *stops, GString *out)
{
    g_string_append_len (out, stops->held->str, stops->held->len);
    g_string_truncate (stops->held, 0);
    patterns_reset (stops->patterns);
}

void
text_stops_reset (TextStops *stops)
{
    g_string_truncate (stops->held, 0);
    patterns_reset (stops->patterns);
    stops->found = NULL;
}

/* ---- reasoning ----------------------------------------------------------------------------------------------------------- */

struct TextThinking {
    enum { BEFORE, INSIDE, AFTER } at;
    char *start;
    guint n_start; /* bytes of @start that have come */
    GArray *ends;
    int n_tokens; /* read so far, as long as the reasoning may begin or goes on */
    int n_counted;
};

TextThinking *
text_thinking_new (const char *start, const char *const *ends, gboolean open)
{
    TextThinking *thinking = g_new0 (TextThinking, 1);
    thinking->start = g_strstrip (g_strdup (start ? start : ""));
    thinking->ends = patterns_new (ends);
    thinking->at = open ? INSIDE : *thinking->start ? BEFORE : AFTER;
    return thinking;
}

void
text_thinking_free (TextThinking *thinking)
{
    if (!thinking)
        return;
    g_free (thinking->start);
    g_array_unref (thinking->ends);
    g_free (thinking);
}

void
text_thinking_token (TextThinking *thinking, const char *bytes, gsize n_bytes)
{
    if (thinking->at == AFTER)
        return;
    thinking->n_tokens++;
    for (gsize i = 0; i < n_bytes && thinking->at != AFTER; i++) {
        guint longest;
        if (thinking->at == INSIDE) {
            if (patterns_step (thinking->ends, bytes[i], &longest))
                thinking->at = AFTER;
        } else if (bytes[i] == thinking->start[thinking->n_start]) {
            if (!thinking->start[++thinking->n_start])
                thinking->at = INSIDE;
        } else if (thinking->n_start > 0 || !g_ascii_isspace (bytes[i])) {
            thinking->at = AFTER; /* the reply begins with something else */
            return;
        }
    }
    if (thinking->at != BEFORE)
        thinking->n_counted = thinking->n_tokens;
}

int
text_thinking_count (const TextThinking *thinking)
{
    return thinking->n_counted;
}
