/* The last rites of a connection whose peer may still be sending: closing a socket that holds unread bytes makes the kernel send a reset,
 * which can destroy the answer before the peer reads it (RFC 9112 9.6).  So the bytes are read and dropped for a moment first. */
#pragma once

#include <glib.h>

typedef struct Lingerers Lingerers;

Lingerers *lingerers_new (void);
void lingerers_free (Lingerers *lingerers); /* closes them all */

/* Keeps the connection of @fd open through a duplicate until the peer closes, two seconds or 64 MiB have passed, or too many others
 * linger.  @fd stays the caller's. */
void lingerers_add (Lingerers *lingerers, int fd);
