/* entity_stats.c: what an entity is doing now, in numbers, and as members of a JSON object. */
#include "loomgate/base/log.h"
#include "loomgate/control/entity.h"

#include <inttypes.h>
#include <math.h>

enum { STATS_WINDOW_US = 10000000, NAME_ROOM = 4096 };

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void forget_percentiles(struct stats_view *v) {
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        struct histogram_summary *s = &v->measures[m];
        if (!s->count) s->p50_us = s->p90_us = s->p95_us = s->p99_us = s->p999_us = s->max_us = NAN;
    }
}

static void read_windows(const struct entity *e, const struct telemetry *t, struct entity_stats *out) {
    struct stats_view shortest;
    unsigned window = telemetry_window_find(t, STATS_WINDOW_US);
    out->rps_1s = window_read(t, e->series, 0, &shortest) ? shortest.rps : 0;
    window_read(t, e->series, window, &out->view);
    out->window_s = t->timeline.window_count ? (double)t->timeline.windows[window] / 1e6 : NAN;
    if (!out->view.exchanges) out->view.error_rate = NAN;
    forget_percentiles(&out->view);
}

static void add_server(const struct balance_member *m, const struct telemetry *t, struct entity_stats *out) {
    out->active += atomic_load_explicit(&m->server->shared.active, memory_order_relaxed);
    out->idle += telemetry_gauge(t, m->server->series, GAUGE_IDLE);
    out->connections = out->active + out->idle;
}

static void read_backend(const struct backend *b, const struct telemetry *t, struct entity_stats *out) {
    for (uint32_t i = 0; i < b->member_count; i++) add_server(&b->members[i], t, out);
    for (uint32_t i = 0; i < b->backup_count; i++) add_server(&b->backups[i], t, out);
}

static void read_server(const struct balance_member *m, const struct telemetry *t, uint64_t now_us,
                        struct entity_stats *out) {
    add_server(m, t, out);
    out->admin = member_admin_word(m);
    out->health = member_health_word(m);
    out->breaker = member_breaker_word(m);
    out->weight = member_weight(m, now_us);
}

void entity_read(const struct entity *e, const struct telemetry *t, uint64_t now_us, struct entity_stats *out) {
    *out = (struct entity_stats){.kind = series_kind_name(e->kind), .owner = e->owner, .name = e->name, .weight = NAN};
    read_windows(e, t, out);
    telemetry_totals(t, e->series, &out->totals);
    if (e->kind == SERIES_FRONTEND) {
        out->active = telemetry_gauge(t, e->series, GAUGE_ACTIVE);
        out->connections = gate_open(e->frontend->gate);
        return;
    }
    out->queued = atomic_load_explicit(&e->backend->group->queue.waiting, memory_order_relaxed);
    if (e->kind == SERIES_BACKEND)
        read_backend(e->backend, t, out);
    else
        read_server(e->member, t, now_us, out);
}

/* --- printing --------------------------------------------------------------------------------------------------- */

enum member_kind { MEMBER_NAME, MEMBER_WORD, MEMBER_WHOLE, MEMBER_REAL, MEMBER_MS, MEMBER_RATIO, MEMBER_CAUSES };

/* Who has it. */
enum { F = 1 << SERIES_FRONTEND, B = 1 << SERIES_BACKEND, S = 1 << SERIES_SERVER };

static const struct member_row {
    const char *name;
    enum member_kind kind;
    unsigned of;
    size_t offset; /* in struct entity_stats */
} rows[] = {
#define AT(member)                 offsetof(struct entity_stats, member)
#define PERCENTILE(measure, which) AT(view.measures[MEASURE_##measure].which##_us)
    {"kind", MEMBER_WORD, F | B | S, AT(kind)},
    {"backend", MEMBER_NAME, S, AT(owner)},
    {"name", MEMBER_NAME, F | B | S, AT(name)},
    {"window_s", MEMBER_REAL, F | B | S, AT(window_s)},
    {"rps", MEMBER_REAL, F | B | S, AT(view.rps)},
    {"rps_1s", MEMBER_REAL, F | B | S, AT(rps_1s)},
    {"p50_ms", MEMBER_MS, F | B | S, PERCENTILE(TOTAL, p50)},
    {"p90_ms", MEMBER_MS, F | B | S, PERCENTILE(TOTAL, p90)},
    {"p95_ms", MEMBER_MS, F | B | S, PERCENTILE(TOTAL, p95)},
    {"p99_ms", MEMBER_MS, F | B | S, PERCENTILE(TOTAL, p99)},
    {"p999_ms", MEMBER_MS, F | B | S, PERCENTILE(TOTAL, p999)},
    {"max_ms", MEMBER_MS, F | B | S, PERCENTILE(TOTAL, max)},
    {"first_byte_p99_ms", MEMBER_MS, F | B | S, PERCENTILE(FIRST_BYTE, p99)},
    {"connect_p99_ms", MEMBER_MS, F | B | S, PERCENTILE(CONNECT, p99)},
    {"queue_p99_ms", MEMBER_MS, F | B | S, PERCENTILE(QUEUE, p99)},
    {"error_rate", MEMBER_RATIO, F | B | S, AT(view.error_rate)},
    {"retries_per_s", MEMBER_REAL, F | B | S, AT(view.retries_per_s)},
    {"active", MEMBER_WHOLE, F | B | S, AT(active)},
    {"queued", MEMBER_WHOLE, B | S, AT(queued)},
    {"connections", MEMBER_WHOLE, F | B | S, AT(connections)},
    {"idle", MEMBER_WHOLE, B | S, AT(idle)},
    {"bytes_in_per_s", MEMBER_REAL, F | B | S, AT(view.bytes_in_per_s)},
    {"bytes_out_per_s", MEMBER_REAL, F | B | S, AT(view.bytes_out_per_s)},
    {"requests_total", MEMBER_WHOLE, F | B | S, AT(totals.tallies[TALLY_EXCHANGES])},
    {"errors_total", MEMBER_CAUSES, F | B | S, AT(totals.causes)},
    {"admin", MEMBER_WORD, S, AT(admin)},
    {"health", MEMBER_WORD, S, AT(health)},
    {"breaker", MEMBER_WORD, S, AT(breaker)},
    {"weight", MEMBER_REAL, S, AT(weight)},
#undef PERCENTILE
#undef AT
};

/* Names were checked by the configuration, but may have what JSON escapes. */
static void print_name(const char *name, FILE *out) {
    char text[NAME_ROOM];
    const char *end = log_escape_json(text, text + sizeof text, slice_of(name));
    fputc('"', out);
    fwrite(text, 1, (size_t)(end - text), out);
    fputc('"', out);
}

static void print_real(double number, int decimals, FILE *out) {
    char digits[64];
    if (!isfinite(number)) {
        fputs("null", out);
        return;
    }
    size_t n = (size_t)snprintf(digits, sizeof digits, "%.*f", decimals, number);
    LG_ASSERT(n < sizeof digits);
    while (digits[n - 1] == '0') n--;
    if (digits[n - 1] == '.') n--;
    fwrite(digits, 1, n, out);
}

static void print_causes(const uint64_t causes[FAILURE_COUNT], FILE *out) {
    char before = '{';
    for (unsigned f = 0; f < FAILURE_COUNT; f++) {
        if (!causes[f]) continue;
        fprintf(out, "%c\"%s\":%" PRIu64, before, failure_get((enum failure)f)->name, causes[f]);
        before = ',';
    }
    fputs(before == '{' ? "{}" : "}", out);
}

static void print_value(const struct member_row *row, const void *at, FILE *out) {
    switch (row->kind) {
    case MEMBER_NAME:
        print_name(*(const char *const *)at, out);
        break;
    case MEMBER_WORD:
        fprintf(out, "\"%s\"", *(const char *const *)at);
        break;
    case MEMBER_WHOLE:
        fprintf(out, "%" PRIu64, *(const uint64_t *)at);
        break;
    case MEMBER_REAL:
        print_real(*(const double *)at, 3, out);
        break;
    case MEMBER_MS: /* half a microsecond is what a bucket's middle may have */
        print_real(*(const double *)at / 1e3, 4, out);
        break;
    case MEMBER_RATIO:
        print_real(*(const double *)at, 6, out);
        break;
    case MEMBER_CAUSES:
        print_causes(at, out);
        break;
    }
}

void entity_print_json(const struct entity *e, const struct entity_stats *stats, FILE *out) {
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        if (!(rows[i].of & 1U << e->kind)) continue;
        fprintf(out, "%s\"%s\":", i ? "," : "", rows[i].name);
        print_value(&rows[i], (const char *)stats + rows[i].offset, out);
    }
}
