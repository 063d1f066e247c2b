/* test_breaker.c: the circuit breaker: each transition of its picture, its probes, and what comes too late. */
#include "breaker_bed.h"

/* --- closed ----------------------------------------------------------------------------------------------------- */

static void it_opens_at_min_requests(void **state) {
    (void)state;
    pass(19, BREAKER_FAILED);
    assert_false(change.happened);
    assert_int_equal(state_now(), BREAKER_CLOSED);
    assert_null(breaker_reason_name(&breaker));
    pass(1, BREAKER_FAILED);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    assert_int_equal(change.requests, 20);
    assert_int_equal(change.errors, 20);
    assert_int_equal(change.open_us, 5 * SECOND);
    assert_int_equal(breaker.trips, 1);
    assert_string_equal(breaker_reason_name(&breaker), "error_rate");
    assert_refused();
}

static void it_opens_at_the_error_rate(void **state) {
    (void)state;
    pass(51, BREAKER_SUCCEEDED);
    pass(50, BREAKER_FAILED); /* 49.5 % */
    assert_false(change.happened);
    pass(1, BREAKER_FAILED);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    assert_int_equal(change.requests, 102);
    assert_int_equal(change.errors, 51);
}

/* 0.07 * 100 is more than 7 in binary: what was written counts. */
static void rates_are_as_they_were_written(void **state) {
    (void)state;
    for (unsigned percent = 1; percent <= 100; percent++) {
        set_up(state);
        settings.error_rate = percent / 100.0;
        settings.min_requests = 100;
        pass(100 - percent, BREAKER_SUCCEEDED);
        pass(percent - 1, BREAKER_FAILED);
        assert_int_equal(state_now(), BREAKER_CLOSED);
        pass(1, BREAKER_FAILED);
        assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    }
}

static void what_taught_nothing_is_not_counted(void **state) {
    (void)state;
    pass(100, BREAKER_UNKNOWN);
    assert_window(0, 0);
    pass(19, BREAKER_FAILED);
    pass(100, BREAKER_UNKNOWN);
    assert_int_equal(state_now(), BREAKER_CLOSED);
    assert_window(19, 19);
}

/* --- open and half-open ----------------------------------------------------------------------------------------- */

static void open_lasts_its_time(void **state) {
    (void)state;
    now_us += 300;
    open_it();
    uint64_t opened_us = now_us;
    uint64_t wait_us = breaker_wait_us(&breaker, now_us);
    assert_in_range(wait_us, 5 * SECOND - 999, 5 * SECOND); /* to the millisecond, and no later */
    now_us = opened_us + wait_us - 1;
    assert_refused();
    assert_int_equal(breaker_wait_us(&breaker, now_us), 1);
    now_us++; /* what was announced is true */
    assert_int_equal(breaker_wait_us(&breaker, now_us), 1);
    assert_true(enter().is_probe);
    assert_told(BREAKER_OPEN, BREAKER_HALF_OPEN);
    assert_string_equal(breaker_reason_name(&breaker), "open_over");
    assert_int_equal(breaker_wait_us(&breaker, now_us), 0);
}

static void only_so_many_probes(void **state) {
    (void)state;
    struct breaker_ticket first = half_open_it();
    assert_true(enter().is_probe);
    assert_true(enter().is_probe);
    assert_refused();
    leave(first, BREAKER_SUCCEEDED);
    assert_false(change.happened);
    assert_true(enter().is_probe);
    assert_refused();
}

static void probes_that_succeed_close_it(void **state) {
    (void)state;
    struct breaker_ticket t[3] = {half_open_it(), enter(), enter()};
    leave(t[1], BREAKER_SUCCEEDED);
    leave(t[0], BREAKER_SUCCEEDED);
    assert_false(change.happened);
    leave(t[2], BREAKER_SUCCEEDED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_CLOSED);
    assert_string_equal(breaker_reason_name(&breaker), "probes_succeeded");
    assert_window(0, 0); /* 20 failures of 5 s ago are forgotten */
    pass(19, BREAKER_FAILED);
    assert_int_equal(state_now(), BREAKER_CLOSED);
    pass(1, BREAKER_FAILED);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    assert_int_equal(change.open_us, 5 * SECOND); /* as for the first time */
}

static void successes_one_after_another_close_it(void **state) {
    (void)state;
    leave(half_open_it(), BREAKER_SUCCEEDED);
    pass(1, BREAKER_SUCCEEDED);
    assert_int_equal(state_now(), BREAKER_HALF_OPEN);
    pass(1, BREAKER_SUCCEEDED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_CLOSED);
}

static void a_failed_probe_doubles_the_time(void **state) {
    (void)state;
    static const uint64_t seconds[] = {10, 20, 40, 60, 60};
    struct breaker_ticket t = half_open_it();
    for (unsigned i = 0; i < LG_COUNT(seconds); i++) {
        leave(enter(), BREAKER_SUCCEEDED); /* does not help */
        leave(t, BREAKER_FAILED);
        assert_told(BREAKER_HALF_OPEN, BREAKER_OPEN);
        assert_int_equal(change.open_us, seconds[i] * SECOND);
        assert_int_equal(change.requests, 0);
        assert_int_equal(breaker.trips, i + 2);
        assert_int_equal(breaker_wait_us(&breaker, now_us), seconds[i] * SECOND);
        now_us += seconds[i] * SECOND - 1;
        assert_refused();
        now_us++;
        t = enter();
        assert_told(BREAKER_OPEN, BREAKER_HALF_OPEN);
    }
    for (unsigned i = 0; i < 100; i++) { /* the doublings that fit into the word are no limit */
        leave(t, BREAKER_FAILED);
        assert_int_equal(change.open_us, 60 * SECOND);
        now_us += 60 * SECOND;
        t = enter();
    }
}

static void a_max_below_open_is_none(void **state) {
    (void)state;
    settings.max_open_us = SECOND;
    leave(half_open_it(), BREAKER_FAILED);
    assert_int_equal(change.open_us, 5 * SECOND);
}

static void the_longest_durations(void **state) {
    (void)state;
    const uint64_t year_us = 8760 * 3600 * SECOND;
    settings.open_us = settings.max_open_us = year_us;
    open_it();
    now_us += year_us - 1;
    assert_refused();
    now_us++;
    leave(enter(), BREAKER_FAILED);
    assert_int_equal(change.open_us, year_us);
    now_us += 100 * year_us; /* nobody came: still it is over */
    assert_int_equal(breaker_wait_us(&breaker, now_us), 1);
    enter();
    assert_told(BREAKER_OPEN, BREAKER_HALF_OPEN);
}

static void an_abandoned_probe_gives_its_place_back(void **state) {
    (void)state;
    struct breaker_ticket t = half_open_it();
    for (unsigned i = 0; i < 1000; i++) {
        struct breaker_ticket second = enter(), third = enter();
        assert_refused();
        leave(second, BREAKER_UNKNOWN);
        leave(third, BREAKER_UNKNOWN);
        leave(t, BREAKER_UNKNOWN);
        assert_false(change.happened);
        t = enter();
    }
    leave(t, BREAKER_SUCCEEDED);
    pass(2, BREAKER_SUCCEEDED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_CLOSED);
}

/* All probes are uploads that trickle. */
static void probes_without_end_do_not_keep_it_half_open(void **state) {
    (void)state;
    struct breaker_ticket slow[3] = {half_open_it(), enter(), enter()};
    now_us += 60 * SECOND;
    assert_refused();
    now_us += 2 * SECOND;
    struct breaker_ticket t = enter();
    assert_true(t.is_probe);
    assert_false(change.happened);
    enter();
    enter();
    assert_refused(); /* as many again, for as long */
    now_us += 60 * SECOND;
    assert_refused();
    for (unsigned i = 0; i < 3; i++) leave(slow[i], BREAKER_FAILED); /* too late */
    assert_int_equal(state_now(), BREAKER_HALF_OPEN);
    assert_refused();
    leave(t, BREAKER_FAILED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_OPEN);
}

/* A thread whose clock is behind does not take probes of a moment ago for very old. */
static void probes_of_the_future_are_not_overdue(void **state) {
    (void)state;
    settings.max_open_us = settings.open_us = 1000;
    half_open_it();
    enter();
    enter();
    for (unsigned i = 0; i < 3; i++, now_us -= SECOND / 2) assert_refused();
}

static void many_probes(void **state) {
    (void)state;
    settings.probes = 1000;
    struct breaker_ticket t = half_open_it();
    for (unsigned i = 1; i < 1000; i++) assert_true(enter().is_probe);
    assert_refused();
    for (unsigned i = 0; i < 999; i++) leave(t, BREAKER_SUCCEEDED); /* they are all alike */
    assert_int_equal(state_now(), BREAKER_HALF_OPEN);
    leave(t, BREAKER_SUCCEEDED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_CLOSED);
}

/* --- what comes too late ---------------------------------------------------------------------------------------- */

static void stale_tickets_say_nothing(void **state) {
    (void)state;
    struct breaker_ticket before = enter();
    struct breaker_ticket t[3] = {half_open_it(), enter(), enter()};
    leave(before, BREAKER_FAILED); /* began while it was closed */
    revoke(before);
    assert_int_equal(state_now(), BREAKER_HALF_OPEN);
    leave(t[0], BREAKER_FAILED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_OPEN);
    leave(t[1], BREAKER_SUCCEEDED);
    leave(t[2], BREAKER_FAILED);
    assert_false(change.happened);
    assert_int_equal(breaker_wait_us(&breaker, now_us), 10 * SECOND); /* doubled once, not twice */
    now_us += 10 * SECOND;
    struct breaker_ticket next = enter();
    leave(t[1], BREAKER_SUCCEEDED); /* of another half-open time: no place is given back */
    enter();
    enter();
    assert_refused();
    leave(next, BREAKER_SUCCEEDED);
    pass(2, BREAKER_SUCCEEDED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_CLOSED);
    leave(before, BREAKER_FAILED);
    leave(t[2], BREAKER_FAILED);
    assert_window(0, 0);
}

/* --- off, observe, by hand -------------------------------------------------------------------------------------- */

static void off_does_nothing(void **state) {
    (void)state;
    settings.on = false;
    for (unsigned i = 0; i < 100; i++) {
        struct breaker_ticket t = enter();
        leave(t, BREAKER_FAILED);
        revoke(t);
        assert_false(change.happened);
    }
    assert_window(0, 0);
    breaker_trip(&breaker, now_us, 5 * SECOND, &change);
    assert_false(enter().is_probe); /* also while it is open: it is not looked at */
    assert_int_equal(breaker.trips, 1);
}

static void observe_refuses_nobody_but_tells(void **state) {
    (void)state;
    settings.observe = true;
    open_it();
    for (unsigned i = 0; i < 50; i++) {
        struct breaker_ticket t = enter();
        assert_false(t.is_probe);
        leave(t, BREAKER_FAILED);
        assert_false(change.happened);
    }
    now_us += 5 * SECOND;
    struct breaker_ticket t = enter();
    assert_told(BREAKER_OPEN, BREAKER_HALF_OPEN);
    assert_true(enter().is_probe);
    assert_true(enter().is_probe);
    assert_false(enter().is_probe); /* one too many, but it may */
    leave(t, BREAKER_FAILED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_OPEN);
    now_us += 10 * SECOND;
    pass(3, BREAKER_SUCCEEDED);
    assert_told(BREAKER_HALF_OPEN, BREAKER_CLOSED);
    assert_window(0, 0);
    assert_int_equal(breaker.trips, 2);
}

static void by_hand(void **state) {
    (void)state;
    struct breaker_ticket before = enter();
    breaker_trip(&breaker, now_us, 30 * SECOND, &change);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    assert_int_equal(change.open_us, 30 * SECOND);
    breaker_trip(&breaker, now_us, 40 * SECOND, &change); /* longer: no transition */
    assert_false(change.happened);
    assert_int_equal(breaker_wait_us(&breaker, now_us), 40 * SECOND);
    assert_int_equal(breaker.trips, 1);
    breaker_reset(&breaker, &window, now_us, &change);
    assert_told(BREAKER_OPEN, BREAKER_CLOSED);
    leave(before, BREAKER_FAILED);
    assert_window(0, 0);
    pass(10, BREAKER_FAILED);
    breaker_reset(&breaker, &window, now_us, &change);
    assert_false(change.happened);
    assert_window(0, 0);
    breaker_trip(&breaker, now_us, UINT64_MAX, &change); /* as good as for ever */
    now_us += 100ULL * 8760 * 3600 * SECOND;
    assert_refused();
    breaker_reset(&breaker, &window, now_us, &change);
    assert_told(BREAKER_OPEN, BREAKER_CLOSED);
    half_open_it();
    breaker_reset(&breaker, &window, now_us, &change);
    assert_told(BREAKER_HALF_OPEN, BREAKER_CLOSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(it_opens_at_min_requests),
        TEST(it_opens_at_the_error_rate),
        TEST(rates_are_as_they_were_written),
        TEST(what_taught_nothing_is_not_counted),
        TEST(open_lasts_its_time),
        TEST(only_so_many_probes),
        TEST(probes_that_succeed_close_it),
        TEST(successes_one_after_another_close_it),
        TEST(a_failed_probe_doubles_the_time),
        TEST(a_max_below_open_is_none),
        TEST(the_longest_durations),
        TEST(an_abandoned_probe_gives_its_place_back),
        TEST(probes_without_end_do_not_keep_it_half_open),
        TEST(probes_of_the_future_are_not_overdue),
        TEST(many_probes),
        TEST(stale_tickets_say_nothing),
        TEST(off_does_nothing),
        TEST(observe_refuses_nobody_but_tells),
        TEST(by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
