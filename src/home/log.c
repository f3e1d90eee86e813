/* log.c: one line, three readers.
 *
 *   log_line ─┬─▶ stderr                                INFO and above; DEBUG too with `verbose`
 *             ├─▶ server-logs/2026-11/2026-11-24.3.log  succinct: INFO and above, each cut short; full: everything
 *             └─▶ subscribers (`lms log stream`)        everything, on the main context
 *
 * A line is written with one write() as it is made, so a crash loses none.  Any thread may log: the two writes are under one lock,
 * and what a worker says reaches the subscribers by way of the loop. */
#include "home/home.h"
#include "home/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <glib/gstdio.h>

#define FILE_MAX_BYTES     ((gsize) 10 << 20)
#define TEXT_MAX_BYTES     ((gsize) 1 << 20) /* a logged body may be 64 MiB */
#define SUCCINCT_MAX_BYTES 1024

static const char *const level_names[] = { "DEBUG", "INFO", "WARN", "ERROR" };

typedef struct {
    guint id;
    void (*seen) (LogLevel level, const char *source, const char *text, gpointer data);
    gpointer data;
} Subscriber;

/* What the settings say; read by every thread. */
static gint verbose, sensitive = TRUE, file_mode = FILE_LOG_OFF, n_subscribers;

static GMutex lock; /* guards the four below */
static int file = -1;
static gsize file_bytes;
static char file_day[16]; /* "2026-11-24" */
static gboolean file_failed;

static GArray *subscribers; /* main thread only */
static guint last_id;
static GThread *main_thread;

/* ---- the day's file ---------------------------------------------------------------------------------------------------- */

/* The highest N of YYYY-MM-DD.N.log in @folder. */
static guint
highest_number (const char *folder, const char *day)
{
    guint highest = 0;
    g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name (dir));) {
        gsize n = strlen (day);
        guint64 number;
        if (strncmp (name, day, n) != 0 || name[n] != '.' || !g_str_has_suffix (name, ".log") || strlen (name) < n + 6)
            continue;
        g_autofree char *digits = g_strndup (name + n + 1, strlen (name) - n - 5);
        if (g_ascii_string_to_unsigned (digits, 10, 1, 1000000, &number, NULL))
            highest = MAX (highest, (guint) number);
    }
    return highest;
}

static void
close_file (void)
{
    if (file >= 0)
        close (file);
    file = -1;
}

/* Opens a file of its own for @day.  Under the lock.  Without a file the log goes on to the others. */
static void
open_file (const char *day)
{
    close_file ();
    g_strlcpy (file_day, day, sizeof file_day);
    file_bytes = 0;
    g_autofree char *folder = g_strdup_printf ("%s/server-logs/%.7s", home_peek (), day);
    gboolean made = g_mkdir_with_parents (folder, 0700) == 0;
    guint number = highest_number (folder, day);
    for (int tries = 0; made && file < 0 && tries < 100; tries++) {
        g_autofree char *path = g_strdup_printf ("%s/%s.%u.log", folder, day, ++number);
        file = open (path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
        if (file < 0 && errno != EEXIST)
            break;
    }
    if (file < 0 && !file_failed)
        dprintf (STDERR_FILENO, "No log file in %s: %s\n", folder, g_strerror (errno));
    file_failed = file < 0;
}

/* All of it or as much as goes; a log that fails must not stop what it tells of. */
static gboolean
put (int fd, const char *text, gsize length)
{
    while (length > 0) {
        gssize n = write (fd, text, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FALSE;
        text += n;
        length -= n;
    }
    return TRUE;
}

/* Whoever started us may not read what we say.  A pipe that has room takes PIPE_BUF bytes without making us wait; one that has none costs
 * the line, which is counted, and nobody else anything.  Under the lock. */
static void
put_stderr (const char *text, gsize length)
{
    static guint n_lost;
    struct pollfd err = { STDERR_FILENO, POLLOUT, 0 };
    char lost[64];
    if (n_lost > 0 && poll (&err, 1, 0) == 1 && (err.revents & POLLOUT)) {
        put (STDERR_FILENO, lost, g_snprintf (lost, sizeof lost, "(%u lines were not read and are lost)\n", n_lost));
        n_lost = 0;
    }
    for (gsize n; length > 0; text += n, length -= n) {
        n = MIN (length, PIPE_BUF);
        if (poll (&err, 1, 0) != 1 || !(err.revents & POLLOUT) || !put (STDERR_FILENO, text, n)) {
            n_lost++;
            return;
        }
    }
}

/* ---- a line ------------------------------------------------------------------------------------------------------------ */

/* Valid UTF-8 without control characters but tab and line break: what a model says must not move a terminal's cursor. */
static char *
clean (const char *text, gsize length)
{
    g_autofree char *valid = g_utf8_make_valid (text, length);
    GString *out = g_string_sized_new (strlen (valid));
    for (const char *c = valid; *c; c++) {
        if ((guchar) *c >= 0x20 && *c != 0x7f)
            g_string_append_c (out, *c);
        else if (*c == '\n' || *c == '\t')
            g_string_append_c (out, *c);
        else if (*c != '\r' || c[1] != '\n')
            g_string_append_printf (out, "\\x%02x", (guchar) *c);
    }
    return g_string_free (out, FALSE);
}

static gboolean
is_clean (const char *text)
{
    gboolean ascii = TRUE;
    for (const guchar *c = (const guchar *) text; *c; c++) {
        if ((*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
            return FALSE;
        ascii &= *c < 0x80;
    }
    return ascii || g_utf8_validate (text, -1, NULL);
}

/* @text up to @max bytes, on a character's border. */
static char *
cut (const char *text, gsize max)
{
    gsize length = strlen (text);
    if (length <= max)
        return g_strdup (text);
    const char *end = g_utf8_find_prev_char (text, text + max + 1);
    return g_strdup_printf ("%.*s... (%" G_GSIZE_FORMAT " bytes)", end ? (int) (end - text) : 0, text, length);
}

/* "2026-11-24 17:15:09"; local time is asked for once a second. */
static void
stamp (char into[32])
{
    static time_t last;
    static char text[32];
    time_t now = time (NULL);
    if (now != last) {
        struct tm local;
        localtime_r (&now, &local);
        strftime (text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
        last = now;
    }
    memcpy (into, text, sizeof text);
}

static void
write_out (LogLevel level, const char *source, const char *text)
{
    g_mutex_lock (&lock);
    char when[32];
    stamp (when);
    g_autoptr (GString) line = g_string_new (NULL);
    g_string_printf (line, "[%s][%s][%s] ", when, level_names[level], source ? source : "LM STUDIO SERVER");
    gsize head = line->len;
    g_string_append (line, text);
    g_string_append_c (line, '\n');
    if (level > LOG_DEBUG || g_atomic_int_get (&verbose))
        put_stderr (line->str, line->len);

    int mode = g_atomic_int_get (&file_mode);
    if (mode == FILE_LOG_FULL || (mode == FILE_LOG_SUCCINCT && level > LOG_DEBUG)) {
        if (mode == FILE_LOG_SUCCINCT && line->len - head > SUCCINCT_MAX_BYTES) {
            g_autofree char *shorter = cut (text, SUCCINCT_MAX_BYTES);
            g_string_truncate (line, head);
            g_string_append (line, shorter);
            g_string_append_c (line, '\n');
        }
        if (strncmp (file_day, when, 10) != 0 || file_bytes + line->len > FILE_MAX_BYTES) {
            char day[11];
            g_strlcpy (day, when, sizeof day);
            open_file (day);
        }
        if (file >= 0) {
            gboolean whole = put (file, line->str, line->len);
            if (!whole && !file_failed)
                dprintf (STDERR_FILENO, "The log file can't be written: %s\n", g_strerror (errno));
            file_failed = !whole;
            file_bytes += line->len;
        }
    }
    g_mutex_unlock (&lock);
}

/* ---- subscribers ------------------------------------------------------------------------------------------------------- */

typedef struct {
    LogLevel level;
    char *source, *text;
} Said;

static void
said_free (gpointer data)
{
    Said *said = data;
    g_free (said->source);
    g_free (said->text);
    g_free (said);
}

static void
hand_out (LogLevel level, const char *source, const char *text)
{
    static gboolean inside; /* a subscriber that logs does not hear itself */
    if (inside || !subscribers)
        return;
    inside = TRUE;
    /* By id, since one that hears a line may leave, or bring another. */
    g_autoptr (GArray) now = g_array_copy (subscribers);
    for (guint i = 0; i < now->len; i++) {
        const Subscriber *subscriber = &g_array_index (now, Subscriber, i);
        for (guint k = 0; k < subscribers->len; k++)
            if (g_array_index (subscribers, Subscriber, k).id == subscriber->id) {
                subscriber->seen (level, source, text, subscriber->data);
                break;
            }
    }
    inside = FALSE;
}

static gboolean
hand_out_said (gpointer data)
{
    Said *said = data;
    hand_out (said->level, said->source, said->text);
    return G_SOURCE_REMOVE;
}

guint
log_subscribe (void (*seen) (LogLevel level, const char *source, const char *text, gpointer data), gpointer data)
{
    if (!subscribers)
        subscribers = g_array_new (FALSE, FALSE, sizeof (Subscriber));
    if (!main_thread)
        main_thread = g_thread_self ();
    Subscriber subscriber = { ++last_id, seen, data };
    g_array_append_val (subscribers, subscriber);
    g_atomic_int_set (&n_subscribers, subscribers->len);
    return subscriber.id;
}

void
log_unsubscribe (guint id)
{
    for (guint i = 0; subscribers && i < subscribers->len; i++)
        if (g_array_index (subscribers, Subscriber, i).id == id) {
            g_array_remove_index (subscribers, i);
            break;
        }
    g_atomic_int_set (&n_subscribers, subscribers ? subscribers->len : 0);
    if (subscribers && subscribers->len == 0)
        g_clear_pointer (&subscribers, g_array_unref);
}

/* ---- the front --------------------------------------------------------------------------------------------------------- */

gboolean
log_wants (LogLevel level)
{
    return level > LOG_DEBUG || g_atomic_int_get (&verbose) || g_atomic_int_get (&n_subscribers) > 0 ||
           g_atomic_int_get (&file_mode) == FILE_LOG_FULL;
}

static void
say (LogLevel level, const char *source, const char *text)
{
    g_autofree char *shorter = cut (text, TEXT_MAX_BYTES);
    g_autofree char *cleaned = is_clean (shorter) ? NULL : clean (shorter, strlen (shorter));
    const char *final = cleaned ? cleaned : shorter;
    write_out (level, source, final);
    if (g_atomic_int_get (&n_subscribers) == 0)
        return;
    if (g_thread_self () == main_thread) {
        hand_out (level, source, final);
        return;
    }
    Said *said = g_new (Said, 1);
    *said = (Said){ level, g_strdup (source), g_strdup (final) };
    /* Not g_main_context_invoke: while the loop is not running, that would call from this thread. */
    g_idle_add_full (G_PRIORITY_DEFAULT, hand_out_said, said, said_free);
}

void
log_line (LogLevel level, const char *source, const char *format, ...)
{
    if (!log_wants (level))
        return;
    va_list args;
    va_start (args, format);
    g_autofree char *text = g_strdup_vprintf (format, args);
    va_end (args);
    say (level, source, text);
}

char *
log_sensitive (const char *text, gsize length)
{
    if (g_atomic_int_get (&sensitive))
        return g_strndup (text, length);
    return g_strdup_printf ("<%" G_GSIZE_FORMAT " bytes>", length);
}

/* What GLib and we say by g_warning and its sisters becomes a line like any other. */
static GLogWriterOutput
from_glib (GLogLevelFlags flags, const GLogField *fields, gsize n_fields, gpointer data)
{
    LogLevel level = flags & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL) ? LOG_ERROR
                     : flags & G_LOG_LEVEL_WARNING                      ? LOG_WARN
                     : flags & G_LOG_LEVEL_MESSAGE                      ? LOG_INFO
                                                                        : LOG_DEBUG;
    if (!log_wants (level))
        return G_LOG_WRITER_HANDLED;
    g_autofree char *message = NULL, *domain = NULL;
    for (gsize i = 0; i < n_fields; i++) {
        char **into = strcmp (fields[i].key, "MESSAGE") == 0       ? &message
                      : strcmp (fields[i].key, "GLIB_DOMAIN") == 0 ? &domain
                                                                   : NULL;
        if (into && !*into)
            *into = fields[i].length < 0 ? g_strdup (fields[i].value) : g_strndup (fields[i].value, fields[i].length);
    }
    g_autofree char *text = domain ? g_strdup_printf ("%s: %s", domain, message) : g_steal_pointer (&message);
    say (level, NULL, text ? text : "");
    return G_LOG_WRITER_HANDLED;
}

static void
take_settings (const Settings *settings, gpointer data)
{
    g_atomic_int_set (&verbose, settings->verbose);
    g_atomic_int_set (&sensitive, settings->log_sensitive);
    g_atomic_int_set (&file_mode, settings->file_log);
}

void
log_open (SettingsStore *store)
{
    static gboolean routed;
    main_thread = g_thread_self ();
    if (!routed)
        g_log_set_writer_func (from_glib, NULL, NULL); /* GLib allows this once in a program's life */
    routed = TRUE;
    if (!store)
        return;
    take_settings (settings_get (store), NULL);
    settings_on_changed (store, take_settings, NULL);
}

void
log_close (void)
{
    g_atomic_int_set (&file_mode, FILE_LOG_OFF);
    g_mutex_lock (&lock);
    close_file ();
    file_day[0] = '\0';
    g_mutex_unlock (&lock);
}
