/* test_telemetry_read.c: windows, totals and distributions of known traffic, with a fake clock. */
#include "stats_bed.h"
#include "telemetry_bed.h"

static void assert_close(double got, double want) {
    if (fabs(got - want) > fabs(want) * 1e-9) fail_msg("%g is not %g", got, want);
}

/* The path of all figures: four workers, ticks, slices that merge, a window. */
static void known_distributions(void **state) {
    (void)state;
    enum { TICKS = 40, EACH = 1000, N = TICKS * EACH };
    static uint64_t sample[N];
    struct random r = {99};
    for (size_t k = 0; k < LG_COUNT(distributions); k++) {
        for (size_t i = 0; i < N; i++) {
            struct sample s = sample_of(SAMPLE_NONE);
            s.us[k % MEASURE_QUEUE] = sample[i] = draw_us(&distributions[k], &r);
            bed_add((unsigned)(i % BED_WORKERS), tb.server, &s);
            if (i % EACH == EACH - 1) bed_tick(S);
        }
        struct stats_view v = bed_read(tb.server, LAST_MINUTE);
        assert_int_equal(v.exchanges, N);
        assert_int_equal(v.measures[(k + 1) % MEASURE_QUEUE].count, 0);
        assert_summary(distributions[k].name, &v.measures[k % MEASURE_QUEUE], sample, N);
        v = bed_read(tb.server, LAST_5_MINUTES);
        assert_summary(distributions[k].name, &v.measures[k % MEASURE_QUEUE], sample, N);
        for (int i = 0; i < 330; i++) bed_tick(S);
        assert_int_equal(bed_count(tb.server, LAST_5_MINUTES), 0);
    }
}

static void all_figures(void **state) {
    (void)state;
    struct sample good = {.us = {4000, 3000, 120, SAMPLE_NONE}, .bytes_in = 100, .bytes_out = 5000, .tries = 1};
    struct sample bad = {.us = {9000, SAMPLE_NONE, SAMPLE_NONE, 500}, .tries = 3, .retries = 2};
    bad.error = FAILURE_connect_timeout;
    for (unsigned i = 0; i < 19; i++) bed_add(i % BED_WORKERS, tb.server, &good);
    bed_add(0, tb.server, &bad);
    recorder_add_bytes(&tb.workers[1], tb.server->id, 100, 0);
    bed_tick(2 * S);
    struct stats_view v = bed_read(tb.server, LAST_10S);
    assert_true(v.length_us == 10 * S && v.span_us == 2 * S);
    assert_true(v.exchanges == 20 && v.errors == 1 && v.tries == 22 && v.retries == 2);
    assert_true(v.bytes_in == 2000 && v.bytes_out == 19 * 5000);
    assert_close(v.rps, 10);
    assert_close(v.error_rate, 0.05);
    assert_close(v.retries_per_s, 1);
    assert_close(v.bytes_in_per_s, 1000);
    assert_close(v.bytes_out_per_s, 47500);
    assert_int_equal(v.measures[MEASURE_TOTAL].count, 20);
    assert_int_equal(v.measures[MEASURE_FIRST_BYTE].count, 19);
    assert_int_equal(v.measures[MEASURE_CONNECT].count, 19);
    assert_close(v.measures[MEASURE_CONNECT].p99_us, 120);
    assert_near("total", 500, v.measures[MEASURE_TOTAL].p50_us, 4000);
    assert_near("total", 1000, v.measures[MEASURE_TOTAL].max_us, 9000);
    /* Who did not wait has waited for 0 us. */
    assert_int_equal(v.measures[MEASURE_QUEUE].count, 20);
    assert_true(v.measures[MEASURE_QUEUE].p95_us == 0);
    assert_near("queue", 1000, v.measures[MEASURE_QUEUE].max_us, 500);
}

static void nothing_is_null(void **state) {
    (void)state;
    struct stats_view v;
    memset(&v, 1, sizeof v);
    assert_false(window_read(&tb.t, tb.server, LAST_1S, &v));
    assert_true(v.exchanges == 0 && v.span_us == 0 && v.rps == 0);
    bed_tick(S);
    v = bed_read(tb.server, LAST_1S);
    assert_true(v.span_us == S && v.exchanges == 0 && v.rps == 0);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) assert_int_equal(v.measures[m].count, 0);
    bed_add_many(0, tb.server, 1, 10);
    bed_tick(S);
    assert_int_equal(bed_read(tb.server, LAST_1S).measures[MEASURE_QUEUE].count, 1);
    bed_tick(S);
    assert_int_equal(bed_read(tb.server, LAST_1S).measures[MEASURE_QUEUE].count, 0);
    assert_int_equal(bed_read(tb.server, LAST_10S).measures[MEASURE_QUEUE].count, 1);
}

/* To the tick: how long each window remembers one exchange, with ticks each second. The slices of the long windows
 * decide where in half a slice that is. */
static void windows_forget(void **state) {
    (void)state;
    static const unsigned least[] = {1, 10, 57, 285}, most[] = {1, 10, 63, 315};
    for (unsigned after = 0; after < 60; after += 7) {
        unsigned kept[4] = {0};
        for (unsigned i = 0; i < after; i++) bed_tick(S);
        bed_add_many(1, tb.server, 1, 12345);
        for (unsigned second = 0; second < 340; second++) {
            bed_tick(S);
            for (unsigned w = 0; w < 4; w++) {
                struct stats_view v = bed_read(tb.server, w);
                assert_true(v.exchanges <= 1 && v.measures[MEASURE_TOTAL].count == v.exchanges);
                assert_true(v.exchanges == 0 || kept[w] == second); /* what is forgotten does not come back */
                kept[w] += (unsigned)v.exchanges;
            }
        }
        for (unsigned w = 0; w < 4; w++) assert_in_range(kept[w], least[w], most[w]);
    }
    assert_int_equal(bed_totals(tb.server).tallies[TALLY_EXCHANGES], 9);
}

/* A steady rate is told right whatever the ticks do. */
static void late_ticks_do_not_distort(void **state) {
    (void)state;
    struct random r = {21};
    for (unsigned n = 0; n < 600; n++) {
        uint64_t after_ms = random_once_in(&r, 10) ? 1000 + random_below(&r, 7000) : 950 + random_below(&r, 100);
        bed_add_many(n % BED_WORKERS, tb.server, (unsigned)after_ms, 1000); /* 1000 a second */
        bed_tick(after_ms * 1000);
        for (unsigned w = 0; w < 4; w++) assert_close(bed_read(tb.server, w).rps, 1000);
    }
}

static void totals_are_of_this_moment(void **state) {
    (void)state;
    struct sample s = sample_of(500);
    s.error = FAILURE_reset_before_response;
    bed_add(0, tb.server, &s);
    bed_add(3, tb.server, &s);
    bed_add_many(2, tb.server, 5, 600);
    struct stats_totals now = bed_totals(tb.server);
    assert_int_equal(now.tallies[TALLY_EXCHANGES], 7);
    assert_int_equal(now.tallies[TALLY_ERRORS], 2);
    assert_int_equal(now.tallies[TALLY_SUM_US], 4000);
    assert_int_equal(now.causes[FAILURE_reset_before_response], 2);
    for (int i = 0; i < 400; i++) bed_tick(S);
    assert_int_equal(bed_totals(tb.server).tallies[TALLY_EXCHANGES], 7);
}

static void distributions_since_ever(void **state) {
    (void)state;
    struct stats_distribution d;
    telemetry_distribution(tb.server, MEASURE_TOTAL, &d);
    assert_true(d.count == 0 && d.sum_us == 0);
    for (unsigned n = 0; n < 700; n++) {
        bed_add_many(0, tb.server, 2, 63);
        bed_add_many(1, tb.server, 1, 64);
        bed_add_many(2, tb.server, 1, 3600 * (uint64_t)S);
        bed_tick(S);
    }
    telemetry_distribution(tb.server, MEASURE_TOTAL, &d);
    assert_int_equal(d.count, 2800);
    assert_int_equal(d.sum_us, 700 * (2 * 63 + 64 + 3600 * (uint64_t)S));
    assert_int_equal(histogram_block_limit_us(0), 64);
    assert_int_equal(d.below[0], 1400);
    assert_int_equal(d.below[1], 2100);
    assert_int_equal(d.below[25], 2100); /* 36 min */
    assert_int_equal(d.below[26], 2800); /* 72 min */
    assert_int_equal(d.below[31], 2800);
}

static void gauges_are_of_all_workers(void **state) {
    (void)state;
    assert_int_equal(telemetry_gauge(&tb.t, tb.server, GAUGE_IDLE), 0);
    for (unsigned i = 0; i < BED_WORKERS; i++) recorder_move(&tb.workers[i], tb.server->id, GAUGE_IDLE, 1);
    recorder_move(&tb.workers[2], tb.server->id, GAUGE_IDLE, -1);
    recorder_move(&tb.workers[1], tb.server->id, GAUGE_ACTIVE, 1);
    assert_int_equal(telemetry_gauge(&tb.t, tb.server, GAUGE_IDLE), BED_WORKERS - 1);
    assert_int_equal(telemetry_gauge(&tb.t, tb.server, GAUGE_ACTIVE), 1);
    bed_tick(S);
    assert_int_equal(telemetry_gauge(&tb.t, tb.server, GAUGE_IDLE), BED_WORKERS - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(known_distributions),       BED_TEST(all_figures),
        BED_TEST(nothing_is_null),           BED_TEST(windows_forget),
        BED_TEST(late_ticks_do_not_distort), BED_TEST(totals_are_of_this_moment),
        BED_TEST(distributions_since_ever),  BED_TEST(gauges_are_of_all_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
