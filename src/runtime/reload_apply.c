/* reload_apply.c: what a configuration that comes into force means for what lives: servers, the log, limits. */
#include "loomgate/runtime/reload.h"

#include "loomgate/runtime/drain.h"

#include "runtime_internal.h"

/* --- servers ---------------------------------------------------------------------------------------------------- */

static void put_in_service(struct runtime *r, const struct backend *b, const struct balance_member *v, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct server *server = v[i].server;
        server->round = r->round;
        if (atomic_exchange_explicit(&server->shared.retired, false, memory_order_relaxed))
            drain_returned(r, server, b->settings->drain_timeout_us);
    }
}

/* What is in no configuration in force any more keeps no idle connections; it goes on for exchanges that are under
 * way, and for their retries. */
static void take_out(struct runtime *r, const struct backend *b, const struct balance_member *v, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct server *server = v[i].server;
        if (server->round == r->round) continue;
        atomic_store_explicit(&server->shared.retired, true, memory_order_relaxed);
        drain_removed(r, server, b->settings->drain_timeout_us);
    }
}

void reload_apply_servers(struct runtime *r, const struct snapshot *before) {
    const struct snapshot *now = r->snapshot;
    r->round++;
    for (uint32_t i = 0; i < now->backend_count; i++) {
        const struct backend *b = &now->backends[i];
        put_in_service(r, b, b->members, b->member_count);
        put_in_service(r, b, b->backups, b->backup_count);
    }
    for (uint32_t i = 0; i < before->backend_count; i++) {
        const struct backend *b = &before->backends[i];
        take_out(r, b, b->members, b->member_count);
        take_out(r, b, b->backups, b->backup_count);
    }
}

/* --- the process ------------------------------------------------------------------------------------------------ */

void reload_apply_global(struct runtime *r) {
    const struct global_settings *g = &r->snapshot->config->global;
    gate_set_limit(&r->gate, g->max_connections);
    snapshot_set_limits(r->snapshot);
    telemetry_set_windows(&r->registry.telemetry, g->windows_us, g->window_count, r->loop.now_us);
}

/* A level that was set by hand stays until the file says another one. */
void reload_apply_log(const struct log_settings *before, const struct log_settings *now, struct log_sink *sink) {
    log_configure(sink, now->format, now->level == before->level ? log_get_level() : now->level);
}
