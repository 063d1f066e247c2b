/* runtime_internal.h: the control thread's state, for the files of the runtime. */
#ifndef LOOMGATE_RUNTIME_RUNTIME_INTERNAL_H
#define LOOMGATE_RUNTIME_RUNTIME_INTERNAL_H

#include "loomgate/backend/health.h"
#include "loomgate/runtime/binds.h"
#include "loomgate/runtime/heir.h"
#include "loomgate/runtime/metrics_page.h"
#include "loomgate/runtime/notify.h"
#include "loomgate/runtime/runtime.h"
#include "loomgate/runtime/watch.h"
#include "loomgate/runtime/worker.h"

#include <limits.h>

/* The metrics as text, for workers that ask. */
struct scrapes {
    struct exposition *text;   /* the last one, as long as it is good enough for whoever asks; else NULL */
    struct exposition *draft;  /* what is being written; NULL: nothing */
    struct snapshot *snapshot; /* of the draft, referenced */
    struct metrics_page page;  /* of the draft */
    struct task go_on;         /* with the draft */
    struct deadline stale;     /* then `text` is not good enough any more */
    uint64_t start_unix_us;    /* when the process began to serve; 0: nobody has asked yet */
    struct list waiting;       /* of struct worker, by `asking` */
};

struct upgrade_result; /* upgrade.h */

/* To another process: the picture is in upgrade.h. All zero: there is none. */
struct upgrade {
    enum upgrade_phase { UPGRADE_NONE, UPGRADE_WAITS, UPGRADE_STARTS, UPGRADE_ENDS, UPGRADE_OVER } phase;
    pid_t pid;                    /* of the new one */
    int channel, state_fd, pidfd; /* from STARTS on, and no more when it has failed */
    ev_io heard, ended;           /* of the channel, and the new one's end */
    struct loop_timer limit;      /* until it must serve */
    char why[HEIR_MESSAGE_MAX];   /* that it is not going to: its own sentence, or ours */
    bool is_own;                  /* its own */
    void (*done)(void *arg, const struct upgrade_result *result);
    void *arg;
    uint64_t began_us;
};

struct runtime {
    struct loop loop;
    struct mailbox box;
    struct registry registry;
    struct snapshot *snapshot; /* the current one */
    struct list snapshots;     /* all that are alive */
    struct config *first;      /* that it began with: what only a restart changes is as it says */
    struct config *previous;   /* what `rollback` goes back to; NULL: nothing */
    bool unconfirmed;          /* the current one goes back by itself: */
    struct loop_timer confirm; /* then */
    uint64_t confirm_until_us;
    struct binds binds;
    struct runtime_source source;
    struct list reloads; /* of reload.c: under way, and waiting */
    bool reloading;
    uint64_t reloads_failed, reloaded_us;
    struct watch watch;
    unsigned round;         /* of publishing */
    struct metrics metrics; /* the control thread's own shard */
    struct checks checks;
    _Alignas(LG_CACHE_LINE) struct gate gate; /* written by all workers, with each connection */
    _Alignas(LG_CACHE_LINE) struct notify notify;
    struct worker **workers;
    unsigned worker_count, started, drained;
    enum runtime_state state;
    int fd_ceiling, connect_ceiling;
    uint64_t start_us;
    struct deadline grace, pump, tick, linger;
    struct scrapes scrapes;
    struct list drains;          /* of drain.c: servers whose drain has a limit of time */
    struct list taps;            /* of taps.c */
    struct list overrides;       /* of override.c */
    struct listen_fds inherited; /* that nobody has taken yet */
    struct heir heir;            /* what the process before has given this one */
    struct upgrade upgrade;      /* to another one */
    uint64_t upgrades;           /* of the service */
    char program[PATH_MAX];      /* that was started; "": it is not known */
    bool is_alone;               /* no other process serves the same sockets */
    ev_signal signals[5];
    FILE *pid_file;                    /* until it is written */
    bool pid_written;                  /* it is ours to remove */
    const struct runtime_hooks *hooks; /* NULL: none */
    bool is_bound;                     /* on_bind was called */
};

/* scrape.c */
void scrapes_init(struct runtime *r);
/* Nobody asks any more. */
void scrapes_fini(struct runtime *r);
/* A worker asks: it is given the text, now or when it is written. */
void scrapes_ask(struct worker *w);

/* drain.c: forgets the limits of time that are set: all; those of servers that only this snapshot knows. */
void drains_fini(struct runtime *r);
void drains_forget(const struct snapshot *s);
/* drain.c: what still runs on a server that is in the configuration no more is cut after this time. */
void drain_removed(struct runtime *r, struct server *server, uint64_t timeout_us);
/* drain.c: it is in the configuration again; a drain that was asked for begins anew. */
void drain_returned(struct runtime *r, struct server *server, uint64_t timeout_us);

/* drain.c: what an operator or the file wants of a server, of this backend (NULL: of none in force); its idle
 * connections are the caller's to close. */
void drain_set_admin(struct runtime *r, struct backend *b, struct server *server, enum server_admin admin);

/* runtime.c: checks are made as the current snapshot says. */
void runtime_check_servers(struct runtime *r);

/* reload.c */
void reloads_init(struct runtime *r);
/* After the workers have ended, and their last letters were read. */
void reloads_fini(struct runtime *r);
void reload_by_signal(struct runtime *r);
void reload_by_watch(struct runtime *r, const char *path);
/* A tenure for each worker, with a reference each. */
void reload_begin_order(struct runtime *r, struct order *o, struct snapshot *s);

/* Whoever waits goes on: a reload, or else an upgrade. */
void reloads_go_on(struct runtime *r);

/* upgrade.c: finds out which program this is, before a chroot hides it. */
void upgrade_init(struct runtime *r);
void upgrade_by_signal(struct runtime *r);
/* No reload is under way or waits. */
void upgrade_go_on(struct runtime *r);
bool upgrade_holds_reloads(const struct runtime *r);
/* The process is stopping: the new one, if it does not serve yet, is ended; with fini at once. */
void upgrade_cancel(struct runtime *r);
void upgrade_fini(struct runtime *r);

/* upgrade_state.c: the state of everything, as lines of facts. What is taken is applied before the workers start;
 * false: it was not whole, or nothing like that. */
void upgrade_print(struct runtime *r, FILE *out);
bool upgrade_take(struct runtime *r, FILE *in);

/* reload_end.c: a reference to it is given back; after the last one it is freed, in a while. */
void reload_release(struct runtime *r, struct snapshot *s);

/* reload_apply.c: what the current snapshot says of the whole process, and of servers that it has not said `before`. */
void reload_apply_global(struct runtime *r);
void reload_apply_servers(struct runtime *r, const struct snapshot *before);
void reload_apply_log(const struct log_settings *before, const struct log_settings *now, struct log_sink *sink);

/* reload_watch.c: the files of the current snapshot are watched, if it wants that; `as_they_are`: what they say now is
 * not what it says, and that is right so. */
void reload_watch_init(struct runtime *r);
void reload_watch(struct runtime *r, bool as_they_are);
/* These could not be applied: they are watched now, when they begin with the same file. */
void reload_watch_failed(struct runtime *r, const struct config_files *files);

/* taps.c: frees those that nobody closed; no worker runs any more. */
void runtime_taps_fini(struct runtime *r);
/* drain.c: of the configuration in force; NULL when it is not in it any more. */
struct backend *backend_find(const struct runtime *r, const char *name);
/* override.c: another configuration is in force: its servers, some of them new, become what the file says, or what was
 * set against it. Workers that take it up are to sweep their pools afterwards. */
void overrides_apply(struct runtime *r);
/* override.c: as facts, each mark a line. override_take() is to be followed by overrides_apply(). */
void overrides_print(const struct runtime *r, FILE *out);
void override_take(struct runtime *r, const struct facts *f);
/* override.c: forgets them all; the servers stay as they are. */
void overrides_fini(struct runtime *r);

#endif
