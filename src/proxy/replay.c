/* replay.c: the body of a request, kept while it may have to be sent again. */
#include "loomgate/proxy/replay.h"

void replay_start(struct replay *r) {
    r->on = true;
}

void replay_add(struct replay *r, struct chunk_pool *pool, struct slice body) {
    if (!replay_is_possible(r)) return;
    if (r->body.bytes + body.n > REPLAY_MAX) {
        r->lost = true;
        buf_clear(&r->body, pool);
        return;
    }
    buf_append(&r->body, pool, body);
}

void replay_stop(struct replay *r, struct chunk_pool *pool) {
    r->on = false;
    buf_clear(&r->body, pool);
}
