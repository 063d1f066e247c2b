/* test_telemetry_tick.c: differences: nothing is lost or taken twice, also while four workers go on recording. */
#include "telemetry_bed.h"

#include "../../support/random.h"

#include <pthread.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { RECORDS = 400000 };
#else
enum { RECORDS = 10000000 };
#endif

enum { SERIES = 24, EACH = RECORDS / BED_WORKERS };

/* --- one thread ------------------------------------------------------------------------------------------------- */

static void workers_are_summed(void **state) {
    (void)state;
    for (unsigned i = 0; i < BED_WORKERS; i++) bed_add_many(i, tb.server, 10 + i, 100 * (i + 1));
    bed_tick(S);
    struct stats_view v = bed_read(tb.server, LAST_1S);
    assert_true(v.exchanges == 46 && v.measures[MEASURE_TOTAL].count == 46);
    bed_tick(S);
    assert_int_equal(bed_count(tb.server, LAST_1S), 0);
    assert_int_equal(bed_count(tb.server, LAST_10S), 46);
    bed_add_many(3, tb.server, 1, 100);
    bed_tick(S);
    assert_int_equal(bed_count(tb.server, LAST_1S), 1);
    assert_int_equal(bed_count(tb.server, LAST_10S), 47);
}

/* Ticks within a second add to the slice that is open. */
static void ticks_within_a_second(void **state) {
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        bed_add_many(i % BED_WORKERS, tb.server, 3, 700);
        bed_tick(S / 10);
        assert_int_equal(bed_read(tb.server, LAST_5_MINUTES).measures[MEASURE_TOTAL].count, 3 * (i + 1));
    }
    struct stats_view v = bed_read(tb.server, LAST_10S);
    assert_true(v.exchanges == 300 && v.span_us == 10 * S);
    telemetry_tick(&tb.t, tb.now_us - S); /* an old time changes nothing */
    assert_int_equal(bed_count(tb.server, LAST_10S), 300);
}

/* As if it had been running for years: both buckets of a pair and the version are about to wrap. */
static void counters_wrap(void **state) {
    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        bed_add_many(w, tb.server, 1, 100);
        bed_add_many(w, tb.server, 1, 101);
        struct shard *s = (struct shard *)(uintptr_t)recorder_find(&tb.workers[w], tb.server->id);
        struct bucket_block *b = s->blocks[MEASURE_TOTAL][100 / HISTOGRAM_BLOCK];
        atomic_store(&b->pairs[100 % HISTOGRAM_BLOCK / 2], UINT64_MAX - (UINT64_C(1) << 32) - 1);
        atomic_store(&s->version, UINT32_MAX - 1);
        atomic_store(&s->moved[MEASURE_TOTAL][100 / HISTOGRAM_BLOCK], UINT32_MAX - 1);
    }
    bed_tick(S);
    for (int i = 0; i < 4; i++) {
        for (unsigned w = 0; w < 3; w++) {
            bed_add_many(w, tb.server, 5, 100);
            bed_add_many(w, tb.server, 2, 101);
        }
        bed_tick(S);
        struct stats_view v = bed_read(tb.server, LAST_1S);
        assert_int_equal(v.exchanges, 21);
        assert_int_equal(v.measures[MEASURE_TOTAL].count, 21);
        assert_true(v.measures[MEASURE_TOTAL].p50_us == 100 && v.measures[MEASURE_TOTAL].p90_us == 101);
    }
}

/* --- four workers and the control thread ------------------------------------------------------------------------ */

static struct series *series[SERIES];
static _Atomic unsigned running;

struct worker_thread {
    pthread_t thread;
    unsigned worker;
    uint64_t sum_us, errors, bytes;
};

static void *record(void *arg) {
    struct worker_thread *w = arg;
    struct random r = {w->worker + 1};
    for (unsigned i = 0; i < EACH; i++) {
        uint32_t ids[] = {series[0]->id, series[1 + i % 3]->id, series[4 + random_below(&r, SERIES - 4)]->id};
        uint64_t us = random_next(&r) >> (28 + random_below(&r, 36));
        struct sample s = {.us = {us, us / 2, SAMPLE_NONE, i % 8 ? SAMPLE_NONE : us / 4}, .bytes_in = 3, .tries = 1};
        if (i % 16 == 0) s.error = FAILURE_response_cut;
        recorder_add(&tb.workers[w->worker], ids, 3, &s);
        recorder_add_bytes(&tb.workers[w->worker], ids[0], 0, i % 5);
        w->sum_us += us;
        w->errors += s.error != FAILURE_NONE;
        w->bytes += i % 5;
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* Everything is in the longest window, as the fake clock makes but little time of all the ticks. */
static void assert_all_there(const struct series *s, uint64_t exchanges) {
    struct stats_view v = bed_read(s, LAST_5_MINUTES);
    struct stats_distribution d;
    assert_int_equal(v.exchanges, exchanges);
    assert_int_equal(v.tries, exchanges);
    assert_int_equal(v.measures[MEASURE_TOTAL].count, exchanges);
    assert_int_equal(v.measures[MEASURE_FIRST_BYTE].count, exchanges);
    assert_int_equal(v.measures[MEASURE_QUEUE].count, exchanges);
    telemetry_distribution(s, MEASURE_TOTAL, &d);
    assert_int_equal(d.count, exchanges);
}

static void assert_sums(const struct worker_thread *threads) {
    struct stats_totals t = bed_totals(series[0]);
    struct stats_view v = bed_read(series[0], LAST_5_MINUTES);
    struct stats_distribution d;
    uint64_t sum_us = 0, errors = 0, bytes = 0, others = 0;
    for (unsigned i = 0; i < BED_WORKERS; i++) {
        sum_us += threads[i].sum_us;
        errors += threads[i].errors;
        bytes += threads[i].bytes;
    }
    telemetry_distribution(series[0], MEASURE_TOTAL, &d);
    assert_true(d.sum_us == sum_us && t.tallies[TALLY_SUM_US] == sum_us);
    assert_true(v.errors == errors && t.causes[FAILURE_response_cut] == errors);
    assert_true(v.bytes_out == bytes && t.tallies[TALLY_BYTES_OUT] == bytes);
    assert_int_equal(v.bytes_in, 3 * (uint64_t)RECORDS);
    telemetry_distribution(series[0], MEASURE_QUEUE, &d);
    assert_int_equal(d.count, RECORDS / 8);
    assert_all_there(series[0], RECORDS);
    for (unsigned i = 1; i < 4; i++) others += bed_count(series[i], LAST_5_MINUTES);
    assert_int_equal(others, RECORDS);
    for (unsigned i = 4; i < SERIES; i++) {
        others += bed_count(series[i], LAST_5_MINUTES);
        assert_all_there(series[i], bed_totals(series[i]).tallies[TALLY_EXCHANGES]);
    }
    assert_int_equal(others, 2 * (uint64_t)RECORDS);
}

static void nothing_is_lost_or_taken_twice(void **state) {
    (void)state;
    struct worker_thread threads[BED_WORKERS] = {0};
    char name[8];
    for (unsigned i = 0; i < SERIES; i++) {
        snprintf(name, sizeof name, "s%u", i);
        series[i] = telemetry_acquire(&tb.t, i < 4 ? SERIES_FRONTEND : SERIES_SERVER, "app", name);
    }
    atomic_store(&running, BED_WORKERS);
    for (unsigned i = 0; i < BED_WORKERS; i++) {
        threads[i].worker = i;
        assert_int_equal(pthread_create(&threads[i].thread, NULL, record, &threads[i]), 0);
    }
    uint64_t last = 0;
    do {
        /* As many as there may be: merging goes on all the time, and time hardly moves. */
        bed_tick(tb.now_us < 250 * (uint64_t)S ? S : 1);
        uint64_t count = bed_count(series[0], LAST_5_MINUTES);
        assert_true(count >= last && count <= RECORDS);
        assert_true(bed_totals(series[0]).tallies[TALLY_EXCHANGES] >= count);
        last = count;
    } while (atomic_load(&running));
    for (unsigned i = 0; i < BED_WORKERS; i++) pthread_join(threads[i].thread, NULL);
    bed_tick(1);
    assert_sums(threads);
    for (unsigned i = 0; i < SERIES; i++) telemetry_release(&tb.t, series[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(workers_are_summed),
        BED_TEST(ticks_within_a_second),
        BED_TEST(counters_wrap),
        BED_TEST(nothing_is_lost_or_taken_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
