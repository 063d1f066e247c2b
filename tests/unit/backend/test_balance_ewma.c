/* test_balance_ewma.c: the shorter expected wait wins: latency, what runs already, weight (runs under ThreadSanitizer).
 */
#include "loomgate/backend/balance_ewma.h"

#include "balance_bed.h"

static void measure(unsigned i, uint64_t us) {
    latency_add(&servers[i].shared.latency, now_us, us);
}

static void the_faster_is_picked(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1));
    measure(0, 20000);
    measure(1, 5000);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
}

/* 5 ms x 4 is as long as 20 ms x 1: from there on the slow one has the shorter wait. */
static void what_runs_counts(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1));
    measure(0, 20000);
    measure(1, 5000);
    set_active(1, 2);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
    set_active(1, 4);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[0]);
}

static void weight_counts(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(8, 1));
    measure(0, 20000);
    measure(1, 5000);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[0]);
}

static void a_new_server_is_tried(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1));
    measure(0, 1000);
    assert_ptr_equal(pick_but(NULL), &members[1]);
    set_active(1, 1); /* but not by everybody before it has answered */
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[0]);
}

static void a_slow_server_is_tried_again(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1));
    measure(0, 1000000);
    for (unsigned second = 0; second < 120; second++, now_us += 1000000) {
        measure(1, 1000);
        if (pick_but(NULL) == &members[0]) break;
    }
    assert_int_equal(got[0], 1);
    assert_true(got[1] > 20 && got[1] < 90);
}

/* Each answers after its own time; at a time so many run that all are needed. The shares go with the speeds. */
static void play(const uint64_t *latency_us, unsigned running, unsigned times) {
    struct {
        struct server *server;
        uint64_t since_us, until_us;
    } busy[RUNNING_MAX] = {0};
    for (unsigned i = 0; i < times; i++) {
        unsigned next = 0;
        for (unsigned k = 1; k < running; k++)
            if (busy[k].until_us < busy[next].until_us) next = k;
        if (busy[next].until_us > now_us) now_us = busy[next].until_us;
        if (busy[next].server) {
            latency_add(&busy[next].server->shared.latency, now_us, now_us - busy[next].since_us);
            server_release(busy[next].server);
        }
        const struct balance_member *m = pick_but(NULL);
        uint64_t us = latency_us[m - members];
        busy[next].server = m->server;
        busy[next].since_us = now_us;
        busy[next].until_us = now_us + us / 2 + random_below(&dice, (uint32_t)us);
        assert_true(server_acquire(m->server, 0));
    }
    for (unsigned k = 0; k < running; k++)
        if (busy[k].server) server_release(busy[k].server);
}

static void equal_servers_share_evenly(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1, 1, 1));
    play((const uint64_t[]){5000, 5000, 5000, 5000}, 64, 40000);
    for (unsigned i = 0; i < 4; i++) assert_share(i, 22, 28);
}

static void a_slow_server_gets_little(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1, 1, 1));
    play((const uint64_t[]){5000, 5000, 100000, 5000}, 32, 40000);
    assert_share(2, 0, 2);
    assert_share(0, 30, 37);
}

static void weights_decide_under_load(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 2, 5));
    play((const uint64_t[]){5000, 5000, 5000}, 160, 40000);
    assert_share(0, 10, 15);
    assert_share(1, 22, 28);
    assert_share(2, 59, 66);
}

static void ramps_are_by_weight(void **state) {
    (void)state;
    check_idle_shares(&balance_peak_ewma);
}

/* At an eighth of its weight a wait of 5 ms counts as one of 40 ms. */
static void a_ramping_server_must_be_faster(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1));
    set_share(1, 32);
    measure(1, 5000);
    measure(0, 35000);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[0]);
    measure(0, 45000);
    for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
}

static void ramps_decide_under_load(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1, 1));
    set_share(0, 64);
    play((const uint64_t[]){5000, 5000, 5000}, 180, 40000); /* over a second: the share hardly grows */
    assert_true(now_us < 1000000000 + 2000000);
    assert_share(0, 9, 14);
    memset(got, 0, sizeof got);
    now_us += 192000000;
    play((const uint64_t[]){5000, 5000, 5000}, 180, 40000);
    for (unsigned i = 0; i < 3; i++) assert_share(i, 30, 37);
}

static void the_rest_shares_by_weight(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 50, 3, 50));
    go_maint(1);
    go_down(3);
    play((const uint64_t[]){5000, 5000, 5000, 5000}, 160, 40000);
    assert_share(0, 22, 28);
    assert_int_equal(got[1] + got[3], 0);
}

static void who_may_be_picked(void **state) {
    (void)state;
    check_who_may_be_picked(&balance_peak_ewma);
}

static void feed(struct server *s, uint64_t at_us) {
    ramp_now_and_then(s, at_us);
    latency_add(&s->shared.latency, at_us, s->id == 0 ? 50000 : 1000);
}

static void threads_may_pick_at_a_time(void **state) {
    (void)state;
    make(&balance_peak_ewma, WEIGHTS(1, 1, 1));
    pick_from_threads(feed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_faster_is_picked),
        TEST(what_runs_counts),
        TEST(weight_counts),
        TEST(a_new_server_is_tried),
        TEST(a_slow_server_is_tried_again),
        TEST(equal_servers_share_evenly),
        TEST(a_slow_server_gets_little),
        TEST(weights_decide_under_load),
        TEST(ramps_are_by_weight),
        TEST(a_ramping_server_must_be_faster),
        TEST(ramps_decide_under_load),
        TEST(the_rest_shares_by_weight),
        TEST(who_may_be_picked),
        TEST(threads_may_pick_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
