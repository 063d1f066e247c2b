/* runtime_internal.h: the control thread's state, for the files of the runtime. */
#ifndef LOOMGATE_RUNTIME_RUNTIME_INTERNAL_H
#define LOOMGATE_RUNTIME_RUNTIME_INTERNAL_H

#include "loomgate/backend/health.h"
#include "loomgate/runtime/metrics_page.h"
#include "loomgate/runtime/runtime.h"
#include "loomgate/runtime/worker.h"

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
    struct scrapes scrapes;
    struct list drains; /* of drain.c: servers whose drain has a limit of time */
    ev_signal signals[5];
    const char **socket_files; /* of UNIX listeners that we bound: to be removed at the end */
    unsigned socket_file_count;
    bool pid_written;
    const struct runtime_hooks *hooks; /* NULL: none */
    bool is_bound;                     /* on_bind was called */
};

/* drain.c: the server's backend in the configuration in force; NULL when it is in none any more. */
const struct backend *backend_of(const struct runtime *r, const struct server *server);

/* scrape.c */
void scrapes_init(struct runtime *r);
/* Nobody asks any more. */
void scrapes_fini(struct runtime *r);
/* A worker asks: it is given the text, now or when it is written. */
void scrapes_ask(struct worker *w);

/* drain.c: forgets the limits of time that are set. */
void drains_fini(struct runtime *r);

#endif
