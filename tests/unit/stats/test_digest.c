/* test_digest.c: what is packed comes out again, alone and merged; nothing is larger than it may be. */
#include "loomgate/stats/digest.h"

#include "../../support/random.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct digest_sum want, got;
static uint8_t room[DIGEST_MAX];

static void forget(struct digest_sum *sum) {
    memset(sum, 0, sizeof *sum);
}

static struct digest *pack(const struct digest_sum *sum) {
    struct digest_writer w;
    digest_begin(&w, room, sum->tallies);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) digest_put(&w, i, sum->buckets[m][i]);
        digest_end_measure(&w);
    }
    assert_true((size_t)(w.at - room) <= sizeof room);
    return digest_finish(&w);
}

static void assert_same(void) {
    assert_memory_equal(got.tallies, want.tallies, sizeof want.tallies);
    assert_memory_equal(got.buckets, want.buckets, sizeof want.buckets);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        unsigned end = HISTOGRAM_BUCKETS;
        while (end && !want.buckets[m][end - 1]) end--;
        assert_int_equal(got.end[m], end);
    }
}

static void assert_round_trip(void) {
    struct digest *d = pack(&want);
    digest_sum_clear(&got);
    digest_add_to(d, &got);
    assert_same();
    free(d);
}

static void edges(void **state) {
    (void)state;
    static const unsigned places[] = {0, 1, 13, 14, 15, 16, 28, 143, 144, 2046, 2047};
    static const uint64_t counts[] = {1, 14, 15, 16, 17, 143, 144, UINT32_MAX, UINT64_MAX};
    forget(&want);
    assert_round_trip();
    for (size_t p = 0; p < LG_COUNT(places); p++)
        for (size_t c = 0; c < LG_COUNT(counts); c++) {
            forget(&want);
            want.tallies[c] = counts[c];
            want.buckets[p % MEASURE_COUNT][places[p]] = counts[c];
            assert_round_trip();
            want.buckets[p % MEASURE_COUNT][2047] = 3;
            assert_round_trip();
        }
}

static void the_largest(void **state) {
    (void)state;
    memset(&want, 0xff, sizeof want);
    assert_round_trip();
}

static void fill(struct digest_sum *sum, struct random *r) {
    forget(sum);
    uint32_t sparse = 1 + random_below(r, 60);
    for (unsigned t = 0; t < TALLY_COUNT; t++) sum->tallies[t] = random_next(r) >> (2 + random_below(r, 62));
    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        for (unsigned i = random_below(r, 100); i < HISTOGRAM_BUCKETS; i += 1 + random_below(r, sparse))
            sum->buckets[m][i] = random_next(r) >> (32 + random_below(r, 32));
}

static void merged_is_the_sum(void **state) {
    (void)state;
    static struct digest_sum a, b;
    struct random r = {5};
    for (int round = 0; round < 200; round++) {
        fill(&a, &r);
        fill(&b, &r);
        if (round % 10 == 0) forget(&b);
        struct digest *da = pack(&a), *db = pack(&b), *both = digest_merge(da, db, room);
        forget(&want);
        for (unsigned t = 0; t < TALLY_COUNT; t++) want.tallies[t] = a.tallies[t] + b.tallies[t];
        for (unsigned m = 0; m < MEASURE_COUNT; m++)
            for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) want.buckets[m][i] = a.buckets[m][i] + b.buckets[m][i];
        digest_sum_clear(&got);
        digest_add_to(both, &got);
        assert_same();
        digest_sum_clear(&got);
        digest_add_to(db, &got);
        digest_add_to(da, &got);
        assert_same();
        assert_true(digest_heap_bytes(both) >= both->size + sizeof *both && digest_heap_bytes(both) % 16 == 0);
        free(da);
        free(db);
        free(both);
    }
}

/* A bucket that a handful of exchanges are in costs an octet: that keeps a thousand servers small. */
static void it_is_compact(void **state) {
    (void)state;
    forget(&want);
    for (unsigned i = 0; i < 100; i++) want.buckets[MEASURE_TOTAL][400 + 7 * i % 900] = 1 + i % 14;
    struct digest *d = pack(&want);
    assert_true(d->size <= TALLY_COUNT + MEASURE_COUNT + 100 + 4);
    free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges),
        cmocka_unit_test(the_largest),
        cmocka_unit_test(merged_is_the_sum),
        cmocka_unit_test(it_is_compact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
