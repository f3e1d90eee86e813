/* .internal/lmsd/index.json: what --inspect said about each file as it then was, and which names were given (spec: disk.md 4.2, 4.5).
 * A cache: whatever in it is broken is asked anew.  Private to models/. */
#pragma once

#include "base/json.h"
#include "models/scan.h"

#define CACHE_MAX_BYTES ((gsize) 64 << 20)

typedef struct {
    GHashTable *known;   /* char *file as text -> private */
    GHashTable *history; /* char *name -> char *path: keys_assign */
    char *engine;     /* who answered: path, size, mtime.  Another engine may know more, so its cache starts empty. */
    gboolean changed; /* since it was read or written */
} Cache;

/* Never fails: without a usable file, and for another @engine, nothing is known. */
Cache *cache_read (const char *path, const char *engine);
/* Writes when something changed.  FALSE is logged and no harm. */
void cache_write (Cache *cache, const char *path);
void cache_free (Cache *cache);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Cache, cache_free)

/* The answer about this very state of the file, lent; NULL: not known. */
json_t *cache_find (Cache *cache, const ScanFile *file);
/* The answer about this path in whatever state it was, lent; NULL: none. */
json_t *cache_find_old (Cache *cache, const ScanFile *file);
/* Remembers @answer, which gets one reference more. */
void cache_put (Cache *cache, const ScanFile *file, json_t *answer);
/* Forgets the files that are not in @scan, unless that did not see all. */
void cache_prune (Cache *cache, const Scan *scan);

/* What tells one engine binary from another, for cache_read; the caller frees. */
char *cache_engine_mark (const char *engine_path);
