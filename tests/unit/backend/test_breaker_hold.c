/* test_breaker_hold.c: a breaker that an operator holds: no failure, no success and no time moves it. */
#include "breaker_bed.h"

static void hold(enum breaker_state state) {
    breaker_hold(&breaker, state, now_us, &change);
    assert_true(breaker_is_held(&breaker));
    assert_int_equal(state_now(), state);
}

static void release(void) {
    breaker_release(&breaker, now_us);
    assert_false(breaker_is_held(&breaker));
}

static void held_closed_it_never_opens(void **state) {
    (void)state;
    struct breaker_ticket before = enter();
    hold(BREAKER_CLOSED);
    assert_false(change.happened);
    leave(before, BREAKER_FAILED); /* what ran before is counted on */
    pass(100, BREAKER_FAILED);
    struct breaker_ticket t = enter();
    leave(t, BREAKER_SUCCEEDED);
    revoke(t);
    assert_int_equal(state_now(), BREAKER_CLOSED);
    assert_window(102, 102);
    assert_int_equal(breaker.trips, 0);
    assert_int_equal(breaker_wait_us(&breaker, now_us), 0);
}

static void released_closed_the_next_failure_counts(void **state) {
    (void)state;
    hold(BREAKER_CLOSED);
    pass(100, BREAKER_FAILED);
    release();
    assert_int_equal(state_now(), BREAKER_CLOSED);
    pass(1, BREAKER_SUCCEEDED);
    assert_int_equal(state_now(), BREAKER_CLOSED);
    pass(1, BREAKER_FAILED);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
}

static void held_open_it_lets_nothing_through(void **state) {
    (void)state;
    hold(BREAKER_OPEN);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    assert_int_equal(breaker.trips, 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_refused();
        now_us += 3600 * SECOND;
    }
    now_us += 1000ULL * 8760 * 3600 * SECOND;
    assert_refused();
    assert_int_equal(breaker_wait_us(&breaker, now_us), 0); /* nobody knows */
}

static void released_open_it_probes(void **state) {
    (void)state;
    hold(BREAKER_OPEN);
    now_us += 7 * SECOND;
    release();
    assert_int_equal(state_now(), BREAKER_OPEN);
    struct breaker_ticket t = enter();
    assert_told(BREAKER_OPEN, BREAKER_HALF_OPEN);
    assert_true(t.is_probe);
    leave(t, BREAKER_FAILED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_OPEN);
    assert_int_equal(breaker_wait_us(&breaker, now_us), 10 * SECOND);
}

static void with_observe_what_passes_is_counted(void **state) {
    (void)state;
    settings.observe = true;
    hold(BREAKER_OPEN);
    pass(30, BREAKER_FAILED);
    assert_window(30, 30);
    assert_int_equal(state_now(), BREAKER_OPEN);
}

static void from_any_state(void **state) {
    (void)state;
    open_it();
    hold(BREAKER_CLOSED);
    assert_told(BREAKER_OPEN, BREAKER_CLOSED);
    pass(1, BREAKER_FAILED);
    hold(BREAKER_OPEN);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    hold(BREAKER_OPEN);
    assert_false(change.happened);
    breaker_reset(&breaker, &window, now_us, &change);
    assert_false(breaker_is_held(&breaker));
    struct breaker_ticket probe = half_open_it();
    hold(BREAKER_CLOSED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_CLOSED);
    leave(probe, BREAKER_FAILED); /* of another time */
    assert_int_equal(state_now(), BREAKER_CLOSED);
    breaker_trip(&breaker, now_us, UINT64_MAX, &change);
    assert_false(breaker_is_held(&breaker)); /* as good as for ever, but not held */
    breaker_release(&breaker, now_us);
    assert_refused();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(held_closed_it_never_opens),          TEST(released_closed_the_next_failure_counts),
        TEST(held_open_it_lets_nothing_through),   TEST(released_open_it_probes),
        TEST(with_observe_what_passes_is_counted), TEST(from_any_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
