/* replay.h: the body of a request, kept while it may have to be sent again. */
#ifndef LOOMGATE_PROXY_REPLAY_H
#define LOOMGATE_PROXY_REPLAY_H

#include "loomgate/base/buf.h"

struct replay {
    struct buf body;
    size_t limit;
    bool on;   /* keeping */
    bool lost; /* the body was too long: it cannot be sent again */
};

/* From here on what is sent is kept, up to `limit` bytes; nothing may be kept yet. */
void replay_start(struct replay *r, size_t limit);
void replay_add(struct replay *r, struct chunk_pool *pool, struct slice body);
/* Calls `each` for the bytes kept, from the first on. */
void replay_walk(const struct replay *r, void (*each)(void *owner, struct slice piece), void *owner);
/* Nothing will be sent again: forgets what was kept. */
void replay_stop(struct replay *r, struct chunk_pool *pool);
static inline bool replay_is_possible(const struct replay *r) {
    return r->on && !r->lost;
}

#endif
