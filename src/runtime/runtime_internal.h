/* runtime_internal.h: the control thread's state, for the files of the runtime. */
#ifndef LOOMGATE_RUNTIME_RUNTIME_INTERNAL_H
#define LOOMGATE_RUNTIME_RUNTIME_INTERNAL_H

#include "loomgate/backend/health.h"
#include "loomgate/runtime/binds.h"
#include "loomgate/runtime/runtime.h"
#include "loomgate/runtime/worker.h"

struct runtime {
    struct loop loop;
    struct mailbox box;
    struct registry registry;
    struct snapshot *snapshot; /* the current one */
    struct list snapshots;     /* all that are alive */
    struct config *previous;   /* what `rollback` goes back to; NULL: nothing */
    struct binds binds;
    struct runtime_source source;
    struct list reloads; /* of reload.c: under way, and waiting */
    bool reloading;
    unsigned round;         /* of publishing */
    struct metrics metrics; /* the control thread's own shard */
    struct checks checks;
    struct gate gate;
    struct worker **workers;
    unsigned worker_count, started, drained;
    enum runtime_state state;
    int fd_ceiling;
    uint64_t start_us;
    struct deadline grace, pump, tick;
    struct list drains; /* of drain.c: servers whose drain has a limit of time */
    ev_signal signals[5];
    bool pid_written;
    const struct runtime_hooks *hooks; /* NULL: none */
    bool is_bound;                     /* on_bind was called */
};

/* drain.c: the server's backend in the configuration in force; NULL when it is in none any more. */
const struct backend *backend_of(const struct runtime *r, const struct server *server);
/* drain.c: forgets the limits of time that are set: all; those of servers that only this snapshot knows. */
void drains_fini(struct runtime *r);
void drains_forget(struct runtime *r, const struct snapshot *s);
/* drain.c: what still runs on a server that is in the configuration no more is cut after this time. */
void drain_removed(struct runtime *r, struct server *server, uint64_t timeout_us);

/* runtime.c: checks are made as the current snapshot says. */
void runtime_check_servers(struct runtime *r);

/* reload.c: the source is read again. */
void reload_by_signal(struct runtime *r);
/* reload.c: a tenure for each worker, with a reference each. */
void reload_begin_order(struct runtime *r, struct order *o, struct snapshot *s);
/* What the current snapshot says of the whole process. */
void reload_apply_global(struct runtime *r);
/* A reference to it is given back; after the last one it is freed, in a while. */
void reload_release(struct runtime *r, struct snapshot *s);
/* After the workers have ended. */
void reloads_fini(struct runtime *r);

#endif
