/* runtime.c: the control thread: workers, signals, health checks, shutdown. */
#include "runtime_internal.h"

#include "loomgate/base/event.h"
#include "loomgate/runtime/privileges.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* LINGER: who has just connected to a control socket that is handed over has so long to say what it wants.
 * PUMP: so often queues are looked at for what only time changes, such as a breaker that lets probes through.
 * TICK: so often is taken what the workers have measured. */
enum {
    LOG_PATIENCE_MS = 1000,
    DESCRIPTORS_ELSEWHERE = 64,
    DESCRIPTORS_OF_CONTROL = 32,
    PUMP_US = 100000,
    TICK_US = 1000000,
    LINGER_US = 1000000
};

/* --- health checks ---------------------------------------------------------------------------------------------- */

/* Those who wait for a server go to the one that came back, or hear that none is left. */
static void on_health_change(struct checks *c, struct server *server) {
    struct runtime *r = c->owner;
    const struct backend *b = backend_find(r, server->backend);
    if (b) queue_pump(&b->group->queue, r->loop.now_us);
}

static void check_members(struct runtime *r, const struct backend *b, const struct balance_member *v, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        checks_put(&r->checks, v[i].server, &b->settings->health, v[i].settings, b->settings->slow_start_us);
}

void runtime_check_servers(struct runtime *r) {
    checks_begin(&r->checks);
    for (uint32_t i = 0; i < r->snapshot->backend_count; i++) {
        const struct backend *b = &r->snapshot->backends[i];
        if (!b->settings->health.on) continue;
        check_members(r, b, b->members, b->member_count);
        check_members(r, b, b->backups, b->backup_count);
    }
    checks_end(&r->checks);
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

static void stop_now(struct runtime *r) {
    r->state = RUNTIME_STOPPED;
    loop_stop(&r->loop);
}

static void on_drained(struct worker *w) {
    struct runtime *r = w->owner;
    if (++r->drained < r->worker_count) return;
    if (r->state == RUNTIME_HANDED_OVER)
        deadline_set(&r->loop, &r->linger, LINGER_US);
    else
        stop_now(r);
}

static void on_linger_over(struct deadline *d) {
    stop_now(LG_CONTAINER_OF(d, struct runtime, linger));
}

static void on_grace_over(struct deadline *d) {
    struct runtime *r = LG_CONTAINER_OF(d, struct runtime, grace);
    event_warn("grace_over", "stopping although exchanges still run", LOG_INT("connections", gate_open(&r->gate)));
    stop_now(r);
}

void runtime_shutdown(struct runtime *r, bool now) {
    uint64_t grace_us = r->snapshot->config->global.shutdown_grace_us;
    if (r->state == RUNTIME_STOPPED || (r->state == RUNTIME_DRAINING && !now)) return;
    if (now) {
        notify_stopping(&r->notify, NULL);
        event_warn("stopping", "stopping at once", LOG_INT("connections", gate_open(&r->gate)));
        stop_now(r);
        return;
    }
    r->state = RUNTIME_DRAINING;
    upgrade_cancel(r);
    notify_stopping(&r->notify, "what runs may finish");
    event_info("stopping", "no new connections; what runs may finish", LOG_INT("connections", gate_open(&r->gate)),
               LOG_INT("grace_s", grace_us / 1000000));
    for (unsigned i = 0; i < r->worker_count; i++) worker_drain(r->workers[i]);
    deadline_set(&r->loop, &r->grace, grace_us);
    if (deadline_is_set(&r->linger)) stop_now(r);
}

/* A second signal means: at once. */
static void on_stop_signal(struct ev_loop *ev, ev_signal *w, int events) {
    (void)ev, (void)events;
    struct runtime *r = w->data;
    runtime_shutdown(r, r->state == RUNTIME_DRAINING);
}

static void on_reopen_signal(struct ev_loop *ev, ev_signal *w, int events) {
    (void)ev, (void)w, (void)events;
    runtime_reopen_logs();
}

static void on_reload_signal(struct ev_loop *ev, ev_signal *w, int events) {
    (void)ev, (void)events;
    reload_by_signal(w->data);
}

static void on_upgrade_signal(struct ev_loop *ev, ev_signal *w, int events) {
    (void)ev, (void)events;
    upgrade_by_signal(w->data);
}

static void watch_signals(struct runtime *r) {
    static const struct {
        int number;
        void (*run)(struct ev_loop *ev, ev_signal *w, int events);
    } rows[LG_COUNT(r->signals)] = {
        {SIGTERM, on_stop_signal},  {SIGINT, on_stop_signal},     {SIGUSR1, on_reopen_signal},
        {SIGHUP, on_reload_signal}, {SIGUSR2, on_upgrade_signal},
    };
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        ev_signal_init(&r->signals[i], rows[i].run, rows[i].number);
        r->signals[i].data = r;
        ev_signal_start(r->loop.ev, &r->signals[i]);
    }
}

/* --- what time brings ------------------------------------------------------------------------------------------- */

static void on_pump(struct deadline *d) {
    struct runtime *r = LG_CONTAINER_OF(d, struct runtime, pump);
    LIST_FOR (node, &r->snapshots) {
        struct snapshot *s = LIST_ENTRY(node, struct snapshot, node);
        for (uint32_t i = 0; i < s->backend_count; i++) queue_pump(&s->backends[i].group->queue, r->loop.now_us);
    }
    deadline_set(&r->loop, &r->pump, PUMP_US);
}

static void on_tick(struct deadline *d) {
    struct runtime *r = LG_CONTAINER_OF(d, struct runtime, tick);
    telemetry_tick(&r->registry.telemetry, r->loop.now_us);
    deadline_set(&r->loop, &r->tick, TICK_US);
}

_Static_assert((int)TELEMETRY_WINDOWS_MAX == (int)WINDOWS_MAX, "as many as the configuration may have");

static void begin_ticks(struct runtime *r) {
    loop_update_clock(&r->loop);
    for (unsigned i = 0; i < r->worker_count; i++)
        telemetry_add_recorder(&r->registry.telemetry, &r->workers[i]->env.recorder);
    reload_apply_global(r);
    deadline_set(&r->loop, &r->tick, TICK_US);
}

/* --- starting --------------------------------------------------------------------------------------------------- */

static void on_gate_left(struct worker *w) {
    struct runtime *r = w->owner;
    for (unsigned i = 0; i < r->worker_count; i++) worker_resume(r->workers[i]);
}

static void on_tenure_end(struct worker *w, struct tenure *t) {
    reload_release(w->owner, t->snapshot);
    free(t);
}

static void make_workers(struct runtime *r) {
    r->worker_count = r->snapshot->config->global.workers;
    r->workers = xcalloc(r->worker_count, sizeof(struct worker *));
    for (unsigned i = 0; i < r->worker_count; i++) {
        struct worker *w =
            aligned_alloc(LG_CACHE_LINE, (sizeof *w + LG_CACHE_LINE - 1) / LG_CACHE_LINE * LG_CACHE_LINE);
        LG_ASSERT(w != NULL);
        memset(w, 0, sizeof *w);
        w->owner = r;
        w->on_drained = on_drained;
        w->on_gate_left = on_gate_left;
        w->on_tenure_end = on_tenure_end;
        w->on_collect = scrapes_ask;
        worker_init(w, i, &r->gate, &r->box);
        w->env.fd_ceiling = r->fd_ceiling;
        w->env.loop.connect_ceiling = r->connect_ceiling;
        r->workers[i] = w;
    }
}

static uint64_t wanted_descriptors(const struct global_settings *g) {
    return (uint64_t)g->max_connections * 2 + DESCRIPTORS_ELSEWHERE;
}

/* Of the descriptors there are, one in eight is kept for connections to servers, and a few of those for the operator:
 * a control socket that cannot accept is of no use when it is needed most. */
static void check_descriptors(struct runtime *r) {
    uint64_t limit = privileges_raise_descriptors();
    bool is_limited = limit && limit < INT_MAX;
    uint64_t kept = limit / 16 < DESCRIPTORS_OF_CONTROL ? limit / 16 : DESCRIPTORS_OF_CONTROL;
    r->fd_ceiling = is_limited ? (int)(limit - limit / 8) : INT_MAX;
    r->connect_ceiling = is_limited ? (int)(limit - kept) : INT_MAX;
    uint64_t wanted = wanted_descriptors(&r->snapshot->config->global);
    if (limit && limit < wanted)
        event_warn("few_descriptors",
                   "max_connections clients and as many server connections would not fit the limit of "
                   "open files; accepting will pause before",
                   LOG_INT("limit", limit), LOG_INT("wanted", wanted));
}

/* While privileges are there. It may be the process before's until this one serves. */
static bool open_pid_file(struct runtime *r, const char *path, struct error *e) {
    if (!path) return true;
    r->pid_file = fopen(path, "ae");
    if (!r->pid_file) return error_set_errno(e, "cannot write the pid file '%s'", path);
    r->pid_written = !heir_is_one(&r->heir);
    return true;
}

static bool write_pid(struct runtime *r, struct error *e) {
    FILE *f = r->pid_file;
    if (!f) return true;
    r->pid_file = NULL;
    bool ok = ftruncate(fileno(f), 0) == 0;
    fprintf(f, "%d\n", (int)getpid());
    if (fclose(f) != 0 || !ok) return error_set_errno(e, "cannot write the pid file");
    return r->pid_written = true;
}

/* The first order, before the workers run. */
static bool listen_on_all(struct runtime *r, struct error *e) {
    struct order o = {0};
    struct bind_changes changes;
    if (!binds_plan(&r->binds, r->snapshot, r->worker_count, &o, &changes, e)) return false;
    r->binds.inherited = NULL;
    reload_begin_order(r, &o, r->snapshot);
    for (unsigned i = 0; i < r->worker_count; i++) worker_switch(r->workers[i], &o);
    binds_keep(&r->binds);
    order_fini(&o);
    free(o.tenures);
    return true;
}

/* From the process before, if there was one. That it cannot be had is no reason not to serve. */
static void take_state(struct runtime *r) {
    if (!heir_is_one(&r->heir)) return;
    FILE *in = heir_ask_state(&r->heir);
    if (!in || !upgrade_take(r, in))
        event_warn("state_lost", "the state of the process before could not be read; all begins anew");
    if (in) fclose(in);
}

/* From here on what was the process before's is this one's. */
static void begin_alone(struct runtime *r) {
    if (heir_is_one(&r->heir))
        heir_say_serving(&r->heir);
    else
        notify_ready(&r->notify, "serving");
    r->is_alone = true;
    binds_share_files(&r->binds, false);
    listen_fds_end(&r->inherited);
}

static bool start_workers(struct runtime *r, struct error *e) {
    for (; r->started < r->worker_count; r->started++)
        if (!worker_start(r->workers[r->started], e)) return false;
    return true;
}

static bool runtime_start(struct runtime *r, const char *pid_path, struct error *e) {
    const struct global_settings *g = &r->snapshot->config->global;
    gate_set_limit(&r->gate, g->max_connections);
    snapshot_set_limits(r->snapshot);
    check_descriptors(r);
    runtime_check_servers(r);
    make_workers(r);
    if (!listen_on_all(r, e) || !open_pid_file(r, pid_path, e)) return false;
    if (r->hooks) {
        r->is_bound = true;
        if (!r->hooks->on_bind(r->hooks->owner, r, e)) return false;
    }
    if (!privileges_drop(g, e)) return false;
    watch_signals(r);
    deadline_set(&r->loop, &r->pump, PUMP_US);
    begin_ticks(r);
    r->start_us = r->loop.now_us;
    take_state(r);
    if (!start_workers(r, e) || !write_pid(r, e)) return false;
    reload_watch(r, false);
    event_info("ready", "serving", LOG_STR("version", LG_VERSION), LOG_INT("workers", r->worker_count),
               LOG_INT("pid", getpid()));
    begin_alone(r);
    return true;
}

/* Also of a runtime that was set up only in part. */
static void runtime_stop(struct runtime *r) {
    r->state = RUNTIME_STOPPED;
    if (r->is_bound) r->hooks->on_stop(r->hooks->owner, r);
    upgrade_fini(r);
    for (unsigned i = 0; i < r->started; i++) worker_stop(r->workers[i]);
    for (unsigned i = 0; i < r->worker_count; i++) worker_fini(r->workers[i]);
    mailbox_deliver(&r->box); /* broadcasts that were under way come back */
    scrapes_fini(r);
    runtime_taps_fini(r);
    for (unsigned i = 0; i < r->worker_count; i++) free(r->workers[i]);
    free(r->workers);
    for (size_t i = 0; i < LG_COUNT(r->signals); i++) ev_signal_stop(r->loop.ev, &r->signals[i]);
    binds_fini(&r->binds);
    checks_fini(&r->checks);
    drains_fini(r);
    reloads_fini(r);
    registry_fini(&r->registry);
    deadline_cancel(&r->grace);
    deadline_cancel(&r->pump);
    deadline_cancel(&r->tick);
    deadline_cancel(&r->linger);
    overrides_fini(r);
    mailbox_fini(&r->box);
    loop_fini(&r->loop);
    notify_close(&r->notify);
    listen_fds_fini(&r->inherited);
    if (r->pid_file) fclose(r->pid_file);
}

static void runtime_init(struct runtime *r, const struct runtime_source *source) {
    notify_open(&r->notify);
    loop_init(&r->loop);
    mailbox_init(&r->box, &r->loop, r);
    deadline_init(&r->grace, on_grace_over);
    deadline_init(&r->pump, on_pump);
    deadline_init(&r->tick, on_tick);
    deadline_init(&r->linger, on_linger_over);
    list_init(&r->drains);
    scrapes_init(r);
    list_init(&r->taps);
    list_init(&r->overrides);
    registry_init(&r->registry);
    checks_init(&r->checks, &r->loop, &r->metrics);
    r->checks.owner = r;
    r->checks.on_change = on_health_change;
    reloads_init(r);
    reload_watch_init(r);
    binds_init(&r->binds);
    r->binds.inherited = &r->inherited;
    if (source) r->source = *source;
    upgrade_init(r);
}

/* `ok`: what it was given is in order; else `e` says why not. */
static bool build_and_start(struct runtime *r, struct config *config, const char *pid_path, bool ok, struct error *e) {
    r->first = config_ref(config);
    if (!ok) config_free(config);
    r->snapshot = ok ? snapshot_build(config, &r->registry, e) : NULL;
    if (!r->snapshot) return false;
    list_push_back(&r->snapshots, &r->snapshot->node);
    return runtime_start(r, pid_path, e);
}

static void tell_failure(struct runtime *r, const struct error *e) {
    log_error("start_failed", e->text);
    if (heir_is_one(&r->heir)) heir_say_failed(&r->heir, e->text);
}

/* The log, on which everything else is told. */
static bool open_log(const struct log_settings *log, struct error *e) {
    log_init(log->queue);
    struct log_sink *sink = log_open(log->target, log->path, e);
    if (sink) log_configure(sink, log->format, log->level);
    return sink != NULL;
}

int runtime_run(struct config *config, const struct runtime_source *source, const char *pid_path,
                const struct runtime_hooks *hooks) {
    struct runtime the_runtime = {.hooks = hooks}, *r = &the_runtime;
    struct error e, why;
    heir_open(&r->heir); /* it reads the environment: before there are threads */
    bool inherited = listen_fds_init(&r->inherited, &why);
    privileges_reserve_descriptors(wanted_descriptors(&config->global));
    if (!open_log(&config->global.log, &e)) {
        tell_failure(r, &e);
        config_free(config);
        listen_fds_fini(&r->inherited);
        log_fini(LOG_PATIENCE_MS);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    runtime_init(r, source);
    bool ok = build_and_start(r, config, pid_path, inherited, &why);
    if (ok)
        loop_run(&r->loop);
    else
        tell_failure(r, &why);
    runtime_stop(r);
    if (r->pid_written) unlink(pid_path);
    log_sync(LOG_PATIENCE_MS);
    if (ok) log_info("stopped", NULL, LOG_INT("log_lost", log_lost()));
    log_fini(LOG_PATIENCE_MS);
    return ok ? 0 : 1;
}
