/* The daemon's log: lines to stderr, to <home>/server-logs, and to whoever streams them (spec: http.md 1.10, disk.md 2).
 *
 *   [2026-11-24 17:15:09][INFO][LM STUDIO SERVER] text */
#pragma once

#include <glib.h>

#include "home/settings.h"

typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;

/* Opens the day's file, YYYY-MM/YYYY-MM-DD.N.log, N being a new one; routes g_log to log_line.  @store may be NULL (tests: stderr only). */
void log_open (SettingsStore *store);
void log_close (void);

/* @source is an instance identifier, or NULL for the server.  Line breaks in the text stay. */
void log_line (LogLevel level, const char *source, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* FALSE: nobody would see a line of this level, so it need not be made. */
gboolean log_wants (LogLevel level);

/* A text that may be logged: itself when `logSensitiveData`, else "<N bytes>".  The caller frees. */
char *log_sensitive (const char *text, gsize length);

/* @seen gets every line while subscribed; the id ends it. */
guint log_subscribe (void (*seen) (LogLevel level, const char *source, const char *text, gpointer data), gpointer data);
void log_unsubscribe (guint id);
