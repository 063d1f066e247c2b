/* drain.c: what the operator wants of a server, carried out on all workers. */
#include "loomgate/runtime/drain.h"

#include "loomgate/base/event.h"
#include "loomgate/proxy/exchange.h"

#include <stdlib.h>

#include "runtime_internal.h"

/* A drain with a limit of time. */
struct drain {
    struct list node; /* among the runtime's */
    struct deadline limit;
    struct runtime *runtime;
    struct server *server;
};

static void drain_free(struct drain *d) {
    deadline_cancel(&d->limit);
    list_remove(&d->node);
    d->server->drain = NULL;
    free(d);
}

static void forget_drain(struct server *server) {
    if (server->drain) drain_free(server->drain);
}

void drains_fini(struct runtime *r) {
    LIST_FOR (node, &r->drains) drain_free(LIST_ENTRY(node, struct drain, node));
}

void drains_forget(const struct snapshot *s) {
    for (uint32_t i = 0; i < s->backend_count; i++) {
        const struct backend *b = &s->backends[i];
        for (uint32_t k = 0; k < b->member_count + b->backup_count; k++) {
            struct server *server = k < b->member_count ? b->members[k].server : b->backups[k - b->member_count].server;
            if (server->refs == 1) forget_drain(server);
        }
    }
}

/* --- on each worker --------------------------------------------------------------------------------------------- */

static void cut_exchanges(struct env *env, unsigned worker, void *arg) {
    (void)worker;
    LIST_FOR (node, &env->live_exchanges) {
        struct exchange *x = LIST_ENTRY(node, struct exchange, node);
        if (!x->lease.member || x->lease.member->server != arg) continue;
        metrics_add(&env->metrics, METRIC_drain_cut_total, 1);
        exchange_cut(x, FAILURE_drained);
    }
}

struct change {
    const struct server *server;
    void (*done)(void *arg);
    void *arg;
};

static void close_idle(struct env *env, unsigned worker, void *arg) {
    const struct change *c = arg;
    (void)worker;
    if (server_admin_get(c->server) != SERVER_READY) pools_close_idle_of(&env->pools, c->server);
}

/* --- on the control thread -------------------------------------------------------------------------------------- */

static void on_changed(void *arg) {
    struct change *c = arg;
    if (c->done) c->done(c->arg);
    free(c);
}

static void on_cut(void *arg) {
    (void)arg;
}

static void on_limit(struct deadline *limit) {
    struct drain *d = LG_CONTAINER_OF(limit, struct drain, limit);
    struct server *s = d->server;
    uint32_t left = atomic_load(&s->shared.active);
    if (left) {
        event_warn("drain_over", "cutting what still runs on the server", LOG_STR("backend", s->backend),
                   LOG_STR("server", s->name), LOG_INT("exchanges", left));
        runtime_broadcast(d->runtime, cut_exchanges, on_cut, s);
    }
    drain_free(d);
}

struct backend *backend_find(const struct runtime *r, const char *name) {
    for (uint32_t i = 0; i < r->snapshot->backend_count; i++)
        if (strcmp(r->snapshot->backends[i].settings->name, name) == 0) return &r->snapshot->backends[i];
    return NULL;
}

static void limit_drain(struct runtime *r, struct server *server, uint64_t timeout_us) {
    if (!timeout_us) return;
    struct drain *d = xcalloc(1, sizeof *d);
    *d = (struct drain){.runtime = r, .server = server};
    deadline_init(&d->limit, on_limit);
    list_push_back(&r->drains, &d->node);
    server->drain = d;
    deadline_set(&r->loop, &d->limit, timeout_us);
}

static void tell(const struct server *s, enum server_admin admin) {
    static const char *const words[] = {[SERVER_READY] = "ready", [SERVER_DRAIN] = "drain", [SERVER_MAINT] = "maint"};
    event_info("server_admin", NULL, LOG_STR("backend", s->backend), LOG_STR("server", s->name),
               LOG_STR("admin", words[admin]), LOG_INT("exchanges", atomic_load(&s->shared.active)));
}

void drain_set_admin(struct runtime *r, struct backend *b, struct server *server, enum server_admin admin) {
    enum server_admin before = server_admin_get(server);
    if (admin == SERVER_READY && before != SERVER_READY && b)
        server_begin_ramp(server, r->loop.now_us, b->settings->slow_start_us);
    atomic_store_explicit(&server->shared.admin, admin, memory_order_relaxed);
    if (admin != before) {
        forget_drain(server);
        if (admin == SERVER_DRAIN && b) limit_drain(r, server, b->settings->drain_timeout_us);
        tell(server, admin);
    }
    if (b) queue_pump(&b->group->queue, r->loop.now_us); /* waiters have one more, or one less to wait for */
}

void runtime_set_admin(struct runtime *r, struct server *server, enum server_admin admin, void (*done)(void *arg),
                       void *arg) {
    struct change *c = xcalloc(1, sizeof *c);
    *c = (struct change){server, done, arg};
    drain_set_admin(r, backend_find(r, server->backend), server, admin);
    runtime_broadcast(r, close_idle, on_changed, c);
}

void drain_removed(struct runtime *r, struct server *server, uint64_t timeout_us) {
    forget_drain(server);
    limit_drain(r, server, timeout_us);
}

void drain_returned(struct runtime *r, struct server *server, uint64_t timeout_us) {
    forget_drain(server);
    if (server_admin_get(server) == SERVER_DRAIN) limit_drain(r, server, timeout_us);
}
