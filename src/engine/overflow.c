/* overflow.c: a shorter conversation, cut on the borders of its messages.  Contract: overflow.h. */
#include "engine/overflow.h"

#include <string.h>

Overflow
overflow_from_name (const char *name)
{
    return g_strcmp0 (name, "truncateMiddle") == 0  ? OVERFLOW_MIDDLE
           : g_strcmp0 (name, "rollingWindow") == 0 ? OVERFLOW_ROLLING
                                                    : OVERFLOW_STOP;
}

static gboolean
has_role (const json_t *message, const char *role)
{
    return g_strcmp0 (json_peek_string (message, "role"), role) == 0;
}

static gboolean
is_system (const json_t *message)
{
    return has_role (message, "system") || has_role (message, "developer");
}

/* For each message the number of its unit among those that may go, from 1; 0: it stays.  Returns how many units there are. */
static guint
number_units (const json_t *messages, Overflow policy, guint *units)
{
    const gsize n = json_array_size (messages);
    gsize last = n; /* where the last unit begins */
    while (last > 0 && (last == n || has_role (json_array_get (messages, last), "tool")))
        last--;
    guint n_units = 0, unit = 0;
    gboolean keep_user = policy == OVERFLOW_MIDDLE;
    for (gsize i = 0; i < n; i++) {
        const json_t *message = json_array_get (messages, i);
        if (i >= last || policy == OVERFLOW_STOP || is_system (message)) {
            units[i] = 0;
        } else if (has_role (message, "tool") && i > 0) {
            units[i] = unit; /* goes with the call that it answers */
        } else if (keep_user && has_role (message, "user")) {
            keep_user = FALSE;
            units[i] = unit = 0;
        } else {
            units[i] = unit = ++n_units;
        }
    }
    return n_units;
}

guint
overflow_n_droppable (const json_t *messages, Overflow policy)
{
    g_autofree guint *units = g_new (guint, json_array_size (messages) + 1);
    return number_units (messages, policy, units);
}

json_t *
overflow_drop (const json_t *messages, Overflow policy, guint n)
{
    g_autofree guint *units = g_new (guint, json_array_size (messages) + 1);
    number_units (messages, policy, units);
    json_t *kept = json_array ();
    size_t i;
    json_t *message;
    json_array_foreach (messages, i, message)
        if (units[i] == 0 || units[i] > n)
            json_array_append (kept, message);
    return kept;
}
