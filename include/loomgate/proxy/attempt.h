/* attempt.h: one try at one server: from the pool or by a fresh connection, until it is ready to be used.
 *
 *   start --from the pool--> ready
 *         --> connecting --> ready | failed
 *         --no descriptor--> starved --one is free, or a session idle--> as above          | connect_timeout --> failed
 */
#ifndef LOOMGATE_PROXY_ATTEMPT_H
#define LOOMGATE_PROXY_ATTEMPT_H

#include "loomgate/backend/connect.h"
#include "loomgate/proxy/env.h"

struct attempt;
struct attempt_events {
    void (*on_ready)(struct attempt *a);
    void (*on_failed)(struct attempt *a, enum failure f); /* attempt_end() is still to be called */
};

struct attempt { /* embedded in an exchange, one at a time */
    const struct attempt_events *events;
    struct env *env;
    struct connect connect;
    const struct balance_member *member; /* NULL: none under way */
    struct server_session *session;      /* ready, for HTTP */
    struct conn *conn;                   /* ready, for a tunnel */
    const struct route *route;
    struct list node;         /* among the worker's starved ones */
    struct deadline patience; /* while starved: the connect timeout */
    bool raw;
    uint64_t began_us, connect_us; /* connect_us: how long connecting took, UINT64_MAX: not done */
};

struct attempt_request {
    const struct balance_member *member;
    const struct route *route;
    bool raw;                          /* a bare connection is wanted */
    bool fresh;                        /* not from the pool */
    bool certain;                      /* of the pool only what is alive for sure */
    const struct addr *client, *local; /* for the PROXY header; valid for the exchange's life */
};

void attempt_init(struct attempt *a, struct env *env, const struct attempt_events *events);
/* True: ready at once. False: on_ready or on_failed follows. */
bool attempt_start(struct attempt *a, const struct attempt_request *r);
/* The session or conn has been taken over by a stream or a tunnel, or is not wanted any more (then it is closed). */
void attempt_end(struct attempt *a);
/* A descriptor may be free again, or a session idle: the worker's starved attempts are looked at, at the turn's end. */
void attempts_feed(struct env *env);

#endif
