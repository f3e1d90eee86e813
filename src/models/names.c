/* names.c: reading names.
 *
 *   Qwen3-8B-UD-Q4_K_XL-00002-of-00003.gguf
 *   └ plain ┘└─ quant ─┘└─── split ───┘
 *   └───── base ───────┘
 *
 * Matched by hand over tables: a thousand files are read at every start, and no pattern engine has to be loaded for it. */
#include "models/names.h"

#include <string.h>

/* ---- text -------------------------------------------------------------------------------------------------------------- */

char *
name_text (const char *bytes)
{
    GString *text = g_string_new (NULL);
    const char *end;
    while (!g_utf8_validate (bytes, -1, &end)) {
        g_string_append_len (text, bytes, end - bytes);
        g_string_append_printf (text, "%%%02X", (guchar) *end);
        bytes = end + 1;
    }
    g_string_append (text, bytes);
    return g_string_free (text, FALSE);
}

char *
name_lower (const char *text)
{
    GString *lower = g_string_sized_new (strlen (text));
    for (const char *c = text; *c; c = g_utf8_next_char (c)) {
        if ((guchar) *c < 0x80)
            g_string_append_c (lower, g_ascii_tolower (*c));
        else
            g_string_append_unichar (lower, g_unichar_tolower (g_utf8_get_char (c)));
    }
    return g_string_free (lower, FALSE);
}

static gboolean
ends_with (const char *text, const char *end)
{
    gsize n = strlen (text), m = strlen (end);
    return n >= m && g_ascii_strcasecmp (text + n - m, end) == 0;
}

static gboolean
contains (const char *text, const char *word)
{
    g_autofree char *lower = g_ascii_strdown (text, -1);
    return strstr (lower, word) != NULL;
}

static gsize
count_digits (const char *text)
{
    return strspn (text, "0123456789");
}

static gboolean
is_border (char c)
{
    return c == '\0' || c == '-' || c == '.' || c == '_';
}

/* ---- kinds ------------------------------------------------------------------------------------------------------------- */

gboolean
name_is_gguf (const char *name)
{
    return ends_with (name, ".gguf") && strlen (name) > 5;
}

gboolean
name_is_unfinished (const char *name)
{
    static const char *const patterns[] = { "*.part", "*.tmp*", "*.incomplete", "*.downloadInProgress", "*.aria2" };
    for (gsize i = 0; i < G_N_ELEMENTS (patterns); i++)
        if (g_pattern_match_simple (patterns[i], name))
            return TRUE;
    return FALSE;
}

NameKind
name_kind (const char *file_name)
{
    static const char *const sidecars[] = { "mtp-", "eagle3-", "dflash-", "dspark-" };
    if (contains (file_name, "mmproj"))
        return NAME_PROJECTOR;
    for (gsize i = 0; i < G_N_ELEMENTS (sidecars); i++)
        if (g_ascii_strncasecmp (file_name, sidecars[i], strlen (sidecars[i])) == 0)
            return NAME_SIDECAR;
    return contains (file_name, "imatrix") ? NAME_IGNORED : NAME_MODEL;
}

/* ---- quantization ------------------------------------------------------------------------------------------------------ */

/* How many bytes at @text are a quantization's name that ends at a border; 0: none. */
static gsize
quant_length (const char *text)
{
    static const char *const words[] = {
        "TQ1_0", "TQ2_0", "BF16", "F16", "FP16", "F32", "MXFP4_MOE", "MXFP4", "NVFP4"
    };
    for (gsize i = 0; i < G_N_ELEMENTS (words); i++) {
        gsize n = strlen (words[i]);
        if (g_ascii_strncasecmp (text, words[i], n) == 0 && is_border (text[n]))
            return n;
    }
    const char *c = text;
    if (g_ascii_toupper (*c) == 'I')
        c++;
    if (g_ascii_toupper (*c) != 'Q')
        return 0;
    c++;
    gsize digits = count_digits (c);
    if (digits == 0)
        return 0;
    c += digits;
    if (digits == 1 && *c == '_' && (g_ascii_isalnum (c[1]) || c[1] == '_')) {
        c++;
        while (g_ascii_isalnum (*c) || *c == '_')
            c++;
    }
    return is_border (*c) ? (gsize) (c - text) : 0;
}

/* The last token of @base that names a quantization; FALSE: there is none. */
static gboolean
find_quant (const char *base, gsize *start, gsize *length)
{
    for (gsize i = strlen (base); i-- > 0;) {
        if (i > 0 && !is_border (base[i - 1]))
            continue;
        gsize n = quant_length (base + i);
        if (n == 0)
            continue;
        gboolean ud =
            i >= 3 && g_ascii_strncasecmp (base + i - 3, "UD-", 3) == 0 && (i == 3 || is_border (base[i - 4]));
        *start = ud ? i - 3 : i;
        *length = ud ? n + 3 : n;
        return TRUE;
    }
    return FALSE;
}

/* -00002-of-00003 at the end of @name, which is cut there. */
static void
cut_split (char *name, NameParts *parts)
{
    gsize n = strlen (name);
    if (n <= 15)
        return;
    char *at = name + n - 15;
    if (at[0] != '-' || count_digits (at + 1) != 5 || g_ascii_strncasecmp (at + 6, "-of-", 4) != 0 ||
        count_digits (at + 10) != 5)
        return;
    guint part = atoi (at + 1), n_parts = atoi (at + 10);
    if (part < 1 || part > n_parts)
        return;
    parts->part = part;
    parts->n_parts = n_parts;
    *at = '\0';
}

static void
drop_gguf_word (char *name)
{
    if (ends_with (name, "-gguf") && strlen (name) > 5)
        name[strlen (name) - 5] = '\0';
}

void
name_parse (const char *file_name, NameParts *parts)
{
    memset (parts, 0, sizeof *parts);
    char *base = g_strndup (file_name, strlen (file_name) - 5);
    cut_split (base, parts);
    parts->base = base;
    gsize start, length;
    if (!find_quant (base, &start, &length)) {
        parts->plain = g_strdup (base);
        drop_gguf_word (parts->plain);
        return;
    }
    g_autofree char *token = g_strndup (base + start, length);
    parts->quant = g_ascii_strup (token, -1);
    const char *rest = base + start + length;
    if (start == 0 && *rest)
        rest++; /* its separator is behind it then */
    parts->plain = g_strdup_printf ("%.*s%s", (int) (start > 0 ? start - 1 : 0), base, rest);
    drop_gguf_word (parts->plain);
}

void
name_parts_clear (NameParts *parts)
{
    g_free (parts->base);
    g_free (parts->plain);
    g_free (parts->quant);
    memset (parts, 0, sizeof *parts);
}

char *
name_of_mlx (const char *folder)
{
    char *name = g_strdup (folder);
    char *dash = strrchr (name, '-');
    if (dash && dash > name) {
        gsize digits = count_digits (dash + 1);
        if (digits > 0 && g_ascii_strcasecmp (dash + 1 + digits, "bit") == 0)
            *dash = '\0';
    }
    drop_gguf_word (name);
    return name;
}

const char *
quant_of_file_type (gint64 type)
{
    static const char *const names[] = {
        [0] = "F32",     [1] = "F16",     [2] = "Q4_0",     [3] = "Q4_1",    [7] = "Q8_0",     [8] = "Q5_0",
        [9] = "Q5_1",    [10] = "Q2_K",   [11] = "Q3_K_S",  [12] = "Q3_K_M", [13] = "Q3_K_L",  [14] = "Q4_K_S",
        [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",  [18] = "Q6_K",   [19] = "IQ2_XXS", [20] = "IQ2_XS",
        [21] = "Q2_K_S", [22] = "IQ3_XS", [23] = "IQ3_XXS", [24] = "IQ1_S",  [25] = "IQ4_NL",  [26] = "IQ3_S",
        [27] = "IQ3_M",  [28] = "IQ2_S",  [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",   [32] = "BF16",
        [36] = "TQ1_0",  [37] = "TQ2_0",  [38] = "MXFP4",   [39] = "NVFP4",  [40] = "Q1_0",    [41] = "Q2_0",
    };
    if (type < 0)
        return NULL;
    type &= ~(gint64) 1024; /* "guessed" */
    return type < (gint64) G_N_ELEMENTS (names) ? names[type] : NULL;
}

int
quant_bits (const char *name)
{
    const char *digit = name + strcspn (name, "0123456789");
    gsize n = MIN (count_digits (digit), 3);
    int bits = 0;
    for (gsize i = 0; i < n; i++)
        bits = bits * 10 + (digit[i] - '0');
    return bits;
}

guint
quant_rank (const char *name, gboolean small)
{
    static const char *const small_first[] = { "Q8_0", "F16", "BF16" };
    static const char *const order[] = {
        "Q4_K_M", "MXFP4",  "UD-Q4_K_XL", "Q4_K_L", "Q4_K_S", "IQ4_XS",  "IQ4_NL",  "Q4_1",
        "Q4_0",   "Q5_K_M", "UD-Q5_K_XL", "Q5_K_S", "Q5_1",   "Q5_0",    "Q6_K",    "UD-Q6_K_XL",
        "Q6_K_L", "Q8_0",   "UD-Q8_K_XL", "BF16",   "F16",    "NVFP4",   "F32",     "UD-Q3_K_XL",
        "Q3_K_L", "Q3_K_M", "IQ3_M",      "IQ3_S",  "Q3_K_S", "IQ3_XS",  "IQ3_XXS", "UD-Q2_K_XL",
        "Q2_K_L", "Q2_K",   "IQ2_M",      "IQ2_S",  "IQ2_XS", "IQ2_XXS", "IQ1_M",   "IQ1_S",
        "TQ2_0",  "TQ1_0",  "Q2_0",       "Q1_0",
    };
    for (guint i = 0; name && small && i < G_N_ELEMENTS (small_first); i++)
        if (strcmp (name, small_first[i]) == 0)
            return i;
    for (guint i = 0; name && i < G_N_ELEMENTS (order); i++)
        if (strcmp (name, order[i]) == 0)
            return G_N_ELEMENTS (small_first) + i;
    return G_N_ELEMENTS (small_first) + G_N_ELEMENTS (order);
}

/* ---- names for people -------------------------------------------------------------------------------------------------- */

/* "Llama 3.2 1B Instruct", not "llama-3.2", "models/7B" or "workspace". */
static gboolean
looks_human (const char *name)
{
    if (!name || g_utf8_strlen (name, -1) > 100 || strpbrk (name, "/\\"))
        return FALSE;
    gboolean letter = FALSE;
    for (const char *c = name; *c; c = g_utf8_next_char (c)) {
        gunichar u = g_utf8_get_char (c);
        if (!g_unichar_isprint (u))
            return FALSE;
        letter |= g_unichar_isalpha (u);
    }
    if (!letter || g_ascii_isspace (*name) || ends_with (name, ".gguf"))
        return FALSE;
    return strchr (name, ' ') != NULL || (!strpbrk (name, "-_") && g_unichar_isupper (g_utf8_get_char (name)));
}

static gboolean
is_format_word (const char *word)
{
    gsize digits = count_digits (word);
    return g_ascii_strcasecmp (word, "gguf") == 0 || g_ascii_strcasecmp (word, "mlx") == 0 ||
           (digits > 0 && g_ascii_strcasecmp (word + digits, "bit") == 0) || quant_length (word) == strlen (word);
}

char *
name_display (const char *general_name, const char *plain, const char *folder)
{
    if (looks_human (general_name))
        return g_strdup (general_name);
    /* The folder often has the better spelling of the same name. */
    g_autofree char *repository = name_of_mlx (folder);
    const char *from = !*plain || g_ascii_strcasecmp (repository, plain) == 0 ? repository : plain;
    g_auto (GStrv) words = g_strsplit_set (from, "-_ ", -1);
    GString *display = g_string_new (NULL);
    for (gsize i = 0; words[i]; i++)
        if (*words[i] && !is_format_word (words[i]))
            g_string_append_printf (display, "%s%s", display->len ? " " : "", words[i]);
    if (display->len == 0)
        g_string_assign (display, from);
    return g_string_free (display, FALSE);
}

/* "8B", "1.5b", "8x7B", with @active "A3B": upper-cased, or NULL. */
static char *
size_word (const char *word, gboolean active)
{
    const char *c = word;
    if (active && g_ascii_toupper (*c++) != 'A')
        return NULL;
    gsize digits = count_digits (c);
    if (!active && digits > 0 && g_ascii_tolower (c[digits]) == 'x') {
        c += digits + 1;
        digits = count_digits (c);
    }
    if (digits == 0)
        return NULL;
    c += digits;
    if (*c == '.') {
        digits = count_digits (c + 1);
        if (digits == 0)
            return NULL;
        c += 1 + digits;
    }
    if (!strchr ("bBmM", *c) || *c == '\0' || c[1] != '\0')
        return NULL;
    char *upper = g_ascii_strup (word, -1);
    char *times = strchr (upper, 'X');
    if (times)
        *times = 'x';
    return upper;
}

char *
name_params (const char *size_label, const char *plain, guint64 n_params)
{
    if (size_label && *size_label && g_utf8_strlen (size_label, -1) <= 32)
        return g_strdup (size_label);
    g_auto (GStrv) words = g_strsplit_set (plain, "-_ ", -1);
    for (gsize i = 0; words[i]; i++) {
        g_autofree char *size = size_word (words[i], FALSE);
        if (!size)
            continue;
        g_autofree char *active = words[i + 1] ? size_word (words[i + 1], TRUE) : NULL;
        return active ? g_strdup_printf ("%s-%s", size, active) : g_steal_pointer (&size);
    }
    if (n_params == 0)
        return NULL;
    if (n_params >= 9950000000)
        return g_strdup_printf ("%.0fB", n_params / 1e9);
    double scaled = n_params >= 999500000 ? n_params / 1e9 : n_params / 1e6;
    const char *unit = n_params >= 999500000 ? "B" : "M";
    if (*unit == 'M' && scaled >= 9.95)
        return g_strdup_printf ("%.0fM", scaled);
    g_autofree char *text = g_strdup_printf ("%.1f", scaled);
    if (g_str_has_suffix (text, ".0"))
        text[strlen (text) - 2] = '\0';
    return g_strconcat (text, unit, NULL);
}
