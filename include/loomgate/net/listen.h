/* listen.h: a listening socket on a loop: tells of each connection; for sockets that have few of them.
 *
 *   listen_start --> (a connection: on_accept) --listen_stop--> closed
 *                      \--no descriptors, no memory--> pauses for LISTEN_RETRY_US --/ */
#ifndef LOOMGATE_NET_LISTEN_H
#define LOOMGATE_NET_LISTEN_H

#include "loomgate/net/addr.h"
#include "loomgate/net/loop.h"

enum { LISTEN_RETRY_US = 100000, LISTEN_BURST = 16 };

struct listen_watch {
    struct loop *loop;
    ev_io io;
    struct loop_timer retry;
    /* Owns the descriptor, which is non-blocking. May stop the watch. */
    void (*on_accept)(struct listen_watch *l, int fd, const struct addr *peer);
};

/* Takes the listening descriptor over. */
void listen_start(struct listen_watch *l, struct loop *loop, int fd,
                  void (*on_accept)(struct listen_watch *l, int fd, const struct addr *peer));
/* Closes it; no more than once. */
void listen_stop(struct listen_watch *l);

#endif
