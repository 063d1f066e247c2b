/* runtime_internal.h: the control thread's state, for the files of the runtime. */
#ifndef LOOMGATE_RUNTIME_RUNTIME_INTERNAL_H
#define LOOMGATE_RUNTIME_RUNTIME_INTERNAL_H

#include "loomgate/backend/health.h"
#include "loomgate/runtime/runtime.h"
#include "loomgate/runtime/worker.h"

struct runtime {
    struct loop loop;
    struct mailbox box;
    struct registry registry;
    struct snapshot *snapshot;
    struct metrics metrics; /* the control thread's own shard */
    struct checks checks;
    struct gate gate;
    struct worker **workers;
    unsigned worker_count, started, drained;
    enum runtime_state state;
    int fd_ceiling;
    uint64_t start_us;
    struct deadline grace, pump, tick;
    struct list drains;    /* of drain.c: servers whose drain has a limit of time */
    struct list overrides; /* of override.c */
    ev_signal signals[5];
    const char **socket_files; /* of UNIX listeners that we bound: to be removed at the end */
    unsigned socket_file_count;
    bool pid_written;
    const struct runtime_hooks *hooks; /* NULL: none */
    bool is_bound;                     /* on_bind was called */
};

/* drain.c: of the configuration in force; NULL when it is not in it any more. */
struct backend *backend_find(const struct runtime *r, const char *name);
/* drain.c: forgets the limits of time that are set. */
void drains_fini(struct runtime *r);
/* override.c: forgets them all; the servers stay as they are. */
void overrides_fini(struct runtime *r);

#endif
