/* Asking `lms-engine --inspect` about files (spec: disk.md 4.2, engine.md 7): short-lived children read what may be hostile, so that the
 * daemon never does.  Runs on the main context.  Private to models/. */
#pragma once

#include "base/json.h"

#define INSPECT_FILES_A_CHILD 64
#define INSPECT_CHILDREN      2
#define INSPECT_FILE_MS       10000
#define INSPECT_MAX_LINE      ((gsize) 4 << 20)
#define INSPECT_MAX_ANSWER    ((gsize) 64 << 10) /* printed; what is kept for each file */
#define INSPECT_MEMORY        ((gsize) 1 << 30)

typedef struct Inspect Inspect;

typedef struct {
    const char *engine_path;
    guint file_ms; /* 0: INSPECT_FILE_MS */
    /* Once for each file, in any order: an object with "ok"; lent.  A child that died, hung or talked nonsense is {"ok":false,"reason"}. */
    void (*answer) (guint index, json_t *answer, gpointer data);
    /* The last call; @unusable: why the engine can't be asked at all, or NULL.  Then some files have no answer. */
    void (*done) (const char *unusable, gpointer data);
    gpointer data;
} InspectFuncs;

/* @files: absolute paths, copied.  Nothing is called before this returns. */
Inspect *inspect_new (const char *const *files, const InspectFuncs *funcs);
/* Ends the children; nothing is called any more.  To be called after done as well, also from within it. */
void inspect_free (Inspect *inspect);
