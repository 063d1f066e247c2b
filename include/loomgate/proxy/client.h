/* client.h: a client connection: PROXY header, protocol; starts exchanges or a tunnel.
 *
 *   accepted -> [PROXY header] -> HTTP session: an exchange for each request
 *                              -> TCP mode: one exchange, one tunnel             gone when both conn and exchanges are
 */
#ifndef LOOMGATE_PROXY_CLIENT_H
#define LOOMGATE_PROXY_CLIENT_H

#include "loomgate/proxy/exchange.h"

struct client {
    struct exchange_client base;
    struct h1_session h1;  /* its conn is the client's also while the PROXY header is awaited */
    struct task task;      /* its node is among the worker's clients, in the end in the graveyard */
    struct tenure *tenure; /* that of its frontend */
    uint32_t exchanges;    /* not ended yet */
    bool open;             /* its connection, or the tunnel that took it, is not closed yet */
};
/* What an idle client costs: this, a conn, and what libev keeps of each descriptor. */
_Static_assert(sizeof(struct client) <= 272, "idle clients cost more");

struct client_origin {
    const struct addr *peer;
    uint16_t port;     /* the listener's */
    bool accept_proxy; /* a PROXY header comes first */
    bool has_spoken;   /* it has most likely sent something: not to be waited for */
};
/* A connection that was accepted; both gates have been entered. */
void client_start(struct env *env, struct frontend *frontend, int fd, const struct client_origin *from);
/* The worker has a new tenure: idle clients go over to it, busy ones when their exchange has ended. `*left` is how many
 * clients there were then, and counts down to 0 with those that were looked at; `*effort` is what may be done now, one
 * for each client, and 32 for one that closes. True: all were looked at. */
LG_MUST_CHECK bool clients_move(struct env *env, uint32_t *left, uint32_t *effort);
/* All clients of the worker: idle ones close, busy ones end with their exchange. */
void clients_shutdown(struct env *env);
/* All clients of the worker, at once; their exchanges are recorded as `shutting_down`. */
void clients_abort(struct env *env);

#endif
