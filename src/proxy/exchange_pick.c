/* exchange_pick.c: which server an exchange tries next, waiting for a place at one, and what is learned of servers. */
#include "loomgate/proxy/pick_key.h"

#include "exchange_internal.h"

#include "loomgate/base/event.h"

/* What a failed try counts at least: a server that refuses at once must not look fast. */
enum { FAILURE_LATENCY_US = 1000000 };

/* Once: further tries come after the request has been rewritten. */
static void make_key(struct exchange *x, const struct backend *b) {
    if (x->key_made) return;
    x->key_made = true;
    x->has_key = pick_key(&b->settings->balance, &x->request, &x->peer, &x->key);
}

static struct pick_request request_of(struct exchange *x, const struct tried *tried) {
    return (struct pick_request){.tried = tried,
                                 .now_us = x->env->loop.now_us,
                                 .random = env_random(x->env),
                                 .key = x->key,
                                 .has_key = x->has_key};
}

/* --- the breaker's say ------------------------------------------------------------------------------------------ */

static void tell_opened(const struct server *s, const struct breaker_settings *policy, const struct breaker_change *c,
                        enum failure f) {
    const char *what = policy->observe ? "would take no requests (observe: true)" : "takes no requests for a while";
    unsigned rate = c->requests ? c->errors * 100 / c->requests : 100;
    event_warn("breaker_opened", what, LOG_STR("backend", s->backend), LOG_STR("server", s->name),
               LOG_STR("reason", c->from == BREAKER_HALF_OPEN ? "probe_failed" : "error_rate"),
               LOG_STR("cause", failure_get(f)->name), LOG_INT("error_percent", rate), LOG_INT("requests", c->requests),
               LOG_INT("errors", c->errors), LOG_INT("open_ms", c->open_us / 1000));
}

/* A transition that this exchange has made; `f`: how its try ended. */
static void tell_change(struct exchange *x, const struct balance_member *m, const struct breaker_change *c,
                        enum failure f) {
    const struct server *s = m->server;
    if (!c->happened) return;
    switch ((enum breaker_state)c->to) {
    case BREAKER_OPEN:
        metrics_add(&x->env->metrics, METRIC_breaker_opened_total, 1);
        tell_opened(s, m->breaker, c, f);
        break;
    case BREAKER_HALF_OPEN:
        event_info("breaker_half_open", "lets probes through", LOG_STR("backend", s->backend),
                   LOG_STR("server", s->name), LOG_INT("probes", m->breaker->probes));
        break;
    case BREAKER_CLOSED:
        metrics_add(&x->env->metrics, METRIC_breaker_closed_total, 1);
        event_info("breaker_closed", "all probes succeeded", LOG_STR("backend", s->backend), LOG_STR("server", s->name),
                   LOG_INT("ramp_ms", m->breaker->ramp_us / 1000));
        break;
    }
}

/* What a server that answers so says about itself. 501 and 505 are about the request. */
static enum breaker_result result_of_status(unsigned status) {
    return status >= 500 && status != 501 && status != 505 ? BREAKER_FAILED : BREAKER_SUCCEEDED;
}

void exchange_note_answer(struct exchange *x, unsigned status) {
    struct breaker_change change;
    backend_report(x->route->backend, &x->lease, result_of_status(status), x->env->loop.now_us, &change);
    tell_change(x, x->picked, &change, FAILURE_bad_status);
}

void exchange_give_back(struct exchange *x, enum failure f) {
    struct breaker_change change;
    enum breaker_result result = f == FAILURE_NONE         ? BREAKER_SUCCEEDED
                                 : failure_get(f)->breaker ? BREAKER_FAILED
                                                           : BREAKER_UNKNOWN;
    if (!x->lease.member) return;
    backend_release(x->route->backend, &x->lease, result, x->env->loop.now_us, &change);
    tell_change(x, x->picked, &change, f);
}

/* --- picking ---------------------------------------------------------------------------------------------------- */

static void take(struct exchange *x, const struct lease *lease, const struct breaker_change *change) {
    x->lease = *lease;
    x->picked = lease->member;
    if (lease->ticket.is_probe) metrics_add(&x->env->metrics, METRIC_breaker_probes_total, 1);
    if (x->tried.count == TRIED_MAX) { /* the last one counts: it is not tried twice in a row */
        memmove(x->tried.v, x->tried.v + 1, (TRIED_MAX - 1) * sizeof x->tried.v[0]);
        x->tried.count--;
    }
    x->tried.v[x->tried.count++] = lease->member->server;
    tell_change(x, lease->member, change, FAILURE_NONE);
    exchange_set_state(x, EXCHANGE_CONNECT);
}

/* After a try that failed, that is what has happened: not that there is no other server. */
static void take_none(struct exchange *x, enum pick_result r) {
    enum failure f = r == PICK_OPEN ? FAILURE_breaker_open : FAILURE_no_server;
    if (f == FAILURE_breaker_open) metrics_add(&x->env->metrics, METRIC_breaker_refused_total, 1);
    x->cause = (uint8_t)(x->try_count ? x->tries[x->try_count - 1].cause : f);
    exchange_set_state(x, EXCHANGE_FAIL);
}

static void end_wait(struct exchange *x) {
    uint64_t waited_us = x->env->loop.now_us - x->queued_us;
    x->waiter = NULL;
    x->queue_us = (x->queue_us == UINT64_MAX ? 0 : x->queue_us) + waited_us;
    deadline_cancel(&x->try_deadline);
    metrics_sub(&x->env->metrics, METRIC_queued_active, 1);
    metrics_add(&x->env->metrics, METRIC_queue_us_total, waited_us);
}

static void on_turn(struct waiter *w, enum pick_result r) {
    struct exchange *x = w->owner;
    end_wait(x);
    if (r == PICK_OK)
        take(x, &w->lease, &w->change);
    else
        take_none(x, r);
    exchange_run(x);
}

void exchange_leave_queue(struct exchange *x) {
    struct lease lease;
    struct breaker_change change;
    uint64_t now_us = x->env->loop.now_us;
    if (!x->waiter) return;
    if (queue_leave(x->waiter, now_us, &lease, &change)) {
        tell_change(x, lease.member, &change, FAILURE_NONE);
        backend_release(x->route->backend, &lease, BREAKER_UNKNOWN, now_us, &change);
    }
    if (x->cause == FAILURE_queue_timeout) metrics_add(&x->env->metrics, METRIC_queue_timeouts_total, 1);
    end_wait(x);
}

static void wait_in_queue(struct exchange *x) {
    const struct backend *b = x->route->backend;
    struct env *env = x->env;
    struct waiter *w = queue_waiter_new(&env->waiters, env->box);
    w->backend = b;
    w->tried = x->tried;
    w->request = request_of(x, &w->tried);
    w->owner = x;
    w->on_turn = on_turn;
    if (!queue_join(&b->group->queue, w, b->settings->queue_max, env->loop.now_us)) {
        metrics_add(&env->metrics, METRIC_queue_full_total, 1);
        x->cause = FAILURE_queue_full;
        exchange_set_state(x, EXCHANGE_FAIL);
        return;
    }
    x->waiter = w;
    x->queued_us = env->loop.now_us;
    metrics_add(&env->metrics, METRIC_queued_total, 1);
    metrics_add(&env->metrics, METRIC_queued_active, 1);
    deadline_set(&env->loop, &x->try_deadline, x->route->queue_us);
    exchange_set_state(x, EXCHANGE_QUEUE);
}

void exchange_pick(struct exchange *x) {
    const struct backend *b = x->route->backend;
    struct lease lease;
    struct breaker_change change;
    if (backend_wants_key(b)) make_key(x, b);
    struct pick_request r = request_of(x, &x->tried);
    /* Who comes while others wait goes behind them. */
    enum pick_result result = queue_is_empty(&b->group->queue) ? backend_acquire(b, &r, &lease, &change) : PICK_FULL;
    if (result == PICK_OK)
        take(x, &lease, &change);
    else if (result == PICK_FULL)
        wait_in_queue(x);
    else
        take_none(x, result);
}

bool exchange_pick_same(struct exchange *x) {
    struct breaker_change change;
    if (!backend_reacquire(x->picked, x->env->loop.now_us, &x->lease, &change)) return false;
    tell_change(x, x->picked, &change, FAILURE_NONE);
    return true;
}

/* --- latencies -------------------------------------------------------------------------------------------------- */

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
