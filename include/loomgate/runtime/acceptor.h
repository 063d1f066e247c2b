/* acceptor.h: the live listening socket of one bind point in one worker.
 *
 *   ACCEPTING --a gate is full, or descriptors are lacking--> PAUSED --a connection leaves, or ACCEPT_RETRY_US-->
 * ACCEPTING
 *
 * acceptor_close empties the queue first. */
#ifndef LOOMGATE_RUNTIME_ACCEPTOR_H
#define LOOMGATE_RUNTIME_ACCEPTOR_H

#include "loomgate/proxy/env.h"

enum { ACCEPT_RETRY_US = 100000 };

struct acceptor {
    struct list node; /* among the worker's */
    unsigned bind;    /* which socket */
    struct env *env;
    struct frontend *frontend;
    ev_io io;
    struct deadline retry; /* while paused */
    uint16_t port;
    uint32_t backlog;
    bool accept_proxy;
    bool defers; /* who is accepted has mostly spoken already */
    bool paused;
    uint64_t full_us;     /* when a gate was last found full */
    bool starved;         /* descriptors are lacking: told once */
    unsigned burst;       /* connections taken at once; follows the load */
    unsigned full_bursts; /* of so many in a row */
};

/* Starts; takes the descriptor over. */
void acceptor_init(struct acceptor *a, struct env *env, struct frontend *frontend, int fd, uint16_t port,
                   const struct listener_settings *settings);
/* The same socket under another configuration. */
void acceptor_set(struct acceptor *a, struct frontend *frontend, const struct listener_settings *settings);
/* Goes on after a pause, if there was one. */
void acceptor_resume(struct acceptor *a);
/* Takes what waits in the queue (closing would reset it), then closes. */
void acceptor_close(struct acceptor *a);
/* Closes, and leaves what waits in the queue to whoever else has the socket. */
void acceptor_abandon(struct acceptor *a);

#endif
