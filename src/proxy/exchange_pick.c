/* exchange_pick.c: which server an exchange tries next, and what the servers' latencies are made of. */
#include "loomgate/proxy/pick_key.h"

#include "exchange_internal.h"

/* What a failed try counts at least: a server that refuses at once must not look fast. */
enum { FAILURE_LATENCY_US = 1000000 };

/* Once: further tries come after the request has been rewritten. */
static void make_key(struct exchange *x, const struct backend *b) {
    if (x->key_made) return;
    x->key_made = true;
    x->has_key = pick_key(&b->settings->balance, &x->request, &x->client->addr, &x->key);
}

const struct balance_member *exchange_pick(struct exchange *x) {
    const struct backend *b = x->route->backend;
    if (backend_wants_key(b)) make_key(x, b);
    return backend_pick(b, &(struct pick_request){
                               .tried = &x->tried,
                               .now_us = x->env->loop.now_us,
                               .random = env_random(x->env),
                               .key = x->key,
                               .has_key = x->has_key,
                           });
}

void exchange_note_latency(const struct exchange *x, uint64_t us) {
    if (!backend_wants_latency(x->route->backend)) return;
    latency_add(&x->picked->server->shared.latency, x->env->loop.now_us, us);
}

/* Only waiting for an answer counts, not what a client took to send its request or to read the response. */
void exchange_note_failure(const struct exchange *x, enum failure f) {
    if (!failure_get(f)->breaker) return;
    bool waited = x->asked_us >= x->attempt.began_us && !x->response_started;
    uint64_t us = waited ? x->env->loop.now_us - x->asked_us : 0;
    exchange_note_latency(x, us > FAILURE_LATENCY_US ? us : FAILURE_LATENCY_US);
}
