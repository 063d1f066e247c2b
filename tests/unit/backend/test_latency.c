/* test_latency.c: the peak-sensitive average: up at once, down by half-lives; from many threads. */
#include "loomgate/backend/latency.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct latency latency;
static const uint64_t start = 1000000000;

static int set_up(void **state) {
    (void)state;
    latency = (struct latency){0};
    return 0;
}

static void assert_near(float value, double wanted) {
    if ((double)value < wanted * 0.99 || (double)value > wanted * 1.01) fail_msg("%f, not %f", (double)value, wanted);
}

static void unknown_is_zero(void **state) {
    (void)state;
    assert_true(latency_at(&latency, start) == 0);
}

static void the_first_sample_counts_whole(void **state) {
    (void)state;
    latency_add(&latency, start, 2500);
    assert_near(latency_at(&latency, start), 2500);
}

static void a_peak_counts_at_once(void **state) {
    (void)state;
    latency_add(&latency, start, 1000);
    latency_add(&latency, start, 90000);
    assert_near(latency_at(&latency, start), 90000);
    latency_add(&latency, start, 1000); /* in the same moment: nothing has sunk yet */
    assert_near(latency_at(&latency, start), 90000);
}

static void it_halves_by_half_lives(void **state) {
    (void)state;
    latency_add(&latency, start, 80000);
    assert_near(latency_at(&latency, start + LATENCY_HALF_LIFE_US), 40000);
    assert_near(latency_at(&latency, start + 3ULL * LATENCY_HALF_LIFE_US), 10000);
    assert_near(latency_at(&latency, start + LATENCY_HALF_LIFE_US / 2), 60000);
    assert_true(latency_at(&latency, start + 100ULL * LATENCY_HALF_LIFE_US) == 1);
}

static void faster_answers_bring_it_down(void **state) {
    (void)state;
    latency_add(&latency, start, 81000);
    latency_add(&latency, start + LATENCY_HALF_LIFE_US, 1000);
    assert_near(latency_at(&latency, start + LATENCY_HALF_LIFE_US), 41000);
}

/* The way down depends on time, not on how many samples there are in it. */
static void many_samples_weigh_as_much_as_their_time(void **state) {
    (void)state;
    uint64_t now = start;
    latency_add(&latency, now, 81000);
    for (; now < start + LATENCY_HALF_LIFE_US; now += 100) latency_add(&latency, now, 1000);
    float value = latency_at(&latency, now);
    assert_true(value > 39000 && value < 51000);
    for (; now < start + 20ULL * LATENCY_HALF_LIFE_US; now += 500) latency_add(&latency, now, 1000);
    assert_near(latency_at(&latency, now), 1000);
}

static void zero_is_a_microsecond(void **state) {
    (void)state;
    latency_add(&latency, start, 0);
    assert_true(latency_at(&latency, start) == 1);
}

static void another_clock_may_be_behind(void **state) {
    (void)state;
    latency_add(&latency, start, 8000);
    assert_near(latency_at(&latency, start - 50000), 8000);
    latency_add(&latency, start - 50000, 1000);
    assert_near(latency_at(&latency, start), 8000);
}

static void *add_many(void *arg) {
    uint64_t own = *(const uint64_t *)arg;
    for (unsigned i = 0; i < 20000; i++) latency_add(&latency, start + i * 2000ULL, own);
    return NULL;
}

/* Whatever is lost between them: the value is always one that the samples allow. */
static void threads_never_tear_it(void **state) {
    (void)state;
    pthread_t threads[4];
    static const uint64_t own[] = {1000, 2000, 3000, 4000};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, (void *)(uintptr_t)&own[i]), 0);
    for (unsigned i = 0; i < 1000; i++) {
        float value = latency_at(&latency, start);
        assert_true(value == 0 || (value >= 990 && value <= 4010));
    }
    for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    float value = latency_at(&latency, start + 20000 * 2000ULL);
    assert_true(value >= 990 && value <= 4010);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(unknown_is_zero),
        TEST(the_first_sample_counts_whole),
        TEST(a_peak_counts_at_once),
        TEST(it_halves_by_half_lives),
        TEST(faster_answers_bring_it_down),
        TEST(many_samples_weigh_as_much_as_their_time),
        TEST(zero_is_a_microsecond),
        TEST(another_clock_may_be_behind),
        TEST(threads_never_tear_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
