/* env.h: what a worker lends to its clients and exchanges: loop, snapshot, pools, counters, randomness. One thread. */
#ifndef LOOMGATE_PROXY_ENV_H
#define LOOMGATE_PROXY_ENV_H

#include "loomgate/backend/pool.h"
#include "loomgate/net/mailbox.h"
#include "loomgate/proxy/tap.h"
#include "loomgate/snapshot/snapshot.h"
#include "loomgate/stats/metrics.h"

enum { ENV_DATE_LEN = 29, ENV_ID_LEN = 36 };

/* A worker's part in the life of a snapshot: its clients that belong to it. Theirs are also the exchanges; so when the
 * last has gone, or gone over to the current one, nothing of the worker's points into the snapshot any more. */
struct tenure {
    struct snapshot *snapshot;
    uint32_t clients;
    struct mail ended; /* for the owner of the worker */
    void *owner;
};

struct env {
    struct loop loop;
    struct tenure *tenure; /* the current one: new clients are its */
    struct pools pools;
    struct h1_scratch scratch;
    struct metrics metrics;
    struct recorder recorder;
    struct malformed_ring malformed;
    struct taps taps;               /* who follows the exchanges live; mostly nobody */
    struct slab clients, exchanges; /* set up by their owners, client.c and exchange.c */
    struct slab waiters;            /* of struct waiter: in queues of backends, or their mail under way */
    struct mailbox *box;            /* of the worker: where the queues send it word */
    struct list live_clients;       /* of struct client */
    struct list live_exchanges;     /* of struct exchange */
    uint32_t client_count, exchange_count;
    struct list collecting; /* of struct metrics_answer: exchanges that wait for the metrics */
    struct list starved;    /* of struct attempt: waiting for a descriptor, the first come first */
    struct task feed;       /* looks at them again */
    int fd_ceiling;         /* accepting pauses at this descriptor: the rest is kept for servers */
    bool draining;          /* no new connection, the running exchanges are the last */
    struct gate *gate;      /* of all client connections, over all workers */
    uint64_t random[4];     /* xoshiro256** */
    uint64_t date_second;
    char date[ENV_DATE_LEN];
    void *owner;
    void (*on_gate_left)(struct env *env);   /* a full gate has room again */
    void (*on_client_gone)(struct env *env); /* after each client */
    /* Another than the current one has no clients any more: once for each. */
    void (*on_tenure_end)(struct env *env, struct tenure *t);
    /* An exchange wants the metrics: exchanges_take_metrics() is to follow. Not told again as long as others wait. */
    void (*on_collect)(struct env *env);
};

void env_init(struct env *env, struct gate *gate);
void env_fini(struct env *env);

/* The wall clock as an IMF-fixdate (RFC 9110 section 5.6.7); made once a second. */
struct slice env_date(struct env *env);
/* A UUID of version 7 (RFC 9562 section 5.7): milliseconds, then random bits. */
void env_make_id(struct env *env, char out[ENV_ID_LEN]);
uint64_t env_random(struct env *env);

#endif
