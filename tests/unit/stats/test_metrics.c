/* test_metrics.c: counters of several shards and their sum; the table is complete. */
#include "loomgate/stats/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_table(void **state) {
    (void)state;
    for (int m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = metric_get((enum metric)m);
        size_t n = strlen(row->name);
        assert_true(strlen(row->help) > 10);
        /* A counter's name says so (the convention of Prometheus), a gauge's does not. */
        assert_int_equal(row->kind == METRIC_COUNTER, n > 6 && strcmp(row->name + n - 6, "_total") == 0);
        for (int k = 0; k < m; k++) assert_string_not_equal(row->name, metric_get((enum metric)k)->name);
    }
    assert_string_equal(metric_get(METRIC_bytes_in_total)->name, "bytes_in_total");
}

static void test_sum(void **state) {
    (void)state;
    static struct metrics a, b;
    struct metrics *const shards[] = {&a, &b};
    assert_int_equal((uintptr_t)&a % 64, 0);
    assert_int_equal(sizeof a % 64, 0);
    metrics_add(&a, METRIC_connections_active, 5);
    metrics_add(&b, METRIC_connections_active, 7);
    metrics_sub(&b, METRIC_connections_active, 3);
    metrics_add(&b, METRIC_bytes_in_total, UINT64_C(1) << 40);
    assert_int_equal(metrics_sum(shards, 2, METRIC_connections_active), 9);
    assert_int_equal(metrics_sum(shards, 1, METRIC_connections_active), 5);
    assert_int_equal(metrics_sum(shards, 2, METRIC_bytes_in_total), UINT64_C(1) << 40);
    assert_int_equal(metrics_sum(shards, 2, METRIC_bytes_out_total), 0);
    /* A gauge may rise in one shard and fall in another: the sum counts. */
    metrics_sub(&b, METRIC_connections_active, 8);
    assert_int_equal(metrics_sum(shards, 2, METRIC_connections_active), 1);
}

static void *count_up(void *shard) {
    for (int i = 0; i < 100000; i++) metrics_add(shard, METRIC_exchanges_total, 1);
    return NULL;
}

static void test_writers_and_a_reader(void **state) {
    (void)state;
    static struct metrics shard[2];
    struct metrics *const shards[] = {&shard[0], &shard[1]};
    pthread_t thread[2];
    uint64_t last = 0;
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, count_up, &shard[i]), 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = metrics_sum(shards, 2, METRIC_exchanges_total);
        assert_true(now >= last && now <= 200000);
        last = now;
    }
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    assert_int_equal(metrics_sum(shards, 2, METRIC_exchanges_total), 200000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_writers_and_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
