/* attempt.c: one try at one server, until it is ready to be used. */
#include "loomgate/proxy/attempt.h"

#include "loomgate/base/event.h"

static void on_connected(struct connect *k, struct conn *c) {
    struct attempt *a = LG_CONTAINER_OF(k, struct attempt, connect);
    a->connect_us = a->env->loop.now_us - a->began_us;
    metrics_add(&a->env->metrics, METRIC_server_connections_total, 1);
    if (a->raw) {
        a->conn = c;
        conn_set_owner(c, NULL, NULL);
    } else {
        const struct pool_settings *pool = &a->route->backend->settings->pool;
        a->session = pool_adopt(&a->env->pools, a->member->server, c, pool, &a->route->server_timeouts);
        a->session->is_private = a->member->settings->send_proxy != SEND_PROXY_OFF;
    }
    a->events->on_ready(a);
}

static void on_connect_failed(struct connect *k, enum failure f) {
    struct attempt *a = LG_CONTAINER_OF(k, struct attempt, connect);
    a->events->on_failed(a, f);
}

static const struct connect_events attempt_connect_events = {on_connected, on_connect_failed};

/* --- a lack of descriptors -------------------------------------------------------------------------------------- */

static void on_patience_over(struct deadline *d) {
    struct attempt *a = LG_CONTAINER_OF(d, struct attempt, patience);
    list_remove(&a->node);
    a->events->on_failed(a, FAILURE_connect_timeout);
}

/* Begins to connect; where descriptors are lacking, at the cost of somebody's idle session. */
static bool try_connect(struct attempt *a) {
    do
        if (connect_start(&a->connect, a->member->server, a->route->connect_us)) return true;
    while (pools_evict(&a->env->pools));
    return false;
}

static bool may_pool(const struct attempt *a) {
    return !a->raw && a->member->settings->send_proxy == SEND_PROXY_OFF;
}

static void on_feed(struct task *task) {
    struct env *env = LG_CONTAINER_OF(task, struct env, feed);
    struct list *node;
    while ((node = list_first(&env->starved))) {
        struct attempt *a = LIST_ENTRY(node, struct attempt, node);
        a->session = may_pool(a) ? pool_take(&env->pools, a->member->server, true) : NULL;
        if (!a->session && !try_connect(a)) return;
        list_remove(node);
        deadline_cancel(&a->patience);
        if (a->session) a->events->on_ready(a);
    }
}

static void starve(struct attempt *a) {
    struct env *env = a->env;
    if (list_is_empty(&env->starved))
        event_warn("connect_paused", "requests wait for a free descriptor to reach their server",
                   LOG_STR("error", strerror(a->connect.error_number)), LOG_INT("connections", env->client_count));
    list_push_back(&env->starved, &a->node);
    deadline_set(&env->loop, &a->patience, a->route->connect_us);
}

void attempts_feed(struct env *env) {
    if (list_is_empty(&env->starved)) return;
    env->feed.run = on_feed;
    loop_defer(&env->loop, &env->feed);
}

/* --- the try ---------------------------------------------------------------------------------------------------- */

void attempt_init(struct attempt *a, struct env *env, const struct attempt_events *events) {
    *a = (struct attempt){.events = events, .env = env, .connect_us = UINT64_MAX};
    connect_init(&a->connect, &env->loop, &attempt_connect_events);
    deadline_init(&a->patience, on_patience_over);
    list_init(&a->node);
}

bool attempt_start(struct attempt *a, const struct attempt_request *r) {
    LG_ASSERT(!a->member);
    a->member = r->member;
    a->route = r->route;
    a->raw = r->raw;
    a->began_us = a->env->loop.now_us;
    a->connect_us = UINT64_MAX;
    if (!r->fresh && may_pool(a)) {
        a->session = pool_take(&a->env->pools, r->member->server, r->certain);
        if (a->session) return true;
    }
    a->connect.send_proxy = r->member->settings->send_proxy;
    a->connect.client = r->client;
    a->connect.local = r->local;
    if (!try_connect(a)) starve(a);
    return false;
}

void attempt_end(struct attempt *a) {
    if (!a->member) return;
    connect_cancel(&a->connect);
    list_remove(&a->node);
    deadline_cancel(&a->patience);
    if (a->session) a->session->h1.session.ops->abort(&a->session->h1.session, FAILURE_NONE);
    if (a->conn) conn_close(a->conn, CONN_CLOSE_RESET);
    a->member = NULL;
    a->session = NULL;
    a->conn = NULL;
    attempts_feed(a->env); /* a descriptor may have become free */
}
