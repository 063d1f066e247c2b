/* test_balance_rr.c: round robin: exact by weight, smooth, the same from many threads. */
#include "loomgate/backend/balance_rr.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SERVERS = 8, THREADS = 4 };

static struct server servers[SERVERS];
static struct balance_member members[SERVERS];
static struct balancer *balancer;

static void make(const uint32_t *weights, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        servers[i] = (struct server){.id = i};
        members[i] = (struct balance_member){.server = &servers[i], .weight = weights[i]};
    }
    balancer = balance_round_robin.make(members, count, NULL);
}

#define MAKE(...) make((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static int tear_down(void **state) {
    (void)state;
    balancer->ops->free(balancer);
    return 0;
}

static const struct balance_member *pick(const struct tried *tried) {
    return balancer->ops->pick(balancer, &(struct pick_request){.tried = tried});
}

static void set_admin(unsigned i, enum server_admin admin) {
    atomic_store(&servers[i].shared.admin, admin);
}

/* Letters of the members picked, a first. */
static void assert_turns(const char *expected) {
    char got[64] = "";
    for (size_t i = 0; expected[i]; i++) {
        const struct balance_member *m = pick(NULL);
        got[i] = m ? (char)('a' + (m - members)) : '-';
    }
    assert_string_equal(got, expected);
}

static void equal_servers_take_turns(void **state) {
    (void)state;
    MAKE(1, 1, 1);
    assert_turns("abcabcabc");
}

static void weights_are_spread_evenly(void **state) {
    (void)state;
    MAKE(1, 1, 2);
    assert_turns("cabccabc");
}

static void weights_with_a_common_factor_are_reduced(void **state) {
    (void)state;
    MAKE(100, 200);
    assert_turns("babbab");
}

/* The light ones have their turn in the middle of the period, not at its end. */
static void a_heavy_server_surrounds_the_light_ones(void **state) {
    (void)state;
    MAKE(5, 1, 1);
    assert_turns("aaabcaaaaabcaa");
}

static void assert_counts(uint64_t picks, const unsigned *got, const uint32_t *weights, uint32_t count) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += weights[i];
    for (uint32_t i = 0; i < count; i++) {
        uint64_t exact = picks * weights[i] / sum;
        if (got[i] + 1 < exact || got[i] > exact + 1)
            fail_msg("server %u: %u of %llu, not %llu", i, got[i], (unsigned long long)picks,
                     (unsigned long long)exact);
    }
}

static void three_thousand_are_exact(void **state) {
    (void)state;
    unsigned got[3] = {0};
    MAKE(1, 1, 2);
    for (unsigned i = 0; i < 3000; i++) got[pick(NULL) - members]++;
    assert_int_equal(got[0], 750);
    assert_int_equal(got[1], 750);
    assert_int_equal(got[2], 1500);
}

/* At every moment nobody is far from the share. */
static void odd_weights_are_exact_and_smooth(void **state) {
    (void)state;
    static const uint32_t weights[] = {1, 7, 13, 256, 99};
    unsigned got[5] = {0};
    make(weights, 5);
    for (unsigned n = 1; n <= 376 * 3; n++) {
        got[pick(NULL) - members]++;
        for (unsigned i = 0; i < 5; i++) {
            double share = (double)n * weights[i] / 376;
            assert_true((double)got[i] > share - 2.5 && (double)got[i] < share + 2.5);
        }
        if (n % 376 == 0)
            for (unsigned i = 0; i < 5; i++) assert_int_equal(got[i], weights[i] * (n / 376));
    }
}

static unsigned counts[THREADS][SERVERS];

static void *pick_many(void *arg) {
    unsigned *got = arg;
    for (unsigned i = 0; i < 3000; i++) got[pick(NULL) - members]++;
    return NULL;
}

static void threads_share_one_schedule(void **state) {
    (void)state;
    static const uint32_t weights[] = {1, 1, 2};
    pthread_t threads[THREADS];
    unsigned got[3] = {0};
    make(weights, 3);
    memset(counts, 0, sizeof counts);
    for (unsigned i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, pick_many, counts[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        for (unsigned k = 0; k < 3; k++) got[k] += counts[i][k];
    }
    assert_counts(THREADS * 3000, got, weights, 3);
}

static void a_weight_of_zero_takes_nothing(void **state) {
    (void)state;
    MAKE(1, 0, 1);
    assert_turns("acacac");
}

static void nobody_to_pick(void **state) {
    (void)state;
    MAKE(0, 0);
    assert_null(pick(NULL));
    tear_down(NULL);
    make(NULL, 0);
    assert_null(pick(NULL));
}

static void a_server_in_maintenance_leaves_its_turn(void **state) {
    (void)state;
    MAKE(1, 1, 1);
    set_admin(1, SERVER_MAINT);
    for (unsigned i = 0; i < 30; i++) assert_ptr_not_equal(pick(NULL), &members[1]);
    set_admin(0, SERVER_MAINT);
    set_admin(2, SERVER_MAINT);
    assert_null(pick(NULL));
    set_admin(1, SERVER_READY);
    assert_ptr_equal(pick(NULL), &members[1]);
}

static void tried_ones_are_left_out(void **state) {
    (void)state;
    MAKE(1, 1, 1);
    struct tried tried = {.v = {&servers[0], &servers[2]}, .count = 2};
    for (unsigned i = 0; i < 10; i++) assert_ptr_equal(pick(&tried), &members[1]);
    tried.v[tried.count++] = &servers[1];
    assert_null(pick(&tried));
    tried.count = 0;
    assert_non_null(pick(&tried));
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(equal_servers_take_turns),
        TEST(weights_are_spread_evenly),
        TEST(weights_with_a_common_factor_are_reduced),
        TEST(a_heavy_server_surrounds_the_light_ones),
        TEST(three_thousand_are_exact),
        TEST(odd_weights_are_exact_and_smooth),
        TEST(threads_share_one_schedule),
        TEST(a_weight_of_zero_takes_nothing),
        TEST(nobody_to_pick),
        TEST(a_server_in_maintenance_leaves_its_turn),
        TEST(tried_ones_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
