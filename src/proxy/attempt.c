/* attempt.c: one try at one server, until it is ready to be used. */
#include "loomgate/proxy/attempt.h"

static void on_connected(struct connect *k, struct conn *c) {
    struct attempt *a = LG_CONTAINER_OF(k, struct attempt, connect);
    a->connect_us = a->env->loop.now_us - a->began_us;
    metrics_add(&a->env->metrics, METRIC_server_connections_total, 1);
    if (a->raw) {
        a->conn = c;
        conn_set_owner(c, NULL, NULL);
    } else {
        a->session = pool_adopt(&a->env->pools, a->member->server, c, a->pool, a->timeouts);
        a->session->is_private = a->member->settings->send_proxy != SEND_PROXY_OFF;
    }
    a->events->on_ready(a);
}

static void on_connect_failed(struct connect *k, enum failure f) {
    struct attempt *a = LG_CONTAINER_OF(k, struct attempt, connect);
    a->events->on_failed(a, f);
}

static const struct connect_events attempt_connect_events = {on_connected, on_connect_failed};

void attempt_init(struct attempt *a, struct env *env, const struct attempt_events *events) {
    *a = (struct attempt){.events = events, .env = env, .connect_us = UINT64_MAX};
    connect_init(&a->connect, &env->loop, &attempt_connect_events);
}

bool attempt_start(struct attempt *a, const struct attempt_request *r) {
    LG_ASSERT(!a->member);
    a->member = r->member;
    a->pool = &r->route->backend->settings->pool;
    a->timeouts = &r->route->server_timeouts;
    a->raw = r->raw;
    a->began_us = a->env->loop.now_us;
    a->connect_us = UINT64_MAX;
    server_acquire(r->member->server);
    enum send_proxy send_proxy = r->member->settings->send_proxy;
    if (!r->raw && !r->fresh && send_proxy == SEND_PROXY_OFF) {
        a->session = pool_take(&a->env->pools, r->member->server, r->certain);
        if (a->session) return true;
    }
    a->connect.send_proxy = send_proxy;
    a->connect.client = r->client;
    a->connect.local = r->local;
    connect_start(&a->connect, r->member->server, r->route->connect_us);
    return false;
}

void attempt_end(struct attempt *a) {
    if (!a->member) return;
    connect_cancel(&a->connect);
    server_release(a->member->server);
    if (a->session) a->session->h1.session.ops->abort(&a->session->h1.session, FAILURE_NONE);
    if (a->conn) conn_close(a->conn, CONN_CLOSE_RESET);
    a->member = NULL;
    a->session = NULL;
    a->conn = NULL;
}
