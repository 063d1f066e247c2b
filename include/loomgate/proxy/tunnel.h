/* tunnel.h: bytes both ways between two connections: TCP mode and Upgrade.
 *
 *   front <--> back;  each direction: OPEN --FIN from its sender--> DRAINING --all sent, FIN passed on--> DONE
 *   ends when both directions are DONE, or at once when a side breaks or nothing moved for too long */
#ifndef LOOMGATE_PROXY_TUNNEL_H
#define LOOMGATE_PROXY_TUNNEL_H

#include "loomgate/base/failure.h"
#include "loomgate/net/conn.h"

struct tunnel;
struct tunnel_events {
    /* Both connections are closed. FAILURE_NONE: both sides had ended well. */
    void (*on_tunnel_end)(struct tunnel *t, enum failure f);
};

struct tunnel {                /* embedded */
    struct conn *front, *back; /* NULL before and after */
    const struct tunnel_events *events;
    uint64_t bytes_in, bytes_out; /* from and to the client, for its whole connection */
};

/* Takes both connections over. idle_us: closed when no byte moves for so long; 0: never. */
void tunnel_start(struct tunnel *t, struct conn *front, struct conn *back, uint64_t idle_us,
                  const struct tunnel_events *events);
/* Breaks both sides off; no event follows. */
void tunnel_abort(struct tunnel *t);

#endif
