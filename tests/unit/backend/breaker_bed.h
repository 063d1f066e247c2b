/* breaker_bed.h: a breaker with a clock of the test's own. */
#ifndef TESTS_UNIT_BACKEND_BREAKER_BED_H
#define TESTS_UNIT_BACKEND_BREAKER_BED_H

#include "loomgate/backend/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000ULL
#define START  (777 * SECOND) /* a slice begins here */

static struct breaker breaker;
static struct breaker_window window;
static struct breaker_settings settings;
static struct breaker_change change;
static uint64_t now_us;

static inline int set_up(void **state) {
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

static inline enum breaker_state state_now(void) {
    return breaker_state_get(&breaker);
}

/* Exactly this transition was told. */
static inline void assert_told(enum breaker_state from, enum breaker_state to) {
    assert_true(change.happened);
    assert_int_equal(change.from, from);
    assert_int_equal(change.to, to);
    assert_int_equal(state_now(), to);
    assert_int_equal(breaker.changed_us, now_us);
}

static inline bool try_enter(struct breaker_ticket *t) {
    bool may = breaker_may_take(&breaker, &settings, now_us);
    bool did = breaker_enter(&breaker, &settings, now_us, t, &change);
    assert_int_equal(may || settings.observe, did);
    return did;
}

static inline struct breaker_ticket enter(void) {
    struct breaker_ticket t;
    assert_true(try_enter(&t));
    return t;
}

static inline void assert_refused(void) {
    struct breaker_ticket t;
    assert_false(try_enter(&t));
    assert_false(change.happened);
}

static inline void leave(struct breaker_ticket t, enum breaker_result result) {
    breaker_leave(&breaker, &window, &settings, now_us, t, result, &change);
}

static inline void revoke(struct breaker_ticket t) {
    breaker_revoke(&breaker, &window, &settings, now_us, t, &change);
}

/* So many whole exchanges. */
static inline void pass(unsigned times, enum breaker_result result) {
    while (times--) {
        leave(enter(), result);
    }
}

static inline void assert_window(uint32_t requests, uint32_t errors) {
    uint32_t r, e;
    breaker_window_read(&window, &settings, now_us, &r, &e);
    assert_int_equal(r, requests);
    assert_int_equal(e, errors);
}

static inline void open_it(void) {
    pass(settings.min_requests, BREAKER_FAILED);
    assert_told(BREAKER_CLOSED, BREAKER_OPEN);
}

/* Open, and its time is over; the first probe is under way. */
static inline struct breaker_ticket half_open_it(void) {
    open_it();
    now_us += settings.open_us;
    struct breaker_ticket t = enter();
    assert_told(BREAKER_OPEN, BREAKER_HALF_OPEN);
    assert_true(t.is_probe);
    return t;
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

#endif
