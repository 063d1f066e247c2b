/* replay.c: the body of a request, kept while it may have to be sent again. */
#include "loomgate/proxy/replay.h"

void replay_start(struct replay *r, size_t limit) {
    r->on = true;
    r->limit = limit;
}

void replay_add(struct replay *r, struct chunk_pool *pool, struct slice body) {
    if (!replay_is_possible(r)) return;
    if (r->body.bytes + body.n > r->limit) {
        r->lost = true;
        buf_clear(&r->body, pool);
        return;
    }
    buf_append(&r->body, pool, body);
}

void replay_walk(const struct replay *r, void (*each)(void *owner, struct slice piece), void *owner) {
    for (const struct chunk *c = buf_first(&r->body); c; c = buf_after(&r->body, c))
        if (c->end > c->start) each(owner, slice_from(c->data + c->start, c->end - c->start));
}

void replay_stop(struct replay *r, struct chunk_pool *pool) {
    r->on = false;
    buf_clear(&r->body, pool);
}
