/* gguf: what files say about themselves, and what files do that were made to do harm.
 *
 * Each case is a file of some bytes, built here; a child of this process inspects it, in its sandbox, and must answer with one line of
 * JSON per file, whatever the bytes.  "disk-012" and the like are the checks of the specification that a case carries out. */
#include "engine/inspect.h"

#include "base/json.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *folder;

/* ---- building GGUF files ------------------------------------------------------------------------------------------------------- */

enum { T_U8, T_I8, T_U16, T_I16, T_U32, T_I32, T_F32, T_BOOL, T_STRING, T_ARRAY, T_U64, T_I64, T_F64 };

typedef struct {
    GByteArray *bytes;
    guint64 n_pairs, n_tensors;
} Gguf;

static void
put (Gguf *file, const void *data, gsize size)
{
    g_byte_array_append (file->bytes, data, size);
}

static void
put_u32 (Gguf *file, guint32 value)
{
    value = GUINT32_TO_LE (value);
    put (file, &value, 4);
}

static void
put_u64 (Gguf *file, guint64 value)
{
    value = GUINT64_TO_LE (value);
    put (file, &value, 8);
}

static void
put_text (Gguf *file, const char *text)
{
    put_u64 (file, strlen (text));
    put (file, text, strlen (text));
}

static void
begin (Gguf *file, guint32 version)
{
    *file = (Gguf){ .bytes = g_byte_array_new () };
    put (file, "GGUF", 4);
    put_u32 (file, version);
    put_u64 (file, 0); /* tensors, pairs: see finish */
    put_u64 (file, 0);
}

static void
pair (Gguf *file, const char *key, guint32 type)
{
    file->n_pairs++;
    put_text (file, key);
    put_u32 (file, type);
}

static void
pair_text (Gguf *file, const char *key, const char *value)
{
    pair (file, key, T_STRING);
    put_text (file, value);
}

static void
pair_u32 (Gguf *file, const char *key, guint32 value)
{
    pair (file, key, T_U32);
    put_u32 (file, value);
}

static void
pair_texts (Gguf *file, const char *key, const char *const *values)
{
    pair (file, key, T_ARRAY);
    put_u32 (file, T_STRING);
    put_u64 (file, g_strv_length ((char **) values));
    for (; *values; values++)
        put_text (file, *values);
}

static void
tensor (Gguf *file, const char *name, guint32 n_dims, const gint64 *ne, guint32 type, guint64 offset)
{
    file->n_tensors++;
    put_text (file, name);
    put_u32 (file, n_dims);
    for (guint32 i = 0; i < n_dims; i++)
        put_u64 (file, (guint64) ne[i]);
    put_u32 (file, type);
    put_u64 (file, offset);
}

/* Writes the counts, pads to 32 bytes, appends @data_size bytes, and saves; the path.  Frees @file's bytes. */
static char *
finish (Gguf *file, const char *name, gsize data_size)
{
    guint64 counts[2] = { GUINT64_TO_LE (file->n_tensors), GUINT64_TO_LE (file->n_pairs) };
    memcpy (file->bytes->data + 8, counts, 16);
    while (data_size && file->bytes->len % 32)
        put (file, "", 1);
    g_autofree guint8 *zeros = g_malloc0 (data_size);
    put (file, zeros, data_size);
    char *path = g_build_filename (folder, name, NULL);
    g_assert_true (g_file_set_contents (path, (const char *) file->bytes->data, file->bytes->len, NULL));
    g_byte_array_unref (file->bytes);
    return path;
}

static void
begin_model (Gguf *file)
{
    begin (file, 3);
    pair_text (file, "general.architecture", "llama");
}

/* ---- asking ------------------------------------------------------------------------------------------------------------------------ */

/* Inspects @paths in a child.  An array with one answer per path; the child must not die. */
static json_t *
inspect (const char *const *paths)
{
    int out[2];
    g_assert_cmpint (pipe (out), ==, 0);
    fflush (stdout);
    pid_t pid = fork ();
    g_assert_cmpint (pid, >=, 0);
    if (pid == 0) {
        dup2 (out[1], STDOUT_FILENO);
        close (out[0]);
        close (out[1]);
        int code = inspect_main ((int) g_strv_length ((char **) paths), (char **) paths);
        fflush (stdout);
        _exit (code);
    }
    close (out[1]);
    g_autoptr (GByteArray) bytes = g_byte_array_new ();
    guint8 buffer[65536];
    for (ssize_t n; (n = read (out[0], buffer, sizeof buffer)) > 0;)
        g_byte_array_append (bytes, buffer, n);
    close (out[0]);
    int status;
    g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
    if (!WIFEXITED (status) || WEXITSTATUS (status) != 0)
        g_error ("the inspection died (status %x) after: %.*s", status, (int) bytes->len, (const char *) bytes->data);

    json_t *answers = json_array ();
    const char *text = (const char *) bytes->data, *end = text + bytes->len;
    while (text < end) {
        const char *line_end = memchr (text, '\n', end - text);
        g_assert_nonnull (line_end);
        json_t *answer = json_parse (text, line_end - text, NULL);
        g_assert_true (json_is_object (answer));
        json_array_append_new (answers, answer);
        text = line_end + 1;
    }
    g_assert_cmpuint (json_array_size (answers), ==, g_strv_length ((char **) paths));
    return answers;
}

static json_t *
inspect_one (const char *path)
{
    g_autoptr (json_t) answers = inspect ((const char *const[]){ path, NULL });
    return json_incref (json_array_get (answers, 0));
}

static void
assert_refused (const char *path, const char *says)
{
    g_autoptr (json_t) answer = inspect_one (path);
    if (json_peek_bool (answer, "ok", TRUE) || !strstr (json_peek_string (answer, "reason"), says)) {
        g_autofree char *text = json_print (answer, NULL);
        g_error ("%s, not \"%s\"", text, says);
    }
}

static void
finish_and_refuse (Gguf *file, gsize data_size, const char *says)
{
    g_autofree char *path = finish (file, "bad.gguf", data_size);
    assert_refused (path, says);
}

/* ---- good files -------------------------------------------------------------------------------------------------------------------- */

static void
test_demo_model (void)
{
    g_autoptr (json_t) answer = inspect_one (DEMO_MODELS "/atelier-demo.gguf");
    g_assert_true (json_peek_bool (answer, "ok", FALSE));
    g_assert_cmpstr (json_peek_string (answer, "arch"), ==, "qwen3");
    g_assert_cmpint (json_peek_int (answer, "n_ctx_train", 0), ==, 2048);
    g_assert_cmpint (json_peek_int (answer, "n_layer", 0), ==, 6);
    g_assert_cmpint (json_peek_int (answer, "file_type", 0), ==, 7);
    g_assert_cmpint (json_peek_int (answer, "n_params", 0), ==, 2116416);
    json_t *template = json_object_get (answer, "template"), *vocab = json_object_get (answer, "vocab");
    g_assert_true (json_peek_bool (template, "tools", FALSE) && json_peek_bool (template, "tool_calls", FALSE));
    g_assert_cmpint (json_peek_int (vocab, "n", 0), ==, 1024);

    g_autoptr (json_t) draft = inspect_one (DEMO_MODELS "/atelier-demo-draft.gguf");
    g_assert_cmpstr (json_peek_string (vocab, "sha256"), ==,
                     json_peek_string (json_object_get (draft, "vocab"), "sha256"));
    g_autoptr (json_t) embedder = inspect_one (DEMO_MODELS "/atelier-demo-embed.gguf");
    g_assert_cmpint (json_peek_int (embedder, "pooling", 0), ==, 1);
    g_assert_null (json_object_get (embedder, "template"));
}

static char *
good_file (const char *name)
{
    Gguf file;
    begin_model (&file);
    pair_text (&file, "general.name", "Gut \xff Ding");
    pair_text (&file, "general.size_label", "8B");
    pair_u32 (&file, "general.file_type", 15);
    pair_u32 (&file, "llama.context_length", 4096);
    pair_u32 (&file, "llama.embedding_length", 64);
    pair_u32 (&file, "llama.attention.head_count", 4);
    pair (&file, "llama.attention.head_count_kv", T_ARRAY);
    put_u32 (&file, T_I32);
    put_u64 (&file, 3);
    for (guint32 i = 1; i <= 3; i++)
        put_u32 (&file, i);
    pair (&file, "general.sampling.temp", T_F32);
    float temp = 0.5f;
    put (&file, &temp, 4);
    pair (&file, "split.no", T_U16);
    put (&file, "\1", 2);
    pair (&file, "split.count", T_U16);
    put (&file, "\3", 2);
    pair (&file, "split.tensors.count", T_I32);
    put_u32 (&file, 7);
    pair_text (&file, "tokenizer.ggml.model", "gpt2");
    pair_texts (&file, "tokenizer.ggml.tokens", (const char *const[]){ "a", "<s>", "</s>", NULL });
    pair_u32 (&file, "tokenizer.ggml.bos_token_id", 1);
    pair_u32 (&file, "tokenizer.ggml.eos_token_id", 2);
    pair_text (&file, "tokenizer.chat_template",
               "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}");
    tensor (&file, "a", 2, (const gint64[]){ 4, 2 }, 0, 0);
    tensor (&file, "b", 1, (const gint64[]){ 8 }, 0, 32);
    return finish (&file, name, 64);
}

static void
test_good_file (void)
{
    g_autofree char *path = good_file ("good.gguf");
    g_autoptr (json_t) answer = inspect_one (path);
    g_autofree char *text = json_print (answer, NULL);
    g_test_message ("%s", text);
    g_assert_true (json_peek_bool (answer, "ok", FALSE));
    g_assert_cmpstr (json_peek_string (answer, "name"), ==, "Gut \xef\xbf\xbd Ding");
    g_assert_cmpstr (json_peek_string (answer, "size_label"), ==, "8B");
    g_assert_cmpint (json_peek_int (answer, "n_head_kv", 0), ==, 3); /* the largest of its layers */
    g_assert_cmpint (json_peek_int (answer, "n_embd_head", 0), ==, 16);
    g_assert_cmpint (json_peek_int (answer, "n_tensors", 0), ==, 2);
    g_assert_cmpint (json_peek_int (answer, "n_params", 0), ==, 16);
    json_t *split = json_object_get (answer, "split");
    g_assert_cmpint (json_peek_int (split, "no", -1), ==, 1);
    g_assert_cmpint (json_peek_int (split, "count", -1), ==, 3);
    g_assert_cmpint (json_peek_int (split, "tensors", -1), ==, 7);
    g_assert_cmpfloat (json_peek_number (json_object_get (answer, "sampling"), "temp", 0), ==, 0.5);
    json_t *template = json_object_get (answer, "template");
    g_assert_false (json_peek_bool (template, "tools", TRUE));
    g_assert_cmpstr (json_peek_string (template, "thinking"), ==, "none");
}

static void
test_projector (void)
{
    Gguf file;
    begin (&file, 3);
    pair_text (&file, "general.architecture", "clip");
    pair_text (&file, "general.type", "mmproj");
    pair (&file, "clip.has_vision_encoder", T_BOOL);
    put (&file, "\1", 1);
    g_autofree char *path = finish (&file, "mmproj.gguf", 0);
    g_autoptr (json_t) answer = inspect_one (path);
    g_assert_true (json_peek_bool (answer, "ok", FALSE));
    g_assert_cmpstr (json_peek_string (answer, "type"), ==, "mmproj");
    g_assert_true (json_peek_bool (json_object_get (answer, "clip"), "vision", FALSE));
    g_assert_false (json_peek_bool (json_object_get (answer, "clip"), "audio", TRUE));
}

/* A template that fails is a fact about the model, not a broken file. */
static void
test_failing_templates (void)
{
    g_autoptr (GString) deep = g_string_new ("{{ ");
    for (int i = 0; i < 100000; i++)
        g_string_append (deep, "((");
    const char *const templates[] = { "{% for %}", "{{ raise_exception('no') }}", "{% macro", deep->str };
    for (gsize i = 0; i < G_N_ELEMENTS (templates); i++) {
        Gguf file;
        begin_model (&file);
        pair_text (&file, "tokenizer.chat_template", templates[i]);
        g_autofree char *path = finish (&file, "template.gguf", 0);
        g_autoptr (json_t) answer = inspect_one (path);
        g_assert_true (json_peek_bool (answer, "ok", FALSE));
        g_assert_null (json_object_get (answer, "template"));
        g_assert_nonnull (json_peek_string (answer, "template_error"));
    }
}

/* Values of types that their keys do not promise are left out. */
static void
test_wrong_types (void)
{
    Gguf file;
    begin_model (&file);
    pair_u32 (&file, "general.name", 7);
    pair_text (&file, "general.file_type", "seven");
    pair_text (&file, "llama.context_length", "long");
    pair (&file, "llama.block_count", T_F64);
    double nan = __builtin_nan ("");
    put (&file, &nan, 8);
    pair (&file, "llama.embedding_length", T_U64);
    put_u64 (&file, G_MAXUINT64);
    pair (&file, "llama.expert_count", T_ARRAY);
    put_u32 (&file, T_U32);
    put_u64 (&file, 0);
    pair_texts (&file, "llama.attention.head_count", (const char *const[]){ "4", NULL });
    pair (&file, "general.sampling.temp", T_F32);
    float infinite = __builtin_inff ();
    put (&file, &infinite, 4);
    pair (&file, "tokenizer.ggml.tokens", T_ARRAY);
    put_u32 (&file, T_U32);
    put_u64 (&file, 1);
    put_u32 (&file, 1);
    pair_u32 (&file, "tokenizer.ggml.bos_token_id", G_MAXUINT32);
    pair_text (&file, "tokenizer.chat_template", "{{ bos_token }}");
    g_autofree char *path = finish (&file, "types.gguf", 0);
    g_autoptr (json_t) answer = inspect_one (path);
    g_assert_true (json_peek_bool (answer, "ok", FALSE));
    static const char *const absent[] = { "name",     "file_type", "n_ctx_train", "n_layer", "n_embd",
                                          "n_expert", "n_head",    "sampling",    "vocab" };
    for (gsize i = 0; i < G_N_ELEMENTS (absent); i++)
        if (json_object_get (answer, absent[i]))
            g_error ("%s is there", absent[i]);
}

/* ---- bad files ----------------------------------------------------------------------------------------------------------------------- */

static void
test_no_gguf (void)
{
    static const struct {
        const char *bytes;
        gsize size;
        const char *says;
    } cases[] = {
        { "", 0, "empty" },
        { "GG", 2, "not a GGUF" },
        { "GGUF", 4, "within its header" },
        { "Hello, I am a text.\n", 20, "not a GGUF" },
        { "<!DOCTYPE html>", 15, "not a GGUF" },
        { "GGUF\3\0\0\0\0\0\0\0", 12, "within its header" },
        { "GGUF\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "version 1 " },
        { "GGUF\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "version 4 " },
        { "GGUF\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "version" }, /* big-endian */
        { "GGUF\3\0\0\0\377\377\377\377\377\377\377\377\0\0\0\0\0\0\0\0", 24, "absurd" },
        { "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\177", 24, "absurd" },
        { "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0", 24, "broken" },
        { "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "no architecture" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
        g_autofree char *path = g_build_filename (folder, "bad.gguf", NULL);
        g_assert_true (g_file_set_contents (path, cases[i].bytes, cases[i].size, NULL));
        assert_refused (path, cases[i].says);
    }
}

static void
test_absurd_lengths (void)
{
    static const guint64 lengths[] = { 1u << 20, (guint64) 1 << 40, G_MAXINT64, G_MAXUINT64, G_MAXUINT64 - 7 };
    for (gsize i = 0; i < G_N_ELEMENTS (lengths); i++) {
        Gguf file;
        begin_model (&file); /* the length of a text */
        pair (&file, "general.name", T_STRING);
        put_u64 (&file, lengths[i]);
        finish_and_refuse (&file, 0, "broken");

        begin_model (&file); /* of a key */
        file.n_pairs++;
        put_u64 (&file, lengths[i]);
        finish_and_refuse (&file, 0, "broken");

        for (guint32 type = T_U8; type <= T_F64; type++) { /* of an array, of every type */
            begin_model (&file);
            pair (&file, "x", T_ARRAY);
            put_u32 (&file, type);
            put_u64 (&file, lengths[i]);
            finish_and_refuse (&file, 64, "broken");
        }

        begin_model (&file); /* of a tensor's name */
        file.n_tensors++;
        put_u64 (&file, lengths[i]);
        finish_and_refuse (&file, 0, "broken");
    }
}

static void
test_absurd_pairs (void)
{
    Gguf file;
    begin_model (&file);
    pair (&file, "x", 99);
    finish_and_refuse (&file, 64, "broken");
    begin_model (&file);
    pair_u32 (&file, "", 1);
    finish_and_refuse (&file, 64, "broken");
    begin_model (&file);
    pair_text (&file, "general.architecture", "again");
    finish_and_refuse (&file, 64, "duplicate");
    begin_model (&file);
    pair_u32 (&file, "general.alignment", 3);
    finish_and_refuse (&file, 64, "power of 2");
    begin_model (&file);
    pair_u32 (&file, "general.alignment", 0);
    finish_and_refuse (&file, 64, "broken");
    begin_model (&file);
    pair_text (&file, "general.alignment", "32");
    finish_and_refuse (&file, 64, "broken");
    begin_model (&file); /* an array of arrays */
    pair (&file, "x", T_ARRAY);
    put_u32 (&file, T_ARRAY);
    put_u64 (&file, 2);
    finish_and_refuse (&file, 64, "broken");
}

static void
test_absurd_tensors (void)
{
    static const struct {
        guint32 n_dims;
        gint64 ne[5];
        guint32 type;
        guint64 offset;
        const char *says;
    } cases[] = {
        { 1, { 8 }, 0, 0, "cut off" },                           /* 32 bytes, none there */
        { 1, { G_GINT64_CONSTANT (1) << 40 }, 0, 0, "cut off" }, /* and many more */
        { 5, { 1, 1, 1, 1, 1 }, 0, 0, "dimensions" },
        { 0xffffffff, { 1 }, 0, 0, "dimensions" },
        { 1, { -1 }, 0, 0, "broken" },
        { 4, { 1 << 20, 1 << 20, 1 << 20, 1 << 20 }, 0, 0, "absurd" }, /* the product has no room */
        { 2, { G_MAXINT64, 2 }, 0, 0, "broken" },
        { 1, { 8 }, 999, 0, "invalid ggml type" },
        { 1, { 8 }, 4, 0, "broken" },     /* a type that was removed */
        { 1, { 7 }, 8, 0, "block size" }, /* not whole blocks */
        { 1, { 8 }, 0, 64, "offset" },
        { 1, { 8 }, 0, G_MAXUINT64, "offset" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
        Gguf file;
        begin_model (&file);
        tensor (&file, "t", MIN (cases[i].n_dims, 5), cases[i].ne, cases[i].type, cases[i].offset);
        if (cases[i].n_dims > 5) { /* announce more than are there */
            guint8 *at = file.bytes->data + file.bytes->len - 4 - 8 - 5 * 8 - 4;
            memset (at, 0xff, 4);
        }
        while (file.bytes->len % 32)
            put (&file, "", 1);
        finish_and_refuse (&file, 0, cases[i].says);
    }
    Gguf file;
    begin_model (&file);
    g_autofree char *long_name = g_strnfill (200, 'n');
    tensor (&file, long_name, 1, (const gint64[]){ 8 }, 0, 0);
    finish_and_refuse (&file, 64, "too long");
}

/* disk-017: the head is cut at every byte; whatever is missing, the answer is a reason. */
static void
test_cut_everywhere (void)
{
    g_autofree char *whole = good_file ("whole.gguf");
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true (g_file_get_contents (whole, &bytes, &size, NULL));
    g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
    for (gsize i = 0; i < size; i++) {
        g_autofree char *name = g_strdup_printf ("cut-%04d.gguf", (int) i);
        g_ptr_array_add (paths, g_build_filename (folder, name, NULL));
        g_assert_true (g_file_set_contents (g_ptr_array_index (paths, i), bytes, (gssize) i, NULL));
    }
    g_ptr_array_add (paths, NULL);
    g_autoptr (json_t) answers = inspect ((const char *const *) paths->pdata);
    for (gsize i = 0; i < size; i++)
        if (json_peek_bool (json_array_get (answers, i), "ok", TRUE))
            g_error ("%d of %d bytes are enough", (int) i, (int) size);
    for (gsize i = 0; i < size; i++)
        g_unlink (g_ptr_array_index (paths, i));
}

/* Bytes changed at random: an answer for each, and the inspection lives on. */
static void
test_mutations (void)
{
    g_autofree char *whole = good_file ("whole.gguf");
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true (g_file_get_contents (whole, &bytes, &size, NULL));
    g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
    for (int i = 0; i < 400; i++) {
        g_autofree char *copy = g_memdup2 (bytes, size);
        for (int n = g_test_rand_int_range (1, 6); n > 0; n--)
            copy[g_test_rand_int_range (4, (gint32) size)] =
                (char) (g_test_rand_int_range (0, 3) ? g_test_rand_int_range (0, 256) : 0xff);
        g_autofree char *name = g_strdup_printf ("mutant-%d.gguf", i);
        g_ptr_array_add (paths, g_build_filename (folder, name, NULL));
        g_assert_true (g_file_set_contents (g_ptr_array_index (paths, i), copy, (gssize) size, NULL));
    }
    g_ptr_array_add (paths, NULL);
    g_autoptr (json_t) answers = inspect ((const char *const *) paths->pdata);
    g_assert_cmpuint (json_array_size (answers), ==, 400);
    for (int i = 0; i < 400; i++)
        g_unlink (g_ptr_array_index (paths, i));
}

static void
test_no_files (void)
{
    g_autofree char *fifo = g_build_filename (folder, "fifo.gguf", NULL),
                    *absent = g_build_filename (folder, "absent.gguf", NULL);
    g_autofree char *odd = good_file ("odd \n \xff name.gguf");
    g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
    assert_refused (fifo, "not a regular file");
    assert_refused (folder, "not a regular file");
    assert_refused (absent, "No such file");
    g_autoptr (json_t) answer = inspect_one (odd);
    g_assert_true (json_peek_bool (answer, "ok", FALSE));
    g_unlink (fifo);
}

/* One bad file among good ones, each answered in order. */
static void
test_order (void)
{
    g_autofree char *good = good_file ("good.gguf"), *bad = g_build_filename (folder, "bad.gguf", NULL);
    g_assert_true (g_file_set_contents (bad, "GGUF", 4, NULL));
    g_autoptr (json_t) answers = inspect ((const char *const[]){ good, bad, good, NULL });
    for (int i = 0; i < 3; i++) {
        json_t *answer = json_array_get (answers, i);
        g_assert_cmpint (json_peek_bool (answer, "ok", FALSE), ==, i != 1);
        g_assert_cmpstr (json_peek_string (answer, "path"), ==, i == 1 ? bad : good);
    }
}

int
main (int argc, char **argv)
{
    g_test_init (&argc, &argv, NULL);
    folder = g_dir_make_tmp ("inspect-XXXXXX", NULL);
    g_test_add_func ("/gguf/demo-models", test_demo_model);
    g_test_add_func ("/gguf/good-file", test_good_file);
    g_test_add_func ("/gguf/projector", test_projector);
    g_test_add_func ("/gguf/failing-templates", test_failing_templates);
    g_test_add_func ("/gguf/wrong-types", test_wrong_types);
    g_test_add_func ("/gguf/disk-016/no-gguf", test_no_gguf);
    g_test_add_func ("/gguf/disk-017/absurd-lengths", test_absurd_lengths);
    g_test_add_func ("/gguf/disk-017/absurd-pairs", test_absurd_pairs);
    g_test_add_func ("/gguf/disk-017/absurd-tensors", test_absurd_tensors);
    g_test_add_func ("/gguf/cut-everywhere", test_cut_everywhere);
    g_test_add_func ("/gguf/mutations", test_mutations);
    g_test_add_func ("/gguf/no-files", test_no_files);
    g_test_add_func ("/gguf/order", test_order);
    int result = g_test_run ();
    g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
    for (const char *name; (name = g_dir_read_name (dir));) {
        g_autofree char *path = g_build_filename (folder, name, NULL);
        g_unlink (path);
    }
    g_rmdir (folder);
    g_free (folder);
    return result;
}
