/* test_breaker.c: the circuit breaker with a clock of the test's own: its transitions, its window, its probes, and that
 * threads lose nothing and make each transition once. */
#include "loomgate/backend/breaker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000ULL
#define START  (777 * SECOND) /* a slice begins here */

static struct breaker breaker;
static struct breaker_window window;
static struct breaker_settings settings;
static struct breaker_change change;
static uint64_t now_us;

static int set_up(void **state) {
    (void)state;
    memset(&breaker, 0, sizeof breaker);
    memset(&window, 0, sizeof window);
    settings = (struct breaker_settings){.on = true,
                                         .error_rate = 0.5,
                                         .window_us = 10 * SECOND,
                                         .open_us = 5 * SECOND,
                                         .max_open_us = 60 * SECOND,
                                         .min_requests = 20,
                                         .probes = 3};
    now_us = START;
    return 0;
}

static enum breaker_state state_now(void) {
    return breaker_state_get(&breaker);
}

/* Exactly this transition was told. */
static void assert_told(enum breaker_state from, enum breaker_state to) {
    assert_true(change.happened);
    assert_int_equal(change.from, from);
    assert_int_equal(change.to, to);
    assert_int_equal(state_now(), to);
    assert_int_equal(breaker.changed_us, now_us);
}

static bool try_enter(struct breaker_ticket *t) {
    bool may = breaker_may_take(&breaker, &settings, now_us);
    bool did = breaker_enter(&breaker, &settings, now_us, t, &change);
    assert_int_equal(may || settings.observe, did);
    return did;
}

static struct breaker_ticket enter(void) {
    struct breaker_ticket t;
    assert_true(try_enter(&t));
    return t;
}

static void assert_refused(void) {
    struct breaker_ticket t;
    assert_false(try_enter(&t));
    assert_false(change.happened);
}

static void leave(struct breaker_ticket t, enum breaker_result result) {
    breaker_leave(&breaker, &window, &settings, now_us, t, result, &change);
}

static void revoke(struct breaker_ticket t) {
    breaker_revoke(&breaker, &window, &settings, now_us, t, &change);
}

/* So many whole exchanges. */
static void pass(unsigned times, enum breaker_result result) {
    while (times--) {
        leave(enter(), result);
    }
}

static void assert_window(uint32_t requests, uint32_t errors) {
    uint32_t r, e;
    breaker_window_read(&window, &settings, now_us, &r, &e);
    assert_int_equal(r, requests);
    assert_int_equal(e, errors);
}

static void open_it(void) {
    pass(settings.min_requests, BREAKER_FAILED);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
}

/* Open, and its time is over; the first probe is under way. */
static struct breaker_ticket half_open_it(void) {
    open_it();
    now_us += settings.open_us;
    struct breaker_ticket t = enter();
    assert_told(BREAKER_OPEN, BREAKER_HALF_OPEN);
    assert_true(t.is_probe);
    return t;
}

/* --- closed ----------------------------------------------------------------------------------------------------- */

static void it_opens_at_min_requests(void **state) {
    (void)state;
    pass(19, BREAKER_FAILED);
    assert_false(change.happened);
    assert_int_equal(state_now(), BREAKER_CLOSED);
    pass(1, BREAKER_FAILED);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
    assert_int_equal(change.requests, 20);
    assert_int_equal(change.errors, 20);
    assert_int_equal(change.open_us, 5 * SECOND);
    assert_int_equal(breaker.trips, 1);
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

/* --- threads ---------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 20000 };

struct worker {
    pthread_t thread;
    unsigned index, probes;
    unsigned made[3][3]; /* transitions, by from and to */
    int error;           /* of the rules: no thread but the first may fail a test */
};
static struct worker workers[THREADS];

static void run_threads(void *(*main_of)(void *)) {
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.index = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, main_of, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < THREADS; i++) assert_int_equal(workers[i].error, 0);
}

static unsigned made(enum breaker_state from, enum breaker_state to) {
    unsigned sum = 0;
    for (unsigned i = 0; i < THREADS; i++) sum += workers[i].made[from][to];
    return sum;
}

static void *count_many(void *arg) {
    struct worker *w = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct breaker_ticket t;
        struct breaker_change c;
        uint64_t at = START + i * 100 + w->index * 1000; /* two seconds in all, each clock a bit ahead */
        w->error += !breaker_enter(&breaker, &settings, at, &t, &c);
        breaker_leave(&breaker, &window, &settings, at, t, i % 4 ? BREAKER_SUCCEEDED : BREAKER_FAILED, &c);
        w->error += c.happened;
    }
    return NULL;
}

static void a_shared_window_loses_nothing(void **state) {
    (void)state;
    settings.min_requests = 1000000;
    run_threads(count_many);
    now_us = START + 2 * SECOND;
    assert_window(THREADS * ROUNDS, THREADS * ROUNDS / 4);
}

/* How many probes are in flight between the threads, as they see it: never more than the breaker counts. */
static _Atomic unsigned probing;

/* Each clock goes at the pace of its thread, so they differ by up to a second; exchanges fail in phases, so that it
 * opens and closes all the time. */
static void *pass_many(void *arg) {
    struct worker *w = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct breaker_ticket t;
        struct breaker_change c;
        uint64_t at = START + i * 50 + w->index * 1000;
        if (!breaker_enter(&breaker, &settings, at, &t, &c)) continue;
        w->made[c.from][c.to] += c.happened;
        bool fails = i % 2000 < 300;
        if (t.is_probe && atomic_fetch_add(&probing, 1) >= settings.probes) w->error++;
        w->probes += t.is_probe;
        if (t.is_probe) atomic_fetch_sub(&probing, 1);
        breaker_leave(&breaker, &window, &settings, at, t, fails ? BREAKER_FAILED : BREAKER_SUCCEEDED, &c);
        w->made[c.from][c.to] += c.happened;
    }
    return NULL;
}

/* The transitions of all threads together are one way through the picture. */
static void transitions_are_told_once(void **state) {
    (void)state;
    settings.error_rate = 0.1;
    settings.open_us = settings.max_open_us = 1000;
    run_threads(pass_many);
    unsigned opened = made(BREAKER_CLOSED, BREAKER_OPEN), again = made(BREAKER_HALF_OPEN, BREAKER_OPEN);
    unsigned half = made(BREAKER_OPEN, BREAKER_HALF_OPEN), closed = made(BREAKER_HALF_OPEN, BREAKER_CLOSED);
    assert_int_equal(made(BREAKER_CLOSED, BREAKER_HALF_OPEN) + made(BREAKER_OPEN, BREAKER_CLOSED), 0);
    assert_int_equal(opened + again, breaker.trips);
    assert_true(opened > 0);
    assert_int_equal(opened - closed, state_now() != BREAKER_CLOSED);
    assert_int_equal(opened + again - half, state_now() == BREAKER_OPEN);
}

static void *fail_many(void *arg) {
    struct worker *w = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct breaker_ticket t;
        struct breaker_change c;
        if (!breaker_enter(&breaker, &settings, START, &t, &c)) return NULL;
        breaker_leave(&breaker, &window, &settings, START, t, BREAKER_FAILED, &c);
        w->made[c.from][c.to] += c.happened;
    }
    return NULL;
}

static void one_thread_opens_it(void **state) {
    for (unsigned i = 0; i < 50; i++) {
        set_up(state);
        run_threads(fail_many);
        assert_int_equal(made(BREAKER_CLOSED, BREAKER_OPEN), 1);
        assert_int_equal(breaker.trips, 1);
        assert_int_equal(state_now(), BREAKER_OPEN);
    }
}

/* All come when the time is over: together they get `probes` places, and none is lost when they are given back. */
static void *probe_once(void *arg) {
    struct worker *w = arg;
    struct breaker_ticket t;
    struct breaker_change c;
    if (!breaker_enter(&breaker, &settings, START + 5 * SECOND, &t, &c)) return NULL;
    w->probes += t.is_probe;
    w->made[c.from][c.to] += c.happened;
    return NULL;
}

static void places_of_probes_are_given_out_once(void **state) {
    for (unsigned i = 0; i < 50; i++) {
        set_up(state);
        open_it();
        run_threads(probe_once);
        unsigned probes = 0;
        for (unsigned k = 0; k < THREADS; k++) probes += workers[k].probes;
        assert_int_equal(probes, 3);
        assert_int_equal(made(BREAKER_OPEN, BREAKER_HALF_OPEN), 1);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(it_opens_at_min_requests),
        TEST(it_opens_at_the_error_rate),
        TEST(rates_are_as_they_were_written),
        TEST(what_taught_nothing_is_not_counted),
        TEST(old_slices_are_forgotten),
        TEST(slices_of_all_ages_add_up),
        TEST(clocks_may_differ),
        TEST(the_shortest_window_bears_late_clocks),
        TEST(the_clock_may_begin_at_nothing),
        TEST(numbers_wrap_around),
        TEST(a_full_slice_keeps_its_rate),
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
        TEST(a_revoked_success_is_a_failure),
        TEST(a_revoked_success_of_long_ago_is_a_request),
        TEST(a_revoked_probe_opens_it_again),
        TEST(a_probe_revoked_after_it_closed_says_nothing),
        TEST(off_does_nothing),
        TEST(observe_refuses_nobody_but_tells),
        TEST(by_hand),
        TEST(a_shared_window_loses_nothing),
        TEST(transitions_are_told_once),
        TEST(one_thread_opens_it),
        TEST(places_of_probes_are_given_out_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
