/* What file and folder names say: quantization, split parts, stem, size words (spec: disk.md 4.2-4.5).  Pure; names are UTF-8 here.
 * Private to models/. */
#pragma once

#include <glib.h>

/* A name on disk is bytes, a name in JSON is text.  UTF-8 stays itself; other bytes become %XX.  The caller frees. */
char *name_text (const char *bytes);

/* Lower case by Unicode, whatever the locale says.  The caller frees. */
char *name_lower (const char *text);

typedef struct {
    char *base;          /* without .gguf and the split suffix, case kept: "Qwen3-8B-Q8_0" */
    char *plain;         /* and without quantization and a trailing -GGUF: "Qwen3-8B"; "" when nothing else is there */
    char *quant;         /* upper case: "Q8_0"; or NULL */
    guint part, n_parts; /* 2, 3 for ..-00002-of-00003.gguf; else 0, 0 */
} NameParts;

/* @file_name ends in .gguf. */
void name_parse (const char *file_name, NameParts *parts);
void name_parts_clear (NameParts *parts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (NameParts, name_parts_clear)

/* An MLX folder's name without "-4bit" and "-GGUF", case kept.  The caller frees. */
char *name_of_mlx (const char *folder);

gboolean name_is_gguf (const char *name);
/* Files that somebody is still writing: never listed, never looked into. */
gboolean name_is_unfinished (const char *name);

/* What a name makes of a file whose metadata say nothing else. */
typedef enum { NAME_MODEL, NAME_PROJECTOR, NAME_SIDECAR, NAME_IGNORED } NameKind;
NameKind name_kind (const char *file_name);

/* "Q4_K_M" for 15; bit 1024 is masked off.  NULL: unknown. */
const char *quant_of_file_type (gint64 type);
/* The first number in the name; 0: none. */
int quant_bits (const char *name);
/* The place in the table of recommendations (disk.md 7.4), 0 the best; @small: below 1.5 B parameters, or an embedding model. */
guint quant_rank (const char *name, gboolean small);

/* `general.name` where it reads like a name, else made of @plain and the folder's spelling of it. */
char *name_display (const char *general_name, const char *plain, const char *folder);
/* "8B", "35B-A3B"; NULL when neither @size_label nor the name nor @n_params (0: unknown) tells. */
char *name_params (const char *size_label, const char *plain, guint64 n_params);
