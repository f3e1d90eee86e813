/* home/log: the form of a line, the files, who hears what (http.md 1.10, disk.md 2). */
#include "home/home.h"
#include "home/log.h"

#include "folder.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static char *sandbox;
static char month[8], day[11];

static void
configure (const char *http)
{
    folder_put (sandbox, "home/.internal/http-server-config.json", http);
}

static char *
day_file (guint n)
{
    g_autofree char *relative = g_strdup_printf ("home/server-logs/%s/%s.%u.log", month, day, n);
    return folder_get (sandbox, relative);
}

static void
clear (void)
{
    g_autofree char *logs = g_build_filename (sandbox, "home/server-logs", NULL);
    folder_remove (logs);
}

static void
test_form_and_numbers (void)
{
    clear ();
    configure ("{}");
    for (guint n = 1; n <= 2; n++) { /* a restart takes the next number */
        g_autoptr (SettingsStore) store = settings_store_new ();
        log_open (store);
        log_line (LOG_INFO, NULL, "started %u", n);
        log_line (LOG_WARN, "qwen3-8b", "two\nlines");
        log_line (LOG_DEBUG, NULL, "not in a succinct file");
        log_close ();
        g_autofree char *text = day_file (n);
        g_assert_nonnull (text);
        g_autofree char *pattern =
            g_strdup_printf ("^\\[%s \\d\\d:\\d\\d:\\d\\d\\]\\[INFO\\]\\[LM STUDIO SERVER\\] started %u\n"
                             "\\[%s \\d\\d:\\d\\d:\\d\\d\\]\\[WARN\\]\\[qwen3-8b\\] two\nlines\n$",
                             day, n, day);
        g_assert_true (g_regex_match_simple (pattern, text, 0, 0));
    }
    g_autofree char *logs = g_build_filename ("home/server-logs", month, NULL);
    g_assert_cmpuint (folder_count (sandbox, logs, "*"), ==, 2);
}

static void
test_a_full_file_is_followed (void)
{
    clear ();
    configure ("{\"fileLoggingMode\":\"full\"}");
    g_autoptr (SettingsStore) store = settings_store_new ();
    log_open (store);
    g_autofree char *big = g_strnfill (900 * 1000, 'x');
    for (int i = 0; i < 13; i++) /* 11.7 MB of DEBUG, which stderr does not see */
        log_line (LOG_DEBUG, NULL, "%s", big);
    log_close ();
    g_autofree char *first = day_file (1), *second = day_file (2), *third = day_file (3);
    g_assert_cmpuint (strlen (first), >, 9 << 20);
    g_assert_cmpuint (strlen (first), <=, 10 << 20);
    g_assert_cmpuint (strlen (second), >, 900 * 1000);
    g_assert_null (third);
}

static void
test_modes (void)
{
    clear ();
    configure ("{\"fileLoggingMode\":\"off\"}");
    g_autoptr (SettingsStore) off = settings_store_new ();
    log_open (off);
    g_assert_false (log_wants (LOG_DEBUG));
    log_line (LOG_ERROR, NULL, "to stderr only");
    log_close ();
    g_autofree char *none = day_file (1);
    g_assert_null (none);

    configure ("{}");
    g_autoptr (SettingsStore) succinct = settings_store_new ();
    log_open (succinct);
    g_assert_false (log_wants (LOG_DEBUG));
    g_autoptr (GString) body = g_string_new ("body: ");
    for (int i = 0; i < 2000; i++)
        g_string_append (body, "\xE2\x82\xAC"); /* cut within one of these it would be no UTF-8 */
    log_line (LOG_INFO, NULL, "%s", body->str);
    log_close ();
    g_autofree char *text = day_file (1);
    g_assert_cmpuint (strlen (text), <, 1200);
    g_assert_true (g_str_has_suffix (text, "\xE2\x82\xAC... (6006 bytes)\n"));
    g_assert_true (g_utf8_validate (text, -1, NULL));

    configure ("{\"fileLoggingMode\":\"full\"}");
    g_autoptr (SettingsStore) full = settings_store_new ();
    log_open (full);
    g_assert_true (log_wants (LOG_DEBUG));
    log_line (LOG_DEBUG, NULL, "%s", body->str);
    log_close ();
    g_autofree char *whole = day_file (2);
    g_assert_nonnull (strstr (whole, body->str));
}

static void
test_sensitive (void)
{
    configure ("{\"logSensitiveData\":false}");
    g_autoptr (SettingsStore) store = settings_store_new ();
    log_open (store);
    g_autofree char *hidden = log_sensitive ("my secret", 9);
    g_assert_cmpstr (hidden, ==, "<9 bytes>");
    log_close ();
    configure ("{}");
    g_autoptr (SettingsStore) open = settings_store_new ();
    log_open (open);
    g_autofree char *shown = log_sensitive ("my secret", 2);
    g_assert_cmpstr (shown, ==, "my");
    log_close ();
}

static GString *heard;
static guint late;

static void
hear (LogLevel level, const char *source, const char *text, gpointer data)
{
    g_string_append_printf (heard, "%d %s %s;", level, source ? source : "-", text);
    log_line (LOG_INFO, NULL, "from a subscriber"); /* must not come back */
    if (data)
        log_unsubscribe (*(guint *) data);
}

static void
test_subscribers (void)
{
    heard = g_string_new (NULL);
    guint other = 0;
    g_assert_false (log_wants (LOG_DEBUG));
    guint id = log_subscribe (hear, &other);
    other = log_subscribe (hear, NULL);
    g_assert_true (log_wants (LOG_DEBUG));
    log_line (LOG_DEBUG, "m", "a"); /* the first ends the second before that one hears it */
    g_assert_cmpstr (heard->str, ==, "0 m a;");
    log_unsubscribe (id);
    log_line (LOG_INFO, NULL, "b");
    g_assert_cmpstr (heard->str, ==, "0 m a;");
    g_assert_false (log_wants (LOG_DEBUG));
    g_string_free (heard, TRUE);
}

static gpointer
log_from_a_thread (gpointer data)
{
    log_line (LOG_WARN, "pool", "from afar");
    return NULL;
}

static void
note_thread (LogLevel level, const char *source, const char *text, gpointer data)
{
    g_assert_true (data == g_thread_self ());
    late++;
}

static void
test_other_threads_reach_the_loop (void)
{
    guint id = log_subscribe (note_thread, g_thread_self ());
    g_thread_join (g_thread_new ("log", log_from_a_thread, NULL));
    while (g_main_context_iteration (NULL, FALSE))
        ;
    g_assert_cmpuint (late, ==, 1);
    log_unsubscribe (id);
}

static void
test_text_is_made_harmless (void)
{
    clear ();
    configure ("{}");
    g_autoptr (SettingsStore) store = settings_store_new ();
    log_open (store);
    log_line (LOG_INFO, NULL, "%s", "red \x1b[31m bell\a tab\t bad \xff crlf\r\nend");
    log_close ();
    g_autofree char *text = day_file (1);
    g_assert_nonnull (strstr (text, "red \\x1b[31m bell\\x07 tab\t bad \xEF\xBF\xBD crlf\nend\n"));
}

/* Nobody reads our stderr: the pipe fills up, and the program goes on. */
static void
test_stderr_that_nobody_reads (void)
{
    int ends[2], before = dup (STDERR_FILENO);
    g_assert_cmpint (pipe (ends), ==, 0);
    g_assert_cmpint (dup2 (ends[1], STDERR_FILENO), >=, 0);
    g_autofree char *big = g_strnfill (10000, 'x');
    for (int i = 0; i < 100; i++) /* a pipe holds 64 KiB */
        log_line (LOG_INFO, NULL, "%s", big);
    char bytes[65536];
    g_assert_cmpint (read (ends[0], bytes, sizeof bytes), >, 30000);
    log_line (LOG_INFO, NULL, "again");
    gssize n = read (ends[0], bytes, sizeof bytes);
    dup2 (before, STDERR_FILENO);
    g_autofree char *end = g_strndup (bytes, MAX (n, 0));
    g_assert_nonnull (strstr (end, "lines were not read and are lost)\n["));
    g_assert_true (g_str_has_suffix (end, "again\n"));
    close (ends[0]);
    close (ends[1]);
    close (before);
}

static void
test_glib_speaks_through_it (void)
{
    clear ();
    configure ("{}");
    g_autoptr (SettingsStore) store = settings_store_new ();
    log_open (store);
    g_log_structured ("Dom", G_LOG_LEVEL_MESSAGE, "MESSAGE", "hello %d", 5);
    log_close ();
    g_autofree char *text = day_file (1);
    g_assert_nonnull (strstr (text, "][INFO][LM STUDIO SERVER] Dom: hello 5\n"));
}

int
main (int argc, char **argv)
{
    sandbox = folder_new ();
    g_autofree char *home = g_build_filename (sandbox, "home", NULL);
    g_setenv ("HOME", sandbox, TRUE);
    g_setenv ("LMS_HOME", home, TRUE);
    g_test_init (&argc, &argv, NULL);
    g_assert_nonnull (home_path (NULL));
    time_t now = time (NULL);
    struct tm local;
    localtime_r (&now, &local);
    strftime (month, sizeof month, "%Y-%m", &local);
    strftime (day, sizeof day, "%Y-%m-%d", &local);
    log_open (NULL);
    g_test_add_func ("/log/form-and-numbers", test_form_and_numbers);
    g_test_add_func ("/log/full-file", test_a_full_file_is_followed);
    g_test_add_func ("/log/modes", test_modes);
    g_test_add_func ("/log/sensitive", test_sensitive);
    g_test_add_func ("/log/subscribers", test_subscribers);
    g_test_add_func ("/log/threads", test_other_threads_reach_the_loop);
    g_test_add_func ("/log/harmless", test_text_is_made_harmless);
    g_test_add_func ("/log/unread-stderr", test_stderr_that_nobody_reads);
    g_test_add_func ("/log/glib", test_glib_speaks_through_it);
    int failed = g_test_run ();
    folder_remove (sandbox);
    g_free (sandbox);
    return failed;
}
