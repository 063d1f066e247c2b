/* reload.c: another configuration for the running process. Its picture is in the header. */
#include "loomgate/runtime/reload.h"

#include "loomgate/base/event.h"

#include <stdlib.h>

#include "runtime_internal.h"

/* What asked for it. */
enum reload_cause {
    BY_REQUEST, /* a command or a signal */
    BY_WATCH,   /* the file has changed */
    BY_ROLLBACK,
    BY_EXPIRY, /* nobody has confirmed the one before in time */
};

enum { EXPIRY_RETRY_US = 5000000 };

/* One that is under way or waits for those before it. */
struct reload {
    struct list node;
    enum reload_cause cause;
    char *path; /* NULL: the source's */
    uint64_t confirm_us;
    reload_done *done;
    void *arg;
    struct runtime *runtime;
    struct diagnostics diagnostics; /* of the file, once it was read */
    bool was_read;
    struct config_diff diff;
    struct log_sink *log; /* where the new configuration wants the process's own log */
    struct order order;
    struct bind_changes sockets;
    bool replaced;
    uint64_t began_us;
};

static bool goes_back(const struct reload *q) {
    return q->cause == BY_ROLLBACK || q->cause == BY_EXPIRY;
}

/* --- the end of one --------------------------------------------------------------------------------------------- */

static void reload_free(struct reload *q) {
    order_fini(&q->order);
    free(q->order.tenures);
    config_diff_fini(&q->diff);
    if (q->was_read) diagnostics_fini(&q->diagnostics);
    free(q->path);
    free(q);
}

/* Tells who asked, and goes on with the next one. */
static void finish(struct reload *q, enum reload_outcome outcome, const char *why) {
    struct runtime *r = q->runtime;
    struct reload_result result = {.outcome = outcome,
                                   .why = why,
                                   .diagnostics = q->was_read ? &q->diagnostics : NULL,
                                   .diff = outcome == RELOAD_DONE ? &q->diff : NULL,
                                   .number = r->snapshot->number,
                                   .sockets = q->sockets,
                                   .replaced = q->replaced};
    list_remove(&q->node);
    r->reloading = false;
    if (q->done) q->done(q->arg, &result);
    reload_free(q);
    reloads_go_on(r);
}

/* 0: it stays. */
static void wait_for_confirm(struct runtime *r, uint64_t us) {
    r->unconfirmed = us != 0;
    r->confirm_until_us = r->loop.now_us + us;
    if (us)
        timer_set(&r->loop, &r->confirm, us);
    else
        timer_cancel(&r->confirm);
}

static void refuse(struct reload *q, const char *why) {
    struct runtime *r = q->runtime;
    r->reloads_failed++;
    q->sockets = (struct bind_changes){0};
    event_warn("reload_failed", why, LOG_INT("number", r->snapshot->number));
    if (q->was_read) reload_watch_failed(r, &q->diagnostics.files);
    if (q->cause == BY_EXPIRY) wait_for_confirm(r, EXPIRY_RETRY_US);
    notify_ready(&r->notify, "serving; the last reload was refused");
    finish(q, RELOAD_REFUSED, why);
}

static void on_taken_up(void *arg) {
    struct reload *q = arg;
    struct runtime *r = q->runtime;
    binds_keep(&r->binds);
    loop_update_clock(&r->loop);
    event_info("reloaded", "another configuration is in force", LOG_INT("number", r->snapshot->number),
               LOG_INT("took_us", r->loop.now_us - q->began_us), LOG_INT("changes", q->diff.count),
               LOG_INT("need_restart", q->diff.restart_count), LOG_INT("sockets_kept", q->sockets.kept),
               LOG_INT("sockets_opened", q->sockets.opened), LOG_INT("sockets_closed", q->sockets.closed));
    notify_ready(&r->notify, "serving");
    finish(q, RELOAD_DONE, NULL);
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

static bool take_up(struct env *env, unsigned worker, uint64_t *at, void *arg) {
    const struct reload *q = arg;
    (void)worker;
    if (!*at) worker_switch(env->owner, &q->order);
    *at = 1;
    return worker_settle(env->owner);
}

/* What a rollback goes back to, and whether this one is to be confirmed. While one waits for that, what was before it
 * stays what is gone back to; a change of the file seen by the watch does not confirm anything. */
static void note_way_back(struct reload *q, struct config *before) {
    struct runtime *r = q->runtime;
    if (goes_back(q)) {
        config_free(r->previous);
        r->previous = NULL;
    } else if (!r->unconfirmed) {
        config_free(r->previous);
        r->previous = config_ref(before);
    }
    if (q->cause == BY_WATCH && r->unconfirmed) return;
    q->replaced = r->unconfirmed && !goes_back(q);
    wait_for_confirm(r, q->confirm_us);
}

static void publish(struct reload *q, struct snapshot *s) {
    struct runtime *r = q->runtime;
    struct snapshot *before = r->snapshot;
    s->number = before->number + 1;
    list_push_back(&r->snapshots, &s->node);
    reload_begin_order(r, &q->order, s);
    r->snapshot = s;
    r->reloaded_us = r->loop.now_us;
    note_way_back(q, before->config);
    reload_apply_log(&before->config->global.log, &s->config->global.log, q->log);
    reload_apply_global(r);
    reload_apply_servers(r, before);
    runtime_check_servers(r);
    reload_watch(r, goes_back(q));
    overrides_apply(r);
    runtime_broadcast_steps(r, take_up, on_taken_up, q);
    reload_release(r, before); /* the control thread's own reference; the workers have theirs */
}

/* --- one reload ------------------------------------------------------------------------------------------------- */

static void tell_diagnostics(struct diagnostics *d) {
    const struct diagnostic *one;
    for (size_t i = 0, told = 0; told < DIAGNOSTICS_SHOWN && (one = diagnostics_find(d, i)); i++) {
        if (one->severity != SEVERITY_ERROR) continue;
        told++;
        log_error("configuration", one->text, LOG_STR("file", one->place.source ? one->place.source->name : ""),
                  LOG_INT("line", one->place.line), LOG_INT("column", one->place.column));
    }
}

static void tell_fixed(const struct config_diff *d) {
    for (uint32_t i = 0; i < d->count; i++)
        if (d->v[i].reload == RELOAD_RESTART)
            log_warn("needs_restart", "this change of the configuration is not applied", LOG_STR("key", d->v[i].path));
}

/* What is to be in force; NULL when there is nothing, or the file is in error. */
static struct config *get_config(struct reload *q, const char **why) {
    struct runtime *r = q->runtime;
    if (goes_back(q)) return config_ref(r->previous);
    diagnostics_init(&q->diagnostics);
    q->was_read = true;
    struct config *config =
        config_load(q->path ? q->path : r->source.path, r->source.overrides, r->source.override_count, &q->diagnostics);
    *why = "the file is in error; nothing was changed";
    if (!config) tell_diagnostics(&q->diagnostics);
    return config;
}

/* Everything that may fail; NULL then. */
static struct snapshot *prepare(struct reload *q, struct config *config, struct error *e) {
    struct runtime *r = q->runtime;
    config_diff_init(&q->diff, r->snapshot->config, config);
    config_keep_fixed(config, r->first);
    const struct log_settings *log = &config->global.log;
    q->log = log_open(log->target, log->path, e);
    if (!q->log) {
        config_free(config);
        return NULL;
    }
    struct snapshot *s = snapshot_build(config, &r->registry, e);
    if (!s || binds_plan(&r->binds, s, r->worker_count, &q->order, &q->sockets, e)) return s;
    snapshot_free(s, &r->registry);
    return NULL;
}

/* Why it is not begun at all; NULL: it is. */
static const char *why_not(const struct reload *q) {
    const struct runtime *r = q->runtime;
    if (r->state == RUNTIME_HANDED_OVER) return "another process serves now: ask that one";
    if (r->state != RUNTIME_RUNNING) return "the process is stopping";
    if (q->cause == BY_EXPIRY && (!r->unconfirmed || timer_is_set(&r->confirm))) return "it was confirmed meanwhile";
    if (goes_back(q) && !r->previous) return "there is no configuration to go back to";
    if (!goes_back(q) && !q->path && !r->source.path) return "the configuration did not come from a file";
    return NULL;
}

static void begin(struct reload *q) {
    struct runtime *r = q->runtime;
    const char *why = why_not(q);
    struct error e;
    if (why) {
        if (q->cause == BY_REQUEST) event_warn("reload_failed", why, LOG_INT("number", r->snapshot->number));
        finish(q, RELOAD_LATE, why);
        return;
    }
    loop_update_clock(&r->loop);
    q->began_us = r->loop.now_us;
    notify_reloading(&r->notify, "reading the configuration");
    if (q->cause == BY_EXPIRY)
        event_warn("reload_expired", "it was not confirmed in time; the configuration before comes back",
                   LOG_INT("number", r->snapshot->number));
    struct config *config = get_config(q, &why);
    if (!config) {
        refuse(q, why);
        return;
    }
    struct snapshot *s = prepare(q, config, &e);
    if (!s) {
        refuse(q, e.text);
        return;
    }
    tell_fixed(&q->diff);
    publish(q, s);
}

/* --- one after the other ---------------------------------------------------------------------------------------- */

void reloads_go_on(struct runtime *r) {
    struct list *node = list_first(&r->reloads);
    if (r->reloading || upgrade_holds_reloads(r)) return;
    if (!node) {
        upgrade_go_on(r);
        return;
    }
    r->reloading = true;
    begin(LIST_ENTRY(node, struct reload, node));
}

static void ask(struct runtime *r, enum reload_cause cause, const struct reload_request *request, reload_done *done,
                void *arg) {
    struct reload *q = xcalloc(1, sizeof *q);
    *q = (struct reload){.cause = cause,
                         .path = request && request->path ? xstrdup(request->path) : NULL,
                         .confirm_us = request ? request->confirm_us : 0,
                         .done = done,
                         .arg = arg,
                         .runtime = r};
    list_push_back(&r->reloads, &q->node);
    reloads_go_on(r);
}

void runtime_reload(struct runtime *r, const struct reload_request *request, reload_done *done, void *arg) {
    ask(r, BY_REQUEST, request, done, arg);
}

void runtime_rollback(struct runtime *r, reload_done *done, void *arg) {
    ask(r, BY_ROLLBACK, NULL, done, arg);
}

void reload_by_signal(struct runtime *r) {
    ask(r, BY_REQUEST, NULL, NULL, NULL);
}

void reload_by_watch(struct runtime *r, const char *path) {
    ask(r, BY_WATCH, &(struct reload_request){.path = path}, NULL, NULL);
}

/* --- to be confirmed -------------------------------------------------------------------------------------------- */

static void on_expiry(struct loop_timer *t) {
    ask(LG_CONTAINER_OF(t, struct runtime, confirm), BY_EXPIRY, NULL, NULL, NULL);
}

bool runtime_confirm(struct runtime *r) {
    if (!r->unconfirmed) return false;
    wait_for_confirm(r, 0);
    event_info("reload_confirmed", "the configuration stays", LOG_INT("number", r->snapshot->number));
    return true;
}

void runtime_reload_state(const struct runtime *r, struct reload_state *out) {
    uint64_t now_us = r->loop.now_us;
    *out = (struct reload_state){.total = r->snapshot->number,
                                 .failed = r->reloads_failed,
                                 .last_us = r->reloaded_us,
                                 .confirm_us = !r->unconfirmed                ? 0
                                               : r->confirm_until_us > now_us ? r->confirm_until_us - now_us
                                                                              : 1,
                                 .alive = runtime_snapshots_alive(r),
                                 .can_roll_back = r->previous != NULL};
}

/* --- with the process ------------------------------------------------------------------------------------------- */

void reloads_init(struct runtime *r) {
    list_init(&r->snapshots);
    list_init(&r->reloads);
    timer_init(&r->confirm, on_expiry);
}

/* All that were under way or waited have been told by now: letters come back before the workers are freed. */
void reloads_fini(struct runtime *r) {
    LG_ASSERT(list_is_empty(&r->reloads));
    watch_stop(&r->watch);
    timer_cancel(&r->confirm);
    config_free(r->previous);
    LIST_FOR (each, &r->snapshots) snapshot_free(LIST_ENTRY(each, struct snapshot, node), &r->registry);
    config_free(r->first);
}
