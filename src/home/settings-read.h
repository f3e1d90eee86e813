/* From the trees of the three settings files to Settings: pure (spec: disk.md 3.1-3.3).  Private to home/. */
#pragma once

#include "home/settings.h"

/* Any tree may be NULL (missing file) or hold nonsense: what can't be used falls back to its default.  @home is absolute. */
Settings *settings_read (const json_t *settings, const json_t *http, const json_t *permissions, const char *home);
void settings_free (Settings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Settings, settings_free)
