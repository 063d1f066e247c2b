/* test_balance_least.c: the fewest running exchanges for the weight; by lot among equals (runs under ThreadSanitizer).
 */
#include "loomgate/backend/balance_least.h"

#include "balance_bed.h"

static void the_least_busy_is_picked(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 1, 1));
    set_active(0, 3);
    set_active(1, 1);
    set_active(2, 2);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
    set_active(1, 4);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[2]);
}

static void running_ones_count_by_weight(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 10));
    set_active(0, 1);
    set_active(1, 8);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
    set_active(0, 0);
    set_active(1, 10);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[0]);
}

static void equal_ones_draw_lots(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 1, 1, 1));
    set_active(2, 1);
    pick_idle(9000);
    assert_int_equal(got[2], 0);
    assert_share(0, 32, 35);
    assert_share(1, 32, 35);
    assert_share(3, 32, 35);
}

static void weights_decide_while_all_are_idle(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 1, 2, 256));
    pick_idle(100000);
    assert_share(0, 0.3, 0.5);
    assert_share(1, 0.3, 0.5);
    assert_share(2, 0.65, 0.9);
    assert_share(3, 98, 99);
}

static void weights_decide_under_load(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 2, 5));
    pick_busy(160, 40000);
    assert_share(0, 12, 13);
    assert_share(1, 24.5, 25.5);
    assert_share(2, 62, 63);
}

/* A light server that is idle does not get every second request of a heavy one. */
static void a_light_server_stays_light(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 256));
    pick_busy(2, 40000);
    assert_share(0, 0, 1);
}

/* One that holds its exchanges ten times as long gets a tenth of what the others get. */
static void a_slow_server_gets_less(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 1, 1));
    struct server *busy[60] = {0};
    for (unsigned i = 0; i < 60000; i++) {
        unsigned k = random_below(&dice, 60);
        if (busy[k] == &servers[0] && !random_once_in(&dice, 10)) continue;
        if (busy[k]) server_release(busy[k]);
        busy[k] = pick_but(NULL)->server;
        assert_true(server_acquire(busy[k], 0));
    }
    assert_share(0, 4, 6);
}

static void ramps_are_by_weight(void **state) {
    (void)state;
    check_idle_shares(&balance_least_requests);
}

/* What runs goes by weight times share as well; and evenly again when the ramp is over. */
static void ramps_decide_under_load(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 1, 2));
    set_share(0, 64);
    set_share(2, 128);
    pick_busy(180, 40000);
    assert_parts(0.5, WEIGHTS(1, 4, 4));
    memset(got, 0, sizeof got);
    now_us += 192000000;
    pick_busy(160, 40000);
    assert_parts(0.5, WEIGHTS(1, 1, 2));
}

/* (0 + 1) / 16 is as much as (15 + 1) / 256. */
static void a_ramping_server_is_soon_busy(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 1));
    set_share(0, 16);
    set_active(1, 14);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
    set_active(1, 16);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[0]);
}

static void the_rest_shares_by_weight(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 100, 2, 100));
    go_open(1);
    go_full(3);
    pick_busy(120, 40000);
    assert_parts(0.5, WEIGHTS(1, 0, 2, 0));
    go_ready(3);
}

static void who_may_be_picked(void **state) {
    (void)state;
    check_who_may_be_picked(&balance_least_requests);
}

static void threads_may_pick_at_a_time(void **state) {
    (void)state;
    make(&balance_least_requests, WEIGHTS(1, 1, 2));
    pick_from_threads(ramp_now_and_then);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_least_busy_is_picked),   TEST(running_ones_count_by_weight), TEST(equal_ones_draw_lots),
        TEST(a_light_server_stays_light), TEST(weights_decide_under_load),    TEST(weights_decide_while_all_are_idle),
        TEST(ramps_are_by_weight),        TEST(ramps_decide_under_load),      TEST(a_ramping_server_is_soon_busy),
        TEST(the_rest_shares_by_weight),  TEST(a_slow_server_gets_less),      TEST(who_may_be_picked),
        TEST(threads_may_pick_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
