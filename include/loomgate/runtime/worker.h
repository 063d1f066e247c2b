/* worker.h: one thread with a loop, its acceptors and its part of all connections.
 *
 *   worker_start -> RUNNING --worker_drain--> DRAINING --last client gone--> on_drained
 *   worker_stop at any time: what still runs is broken off */
#ifndef LOOMGATE_RUNTIME_WORKER_H
#define LOOMGATE_RUNTIME_WORKER_H

#include "loomgate/net/mailbox.h"
#include "loomgate/runtime/acceptor.h"

struct worker {
    struct env env;
    struct mailbox box;
    struct acceptor *acceptors;
    unsigned acceptor_count, index;
    pthread_t thread;
    struct mail drain, stop, resume, drained; /* posted at most once at a time, so they live here */
    struct mail collect;                      /* goes to the control thread and comes back with the metrics */
    struct exposition *metrics;               /* in that letter; its receiver's reference */
    _Atomic bool resume_posted;
    bool collect_posted; /* the letter has not come back */
    struct list asking;  /* the control thread's: among those that are given the next text */
    bool told_drained;
    struct mailbox *home; /* the control thread's */
    void *owner;
    void (*on_drained)(struct worker *w);   /* on the control thread */
    void (*on_gate_left)(struct worker *w); /* on any worker's thread */
    void (*on_collect)(struct worker *w);   /* on the control thread: worker_give_metrics() is to follow */
};

struct exposition; /* stats/exposition.h */

/* Sets the worker up on the calling thread: nothing runs before worker_start. */
void worker_init(struct worker *w, unsigned index, struct snapshot *snapshot, struct gate *gate, struct mailbox *home,
                 unsigned acceptor_room);
/* Adds a listening socket; takes it over. Before worker_start. */
void worker_add_acceptor(struct worker *w, struct frontend *frontend, int fd, uint16_t port,
                         const struct listener_settings *settings);
bool worker_start(struct worker *w, struct error *e);

/* From any thread: stop accepting and end each connection with its running exchange; on_drained follows. */
void worker_drain(struct worker *w);
/* From any thread: look at paused acceptors again. */
void worker_resume(struct worker *w);
/* From the control thread, once after each on_collect; a reference of the caller's goes with the text. */
void worker_give_metrics(struct worker *w, struct exposition *text);
/* From the control thread: breaks off what still runs, leaves the loop, joins the thread. */
void worker_stop(struct worker *w);
/* After worker_stop, or instead when it was never started. */
void worker_fini(struct worker *w);

#endif
