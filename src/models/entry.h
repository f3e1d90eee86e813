/* One entry of the list, filled from its file's name and its --inspect answer (spec: disk.md 4.2-4.4).  Private to models/. */
#pragma once

#include "models/models.h"
#include "models/names.h"
#include "models/scan.h"

/* What a file is: metadata first, name second. */
typedef enum { KIND_LLM, KIND_EMBEDDING, KIND_PROJECTOR, KIND_SIDECAR, KIND_IGNORED } EntryKind;
EntryKind entry_kind (const char *file_name, const json_t *answer);

/* Everything but key, projector and the parts behind the first.  @parts: of the file's name; of an MLX folder only plain is read. */
Model *entry_new (const ScanFile *file, const NameParts *parts, const json_t *answer, EntryKind kind);

/* The lower-case stem of its key, with text-embedding- where it belongs; the caller frees. */
char *entry_stem (const Model *model, const NameParts *parts);

/* A part of a path below the models folder, by number from 0; "" when there is none.  The caller frees. */
char *path_part (const char *path, guint number);
