/* Is a request's head plain enough to be served?  Two servers that read one head differently can be played off against each
 * other, so whatever is not said exactly once and exactly right is refused before a byte of the body is read
 * (RFC 9112 3.2, 6.1-6.3; libraries.md 1, rule 4). */
#pragma once

#include <glib.h>

typedef enum {
    HEAD_IDENTITY, /* no Content-Encoding, or identity */
    HEAD_GZIP,
    HEAD_FOREIGN, /* one that we do not decode */
} HeadEncoding;

/* What the header fields say.  Starts zeroed; feed every field once, in order, then ask. */
typedef struct {
    guint n_host, n_length, n_transfer, n_encoding;
    gboolean bad_field;    /* a name that is no token, or a control character in a value */
    gboolean bad_length;   /* a Content-Length that is not 1*DIGIT below 2^63 */
    gboolean bad_transfer; /* a Transfer-Encoding other than `chunked` alone */
    guint64 length;        /* of the body, when n_length is 1 */
    HeadEncoding encoding;
    gboolean expects_continue;
} HeadFacts;

void head_facts_add (HeadFacts *facts, const char *name, const char *value);

/* Why the head is refused (a sentence for the client), or NULL when it is fine.  @version is "HTTP/1.1" or "HTTP/1.0". */
const char *head_facts_judge (const HeadFacts *facts, const char *target, const char *version);

/* A body follows. */
gboolean head_facts_has_body (const HeadFacts *facts);

/* The comma-separated list @value (NULL is empty) holds @token, in any case. */
gboolean head_list_has (const char *value, const char *token);
