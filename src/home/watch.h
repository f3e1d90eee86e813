/* Watching folders: one callback some time after the last change in any of them (spec: disk.md 1.1).
 *
 * inotify where the system lets us, and then nothing wakes up while nothing changes; a folder that can't be watched (missing, out of
 * watches, a network file system that refuses) turns on a tick every 2 s, at which the owner looks for itself.  Runs on the main context. */
#pragma once

#include <glib.h>

typedef struct Watch Watch;

#define WATCH_SETTLE_MS 300
#define WATCH_POLL_MS   2000

/* @changed runs WATCH_SETTLE_MS after the last event, but never later than ten times that after the first, and at every poll tick.
 * @names: only events on these file names count; NULL: all do.  Copied. */
Watch *watch_new (const char *const *names, void (*changed) (gpointer data), gpointer data);
void watch_free (Watch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Watch, watch_free)

/* The folders from now on, without those below them.  Those already watched go on being watched without a gap. */
void watch_set_folders (Watch *watch, const char *const *folders);

/* Is the 2 s tick on? */
gboolean watch_polls (Watch *watch);
