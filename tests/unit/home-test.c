/* home/: where the home folder is, and how files are read and replaced there (disk.md 1). */
#include "home/home.h"
#include "home/place.h"

#include "folder.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *sandbox; /* LMS_HOME is sandbox/home for the whole program */

typedef struct {
    char *user; /* a user's folder, empty */
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
    f->user = folder_new ();
}

static void
tear_down (Fixture *f, gconstpointer data)
{
    folder_remove (f->user);
    g_free (f->user);
}

static char *
below (const Fixture *f, const char *relative)
{
    g_autofree char *resolved = realpath (f->user, NULL);
    return g_build_filename (resolved, relative, NULL);
}

static void
test_lms_home_leaves_the_pointer_alone (Fixture *f, gconstpointer data)
{
    g_autofree char *home = home_place ("/some/where/../else", f->user, TRUE, NULL);
    g_assert_cmpstr (home, ==, "/some/else");
    g_assert_cmpuint (folder_count (f->user, ".", "*"), ==, 0);

    folder_put (f->user, ".lmstudio-home-pointer", "/not/this");
    g_autofree char *again = home_place ("/mine", f->user, TRUE, NULL);
    g_assert_cmpstr (again, ==, "/mine");
    g_autofree char *pointer = folder_get (f->user, ".lmstudio-home-pointer");
    g_assert_cmpstr (pointer, ==, "/not/this");
}

static void
test_relative_lms_home_is_refused (Fixture *f, gconstpointer data)
{
    g_autoptr (GError) error = NULL;
    g_assert_null (home_place ("some/where", f->user, TRUE, &error));
    g_assert_error (error, G_FILE_ERROR, G_FILE_ERROR_INVAL);
}

static void
test_the_old_cache_folder_wins (Fixture *f, gconstpointer data)
{
    folder_put (f->user, ".cache/lm-studio/settings.json", "{}");
    folder_put (f->user, ".lmstudio/settings.json", "{}");
    g_autofree char *home = home_place (NULL, f->user, TRUE, NULL);
    g_autofree char *expected = below (f, ".cache/lm-studio");
    g_assert_cmpstr (home, ==, expected);
    g_autofree char *pointer = folder_get (f->user, ".lmstudio-home-pointer");
    g_assert_cmpstr (pointer, ==, expected);
}

static void
test_the_default_is_written_to_the_pointer (Fixture *f, gconstpointer data)
{
    g_autofree char *peeked = home_place ("", f->user, FALSE, NULL);
    g_assert_cmpuint (folder_count (f->user, ".", "*"), ==, 0); /* a peek writes nothing */
    g_autofree char *home = home_place (NULL, f->user, TRUE, NULL);
    g_autofree char *expected = below (f, ".lmstudio");
    g_assert_cmpstr (peeked, ==, expected);
    g_assert_cmpstr (home, ==, expected);
    g_autofree char *pointer = folder_get (f->user, ".lmstudio-home-pointer");
    g_assert_cmpstr (pointer, ==, expected);
}

static void
test_a_pointer_with_a_newline (Fixture *f, gconstpointer data)
{
    folder_put (f->user, ".lmstudio-home-pointer", " /data/lm studio \r\n");
    g_autofree char *home = home_place (NULL, f->user, TRUE, NULL);
    g_assert_cmpstr (home, ==, "/data/lm studio");
}

/* Each is as no pointer; only what holds no text may be overwritten. */
static const struct {
    const char *text;
    gboolean replaced;
} no_pointers[] = { { "", TRUE }, { " \n\t", TRUE }, { "relative/path", FALSE } };

static void
test_what_is_no_pointer (Fixture *f, gconstpointer data)
{
    g_autofree char *expected = below (f, ".lmstudio");
    for (gsize i = 0; i < G_N_ELEMENTS (no_pointers); i++) {
        folder_put (f->user, ".lmstudio-home-pointer", no_pointers[i].text);
        g_autofree char *home = home_place (NULL, f->user, TRUE, NULL);
        g_assert_cmpstr (home, ==, expected);
        g_autofree char *after = folder_get (f->user, ".lmstudio-home-pointer");
        g_assert_cmpstr (after, ==, no_pointers[i].replaced ? expected : no_pointers[i].text);
    }
}

static void
test_the_user_folder_is_resolved (Fixture *f, gconstpointer data)
{
    folder_put (f->user, "real/.keep", "");
    g_autofree char *link = below (f, "link");
    g_assert_cmpint (symlink ("real", link), ==, 0);
    g_autofree char *home = home_place (NULL, link, FALSE, NULL);
    g_autofree char *expected = below (f, "real/.lmstudio");
    g_assert_cmpstr (home, ==, expected);
}

static void
test_home_path_makes_the_folders (void)
{
    g_autoptr (GError) error = NULL;
    const char *home = home_path (&error);
    g_assert_no_error (error);
    g_assert_cmpstr (home, ==, g_getenv ("LMS_HOME"));
    g_assert_true (home == home_path (NULL));
    struct stat st;
    g_assert_cmpint (stat (home, &st), ==, 0);
    g_assert_cmpint (st.st_mode & 0777, ==, 0700);
    g_autofree char *ours = home_file (".internal/lmsd");
    g_assert_true (g_file_test (ours, G_FILE_TEST_IS_DIR));
    g_assert_false (g_file_test (sandbox, G_FILE_TEST_IS_SYMLINK));
    g_assert_cmpuint (folder_count (sandbox, ".", ".lmstudio*"), ==, 0); /* disk-001: HOME is the sandbox */
}

static void
test_json_is_replaced_whole (Fixture *f, gconstpointer data)
{
    g_autofree char *path = below (f, "deep/er/a.json");
    g_autoptr (json_t) value = json_pack ("{s:i, s:[f, f, s]}", "z", 1, "a", 0.8, 2.0, "\xC3\xA4");
    g_autoptr (GError) error = NULL;
    g_assert_true (home_write_json (path, value, 0600, &error));
    g_assert_no_error (error);
    g_autofree char *text = folder_get (f->user, "deep/er/a.json");
    g_assert_cmpstr (text, ==, "{\n  \"z\": 1,\n  \"a\": [\n    0.8,\n    2.0,\n    \"\xC3\xA4\"\n  ]\n}\n");
    g_assert_cmpuint (folder_count (f->user, "deep/er", "*"), ==, 1); /* no .tmp is left */
    struct stat st;
    g_assert_cmpint (stat (path, &st), ==, 0);
    g_assert_cmpint (st.st_mode & 0777, ==, 0600);
    g_autoptr (json_t) read = home_read_json (path, 0, &error);
    g_assert_true (json_equal (read, value));
}

static void
test_reals_keep_every_bit (Fixture *f, gconstpointer data)
{
    g_autofree char *path = below (f, "a.json");
    g_autoptr (json_t) value = json_pack ("[f, f]", 0.1 + 0.2, 0.8);
    g_assert_true (home_write_json (path, value, 0600, NULL));
    g_autoptr (json_t) read = home_peek_json (path, 0);
    g_assert_true (json_equal (read, value));
}

static void
test_a_link_stays_a_link (Fixture *f, gconstpointer data)
{
    folder_put (f->user, "dotfiles/settings.json", "{}");
    g_autofree char *path = below (f, "settings.json");
    g_assert_cmpint (symlink ("dotfiles/settings.json", path), ==, 0);
    g_autoptr (json_t) value = json_pack ("{s:b}", "a", TRUE);
    g_assert_true (home_write_json (path, value, 0600, NULL));
    g_assert_true (g_file_test (path, G_FILE_TEST_IS_SYMLINK));
    g_autofree char *text = folder_get (f->user, "dotfiles/settings.json");
    g_assert_cmpstr (text, ==, "{\n  \"a\": true\n}\n");
}

static void
test_missing_is_no_error (Fixture *f, gconstpointer data)
{
    g_autofree char *path = below (f, "no/such.json");
    g_autoptr (GError) error = NULL;
    g_assert_null (home_read_json (path, 0, &error));
    g_assert_no_error (error);
}

static const struct {
    const char *text;
    gboolean object_only;
} broken[] = {
    { "", FALSE },           { "{\"a\":1", FALSE }, { "{\"a\":1} x", FALSE },
    { "\xff\xfe{}", FALSE }, { "[]", TRUE },        { "5", TRUE },
};

static void
test_broken_files_are_put_aside (Fixture *f, gconstpointer data)
{
    g_autofree char *path = below (f, "a.json");
    for (gsize i = 0; i < G_N_ELEMENTS (broken); i++) {
        folder_put (f->user, "a.json", broken[i].text);
        g_autoptr (GError) error = NULL;
        if (broken[i].object_only) {
            g_autoptr (json_t) value = home_read_json (path, 0, &error);
            g_assert_nonnull (value);
        }
        g_assert_null (home_read_object (path, 0, &error));
        g_assert_no_error (error);
        g_assert_false (g_file_test (path, G_FILE_TEST_EXISTS));
        g_assert_cmpuint (folder_count (f->user, ".", "a.json.corrupt-*"), ==, i + 1);
    }
}

static void
test_peeking_touches_nothing (Fixture *f, gconstpointer data)
{
    folder_put (f->user, "a.json", "{");
    g_autofree char *path = below (f, "a.json");
    g_assert_null (home_peek_json (path, 0));
    g_autofree char *text = folder_get (f->user, "a.json");
    g_assert_cmpstr (text, ==, "{");
}

static void
test_ceilings_and_odd_files (Fixture *f, gconstpointer data)
{
    folder_put (f->user, "big.json", "[1,2,3,4,5,6]");
    g_autofree char *big = below (f, "big.json");
    g_autoptr (GError) error = NULL;
    g_assert_null (home_read_json (big, 4, &error));
    g_assert_error (error, G_FILE_ERROR, G_FILE_ERROR_FAILED);
    g_assert_true (g_file_test (big, G_FILE_TEST_EXISTS)); /* too big is not broken */
    g_clear_error (&error);

    g_autofree char *fifo = below (f, "fifo.json");
    g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
    g_assert_null (home_read_json (fifo, 0, &error)); /* comes back at all */
    g_assert_nonnull (error);
    g_clear_error (&error);

    g_assert_null (home_read_json (f->user, 0, &error));
    g_assert_nonnull (error);
}

static void
test_a_failed_write_leaves_the_old_file (Fixture *f, gconstpointer data)
{
    folder_put (f->user, "a.json", "{}");
    folder_put (f->user, "file/.keep", "");
    g_autofree char *onto_folder = below (f, "file");
    g_autoptr (GError) error = NULL;
    g_assert_false (home_write_text (onto_folder, "x", -1, 0600, &error));
    g_assert_nonnull (error);
    g_assert_cmpuint (folder_count (f->user, ".", "*.tmp-*"), ==, 0);
    g_autoptr (json_t) no_json = json_object (); /* a tree that can't be printed */
    json_object_set_new (no_json, "self", json_real (1));
    g_clear_error (&error);
    g_autofree char *below_file = below (f, "a.json/b.json");
    g_assert_false (home_write_json (below_file, no_json, 0600, &error));
    g_assert_nonnull (error);
    g_autofree char *text = folder_get (f->user, "a.json");
    g_assert_cmpstr (text, ==, "{}");
}

#define ADD(name, function) g_test_add (name, Fixture, NULL, set_up, function, tear_down)

int
main (int argc, char **argv)
{
    sandbox = folder_new ();
    g_autofree char *home = g_build_filename (sandbox, "home", NULL);
    g_setenv ("HOME", sandbox, TRUE);
    g_setenv ("LMS_HOME", home, TRUE);
    g_test_init (&argc, &argv, NULL);
    ADD ("/disk-001/lms-home-leaves-the-pointer-alone", test_lms_home_leaves_the_pointer_alone);
    g_test_add_func ("/disk-001/home-path-makes-the-folders", test_home_path_makes_the_folders);
    ADD ("/disk-002/old-cache-folder-wins", test_the_old_cache_folder_wins);
    ADD ("/disk-003/pointer-with-a-newline", test_a_pointer_with_a_newline);
    ADD ("/home/relative-lms-home", test_relative_lms_home_is_refused);
    ADD ("/home/default-is-written", test_the_default_is_written_to_the_pointer);
    ADD ("/home/what-is-no-pointer", test_what_is_no_pointer);
    ADD ("/home/user-folder-is-resolved", test_the_user_folder_is_resolved);
    ADD ("/json-file/replaced-whole", test_json_is_replaced_whole);
    ADD ("/json-file/reals", test_reals_keep_every_bit);
    ADD ("/json-file/link-stays-a-link", test_a_link_stays_a_link);
    ADD ("/json-file/missing", test_missing_is_no_error);
    ADD ("/json-file/broken-is-put-aside", test_broken_files_are_put_aside);
    ADD ("/json-file/peek", test_peeking_touches_nothing);
    ADD ("/json-file/ceilings", test_ceilings_and_odd_files);
    ADD ("/json-file/failed-write", test_a_failed_write_leaves_the_old_file);
    int failed = g_test_run ();
    folder_remove (sandbox);
    g_free (sandbox);
    return failed;
}
