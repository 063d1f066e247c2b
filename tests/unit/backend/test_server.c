/* test_server.c: places at a server, and how one that comes back gets its share again. */
#include "loomgate/backend/server.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SECOND 1000000ULL
#define START  (777 * SECOND)

static struct server server;

static int set_up(void **state) {
    (void)state;
    server = (struct server){0};
    return 0;
}

static uint32_t share_at(uint64_t now_us) {
    return server_share(&server, now_us);
}

static void places_are_counted(void **state) {
    (void)state;
    assert_true(server_acquire(&server, 2));
    assert_true(server_acquire(&server, 2));
    assert_false(server_acquire(&server, 2));
    assert_true(server_acquire(&server, 0)); /* no limit */
    assert_false(server_acquire(&server, 3));
    assert_int_equal(server_active(&server), 3);
    for (unsigned i = 0; i < 3; i++) server_release(&server);
    assert_int_equal(server_active(&server), 0);
}

enum { THREADS = 4, ROUNDS = 20000, MAX = 2 };
static _Atomic unsigned inside, too_many;

static void *hammer(void *arg) {
    (void)arg;
    for (unsigned got = 0; got < ROUNDS;) {
        if (!server_acquire(&server, MAX)) continue;
        got++;
        if (atomic_fetch_add(&inside, 1) >= MAX) atomic_fetch_add(&too_many, 1);
        atomic_fetch_sub(&inside, 1);
        server_release(&server);
    }
    return NULL;
}

static void never_more_than_its_places(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&too_many), 0);
    assert_int_equal(server_active(&server), 0);
}

static void without_a_ramp_it_has_all(void **state) {
    (void)state;
    assert_int_equal(share_at(0), SHARE_ONE);
    assert_int_equal(share_at(START), SHARE_ONE);
    server_begin_ramp(&server, START, 0);
    assert_int_equal(share_at(START), SHARE_ONE);
    server_begin_ramp(&server, START, 999); /* less than can be told */
    assert_int_equal(share_at(START), SHARE_ONE);
}

static void the_share_grows_evenly(void **state) {
    (void)state;
    server_begin_ramp(&server, START, 10 * SECOND);
    uint32_t before = 0;
    for (unsigned ms = 0; ms < 10000; ms++) {
        uint32_t share = share_at(START + ms * 1000), even = SHARE_ONE * ms / 10000;
        assert_int_equal(share, even < SHARE_ONE / 16 ? SHARE_ONE / 16 : even);
        assert_true(share >= before && share < SHARE_ONE);
        before = share;
    }
    assert_int_equal(share_at(START + 10 * SECOND), SHARE_ONE);
    assert_int_equal(share_at(START + 1000 * SECOND), SHARE_ONE);
}

static void it_is_never_nothing(void **state) {
    (void)state;
    server_begin_ramp(&server, START, 8760 * 3600 * SECOND); /* longer than can be told: hours */
    assert_int_equal(share_at(START), SHARE_ONE / 16);
    assert_int_equal(share_at(START - SECOND), SHARE_ONE / 16); /* a clock that lags */
    assert_int_equal(share_at(0), SHARE_ONE / 16);
    assert_true(share_at(START + 4 * 3600 * SECOND) < SHARE_ONE);
    assert_int_equal(share_at(START + 5 * 3600 * SECOND), SHARE_ONE);
}

static void the_last_ramp_counts(void **state) {
    (void)state;
    server_begin_ramp(&server, START, 10 * SECOND);
    server_begin_ramp(&server, START + 8 * SECOND, 10 * SECOND);
    assert_int_equal(share_at(START + 13 * SECOND), SHARE_ONE / 2);
    server_begin_ramp(&server, START + 13 * SECOND, 0);
    assert_int_equal(share_at(START + 13 * SECOND), SHARE_ONE);
}

static void a_clock_of_thirty_years(void **state) {
    (void)state;
    const uint64_t late = 30 * 8760 * 3600 * SECOND;
    server_begin_ramp(&server, late, 10 * SECOND);
    assert_int_equal(share_at(late), SHARE_ONE / 16);
    assert_int_equal(share_at(late + 5 * SECOND), SHARE_ONE / 2);
    assert_int_equal(share_at(late + 10 * SECOND), SHARE_ONE);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(places_are_counted),      TEST(never_more_than_its_places), TEST(without_a_ramp_it_has_all),
        TEST(the_share_grows_evenly),  TEST(it_is_never_nothing),        TEST(the_last_ramp_counts),
        TEST(a_clock_of_thirty_years),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
