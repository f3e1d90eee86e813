/* Finding the daemon, and waking it (spec: cli.md 1.3, 1.4). */
#pragma once

#include "cli/args.h"

#define DAEMON_ERROR (daemon_error_quark ())
GQuark daemon_error_quark (void);
enum { DAEMON_NOT_FOUND };

/* A daemon and how to talk to it. */
typedef struct {
    char *host;
    guint16 port;
    gboolean remote;  /* named by --host, --port or LMS_HOST: no key of ours, nothing is started */
    gboolean is_lmsd; /* answers the endpoints of sdk.md 6.10 */
    gboolean is_app;  /* the desktop application */
    gboolean unasked; /* known from its file alone: it has not answered yet */
    char *identifier; /* for the first frame (sdk.md 2.2) */
    char *passkey;
} Daemon;

void daemon_clear (Daemon *daemon);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Daemon, daemon_clear)

typedef enum {
    DAEMON_FIND, /* only look */
    DAEMON_WAKE, /* start one where none answers */
} DaemonWish;

/* The local daemon, whatever the flags say, and whether it was started by this call (@woken may be NULL).  FALSE and DAEMON_NOT_FOUND
 * when there is none, with the sentence for the user. */
gboolean daemon_find_local (DaemonWish wish, Daemon *daemon, gboolean *woken, GError **error);

/* What LMS_HOST, --host and --port ask for; without them the local daemon.  @trust_file: a daemon that its file names as lmsd and alive
 * is returned `unasked`, which saves a connection; whoever then cannot connect calls again without. */
gboolean daemon_find (const Args *args, DaemonWish wish, gboolean trust_file, Daemon *daemon, GError **error);

/* Where the flags and LMS_HOST point to, without asking anybody.  FALSE: they say nothing (@host NULL, @port 0).  Errors in them are
 * said in @error, which then is set.  The caller frees @host. */
gboolean daemon_named (const Args *args, char **host, guint16 *port, GError **error);

/* The program to start when no daemon runs: an install file of this home, else lmsd beside this program, else in PATH.  @folder may be
 * NULL.  The caller frees all; NULL when there is none. */
char *daemon_program (gboolean *is_app, char **folder);

/* GET /lmstudio-greeting at @host:@port says that a server answers there. */
gboolean daemon_greets (const char *host, guint16 port, guint timeout_ms);

/* Port and address of the HTTP server as <home>/.internal/http-server-config.json has them.  FALSE: no such file.  The caller frees
 * @address, which may be NULL. */
gboolean daemon_http_config (guint16 *port, char **address);
