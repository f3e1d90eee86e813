/* head.c: the checks of head.h.  Pure; tests/unit/http-test.c feeds it rows. */
#include "net/head.h"

#include <string.h>

#define HEAD_MAX_DIGITS 18 /* of a Content-Length: below 2^63, whatever the digits */

static gboolean
parse_length (const char *text, guint64 *length)
{
    gsize n = strlen (text);
    if (n == 0 || n > HEAD_MAX_DIGITS || strspn (text, "0123456789") != n)
        return FALSE;
    *length = g_ascii_strtoull (text, NULL, 10);
    return TRUE;
}

/* RFC 9110 5.6.2: what a field's name is made of.  A space before the colon hides a field from some servers and not from others. */
static gboolean
is_token (const char *name)
{
    gsize n = 0;
    for (; name[n]; n++)
        if (!g_ascii_isalnum (name[n]) && !strchr ("!#$%&'*+-.^_`|~", name[n]))
            return FALSE;
    return n > 0;
}

static gboolean
has_controls (const char *value)
{
    for (; *value; value++)
        if ((g_ascii_iscntrl (*value) && *value != '\t'))
            return TRUE;
    return FALSE;
}

void
head_facts_add (HeadFacts *facts, const char *name, const char *value)
{
    if (!value)
        value = "";
    facts->bad_field |= !is_token (name) || has_controls (value);
    if (g_ascii_strcasecmp (name, "host") == 0) {
        facts->n_host++;
    } else if (g_ascii_strcasecmp (name, "content-length") == 0) {
        facts->n_length++;
        facts->bad_length |= !parse_length (value, &facts->length);
    } else if (g_ascii_strcasecmp (name, "transfer-encoding") == 0) {
        facts->n_transfer++;
        facts->bad_transfer |= g_ascii_strcasecmp (value, "chunked") != 0;
    } else if (g_ascii_strcasecmp (name, "content-encoding") == 0) {
        gboolean gzip = g_ascii_strcasecmp (value, "gzip") == 0 || g_ascii_strcasecmp (value, "x-gzip") == 0;
        gboolean plain = *value == '\0' || g_ascii_strcasecmp (value, "identity") == 0;
        /* Two layers of encoding, in one field or two, are more than we undo. */
        facts->encoding = (facts->n_encoding++ || (!gzip && !plain)) ? HEAD_FOREIGN : gzip ? HEAD_GZIP : HEAD_IDENTITY;
    } else if (g_ascii_strcasecmp (name, "expect") == 0) {
        facts->expects_continue |= g_ascii_strcasecmp (value, "100-continue") == 0;
    }
}

const char *
head_facts_judge (const HeadFacts *facts, const char *target, const char *version)
{
    gboolean is_1_0 = strcmp (version, "HTTP/1.0") == 0;
    if (*target == '\0' || strpbrk (target, " \t"))
        return "the request target is malformed";
    if (facts->bad_field)
        return "a header field is malformed";
    if (facts->n_host > 1)
        return "more than one Host field";
    if (facts->n_host == 0 && !is_1_0)
        return "the Host field is missing";
    if (facts->n_length > 1)
        return "more than one Content-Length field";
    if (facts->bad_length)
        return "the Content-Length field is not a number";
    if (facts->n_transfer > 0 && facts->n_length > 0)
        return "both Content-Length and Transfer-Encoding";
    if (facts->n_transfer > 1 || facts->bad_transfer)
        return "a Transfer-Encoding other than chunked";
    if (facts->n_transfer > 0 && is_1_0)
        return "Transfer-Encoding in an HTTP/1.0 request";
    return NULL;
}

gboolean
head_facts_has_body (const HeadFacts *facts)
{
    return facts->n_transfer > 0 || facts->length > 0;
}

gboolean
head_list_has (const char *value, const char *token)
{
    gsize length = strlen (token);
    for (const char *at = value; at && *at;) {
        at += strspn (at, ", \t");
        gsize n = strcspn (at, ", \t");
        if (n == length && g_ascii_strncasecmp (at, token, n) == 0)
            return TRUE;
        at += n;
        at += strcspn (at, ",");
    }
    return FALSE;
}
