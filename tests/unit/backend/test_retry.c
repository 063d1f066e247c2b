/* test_retry.c: the rules of another try: back-off by its distribution, the budget with a clock of the test's own and
 * from several threads. */
#include "loomgate/backend/retry.h"

#include "../../support/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000ULL
#define START  (777 * SECOND + 123456) /* no round number, as of a clock */

static struct retry_budget budget;

static int set_up(void **state) {
    (void)state;
    memset(&budget, 0, sizeof budget);
    return 0;
}

/* --- back-off --------------------------------------------------------------------------------------------------- */

static const struct retry_settings usual = {.backoff_base_us = 25000, .backoff_max_us = 1000000};

/* Uniform from 0 to the limit: each tenth gets its share, and nothing lies outside. */
static void backoff_is_uniform_up_to_its_limit(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    static const uint64_t limits[] = {25000, 50000, 100000, 200000, 400000, 800000, 1000000, 1000000};
    struct random seed = {42};
    for (unsigned n = 0; n < LG_COUNT(limits); n++) {
        unsigned tenths[10] = {0};
        uint64_t sum = 0;
        for (unsigned i = 0; i < DRAWS; i++) {
            uint64_t us = retry_backoff_us(&usual, n, random_next(&seed));
            assert_true(us <= limits[n]);
            tenths[us == limits[n] ? 9 : us * 10 / limits[n]]++;
            sum += us;
        }
        for (unsigned i = 0; i < 10; i++) assert_in_range(tenths[i], DRAWS / 10 - 250, DRAWS / 10 + 250);
        assert_in_range(sum / DRAWS, limits[n] * 48 / 100, limits[n] * 52 / 100);
    }
}

static void backoff_never_overflows(void **state) {
    (void)state;
    struct retry_settings s = {.backoff_base_us = 8760 * 3600 * SECOND, .backoff_max_us = 8760 * 3600 * SECOND};
    struct random seed = {1};
    for (unsigned n = 0; n < 200; n++) assert_true(retry_backoff_us(&s, n, random_next(&seed)) <= s.backoff_max_us);
    s.backoff_base_us = 1;
    assert_int_equal(retry_backoff_us(&s, 0, 3), 1);
    for (unsigned n = 60; n < 200; n++) assert_int_equal(retry_backoff_us(&s, n, s.backoff_max_us), s.backoff_max_us);
}

static void no_base_or_no_max_is_no_wait(void **state) {
    (void)state;
    struct retry_settings s = {.backoff_base_us = 0, .backoff_max_us = SECOND};
    for (unsigned n = 0; n < 70; n++) assert_int_equal(retry_backoff_us(&s, n, UINT64_MAX), 0);
    s = (struct retry_settings){.backoff_base_us = SECOND, .backoff_max_us = 0};
    assert_int_equal(retry_backoff_us(&s, 0, UINT64_MAX), 0);
}

/* --- which ------------------------------------------------------------------------------------------------------ */

static void only_what_the_settings_name(void **state) {
    (void)state;
    static const uint16_t causes[] = {RETRY_ON_CONNECT_FAILED, RETRY_ON_RESPONSE_TIMEOUT, 503};
    struct retry_settings s = {.on = true, .max = 1, .causes = causes, .cause_count = LG_COUNT(causes)};
    for (int f = 0; f < FAILURE_COUNT; f++) {
        bool named = f == FAILURE_connect_failed || f == FAILURE_response_timeout;
        if (f != FAILURE_bad_status) assert_int_equal(retry_covers(&s, (enum failure)f, 503), named);
    }
    for (unsigned status = 0; status < 600; status++)
        assert_int_equal(retry_covers(&s, FAILURE_bad_status, status), status == 503);
    s.max = 0;
    assert_false(retry_covers(&s, FAILURE_connect_failed, 0));
    s.max = 1;
    s.on = false;
    assert_false(retry_covers(&s, FAILURE_connect_failed, 0));
}

static void retry_after_is_a_number_of_seconds(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t us;
    } rows[] = {{"0", 0},
                {"1", SECOND},
                {"120", 120 * SECOND},
                {"", 0},
                {"-1", 0},
                {"1.5", 0},
                {"1 ", 0},
                {"0x10", 0},
                {"Fri, 31 Dec 1999 23:59:59 GMT", 0},
                {"0007", 7 * SECOND},
                {"99999999999999999999999", 100000000 * SECOND}};
    for (size_t i = 0; i < LG_COUNT(rows); i++)
        assert_int_equal(retry_after_parse_us(slice_of(rows[i].text)), rows[i].us);
}

/* --- the budget ------------------------------------------------------------------------------------------------- */

static struct retry_settings paying(double ratio, uint32_t floor) {
    return (struct retry_settings){.budget_ratio = ratio, .budget_min_per_second = floor};
}

static unsigned take_all(const struct retry_settings *s, uint64_t now) {
    unsigned n = 0;
    while (n < 100000 && retry_budget_take(&budget, s, now)) n++;
    return n;
}

static void a_share_of_the_requests(void **state) {
    (void)state;
    struct retry_settings s = paying(0.2, 0);
    assert_int_equal(take_all(&s, START), 0);
    for (unsigned i = 0; i < 100; i++) retry_budget_count(&budget, START);
    assert_int_equal(take_all(&s, START), 20);
    for (unsigned i = 0; i < 4; i++) retry_budget_count(&budget, START + SECOND);
    assert_int_equal(take_all(&s, START + SECOND), 0); /* 20.8 */
    retry_budget_count(&budget, START + SECOND);
    assert_int_equal(take_all(&s, START + SECOND), 1);
}

/* Requests and the retries that they paid for are forgotten together, so nothing can be paid with twice. */
static void requests_pay_for_ten_seconds(void **state) {
    (void)state;
    struct retry_settings s = paying(0.5, 0);
    for (unsigned i = 0; i < 100; i++) retry_budget_count(&budget, START);
    for (unsigned i = 0; i < 10; i++) assert_true(retry_budget_take(&budget, &s, START + 3 * SECOND));
    assert_int_equal(take_all(&s, START + 9 * SECOND), 40);
    assert_int_equal(take_all(&s, START + 10 * SECOND), 0);
    for (unsigned i = 0; i < 100; i++) retry_budget_count(&budget, START + 13 * SECOND);
    assert_int_equal(take_all(&s, START + 13 * SECOND), 10); /* the 40 of second 9 still count */
    assert_int_equal(take_all(&s, START + 19 * SECOND), 40);
    assert_int_equal(take_all(&s, START + 1000 * SECOND), 0);
}

static void the_floor_is_a_bucket_of_one_second(void **state) {
    (void)state;
    struct retry_settings s = paying(0, 10);
    assert_int_equal(take_all(&s, START), 10);
    assert_int_equal(take_all(&s, START), 0);
    assert_int_equal(take_all(&s, START + 99999), 0);
    assert_int_equal(take_all(&s, START + 100000), 1);
    assert_int_equal(take_all(&s, START + SECOND / 2), 4);
    assert_int_equal(take_all(&s, START + 100 * SECOND), 10); /* it does not fill up beyond a second */
    s = paying(0, 0);
    assert_int_equal(take_all(&s, START + 200 * SECOND), 0);
}

static void the_ratio_is_used_before_the_floor(void **state) {
    (void)state;
    struct retry_settings s = paying(1, 10);
    for (unsigned i = 0; i < 5; i++) retry_budget_count(&budget, START);
    assert_int_equal(take_all(&s, START), 15);
}

/* Every request fails and would be sent again twice; in any ten seconds no more than the ratio and the floor. */
static void an_outage_is_not_multiplied(void **state) {
    (void)state;
    struct retry_settings s = paying(0.2, 10);
    uint64_t requests = 0, retries = 0;
    for (uint64_t now = START; now < START + 60 * SECOND; now += 1000) { /* 1,000 a second */
        retry_budget_count(&budget, now);
        requests++;
        for (unsigned i = 0; i < 2; i++) retries += retry_budget_take(&budget, &s, now);
    }
    assert_true(retries <= requests / 5 + 61 * 10);
    assert_true(retries >= requests / 5);
}

static void a_clock_that_lags_finds_its_own_slice(void **state) {
    (void)state;
    struct retry_settings s = paying(0.5, 0);
    for (unsigned i = 0; i < 10; i++) retry_budget_count(&budget, START + 2 * SECOND);
    for (unsigned i = 0; i < 10; i++) retry_budget_count(&budget, START);
    assert_int_equal(take_all(&s, START + 2 * SECOND), 10);
}

enum { THREADS = 4, ROUNDS = 20000 };
static struct retry_settings shared_settings;
static unsigned taken[THREADS];

static void *hammer(void *arg) {
    unsigned *mine = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        retry_budget_count(&budget, START);
        *mine += retry_budget_take(&budget, &shared_settings, START);
    }
    while (retry_budget_take(&budget, &shared_settings, START)) ++*mine;
    return NULL;
}

/* No request is lost and no token is taken twice. */
static void threads_share_it(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    unsigned sum = 0;
    shared_settings = paying(0.25, 100);
    for (unsigned i = 0; i < THREADS; i++) {
        taken[i] = 0;
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &taken[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < THREADS; i++) sum += taken[i];
    assert_int_equal(sum, THREADS * ROUNDS / 4 + 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_is_uniform_up_to_its_limit),
        cmocka_unit_test(backoff_never_overflows),
        cmocka_unit_test(no_base_or_no_max_is_no_wait),
        cmocka_unit_test(only_what_the_settings_name),
        cmocka_unit_test(retry_after_is_a_number_of_seconds),
        cmocka_unit_test_setup(a_share_of_the_requests, set_up),
        cmocka_unit_test_setup(requests_pay_for_ten_seconds, set_up),
        cmocka_unit_test_setup(the_floor_is_a_bucket_of_one_second, set_up),
        cmocka_unit_test_setup(the_ratio_is_used_before_the_floor, set_up),
        cmocka_unit_test_setup(an_outage_is_not_multiplied, set_up),
        cmocka_unit_test_setup(a_clock_that_lags_finds_its_own_slice, set_up),
        cmocka_unit_test_setup(threads_share_it, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
