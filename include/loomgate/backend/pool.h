/* pool.h: sessions to servers: the idle ones of one worker, ready for the next exchange, last used first.
 *
 *   connect --> (in use) <--pool_take-- idle
 *                  |                     ^  |
 *                  +----- on_idle -------+  +--> closed by the server, by idle_timeout, or above max_idle */
#ifndef LOOMGATE_BACKEND_POOL_H
#define LOOMGATE_BACKEND_POOL_H

#include "loomgate/backend/server.h"
#include "loomgate/http/h1_session.h"
#include "loomgate/http/malformed.h"

/* Above max_idle, sessions stay for so long in case that a burst goes on. */
enum { POOL_TRIM_US = 1000000 };

/* One connection to a server that speaks HTTP. Owned by its pool while idle, by an attempt while in use; frees itself
 * when its connection is gone. */
struct server_session {
    struct h1_session h1;
    struct session_timeouts timeouts;
    struct server *server;
    struct pools *pools;
    struct list node; /* among the idle ones */
    struct task grave;
    uint64_t max_requests; /* 0: any number */
    bool is_private;       /* tells the server of one client (PROXY): never pooled */
};

struct pool {
    struct list idle; /* of server_session, the last used first */
    uint32_t count;
    uint32_t unused;   /* the lowest count since the last trim: so many were not needed */
    uint32_t max_idle; /* of the configuration in force */
    struct pools *pools;
    struct deadline trim; /* set while there are more than max_idle */
};

struct pools {
    struct loop *loop;
    struct h1_scratch *scratch;
    struct pool **v; /* by server id; made when first needed */
    unsigned size;
    struct slab sessions;
    size_t idle;               /* in all pools */
    struct recorder *recorder; /* told of each that becomes idle or is so no more; NULL: none */
    /* Where answers are noted that cannot be read; NULL: nowhere. */
    struct malformed_ring *malformed;
    void *owner;
    void (*on_room)(struct pools *p); /* a session has become idle, or a descriptor free */
};

void pools_init(struct pools *p, struct loop *loop, struct h1_scratch *scratch);
/* Nothing may be idle or in use any more, nor wait in the loop's graveyard. */
void pools_fini(struct pools *p);
/* Closes the longest idle session of some server, to have its descriptor; false when none is idle. */
bool pools_evict(struct pools *p);
/* Closes every idle session; those to one server. */
void pools_close_idle(struct pools *p);
void pools_close_idle_of(struct pools *p, const struct server *server);
/* Closes those to servers that are not in service any more. `*left` is p->size at the beginning, and counts down to 0
 * with the pools that were looked at; `*effort` is what may be done now, one for each pool, and 32 for each session
 * that is closed. True: all were looked at. */
enum { POOL_CLOSE_EFFORT = 32 };
LG_MUST_CHECK bool pools_sweep(struct pools *p, uint32_t *left, uint32_t *effort);
/* The server is about to go; its sessions are gone, also from the graveyard. With idle ones it is kept: it is in use
 * again. */
void pools_forget(struct pools *p, const struct server *server);

/* An idle session to the server, or NULL. `certain`: ask the kernel whether the server has closed it meanwhile (a
 * system call), for a request that could not be sent again. */
struct server_session *pool_take(struct pools *p, struct server *server, bool certain);
/* A session on a connection that has just been made. */
struct server_session *pool_adopt(struct pools *p, struct server *server, struct conn *c,
                                  const struct pool_settings *settings, const struct session_timeouts *timeouts);
/* Opens the stream of one exchange, under these limits of time. */
struct stream *server_session_open(struct server_session *s, const struct session_timeouts *timeouts,
                                   const struct stream_events *events, void *owner);

#endif
