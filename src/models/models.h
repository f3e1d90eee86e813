/* Models at rest: what lies in the models folders, under which keys (spec: disk.md 4, http.md 2.1).
 *
 * The index answers from memory.  At start it is read from .internal/lmsd/index.json, then a scan in the pool compares it with the folders and
 * `lms-engine --inspect` is asked about what is new.  Folders are watched. */
#pragma once

#include <glib.h>

#include "base/json.h"
#include "home/settings.h"

typedef enum { MODEL_LLM, MODEL_EMBEDDING } ModelType;

/* One entry of the list.  Immutable; hold it with model_ref. */
typedef struct {
    ModelType type;
    char *key;    /* what users type */
    char *path;   /* relative to the models folder, '/' separators: publisher/model/file.gguf */
    char *file;   /* absolute: the file that an engine opens; split: part 1 */
    char **files; /* absolute: every file of the entry */
    char *format; /* "gguf", "safetensors" */
    char *publisher, *display_name;
    char *architecture, *params; /* or NULL */
    char *quant_name;            /* "Q4_K_M", or NULL */
    int quant_bits;
    guint64 size_bytes; /* all files */
    guint max_context;
    gboolean vision, tool_use;
    char *projector; /* absolute, or NULL */
    gint64 mtime;    /* Unix seconds of @file */
    json_t *inspect; /* what --inspect said, or NULL */
} Model;

const Model *model_ref (const Model *model);
void model_unref (const Model *model);

typedef struct Models Models;

/* @engine_path: the lms-engine to ask.  Starts the first scan. */
Models *models_new (SettingsStore *settings, const char *engine_path);
void models_free (Models *models);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Models, models_free)

/* Calls @ready when the first scan is through (at once if it is already).  Requests for an unknown name wait for it. */
void models_when_ready (Models *models, void (*ready) (gpointer data), gpointer data);
gboolean models_is_ready (Models *models);

/* All entries, sorted by key: an array of const Model *, lent until the next return to the loop. */
const GPtrArray *models_list (Models *models);

/* Key, key@quant, path of file or folder, alias, bare stem of a variant group; without case.  NULL is none.  Lent. */
const Model *models_find (Models *models, const char *name);

/* Files that are no usable model: {"path","reason"}, so that a request naming one gets the reason.  NULL is none. */
const char *models_find_bad (Models *models, const char *name);

/* Looks again now, and calls @done after that scan (may be NULL). */
void models_rescan (Models *models, void (*done) (gpointer data), gpointer data);
void models_on_changed (Models *models, void (*changed) (gpointer data), gpointer data);
