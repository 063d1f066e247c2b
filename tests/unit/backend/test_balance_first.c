/* test_balance_first.c: the first in the file's order that can. */
#include "loomgate/backend/balance_first.h"

#include "balance_bed.h"

static void the_first_gets_everything(void **state) {
    (void)state;
    make(&balance_first, WEIGHTS(1, 256, 1));
    pick_busy(100, 1000);
    assert_int_equal(got[0], 1000);
}

static void the_next_stands_in(void **state) {
    (void)state;
    make(&balance_first, WEIGHTS(1, 1, 1));
    struct tried tried = {.v = {&servers[0]}, .count = 1};
    assert_ptr_equal(pick_but(&tried), &members[1]);
    set_admin(1, SERVER_MAINT);
    assert_ptr_equal(pick_but(&tried), &members[2]);
    assert_ptr_equal(pick_but(NULL), &members[0]);
    set_admin(0, SERVER_MAINT);
    assert_ptr_equal(pick_but(NULL), &members[2]);
    set_admin(0, SERVER_READY);
    assert_ptr_equal(pick_but(NULL), &members[0]);
}

static void a_ramping_one_takes_its_share(void **state) {
    (void)state;
    make(&balance_first, WEIGHTS(1, 256, 1));
    set_share(0, 16);
    pick_idle(20000);
    assert_parts(1, WEIGHTS(1, 15, 0));
    memset(got, 0, sizeof got);
    set_share(0, 128);
    pick_idle(20000);
    assert_parts(1, WEIGHTS(1, 1, 0));
    memset(got, 0, sizeof got);
    now_us += 128000000;
    pick_idle(1000);
    assert_int_equal(got[0], 1000);
}

/* Each takes its share of what those before it leave; what all leave is the first's. */
static void all_ramp(void **state) {
    (void)state;
    make(&balance_first, WEIGHTS(1, 1, 1));
    for (unsigned i = 0; i < 3; i++) set_share(i, 128);
    pick_idle(20000);
    assert_parts(1, WEIGHTS(4 + 1, 2, 1));
    memset(got, 0, sizeof got);
    go_down(0);
    pick_idle(20000);
    assert_parts(1, WEIGHTS(0, 2 + 1, 1));
}

static void who_may_be_picked(void **state) {
    (void)state;
    check_the_ways_out(&balance_first);
    check_half_open(&balance_first);
    make(&balance_first, WEIGHTS(0, 1, 1));
    for (unsigned i = 0; i < 10; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
    tear_down(NULL);
    make(&balance_first, WEIGHTS(0, 0));
    assert_null(pick_but(NULL));
    tear_down(NULL);
    make(&balance_first, NULL, 0);
    assert_null(pick_but(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {TEST(the_first_gets_everything), TEST(the_next_stands_in),
                                       TEST(a_ramping_one_takes_its_share), TEST(all_ramp), TEST(who_may_be_picked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
