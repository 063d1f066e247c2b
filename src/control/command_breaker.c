/* command_breaker.c: circuit breakers: their state, closed or opened by hand. */
#include "command_internal.h"

#include "loomgate/base/event.h"

static const char *const state_words[] = {
    [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};

static void put_breaker(struct view_node *row, const struct balance_member *m, const struct loop *loop) {
    struct server *s = m->server;
    const struct breaker *b = &s->shared.breaker;
    uint32_t requests = 0, errors = 0;
    breaker_window_read(&s->shared.window, m->breaker, loop->now_us, &requests, &errors);
    uint64_t changed_us = atomic_load_explicit(&b->changed_us, memory_order_relaxed);
    uint64_t wait_us = breaker_wait_us(b, loop->now_us);
    view_text(row, "backend", s->backend);
    view_text(row, "server", s->name);
    view_text(row, "state", m->breaker->on ? state_words[breaker_state_get(b)] : "off");
    view_bool(row, "held", breaker_is_held(b));
    view_number(row, "requests", requests);
    view_number(row, "errors", errors);
    if (requests)
        view_ratio(row, "error_rate", (double)errors / requests);
    else
        view_null(row, "error_rate");
    view_ratio(row, "opens_at", m->breaker->error_rate);
    view_duration(row, "window", m->breaker->window_us);
    view_number(row, "trips", atomic_load_explicit(&b->trips, memory_order_relaxed));
    if (changed_us)
        view_time(row, "changed", loop->unix_us - (loop->now_us - changed_us));
    else
        view_null(row, "changed");
    view_text(row, "reason", breaker_reason_name(b));
    if (wait_us)
        view_duration(row, "half_opens_in", wait_us);
    else
        view_null(row, "half_opens_in");
}

static void run_show(struct call *c) {
    const struct snapshot *s = runtime_snapshot(c->control->runtime);
    struct target wanted = {NULL, NULL};
    if (c->words.count && !call_take_target(c, 0, TARGET_BACKEND, &wanted)) return;
    struct view_node *list = view_begin_list(&c->view);
    for (uint32_t i = 0; i < s->backend_count; i++) {
        struct target all = {&s->backends[i], NULL};
        const struct balance_member *m;
        if (wanted.backend && wanted.backend != all.backend) continue;
        for (uint32_t at = 0; (m = target_next(&all, &at));)
            put_breaker(view_object(list, NULL), m, runtime_loop(c->control->runtime));
    }
    call_show(c);
}

/* --- by hand ---------------------------------------------------------------------------------------------------- */

bool target_has_breaker(struct call *c, const struct target *t) {
    if (t->backend->settings->breaker.on) return true;
    call_fail(c, COMMAND_CONFLICT, "the backend '%s' has its breakers off", t->backend->settings->name);
    return false;
}

/* A held one is its holder's; the call has failed. */
static bool is_held(struct call *c, const struct balance_member *m) {
    if (!m || !breaker_is_held(&m->server->shared.breaker)) return false;
    call_fail(c, COMMAND_CONFLICT, "the breaker of %s/%s is held; 'breaker release' lets it go", m->server->backend,
              m->server->name);
    return true;
}

/* Says which ones it was not. */
static void answer_reset(struct call *c, const struct target *t, unsigned closed, unsigned held, unsigned count) {
    if (t->only)
        call_ok(c, "the breaker of %s/%s %s; its window is empty", t->backend->settings->name, t->only->server->name,
                closed ? "is closed" : "was closed already");
    else if (held)
        call_ok(c, "%u of %u breakers of %s were not closed, and are now; %u are held, and stay as they are", closed,
                count, t->backend->settings->name, held);
    else
        call_ok(c, "%u of %u breakers of %s were not closed, and are now; their windows are empty", closed, count,
                t->backend->settings->name);
}

static void run_reset(struct call *c) {
    const struct loop *loop = runtime_loop(c->control->runtime);
    struct target t;
    if (!call_take_target(c, 0, TARGET_EITHER, &t) || !target_has_breaker(c, &t) || is_held(c, t.only)) return;
    unsigned closed = 0, held = 0, count = 0;
    const struct balance_member *m;
    for (uint32_t at = 0; (m = target_next(&t, &at)); count++) {
        struct breaker_change change = {.happened = false};
        if (breaker_is_held(&m->server->shared.breaker)) {
            held++;
            continue;
        }
        breaker_reset(&m->server->shared.breaker, &m->server->shared.window, loop->now_us, &change);
        if (!change.happened) continue;
        closed++;
        event_info("breaker_reset", "closed by an operator", LOG_STR("backend", m->server->backend),
                   LOG_STR("server", m->server->name));
    }
    queue_pump(&t.backend->group->queue, loop->now_us); /* who waits may go */
    answer_reset(c, &t, closed, held, count);
}

/* Without `for` as long as if it had opened by itself. */
static void run_trip(struct call *c) {
    uint64_t now_us = runtime_loop(c->control->runtime)->now_us, open_us;
    struct target t;
    if (c->words.count == 2 || (c->words.count == 3 && !call_word_is(c, 1, "for"))) {
        call_fail_usage(c);
        return;
    }
    if (!call_take_target(c, 0, TARGET_SERVER, &t) || !target_has_breaker(c, &t) || is_held(c, t.only)) return;
    open_us = t.only->breaker->open_us;
    if (c->words.count == 3 && !call_take_duration(c, 2, &open_us)) return;
    if (!open_us) {
        call_fail(c, COMMAND_USAGE, "a breaker opens for longer than 0");
        return;
    }
    char duration[VIEW_VALUE_MAX];
    struct breaker_change change = {.happened = false};
    struct server *s = t.only->server;
    view_format_duration(duration, open_us);
    breaker_trip(&s->shared.breaker, now_us, open_us, &change);
    event_warn("breaker_tripped", "opened by an operator", LOG_STR("backend", s->backend), LOG_STR("server", s->name),
               LOG_INT("open_ms", open_us / 1000));
    call_ok(c, "the breaker of %s/%s is open for %s", s->backend, s->name, duration);
}

const struct command commands_breaker[] = {
    {.words = "show breakers",
     .arguments = "[BACKEND]",
     .max = 1,
     .run = run_show,
     .help = "each server's breaker: state, requests and errors in its window, trips, when and why it changed, when it "
             "half-opens",
     .example = "show breakers app"},
    {.words = "breaker reset",
     .arguments = "BACKEND[/SERVER]",
     .min = 1,
     .max = 1,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_reset,
     .help = "closes it and empties its window: traffic is back at once",
     .example = "breaker reset app/a2"},
    {.words = "breaker trip",
     .arguments = "BACKEND/SERVER [for DURATION]",
     .min = 1,
     .max = 3,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_trip,
     .help = "opens it, for the backend's `breaker.open` or for that long",
     .example = "breaker trip app/a2 for 1m"},
    {.words = NULL},
};
