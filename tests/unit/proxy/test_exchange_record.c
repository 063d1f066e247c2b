/* test_exchange_record.c: what is told of an exchange at its end: the access record in a file, and the counters. */
#include "loomgate/proxy/exchange.h"

#include "../../../src/proxy/exchange_internal.h"
#include "../../support/json_check.h"
#include "../../support/proxy_bed.h"

#include <stdlib.h>
#include <unistd.h>

static char dir[64], path[80];
static char text[16384];

static int set_up(void **state) {
    proxy_set_up(state);
    strcpy(dir, "/tmp/lg-record-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/access.log", dir);
    log_init(64);
    pb.web->access_log = (struct log_settings){.on = true, .target = LOG_TO_FILE, .path = path, .format = FORMAT_JSON};
    return 0;
}

static int tear_down(void **state) {
    proxy_tear_down(state);
    unlink(path);
    rmdir(dir);
    return 0;
}

/* Ends the log, so that all of it is there; the whole file. */
static struct slice written(void) {
    log_fini(1000);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    return slice_from(text, n);
}

static void assert_member(struct slice record, const char *name, const char *value) {
    struct slice got = json_member(record, name);
    if (!slice_is(got, value)) fail_msg("%s: %.*s, not %s, in\n%.*s", name, SLICE_ARG(got), value, SLICE_ARG(record));
}

static void answer_over_back(unsigned status) {
    pb.front.stream.bytes_in = 100;
    pb.front.stream.bytes_out = 200;
    fake_head(&pb.back, proxy_response(status, BODY_LENGTH, 0, NULL));
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(pb.ends, 1);
}

static void a_request_that_went_well(void **state) {
    (void)state;
    struct route_settings *r = config_add_route(pb.config, pb.web, "api", "/a");
    route_to(r, 0);
    proxy_build();
    proxy_add_idle();
    proxy_start(proxy_request("GET", "/a?q=1", BODY_NONE, 0, "traceparent: 00-abc-def-01\n"));
    fake_end(&pb.front);
    answer_over_back(200);
    struct slice record = written();
    assert_true(json_is_valid(record));
    assert_member(record, "frontend", "\"web\"");
    assert_member(record, "route", "\"api\"");
    assert_member(record, "backend", "\"app\"");
    assert_member(record, "server", "\"s1\"");
    assert_member(record, "method", "\"GET\"");
    assert_member(record, "host", "\"example.org\"");
    assert_member(record, "path", "\"/a?q=1\"");
    assert_member(record, "protocol", "\"HTTP/1.1\"");
    assert_member(record, "status", "200");
    assert_member(record, "cause", "\"ok\"");
    assert_member(record, "bytes_in", "100");
    assert_member(record, "bytes_out", "200");
    assert_member(record, "reused", "true");
    assert_member(record, "traceparent", "\"00-abc-def-01\"");
    assert_int_equal(json_member(record, "id").n, 38);
}

static void a_default_route_has_no_name(void **state) {
    (void)state;
    proxy_build();
    proxy_add_idle();
    proxy_get("/");
    answer_over_back(204);
    struct slice record = written();
    assert_true(json_is_valid(record));
    assert_member(record, "route", "null");
    assert_member(record, "backend", "\"app\"");
}

static void one_that_was_answered_by_us(void **state) {
    (void)state;
    pb.web->default_backend = -1;
    proxy_build();
    proxy_get("/nowhere");
    struct slice record = written();
    assert_true(json_is_valid(record));
    assert_member(record, "status", "404");
    assert_member(record, "cause", "\"no_route\"");
    assert_member(record, "blame", "\"gateway\"");
    assert_member(record, "backend", "null");
    assert_member(record, "server", "null");
}

static void one_whose_head_never_came(void **state) {
    (void)state;
    proxy_build();
    fake_stream_init(&pb.front, true);
    exchange_start(&pb.client, &pb.front.stream);
    fake_close(&pb.front, FAILURE_client_closed);
    struct slice record = written();
    assert_true(json_is_valid(record));
    assert_member(record, "status", "499");
    assert_member(record, "cause", "\"client_closed\"");
    assert_member(record, "blame", "\"client\"");
    assert_member(record, "route", "null");
}

static void a_response_that_was_cut_keeps_its_status(void **state) {
    (void)state;
    proxy_build();
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 10, NULL));
    fake_close(&pb.back, FAILURE_response_cut);
    struct slice record = written();
    assert_member(record, "status", "200");
    assert_member(record, "cause", "\"response_cut\"");
    assert_member(record, "blame", "\"server\"");
}

static void tries_are_told_one_by_one(void **state) {
    (void)state;
    proxy_build();
    proxy_add_idle();
    proxy_get("/");
    fake_close(&pb.back, FAILURE_closed_idle);
    listener_accept(pb.listener, &pb.env.loop, &pb.server);
    peer_expect_part(&pb.server, &pb.env.loop, "\r\n\r\n");
    peer_say(&pb.server, "HTTP/1.1 204 No Content\r\n\r\n");
    LOOP_UNTIL(&pb.env.loop, pb.ends == 1);
    struct slice record = written();
    assert_true(json_is_valid(record));
    struct slice tries = json_member(record, "tries");
    assert_non_null(memmem(tries.p, tries.n, "closed_idle", 11));
    assert_member(record, "reused", "false");
    assert_member(record, "cause", "\"ok\"");
}

static void without_an_access_log_only_the_counters_move(void **state) {
    (void)state;
    pb.web->access_log.on = false;
    proxy_build();
    pb.web->access_log.on = true;
    proxy_add_idle();
    proxy_get("/");
    answer_over_back(200);
    log_fini(1000);
    assert_int_equal(access(path, F_OK), -1);
    struct metrics *shard = &pb.env.metrics;
    assert_int_equal(metrics_sum(&shard, 1, METRIC_exchanges_total), 1);
    assert_int_equal(metrics_sum(&shard, 1, METRIC_bytes_in_total), 100);
    assert_int_equal(metrics_sum(&shard, 1, METRIC_bytes_out_total), 200);
}

static unsigned tapped;

static bool take_tapped(void *owner, struct slice line) {
    assert_true(json_is_valid(line));
    assert_member(line, "status", owner);
    assert_member(line, "server", "\"s1\"");
    tapped++;
    return true;
}

static void ring_no_bell(struct mail *bell, void *receiver) {
    (void)receiver;
    taps_hear(bell);
}

/* A tap gets the records of a frontend with an access log, and of one without. */
static void follow(bool has_log) {
    struct tap *tap = tap_new(NULL, NULL);
    tapped = 0;
    pb.web->access_log.on = has_log;
    proxy_build();
    pb.web->access_log.on = true;
    taps_attach(&pb.env.taps, tap, &pb.box, ring_no_bell);
    proxy_add_idle();
    proxy_get("/");
    answer_over_back(204);
    assert_true(tap_read(tap, take_tapped, (char *)"204"));
    assert_int_equal(tapped, 1);
    taps_detach(tap);
    tap_free(tap);
}

static void a_tap_needs_no_access_log(void **state) {
    (void)state;
    follow(false);
    log_fini(1000);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_tap_takes_nothing_from_the_access_log(void **state) {
    (void)state;
    follow(true);
    assert_member(written(), "status", "204");
}

static void failures_are_counted_by_blame(void **state) {
    (void)state;
    static const struct {
        enum failure cause;
        enum metric metric;
    } rows[] = {{FAILURE_client_closed, METRIC_client_failures_total},
                {FAILURE_request_timeout, METRIC_gateway_failures_total},
                {FAILURE_bad_response, METRIC_server_failures_total}};
    proxy_build();
    for (unsigned i = 0; i < LG_COUNT(rows); i++) {
        struct metrics *shard = &pb.env.metrics;
        fake_stream_init(&pb.front, true);
        exchange_start(&pb.client, &pb.front.stream);
        fake_close(&pb.front, rows[i].cause);
        assert_int_equal(metrics_sum(&shard, 1, rows[i].metric), 1);
        assert_int_equal(metrics_sum(&shard, 1, METRIC_exchanges_total), i + 1);
    }
    log_fini(1000);
}

/* --- the series ------------------------------------------------------------------------------------------------- */

static struct stats_totals totals_of(enum series_kind kind, const char *owner, const char *name) {
    struct stats_totals totals;
    const struct series *s = telemetry_find(&pb.registry.telemetry, kind, owner, name);
    assert_non_null(s);
    telemetry_totals(&pb.registry.telemetry, s, &totals);
    return totals;
}

static uint64_t count_of(enum series_kind kind, const char *owner, const char *name) {
    return totals_of(kind, owner, name).tallies[TALLY_EXCHANGES];
}

static void build_and_watch(void) {
    route_to(config_add_route(pb.config, pb.web, "api", "/a"), 0);
    config_add_route(pb.config, pb.web, "own", "/own");
    proxy_build();
    telemetry_add_recorder(&pb.registry.telemetry, &pb.env.recorder);
}

/* The figures of one series over the longest window, which is begun with the first call. */
static struct stats_view view_of(enum series_kind kind, const char *owner, const char *name) {
    static const uint64_t windows[] = {60000000};
    struct telemetry *t = &pb.registry.telemetry;
    struct stats_view v;
    telemetry_set_windows(t, windows, 1, 1);
    telemetry_tick(t, 1000001);
    assert_true(window_read(t, telemetry_find(t, kind, owner, name), 0, &v));
    return v;
}

static void an_exchange_counts_for_all_it_went_through(void **state) {
    (void)state;
    build_and_watch();
    proxy_add_idle();
    proxy_get("/a");
    answer_over_back(200);
    log_fini(1000);
    assert_int_equal(count_of(SERIES_FRONTEND, "", "web"), 1);
    assert_int_equal(count_of(SERIES_ROUTE, "web", "api"), 1);
    assert_int_equal(count_of(SERIES_ROUTE, "web", "own"), 0);
    assert_int_equal(count_of(SERIES_BACKEND, "", "app"), 1);
    struct stats_totals server = totals_of(SERIES_SERVER, "app", "s1");
    assert_int_equal(server.tallies[TALLY_EXCHANGES], 1);
    assert_int_equal(server.tallies[TALLY_ERRORS], 0);
    assert_int_equal(server.tallies[TALLY_BYTES_IN], 100);
    assert_int_equal(server.tallies[TALLY_BYTES_OUT], 200);
    struct stats_view v = view_of(SERIES_SERVER, "app", "s1");
    assert_true(v.measures[MEASURE_TOTAL].count == 1 && v.measures[MEASURE_FIRST_BYTE].count == 1);
    assert_true(v.measures[MEASURE_CONNECT].count == 0 && v.measures[MEASURE_QUEUE].max_us == 0);
    v = view_of(SERIES_BACKEND, "", "app");
    assert_true(v.tries == 1 && v.bytes_out == 200 && v.measures[MEASURE_FIRST_BYTE].count == 1);
}

static void an_answer_of_our_own_counts_for_no_backend(void **state) {
    (void)state;
    pb.web->default_backend = -1;
    build_and_watch();
    proxy_get("/own");
    assert_int_equal(count_of(SERIES_FRONTEND, "", "web"), 1);
    assert_int_equal(count_of(SERIES_ROUTE, "web", "own"), 1);
    assert_int_equal(count_of(SERIES_BACKEND, "", "app"), 0);
    pb.ends = 0;
    proxy_get("/nowhere");
    assert_int_equal(count_of(SERIES_FRONTEND, "", "web"), 2);
    assert_int_equal(totals_of(SERIES_FRONTEND, "", "web").causes[FAILURE_no_route], 1);
    log_fini(1000);
}

static void a_servers_own_error_is_one(void **state) {
    (void)state;
    build_and_watch();
    proxy_add_idle();
    proxy_get("/a");
    answer_over_back(500);
    log_fini(1000);
    assert_int_equal(totals_of(SERIES_FRONTEND, "", "web").causes[FAILURE_bad_status], 1);
    assert_int_equal(totals_of(SERIES_SERVER, "app", "s1").causes[FAILURE_bad_status], 1);
}

static void a_clients_failure_is_no_error(void **state) {
    (void)state;
    build_and_watch();
    proxy_add_idle();
    proxy_get("/a");
    fake_close(&pb.front, FAILURE_client_closed);
    log_fini(1000);
    struct stats_totals server = totals_of(SERIES_SERVER, "app", "s1");
    assert_true(server.tallies[TALLY_EXCHANGES] == 1 && server.tallies[TALLY_ERRORS] == 0);
    assert_int_equal(totals_of(SERIES_FRONTEND, "", "web").tallies[TALLY_ERRORS], 0);
    assert_int_equal(view_of(SERIES_SERVER, "app", "s1").measures[MEASURE_FIRST_BYTE].count, 0);
}

/* Each try counts for its server, with the connection it opened; the exchange counts once. */
static void tries_count_for_their_servers(void **state) {
    (void)state;
    build_and_watch();
    proxy_add_idle();
    proxy_get("/a");
    fake_close(&pb.back, FAILURE_closed_idle);
    listener_accept(pb.listener, &pb.env.loop, &pb.server);
    peer_expect_part(&pb.server, &pb.env.loop, "\r\n\r\n");
    peer_say(&pb.server, "HTTP/1.1 204 No Content\r\n\r\n");
    LOOP_UNTIL(&pb.env.loop, pb.ends == 1);
    log_fini(1000);
    struct stats_view server = view_of(SERIES_SERVER, "app", "s1"), backend = view_of(SERIES_BACKEND, "", "app");
    assert_true(server.exchanges == 2 && server.errors == 1 && server.retries == 0); /* a resend is no retry */
    assert_true(server.measures[MEASURE_FIRST_BYTE].count == 1 && server.measures[MEASURE_CONNECT].count == 1);
    assert_true(backend.exchanges == 1 && backend.tries == 2 && backend.errors == 0);
    assert_int_equal(totals_of(SERIES_SERVER, "app", "s1").causes[FAILURE_closed_idle], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_request_that_went_well),
        TEST(a_default_route_has_no_name),
        TEST(one_that_was_answered_by_us),
        TEST(one_whose_head_never_came),
        TEST(a_response_that_was_cut_keeps_its_status),
        TEST(tries_are_told_one_by_one),
        TEST(without_an_access_log_only_the_counters_move),
        TEST(a_tap_needs_no_access_log),
        TEST(a_tap_takes_nothing_from_the_access_log),
        TEST(failures_are_counted_by_blame),
        TEST(an_exchange_counts_for_all_it_went_through),
        TEST(an_answer_of_our_own_counts_for_no_backend),
        TEST(a_servers_own_error_is_one),
        TEST(a_clients_failure_is_no_error),
        TEST(tries_count_for_their_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
