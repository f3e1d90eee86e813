/* What the files of instances/ share: the table, one instance, one job. */
#pragma once

#include "instances/engine.h"
#include "instances/instances.h"

#define INSTANCES_MAX_WAITING 512 /* jobs without a place, per instance (http.md 1.7) */

typedef struct {
    Instance public; /* first: a const Instance * of ours is one of these */
    Instances *all;
    Engine *engine;           /* NULL while down */
    InstanceConfig config;    /* strings owned, @fields a reference */
    gboolean tried_plain_cpu; /* started again with LMS_CPU=haswell after a SIGILL */
    GList *loads;             /* InstanceLoad * waiting for READY */
    GList *jobs;              /* Job * of this instance, in order of arrival */
    guint ttl_timer;
    json_t *ready;
    void (*unloaded) (gpointer data);
    gpointer unloaded_data;
} Inst;

struct Instances {
    SettingsStore *settings;
    Models *models;
    char *engine_path;
    GPtrArray *table;  /* Inst *, in order of loading, leaving ones included */
    GPtrArray *listed; /* what instances_list lends */
    guint next_reference;
    guint32 next_job;
    GList *unresolved; /* Job * without an instance yet */
    GArray *watches;   /* struct watch */
    guint next_watch;
    GArray *observers; /* struct observer: instances_on_changed */
    gboolean shutting_down;
};

struct watch {
    guint id;
    InstanceWatch funcs;
    gpointer data;
};

struct observer {
    void (*changed) (gpointer data);
    gpointer data;
};

struct InstanceLoad {
    Inst *inst;
    InstanceLoadFuncs funcs;
    gpointer data;
    guint soon;
};

typedef enum { JOB_UNRESOLVED, JOB_WAITING_FOR_LOAD, JOB_SENT, JOB_STARTED, JOB_GENERATING, JOB_ENDED } JobState;

struct Job {
    Instances *all;
    Inst *inst;
    guint32 id;
    JobState state;
    /* what is wanted */
    char *model_name, *reference;
    ModelType type;
    gboolean may_load;
    gint64 ttl_seconds;
    guint link_type; /* LINK_JOB, or the question's */
    json_t *payload;
    /* who asked */
    ChatEventFunc event;
    InstanceAnswerFunc answered;
    gpointer data;
    gboolean dropped, cancelled, paused;
    ChatReader *reader;
    GString *output; /* what was said, while somebody watches */
    guint soon;      /* source of a step that waits for the caller's return */
};

/* instances.c */
void inst_changed (Instances *all);
Inst *inst_load (Instances *all, const InstanceLoadOptions *options);
void inst_revive (Inst *inst);
void inst_touch (Inst *inst);             /* a job came or went: activity, idle timer */
gboolean inst_is_live (const Inst *inst); /* loading or ready */

/* resolve.c: the instance that @job means, loaded or loading; NULL and @failure otherwise.  @wait: the index is not ready, ask again. */
Inst *resolve_job (Job *job, ChatFailure *failure, gboolean *wait);

/* job.c */
void job_send (Job *job); /* its instance is ready */
void job_take_frame (Job *job, const LinkFrame *frame);
void job_fail (Job *job, ChatFailKind kind, const char *message);
void job_load_progress (Job *job, double fraction);
Job *job_find (Inst *inst, guint32 id);

/* config.c */
void config_copy (InstanceConfig *to, const InstanceConfig *from);
void config_clear (InstanceConfig *config);
json_t *config_to_load (const InstanceConfig *config, const Model *model, const Settings *settings);
json_t *config_to_fields (const InstanceConfig *config, const Model *model, guint n_ctx, guint parallel);
