/* test_balance.c: why a server can be picked, or cannot: each fact alone, and which comes first. */
#include "loomgate/backend/balance_first.h"

#include "balance_bed.h"

static enum standing standing(void) {
    return member_standing(&members[0], now_us);
}

static void each_fact_alone(void **state) {
    static const enum standing standings[LG_COUNT(ways_out)] = {STANDING_OUT,  STANDING_OUT,  STANDING_OUT,
                                                                STANDING_OPEN, STANDING_OPEN, STANDING_FULL};
    (void)state;
    make(&balance_first, WEIGHTS(1));
    for (unsigned way = 0; way < LG_COUNT(ways_out); way++) {
        assert_int_equal(standing(), STANDING_OK);
        ways_out[way](0);
        assert_int_equal(standing(), standings[way]);
        go_ready(0);
    }
    assert_int_equal(standing(), STANDING_OK);
}

static void the_worst_is_told(void **state) {
    (void)state;
    make(&balance_first, WEIGHTS(1));
    go_full(0);
    assert_int_equal(standing(), STANDING_FULL);
    go_open(0);
    assert_int_equal(standing(), STANDING_OPEN);
    go_down(0);
    assert_int_equal(standing(), STANDING_OUT);
    go_ready(0);
    members[0].weight = 0;
    assert_int_equal(standing(), STANDING_OUT);
}

static void a_limit_is_reached_and_left(void **state) {
    (void)state;
    make(&balance_first, WEIGHTS(1));
    server_settings[0].max_connections = 2;
    set_active(0, 1);
    assert_int_equal(standing(), STANDING_OK);
    set_active(0, 2);
    assert_int_equal(standing(), STANDING_FULL);
    set_active(0, 3); /* from before a reload */
    assert_int_equal(standing(), STANDING_FULL);
    server_settings[0].max_connections = 0;
    assert_int_equal(standing(), STANDING_OK);
}

/* Its word may say that it is open: nobody heeds it. */
static void a_breaker_that_is_off_or_observes(void **state) {
    static const struct breaker_settings off, observe = {.on = true, .observe = true, .probes = 1};
    (void)state;
    make(&balance_first, WEIGHTS(1));
    go_open(0);
    members[0].breaker = &off;
    assert_int_equal(standing(), STANDING_OK);
    members[0].breaker = &observe;
    assert_int_equal(standing(), STANDING_OK);
    members[0].breaker = &breaker;
    assert_int_equal(standing(), STANDING_OPEN);
}

static void an_open_breaker_half_opens(void **state) {
    (void)state;
    make(&balance_first, WEIGHTS(1));
    go_open(0);
    assert_int_equal(standing(), STANDING_OPEN);
    now_us += 1002000;
    assert_int_equal(standing(), STANDING_OK);
    begin_probe(0);
    assert_int_equal(standing(), STANDING_OPEN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(each_fact_alone),
        TEST(the_worst_is_told),
        TEST(a_limit_is_reached_and_left),
        TEST(a_breaker_that_is_off_or_observes),
        TEST(an_open_breaker_half_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
