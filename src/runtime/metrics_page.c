/* metrics_page.c: all that Prometheus is told: a table of families, each walked over what it is told of. */
#include "loomgate/runtime/metrics_page.h"

#include <stdio.h>

/* The buckets of histograms end where every one of these blocks does, an octave each: 256 us to 33.6 s. Coarse for
 * percentiles, but a thousand servers have them. */
enum { BLOCK_FIRST = 2, BLOCK_LAST = 19, BUCKETS = BLOCK_LAST - BLOCK_FIRST + 1 };

enum scope { OF_PROCESS, OF_FRONTENDS, OF_ROUTES, OF_BACKENDS, OF_SERVERS, SCOPES };
static const char *const prefixes[SCOPES] = {"", "frontend_", "route_", "backend_", "server_"};

/* One of what a family is told of; what does not concern its scope is NULL. */
struct subject {
    struct exposition_labels labels;
    const struct frontend *frontend;
    const struct backend *backend;
    const struct balance_member *member;
    const struct series *series;
};

#define NONE UINT64_MAX /* a value that there is not */
typedef uint64_t value_of(const struct metrics_page *p, const struct subject *x);
typedef void put_all(const struct metrics_page *p, const struct subject *x, unsigned what);

struct family {
    unsigned scopes; /* a bit each */
    const char *name, *help;
    enum exposition_type type;
    value_of *value; /* of the only sample; or NULL, and */
    put_all *put;    /* writes them */
    unsigned what;   /* for `put`: an enum measure, say */
    bool is_time;    /* the value is microseconds, told in seconds */
};

/* --- the process ------------------------------------------------------------------------------------------------ */

#define VALUE(name, expression)                                                   \
    static uint64_t name(const struct metrics_page *p, const struct subject *x) { \
        (void)p, (void)x;                                                         \
        return expression;                                                        \
    }

VALUE(start_time, p->facts.start_unix_us)
VALUE(cpu_time, p->facts.cpu_us)
VALUE(resident_memory, p->facts.resident_bytes ? p->facts.resident_bytes : NONE)
VALUE(worker_count, p->facts.workers)
VALUE(connections_limit, p->facts.connections_limit)
VALUE(lost_records, p->facts.log_lost)
VALUE(reload_count, p->facts.reloads)
VALUE(configuration_count, p->facts.configurations)

static void put_with(const struct metrics_page *p, const struct subject *x, const char *name, const char *value,
                     uint64_t number) {
    struct exposition_labels labels = x->labels;
    exposition_label(&labels, name, value);
    exposition_put(p->text, &labels, number);
}

static void put_build(const struct metrics_page *p, const struct subject *x, unsigned what) {
    (void)what;
    put_with(p, x, "version", LG_VERSION, 1);
}

static void put_telemetry_memory(const struct metrics_page *p, const struct subject *x, unsigned what) {
    (void)what;
    put_with(p, x, "part", "shards", p->facts.memory.shards);
    put_with(p, x, "part", "windows", p->facts.memory.windows);
    put_with(p, x, "part", "series", p->facts.memory.series);
}

/* A row of metrics.def. Prometheus' unit of time is the second, and the name says so. */
static void write_counter(const struct metrics_page *p, enum metric m) {
    static const struct exposition_labels none;
    static const char us[] = "_us_total";
    const struct metric_row *row = metric_get(m);
    struct slice stem = slice_of(row->name);
    bool is_time = slice_has_suffix(stem, slice_of(us));
    char name[EXPOSITION_NAME_MAX];
    if (is_time) stem.n -= sizeof us - 1;
    snprintf(name, sizeof name, "%.*s%s", SLICE_ARG(stem), is_time ? "_seconds_total" : "");
    exposition_family(p->text, "", name, row->help,
                      row->kind == METRIC_COUNTER ? EXPOSITION_COUNTER : EXPOSITION_GAUGE);
    (is_time ? exposition_put_millionths : exposition_put)(p->text, &none, p->facts.counters[m]);
}

/* --- frontends and backends ------------------------------------------------------------------------------------- */

VALUE(frontend_connections, gate_open(x->frontend->gate))
VALUE(frontend_limit, gate_limit(x->frontend->gate) ? gate_limit(x->frontend->gate) : NONE)
VALUE(backend_queued, atomic_load_explicit(&x->backend->group->queue.waiting, memory_order_relaxed))
VALUE(backend_servers, x->backend->member_count + x->backend->backup_count)

static const struct balance_member *member_at(const struct backend *b, uint32_t i) {
    return i < b->member_count ? &b->members[i] : &b->backups[i - b->member_count];
}

static uint32_t active(const struct balance_member *m) {
    return atomic_load_explicit(&m->server->shared.active, memory_order_relaxed);
}

static bool is_usable(const struct balance_member *m, uint64_t now_us) {
    enum standing s = member_standing(m, now_us);
    return s == STANDING_OK || s == STANDING_FULL;
}

static uint64_t backend_active(const struct metrics_page *p, const struct subject *x) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < backend_servers(p, x); i++) sum += active(member_at(x->backend, i));
    return sum;
}

static uint64_t backend_usable(const struct metrics_page *p, const struct subject *x) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < backend_servers(p, x); i++) count += is_usable(member_at(x->backend, i), p->facts.now_us);
    return count;
}

/* --- servers ---------------------------------------------------------------------------------------------------- */

VALUE(server_actives, active(x->member))
VALUE(server_limit, x->member->settings->max_connections ? x->member->settings->max_connections : NONE)
VALUE(server_usable, is_usable(x->member, p->facts.now_us))
VALUE(server_is_up, server_health_get(x->member->server) == SERVER_UP)
VALUE(server_checks, x->member->server->health.checked ? x->member->server->health.checks : NONE)
VALUE(server_checks_failed, x->member->server->health.checked ? x->member->server->health.failed : NONE)
VALUE(server_trips, x->member->breaker->on
                        ? atomic_load_explicit(&x->member->server->shared.breaker.trips, memory_order_relaxed)
                        : NONE)

static void put_weight(const struct metrics_page *p, const struct subject *x, unsigned what) {
    (void)what;
    uint64_t share = server_share(x->member->server, p->facts.now_us);
    exposition_put_millionths(p->text, &x->labels, x->member->weight * share * 1000000 / SHARE_ONE);
}

/* A sample for each state that there is: 1 of the one it is in. */
static void put_states(const struct metrics_page *p, const struct subject *x, const char *const *names, unsigned count,
                       unsigned now) {
    for (unsigned i = 0; i < count; i++) put_with(p, x, "state", names[i], i == now);
}

static void put_admin(const struct metrics_page *p, const struct subject *x, unsigned what) {
    static const char *const names[] = {[SERVER_READY] = "ready", [SERVER_DRAIN] = "drain", [SERVER_MAINT] = "maint"};
    (void)what;
    put_states(p, x, names, LG_COUNT(names), server_admin_get(x->member->server));
}

static void put_breaker(const struct metrics_page *p, const struct subject *x, unsigned what) {
    static const char *const names[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};
    (void)what;
    if (!x->member->breaker->on) return;
    put_states(p, x, names, LG_COUNT(names), breaker_state_get(&x->member->server->shared.breaker));
}

/* --- series ----------------------------------------------------------------------------------------------------- */

/* Where nothing has ended yet there are no counters. */
static void put_tally(const struct metrics_page *p, const struct subject *x, unsigned what) {
    struct stats_totals totals;
    telemetry_totals(p->telemetry, x->series, &totals);
    if (totals.tallies[TALLY_EXCHANGES]) exposition_put(p->text, &x->labels, totals.tallies[what]);
}

static void put_errors(const struct metrics_page *p, const struct subject *x, unsigned what) {
    struct stats_totals totals;
    (void)what;
    telemetry_totals(p->telemetry, x->series, &totals);
    for (unsigned f = 0; f < FAILURE_COUNT; f++)
        if (totals.causes[f]) put_with(p, x, "cause", failure_get((enum failure)f)->name, totals.causes[f]);
}

/* What is "less than" a limit in whole microseconds took no longer than the limit: fractions were cut off. */
static void put_durations(const struct metrics_page *p, const struct subject *x, unsigned what) {
    struct stats_distribution d;
    uint64_t limits_us[BUCKETS];
    telemetry_distribution(x->series, (enum measure)what, &d);
    if (!d.count) return;
    for (unsigned i = 0; i < BUCKETS; i++) limits_us[i] = histogram_block_limit_us(BLOCK_FIRST + i);
    struct exposition_histogram h = {limits_us, d.below + BLOCK_FIRST, BUCKETS, d.count, d.sum_us};
    exposition_put_histogram(p->text, &x->labels, &h);
}

/* --- the families ----------------------------------------------------------------------------------------------- */

#define IN(scope) (1U << OF_##scope)
#define SERIES    (IN(FRONTENDS) | IN(ROUTES) | IN(BACKENDS) | IN(SERVERS))

#define GAUGE(scopes, name, help, value) \
    { scopes, name, help, EXPOSITION_GAUGE, value, NULL, 0, false }
#define GAUGES(scopes, name, help, put) \
    { scopes, name, help, EXPOSITION_GAUGE, NULL, put, 0, false }
#define COUNTER(scopes, name, help, value) \
    { scopes, name, help, EXPOSITION_COUNTER, value, NULL, 0, false }
#define TIME(type, scopes, name, help, value) \
    { scopes, name, help, EXPOSITION_##type, value, NULL, 0, true }
#define COUNTERS(scopes, name, help, put, of) \
    { scopes, name, help, EXPOSITION_COUNTER, NULL, put, of, false }
#define HISTOGRAM(name, help, of) \
    { SERIES, name, help, EXPOSITION_HISTOGRAM, NULL, put_durations, of, false }

static const struct family families[] = {
    GAUGES(IN(PROCESS), "build_info", "Always 1; what runs", put_build),
    TIME(GAUGE, IN(PROCESS), "start_time_seconds", "When it began to serve, since 1970", start_time),
    TIME(COUNTER, IN(PROCESS), "cpu_seconds_total", "Time that it ran on processors, in the kernel too", cpu_time),
    GAUGE(IN(PROCESS), "resident_memory_bytes", "Memory that the process has in use", resident_memory),
    GAUGES(IN(PROCESS), "telemetry_memory_bytes", "Memory that the analytics take, by part", put_telemetry_memory),
    GAUGE(IN(PROCESS), "workers", "Worker threads", worker_count),
    GAUGE(IN(PROCESS), "connections_limit", "How many client connections are taken", connections_limit),
    COUNTER(IN(PROCESS), "log_lost_total", "Log records lost", lost_records),
    COUNTER(IN(PROCESS), "reloads_total", "Configurations put in force after the first", reload_count),
    GAUGE(IN(PROCESS), "configurations", "Configurations that exchanges go by, the one in force among them",
          configuration_count),

    GAUGE(IN(FRONTENDS), "connections", "Client connections open now", frontend_connections),
    GAUGE(IN(FRONTENDS), "connections_limit", "How many client connections are taken", frontend_limit),

    GAUGE(IN(BACKENDS), "active", "Exchanges that use its servers now", backend_active),
    GAUGE(IN(BACKENDS), "queued", "Exchanges that wait for one of its servers now", backend_queued),
    GAUGE(IN(BACKENDS), "servers", "Servers that it has", backend_servers),
    GAUGE(IN(BACKENDS), "servers_usable", "Servers that may be picked, or are only full", backend_usable),

    GAUGE(IN(SERVERS), "active", "Exchanges that use it now", server_actives),
    GAUGE(IN(SERVERS), "active_limit", "How many exchanges may use it at a time", server_limit),
    GAUGE(IN(SERVERS), "usable", "1: it may be picked, or is only full", server_usable),
    GAUGES(IN(SERVERS), "weight", "Its weight now: less than the configured one while it ramps up", put_weight),
    GAUGE(IN(SERVERS), "health_up", "1: its health checks say so, or there are none", server_is_up),
    GAUGES(IN(SERVERS), "admin_state", "1: what the operator wants of it", put_admin),
    GAUGES(IN(SERVERS), "breaker_state", "1: the state that its breaker is in", put_breaker),
    COUNTER(IN(SERVERS), "breaker_opened_total", "Times that its breaker opened", server_trips),
    COUNTER(IN(SERVERS), "health_checks_total", "Health checks of it", server_checks),
    COUNTER(IN(SERVERS), "health_checks_failed_total", "Health checks of it that failed", server_checks_failed),

    COUNTERS(SERIES & ~IN(SERVERS), "exchanges_total", "Exchanges ended", put_tally, TALLY_EXCHANGES),
    COUNTERS(SERIES, "errors_total", "What failed by a server or the gateway, by cause", put_errors, 0),
    COUNTERS(SERIES, "tries_total", "Tries at servers ended", put_tally, TALLY_TRIES),
    COUNTERS(SERIES, "retries_total", "Tries after a failed one", put_tally, TALLY_RETRIES),
    COUNTERS(SERIES, "bytes_in_total", "Bytes received from clients", put_tally, TALLY_BYTES_IN),
    COUNTERS(SERIES, "bytes_out_total", "Bytes sent to clients", put_tally, TALLY_BYTES_OUT),
    HISTOGRAM("duration_seconds", "How long exchanges took; of a server: tries", MEASURE_TOTAL),
    HISTOGRAM("first_byte_seconds", "Time to the head of the response", MEASURE_FIRST_BYTE),
    HISTOGRAM("connect_seconds", "Time to connect to the server, of new connections", MEASURE_CONNECT),
    HISTOGRAM("queue_seconds", "Time waited for a server, of those who waited", MEASURE_QUEUE),
};

/* --- the walk --------------------------------------------------------------------------------------------------- */

void metrics_page_init(struct metrics_page *p, struct exposition *text, const struct snapshot *snapshot,
                       const struct telemetry *telemetry, const struct metrics_facts *facts) {
    *p = (struct metrics_page){.text = text, .snapshot = snapshot, .telemetry = telemetry, .facts = *facts};
}

static void name_subject(struct subject *x, const char *outer_label, const char *outer, const char *inner_label,
                         const char *inner) {
    exposition_label(&x->labels, outer_label, outer);
    if (inner) exposition_label(&x->labels, inner_label, inner);
}

/* The one at outer and inner; false: there is none any more. */
static bool find_frontend(const struct metrics_page *p, struct subject *x) {
    if (p->outer >= p->snapshot->frontend_count) return false;
    x->frontend = &p->snapshot->frontends[p->outer];
    x->series = x->frontend->series;
    name_subject(x, "frontend", x->frontend->settings->name, NULL, NULL);
    return true;
}

static bool find_route(struct metrics_page *p, struct subject *x) {
    const struct snapshot *s = p->snapshot;
    for (; p->outer < s->frontend_count && p->inner >= s->frontends[p->outer].settings->route_count; p->outer++)
        p->inner = 0;
    if (p->outer >= s->frontend_count) return false;
    x->frontend = &s->frontends[p->outer];
    const struct route *r = &x->frontend->routes[p->inner];
    x->series = r->series;
    name_subject(x, "frontend", x->frontend->settings->name, "route", r->name);
    return true;
}

static bool find_backend(const struct metrics_page *p, struct subject *x) {
    if (p->outer >= p->snapshot->backend_count) return false;
    x->backend = &p->snapshot->backends[p->outer];
    x->series = x->backend->series;
    name_subject(x, "backend", x->backend->settings->name, NULL, NULL);
    return true;
}

static bool find_server(struct metrics_page *p, struct subject *x) {
    const struct snapshot *s = p->snapshot;
    while (p->outer < s->backend_count &&
           p->inner >= s->backends[p->outer].member_count + s->backends[p->outer].backup_count) {
        p->outer++;
        p->inner = 0;
    }
    if (p->outer >= s->backend_count) return false;
    x->backend = &s->backends[p->outer];
    x->member = member_at(x->backend, p->inner);
    x->series = x->member->server->series;
    name_subject(x, "backend", x->backend->settings->name, "server", x->member->server->name);
    return true;
}

/* Finds what the family is told of next, and moves on behind it. */
static bool next_subject(struct metrics_page *p, struct subject *x) {
    bool found = false;
    *x = (struct subject){0};
    switch ((enum scope)p->scope) {
    case OF_PROCESS:
        found = p->outer++ == 0;
        break;
    case OF_FRONTENDS:
        found = find_frontend(p, x);
        p->outer++;
        break;
    case OF_ROUTES:
        found = find_route(p, x);
        p->inner++;
        break;
    case OF_BACKENDS:
        found = find_backend(p, x);
        p->outer++;
        break;
    case OF_SERVERS:
        found = find_server(p, x);
        p->inner++;
        break;
    case SCOPES:
        break;
    }
    return found;
}

static void write_subject(const struct metrics_page *p, const struct family *f, const struct subject *x) {
    if (!f->value) {
        f->put(p, x, f->what);
        return;
    }
    uint64_t value = f->value(p, x);
    if (value != NONE) (f->is_time ? exposition_put_millionths : exposition_put)(p->text, &x->labels, value);
}

static void next_family(struct metrics_page *p) {
    p->outer = p->inner = 0;
    if (++p->family < LG_COUNT(families)) return;
    p->family = 0;
    p->scope++;
}

bool metrics_page_write(struct metrics_page *p) {
    if (p->counter < METRIC_COUNT) {
        write_counter(p, (enum metric)p->counter++);
        return true;
    }
    if (p->scope == SCOPES) return false;
    const struct family *f = &families[p->family];
    struct subject x;
    bool is_told_of = f->scopes >> p->scope & 1;
    if (is_told_of && !p->outer && !p->inner) exposition_family(p->text, prefixes[p->scope], f->name, f->help, f->type);
    if (is_told_of && next_subject(p, &x))
        write_subject(p, f, &x);
    else
        next_family(p);
    return true;
}
