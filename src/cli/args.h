/* The command line as data: what a command is, and what the words of one call mean (spec: cli.md 1.6).
 *
 * Commands and options are rows (table.c).  The parser, the help, the suggestions and the error texts all read the same rows, so that
 * they cannot disagree.  Pure: nothing here prints, exits or knows what a command does. */
#pragma once

#include <glib.h>

typedef enum {
    OPTION_FLAG,    /* takes no value */
    OPTION_TEXT,    /* any string */
    OPTION_INTEGER, /* a whole number from min to max */
    OPTION_NUMBER,  /* a number from min to max */
    OPTION_RATIO,   /* off, max, auto or 0..1; `auto` reads as not given */
    OPTION_CHOICE,  /* one of `choices` */
} OptionType;

/* One option.  A table of them ends with a row without name. */
typedef struct {
    char letter;                /* 'c' for -c; 0 is none */
    const char *name;           /* "context-length", without dashes */
    const char *value;          /* "<length>"; NULL for flags */
    const char *help;           /* one sentence or more for the help */
    const char *const *choices; /* OPTION_CHOICE: ended by NULL */
    double min, max;            /* numbers; max 0 is 2^53 - 1 */
    OptionType type;
    gboolean hidden; /* neither in the help nor suggested */
} Option;

/* One positional argument.  A table ends with a row without name; required ones come first. */
typedef struct {
    const char *name; /* "model-key" */
    const char *help;
    gboolean required;
} Argument;

typedef struct Args Args;
typedef struct Command Command;

/* One command, or a group of them.  A table of commands ends with a row without name. */
struct Command {
    const char *name;
    const char *summary;          /* its line in the list of its parent, and at the head of its own help */
    const char *group;            /* root commands: the heading they stand under */
    const Argument *arguments;    /* NULL is none */
    const Option *const *options; /* tables of options, ended by NULL; NULL is none */
    const Command *commands;      /* a group's members; then `run` is not called */
    int (*run) (const Args *args);
    gboolean hidden; /* works, but stands in no list */
};

/* One option as it was given; the last one counts. */
typedef struct {
    const Option *option;
    const char *text; /* lent from argv; NULL for flags */
    double number;    /* OPTION_INTEGER, OPTION_NUMBER, OPTION_RATIO (-1 is `auto`) */
} ArgsValue;

struct Args {
    const Command *path[4];  /* root, ..., the command that was named */
    guint depth;             /* how many of them */
    GPtrArray *words;        /* positional arguments, lent from argv */
    GArray *values;          /* of ArgsValue */
    const char *const *argv; /* as given */
};

typedef enum {
    ARGS_RUN,     /* call the command */
    ARGS_HELP,    /* help was asked for: stdout, exit 0 */
    ARGS_LOST,    /* a group was named without a member: help on stderr, exit 1 */
    ARGS_BARE,    /* no argument at all: version lines and help on stderr, exit 0 */
    ARGS_VERSION, /* -v or --version stood somewhere: nothing else counts */
    ARGS_WRONG,   /* the message says what is wrong: stderr, exit 1 */
} ArgsOutcome;

/* Reads @argv (ended by NULL, argv[0] is the program) against @root.  @args lends from @argv and @root; it is filled as far as the
 * reading came, and always to be cleared.  @message is set for ARGS_WRONG only ("error: ..."); the caller frees. */
ArgsOutcome args_parse (const Command *root, const char *const *argv, Args *args, char **message);
void args_clear (Args *args);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Args, args_clear)

/* The command that was named: the last of the path. */
const Command *args_command (const Args *args);

/* TRUE when the command knows such an option. */
gboolean args_takes (const Args *args, const char *name);

/* TRUE when the option stood on the command line. */
gboolean args_has (const Args *args, const char *name);
/* Its value, or NULL. */
const char *args_text (const Args *args, const char *name);
/* Its number, or @fallback.  `auto` of an OPTION_RATIO counts as not given. */
double args_number (const Args *args, const char *name, double fallback);
/* The positional argument at @index, or NULL. */
const char *args_word (const Args *args, guint index);

/* "-c, --context-length <length>", as help and errors write it.  The caller frees. */
char *args_option_term (const Option *option);
