/* What the rows of the table call: one function per command, in a file of its own (cmd_*.c).  Each returns the exit code. */
#pragma once

#include "cli/args.h"

extern const Command cli_root;

int cmd_chat (const Args *args);
int cmd_daemon_down (const Args *args);
int cmd_daemon_status (const Args *args);
int cmd_daemon_up (const Args *args);
int cmd_flags (const Args *args);
int cmd_load (const Args *args);
int cmd_log_stream (const Args *args);
int cmd_ls (const Args *args);
int cmd_ps (const Args *args);
int cmd_server_start (const Args *args);
int cmd_server_status (const Args *args);
int cmd_server_stop (const Args *args);
int cmd_status (const Args *args);
int cmd_unload (const Args *args);
int cmd_version (const Args *args);

/* "CLI commit: 07b7252" */
const char *cli_commit_line (void);
