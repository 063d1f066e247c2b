/* reload.c: another configuration for the running process. Its picture is in the header. */
#include "loomgate/runtime/reload.h"

#include "loomgate/base/event.h"
#include "loomgate/config/diagnose.h"
#include "loomgate/runtime/drain.h"

#include <stdlib.h>

#include "runtime_internal.h"

/* One that is under way or waits for those before it. */
struct reload {
    struct list node;
    char *path; /* NULL: the source's */
    bool is_rollback;
    reload_done *done;
    void *arg;
    struct runtime *runtime;
    struct order order;
    struct bind_changes binds;
    char *text; /* what there was to say of the file; from malloc */
    uint64_t began_us;
};

/* --- the end of a snapshot -------------------------------------------------------------------------------------- */

/* Its servers may be in the pools of workers: they are swept, and once the last session is out of its graveyard the
 * pools are forgotten; two rounds over all workers. Other letters about its servers were sent before, so they have been
 * read. */
struct retirement {
    struct runtime *runtime;
    struct snapshot *snapshot;
};

static void for_retired(const struct snapshot *s, struct pools *pools,
                        void (*each)(struct pools *pools, const struct server *server)) {
    for (uint32_t i = 0; i < s->backend_count; i++) {
        const struct backend *b = &s->backends[i];
        for (uint32_t k = 0; k < b->member_count + b->backup_count; k++) {
            const struct server *server =
                k < b->member_count ? b->members[k].server : b->backups[k - b->member_count].server;
            if (!server_is_in_service(server)) each(pools, server);
        }
    }
}

static void sweep(struct env *env, unsigned worker, void *arg) {
    const struct retirement *t = arg;
    (void)worker;
    for_retired(t->snapshot, &env->pools, pools_close_idle_of);
}

static void forget(struct env *env, unsigned worker, void *arg) {
    const struct retirement *t = arg;
    (void)worker;
    for_retired(t->snapshot, &env->pools, pools_forget);
}

static void on_forgotten(void *arg) {
    struct retirement *t = arg;
    drains_forget(t->runtime, t->snapshot);
    snapshot_free(t->snapshot, &t->runtime->registry);
    free(t);
}

static void on_swept(void *arg) {
    struct retirement *t = arg;
    if (t->runtime->state == RUNTIME_STOPPED)
        on_forgotten(t); /* the workers have ended, with all of their pools */
    else
        runtime_broadcast(t->runtime, forget, on_forgotten, t);
}

void reload_release(struct runtime *r, struct snapshot *s) {
    if (!snapshot_unref(s)) return;
    struct retirement *t = xcalloc(1, sizeof *t);
    *t = (struct retirement){r, s};
    if (r->state == RUNTIME_STOPPED)
        on_forgotten(t);
    else
        runtime_broadcast(r, sweep, on_swept, t);
}

/* --- publishing ------------------------------------------------------------------------------------------------- */

void reload_begin_order(struct runtime *r, struct order *o, struct snapshot *s) {
    o->tenures = xcalloc(r->worker_count, sizeof *o->tenures);
    for (unsigned i = 0; i < r->worker_count; i++) {
        o->tenures[i] = xcalloc(1, sizeof **o->tenures);
        o->tenures[i]->snapshot = s;
        snapshot_ref(s);
    }
}

/* What is in no configuration in force any more keeps no idle connections; it goes on for exchanges that are under
 * way, and for their retries. */
static void mark_retired(struct runtime *r, const struct snapshot *s) {
    struct map_entry *entry;
    r->round++;
    for (uint32_t i = 0; i < s->backend_count; i++) {
        for (uint32_t k = 0; k < s->backends[i].member_count; k++) s->backends[i].members[k].server->round = r->round;
        for (uint32_t k = 0; k < s->backends[i].backup_count; k++) s->backends[i].backups[k].server->round = r->round;
    }
    for (size_t at = 0; (entry = map_next(&r->registry.servers, &at));) {
        struct server *server = registry_server_of(entry);
        atomic_store_explicit(&server->shared.retired, server->round != r->round, memory_order_relaxed);
    }
}

static const struct balance_member *find_member(const struct snapshot *s, const struct server *server) {
    for (uint32_t i = 0; i < s->backend_count; i++) {
        const struct backend *b = &s->backends[i];
        for (uint32_t k = 0; k < b->member_count + b->backup_count; k++) {
            const struct balance_member *m = k < b->member_count ? &b->members[k] : &b->backups[k - b->member_count];
            if (m->server == server) return m;
        }
    }
    return NULL;
}

static void apply_servers(struct runtime *r, const struct snapshot *before, const struct snapshot *now) {
    overrides_apply(r);
    for (uint32_t i = 0; i < before->backend_count; i++) {
        const struct backend *b = &before->backends[i];
        for (uint32_t k = 0; k < b->member_count + b->backup_count; k++) {
            struct server *s = k < b->member_count ? b->members[k].server : b->backups[k - b->member_count].server;
            if (!find_member(now, s)) drain_removed(r, s, b->settings->drain_timeout_us);
        }
    }
}

void reload_apply_global(struct runtime *r) {
    const struct global_settings *g = &r->snapshot->config->global;
    gate_set_limit(&r->gate, g->max_connections);
    snapshot_set_limits(r->snapshot);
    telemetry_set_windows(&r->registry.telemetry, g->windows_us, g->window_count, r->loop.now_us);
}

static void take_up(struct env *env, unsigned worker, void *arg) {
    const struct reload *q = arg;
    (void)worker;
    worker_switch(env->owner, &q->order);
}

static void begin_next(struct runtime *r);

static void reload_free(struct reload *q) {
    order_fini(&q->order);
    free(q->order.tenures);
    free(q->path);
    free(q->text);
    free(q);
}

/* Tells who asked, and goes on with the next one. */
static void finish(struct reload *q, bool ok) {
    struct runtime *r = q->runtime;
    struct reload_result result = {.ok = ok,
                                   .text = q->text ? q->text : "",
                                   .number = r->snapshot->number,
                                   .sockets_kept = q->binds.kept,
                                   .sockets_opened = q->binds.opened,
                                   .sockets_closed = q->binds.closed};
    list_remove(&q->node);
    r->reloading = false;
    if (q->done) q->done(q->arg, &result);
    reload_free(q);
    if (r->state == RUNTIME_RUNNING) begin_next(r);
}

static void on_taken_up(void *arg) {
    struct reload *q = arg;
    struct runtime *r = q->runtime;
    binds_keep(&r->binds);
    loop_update_clock(&r->loop);
    event_info("reloaded", "another configuration is in force", LOG_INT("number", r->snapshot->number),
               LOG_INT("took_us", r->loop.now_us - q->began_us), LOG_INT("sockets_kept", q->binds.kept),
               LOG_INT("sockets_opened", q->binds.opened), LOG_INT("sockets_closed", q->binds.closed));
    finish(q, true);
}

static void publish(struct reload *q, struct snapshot *s) {
    struct runtime *r = q->runtime;
    struct snapshot *before = r->snapshot;
    s->number = before->number + 1;
    list_push_back(&r->snapshots, &s->node);
    reload_begin_order(r, &q->order, s);
    r->snapshot = s;
    config_free(r->previous);
    r->previous = q->is_rollback ? NULL : config_ref(before->config);
    reload_apply_global(r);
    mark_retired(r, s);
    runtime_check_servers(r);
    apply_servers(r, before, s);
    runtime_broadcast(r, take_up, on_taken_up, q);
    reload_release(r, before); /* the control thread's own reference; the workers have theirs */
}

/* --- one reload ------------------------------------------------------------------------------------------------- */

static void tell_diagnostics(struct diagnostics *d) {
    const struct diagnostic *one;
    for (size_t i = 0; i < DIAGNOSTICS_SHOWN && (one = diagnostics_find(d, i)); i++) {
        if (one->severity != SEVERITY_ERROR) continue;
        log_error("configuration", one->text, LOG_STR("file", one->place.source ? one->place.source->name : ""),
                  LOG_INT("line", one->place.line), LOG_INT("column", one->place.column));
    }
}

/* Reads the file; NULL when it is in error. What there is to say of it is in q->text. */
static struct config *read_config(struct reload *q) {
    const struct runtime_source *source = &q->runtime->source;
    struct diagnostics d;
    size_t len;
    diagnostics_init(&d);
    struct config *config =
        config_load(q->path ? q->path : source->path, source->overrides, source->override_count, &d);
    FILE *out = open_memstream(&q->text, &len);
    LG_ASSERT(out != NULL);
    diagnostics_print(&d, out);
    fclose(out);
    if (!config) tell_diagnostics(&d);
    diagnostics_fini(&d);
    return config;
}

static void fail(struct reload *q, const char *why) {
    event_warn("reload_failed", why, LOG_INT("number", q->runtime->snapshot->number));
    if (!q->text || !*q->text) {
        free(q->text);
        q->text = xstrdup(why);
    }
    finish(q, false);
}

static void begin(struct reload *q) {
    struct runtime *r = q->runtime;
    struct error e;
    loop_update_clock(&r->loop);
    q->began_us = r->loop.now_us;
    if (!q->is_rollback && !q->path && !r->source.path) {
        fail(q, "the configuration did not come from a file");
        return;
    }
    if (q->is_rollback && !r->previous) {
        fail(q, "there is no configuration to go back to");
        return;
    }
    struct config *config = q->is_rollback ? config_ref(r->previous) : read_config(q);
    if (!config) {
        fail(q, "the file is in error; the configuration stays as it is");
        return;
    }
    struct snapshot *s = snapshot_build(config, &r->registry, &e);
    if (!s) {
        fail(q, e.text);
        return;
    }
    if (!binds_plan(&r->binds, s, r->worker_count, &q->order, &q->binds, &e)) {
        snapshot_free(s, &r->registry);
        q->binds = (struct bind_changes){0};
        fail(q, e.text);
        return;
    }
    publish(q, s);
}

static void begin_next(struct runtime *r) {
    struct list *node = list_first(&r->reloads);
    if (!node || r->reloading) return;
    r->reloading = true;
    begin(LIST_ENTRY(node, struct reload, node));
}

static void ask(struct runtime *r, const char *path, bool is_rollback, reload_done *done, void *arg) {
    struct reload *q = xcalloc(1, sizeof *q);
    *q = (struct reload){
        .path = path ? xstrdup(path) : NULL, .is_rollback = is_rollback, .done = done, .arg = arg, .runtime = r};
    list_push_back(&r->reloads, &q->node);
    begin_next(r);
}

void runtime_reload(struct runtime *r, const char *path, reload_done *done, void *arg) {
    if (r->state == RUNTIME_RUNNING) {
        ask(r, path, false, done, arg);
        return;
    }
    struct reload_result result = {.text = "the process is stopping", .number = r->snapshot->number};
    if (done) done(arg, &result);
}

void reload_by_signal(struct runtime *r) {
    runtime_reload(r, NULL, NULL, NULL);
}

bool runtime_rollback(struct runtime *r, reload_done *done, void *arg) {
    if (r->state != RUNTIME_RUNNING || !r->previous) return false;
    ask(r, NULL, true, done, arg);
    return true;
}

/* Those that wait have been asked in vain; one that is under way is told when its letters come back, before. */
void reloads_fini(struct runtime *r) {
    struct list *node;
    while ((node = list_first(&r->reloads))) finish(LIST_ENTRY(node, struct reload, node), false);
    config_free(r->previous);
    LIST_FOR (each, &r->snapshots) snapshot_free(LIST_ENTRY(each, struct snapshot, node), &r->registry);
}
