/* The two sums of RFC 6455 4.2.2 that both ends of a WebSocket handshake do. */
#pragma once

#include <glib.h>

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; the caller frees. */
char *handshake_accept (const char *key);
/* @key is the base64 of 16 bytes. */
gboolean handshake_key_is_valid (const char *key);
/* A fresh random key; the caller frees. */
char *handshake_new_key (void);
