/* test_balance_random.c: two choices: by weight, less loaded first, shorter queues than one choice has (runs under
 * ThreadSanitizer). */
#include "loomgate/backend/balance_random.h"

#include "balance_bed.h"

static void weights_decide_while_all_are_idle(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(1, 2, 5));
    pick_idle(80000);
    assert_share(0, 12, 13);
    assert_share(1, 24.4, 25.6);
    assert_share(2, 61.8, 63.2);
}

static void two_servers_share_by_weight(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(1, 3));
    pick_idle(40000);
    assert_share(0, 24, 26);
}

/* Of two the less loaded one, always: both are drawn. */
static void the_less_loaded_is_picked(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(1, 4));
    set_active(0, 2);
    set_active(1, 5);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
    set_active(1, 12);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[0]);
}

/* The busiest of ten is picked only when it meets one as busy: never. */
static void the_busiest_is_never_picked(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    set_active(7, 1);
    pick_idle(20000);
    assert_int_equal(got[7], 0);
    for (unsigned i = 0; i < 10; i++)
        if (i != 7) assert_share(i, 10, 12.5);
}

static void weights_decide_under_load(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(1, 1, 2, 4, 8));
    pick_busy(320, 60000);
    assert_share(0, 5.5, 7);
    assert_share(1, 5.5, 7);
    assert_share(2, 11.5, 13.5);
    assert_share(3, 24, 26);
    assert_share(4, 48.5, 51.5);
}

/* 16 balls into 16 bins, many times: the fullest of one choice has about 3, of two choices about 2. */
static void the_longest_queue_is_short(void **state) {
    (void)state;
    enum { ROUNDS = 1000, BINS = 16 };
    unsigned one = 0, two = 0;
    make(&balance_random_two, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned bins[BINS] = {0}, most = 0;
        uint32_t longest = 0;
        for (unsigned i = 0; i < BINS; i++) {
            unsigned bin = random_below(&dice, BINS);
            if (++bins[bin] > most) most = bins[bin];
            assert_true(server_acquire(pick_but(NULL)->server, 0));
        }
        for (unsigned i = 0; i < BINS; i++) {
            uint32_t active = atomic_load(&servers[i].shared.active);
            if (active > longest) longest = active;
            set_active(i, 0);
        }
        one += most;
        two += longest;
    }
    assert_true(one > ROUNDS * 27 / 10);
    assert_true(two < ROUNDS * 22 / 10);
}

/* Where most of the weight cannot be picked, the rest shares by weight all the same. */
static void the_rest_shares_by_weight(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(256, 1, 2, 256));
    set_admin(0, SERVER_MAINT);
    set_admin(3, SERVER_MAINT);
    pick_idle(30000);
    assert_share(1, 32, 34.7);
}

static void ramps_are_by_weight(void **state) {
    (void)state;
    check_idle_shares(&balance_random_two);
}

static void ramps_decide_under_load(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(1, 1, 2));
    set_share(0, 64);
    set_share(2, 128);
    pick_busy(360, 60000);
    assert_parts(1.5, WEIGHTS(1, 4, 4));
    memset(got, 0, sizeof got);
    now_us += 192000000;
    pick_busy(320, 60000);
    assert_parts(1, WEIGHTS(1, 1, 2));
}

static void many_ramp_at_a_time(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    for (unsigned i = 0; i < 12; i++) set_share(i, i < 6 ? 16 : 32);
    pick_idle(60000);
    assert_parts(0.6, WEIGHTS(1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2));
}

static void who_may_be_picked(void **state) {
    (void)state;
    check_who_may_be_picked(&balance_random_two);
}

static void threads_may_pick_at_a_time(void **state) {
    (void)state;
    make(&balance_random_two, WEIGHTS(1, 1, 2));
    pick_from_threads(ramp_now_and_then);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(weights_decide_while_all_are_idle),
        TEST(two_servers_share_by_weight),
        TEST(the_less_loaded_is_picked),
        TEST(the_busiest_is_never_picked),
        TEST(weights_decide_under_load),
        TEST(the_longest_queue_is_short),
        TEST(the_rest_shares_by_weight),
        TEST(ramps_are_by_weight),
        TEST(ramps_decide_under_load),
        TEST(many_ramp_at_a_time),
        TEST(who_may_be_picked),
        TEST(threads_may_pick_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
