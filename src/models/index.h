/* The inside of Models, for its tests.  Private to models/. */
#pragma once

#include "models/catalog.h"
#include "models/models.h"

/* What the index did since it was made. */
typedef struct {
    guint n_scans;     /* walks through the folders */
    guint n_inspected; /* files that a child was asked about */
    guint n_mlx_read;  /* folders whose JSON the daemon read itself */
} ModelsWork;

ModelsWork models_work (Models *models);
/* The present catalog; lent until the next return to the loop. */
const Catalog *models_catalog (Models *models);
