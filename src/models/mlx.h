/* What a folder of safetensors says about itself, in the form of an --inspect answer (spec: disk.md 4.2, 4.3).  Private to models/. */
#pragma once

#include "base/json.h"

/* Reads config.json and model.safetensors.index.json of @folder, which hold text and no weights.  Blocks: for the pool.  The answer has
 * "ok", "arch", "n_ctx_train", "quant", "vision", "template"; or "ok" false and "reason".  Never NULL. */
json_t *mlx_inspect (const char *folder);
