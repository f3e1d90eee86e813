/* models.c: any answer of --inspect about every kind of file, and any file name, to the catalog.  The first line is the name, the rest the
 * answer; what comes out is text, and every file in one bucket. */
#include "fuzz.h"

#include "models/catalog.h"
#include "models/names.h"

#include <string.h>

static void
add_file (Scan *scan, const char *path)
{
    ScanFile *file = g_new0 (ScanFile, 1);
    file->file = g_strconcat ("/", path, NULL);
    file->path = name_text (path);
    file->name = g_path_get_basename (file->path);
    file->classified = TRUE;
    file->inode = scan->files->len;
    g_ptr_array_add (scan->files, file);
}

static void
assert_text (const char *text)
{
    g_assert_true (text == NULL || g_utf8_validate (text, -1, NULL));
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
    const guint8 *end = size > 0 ? memchr (data, '\n', size) : NULL;
    gsize length = end ? (gsize) (end - data) : size;
    g_autofree char *name = g_strndup ((const char *) data, length);
    g_strdelimit (name, "/", '_');
    g_autoptr (json_t) answer = end ? json_parse ((const char *) end + 1, size - length - 1, NULL) : NULL;

    g_autoptr (Scan) scan = scan_run ((const char *const[]){ NULL }, 0, NULL);
    static const char *const names[] = { "p/m/x-Q4_0.gguf", "p/m/x-00001-of-00002.gguf", "p/m/x-00002-of-00002.gguf",
                                         "q/m/mmproj.gguf" };
    for (gsize i = 0; i < G_N_ELEMENTS (names); i++)
        add_file (scan, names[i]);
    g_autofree char *named = g_strconcat ("q/m/", name, ".gguf", NULL);
    add_file (scan, named);

    g_autoptr (Cache) cache = cache_read ("", "");
    for (guint i = 0; i < scan->files->len && json_is_boolean (json_object_get (answer, "ok")); i++)
        cache_put (cache, scan->files->pdata[i], answer);
    g_autoptr (Catalog) catalog = catalog_new (scan, cache, NULL);
    gsize n_elsewhere = 0;
    for (int b = BUCKET_CONFLICTS; b < N_BUCKETS; b++)
        n_elsewhere += catalog->problems[b]->len;
    g_assert_cmpuint (n_elsewhere, <=, scan->files->len);
    for (guint i = 0; i < catalog->models->len; i++) {
        const Model *model = catalog->models->pdata[i];
        const char *const texts[] = { model->key,          model->path,       model->publisher, model->display_name,
                                      model->architecture, model->quant_name, model->params };
        for (gsize k = 0; k < G_N_ELEMENTS (texts); k++)
            assert_text (texts[k]);
        g_assert_true (*model->key && *model->display_name);
        g_assert_cmpint (model->quant_bits, >=, 0);
        g_assert_true (catalog_find (catalog, model->key) == model);
    }
    return 0;
}
