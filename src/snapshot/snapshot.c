/* snapshot.c: one configuration made ready to serve. */
#include "loomgate/snapshot/snapshot.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>

static uint64_t override(uint64_t route, uint64_t base) {
    return route == SETTING_UNSET ? base : route;
}

/* A route's own limits of time, and what it says of retries, win over its frontend's and its backend's. */
static void set_policies(struct route *r, const struct timeout_settings *front, const struct backend_settings *back) {
    static const struct timeout_settings nothing = {SETTING_UNSET, SETTING_UNSET, SETTING_UNSET,
                                                    SETTING_UNSET, SETTING_UNSET, SETTING_UNSET,
                                                    SETTING_UNSET, SETTING_UNSET, SETTING_UNSET};
    const struct timeout_settings *own = r->settings ? &r->settings->timeouts : &nothing;
    r->request_us = override(own->request_us, front->request_us);
    r->client_timeouts = (struct session_timeouts){
        .idle_us = override(own->keep_alive_us, front->keep_alive_us),
        .head_us = override(own->header_us, front->header_us),
        .stall_us = override(own->client_us, front->client_us),
    };
    if (!back) return;
    r->server_timeouts = (struct session_timeouts){
        .idle_us = back->pool.idle_timeout_us,
        .head_us = override(own->response_us, back->timeouts.response_us),
        .stall_us = override(own->server_us, back->timeouts.server_us),
    };
    r->connect_us = override(own->connect_us, back->timeouts.connect_us);
    r->tunnel_us = override(own->tunnel_us, back->timeouts.tunnel_us);
    r->queue_us = override(own->queue_us, back->timeouts.queue_us);
    r->retry = r->settings && r->settings->has_retry ? &r->settings->retry : &back->retry;
}

static void init_routes(struct frontend *f, struct snapshot *s, struct telemetry *t) {
    const struct frontend_settings *settings = f->settings;
    f->routes = xcalloc(settings->route_count, sizeof *f->routes);
    for (uint32_t i = 0; i < settings->route_count; i++) {
        const struct route_settings *r = &settings->routes[i];
        struct backend *b = r->action == ROUTE_BACKEND ? &s->backends[r->backend] : NULL;
        f->routes[i] = (struct route){.name = r->name, .settings = r, .backend = b};
        f->routes[i].series = telemetry_acquire(t, SERIES_ROUTE, settings->name, r->name);
        set_policies(&f->routes[i], &settings->timeouts, b ? b->settings : NULL);
    }
    f->has_fallback = settings->default_backend >= 0;
    if (!f->has_fallback) return;
    struct backend *fallback = &s->backends[settings->default_backend];
    LG_ASSERT(fallback != NULL);
    f->fallback.backend = fallback;
    set_policies(&f->fallback, &settings->timeouts, fallback->settings);
}

static bool init_frontend(struct frontend *f, const struct frontend_settings *settings, struct snapshot *s,
                          struct registry *registry, struct error *e) {
    struct telemetry *t = &registry->telemetry;
    const struct timeout_settings *times = &settings->timeouts;
    f->settings = settings;
    f->series = telemetry_acquire(t, SERIES_FRONTEND, "", settings->name);
    f->client_timeouts = (struct session_timeouts){times->keep_alive_us, times->header_us, times->client_us};
    _Static_assert(H1_FIELDS_MAX == 1024, "the largest limits.header_count of config/tables_frontend.c");
    f->limits =
        (struct h1_limits){settings->limits.header_size, settings->limits.header_count, settings->limits.uri_size};
    f->gate = registry_acquire_gate(registry, settings->name);
    map_put(&s->names, slice_of(settings->name), f);
    f->ports = xcalloc(settings->listener_count, sizeof *f->ports);
    f->id_name = slice_of(settings->request_id.header);
    init_routes(f, s, t);
    f->router = router_new(settings->routes, settings->route_count);
    if (!settings->access_log.on) return true;
    f->access_log = log_open(settings->access_log.target, settings->access_log.path, e);
    if (f->access_log) log_set_format(f->access_log, settings->access_log.format);
    return f->access_log != NULL;
}

static void fini_frontend(struct frontend *f, struct registry *registry) {
    struct telemetry *t = &registry->telemetry;
    for (uint32_t i = 0; f->routes && i < f->settings->route_count; i++) telemetry_release(t, f->routes[i].series);
    telemetry_release(t, f->series);
    registry_release_gate(registry, f->gate);
    router_free(f->router);
    free(f->routes);
    free(f->ports);
}

const struct route *frontend_find_route(const struct frontend *f, const struct message *request,
                                        const struct addr *client) {
    int i = router_find(f->router, request, client);
    if (i >= 0) return &f->routes[i];
    return f->has_fallback ? &f->fallback : NULL;
}

struct snapshot *snapshot_build(struct config *config, struct registry *registry, struct error *e) {
    struct snapshot *s = xcalloc(1, sizeof *s);
    s->refs = 1;
    s->config = config;
    map_init(&s->names);
    list_init(&s->node);
    s->backends = xcalloc(config->backend_count, sizeof *s->backends);
    s->frontends = xcalloc(config->frontend_count, sizeof *s->frontends);
    bool ok = true;
    for (uint32_t i = 0; ok && i < config->backend_count; i++) {
        ok = backend_init(&s->backends[i], &config->backends[i], registry, e);
        if (ok) s->backend_count++;
    }
    for (uint32_t i = 0; ok && i < config->frontend_count; i++) {
        s->frontend_count++;
        ok = init_frontend(&s->frontends[i], &config->frontends[i], s, registry, e);
    }
    if (ok) return s;
    snapshot_free(s, registry);
    return NULL;
}

void snapshot_ref(struct snapshot *s) {
    s->refs++;
}

bool snapshot_unref(struct snapshot *s) {
    LG_ASSERT(s->refs > 0);
    return --s->refs == 0;
}

void snapshot_free(struct snapshot *s, struct registry *registry) {
    list_remove(&s->node);
    for (uint32_t i = 0; i < s->frontend_count; i++) fini_frontend(&s->frontends[i], registry);
    for (uint32_t i = 0; i < s->backend_count; i++) backend_fini(&s->backends[i], registry);
    map_fini(&s->names);
    free(s->frontends);
    free(s->backends);
    config_free(s->config);
    free(s);
}

void snapshot_set_limits(const struct snapshot *s) {
    for (uint32_t i = 0; i < s->frontend_count; i++)
        gate_set_limit(s->frontends[i].gate, s->frontends[i].settings->max_connections);
}

struct frontend *snapshot_find_frontend(const struct snapshot *s, const char *name) {
    return map_find(&s->names, slice_of(name));
}
