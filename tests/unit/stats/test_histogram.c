/* test_histogram.c: every duration is in the right bucket and told within 1 %; percentiles against the sorted sample.
 */
#include "stats_bed.h"

#include "loomgate/base/macros.h"

#include <string.h>

static void buckets_follow_each_other(void **state) {
    (void)state;
    uint64_t low = 0; /* the least duration in bucket i */
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t width = i < 2 * HISTOGRAM_BLOCK ? 1 : UINT64_C(1) << (i / HISTOGRAM_BLOCK - 1);
        assert_int_equal(histogram_index(low), i);
        assert_int_equal(histogram_index(low + width - 1), i);
        assert_true(low < histogram_block_limit_us(i / HISTOGRAM_BLOCK));
        low += width;
        if (i % HISTOGRAM_BLOCK == HISTOGRAM_BLOCK - 1)
            assert_int_equal(low, histogram_block_limit_us(i / HISTOGRAM_BLOCK));
    }
    assert_int_equal(low, HISTOGRAM_MAX_US + 1);
    assert_int_equal(histogram_index(HISTOGRAM_MAX_US), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_index(HISTOGRAM_MAX_US + 1), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_index(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

/* The ends of each bucket are the worst. */
static void no_duration_is_told_wrong_by_one_percent(void **state) {
    (void)state;
    for (unsigned i = 1; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t width = i < 2 * HISTOGRAM_BLOCK ? 1 : UINT64_C(1) << (i / HISTOGRAM_BLOCK - 1);
        uint64_t low = i < 2 * HISTOGRAM_BLOCK ? i : (i % HISTOGRAM_BLOCK + HISTOGRAM_BLOCK) * width;
        double value = histogram_value(i);
        assert_int_equal(histogram_index(low), i);
        assert_true(value - (double)low <= (double)low / 128 + 1e-6);
        assert_true((double)(low + width - 1) - value <= (double)low / 128 + 1e-6);
        assert_int_equal(histogram_index((uint64_t)value), i);
    }
    assert_true(histogram_value(0) == 0);
}

static void known_distributions(void **state) {
    (void)state;
    enum { N = 50000 };
    static uint64_t counts[HISTOGRAM_BUCKETS], sample[N];
    struct random r = {77};
    for (size_t k = 0; k < LG_COUNT(distributions); k++) {
        struct histogram_summary s;
        memset(counts, 0, sizeof counts);
        for (size_t i = 0; i < N; i++) {
            sample[i] = draw_us(&distributions[k], &r);
            counts[histogram_index(sample[i])]++;
        }
        histogram_summarise(counts, HISTOGRAM_BUCKETS, &s);
        assert_summary(distributions[k].name, &s, sample, N);
    }
}

/* Samples of every small size: where a percentile falls between two durations, the nearest rank counts. */
static void small_samples(void **state) {
    (void)state;
    static uint64_t counts[HISTOGRAM_BUCKETS], sample[1100];
    struct random r = {3};
    struct histogram_summary s;
    for (size_t n = 1; n <= LG_COUNT(sample); n += n < 30 ? 1 : 107) {
        memset(counts, 0, sizeof counts);
        for (size_t i = 0; i < n; i++) counts[histogram_index(sample[i] = draw_us(&distributions[5], &r))]++;
        histogram_summarise(counts, HISTOGRAM_BUCKETS, &s);
        assert_summary("a small sample", &s, sample, n);
    }
}

static void an_empty_one_and_a_cut_one(void **state) {
    (void)state;
    uint64_t counts[HISTOGRAM_BUCKETS] = {0};
    struct histogram_summary s;
    histogram_summarise(counts, 0, &s);
    assert_true(s.count == 0 && s.max_us == 0);
    counts[5] = UINT64_MAX / 2000; /* no overflow on the way to a rank */
    counts[9] = 1;
    counts[11] = 3;
    histogram_summarise(counts, 10, &s);
    assert_int_equal(s.count, UINT64_MAX / 2000 + 1);
    assert_true(s.p50_us == 5 && s.p999_us == 5 && s.max_us == 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_follow_each_other),  cmocka_unit_test(no_duration_is_told_wrong_by_one_percent),
        cmocka_unit_test(known_distributions),        cmocka_unit_test(small_samples),
        cmocka_unit_test(an_empty_one_and_a_cut_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
