/* The home folder and the rules for files in it (spec: disk.md 1, 1.1, 2). */
#pragma once

#include <glib.h>

#include "base/json.h"

/* Decides once where <home> is: LMS_HOME, the pointer file, ~/.cache/lm-studio, ~/.lmstudio; makes it (0700) and .internal/lmsd, and
 * writes the pointer file where disk.md 1 says so.  The path lives as long as the program; NULL and @error when it can't be made. */
const char *home_path (GError **error);

/* The same decision, but nothing is made or written (`lms --help`, `server status`). */
const char *home_peek (void);

/* <home>/@relative; the caller frees. */
char *home_file (const char *relative);

/* A JSON file of ours: at most @max_bytes (0 = 16 MiB), a BOM is fine.  A missing file is NULL without an error.  One that does not
 * parse is renamed to NAME.corrupt-<unix time> and logged, then as missing. */
json_t *home_read_json (const char *path, gsize max_bytes, GError **error);

/* The same, but what parses and is no object (`[]`, `5`) counts as broken too. */
json_t *home_read_object (const char *path, gsize max_bytes, GError **error);

/* Reads, but leaves a broken file alone: for files of the official application, and for `lms`. */
json_t *home_peek_json (const char *path, gsize max_bytes);

/* Writes NAME.tmp-<pid> beside it, flushes, renames over it; two-space indent.  Folders are made (0700); @mode is the file's. */
gboolean home_write_json (const char *path, const json_t *value, int mode, GError **error);
gboolean home_write_text (const char *path, const char *text, gssize length, int mode, GError **error);
