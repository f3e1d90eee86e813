/* What can go wrong, and how each family says it (spec: http.md 1.4, 1.7).
 *
 * Code that finds a mistake fills an ApiError: a kind, a sentence, the field.  Status, codes and types are a table's business, the
 * shape of the body the family's. */
#pragma once

#include "chat/chat.h"

typedef enum { FAMILY_OPENAI, FAMILY_ANTHROPIC, FAMILY_V0, FAMILY_V1 } ApiFamily;

typedef enum {
    API_OK,
    /* 400 */
    API_INVALID, /* no code: a sentence is all there is */
    API_INVALID_JSON,
    API_MISSING,
    API_INVALID_TYPE,
    API_INVALID_VALUE,
    API_UNRECOGNIZED_KEYS,
    API_CONTEXT_LENGTH,
    API_LOAD_FAILED,
    API_MEMORY,
    API_UNSUPPORTED_MODEL,
    API_UNSUPPORTED_CONTENT,
    /* 403 */
    API_CORS_DISABLED,
    API_HOST_NOT_ALLOWED,
    /* 404, 405 */
    API_MODEL_NOT_FOUND,
    API_NOT_FOUND,
    API_WRONG_METHOD,
    /* what net refuses */
    API_BAD_REQUEST,
    API_REQUEST_TIMEOUT,
    API_TOO_LARGE,
    API_MEDIA_TYPE,
    API_HEAD_TOO_LARGE,
    /* 5xx */
    API_ENGINE,
    API_UNLOADED,
    API_NOT_IMPLEMENTED,
    API_OVERLOADED,
    API_SHUTTING_DOWN,
    N_API_ERRORS
} ApiErrorKind;

/* The zero value is "no error". */
typedef struct {
    ApiErrorKind kind;
    char *message;       /* a sentence for the user; owned */
    char *param;         /* the field that is wrong, or NULL; owned */
    int n_prompt, n_ctx; /* with API_CONTEXT_LENGTH: anthropic words it differently */
} ApiError;

void api_error_clear (ApiError *error);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ApiError, api_error_clear)

/* Fills an empty @error (NULL: nobody wants to know) and returns FALSE, so that `return api_error_set (..)` reads well.  @param may be NULL. */
gboolean
api_error_set (ApiError *error, ApiErrorKind kind, const char *param, const char *format, ...) G_GNUC_PRINTF (4, 5);

/* What a request's failure is at the API's edge. */
void api_error_from_failure (ApiError *error, const ChatFailure *failure);

guint api_error_status (const ApiError *error, ApiFamily family);
/* x-should-retry: "true", "false", or NULL where the status says it already. */
const char *api_error_should_retry (const ApiError *error);
/* Retry-After in seconds; 0 is none. */
guint api_error_retry_after (const ApiError *error);

/* Appends the whole body of an error answer. */
void api_error_print (const ApiError *error, ApiFamily family, const char *request_id, GString *out);
/* Appends the event that ends a stream of @family whose headers are out already (http.md 1.8). */
void api_error_print_event (const ApiError *error, ApiFamily family, GString *out);
