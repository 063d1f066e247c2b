/* replay.h: the body of a request, kept while it may have to be sent again. */
#ifndef LOOMGATE_PROXY_REPLAY_H
#define LOOMGATE_PROXY_REPLAY_H

#include "loomgate/base/buf.h"

/* Kept at most, as in `retry.buffer`'s default. */
enum { REPLAY_MAX = 65536 };

struct replay {
    struct buf body;
    bool on;   /* keeping */
    bool lost; /* the body was too long: it cannot be sent again */
};

/* From here on what is sent is kept. */
void replay_start(struct replay *r);
void replay_add(struct replay *r, struct chunk_pool *pool, struct slice body);
/* Nothing will be sent again: forgets what was kept. */
void replay_stop(struct replay *r, struct chunk_pool *pool);
static inline bool replay_is_possible(const struct replay *r) {
    return r->on && !r->lost;
}

#endif
