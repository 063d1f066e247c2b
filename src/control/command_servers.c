/* command_servers.c: frontends, backends and servers: configuration and live state. */
#include "command_internal.h"

#include "loomgate/control/entity.h"

#include <stdlib.h>

static const char *const balance_words[] = {[BALANCE_ROUND_ROBIN] = "round_robin",
                                            [BALANCE_LEAST_REQUESTS] = "least_requests",
                                            [BALANCE_RANDOM_TWO] = "random_two",
                                            [BALANCE_PEAK_EWMA] = "peak_ewma",
                                            [BALANCE_FIRST] = "first",
                                            [BALANCE_HASH] = "hash"};

static uint32_t active_of(const struct server *s) {
    return atomic_load_explicit(&s->shared.active, memory_order_relaxed);
}

/* --- frontends -------------------------------------------------------------------------------------------------- */

static void run_frontends(struct call *c) {
    const struct snapshot *s = runtime_snapshot(c->control->runtime);
    struct view_node *list = view_begin_list(&c->view);
    for (uint32_t i = 0; i < s->frontend_count; i++) {
        const struct frontend *f = &s->frontends[i];
        struct view_node *row = view_object(list, NULL), *bind;
        view_text(row, "frontend", f->settings->name);
        view_text(row, "mode", f->settings->mode == MODE_TCP ? "tcp" : "http");
        bind = view_list(row, "bind");
        for (uint32_t k = 0; k < f->settings->listener_count; k++)
            view_text(bind, NULL, f->settings->listeners[k].address.text);
        view_number(row, "connections", gate_open(f->gate));
        if (gate_limit(f->gate))
            view_number(row, "limit", gate_limit(f->gate));
        else
            view_null(row, "limit");
        view_number(row, "routes", f->settings->route_count);
        view_text(row, "default_backend", f->has_fallback ? f->fallback.backend->settings->name : NULL);
    }
    call_show(c);
}

/* --- backends --------------------------------------------------------------------------------------------------- */

static void run_backends(struct call *c) {
    const struct snapshot *s = runtime_snapshot(c->control->runtime);
    uint64_t now_us = runtime_loop(c->control->runtime)->now_us;
    struct view_node *list = view_begin_list(&c->view);
    for (uint32_t i = 0; i < s->backend_count; i++) {
        const struct backend *b = &s->backends[i];
        struct target all = {b, NULL};
        const struct balance_member *m;
        uint32_t at = 0, usable = 0, active = 0;
        while ((m = target_next(&all, &at))) {
            enum standing standing = member_standing(m, now_us);
            usable += standing == STANDING_OK || standing == STANDING_FULL;
            active += active_of(m->server);
        }
        struct view_node *row = view_object(list, NULL);
        view_text(row, "backend", b->settings->name);
        view_text(row, "balance", balance_words[b->settings->balance.kind]);
        view_number(row, "servers", b->settings->server_count);
        view_number(row, "usable", usable);
        view_number(row, "active", active);
        view_number(row, "queued", atomic_load(&b->group->queue.waiting));
        view_number(row, "queue_max", b->settings->queue_max);
    }
    call_show(c);
}

/* --- servers: idle connections are the workers' own, so they are asked ------------------------------------------- */

struct idle_count {
    struct call *call;
    unsigned ids; /* servers have ids below it */
    unsigned workers;
    uint32_t v[]; /* worker * ids + id */
};

static void count_idle(struct env *env, unsigned worker, void *arg) {
    struct idle_count *idle = arg;
    for (unsigned id = 0; id < idle->ids && id < env->pools.size; id++)
        if (env->pools.v[id]) idle->v[worker * idle->ids + id] = env->pools.v[id]->count;
}

static uint64_t idle_of(const struct idle_count *idle, const struct server *s) {
    uint64_t sum = 0;
    for (unsigned w = 0; w < idle->workers && s->id < idle->ids; w++) sum += idle->v[w * idle->ids + s->id];
    return sum;
}

/* The last check, where there are checks. */
static void put_check(struct view_node *row, const struct server *s, const struct loop *loop) {
    struct view_node *check = view_object(row, "check");
    const struct health_state *h = &s->health;
    if (!h->checked || !h->last_us) {
        view_null(check, "reason");
        view_null(check, "ago");
        view_null(check, "took");
        return;
    }
    view_text(check, "reason", h->reason);
    view_duration(check, "ago", loop->now_us - h->last_us);
    view_duration(check, "took", h->latency_us);
}

/* Who has set its admin state; null: the configuration. */
static void put_setter(struct view_node *row, const struct call *c, const struct server *s) {
    const struct override *o = override_find(c->control->runtime, s, OVERRIDE_ADMIN);
    if (o)
        view_peer(row, "admin_by", &override_mark(o)->by, c->json);
    else
        view_null(row, "admin_by");
}

/* What is not as in the configuration. */
static void put_overrides(struct view_node *row, const struct call *c, const struct server *s) {
    struct view_node *list = view_list(row, "overridden");
    for (unsigned i = 0; i < OVERRIDE_SETTINGS; i++)
        if (override_find(c->control->runtime, s, (enum override_setting)i))
            view_text(list, NULL, override_setting_name((enum override_setting)i));
}

static void put_server(struct view_node *row, const struct balance_member *m, const struct idle_count *idle) {
    const struct call *c = idle->call;
    const struct loop *loop = runtime_loop(c->control->runtime);
    struct server *s = m->server;
    char address[ADDR_TEXT_MAX];
    addr_print(&s->addr, address);
    view_text(row, "backend", s->backend);
    view_text(row, "server", s->name);
    view_text(row, "address", address);
    view_text(row, "admin", member_admin_word(m));
    put_setter(row, c, s);
    view_text(row, "health", member_health_word(m));
    put_check(row, s, loop);
    view_text(row, "breaker", member_breaker_word(m));
    view_real(row, "weight", member_weight(m, loop->now_us));
    put_overrides(row, c, s);
    view_bool(row, "backup", m->settings->backup);
    view_number(row, "active", active_of(s));
    if (m->settings->max_connections)
        view_number(row, "limit", m->settings->max_connections);
    else
        view_null(row, "limit");
    view_number(row, "idle", idle_of(idle, s));
}

static void put_servers(struct view_node *list, const struct backend *b, const struct idle_count *idle) {
    struct target all = {b, NULL};
    const struct balance_member *m;
    for (uint32_t at = 0; (m = target_next(&all, &at));) put_server(view_object(list, NULL), m, idle);
}

static void on_idle_counted(void *arg) {
    struct idle_count *idle = arg;
    struct call *c = idle->call;
    const struct snapshot *s = runtime_snapshot(c->control->runtime);
    struct target t = {NULL, NULL};
    if (c->words.count && !call_take_target(c, 0, TARGET_BACKEND, &t)) {
        free(idle);
        return;
    }
    struct view_node *list = view_begin_list(&c->view);
    for (uint32_t i = 0; i < s->backend_count; i++)
        if (!t.backend || t.backend == &s->backends[i]) put_servers(list, &s->backends[i], idle);
    call_show(c);
    free(idle);
}

static void run_servers(struct call *c) {
    struct runtime *r = c->control->runtime;
    struct target t;
    if (c->words.count && !call_take_target(c, 0, TARGET_BACKEND, &t)) return;
    unsigned ids = runtime_registry(r)->id_limit, workers = runtime_worker_count(r);
    struct idle_count *idle = xcalloc(1, sizeof *idle + (size_t)ids * workers * sizeof idle->v[0]);
    idle->call = c;
    idle->ids = ids;
    idle->workers = workers;
    runtime_broadcast(r, count_idle, on_idle_counted, idle);
}

const struct command commands_servers[] = {
    {.words = "show frontends",
     .arguments = "",
     .run = run_frontends,
     .help = "where clients connect: addresses, connections and their limit, routes",
     .example = "show frontends"},
    {.words = "show backends",
     .arguments = "",
     .run = run_backends,
     .help = "groups of servers: how they are balanced, how many can be used, exchanges that run and that wait",
     .example = "show backends"},
    {.words = "show servers",
     .arguments = "[BACKEND]",
     .max = 1,
     .run = run_servers,
     .help =
         "each server: admin state, health and its last check, breaker, the weight in force, exchanges, connections",
     .example = "show servers app"},
    {.words = NULL},
};
