/* health.c: active checks: when each server is checked, and what follows from the results. */
#include "health_internal.h"

#include "loomgate/backend/connect.h"
#include "loomgate/base/event.h"
#include "loomgate/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Checks begin at multiples of GRID_US, so that several share a turn of the loop: a turn costs more than a check. That
 * is little beside an interval (of which it is never more than this part). */
enum { GRID_US = 50000, GRID_PART = 20, TELL_AGAIN_US = 60000000 };

/* The checks of one server. */
struct check {
    struct list node;
    struct checks *checks;
    struct server *server; /* its address is the key in by_server */
    uint64_t slow_start_us;
    unsigned round; /* the last one that told it */
    uint64_t added_us;
    uint64_t began_us, due_us; /* the last check, and the next one */
    struct loop_timer timer;   /* to the next one; not set while one is under way */
    struct probe probe;
};

/* --- rules ------------------------------------------------------------------------------------------------------ */

bool health_count(struct health_state *h, enum server_health state, const struct health_settings *settings,
                  bool passed) {
    if (passed == (state == SERVER_UP)) {
        h->streak = 0;
        return false;
    }
    if (++h->streak < (passed ? settings->rise : settings->fall)) return false;
    h->streak = 0;
    return true;
}

/* A year is for ever; beyond it numbers would overflow. */
static const uint64_t interval_max_us = 365 * 86400 * UINT64_C(1000000);

static uint64_t interval_of(const struct health_settings *settings, bool fast) {
    uint64_t interval = settings->interval_us < interval_max_us ? settings->interval_us : interval_max_us;
    return fast && settings->fast_interval_us < interval ? settings->fast_interval_us : interval;
}

/* 0 to just below 1. */
static double share_of(uint64_t random) {
    return (double)(random >> 11) / 9007199254740992.0; /* 2^53 */
}

uint64_t health_delay_us(const struct health_state *h, const struct health_settings *settings, uint64_t random) {
    return (uint64_t)((double)interval_of(settings, h->streak > 0) *
                      (1 + settings->jitter * (2 * share_of(random) - 1)));
}

/* SplitMix64 (Steele, Lea and Flood, 2014). Not for secrets. */
static uint64_t next_random(struct checks *c) {
    uint64_t x = c->random += 0x9e3779b97f4a7c15U;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

/* --- results ---------------------------------------------------------------------------------------------------- */

/* From the last change, or from when it was first told, until now. */
static uint64_t seconds_in_state(const struct check *c) {
    uint64_t since = c->server->health.since_us ? c->server->health.since_us : c->added_us;
    return (c->checks->loop->now_us - since) / 1000000;
}

static void set_health(struct server *s, enum server_health health) {
    atomic_store_explicit(&s->shared.health, (uint8_t)health, memory_order_relaxed);
}

/* Checks have found something out. */
static void set_found(struct server *s, enum server_health health) {
    s->health.found = (uint8_t)health;
    if (!s->health.pinned) set_health(s, health);
}

void health_pin(struct server *s, enum server_health health) {
    s->health.pinned = true;
    set_health(s, health);
}

void health_unpin(struct server *s) {
    s->health.pinned = false;
    set_health(s, (enum server_health)s->health.found);
}

static void go_down(struct check *c) {
    struct server *s = c->server;
    const char *what = s->health.pinned ? "it failed its checks, but an operator has pinned its health"
                                        : "it failed its checks and gets no more requests";
    set_found(s, SERVER_DOWN);
    metrics_add(c->checks->metrics, METRIC_health_down_total, 1);
    event_warn("server_down", what, LOG_STR("backend", s->backend), LOG_STR("server", s->name),
               LOG_STR("reason", s->health.reason), LOG_INT("checks", c->probe.settings->fall),
               LOG_INT("latency_us", s->health.latency_us), LOG_INT("up_s", seconds_in_state(c)));
}

static void go_up(struct check *c) {
    struct server *s = c->server;
    const char *what = s->health.pinned ? "it passed its checks, but an operator has pinned its health"
                                        : "it passed its checks and gets requests again";
    if (c->slow_start_us && !s->health.pinned) server_begin_ramp(s, c->checks->loop->now_us, c->slow_start_us);
    set_found(s, SERVER_UP);
    metrics_add(c->checks->metrics, METRIC_health_up_total, 1);
    event_info("server_up", what, LOG_STR("backend", s->backend), LOG_STR("server", s->name),
               LOG_STR("reason", s->health.reason), LOG_INT("checks", c->probe.settings->rise),
               LOG_INT("latency_us", s->health.latency_us), LOG_INT("down_s", seconds_in_state(c)));
}

static void note(struct check *c, bool passed) {
    struct health_state *h = &c->server->health;
    uint64_t now = c->checks->loop->now_us;
    h->checks++;
    h->failed += !passed;
    h->last_us = now;
    h->latency_us = now - c->began_us;
    h->last_passed = passed;
    h->last_status = c->probe.status;
    memcpy(h->reason, c->probe.reason, sizeof h->reason);
    metrics_add(c->checks->metrics, METRIC_health_checks_total, 1);
    if (!passed) metrics_add(c->checks->metrics, METRIC_health_checks_failed_total, 1);
}

/* What a check has found that ended now. */
static void judge(struct check *c, bool passed) {
    struct checks *all = c->checks;
    enum server_health state = (enum server_health)c->server->health.found;
    note(c, passed);
    if (!health_count(&c->server->health, state, c->probe.settings, passed)) return;
    if (state == SERVER_UP)
        go_down(c);
    else
        go_up(c);
    c->server->health.since_us = all->loop->now_us;
    if (all->on_change && !c->server->health.pinned) all->on_change(all, c->server);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static bool is_resting(const struct check *c) {
    return server_admin_get(c->server) == SERVER_MAINT;
}

static uint64_t on_grid(uint64_t at_us, uint64_t interval_us) {
    uint64_t step = interval_us / GRID_PART < GRID_US ? interval_us / GRID_PART + 1 : GRID_US;
    return (at_us + step / 2) / step * step;
}

static void schedule_at(struct check *c, uint64_t at_us) {
    uint64_t now = c->checks->loop->now_us;
    c->due_us = on_grid(at_us, c->probe.settings->interval_us);
    timer_set(c->checks->loop, &c->timer, c->due_us > now ? c->due_us - now : 0);
}

/* Intervals are from start to start; a check that takes longer is followed by the next one at once. */
static void schedule_next(struct check *c) {
    uint64_t delay = health_delay_us(&c->server->health, c->probe.settings, next_random(c->checks));
    schedule_at(c, c->began_us + delay);
}

/* By settings that are new to it. What is overdue by them, such as the first check, comes at any moment of one
 * fast_interval: many servers have the same settings. */
static void schedule_anew(struct check *c) {
    const struct health_settings *settings = c->probe.settings;
    uint64_t now = c->checks->loop->now_us;
    uint64_t due = c->began_us + health_delay_us(&c->server->health, settings, next_random(c->checks));
    if (!c->began_us || due < now)
        due = now + (uint64_t)((double)interval_of(settings, true) * share_of(next_random(c->checks)));
    if (!timer_is_set(&c->timer) || due < c->due_us) schedule_at(c, due);
}

/* What was found of a server that is in maintenance by now is not wanted any more. */
static void on_done(struct probe *p, bool passed) {
    struct check *c = LG_CONTAINER_OF(p, struct check, probe);
    if (!is_resting(c)) judge(c, passed);
    schedule_next(c);
}

/* Not the server's fault: this check is left out. */
static void tell_shortage(struct checks *all, int error_number) {
    uint64_t now = all->loop->now_us;
    if (!all->shortage_us || now - all->shortage_us >= TELL_AGAIN_US)
        event_warn("checks_skipped", "health checks are left out: no descriptor or memory for them",
                   LOG_STR("error", strerror(error_number)));
    all->shortage_us = now;
}

static void on_timer(struct loop_timer *t) {
    struct check *c = LG_CONTAINER_OF(t, struct check, timer);
    c->began_us = c->checks->loop->now_us;
    if (!is_resting(c)) {
        int error_number = probe_start(&c->probe);
        if (!error_number) return;
        if (connect_is_shortage(error_number))
            tell_shortage(c->checks, error_number);
        else
            judge(c, false);
    } else {
        probe_cancel(&c->probe); /* nor does it keep a connection */
    }
    schedule_next(c);
}

/* --- which servers ---------------------------------------------------------------------------------------------- */

void checks_init(struct checks *c, struct loop *loop, struct metrics *metrics) {
    *c = (struct checks){.loop = loop, .metrics = metrics, .scratch = xcalloc(1, sizeof *c->scratch)};
    list_init(&c->list);
    map_init(&c->by_server);
    LG_ASSERT(getrandom(&c->random, sizeof c->random, 0) == (ssize_t)sizeof c->random);
}

static struct slice key_of(struct server *const *server) {
    return slice_from((const char *)server, sizeof *server);
}

static void check_free(struct check *c) {
    probe_cancel(&c->probe);
    timer_cancel(&c->timer);
    map_remove(&c->checks->by_server, key_of(&c->server));
    list_remove(&c->node);
    free(c);
}

void checks_fini(struct checks *c) {
    LIST_FOR (node, &c->list) check_free(LIST_ENTRY(node, struct check, node));
    map_fini(&c->by_server);
    spares_fini(&c->spares);
    free(c->scratch);
}

void checks_begin(struct checks *c) {
    c->round++;
}

static struct check *check_new(struct checks *all, struct server *server, const struct health_settings *settings) {
    struct check *c = xcalloc(1, sizeof *c);
    c->checks = all;
    c->server = server;
    c->added_us = all->loop->now_us;
    c->probe = (struct probe){.loop = all->loop,
                              .scratch = all->scratch,
                              .spares = &all->spares,
                              .server = server,
                              .skips_one = server->id % 2 == 1,
                              .on_done = on_done};
    timer_init(&c->timer, on_timer);
    list_push_back(&all->list, &c->node);
    map_put(&all->by_server, key_of(&c->server), c);
    server->health.checked = true;
    if (settings->starts_down) set_found(server, SERVER_DOWN);
    return c;
}

void checks_put(struct checks *c, struct server *server, const struct health_settings *settings,
                const struct server_settings *server_settings, uint64_t slow_start_us) {
    LG_ASSERT(settings->kind != HEALTH_OFF);
    struct check *known = map_find(&c->by_server, key_of(&server));
    struct check *check = known ? known : check_new(c, server, settings);
    bool was_under_way = check->probe.conn != NULL;
    probe_cancel(&check->probe); /* it began by other settings */
    check->round = c->round;
    check->slow_start_us = slow_start_us;
    check->probe.settings = settings;
    check->probe.server_settings = server_settings;
    if (was_under_way)
        schedule_at(check, c->loop->now_us);
    else
        schedule_anew(check);
}

static void forget(struct check *c) {
    struct checks *all = c->checks;
    struct server *server = c->server;
    check_free(c);
    bool was_down = server_health_get(server) == SERVER_DOWN;
    server->health = (struct health_state){
        .checks = server->health.checks, .failed = server->health.failed, .pinned = server->health.pinned};
    set_found(server, SERVER_UP);
    if (was_down && server_health_get(server) == SERVER_UP && all->on_change) all->on_change(all, server);
}

void checks_end(struct checks *c) {
    LIST_FOR (node, &c->list) {
        struct check *check = LIST_ENTRY(node, struct check, node);
        if (check->round != c->round) forget(check);
    }
}
