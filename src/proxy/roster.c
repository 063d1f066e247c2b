/* roster.c: a worker's exchanges in flight: told of, and ended by hand. */
#include "loomgate/proxy/roster.h"

#include <stdlib.h>

const char *exchange_phase(const struct exchange *x) {
    /* Most are never seen from outside: nothing is waited for in them. */
    static const char *const words[] = {
        [EXCHANGE_HEAD] = "head",       [EXCHANGE_ROUTE] = "route",     [EXCHANGE_PICK] = "pick",
        [EXCHANGE_QUEUE] = "queue",     [EXCHANGE_CONNECT] = "connect", [EXCHANGE_FORWARD] = "waiting",
        [EXCHANGE_TUNNEL] = "tunnel",   [EXCHANGE_FAIL] = "fail",       [EXCHANGE_BACKOFF] = "backoff",
        [EXCHANGE_COLLECT] = "collect", [EXCHANGE_ANSWER] = "answer",   [EXCHANGE_DONE] = "done",
    };
    if (x->state != EXCHANGE_FORWARD) return words[x->state];
    if (x->response_started && !x->response_ended) return "response";
    if (x->has_body && !x->request_ended) return "request";
    return x->response_started ? "response" : words[x->state];
}

/* --- which ------------------------------------------------------------------------------------------------------ */

static bool uses(const struct exchange *x, const char *backend, const char *server) {
    const struct balance_member *m = x->lease.member;
    return m && strcmp(m->server->backend, backend) == 0 && strcmp(m->server->name, server) == 0;
}

static bool matches(const struct exchange *x, const struct roster_filter *f) {
    if (f->frontend && strcmp(x->client->frontend->settings->name, f->frontend) != 0) return false;
    if (f->server && !uses(x, f->backend, f->server)) return false;
    if (f->id.n && !(f->whole_id ? slice_eq(x->id, f->id) : slice_has_prefix(x->id, f->id))) return false;
    return x->env->loop.now_us - x->start_us >= f->older_us;
}

/* --- told of ---------------------------------------------------------------------------------------------------- */

void roster_init(struct roster *r) {
    *r = (struct roster){0};
    arena_init(&r->arena, NULL, 0);
}

void roster_fini(struct roster *r) {
    arena_fini(&r->arena);
    free(r->v);
}

/* Another thread reads it, when the exchange and its snapshot may have gone. */
static struct slice keep(struct roster *r, struct slice s) {
    size_t n = s.n < ROSTER_TEXT_MAX ? s.n : ROSTER_TEXT_MAX;
    return n ? slice_from(arena_strndup(&r->arena, s.p, n), n) : slice_from(NULL, 0);
}

/* What the client's side has moved since the exchange's own counts were made. */
static void count_bytes(const struct exchange *x, struct roster_entry *e) {
    e->bytes_in = x->bytes_in;
    e->bytes_out = x->bytes_out;
    if (x->front) {
        x->front->ops->count(x->front);
        e->bytes_in += x->front->bytes_in;
        e->bytes_out += x->front->bytes_out;
    }
    const struct conn *c = x->tunnel.front ? x->tunnel.front : x->tcp_front;
    if (!c) return;
    e->bytes_in += c->bytes_in - c->in.bytes;
    e->bytes_out += c->bytes_out + c->out.bytes;
}

static void add(struct roster *r, const struct exchange *x) {
    const struct balance_member *m = x->lease.member;
    if (r->count == r->room) {
        r->room = r->room ? 2 * r->room : 16;
        r->v = xrealloc(r->v, r->room * sizeof *r->v);
    }
    struct roster_entry *e = &r->v[r->count++];
    *e = (struct roster_entry){
        .id = keep(r, x->id),
        .frontend = keep(r, slice_of(x->client->frontend->settings->name)),
        .method = keep(r, x->request.method_name),
        .host = keep(r, x->request.host),
        .target = keep(r, x->request.uri),
        .backend = keep(r, slice_of(m ? m->server->backend : NULL)),
        .server = keep(r, slice_of(m ? m->server->name : NULL)),
        .client = x->peer,
        .phase = exchange_phase(x),
        .age_us = x->env->loop.now_us - x->start_us,
        .tries = x->try_count + (x->attempt.member != NULL),
    };
    count_bytes(x, e);
}

/* The list is in the order in which they began. */
void roster_take(struct roster *r, struct env *env, const struct roster_filter *filter) {
    LIST_FOR (node, &env->live_exchanges) {
        const struct exchange *x = LIST_ENTRY(node, struct exchange, node);
        if (!matches(x, filter)) continue;
        r->matches++;
        if (r->count < ROSTER_MAX) add(r, x);
    }
}

/* --- ended ------------------------------------------------------------------------------------------------------ */

uint32_t roster_kill(struct env *env, const struct roster_filter *filter) {
    uint32_t count = 0;
    LIST_FOR (node, &env->live_exchanges) {
        struct exchange *x = LIST_ENTRY(node, struct exchange, node);
        if (!matches(x, filter)) continue;
        count++;
        exchange_cut(x, FAILURE_killed);
    }
    return count;
}
