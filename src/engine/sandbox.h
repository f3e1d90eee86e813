/* The engine gives up its rights in two steps, both without privileges (spec: engine.md 10).
 *
 *   sandbox_enter_model    after the backends are loaded, before the model file is opened: reads only below the given paths,
 *                          writes and creates nothing, no sockets, no exec, no fork, no new executable memory
 *   sandbox_enter_running  after the load and a first decode: no file is opened any more
 *
 * Landlock guards paths where the kernel has it, seccomp the system calls.  A refused call gives EACCES in debug builds and kills the
 * process in release builds (NDEBUG).  Sanitized builds permit what the checkers themselves need. */
#pragma once

#include <glib.h>

#define SANDBOX_ERROR (sandbox_error_quark ())
GQuark sandbox_error_quark (void);
enum { SANDBOX_ERROR_ORPHAN, SANDBOX_ERROR_SYSTEM };

/* First thing in main: dies with its parent (SIGKILL), no core dumps, no new privileges, not traceable (except in sanitized
 * builds), and all descriptors but 0 to 2 and @keep_fd (-1: none) closed.  @parent: process id of who started us, 0 when it does not
 * matter.  SANDBOX_ERROR_ORPHAN when the parent is gone already. */
gboolean sandbox_prepare (pid_t parent, int keep_fd, GError **error);

/* Stage 1.  @read_paths: NULL-terminated files and folders; one that does not exist is passed over (opening it will say so). */
gboolean sandbox_enter_model (const char *const *read_paths, GError **error);

/* Stage 2, on top of stage 1. */
gboolean sandbox_enter_running (GError **error);

/* 0, 1 or 2: what was entered.  For READY. */
int sandbox_level (void);
/* TRUE when Landlock holds the paths too. */
gboolean sandbox_has_landlock (void);
