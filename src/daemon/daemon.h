/* The daemon: its lock, its two listeners, the files that tell others where it is (spec: sdk.md 1, disk.md 2, cli.md 1.4, 9). */
#pragma once

#include "api/api.h"

typedef struct Daemon Daemon;

/* Takes the home's lock, makes every part, opens the local API server, writes the files of sdk.md 1.3.  NULL with @runs_already (a lent
 * sentence) when another daemon holds the home, or with @error. */
Daemon *daemon_new (const char **runs_already, GError **error);
void daemon_free (Daemon *daemon);

/* Opens the HTTP server, or moves it.  @port -1: the last used one, else 1234; 0: a free one.  @done runs before this returns or later,
 * once, with NULL when the port is open. */
void daemon_start_http (Daemon *daemon, int port, const char *address, gboolean cors,
                        void (*done) (const GError *error, gpointer data), gpointer data);
/* Opens it as it was at the last end, if the user wants that (http.md 1.1, auto start). */
void daemon_restore_http (Daemon *daemon, void (*done) (const GError *error, gpointer data), gpointer data);

void daemon_run (Daemon *daemon); /* until daemon_quit */
void daemon_quit (Daemon *daemon);
