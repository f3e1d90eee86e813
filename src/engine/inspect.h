/* The engine's one-shot modes: what the daemon asks about files and devices (spec: engine.md 7).  One JSON object a line on stdout. */
#pragma once

/* --inspect FILE...: a line per file, in order, whatever the file holds.  Returns the exit code: 0, or 1 when the answer could not
 * be written or the sandbox not be entered. */
int inspect_main (int n, char **files);

/* --estimate FILE OPTIONS: one line, lb_estimate's answer, or {"ok":false,"reason"}. */
int estimate_main (const char *file, const char *options);

/* --survey: one line: devices, CPU library and its features, versions. */
int survey_main (void);
