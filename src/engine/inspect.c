/* inspect.c: what a GGUF file says about itself, read by a process that could do no harm if the file took it over.
 *
 * The head is bytes of strangers: counts and lengths of any size, types that do not fit, a file shorter than its own table.  So the
 * sandbox closes first, the header's counts meet a ceiling before ggml's reader sees them, every value is read by its type, and what
 * is printed has a length.  A file that is no good is an answer, {"path","ok":false,"reason"}; it never ends the run. */
#include "engine/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "engine/bridge.h"
#include "engine/sandbox.h"

#define MAX_TENSORS       (1u << 17)
#define MAX_PAIRS         (1u << 16)
#define MAX_ELEMENTS      1e15 /* of a tensor */
#define MAX_NAME_BYTES    1024 /* of a text that is passed on */
#define MAX_TEMPLATE_SIZE (256u * 1024)

typedef struct gguf_context Head;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Head, gguf_free)
typedef FILE File;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (File, fclose)

#define INSPECT_ERROR g_quark_from_static_string ("inspect")

/* ---- reading values by their type ---------------------------------------------------------------------------------------------- */

static int64_t
find (const Head *head, const char *key)
{
    return gguf_find_key (head, key);
}

/* A text, or NULL. */
static const char *
peek_text (const Head *head, const char *key)
{
    int64_t id = find (head, key);
    return id >= 0 && gguf_get_kv_type (head, id) == GGUF_TYPE_STRING ? gguf_get_val_str (head, id) : NULL;
}

/* Element @i of what is stored at @data. */
static gboolean
number_at (enum gguf_type type, const void *data, size_t i, double *value)
{
    switch (type) {
    case GGUF_TYPE_UINT8:
        return *value = ((const guint8 *) data)[i], TRUE;
    case GGUF_TYPE_INT8:
        return *value = ((const gint8 *) data)[i], TRUE;
    case GGUF_TYPE_UINT16:
        return *value = ((const guint16 *) data)[i], TRUE;
    case GGUF_TYPE_INT16:
        return *value = ((const gint16 *) data)[i], TRUE;
    case GGUF_TYPE_UINT32:
        return *value = ((const guint32 *) data)[i], TRUE;
    case GGUF_TYPE_INT32:
        return *value = ((const gint32 *) data)[i], TRUE;
    case GGUF_TYPE_UINT64:
        return *value = (double) ((const guint64 *) data)[i], TRUE;
    case GGUF_TYPE_INT64:
        return *value = (double) ((const gint64 *) data)[i], TRUE;
    case GGUF_TYPE_FLOAT32:
        return *value = (double) ((const float *) data)[i], TRUE;
    case GGUF_TYPE_FLOAT64:
        return *value = ((const double *) data)[i], TRUE;
    case GGUF_TYPE_BOOL:
        return *value = ((const gint8 *) data)[i] != 0, TRUE;
    default:
        return FALSE;
    }
}

/* A number; of an array, as some files give them per layer, the largest. */
static gboolean
peek_number (const Head *head, const char *key, double *value)
{
    int64_t id = find (head, key);
    if (id < 0)
        return FALSE;
    enum gguf_type type = gguf_get_kv_type (head, id);
    if (type != GGUF_TYPE_ARRAY)
        return type != GGUF_TYPE_STRING && number_at (type, gguf_get_val_data (head, id), 0, value);
    type = gguf_get_arr_type (head, id);
    size_t n = type == GGUF_TYPE_STRING ? 0 : gguf_get_arr_n (head, id);
    gboolean any = FALSE;
    for (size_t i = 0; i < n; i++) {
        double one;
        if (number_at (type, gguf_get_arr_data (head, id), i, &one) && (!any || one > *value))
            *value = one, any = TRUE;
    }
    return any;
}

static const char *
peek_element (const Head *head, const char *key, double index)
{
    int64_t id = find (head, key);
    if (id < 0 || gguf_get_kv_type (head, id) != GGUF_TYPE_ARRAY || gguf_get_arr_type (head, id) != GGUF_TYPE_STRING)
        return NULL;
    return index >= 0 && index < (double) gguf_get_arr_n (head, id) ? gguf_get_arr_str (head, id, (size_t) index)
                                                                    : NULL;
}

/* ---- members of the answer ---------------------------------------------------------------------------------------------------- */

static void
put_text (json_t *out, const char *member, const char *text)
{
    if (text && *text)
        json_set_text (out, member, text, strnlen (text, MAX_NAME_BYTES));
}

/* Whole numbers within what a double holds exactly; others are not what the key promises. */
static void
put_integer (json_t *out, const char *member, double value)
{
    if (value >= -9007199254740992.0 && value <= 9007199254740992.0)
        json_object_set_new (out, member, json_integer ((json_int_t) value));
}

static void
put_key (json_t *out, const char *member, const Head *head, const char *key)
{
    double value;
    if (peek_number (head, key, &value))
        put_integer (out, member, value);
}

/* Members of the answer and their keys below the architecture's name. */
static const struct {
    const char *member, *key;
} arch_keys[] = {
    { "n_ctx_train", "context_length" },
    { "n_layer", "block_count" },
    { "n_embd", "embedding_length" },
    { "n_head", "attention.head_count" },
    { "n_head_kv", "attention.head_count_kv" },
    { "n_embd_head", "attention.key_length" },
    { "n_expert", "expert_count" },
    { "n_expert_used", "expert_used_count" },
    { "n_layer_nextn", "nextn_predict_layers" },
    { "n_swa", "attention.sliding_window" },
    { "pooling", "pooling_type" },
};

static void
put_architecture (json_t *out, const Head *head, const char *arch)
{
    for (gsize i = 0; arch && i < G_N_ELEMENTS (arch_keys); i++) {
        g_autofree char *key = g_strdup_printf ("%.*s.%s", MAX_NAME_BYTES, arch, arch_keys[i].key);
        put_key (out, arch_keys[i].member, head, key);
    }
    gint64 width = json_peek_int (out, "n_embd", 0), heads = json_peek_int (out, "n_head", 0);
    if (!json_object_get (out, "n_embd_head") && width > 0 && heads > 0)
        put_integer (out, "n_embd_head", (double) (width / heads));
}

static void
put_split (json_t *out, const Head *head)
{
    json_t *split = json_object ();
    put_key (split, "no", head, "split.no");
    put_key (split, "count", head, "split.count");
    put_key (split, "tensors", head, "split.tensors.count");
    if (json_object_size (split) > 0)
        json_object_set (out, "split", split);
    json_decref (split);
}

static void
put_clip (json_t *out, const Head *head)
{
    double vision = 0, audio = 0;
    gboolean any = peek_number (head, "clip.has_vision_encoder", &vision);
    any = peek_number (head, "clip.has_audio_encoder", &audio) || any;
    if (any || g_strcmp0 (json_peek_string (out, "arch"), "clip") == 0)
        json_object_set_new (out, "clip", json_pack ("{s:b, s:b}", "vision", vision != 0, "audio", audio != 0));
}

/* The vocabulary by name, size and a hash over its texts: a draft model must have the same. */
static void
put_vocabulary (json_t *out, const Head *head)
{
    json_t *vocab = json_object ();
    put_text (vocab, "type", peek_text (head, "tokenizer.ggml.model"));
    put_text (vocab, "pre", peek_text (head, "tokenizer.ggml.pre"));
    if (peek_element (head, "tokenizer.ggml.tokens", 0)) {
        int64_t id = find (head, "tokenizer.ggml.tokens");
        size_t n = gguf_get_arr_n (head, id);
        g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
        for (size_t i = 0; i < n; i++) {
            const char *text = gguf_get_arr_str (head, id, i);
            g_checksum_update (sum, (const guchar *) text, strlen (text) + 1);
        }
        put_integer (vocab, "n", (double) n);
        put_text (vocab, "sha256", g_checksum_get_string (sum));
    }
    if (json_object_size (vocab) > 0)
        json_object_set (out, "vocab", vocab);
    json_decref (vocab);
}

/* What the model's maker recommends: general.sampling.* numbers, under their last names. */
static void
put_sampling (json_t *out, const Head *head)
{
    static const char *const names[] = { "temp",           "top_k",           "top_p",
                                         "min_p",          "xtc_probability", "xtc_threshold",
                                         "penalty_last_n", "penalty_repeat",  "mirostat",
                                         "mirostat_tau",   "mirostat_eta" };
    json_t *sampling = json_object ();
    for (gsize i = 0; i < G_N_ELEMENTS (names); i++) {
        g_autofree char *key = g_strconcat ("general.sampling.", names[i], NULL);
        double value;
        if (peek_number (head, key, &value))
            json_object_set_new (sampling, names[i], json_real (value)); /* NaN, infinity: no member */
    }
    if (json_object_size (sampling) > 0)
        json_object_set (out, "sampling", sampling);
    json_decref (sampling);
}

static const char *
special_token (const Head *head, const char *key)
{
    double id;
    const char *text = peek_number (head, key, &id) ? peek_element (head, "tokenizer.ggml.tokens", id) : NULL;
    return text ? text : "";
}

/* Renders the template with probes.  One that fails is a fact about the model, not a broken file. */
static void
put_template (json_t *out, const Head *head)
{
    const char *text = peek_text (head, "tokenizer.chat_template");
    if (!text || !*text)
        return;
    char *reason = NULL;
    g_autofree char *info = strlen (text) > MAX_TEMPLATE_SIZE
                                ? NULL
                                : lb_template_info (text, special_token (head, "tokenizer.ggml.bos_token_id"),
                                                    special_token (head, "tokenizer.ggml.eos_token_id"), &reason);
    g_autoptr (json_t) parsed = info ? json_parse (info, strlen (info), NULL) : NULL;
    if (parsed)
        json_object_set (out, "template", parsed);
    else
        put_text (out, "template_error", reason ? reason : "the chat template is too long");
    free (reason);
}

/* ---- the file ------------------------------------------------------------------------------------------------------------------ */

static gboolean
refuse (GError **error, const char *reason)
{
    g_set_error_literal (error, INSPECT_ERROR, 0, reason);
    return FALSE;
}

/* The 24 bytes before the first pair:  "GGUF" | u32 version | u64 tensors | u64 pairs, little-endian (version 1: u32 counts). */
static gboolean
check_header (FILE *file, GError **error)
{
    struct {
        char magic[4];
        guint32 version;
        guint64 n_tensors, n_pairs;
    } header;
    size_t n = fread (&header, 1, sizeof header, file);
    if (n < 4 || memcmp (header.magic, "GGUF", 4) != 0)
        return refuse (error, n == 0 ? "the file is empty" : "not a GGUF file");
    if (n < sizeof header)
        return refuse (error, "the file ends within its header");
    guint32 version = GUINT32_FROM_LE (header.version);
    if (version != 2 && version != 3) {
        g_set_error (error, INSPECT_ERROR, 0, "GGUF version %u is not supported", version);
        return FALSE;
    }
    if (GUINT64_FROM_LE (header.n_tensors) > MAX_TENSORS || GUINT64_FROM_LE (header.n_pairs) > MAX_PAIRS)
        return refuse (error, "the header's counts are absurd");
    rewind (file);
    return TRUE;
}

/* The table tells where every tensor lies; the file must be that long. */
static gboolean
check_tensors (json_t *out, const Head *head, guint64 file_size, GError **error)
{
    guint64 data = gguf_get_data_offset (head), needed = data;
    double n_params = 0;
    int64_t n = gguf_get_n_tensors (head);
    for (int64_t i = 0; i < n; i++) {
        const int64_t *ne = gguf_get_tensor_ne (head, i);
        double elements = 1;
        for (int d = 0; d < GGML_MAX_DIMS; d++)
            elements *= (double) ne[d];
        n_params += elements;
        guint64 end;
        if (elements > MAX_ELEMENTS || /* ggml's own product may have wrapped to nothing */
            !g_uint64_checked_add (&end, data, gguf_get_tensor_offset (head, i)) ||
            !g_uint64_checked_add (&end, end, gguf_get_tensor_size (head, i)))
            return refuse (error, "the tensor table's sizes are absurd");
        needed = MAX (needed, end);
    }
    put_integer (out, "n_tensors", (double) n);
    if (n > 0)
        put_integer (out, "n_params", n_params);
    if (needed > file_size) {
        g_set_error (error, INSPECT_ERROR, 0,
                     "the file is cut off: %" G_GUINT64_FORMAT " bytes of %" G_GUINT64_FORMAT " are there", file_size,
                     needed);
        return FALSE;
    }
    return TRUE;
}

static gboolean
read_head (json_t *out, FILE *file, guint64 file_size, GError **error)
{
    if (!check_header (file, error))
        return FALSE;
    char *reason = NULL;
    g_autoptr (Head) head = lb_gguf_open (file, &reason);
    if (!head) {
        g_set_error (error, INSPECT_ERROR, 0, "broken GGUF file: %s", reason);
        free (reason);
        return FALSE;
    }
    const char *arch = peek_text (head, "general.architecture"), *type = peek_text (head, "general.type");
    double part;
    gboolean later_part = peek_number (head, "split.no", &part) && part > 0; /* part 1 has the metadata of all */
    if (!(arch && *arch) && !(type && *type) && !later_part)
        return refuse (error, "the file names no architecture");
    put_text (out, "arch", arch);
    put_text (out, "type", type);
    put_text (out, "name", peek_text (head, "general.name"));
    put_text (out, "basename", peek_text (head, "general.basename"));
    put_text (out, "size_label", peek_text (head, "general.size_label"));
    put_key (out, "file_type", head, "general.file_type");
    put_architecture (out, head, arch);
    put_split (out, head);
    put_clip (out, head);
    if (!check_tensors (out, head, file_size, error))
        return FALSE;
    put_vocabulary (out, head);
    put_sampling (out, head);
    put_template (out, head);
    return TRUE;
}

static gboolean
inspect_file (json_t *out, const char *path, GError **error)
{
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    struct stat status;
    if (fd < 0 || fstat (fd, &status) != 0) {
        int saved = errno;
        if (fd >= 0)
            close (fd);
        return refuse (error, g_strerror (saved));
    }
    if (!S_ISREG (status.st_mode)) {
        close (fd);
        return refuse (error, "not a regular file");
    }
    g_autoptr (File) file = fdopen (fd, "rb");
    return read_head (out, file, (guint64) status.st_size, error);
}

static gboolean
print_line (const json_t *line)
{
    g_autofree char *text = json_print (line, NULL);
    return puts (text) >= 0 && fflush (stdout) == 0;
}

static gboolean
answer (const char *path)
{
    g_autoptr (json_t) line = json_object ();
    g_autoptr (GError) error = NULL;
    json_set_text (line, "path", path, strlen (path));
    json_object_set_new (line, "ok", json_true ());
    if (!inspect_file (line, path, &error)) {
        json_object_clear (line);
        json_set_text (line, "path", path, strlen (path));
        json_object_set_new (line, "ok", json_false ());
        json_set_text (line, "reason", error->message, strlen (error->message));
    }
    return print_line (line);
}

int
inspect_main (int n, char **files)
{
    lb_init ();
    g_autofree const char **paths = g_new0 (const char *, n + 1);
    for (int i = 0; i < n; i++)
        paths[i] = files[i];
    g_autoptr (GError) error = NULL;
    if (!sandbox_enter_model (paths, &error)) {
        g_printerr ("lms-engine: %s\n", error->message);
        return 1;
    }
    for (int i = 0; i < n; i++)
        if (!answer (files[i]))
            return 1;
    return 0;
}
