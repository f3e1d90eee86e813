/* ggml's backends: which CPU library computes, and how it speaks its last words (spec: engine.md 1).
 *
 * The engine pack holds one CPU library per x86 level beside libllama; the best that this machine can run is chosen by ggml, or one
 * by name in LMS_CPU ("zen4", "haswell", ..). */
#pragma once

#include <glib.h>

#define BACKEND_ERROR (backend_error_quark ())
GQuark backend_error_quark (void);
enum { BACKEND_ERROR_UNKNOWN, BACKEND_ERROR_UNUSABLE };

/* Loads the backends and silences the library's log (lb_init).  Before the sandbox, since it maps code.  @on_abort, may be NULL,
 * gets the text of a failed assertion before the process aborts; it must not allocate.  BACKEND_ERROR_UNKNOWN: LMS_CPU names a
 * library that the pack has not; the sentence lists those it has. */
gboolean backend_load (void (*on_abort) (const char *message), GError **error);

/* The CPU library in use: "zen4", "haswell", ..; "none" before backend_load, "builtin" where the library has no variants. */
const char *backend_cpu_name (void);

/* Folder of the library files; NULL when not found. */
const char *backend_folder (void);
