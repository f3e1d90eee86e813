/* format.c: numbers as people read them; pure. */
#include "cli/format.h"

#include <math.h>
#include <string.h>

static char *
scaled (guint64 bytes, double step, const char *const *units)
{
    double value = (double) bytes;
    guint unit = 0;
    while (value >= step && units[unit + 1]) {
        value /= step;
        unit++;
    }
    return unit ? g_strdup_printf ("%.2f %s", value, units[unit])
                : g_strdup_printf ("%" G_GUINT64_FORMAT " %s", bytes, units[0]);
}

char *
format_size (guint64 bytes)
{
    static const char *const units[] = { "B", "KB", "MB", "GB", "TB", "PB", NULL };
    return scaled (bytes, 1000, units);
}

char *
format_memory (guint64 bytes)
{
    static const char *const units[] = { "Bytes", "KiB", "MiB", "GiB", "TiB", NULL };
    return scaled (bytes, 1024, units);
}

char *
format_elapsed (double seconds)
{
    seconds = MAX (seconds, 0);
    if (seconds < 1)
        return g_strdup_printf ("%.2fms", seconds * 1000);
    /* Whole hundredths first, so that 59.999 s is a minute and never "60.00s". */
    guint64 hundredths = (guint64) llround (seconds * 100);
    guint64 hours = hundredths / 360000, minutes = hundredths / 6000 % 60;
    double rest = (double) (hundredths % 6000) / 100;
    if (hours)
        return g_strdup_printf ("%" G_GUINT64_FORMAT "h %" G_GUINT64_FORMAT "m %.2fs", hours, minutes, rest);
    if (minutes)
        return g_strdup_printf ("%" G_GUINT64_FORMAT "m %.2fs", minutes, rest);
    return g_strdup_printf ("%.2fs", rest);
}

char *
format_ttl (gint64 ms)
{
    static const struct {
        double ms;
        char name;
    } units[] = { { 86400000, 'd' }, { 3600000, 'h' }, { 60000, 'm' } };
    for (guint i = 0; i < G_N_ELEMENTS (units); i++)
        if ((double) ms >= units[i].ms)
            return g_strdup_printf ("%.0f%c", round ((double) ms / units[i].ms), units[i].name);
    return g_strdup_printf ("%.0fs", round ((double) MAX (ms, 0) / 1000));
}

char *
format_thousands (guint64 number)
{
    g_autofree char *digits = g_strdup_printf ("%" G_GUINT64_FORMAT, number);
    g_autoptr (GString) text = g_string_new (NULL);
    gsize n = strlen (digits);
    for (gsize i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            g_string_append_c (text, ',');
        g_string_append_c (text, digits[i]);
    }
    return g_string_free (g_steal_pointer (&text), FALSE);
}
