/* What http.c, connection.c and answer.c share: the structs behind http.h, and who does what to them.  For no other file.
 *
 *      http.c        MHD: its loop, its calls, a request's beginning and end     (alone in including microhttpd.h)
 *      connection.c  deadlines, hang-ups
 *      answer.c      what handlers call */
#pragma once

#include "net/body.h"
#include "net/head.h"
#include "net/http.h"
#include "net/linger.h"
#include "net/outlet.h"

struct MHD_Connection;
struct MHD_Daemon;

typedef struct Connection Connection;

/* What a connection waits for.  Each has one length of time, so each queue is in order of deadline; the handler's time has no end. */
typedef enum {
    WAIT_HEAD,
    WAIT_IDLE,
    WAIT_BODY,
    WAIT_SEND,
    N_DEADLINES,
    WAIT_HANDLER = N_DEADLINES,
    N_WAITS,
    WAIT_CUT = N_WAITS
} Wait;

struct Connection {
    HttpServer *server;
    int fd;
    HttpRequest *request; /* the current one, from its request line on; NULL between requests */
    Wait wait;
    gint64 since_us, deadline_us;
    guint64 acked; /* bytes that the peer had acknowledged when it was last asked */
    GList link;    /* in server->waiting[wait] */
    gboolean hung_up;
    gboolean wants_out; /* the watch set tells when the socket takes bytes again */
    gboolean unread;    /* closes with a part of a body unread */
    gboolean upgraded;  /* the socket lives on: what it holds unread is not ours */
};

struct HttpServer {
    struct MHD_Daemon *mhd;
    const HttpHandler *handler;
    gpointer data;
    HttpOptions options; /* no zeros left */

    GSource *source;
    gpointer mhd_tag, watch_tag; /* of the two epoll sets in @source */
    int watch_fd; /* epoll: every connection, for its hang-up and for room in its socket; each told once until asked again */
    gboolean pending; /* MHD has something to do that no descriptor shows */
    gboolean pumping, stopping, free_after_pump;

    GQueue waiting[N_WAITS];
    gint64 limit_us[N_WAITS];
    gint64 armed_us; /* the source's ready time; -1: none */
    guint n_connections;
    guint *n_upgraded; /* rc box: shared with the sockets that outlive the server */
    Lingerers *lingerers;
};

typedef enum {
    PHASE_HEAD,    /* until `head` has answered */
    PHASE_BODY,    /* the body is coming in */
    PHASE_REFUSED, /* answered before the body: what comes of it is dropped */
    PHASE_WHOLE,   /* the handler has it, or has had it */
} Phase;

typedef struct {
    char *name, *value;
} AnswerHeader;

struct HttpRequest {
    HttpServer *server;
    Connection *connection;
    struct MHD_Connection *mhd;
    char *method, *path; /* owned */
    const char *query;   /* in @path's block; NULL: none */
    gboolean is_1_1;
    HeadFacts facts;
    Phase phase;
    gboolean told_head, told_closed;
    gsize max_body;
    Body *body;
    GBytes *whole; /* the body, once it is there */

    GArray *headers;           /* AnswerHeader, for the answer; NULL: none */
    guint status;              /* the answer, from http_reply or http_stream_begin on */
    char *content_type;        /* owned; NULL: none */
    GBytes *answer;            /* its body, when it is neither a stream nor an upgrade */
    gboolean refused;          /* by net, not by the handler */
    gboolean answered, queued; /* queued: MHD has it */
    gboolean sent_raw;         /* answered past MHD, in the middle of a body */
    gboolean suspended;        /* MHD has let go of it until we resume it */
    gboolean cut;              /* to be closed as soon as MHD asks */

    gboolean streaming;
    gboolean direct;            /* MHD has sent the head: between that and the end, the socket is ours to write to */
    gboolean finished, aborted; /* after what is unsent: the end in good order, or a cut */
    gboolean over_high;
    Outlet outlet; /* in chunks already */
    void (*drained) (HttpRequest *request, gpointer data);
    gpointer drained_data;

    HttpUpgradeFunc take;
    GDestroyNotify gone;
    gpointer upgrade_data;

    gpointer data;
    GDestroyNotify destroy;
};

/* ---- connection.c -------------------------------------------------------------------------------------------------------- */

void connection_wait (Connection *connection, Wait wait);
void connection_cut (Connection *connection);
void connection_watch (Connection *connection, gboolean for_room); /* for the peer's hang-up in any case */
void connections_expire (HttpServer *server);
void connections_serve_watches (HttpServer *server);

/* ---- answer.c ------------------------------------------------------------------------------------------------------------ */

void request_refuse (HttpRequest *request, guint status, const char *why);
gboolean stream_flush (HttpRequest *request);
void stream_go_on (HttpRequest *request);

/* ---- http.c -------------------------------------------------------------------------------------------------------------- */

void request_resume (HttpRequest *request); /* MHD goes on with it, if it was suspended */
const char *http_reason (guint status);     /* "Not Found" */
