/* Which projector (mmproj) goes with which model file (spec: disk.md 4.2, 5).  Pure.  Private to models/. */
#pragma once

#include <glib.h>

typedef struct {
    const char *path;     /* below the models folder */
    const char *quant;    /* or NULL */
    const char *basename; /* general.basename, or NULL */
    guint index;          /* the caller's */
} Projector;

typedef struct {
    const char *path, *plain; /* plain: NameParts */
    const char *basename;
    int bits;
    gboolean wants;          /* can use one at all */
    const Projector *chosen; /* the answer, or NULL */
} ProjectorHost;

void projectors_match (const Projector *projectors, gsize n_projectors, ProjectorHost *hosts, gsize n_hosts);
