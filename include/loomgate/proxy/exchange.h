/* exchange.h: one request and its response (or one tunnel): the state machine between two streams.
 *
 *                      QUEUE: no server has room
 *                      ^   \
 *   HEAD -> ROUTE -> PICK -> CONNECT -> FORWARD -> DONE
 *             |      ^ |      ^ | |        | \----> TUNNEL -> DONE     (101, or TCP mode straight from CONNECT)
 *             |      | |      | | +--------|------------^
 *             |      | |      | |          |
 *             |      | +----> FAIL <-------+       -> CONNECT: an idle connection was closed: again on a fresh one
 *             |   BACKOFF <--+ | |                  -> BACKOFF -> PICK: another try, on another server if there is one
 *             +--> ANSWER <----+ +-> DONE           else an answer of our own, or the response is cut
 *             +--> COLLECT -> ANSWER                the metrics, which the control thread writes
 *
 * `front` is the client's stream, `back` the server's. The exchange ends when both are closed: then the record is
 * written. */
#ifndef LOOMGATE_PROXY_EXCHANGE_H
#define LOOMGATE_PROXY_EXCHANGE_H

#include "loomgate/proxy/access_record.h"
#include "loomgate/proxy/attempt.h"
#include "loomgate/proxy/prepare.h"
#include "loomgate/proxy/replay.h"
#include "loomgate/proxy/tunnel.h"

enum exchange_state {
    EXCHANGE_HEAD,
    EXCHANGE_ROUTE,
    EXCHANGE_PICK,
    EXCHANGE_QUEUE,
    EXCHANGE_CONNECT,
    EXCHANGE_FORWARD,
    EXCHANGE_TUNNEL,
    EXCHANGE_FAIL,
    EXCHANGE_BACKOFF,
    EXCHANGE_COLLECT,
    EXCHANGE_ANSWER,
    EXCHANGE_DONE
};

/* What an exchange needs of its client; embedded in it, outlives the exchange. */
struct exchange_client {
    struct env *env;
    struct frontend *frontend;
    struct session *session; /* NULL in TCP mode and once closed */
    struct addr_kept addr;   /* the client's, as a PROXY header told it where one is accepted */
    int fd;                  /* valid while a stream of it is open */
    uint16_t port;           /* the port it came to */
    bool is_leaving;         /* the next exchange that answers is its last */
    struct addr *local;      /* where it connected to, as a PROXY header told it; NULL: ask the socket */
    void (*on_exchange_end)(struct exchange_client *client);
};

struct metrics_answer;

enum { EXCHANGE_SIZE = 4096 };

struct exchange {
    struct exchange_client *client;
    struct env *env;
    const struct route *route; /* NULL until routed */
    struct stream *front, *back;
    struct conn *tcp_front; /* TCP mode, until the tunnel takes it */
    uint8_t state;
    uint8_t cause; /* enum failure */
    bool has_body; /* the request has one */
    bool request_ended, response_started, response_ended;
    bool front_paused, back_paused;
    bool fresh; /* this try does not use the pool */
    bool reused, untouched, rewritten, fd_local;
    bool draining_back; /* `back` is what is left of an answer that is not passed on */
    uint16_t status;
    uint16_t tried_status; /* of the answer that the last try had, with FAILURE_bad_status */
    uint16_t retries;
    struct arena arena;
    struct message request;
    struct attempt attempt;
    struct replay replay;
    struct tunnel tunnel;
    struct deadline deadline;     /* timeouts.request */
    struct deadline try_deadline; /* retry.per_try_timeout, until the response's head; in QUEUE timeouts.queue */
    struct loop_timer backoff;
    uint64_t backoff_us; /* waited before this try */
    struct tried tried;
    uint64_t key; /* by which its server is picked, where the policy wants one: made at the first pick */
    bool key_made, has_key;
    const struct balance_member *picked; /* the last server tried */
    struct lease lease;                  /* of the try under way: its place at `picked` */
    struct waiter *waiter;               /* in QUEUE */
    struct metrics_answer *metrics;      /* in COLLECT, and in ANSWER until all of them are sent */
    uint64_t queued_us, queue_us;        /* since when it waits; how long it has waited in all, UINT64_MAX: never */
    struct slice id;
    uint64_t start_us, unix_us, first_byte_us, connect_us; /* UINT64_MAX: not yet */
    uint64_t asked_us; /* when the server had been sent the whole request; 0: not yet */
    uint64_t body_in, bytes_in, bytes_out;
    unsigned try_count;
    struct list node; /* among the worker's exchanges */
    struct task grave;
    /* What follows is not zeroed at birth. */
    struct access_try tries[ACCESS_TRIES_MAX];
    struct addr local;
    char id_room[REQUEST_ID_MAX];
    struct addr peer; /* the client's */
    _Alignas(16) char arena_room[];
};

struct exposition; /* stats/exposition.h */

/* A request begins on a client's stream: gives the stream its events. */
void exchange_start(struct exchange_client *client, struct stream *front);
/* Breaks it off on both sides, in whatever state it is; the record says `f`. */
void exchange_kill(struct exchange *x, enum failure f);
/* The same, but answered as long as no response has begun, one of our own neither. */
void exchange_cut(struct exchange *x, enum failure f);
/* The metrics are here: all who wait for them are answered. */
void exchanges_take_metrics(struct env *env, struct exposition *text);
/* TCP mode: the client's connection, to be tunnelled to the frontend's default backend. */
void exchange_start_tcp(struct exchange_client *client, struct conn *front);

#endif
