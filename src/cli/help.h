/* The help, laid out from the table of commands (spec: cli.md 1.6). */
#pragma once

#include "cli/args.h"

/* The help of the command at the end of @args' path, with colours for @fd.  The caller frees. */
char *help_text (const Args *args, int fd);
