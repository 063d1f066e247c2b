/* test_recorder.c: a worker's shards: made when needed, each thing counted where it belongs. */
#include "loomgate/stats/recorder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct recorder r;

static int set_up(void **state) {
    (void)state;
    recorder_init(&r);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    recorder_fini(&r);
    return 0;
}

static uint64_t tally_of(uint32_t id, enum tally t) {
    return atomic_load(&recorder_find(&r, id)->tallies[t]);
}

static uint32_t bucket_of(uint32_t id, enum measure m, uint64_t us) {
    unsigned i = histogram_index(us);
    const struct bucket_block *b = recorder_find(&r, id)->blocks[m][i / HISTOGRAM_BLOCK];
    return b ? (uint32_t)(atomic_load(&b->pairs[i % HISTOGRAM_BLOCK / 2]) >> i % 2 * 32) : 0;
}

static void all_of_a_sample_is_counted(void **state) {
    (void)state;
    const uint32_t ids[] = {7, SERIES_NONE, 300};
    struct sample s = {.us = {4000, 3000, SAMPLE_NONE, 0}, .bytes_in = 10, .bytes_out = 200, .tries = 2, .retries = 1};
    recorder_add(&r, ids, 3, &s);
    s.error = FAILURE_connect_failed;
    s.us[MEASURE_CONNECT] = 55;
    recorder_add(&r, ids + 2, 1, &s);
    for (int i = 0; i < 2; i++) {
        uint32_t id = i ? 300 : 7, n = i ? 2 : 1;
        assert_int_equal(tally_of(id, TALLY_EXCHANGES), n);
        assert_int_equal(tally_of(id, TALLY_ERRORS), n - 1);
        assert_int_equal(tally_of(id, TALLY_TRIES), 2 * n);
        assert_int_equal(tally_of(id, TALLY_RETRIES), n);
        assert_int_equal(tally_of(id, TALLY_BYTES_IN), 10 * n);
        assert_int_equal(tally_of(id, TALLY_BYTES_OUT), 200 * n);
        assert_int_equal(tally_of(id, TALLY_SUM_US + MEASURE_TOTAL), 4000 * n);
        assert_int_equal(tally_of(id, TALLY_SUM_US + MEASURE_CONNECT), i ? 55 : 0);
        assert_int_equal(bucket_of(id, MEASURE_TOTAL, 4000), n);
        assert_int_equal(bucket_of(id, MEASURE_FIRST_BYTE, 3000), n);
        assert_int_equal(bucket_of(id, MEASURE_CONNECT, 55), n - 1);
        assert_int_equal(bucket_of(id, MEASURE_QUEUE, 0), n);
        assert_int_equal(bucket_of(id, MEASURE_TOTAL, 4100), 0);
        assert_int_equal(atomic_load(&recorder_find(&r, id)->version), n);
    }
    assert_null(atomic_load(&recorder_find(&r, 7)->causes));
    assert_int_equal(atomic_load(&atomic_load(&recorder_find(&r, 300)->causes)[FAILURE_connect_failed]), 1);
}

static void bytes_that_come_later(void **state) {
    (void)state;
    recorder_add_bytes(&r, SERIES_NONE, 1, 1);
    assert_int_equal(atomic_load(&r.bytes), RECORDER_CHUNKS * sizeof *r.chunks);
    recorder_add_bytes(&r, 1, 5, 6);
    recorder_add_bytes(&r, 1, 50, 60);
    assert_int_equal(tally_of(1, TALLY_BYTES_IN), 55);
    assert_int_equal(tally_of(1, TALLY_BYTES_OUT), 66);
    assert_int_equal(tally_of(1, TALLY_EXCHANGES), 0);
    assert_int_equal(atomic_load(&recorder_find(&r, 1)->version), 2);
}

/* A pointer for who had no traffic; nothing new for who had such traffic before. */
static void memory_follows_traffic(void **state) {
    (void)state;
    struct sample s = {.us = {4000, 3000, 100, SAMPLE_NONE}, .tries = 1};
    uint32_t id = 511;
    recorder_add(&r, &id, 1, &s);
    assert_null(recorder_find(&r, 510));
    assert_null(recorder_find(&r, 255)); /* not even its chunk is there */
    assert_null(recorder_find(&r, SERIES_MAX - 1));
    size_t before = atomic_load(&r.bytes);
    for (int i = 0; i < 100000; i++) recorder_add(&r, &id, 1, &s);
    assert_int_equal(atomic_load(&r.bytes), before);
    for (id = 0; id < 100; id++) recorder_add(&r, &id, 1, &s);
    assert_true(atomic_load(&r.bytes) > before + 100 * sizeof(struct shard));
    id = SERIES_MAX - 1;
    recorder_add(&r, &id, 1, &s);
    assert_int_equal(tally_of(id, TALLY_EXCHANGES), 1);
    assert_int_equal((uintptr_t)recorder_find(&r, 3) % LG_CACHE_LINE, 0);
}

static void what_is_now(void **state) {
    (void)state;
    recorder_move(&r, SERIES_NONE, GAUGE_IDLE, 1);
    assert_int_equal(atomic_load(&r.bytes), RECORDER_CHUNKS * sizeof *r.chunks);
    for (int i = 0; i < 3; i++) recorder_move(&r, 9, GAUGE_IDLE, 1);
    recorder_move(&r, 9, GAUGE_ACTIVE, 1);
    recorder_move(&r, 9, GAUGE_IDLE, -1);
    const struct shard *s = recorder_find(&r, 9);
    assert_int_equal(atomic_load(&s->gauges[GAUGE_IDLE]), 2);
    assert_int_equal(atomic_load(&s->gauges[GAUGE_ACTIVE]), 1);
    assert_int_equal(atomic_load(&s->version), 0); /* nothing for a tick to take */
}

static void what_is_an_error(void **state) {
    (void)state;
    static const struct {
        enum failure cause;
        unsigned status;
        enum failure error;
    } rows[] = {
        {FAILURE_NONE, 200, FAILURE_NONE},
        {FAILURE_NONE, 499, FAILURE_NONE},
        {FAILURE_NONE, 0, FAILURE_NONE},
        {FAILURE_NONE, 500, FAILURE_bad_status},
        {FAILURE_NONE, 503, FAILURE_bad_status},
        {FAILURE_connect_failed, 502, FAILURE_connect_failed},
        {FAILURE_response_cut, 200, FAILURE_response_cut},
        {FAILURE_no_server, 503, FAILURE_no_server},
        {FAILURE_client_closed, 0, FAILURE_NONE},
        {FAILURE_client_closed, 500, FAILURE_bad_status},
        {FAILURE_bad_version, 505, FAILURE_bad_version},
        {FAILURE_client_timeout, 408, FAILURE_NONE},
    };
    for (size_t i = 0; i < LG_COUNT(rows); i++)
        assert_int_equal(sample_error(rows[i].cause, rows[i].status), rows[i].error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_of_a_sample_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_that_come_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_follows_traffic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_now, set_up, tear_down),
        cmocka_unit_test(what_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
