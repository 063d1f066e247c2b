/* queue.h: exchanges that wait for a server of one backend, first come first served over all workers.
 *
 *   queue_join -> QUEUED --queue_pump finds it a server--> GRANTED --mail to its worker--> on_turn
 *                   \--queue_leave--> gone                  \--queue_leave--> what it was granted goes to who leaves
 *
 * Nobody is forgotten: who joins counts itself in `waiting` and then looks at the servers' `active`, who gives a place
 * back counts it off `active` and then looks at `waiting`, all sequentially consistent, so one of the two sees the
 * other. For what only time or an operator changes, the control thread pumps now and then. */
#ifndef LOOMGATE_BACKEND_QUEUE_H
#define LOOMGATE_BACKEND_QUEUE_H

#include "loomgate/backend/balance.h"
#include "loomgate/net/mailbox.h"

/* What is found for an exchange that wants a server. */
enum pick_result {
    PICK_OK,
    PICK_FULL, /* there are servers, but none has room: wait */
    PICK_OPEN, /* the breakers of all that were left are open */
    PICK_NONE, /* no server is left */
};

/* A place at a server: counted in its `active`, known to its breaker. To be given back once. */
struct lease {
    const struct balance_member *member; /* NULL: none */
    struct breaker_ticket ticket;
    bool told;   /* the breaker knows how it went, and */
    bool failed; /* that it did not go well */
};

struct backend;
struct waiter;
struct queue_events {
    /* The first waiter wants a server: PICK_OK with the lease filled in, PICK_FULL when it must wait on; else it is
     * told so. Runs under the queue's lock, on any thread: must not call into the queue. */
    enum pick_result (*pick)(struct waiter *w, uint64_t now_us);
};

/* Lives as long as the backend's name is in some configuration. */
struct queue {
    _Alignas(LG_CACHE_LINE) _Atomic uint32_t waiting; /* QUEUED ones; read without the lock to see whether to pump */
    pthread_mutex_t lock;                             /* guards the list and each waiter's state */
    struct list waiters;
    const struct queue_events *events;
};

struct waiter {
    struct list node;
    struct mail mail;
    struct queue *queue;
    struct mailbox *home; /* of the worker that waits */
    struct slab *slab;    /* of that worker: where it came from */
    uint8_t state;
    /* Set by the owner after queue_waiter_new, before queue_join: */
    const struct backend *backend; /* of the owner's snapshot, which stays alive meanwhile */
    struct pick_request request;   /* `tried` points at `tried` below */
    struct tried tried;
    void *owner;
    /* On the home thread: r is PICK_OK (w->lease is the owner's now), PICK_OPEN or PICK_NONE. The waiter is freed
     * when it returns. */
    void (*on_turn)(struct waiter *w, enum pick_result r);
    /* The outcome. */
    struct lease lease;
    struct breaker_change change; /* that came with it, to be told by the owner */
    uint8_t result;
};

void queue_init(struct queue *q, const struct queue_events *events);
void queue_fini(struct queue *q); /* nobody may wait */

/* A waiter of the calling worker, from its slab (slab_init'ed for struct waiter). */
struct waiter *queue_waiter_new(struct slab *slab, struct mailbox *home);
/* At the end of the queue, then pumps: on_turn comes later, by mail, never before it returns. False: `max` wait
 * already; then the waiter is freed. */
LG_MUST_CHECK bool queue_join(struct queue *q, struct waiter *w, uint32_t max, uint64_t now_us);
/* The owner does not want its turn any more; on the waiter's thread, before on_turn. True: a place had been found for
 * it already, which is the owner's now, to be given back, and so is the change, to be told. */
LG_MUST_CHECK bool queue_leave(struct waiter *w, uint64_t now_us, struct lease *lease, struct breaker_change *change);
/* A place may have become free: serves waiters in their order as long as there is one. Any thread. */
void queue_pump(struct queue *q, uint64_t now_us);

static inline bool queue_is_empty(const struct queue *q) {
    return atomic_load(&q->waiting) == 0;
}

#endif
