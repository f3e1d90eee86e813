/* Where <home> is: the decision of home_path without its memory, so that tests can ask it about any user (spec: disk.md 1).
 * Private to home/. */
#pragma once

#include <glib.h>

/* @lms_home: the value of LMS_HOME, or NULL; @user_home: the user's own folder, "~".  With @write the pointer file is written where
 * the rules say so; no other file is touched.  The caller frees.  NULL and @error (G_FILE_ERROR) only for an LMS_HOME that is not absolute. */
char *home_place (const char *lms_home, const char *user_home, gboolean write, GError **error);
