/* connect.h: a fresh connection to a server: socket, connect timeout, PROXY header.
 *
 *   connect_start -> (connecting) -> on_connected(conn) | on_connect_failed(failure)      connect_cancel at any time */
#ifndef LOOMGATE_BACKEND_CONNECT_H
#define LOOMGATE_BACKEND_CONNECT_H

#include "loomgate/backend/server.h"
#include "loomgate/base/failure.h"
#include "loomgate/net/conn.h"

struct connect;
struct connect_events {
    /* The owner takes the conn over; the PROXY header, if any, is on its way. */
    void (*on_connected)(struct connect *k, struct conn *c);
    /* connect_failed or connect_timeout. */
    void (*on_connect_failed)(struct connect *k, enum failure f);
};

struct connect { /* embedded; nothing to free */
    const struct connect_events *events;
    struct conn *conn; /* NULL when idle */
    struct loop *loop;
    struct task failed; /* a failure at once is told later */
    int error_number;   /* of the last failure, for the log */
    enum send_proxy send_proxy;
    const struct addr *client, *local; /* for the PROXY header; valid until the callback */
};

/* Whether that is what the process or the system lacks for a moment: not the server's fault. */
bool connect_is_shortage(int error_number);

void connect_init(struct connect *k, struct loop *loop, const struct connect_events *events);
/* True: a callback follows, never before it returns. False: nothing was begun and nothing follows, because the process
 * lacks descriptors or memory; errno says which. timeout_us 0: as long as the kernel tries. */
LG_MUST_CHECK bool connect_start(struct connect *k, const struct server *server, uint64_t timeout_us);
void connect_cancel(struct connect *k);

#endif
