/* The tables behind models_find and models_find_bad (spec: http.md 2.1, disk.md 4.5).  Pure.  Private to models/. */
#pragma once

#include "models/models.h"

/* An entry and the stem of its key. */
typedef struct {
    Model *model;
    char *stem;
} Named;

/* @names: lower-case name (owned) -> Model (lent).  A name that is there already stays.  @history: aliases (keys_assign). */
void naming_add_entries (GHashTable *names, const Named *entries, gsize n, GHashTable *history);
/* Only its path, and its absolute path. */
void naming_add_paths (GHashTable *names, Model *model);

/* @names: lower-case name (owned) -> Problem (lent): each of @bad by path, folder, stem and stem@quant. */
void naming_add_bad (GHashTable *names, const GPtrArray *bad);
