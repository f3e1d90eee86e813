/* The list of models made from what was found and what --inspect said: entries, their names, and what became of every other file
 * (spec: disk.md 4.2-4.5).  Pure but for reading MLX folders.  Private to models/. */
#pragma once

#include "models/cache.h"
#include "models/models.h"
#include "models/scan.h"

typedef enum {
    BUCKET_MODELS, /* an entry's file, part or projector */
    BUCKET_CONFLICTS,
    BUCKET_UNCLASSIFIED,
    BUCKET_BAD,
    BUCKET_ASIDE, /* understood, and no model: sidecar drafter, projector without a model, importance matrix, adapter */
    BUCKET_PENDING, /* not yet known: still growing, or waiting for --inspect */
    N_BUCKETS
} Bucket;

typedef struct {
    GPtrArray *models;              /* Model, sorted by key */
    GPtrArray *loose;               /* Model: unclassified files that can be used, found by path, never listed */
    GHashTable *names;              /* lower-case name -> Model: keys, variants, paths, aliases, bare stems */
    GHashTable *bad_names;          /* lower-case name -> Problem of bad */
    GPtrArray *problems[N_BUCKETS]; /* Problem; NULL for BUCKET_MODELS */
    guint8 *bucket_of;              /* Bucket of scan->files[i] */
    gsize n_files;
    GPtrArray *wanted; /* ScanFile, the scan's: to be asked about; NULL once the asker took it */
    guint n_mlx_read;  /* folders whose JSON was read, not remembered */
} Catalog;

/* @cache: answers are looked up, MLX ones added, the history of names is brought up to date.  @no_engine: why nobody can be asked; then what
 * is not known is bad with that reason; else NULL. */
Catalog *catalog_new (const Scan *scan, Cache *cache, const char *no_engine);
void catalog_free (Catalog *catalog);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Catalog, catalog_free)

const Model *catalog_find (const Catalog *catalog, const char *name);
const char *catalog_find_bad (const Catalog *catalog, const char *name);
/* Would a client see another list? */
gboolean catalog_differs (const Catalog *a, const Catalog *b);
