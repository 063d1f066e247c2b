/* worker.h: one thread with a loop, its acceptors and its part of all connections.
 *
 *   worker_start -> RUNNING --worker_drain--> DRAINING --last client gone--> on_drained
 *                   RUNNING --worker_hand_over--> DRAINING, idle clients stay until their next response or timeout
 *   worker_stop at any time: what still runs is broken off */
#ifndef LOOMGATE_RUNTIME_WORKER_H
#define LOOMGATE_RUNTIME_WORKER_H

#include "loomgate/net/mailbox.h"
#include "loomgate/runtime/acceptor.h"

/* What all workers serve from now on; constant while they read it. */
struct order {
    struct tenure **tenures; /* one a worker, which takes it over */
    struct order_listener {
        unsigned bind; /* which socket: see binds.h; sorted by it, as the acceptors are */
        struct frontend *frontend;
        const struct listener_settings *settings;
        uint16_t port;
        int *fds;          /* worker w takes w, w + workers, ... over; NULL: they have them already */
        unsigned fd_count; /* at least one a worker; more, when so many were inherited */
    } * listeners;
    unsigned listener_count, workers;
};

struct worker {
    struct env env;
    struct mailbox box;
    struct list acceptors;
    unsigned index;
    pthread_t thread;
    struct mail drain, hand_over, stop, resume, drained; /* posted at most once at a time, so they live here */
    struct mail collect;        /* goes to the control thread and comes back with the metrics */
    struct exposition *metrics; /* in that letter; its receiver's reference */
    _Atomic bool resume_posted;
    bool collect_posted; /* the letter has not come back */
    struct list asking;  /* the control thread's: among those that are given the next text */
    bool told_drained;
    uint32_t clients_left, pools_left; /* that worker_settle() has not looked at */
    struct mailbox *home;              /* the control thread's */
    void *owner;
    void (*on_drained)(struct worker *w);   /* on the control thread */
    void (*on_gate_left)(struct worker *w); /* on any worker's thread */
    /* On the control thread: nothing of the worker's points into the tenure's snapshot any more; it is the owner's to
     * free. */
    void (*on_tenure_end)(struct worker *w, struct tenure *t);
    void (*on_collect)(struct worker *w); /* on the control thread: worker_give_metrics() is to follow */
};

struct exposition; /* stats/exposition.h */

/* Sets the worker up on the calling thread: nothing runs before worker_start. */
void worker_init(struct worker *w, unsigned index, struct gate *gate, struct mailbox *home);
/* Takes up the order: opens the sockets that are new, closes those that are in it no more (what waits in their queues
 * is still accepted). On the worker's thread, or before worker_start. */
void worker_switch(struct worker *w, const struct order *o);
/* A portion of what is left to do then: clients go over to the order's frontends, idle connections to servers that are
 * not in service any more are closed. False: there is more, for another turn. */
LG_MUST_CHECK bool worker_settle(struct worker *w);
bool worker_start(struct worker *w, struct error *e);

/* From any thread: stop accepting and end each connection with its running exchange; on_drained follows. */
void worker_drain(struct worker *w);
/* The same once another process accepts at the same sockets: clients that are idle may stay, and end with their next
 * response. worker_drain may follow. */
void worker_hand_over(struct worker *w);
/* From any thread: look at paused acceptors again. */
void worker_resume(struct worker *w);
/* From the control thread, once after each on_collect; a reference of the caller's goes with the text. */
void worker_give_metrics(struct worker *w, struct exposition *text);
/* From the control thread: breaks off what still runs, leaves the loop, joins the thread. */
void worker_stop(struct worker *w);
/* After worker_stop, or instead when it was never started. */
void worker_fini(struct worker *w);

#endif
