/* test_telemetry.c: series: names, ids, order, lives; what all of it costs. */
#include "stats_bed.h"
#include "telemetry_bed.h"

static void names(void **state) {
    (void)state;
    struct series *web = telemetry_acquire(&tb.t, SERIES_FRONTEND, "", "web");
    struct series *app = telemetry_acquire(&tb.t, SERIES_BACKEND, "", "web");
    struct series *route = telemetry_acquire(&tb.t, SERIES_ROUTE, "web", "api");
    struct series *other = telemetry_acquire(&tb.t, SERIES_ROUTE, "weba", "pi");
    assert_true(web != app && route != other);
    assert_ptr_equal(telemetry_acquire(&tb.t, SERIES_ROUTE, "web", "api"), route);
    assert_ptr_equal(telemetry_find(&tb.t, SERIES_ROUTE, "web", "api"), route);
    assert_ptr_equal(telemetry_find(&tb.t, SERIES_SERVER, "app", "a1"), tb.server);
    assert_null(telemetry_find(&tb.t, SERIES_SERVER, "web", "api"));
    assert_null(telemetry_find(&tb.t, SERIES_ROUTE, "web", "ap"));
    assert_string_equal(route->owner, "web");
    assert_string_equal(route->name, "api");
    assert_string_equal(web->owner, "");
    assert_string_equal(series_kind_name(tb.server->kind), "server");
    const struct series *const order[] = {web, route, other, app, tb.server, NULL};
    const struct series *s = NULL;
    for (size_t i = 0; i < LG_COUNT(order); i++) assert_ptr_equal(s = telemetry_next(&tb.t, s), order[i]);
    telemetry_release(&tb.t, route);
    assert_ptr_equal(telemetry_find(&tb.t, SERIES_ROUTE, "web", "api"), route);
    telemetry_release(&tb.t, route);
    assert_null(telemetry_find(&tb.t, SERIES_ROUTE, "web", "api"));
    assert_ptr_equal(telemetry_next(&tb.t, web), other);
    telemetry_release(&tb.t, other);
    telemetry_release(&tb.t, web);
    telemetry_release(&tb.t, app);
    telemetry_release(&tb.t, NULL);
}

static void ids_are_dense(void **state) {
    (void)state;
    struct series *s[100];
    char name[8];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 100; i++) {
            snprintf(name, sizeof name, "r%u", i);
            s[i] = telemetry_acquire(&tb.t, SERIES_ROUTE, "web", name);
            assert_true(s[i]->id <= 100 && s[i]->id != tb.server->id);
            for (unsigned k = 0; k < i; k++) assert_int_not_equal(s[i]->id, s[k]->id);
        }
        for (unsigned i = 0; i < 100; i++) telemetry_release(&tb.t, s[(i * 37 + 5) % 100]);
    }
    assert_int_equal(tb.t.id_limit, 101);
}

/* The one that gets an id counts from 0, although the shards go on. */
static void an_id_is_used_again(void **state) {
    (void)state;
    struct sample failed = sample_of(900);
    struct stats_distribution d;
    failed.error = FAILURE_bad_response;
    struct series *old = telemetry_acquire(&tb.t, SERIES_SERVER, "app", "old");
    uint32_t id = old->id;
    bed_add_many(0, old, 50, 7000);
    bed_add(1, old, &failed);
    bed_tick(S);
    bed_add_many(2, old, 9, 7000); /* never taken by a tick */
    telemetry_release(&tb.t, old);
    struct series *young = telemetry_acquire(&tb.t, SERIES_SERVER, "app", "young");
    assert_int_equal(young->id, id);
    assert_int_equal(bed_totals(young).tallies[TALLY_EXCHANGES], 0);
    assert_int_equal(bed_totals(young).causes[FAILURE_bad_response], 0);
    assert_int_equal(bed_count(young, LAST_5_MINUTES), 0);
    bed_tick(S);
    assert_int_equal(bed_count(young, LAST_5_MINUTES), 0);
    bed_add_many(0, young, 3, 7000);
    bed_add(3, young, &failed);
    bed_tick(S);
    struct stats_view v = bed_read(young, LAST_5_MINUTES);
    assert_true(v.exchanges == 4 && v.errors == 1 && v.measures[MEASURE_TOTAL].count == 4);
    assert_int_equal(bed_totals(young).tallies[TALLY_EXCHANGES], 4);
    assert_int_equal(bed_totals(young).tallies[TALLY_ERRORS], 1);
    assert_int_equal(bed_totals(young).causes[FAILURE_bad_response], 1);
    telemetry_distribution(young, MEASURE_TOTAL, &d);
    assert_true(d.count == 4 && d.sum_us == 3 * 7000 + 900);
    telemetry_release(&tb.t, young);
}

static void windows_of_ones_own(void **state) {
    (void)state;
    static const uint64_t wanted[] = {2 * S, 30 * S};
    bed_add_many(0, tb.server, 5, 1000);
    bed_tick(S);
    assert_int_equal(telemetry_window_find(&tb.t, 10 * S), LAST_10S);
    assert_int_equal(telemetry_window_find(&tb.t, 11 * S), LAST_MINUTE);
    assert_int_equal(telemetry_window_find(&tb.t, 0), LAST_1S);
    assert_int_equal(telemetry_window_find(&tb.t, UINT64_MAX), LAST_5_MINUTES);
    telemetry_set_windows(&tb.t, tb.t.timeline.windows, 4, tb.now_us); /* the same: nothing is lost */
    assert_int_equal(bed_count(tb.server, LAST_10S), 5);
    telemetry_set_windows(&tb.t, wanted, 2, tb.now_us);
    struct stats_view v;
    assert_false(window_read(&tb.t, tb.server, 1, &v));
    bed_add_many(0, tb.server, 2, 1000);
    bed_tick(S);
    assert_int_equal(bed_count(tb.server, 1), 2);
    assert_int_equal(bed_read(tb.server, 1).length_us, 30 * S);
    assert_int_equal(bed_totals(tb.server).tallies[TALLY_EXCHANGES], 7);
    for (int i = 0; i < 33; i++) bed_tick(S);
    assert_int_equal(bed_count(tb.server, 1), 0);
}

/* --- memory ----------------------------------------------------------------------------------------------------- */

/* A tenth of what is asked for, so that it does not take long. */
enum { SERVERS = 100, TIMES = 10, RATE = 60, SECONDS = 330 };

static struct sample draw_sample(struct random *r) {
    uint64_t us = draw_us(&distributions[7], r);
    struct sample s = {
        .us = {us + us / 16, us, SAMPLE_NONE, SAMPLE_NONE}, .bytes_in = 700, .bytes_out = 9000, .tries = 1};
    if (random_once_in(r, 10)) s.us[MEASURE_CONNECT] = 150 + random_below(r, 300);
    if (random_once_in(r, 200)) s.error = FAILURE_connect_failed;
    return s;
}

/* A thousand servers whose latencies spread over three orders of magnitude, on four workers, until all windows are
 * full: less than 64 MiB. */
static void a_thousand_servers(void **state) {
    (void)state;
    enum { DRAWN = 65536 };
    static struct sample drawn[DRAWN];
    static struct series *servers[SERVERS];
    struct random r = {2024};
    char name[16];
    for (unsigned i = 0; i < DRAWN; i++) drawn[i] = draw_sample(&r);
    for (unsigned i = 0; i < SERVERS; i++) {
        snprintf(name, sizeof name, "server-%u", i);
        servers[i] = telemetry_acquire(&tb.t, SERIES_SERVER, "app", name);
    }
    for (unsigned second = 0; second < SECONDS; second++) {
        for (unsigned i = 0; i < SERVERS; i++)
            for (unsigned k = 0; k < RATE; k++) bed_add(k % BED_WORKERS, servers[i], &drawn[random_next(&r) % DRAWN]);
        bed_tick(S);
    }
    assert_int_equal(bed_count(servers[0], LAST_10S), 10 * RATE);
    struct telemetry_memory m = telemetry_memory(&tb.t);
    size_t sum = TIMES * (m.shards + m.windows + m.series);
    print_message("a server: shards %zu, windows %zu, series %zu bytes\n", m.shards / SERVERS, m.windows / SERVERS,
                  m.series / SERVERS);
    assert_true(sum < 64U << 20);
    assert_true(sum > 8U << 20); /* it is counted at all */
    for (unsigned i = 0; i < SERVERS; i++) telemetry_release(&tb.t, servers[i]);
}

/* Ten thousand routes that nobody asks for. */
static void without_traffic(void **state) {
    (void)state;
    enum { ROUTES = 10000 };
    static struct series *routes[ROUTES];
    char name[16];
    struct telemetry_memory before = telemetry_memory(&tb.t);
    for (unsigned i = 0; i < ROUTES; i++) {
        snprintf(name, sizeof name, "route-%u", i);
        routes[i] = telemetry_acquire(&tb.t, SERIES_ROUTE, "web", name);
    }
    for (int i = 0; i < 20; i++) bed_tick(S);
    struct telemetry_memory m = telemetry_memory(&tb.t);
    assert_int_equal(m.shards, before.shards);
    assert_true(m.windows <= before.windows + 256 * 1024);
    assert_true(m.series - before.series < ROUTES * 256);
    struct stats_view v = bed_read(routes[0], LAST_5_MINUTES);
    assert_true(v.exchanges == 0 && v.rps == 0 && v.measures[MEASURE_QUEUE].count == 0);
    assert_int_equal(bed_totals(routes[9999]).tallies[TALLY_EXCHANGES], 0);
    for (unsigned i = 0; i < ROUTES; i++) telemetry_release(&tb.t, routes[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(names),
        BED_TEST(ids_are_dense),
        BED_TEST(an_id_is_used_again),
        BED_TEST(windows_of_ones_own),
        BED_TEST(a_thousand_servers),
        BED_TEST(without_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
