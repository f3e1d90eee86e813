/* Which of the downloaded models a few letters mean (spec: cli.md 1.7, 4 "Choosing"). */
#pragma once

#include "cli/args.h"
#include "base/json.h"

/* The models of @list (sdk.md 5) that can be loaded by themselves, those loaded last first.  Lent pointers in a new array. */
GPtrArray *choose_candidates (json_t *list, const char *const *last_loaded, gboolean only_local);

/* What the letters of a model key lead to; pure. */
typedef enum { CHOICE_NONE, CHOICE_ONE, CHOICE_SEVERAL } ChoiceKind;

/* Ranks @candidates by the fuzzy rule on their keys: @matches gets them best first (a new array of lent pointers).  An exact key is alone,
 * however many longer keys match; one key on several devices is one model: @preferred_device, else this machine, else the first. */
ChoiceKind choose_match (GPtrArray *candidates, const char *pattern, const char *preferred_device, GPtrArray **matches);

/* The whole of it with its messages and prompts: the model that @pattern (NULL: none given) means.  @yes never asks; @verb is "load" or
 * "estimate".  NULL: the reason has been said, or the user left; exit 1. */
json_t *
choose_model (GPtrArray *candidates, const char *pattern, gboolean yes, const char *verb, const json_t *link_status);

/* A list of @models to choose from under @question; @reserved and @typed as in prompt_search.  NULL when the user left. */
json_t *choose_from_list (GPtrArray *models, const char *question, guint reserved, const char *typed,
                          const json_t *link_status);

/* --exact: the model whose path or key is @path. */
json_t *choose_exact (GPtrArray *candidates, const char *path);
