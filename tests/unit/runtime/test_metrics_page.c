/* test_metrics_page.c: what Prometheus is told of a small configuration, line by line, before and after traffic. */
#include "loomgate/runtime/metrics_page.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SECOND = 1000000, LINES_MAX = 4096 };

static struct registry registry;
static struct config *config;
static struct frontend_settings *web;
static struct backend_settings *app;
static struct snapshot *snapshot;
static struct recorder recorder;
static struct metrics_facts facts;
static uint64_t now_us;
static char *text; /* the last page */

static int set_up(void **state) {
    static const uint64_t windows[] = {10 * SECOND};
    struct addr at = addr_make_ip("127.0.0.1", 9001);
    (void)state;
    now_us = 5 * SECOND;
    registry_init(&registry);
    recorder_init(&recorder);
    telemetry_add_recorder(&registry.telemetry, &recorder);
    telemetry_set_windows(&registry.telemetry, windows, 1, now_us);
    config = config_make();
    web = config_add_frontend(config, "web");
    app = config_add_backend(config, "app");
    config_add_server(config, app, "a1", &at);
    facts = (struct metrics_facts){.start_unix_us = 1795419541159000, .cpu_us = 1500000, .workers = 2};
    facts.connections_limit = 100;
    facts.reloads = 3;
    facts.configurations = 2;
    facts.memory = (struct telemetry_memory){1, 2, 3};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(text);
    text = NULL;
    snapshot_free(snapshot, &registry);
    recorder_fini(&recorder);
    registry_fini(&registry);
    return 0;
}

static void build(void) {
    struct error e;
    snapshot = snapshot_build(config, &registry, &e);
    assert_non_null(snapshot);
    snapshot_set_limits(snapshot);
}

static struct server *server(uint32_t backend, uint32_t i) {
    return snapshot->backends[backend].members[i].server;
}

/* --- the page --------------------------------------------------------------------------------------------------- */

static int compare_lines(const void *a, const void *b) {
    const struct slice *x = a, *y = b;
    int by_text = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return by_text ? by_text : (x->n > y->n) - (x->n < y->n);
}

/* No series and no family is there twice. */
static void check_unique(void) {
    static struct slice lines[LINES_MAX];
    struct slice rest = slice_of(text), line;
    size_t count = 0;
    while (slice_split(&rest, '\n', &line) && line.n) {
        while (line.p[0] != '#' && line.p[line.n - 1] != ' ') line.n--; /* without its value */
        assert_true(count < LINES_MAX);
        lines[count++] = line;
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    for (size_t i = 1; i < count; i++)
        if (slice_eq(lines[i - 1], lines[i])) fail_msg("twice: %.*s", SLICE_ARG(lines[i]));
}

static void write_page(void) {
    struct exposition *e = exposition_new();
    struct metrics_page page;
    telemetry_tick(&registry.telemetry, now_us += SECOND);
    facts.now_us = now_us;
    metrics_page_init(&page, e, snapshot, &registry.telemetry, &facts);
    while (metrics_page_write(&page)) assert_int_equal(atomic_load(&e->refs), 1);
    assert_false(metrics_page_write(&page));
    free(text);
    char *at = text = malloc(e->bytes + 1);
    assert_non_null(text);
    for (const struct exposition_piece *p = e->first; p; at += p->size, p = p->next) memcpy(at, p->text, p->size);
    *at = '\0';
    exposition_unref(e);
    check_unique();
}

/* These lines stand there, one behind the other. */
static void expect(const char *lines) {
    const char *at = strstr(text, lines);
    if (!at || (at > text && at[-1] != '\n')) fail_msg("not there:\n%s\nin:\n%s", lines, text);
}

static void expect_not(const char *part) {
    if (strstr(text, part)) fail_msg("there is %s in:\n%s", part, text);
}

static void record(const struct series *s, uint64_t us, enum failure error) {
    const struct sample sample = {.us = {us, us / 2, SAMPLE_NONE, error == FAILURE_NONE ? SAMPLE_NONE : 300},
                                  .bytes_in = 10,
                                  .bytes_out = 100,
                                  .tries = 2,
                                  .retries = 1,
                                  .error = error};
    recorder_add(&recorder, &s->id, 1, &sample);
}

/* --- the process ------------------------------------------------------------------------------------------------ */

/* All of them, under their names, times as seconds. */
static void counters_are_told(void **state) {
    (void)state;
    build();
    for (unsigned m = 0; m < METRIC_COUNT; m++) facts.counters[m] = 1000 + m;
    write_page();
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = metric_get((enum metric)m);
        char wanted[512];
        if (m == METRIC_queue_us_total) continue;
        const char *type = row->kind == METRIC_COUNTER ? "counter" : "gauge";
        snprintf(wanted, sizeof wanted, "# HELP loomgate_%s %s\n# TYPE loomgate_%s %s\nloomgate_%s %u\n", row->name,
                 row->help, row->name, type, row->name, 1000 + m);
        expect(wanted);
    }
    facts.counters[METRIC_queue_us_total] = 2500000;
    write_page();
    expect("# TYPE loomgate_queue_seconds_total counter\nloomgate_queue_seconds_total 2.5\n");
    expect_not("_us_");
}

static void an_idle_process(void **state) {
    (void)state;
    config_add_route(config, web, "all", NULL);
    build();
    write_page();
    const char *rest = strstr(text, "# HELP loomgate_build_info");
    assert_non_null(rest);
    assert_string_equal(
        rest, "# HELP loomgate_build_info Always 1; what runs\n"
              "# TYPE loomgate_build_info gauge\n"
              "loomgate_build_info{version=\"" LG_VERSION "\"} 1\n"
              "# HELP loomgate_start_time_seconds When it began to serve, since 1970\n"
              "# TYPE loomgate_start_time_seconds gauge\n"
              "loomgate_start_time_seconds 1795419541.159\n"
              "# HELP loomgate_cpu_seconds_total Time that it ran on processors, in the kernel too\n"
              "# TYPE loomgate_cpu_seconds_total counter\n"
              "loomgate_cpu_seconds_total 1.5\n"
              "# HELP loomgate_telemetry_memory_bytes Memory that the analytics take, by part\n"
              "# TYPE loomgate_telemetry_memory_bytes gauge\n"
              "loomgate_telemetry_memory_bytes{part=\"shards\"} 1\n"
              "loomgate_telemetry_memory_bytes{part=\"windows\"} 2\n"
              "loomgate_telemetry_memory_bytes{part=\"series\"} 3\n"
              "# HELP loomgate_workers Worker threads\n"
              "# TYPE loomgate_workers gauge\n"
              "loomgate_workers 2\n"
              "# HELP loomgate_connections_limit How many client connections are taken\n"
              "# TYPE loomgate_connections_limit gauge\n"
              "loomgate_connections_limit 100\n"
              "# HELP loomgate_log_lost_total Log records lost\n"
              "# TYPE loomgate_log_lost_total counter\n"
              "loomgate_log_lost_total 0\n"
              "# HELP loomgate_reloads_total Configurations put in force after the first\n"
              "# TYPE loomgate_reloads_total counter\n"
              "loomgate_reloads_total 3\n"
              "# HELP loomgate_configurations Configurations that exchanges go by, the one in force among them\n"
              "# TYPE loomgate_configurations gauge\n"
              "loomgate_configurations 2\n"
              "# HELP loomgate_frontend_connections Client connections open now\n"
              "# TYPE loomgate_frontend_connections gauge\n"
              "loomgate_frontend_connections{frontend=\"web\"} 0\n"
              "# HELP loomgate_backend_active Exchanges that use its servers now\n"
              "# TYPE loomgate_backend_active gauge\n"
              "loomgate_backend_active{backend=\"app\"} 0\n"
              "# HELP loomgate_backend_queued Exchanges that wait for one of its servers now\n"
              "# TYPE loomgate_backend_queued gauge\n"
              "loomgate_backend_queued{backend=\"app\"} 0\n"
              "# HELP loomgate_backend_servers Servers that it has\n"
              "# TYPE loomgate_backend_servers gauge\n"
              "loomgate_backend_servers{backend=\"app\"} 1\n"
              "# HELP loomgate_backend_servers_usable Servers that may be picked, or are only full\n"
              "# TYPE loomgate_backend_servers_usable gauge\n"
              "loomgate_backend_servers_usable{backend=\"app\"} 1\n"
              "# HELP loomgate_server_active Exchanges that use it now\n"
              "# TYPE loomgate_server_active gauge\n"
              "loomgate_server_active{backend=\"app\",server=\"a1\"} 0\n"
              "# HELP loomgate_server_usable 1: it may be picked, or is only full\n"
              "# TYPE loomgate_server_usable gauge\n"
              "loomgate_server_usable{backend=\"app\",server=\"a1\"} 1\n"
              "# HELP loomgate_server_weight Its weight now: less than the configured one while it ramps up\n"
              "# TYPE loomgate_server_weight gauge\n"
              "loomgate_server_weight{backend=\"app\",server=\"a1\"} 1\n"
              "# HELP loomgate_server_health_up 1: its health checks say so, or there are none\n"
              "# TYPE loomgate_server_health_up gauge\n"
              "loomgate_server_health_up{backend=\"app\",server=\"a1\"} 1\n"
              "# HELP loomgate_server_admin_state 1: what the operator wants of it\n"
              "# TYPE loomgate_server_admin_state gauge\n"
              "loomgate_server_admin_state{backend=\"app\",server=\"a1\",state=\"ready\"} 1\n"
              "loomgate_server_admin_state{backend=\"app\",server=\"a1\",state=\"drain\"} 0\n"
              "loomgate_server_admin_state{backend=\"app\",server=\"a1\",state=\"maint\"} 0\n");
}

static void what_is_known_is_told(void **state) {
    (void)state;
    build();
    facts.resident_bytes = 4096;
    facts.log_lost = 7;
    write_page();
    expect("# TYPE loomgate_resident_memory_bytes gauge\nloomgate_resident_memory_bytes 4096\n");
    expect("loomgate_log_lost_total 7\n");
}

/* --- states ----------------------------------------------------------------------------------------------------- */

static void frontends_and_backends(void **state) {
    (void)state;
    web->max_connections = 50;
    config_add_frontend(config, "api");
    config_add_backend(config, "empty");
    build();
    atomic_store(&snapshot->frontends[0].gate->open, 3);
    atomic_store(&server(0, 0)->shared.active, 4);
    atomic_store(&snapshot->backends[0].group->queue.waiting, 5);
    write_page();
    expect("loomgate_frontend_connections{frontend=\"web\"} 3\nloomgate_frontend_connections{frontend=\"api\"} 0\n");
    expect("loomgate_frontend_connections_limit{frontend=\"web\"} 50\n# HELP loomgate_backend_active");
    expect("loomgate_backend_active{backend=\"app\"} 4\nloomgate_backend_active{backend=\"empty\"} 0\n");
    expect("loomgate_backend_queued{backend=\"app\"} 5\nloomgate_backend_queued{backend=\"empty\"} 0\n");
    expect("loomgate_backend_servers{backend=\"app\"} 1\nloomgate_backend_servers{backend=\"empty\"} 0\n");
    atomic_store(&server(0, 0)->shared.active, 0);
    atomic_store(&snapshot->backends[0].group->queue.waiting, 0);
    atomic_store(&snapshot->frontends[0].gate->open, 0);
}

/* Backups are servers too, behind the others. */
static void servers(void **state) {
    (void)state;
    struct addr at = addr_make_ip("127.0.0.1", 9002);
    config_add_server(config, app, "127.0.0.1:9002", &at)->backup = true;
    struct server_settings *third = config_add_server(config, app, "a3", &at);
    third->weight = 200;
    third->max_connections = 9;
    app->breaker = (struct breaker_settings){.on = true, .error_rate = 0.5, .window_us = SECOND, .min_requests = 1};
    build();
    struct server *one = server(0, 0), *three = server(0, 1);
    struct breaker_change change;
    atomic_store(&one->shared.admin, SERVER_MAINT);
    atomic_store(&three->shared.health, SERVER_DOWN);
    three->health = (struct health_state){.checked = true, .checks = 11, .failed = 3};
    breaker_trip(&three->shared.breaker, now_us, 100 * SECOND, &change);
    write_page();
    expect("loomgate_server_active_limit{backend=\"app\",server=\"a3\"} 9\n# HELP loomgate_server_usable");
    expect("loomgate_server_usable{backend=\"app\",server=\"a1\"} 0\n"
           "loomgate_server_usable{backend=\"app\",server=\"a3\"} 0\n"
           "loomgate_server_usable{backend=\"app\",server=\"127.0.0.1:9002\"} 1\n");
    expect("loomgate_backend_servers_usable{backend=\"app\"} 1\n");
    expect("loomgate_server_weight{backend=\"app\",server=\"a3\"} 200\n");
    expect("loomgate_server_health_up{backend=\"app\",server=\"a1\"} 1\n"
           "loomgate_server_health_up{backend=\"app\",server=\"a3\"} 0\n");
    expect("loomgate_server_admin_state{backend=\"app\",server=\"a1\",state=\"ready\"} 0\n"
           "loomgate_server_admin_state{backend=\"app\",server=\"a1\",state=\"drain\"} 0\n"
           "loomgate_server_admin_state{backend=\"app\",server=\"a1\",state=\"maint\"} 1\n");
    expect("loomgate_server_breaker_state{backend=\"app\",server=\"a3\",state=\"closed\"} 0\n"
           "loomgate_server_breaker_state{backend=\"app\",server=\"a3\",state=\"open\"} 1\n"
           "loomgate_server_breaker_state{backend=\"app\",server=\"a3\",state=\"half_open\"} 0\n");
    expect("# TYPE loomgate_server_breaker_opened_total counter\n"
           "loomgate_server_breaker_opened_total{backend=\"app\",server=\"a1\"} 0\n"
           "loomgate_server_breaker_opened_total{backend=\"app\",server=\"a3\"} 1\n");
    expect("# TYPE loomgate_server_health_checks_total counter\n"
           "loomgate_server_health_checks_total{backend=\"app\",server=\"a3\"} 11\n");
    expect("# TYPE loomgate_server_health_checks_failed_total counter\n"
           "loomgate_server_health_checks_failed_total{backend=\"app\",server=\"a3\"} 3\n");
}

static void a_ramp_is_part_of_the_weight(void **state) {
    (void)state;
    build();
    server_begin_ramp(server(0, 0), now_us, 4 * SECOND);
    write_page(); /* a second later */
    expect("loomgate_server_weight{backend=\"app\",server=\"a1\"} 0.25\n");
}

/* --- traffic ---------------------------------------------------------------------------------------------------- */

static void a_server_that_was_used(void **state) {
    (void)state;
    build();
    const struct series *s = server(0, 0)->series;
    record(s, 255, FAILURE_NONE);
    record(s, 256, FAILURE_NONE);
    record(s, 40 * SECOND, FAILURE_connect_failed);
    record(s, 5000, FAILURE_response_timeout);
    record(s, 5000, FAILURE_connect_failed);
    write_page();
    expect("# HELP loomgate_server_errors_total What failed by a server or the gateway, by cause\n"
           "# TYPE loomgate_server_errors_total counter\n"
           "loomgate_server_errors_total{backend=\"app\",server=\"a1\",cause=\"connect_failed\"} 2\n"
           "loomgate_server_errors_total{backend=\"app\",server=\"a1\",cause=\"response_timeout\"} 1\n"
           "# HELP loomgate_server_tries_total Tries at servers ended\n"
           "# TYPE loomgate_server_tries_total counter\n"
           "loomgate_server_tries_total{backend=\"app\",server=\"a1\"} 10\n"
           "# HELP loomgate_server_retries_total Tries after a failed one\n"
           "# TYPE loomgate_server_retries_total counter\n"
           "loomgate_server_retries_total{backend=\"app\",server=\"a1\"} 5\n"
           "# HELP loomgate_server_bytes_in_total Bytes received from clients\n"
           "# TYPE loomgate_server_bytes_in_total counter\n"
           "loomgate_server_bytes_in_total{backend=\"app\",server=\"a1\"} 50\n"
           "# HELP loomgate_server_bytes_out_total Bytes sent to clients\n"
           "# TYPE loomgate_server_bytes_out_total counter\n"
           "loomgate_server_bytes_out_total{backend=\"app\",server=\"a1\"} 500\n"
           "# HELP loomgate_server_duration_seconds How long exchanges took; of a server: tries\n"
           "# TYPE loomgate_server_duration_seconds histogram\n"
           "loomgate_server_duration_seconds_bucket{backend=\"app\",server=\"a1\",le=\"0.000256\"} 1\n"
           "loomgate_server_duration_seconds_bucket{backend=\"app\",server=\"a1\",le=\"0.000512\"} 2\n"
           "loomgate_server_duration_seconds_bucket{backend=\"app\",server=\"a1\",le=\"0.001024\"} 2\n"
           "loomgate_server_duration_seconds_bucket{backend=\"app\",server=\"a1\",le=\"0.002048\"} 2\n"
           "loomgate_server_duration_seconds_bucket{backend=\"app\",server=\"a1\",le=\"0.004096\"} 2\n"
           "loomgate_server_duration_seconds_bucket{backend=\"app\",server=\"a1\",le=\"0.008192\"} 4\n");
    expect("loomgate_server_duration_seconds_bucket{backend=\"app\",server=\"a1\",le=\"33.554432\"} 4\n"
           "loomgate_server_duration_seconds_bucket{backend=\"app\",server=\"a1\",le=\"+Inf\"} 5\n"
           "loomgate_server_duration_seconds_sum{backend=\"app\",server=\"a1\"} 40.010511\n"
           "loomgate_server_duration_seconds_count{backend=\"app\",server=\"a1\"} 5\n"
           "# HELP loomgate_server_first_byte_seconds Time to the head of the response\n");
    expect("loomgate_server_queue_seconds_sum{backend=\"app\",server=\"a1\"} 0.0009\n"
           "loomgate_server_queue_seconds_count{backend=\"app\",server=\"a1\"} 3\n");
    expect_not("connect_seconds"); /* nothing has connected */
    expect_not("loomgate_server_exchanges_total");
    expect_not("loomgate_backend_tries_total");
}

/* Every frontend, route and backend with its own; what had no traffic is passed over. */
static void everything_that_was_used(void **state) {
    (void)state;
    struct frontend_settings *api = config_add_frontend(config, "api");
    config_add_frontend(config, "none");
    config_add_route(config, web, "old", "/old");
    config_add_route(config, web, "new", "/new");
    config_add_route(config, api, "new", NULL);
    config_add_backend(config, "other");
    build();
    struct frontend *f = snapshot->frontends;
    record(f[0].series, 1, FAILURE_NONE);
    record(f[0].series, 1, FAILURE_no_server);
    record(f[1].series, 1, FAILURE_NONE);
    record(f[0].routes[1].series, 1, FAILURE_NONE);
    record(f[1].routes[0].series, 1, FAILURE_NONE);
    record(snapshot->backends[1].series, 1, FAILURE_NONE);
    write_page();
    expect("# TYPE loomgate_frontend_exchanges_total counter\n"
           "loomgate_frontend_exchanges_total{frontend=\"web\"} 2\n"
           "loomgate_frontend_exchanges_total{frontend=\"api\"} 1\n"
           "# HELP loomgate_frontend_errors_total What failed by a server or the gateway, by cause\n"
           "# TYPE loomgate_frontend_errors_total counter\n"
           "loomgate_frontend_errors_total{frontend=\"web\",cause=\"no_server\"} 1\n"
           "# HELP loomgate_frontend_tries_total Tries at servers ended\n");
    expect("# TYPE loomgate_route_exchanges_total counter\n"
           "loomgate_route_exchanges_total{frontend=\"web\",route=\"new\"} 1\n"
           "loomgate_route_exchanges_total{frontend=\"api\",route=\"new\"} 1\n"
           "# HELP loomgate_route_tries_total Tries at servers ended\n");
    expect("# TYPE loomgate_backend_exchanges_total counter\n"
           "loomgate_backend_exchanges_total{backend=\"other\"} 1\n"
           "# HELP loomgate_backend_tries_total Tries at servers ended\n");
    expect("loomgate_route_duration_seconds_count{frontend=\"api\",route=\"new\"} 1\n");
    expect_not("route=\"old\"");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(counters_are_told),
        TEST(an_idle_process),
        TEST(what_is_known_is_told),
        TEST(frontends_and_backends),
        TEST(servers),
        TEST(a_ramp_is_part_of_the_weight),
        TEST(a_server_that_was_used),
        TEST(everything_that_was_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
