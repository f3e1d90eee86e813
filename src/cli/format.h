/* Numbers as people read them (spec: cli.md 1.8).  Pure; every result is the caller's to free. */
#pragma once

#include <glib.h>

char *format_size (guint64 bytes);       /* files, powers of 1000: "512 B", "84.11 MB" */
char *format_memory (guint64 bytes);     /* memory, powers of 1024: "0 Bytes", "65.68 GiB" */
char *format_elapsed (double seconds);   /* "742.00ms", "5.32s", "1m 5.00s", "1h 1m 1.00s" */
char *format_ttl (gint64 ms);            /* one unit: "45s", "12m", "1h", "2d" */
char *format_thousands (guint64 number); /* "131,072" */
