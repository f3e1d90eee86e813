/* table.c: every command and every option, once.
 *
 * Parser, help, suggestions and error texts read these rows; a command's code asks for its options by their names here. */
#include "cli/commands.h"

/* ---- options that several commands share -------------------------------------------------------------------------------- */

static const char *const log_levels[] = { "debug", "info", "warn", "error", "none", NULL };

static const Option log_options[] = {
    { .name = "log-level",
      .value = "<level>",
      .type = OPTION_CHOICE,
      .choices = log_levels,
      .hidden = TRUE,
      .help = "The level of logging to use. If not provided, the default level is \"info\"." },
    { .name = "verbose", .hidden = TRUE, .help = "Enable verbose logging." },
    { .name = "quiet", .hidden = TRUE, .help = "Suppress all logging." },
    { 0 },
};

static const Option connection_options[] = {
    { .name = "host",
      .value = "<host>",
      .type = OPTION_TEXT,
      .hidden = TRUE,
      .help = "Talk to the server at this host instead of the local one. No protocol, no port." },
    { .name = "port",
      .value = "<port>",
      .type = OPTION_INTEGER,
      .max = 65535,
      .hidden = TRUE,
      .help = "The port of the server to talk to. With --host the default is 1234." },
    { 0 },
};

static const Option json_option[] = {
    { .name = "json", .help = "Outputs in JSON format to stdout" },
    { 0 },
};

static const Option yes_option[] = {
    { .letter = 'y', .name = "yes", .help = "Suppress all confirmations and warnings. Useful for scripting." },
    { 0 },
};

#define LOG_ONLY       ((const Option *const[]){ log_options, NULL })
#define OPTIONS(...)   ((const Option *const[]){ __VA_ARGS__, log_options, NULL })
#define CONNECTED(...) ((const Option *const[]){ __VA_ARGS__, connection_options, log_options, NULL })

/* ---- chat --------------------------------------------------------------------------------------------------------------- */

static const char *const reasoning_modes[] = { "auto", "on", "off", NULL };

static const Option chat_options[] = {
    { .letter = 'p',
      .name = "prompt",
      .value = "<prompt>",
      .type = OPTION_TEXT,
      .help = "Print the response to this prompt on stdout and quit. Text piped in is added to it." },
    { .letter = 's',
      .name = "system-prompt",
      .value = "<systemPrompt>",
      .type = OPTION_TEXT,
      .help = "Custom system prompt to use for the chat" },
    { .name = "stats", .help = "Display prediction statistics after each response" },
    { .name = "ttl",
      .value = "<seconds>",
      .type = OPTION_INTEGER,
      .min = 1,
      .max = 9007199254740.0,
      .help = "Unload the model after it was idle for this many seconds (only if the chat loads it; default 3600)" },
    { .name = "reasoning",
      .value = "<mode>",
      .type = OPTION_CHOICE,
      .choices = reasoning_modes,
      .help = "Let the model think before it answers: auto, on or off (default auto)" },
    { .name = "dont-fetch-catalog", .help = "Do not fetch the model catalog" },
    { 0 },
};

static const Argument chat_arguments[] = {
    { "model", "Model key to chat with. Without it any loaded model is used.", FALSE },
    { 0 },
};

/* ---- load, unload, ls, ps ----------------------------------------------------------------------------------------------- */

static const Option load_options[] = {
    { .name = "gpu",
      .value = "<ratio>",
      .type = OPTION_RATIO,
      .help = "How much to offload to the GPU: \"off\", \"max\", \"auto\" or a number from 0 to 1" },
    { .letter = 'c',
      .name = "context-length",
      .value = "<length>",
      .type = OPTION_INTEGER,
      .min = 1,
      .help = "The number of tokens to consider as context when generating text" },
    { .name = "parallel",
      .value = "<n>",
      .type = OPTION_INTEGER,
      .min = 1,
      .help = "How many requests are decoded at the same time" },
    { .name = "ttl",
      .value = "<seconds>",
      .type = OPTION_INTEGER,
      .min = 1,
      .max = 9007199254740.0,
      .help = "Unload the model after it was idle for this many seconds" },
    { .name = "identifier",
      .value = "<identifier>",
      .type = OPTION_TEXT,
      .help = "The name of the loaded model in the API. Without it, the model key." },
    { .name = "estimate-only", .help = "Print an estimate of the memory that is needed, and load nothing" },
    { .name = "json", .help = "With --estimate-only: print the estimate as JSON on stdout" },
    { .name = "exact", .hidden = TRUE, .help = "The argument is the exact path or key of a model" },
    { .name = "local", .hidden = TRUE, .help = "Ignore the models of linked devices" },
    { .name = "speculative-draft-mtp", .help = "Use the multi-token-prediction heads that come with the model" },
    { .name = "no-speculative-draft-mtp", .help = "Do not use the model's multi-token-prediction heads" },
    { .name = "speculative-draft-simple", .help = "Use a separate draft model" },
    { .name = "speculative-draft-model",
      .value = "<model>",
      .type = OPTION_TEXT,
      .help = "The key of the draft model" },
    { .name = "speculative-draft-max-tokens",
      .value = "<n>",
      .type = OPTION_INTEGER,
      .min = 1,
      .help = "The most tokens to draft at once" },
    { .name = "speculative-draft-min-tokens",
      .value = "<n>",
      .type = OPTION_INTEGER,
      .help = "Drafts with fewer tokens are not used" },
    { .name = "speculative-draft-min-continue-probability",
      .value = "<p>",
      .type = OPTION_NUMBER,
      .max = 1,
      .help = "Drafting goes on while its tokens are at least this probable" },
    { 0 },
};

static const Argument load_arguments[] = {
    { "model-key", "The key of the model to load. Without it there is a list to choose from.", FALSE },
    { 0 },
};

static const Option unload_options[] = {
    { .letter = 'a', .name = "all", .help = "Unload all models" },
    { 0 },
};

static const Argument unload_arguments[] = {
    { "identifier", "The identifier of the model to unload. Not needed when only one is loaded.", FALSE },
    { 0 },
};

static const Option ls_options[] = {
    { .name = "llm", .help = "Show only LLM models" },
    { .name = "embedding", .help = "Show only embedding models" },
    { .name = "variants", .help = "List the variants of every model" },
    { .name = "detailed", .hidden = TRUE, .help = "Deprecated: the output is the same without it" },
    { 0 },
};

static const Argument ls_arguments[] = {
    { "modelKey", "List the variants of this model", FALSE },
    { 0 },
};

/* ---- server, log, daemon ------------------------------------------------------------------------------------------------ */

static const Option server_start_options[] = {
    { .letter = 'p',
      .name = "port",
      .value = "<port>",
      .type = OPTION_INTEGER,
      .max = 65535,
      .help = "Port to run the server on; 0 takes a free one. Without it, the last used port." },
    { .name = "bind",
      .value = "<address>",
      .type = OPTION_TEXT,
      .help = "Address to listen on (default $LMS_SERVER_HOST, else 127.0.0.1)" },
    { .name = "cors", .help = "Let web pages of any origin use the server. Think before you do." },
    { 0 },
};

static const Command server_commands[] = {
    { .name = "start",
      .summary = "Starts the local server",
      .run = cmd_server_start,
      .options = OPTIONS (server_start_options) },
    { .name = "stop", .summary = "Stops the local server", .run = cmd_server_stop, .options = LOG_ONLY },
    { .name = "status",
      .summary = "Displays the status of the local server",
      .run = cmd_server_status,
      .options = OPTIONS (json_option) },
    { 0 },
};

static const char *const log_sources[] = { "model", "server", "runtime", NULL };

static const Option log_stream_options[] = {
    { .letter = 's',
      .name = "source",
      .value = "<source>",
      .type = OPTION_CHOICE,
      .choices = log_sources,
      .help = "Source of logs: model, server or runtime (default model)" },
    { .name = "stats", .help = "Print prediction statistics when available (source model)" },
    { .name = "filter",
      .value = "<list>",
      .type = OPTION_TEXT,
      .help = "What to show of the model's logs: input, output, or input,output" },
    { 0 },
};

static const Command log_commands[] = {
    { .name = "stream",
      .summary = "Stream logs from LM Studio",
      .run = cmd_log_stream,
      .options = CONNECTED (log_stream_options, json_option) },
    { 0 },
};

static const Option daemon_up_options[] = {
    { .name = "foreground", .help = "Become the daemon instead of starting one: for service managers" },
    { 0 },
};

static const Command daemon_commands[] = {
    { .name = "up",
      .summary = "Starts the daemon if it is not running",
      .run = cmd_daemon_up,
      .options = OPTIONS (json_option, daemon_up_options) },
    { .name = "down", .summary = "Stops the daemon", .run = cmd_daemon_down, .options = LOG_ONLY },
    { .name = "status",
      .summary = "Displays whether the daemon is running",
      .run = cmd_daemon_status,
      .options = OPTIONS (json_option) },
    { 0 },
};

/* ---- flags -------------------------------------------------------------------------------------------------------------- */

static const Argument flags_arguments[] = {
    { "flag", "The experiment flag to show or set", FALSE },
    { "value", "true or false", FALSE },
    { 0 },
};

/* ---- all of them -------------------------------------------------------------------------------------------------------- */

#define LOCAL_MODELS "Local models"
#define SERVE        "Serve"
#define MAINTAIN     "Daemon"

static const Command commands[] = {
    { .name = "chat",
      .group = LOCAL_MODELS,
      .summary = "Chat with a model",
      .run = cmd_chat,
      .arguments = chat_arguments,
      .options = CONNECTED (chat_options, yes_option) },
    { .name = "load",
      .group = LOCAL_MODELS,
      .summary = "Load a model",
      .run = cmd_load,
      .arguments = load_arguments,
      .options = CONNECTED (load_options, yes_option) },
    { .name = "unload",
      .group = LOCAL_MODELS,
      .summary = "Unload a model",
      .run = cmd_unload,
      .arguments = unload_arguments,
      .options = CONNECTED (unload_options) },
    { .name = "ls",
      .group = LOCAL_MODELS,
      .summary = "List the models available on disk",
      .run = cmd_ls,
      .arguments = ls_arguments,
      .options = CONNECTED (ls_options, json_option) },
    { .name = "ps",
      .group = LOCAL_MODELS,
      .summary = "List the models currently loaded in memory",
      .run = cmd_ps,
      .options = CONNECTED (json_option) },
    { .name = "server",
      .group = SERVE,
      .summary = "Commands for managing the local server",
      .commands = server_commands },
    { .name = "log", .group = SERVE, .summary = "Log incoming and outgoing messages", .commands = log_commands },
    { .name = "daemon", .group = MAINTAIN, .summary = "Commands for managing the daemon", .commands = daemon_commands },
    { .name = "status",
      .group = MAINTAIN,
      .summary = "Prints the status of the server and the loaded models",
      .run = cmd_status,
      .options = CONNECTED (json_option) },
    { .name = "version",
      .group = MAINTAIN,
      .summary = "Prints the version of the CLI",
      .run = cmd_version,
      .options = OPTIONS (json_option) },
    { .name = "flags",
      .summary = "Shows or sets experiment flags",
      .hidden = TRUE,
      .run = cmd_flags,
      .arguments = flags_arguments,
      .options = CONNECTED (json_option) },
    { 0 },
};

const Command cli_root = { .name = "lms", .commands = commands };
