/* test_breaker_threads.c: one breaker, many threads: nothing is lost, each transition is made and told once. */
#include "breaker_bed.h"

#include <pthread.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_shared_window_loses_nothing),
        TEST(transitions_are_told_once),
        TEST(one_thread_opens_it),
        TEST(places_of_probes_are_given_out_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
