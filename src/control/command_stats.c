/* command_stats.c: `show stats`: what frontends, backends and servers are doing, a row each. */
#include "command_internal.h"

#include "loomgate/control/entity.h"

#include <math.h>

/* What there is not is null, "-" for eyes. */
static void put_us(struct view_node *row, const char *name, double us) {
    if (isfinite(us))
        view_duration(row, name, (uint64_t)llround(us));
    else
        view_null(row, name);
}

static void put_ratio(struct view_node *row, const char *name, double ratio) {
    if (isfinite(ratio))
        view_ratio(row, name, ratio);
    else
        view_null(row, name);
}

/* Nobody knows how many of a frontend's exchanges wait: that is a backend's. */
static void put_queued(struct view_node *row, const struct entity *e, uint64_t queued) {
    if (e->kind == SERIES_FRONTEND)
        view_null(row, "queued");
    else
        view_number(row, "queued", queued);
}

static void put_row(struct view_node *row, const struct entity *e, const struct entity_stats *s) {
    const struct histogram_summary *total = &s->view.measures[MEASURE_TOTAL];
    view_text(row, "kind", s->kind);
    view_text(row, "backend", e->kind == SERIES_SERVER ? s->owner : NULL);
    view_text(row, "name", s->name);
    put_us(row, "window", s->window_s * 1e6);
    view_real(row, "rps", s->view.rps);
    put_us(row, "p50", total->p50_us);
    put_us(row, "p90", total->p90_us);
    put_us(row, "p99", total->p99_us);
    put_us(row, "p999", total->p999_us);
    put_ratio(row, "error_rate", s->view.error_rate);
    view_number(row, "active", s->active);
    put_queued(row, e, s->queued);
    view_bytes(row, "in_per_s", (uint64_t)llround(s->view.bytes_in_per_s));
    view_bytes(row, "out_per_s", (uint64_t)llround(s->view.bytes_out_per_s));
    view_number(row, "requests_total", s->totals.tallies[TALLY_EXCHANGES]);
    view_number(row, "errors_total", s->totals.tallies[TALLY_ERRORS]);
    view_bytes(row, "in_total", s->totals.tallies[TALLY_BYTES_IN]);
    view_bytes(row, "out_total", s->totals.tallies[TALLY_BYTES_OUT]);
}

static void run_stats(struct call *c) {
    struct runtime *r = c->control->runtime;
    struct telemetry *t = &runtime_registry(r)->telemetry;
    uint64_t now_us = runtime_loop(r)->now_us;
    if (c->words.count && !call_take_entity(c, 0)) return;
    telemetry_tick(t, now_us);
    struct view_node *list = view_begin_list(&c->view);
    for (struct entity e = {0}; entity_next(runtime_snapshot(r), &e);) {
        struct entity_stats stats;
        if (c->words.count && !entity_is(&e, c->words.v[0].text)) continue;
        entity_read(&e, t, now_us, &stats);
        put_row(view_object(list, NULL), &e, &stats);
    }
    call_show(c);
}

const struct command commands_stats[] = {
    {.words = "show stats",
     .arguments = "[NAME]",
     .max = 1,
     .run = run_stats,
     .help = "requests and errors, latencies, bytes of each frontend, backend and server, or of those of that name",
     .example = "show stats app"},
    {.words = NULL},
};
