/* test_breaker_window.c: what a breaker counts: old slices forgotten, clocks that differ, numbers that wrap around,
 * successes that are revoked. */
#include "breaker_bed.h"

static void old_slices_are_forgotten(void **state) {
    (void)state;
    pass(10, BREAKER_FAILED);
    now_us = START + SECOND;
    pass(5, BREAKER_SUCCEEDED);
    now_us = START + 10 * SECOND - 1;
    assert_window(15, 10);
    now_us = START + 10 * SECOND;
    assert_window(5, 0);
    now_us = START + 11 * SECOND - 1;
    assert_window(5, 0);
    now_us = START + 11 * SECOND;
    assert_window(0, 0);
    pass(19, BREAKER_FAILED); /* with the ten it would have opened */
    assert_int_equal(state_now(), BREAKER_CLOSED);
    for (uint64_t rounds = 1; rounds < 100; rounds++) { /* nor does the ring bring them back */
        now_us = START + 11 * SECOND + rounds * 12 * SECOND;
        assert_window(0, 0);
    }
}

static void slices_of_all_ages_add_up(void **state) {
    (void)state;
    settings.min_requests = 1000000;
    for (unsigned i = 0; i < 100; i++) {
        now_us = START + i * SECOND + i * 1000;
        pass(i, BREAKER_FAILED);
        uint32_t sum = 0;
        for (unsigned k = i < 9 ? 0 : i - 9; k <= i; k++) sum += k;
        assert_window(sum, sum);
    }
}

/* The clocks of two threads: what the one ahead has counted is seen by the other, and neither undoes the other's. */
static void clocks_may_differ(void **state) {
    (void)state;
    now_us = START + 2 * SECOND;
    pass(10, BREAKER_FAILED);
    now_us = START;
    pass(9, BREAKER_FAILED);
    assert_window(19, 19);
    pass(1, BREAKER_FAILED);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    assert_int_equal(change.requests, 20);
}

static void the_shortest_window_bears_late_clocks(void **state) {
    (void)state;
    settings.window_us = 1000; /* a slice of 100 us */
    pass(5, BREAKER_SUCCEEDED);
    now_us -= 1200; /* the same slot, one round ago */
    pass(5, BREAKER_FAILED);
    now_us += 1200;
    assert_window(10, 5);
}

static void the_clock_may_begin_at_nothing(void **state) {
    (void)state;
    now_us = 0;
    pass(10, BREAKER_FAILED);
    assert_window(10, 10);
    now_us = 9999999;
    assert_window(10, 10);
    now_us = 10 * SECOND;
    assert_window(0, 0);
}

/* A slice's number is told in 20 bits. */
static void numbers_wrap_around(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 24; i++) {
        now_us = ((1 << 20) - 12 + i) * SECOND;
        pass(1, BREAKER_SUCCEEDED);
        assert_window(i < 10 ? (uint32_t)i + 1 : 10, 0);
    }
    set_up(state); /* a fresh window, with the highest number of all */
    now_us = ((1 << 20) - 1) * SECOND;
    pass(3, BREAKER_SUCCEEDED);
    assert_window(3, 0);
}

static void a_full_slice_keeps_its_rate(void **state) {
    (void)state;
    settings.min_requests = 1000000;
    settings.error_rate = 0.9;
    atomic_store(&window.slices[777 % 12], 777ULL << 44 | 0x3ffffeULL << 22 | 7);
    pass(3, BREAKER_FAILED);
    assert_window(0x3fffff, 8);
    assert_int_equal(state_now(), BREAKER_CLOSED);
}

/* --- revoked ---------------------------------------------------------------------------------------------------- */

static void a_revoked_success_is_a_failure(void **state) {
    (void)state;
    struct breaker_ticket t[20];
    for (unsigned i = 0; i < 20; i++) leave(t[i] = enter(), BREAKER_SUCCEEDED);
    for (unsigned i = 0; i < 9; i++) revoke(t[i]);
    assert_window(20, 9);
    assert_false(change.happened);
    revoke(t[9]);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    assert_int_equal(change.requests, 20);
    assert_int_equal(change.errors, 10);
}

static void a_revoked_success_of_long_ago_is_a_request(void **state) {
    (void)state;
    struct breaker_ticket t[20];
    for (unsigned i = 0; i < 20; i++) leave(t[i] = enter(), BREAKER_SUCCEEDED);
    now_us += 60 * SECOND;
    for (unsigned i = 0; i < 19; i++) revoke(t[i]);
    assert_window(19, 19);
    revoke(t[19]);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
}

static void a_revoked_probe_opens_it_again(void **state) {
    (void)state;
    struct breaker_ticket t = half_open_it();
    leave(t, BREAKER_SUCCEEDED);
    revoke(t);
    assert_told(BREAKER_HALF_OPEN, BREAKER_OPEN);
    assert_int_equal(change.open_us, 10 * SECOND);
    revoke(t);
    assert_false(change.happened);
}

static void a_probe_revoked_after_it_closed_says_nothing(void **state) {
    (void)state;
    struct breaker_ticket t = half_open_it();
    leave(t, BREAKER_SUCCEEDED);
    pass(2, BREAKER_SUCCEEDED);
    assert_int_equal(state_now(), BREAKER_CLOSED);
    revoke(t);
    assert_int_equal(state_now(), BREAKER_CLOSED);
    assert_window(0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(old_slices_are_forgotten),
        TEST(slices_of_all_ages_add_up),
        TEST(clocks_may_differ),
        TEST(the_shortest_window_bears_late_clocks),
        TEST(the_clock_may_begin_at_nothing),
        TEST(numbers_wrap_around),
        TEST(a_full_slice_keeps_its_rate),
        TEST(a_revoked_success_is_a_failure),
        TEST(a_revoked_success_of_long_ago_is_a_request),
        TEST(a_revoked_probe_opens_it_again),
        TEST(a_probe_revoked_after_it_closed_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
