/* test_backend_weight.c: weights that change while it runs: every policy heeds them, exactly, also while others pick.
 */
#include "loomgate/backend/backend.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"
#include "../../support/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SERVERS = 3, THREADS = 3, CHANGES = 40 };

static struct registry registry;
static struct config *config;
static struct backend_settings *settings;
static struct backend backend;
static unsigned got[SERVERS];
static struct random dice;

static void make(enum balance_kind kind) {
    struct error e;
    settings->balance.kind = kind;
    settings->balance.bounded_load = 1000;
    if (!backend_init(&backend, settings, &registry, &e)) fail_msg("%s", e.text);
}

static int set_up(void **state) {
    static const char *const names[SERVERS] = {"a", "b", "c"};
    (void)state;
    registry_init(&registry);
    config = config_make();
    settings = config_add_backend(config, "app");
    for (unsigned i = 0; i < SERVERS; i++) {
        struct addr at = addr_make_ip("192.0.2.1", (uint16_t)(i + 1));
        config_add_server(config, settings, names[i], &at);
    }
    backend = (struct backend){0};
    dice.state = 88172645463325252U;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    backend_fini(&backend, &registry);
    registry_fini(&registry);
    config_free(config);
    return 0;
}

static void reweigh(unsigned i, uint32_t weight) {
    server_set_weight(backend.members[i].server, weight);
    struct balancers old = backend_reweigh(&backend);
    balancers_free(&old);
}

static void pick(unsigned times) {
    for (unsigned i = 0; i < SERVERS; i++) got[i] = 0;
    while (times--) {
        struct pick_request r = {.random = random_next(&dice), .now_us = 1000000};
        const struct balance_member *m = backend_pick(&backend, &r);
        assert_non_null(m);
        got[m - backend.members]++;
    }
}

static void assert_got(unsigned a, unsigned b, unsigned c) {
    assert_int_equal(got[0], a);
    assert_int_equal(got[1], b);
    assert_int_equal(got[2], c);
}

static void round_robin_is_exact(void **state) {
    (void)state;
    make(BALANCE_ROUND_ROBIN);
    pick(7);
    reweigh(1, 4 * WEIGHT_ONE);
    pick(600);
    assert_got(100, 400, 100);
    reweigh(2, WEIGHT_ONE / 2);
    pick(1100);
    assert_got(200, 800, 100);
    reweigh(0, 0);
    pick(900);
    assert_got(0, 800, 100);
    reweigh(0, 33); /* hundredths */
    pick(483);
    assert_got(33, 400, 50);
    for (unsigned i = 0; i < SERVERS; i++) reweigh(i, WEIGHT_OF_CONFIG);
    pick(300);
    assert_got(100, 100, 100);
}

/* Nothing runs anywhere, so the weights alone decide; the bounds are more than five standard deviations wide. */
static void the_others_go_by_weight(void **state) {
    static const enum balance_kind kinds[] = {BALANCE_LEAST_REQUESTS, BALANCE_RANDOM_TWO, BALANCE_HASH};
    (void)state;
    for (unsigned i = 0; i < LG_COUNT(kinds); i++) {
        make(kinds[i]);
        reweigh(1, 3 * WEIGHT_ONE);
        reweigh(2, WEIGHT_ONE / 2);
        pick(45000);
        assert_in_range(got[0], 9400, 10600);
        assert_in_range(got[1], 29400, 30600);
        assert_in_range(got[2], 4650, 5350);
        reweigh(1, 0);
        pick(1000);
        assert_int_equal(got[1], 0);
        assert_true(got[0] && got[2]);
        for (unsigned k = 0; k < SERVERS; k++) server_set_weight(backend.members[k].server, WEIGHT_OF_CONFIG);
        backend_fini(&backend, &registry);
    }
    make(BALANCE_FIRST);
    pick(10);
    assert_got(10, 0, 0);
    reweigh(0, 0); /* all that it heeds of a weight */
    pick(10);
    assert_got(0, 10, 0);
}

static void peak_ewma_goes_by_weight(void **state) {
    (void)state;
    make(BALANCE_PEAK_EWMA);
    pick(30000);
    assert_in_range(got[0], 9400, 10600);
    for (unsigned i = 0; i < SERVERS; i++) latency_add(&backend.members[i].server->shared.latency, 1000000, 1000);
    reweigh(2, 5 * WEIGHT_ONE); /* the shortest wait, whenever it is one of the two */
    pick(1000);
    assert_int_equal(got[0] + got[1] + got[2], 1000);
    assert_in_range(got[2], 900, 1000);
    reweigh(2, 0);
    pick(1000);
    assert_int_equal(got[2], 0);
}

static void standing_heeds_it_at_once(void **state) {
    (void)state;
    make(BALANCE_ROUND_ROBIN);
    const struct balance_member *m = &backend.members[0];
    assert_int_equal(member_base_weight(m), WEIGHT_ONE);
    server_set_weight(m->server, 0);
    assert_int_equal(member_standing(m, 1), STANDING_OUT);
    server_set_weight(m->server, 1);
    assert_int_equal(member_standing(m, 1), STANDING_OK);
    assert_int_equal(member_base_weight(m), 1);
    server_set_weight(m->server, WEIGHT_OF_CONFIG);
    assert_int_equal(member_base_weight(m), WEIGHT_ONE);
}

/* A snapshot of the same servers, made later, begins with the weights of now. */
static void who_comes_later_heeds_it_too(void **state) {
    struct backend later;
    struct error e;
    (void)state;
    make(BALANCE_ROUND_ROBIN);
    reweigh(0, 2 * WEIGHT_ONE);
    assert_true(backend_init(&later, settings, &registry, &e));
    unsigned firsts = 0;
    for (unsigned i = 0; i < 400; i++) {
        struct pick_request r = {.random = 1};
        firsts += backend_pick(&later, &r) == &later.members[0];
    }
    assert_int_equal(firsts, 200);
    backend_fini(&later, &registry);
}

/* 500 servers of 256 hundredths and odd numbers: the period has an end, and nobody is left out. */
static void very_many_turns_are_rounded(void **state) {
    struct backend_settings *many = config_add_backend(config, "many");
    struct backend wide;
    struct error e;
    (void)state;
    enum { MANY = 500 };
    struct server_settings *servers = arena_calloc(&config->arena, MANY * sizeof *servers);
    for (unsigned i = 0; i < MANY; i++) {
        char *name = arena_strndup(&config->arena, "s000", 4);
        name[1] = (char)('0' + i / 100), name[2] = (char)('0' + i / 10 % 10), name[3] = (char)('0' + i % 10);
        struct addr at = addr_make_ip("192.0.2.1", (uint16_t)(i + 1));
        servers[i] =
            (struct server_settings){.name = name, .address = address_make(&config->arena, &at), .weight = i ? 256 : 1};
    }
    many->servers = servers;
    many->server_count = MANY;
    assert_true(backend_init(&wide, many, &registry, &e));
    server_set_weight(wide.members[1].server, 25599);
    struct balancers old = backend_reweigh(&wide);
    balancers_free(&old);
    unsigned *counts = calloc(MANY, sizeof *counts);
    for (unsigned i = 0; i < 1100000; i++) {
        struct pick_request r = {.random = i};
        counts[backend_pick(&wide, &r) - wide.members]++;
    }
    assert_in_range(counts[0], 6, 12);      /* 1 of 127,745 */
    assert_in_range(counts[1], 2100, 2300); /* as nearly as the others: 256 of 127,745 */
    assert_in_range(counts[499], 2100, 2300);
    free(counts);
    backend_fini(&wide, &registry);
}

/* --- threads ---------------------------------------------------------------------------------------------------- */

static _Atomic bool over;
static _Atomic unsigned long rounds[THREADS];

static void *picker_run(void *arg) {
    unsigned self = (unsigned)(uintptr_t)arg;
    struct random own = {self + 1};
    while (!atomic_load(&over)) {
        struct pick_request r = {.random = random_next(&own), .now_us = 1000000};
        const struct balance_member *m = backend_pick(&backend, &r);
        if (!m) abort();
        atomic_fetch_add(&rounds[self], 1);
    }
    return NULL;
}

/* Each thread has begun another pick than the one that it may have been in. */
static void wait_round_trip(void) {
    for (unsigned i = 0; i < THREADS; i++) {
        unsigned long before = atomic_load(&rounds[i]);
        while (atomic_load(&rounds[i]) < before + 2) sched_yield();
    }
}

static void others_pick_meanwhile(void **state) {
    pthread_t threads[THREADS];
    (void)state;
    make(BALANCE_RANDOM_TWO);
    atomic_store(&over, false);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, picker_run, (void *)i), 0);
    for (unsigned i = 0; i < CHANGES; i++) {
        server_set_weight(backend.members[i % SERVERS].server, i % 5 * WEIGHT_ONE / 2 + 1);
        struct balancers old = backend_reweigh(&backend);
        wait_round_trip();
        balancers_free(&old);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(round_robin_is_exact),      TEST(the_others_go_by_weight),      TEST(peak_ewma_goes_by_weight),
        TEST(standing_heeds_it_at_once), TEST(who_comes_later_heeds_it_too), TEST(very_many_turns_are_rounded),
        TEST(others_pick_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
