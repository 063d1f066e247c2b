/* test_tap.c: records from workers to a reader: nothing is lost while it reads, what is lost is counted, order,
 * wrapping, sampling, bells; with several producers at once (runs under ThreadSanitizer). */
#include "loomgate/proxy/tap.h"

#include "../../support/json_check.h"
#include "../../support/loop_run.h"
#include "../../support/random.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct loop loop;
static struct mailbox home;
static struct taps taps;
static unsigned bells;
static char long_path[20000];

static void deliver_nothing(struct mail *bell, void *receiver) {
    (void)receiver;
    assert_ptr_equal(taps_hear(bell), &taps);
    bells++;
}

static int set_up(void **state) {
    (void)state;
    loop_init(&loop);
    mailbox_init(&home, &loop, NULL);
    taps_init(&taps, &loop);
    bells = 0;
    memset(long_path, 'x', sizeof long_path);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_true(taps_is_empty(&taps));
    mailbox_fini(&home);
    loop_finish(&loop);
    return 0;
}

static struct tap *attach(const char *filter_text, struct record_filter **filter, struct tap_sampler *sampler) {
    struct error e;
    *filter = NULL;
    if (filter_text) *filter = record_filter_compile(slice_of(filter_text), NULL, &e);
    struct tap *t = tap_new(*filter, sampler);
    taps_attach(&taps, t, &home, deliver_nothing);
    return t;
}

static void detach(struct tap *t, struct record_filter *filter) {
    taps_detach(t);
    tap_free(t);
    record_filter_free(filter);
}

/* `number` comes back as `bytes_in`. */
static void offer(struct taps *to, uint64_t number, size_t path_len) {
    struct access_record r = {
        .method = SLICE("GET"), .path = slice_from(long_path, path_len), .status = 200, .bytes_in = number};
    taps_offer(to, &r);
}

/* --- what is read ----------------------------------------------------------------------------------------------- */

struct reading {
    uint64_t count, last;
    uint64_t limit; /* 0: none */
};

static bool take_line(void *owner, struct slice line) {
    struct reading *got = owner;
    uint64_t number;
    assert_true(json_is_valid(line));
    assert_true(slice_to_u64(json_member(line, "bytes_in"), UINT64_MAX, &number));
    assert_true(number > got->last); /* the order of one worker */
    got->last = number;
    return ++got->count != got->limit;
}

static void everything_in_its_order(void **state) {
    (void)state;
    struct random random = {7};
    struct reading got = {0};
    struct record_filter *filter;
    struct tap *t = attach(NULL, &filter, NULL);
    uint64_t offered = 0;
    for (int round = 0; round < 300; round++) {
        for (uint32_t k = random_below(&random, 24); k > 0; k--)
            offer(&taps, ++offered, random_once_in(&random, 4) ? sizeof long_path : random_below(&random, 900));
        assert_true(tap_read(t, take_line, &got));
        assert_int_equal(got.count, offered);
        assert_int_equal(got.last, offered);
    }
    assert_int_equal(tap_dropped(t), 0);
    loop_settle(&loop);
    detach(t, filter);
}

static void what_finds_no_room_is_counted(void **state) {
    (void)state;
    struct reading got = {0};
    struct record_filter *filter;
    struct tap *t = attach(NULL, &filter, NULL);
    for (uint64_t i = 1; i <= 5000; i++) offer(&taps, i, 100);
    uint64_t dropped = tap_dropped(t);
    assert_true(dropped > 0);
    assert_true(tap_read(t, take_line, &got));
    assert_int_equal(got.count + dropped, 5000);
    assert_int_equal(got.last, got.count); /* the first ones */
    for (uint64_t i = 5001; i <= 5100; i++) offer(&taps, i, 100);
    assert_true(tap_read(t, take_line, &got));
    assert_int_equal(got.count + dropped, 5100);
    assert_int_equal(tap_dropped(t), dropped);
    loop_settle(&loop);
    detach(t, filter);
}

/* Whoever has had enough gets the rest later, or never. */
static void a_reader_may_stop(void **state) {
    (void)state;
    struct reading got = {.limit = 3};
    struct record_filter *filter;
    struct tap *t = attach(NULL, &filter, NULL);
    for (uint64_t i = 1; i <= 10; i++) offer(&taps, i, 10);
    assert_false(tap_read(t, take_line, &got));
    assert_int_equal(got.count, 3);
    assert_true(tap_read(t, take_line, &got));
    assert_int_equal(got.count, 10);
    for (uint64_t i = 11; i <= 5000; i++) offer(&taps, i, 10);
    loop_settle(&loop);
    detach(t, filter); /* with a full ring */
}

static void each_tap_has_its_filter(void **state) {
    (void)state;
    struct record_filter *filters[3];
    struct tap *all = attach(NULL, &filters[0], NULL), *some = attach("bytes_in>7", &filters[1], NULL),
               *none = attach("status>=500", &filters[2], NULL);
    struct reading got_all = {0}, got_some = {0}, got_none = {0};
    for (uint64_t i = 1; i <= 10; i++) offer(&taps, i, 10);
    taps_detach(some);
    offer(&taps, 11, 10);
    tap_read(all, take_line, &got_all);
    tap_read(some, take_line, &got_some);
    tap_read(none, take_line, &got_none);
    assert_int_equal(got_all.count, 11);
    assert_int_equal(got_some.count, 3);
    assert_int_equal(got_none.count, 0);
    loop_settle(&loop);
    detach(all, filters[0]);
    detach(some, filters[1]);
    detach(none, filters[2]);
}

/* --- bells ------------------------------------------------------------------------------------------------------ */

static void one_bell_a_turn(void **state) {
    (void)state;
    struct record_filter *filters[2];
    struct tap *a = attach(NULL, &filters[0], NULL), *b = attach("status==200", &filters[1], NULL);
    loop_settle(&loop);
    assert_int_equal(bells, 0);
    for (uint64_t i = 1; i <= 100; i++) offer(&taps, i, 10);
    loop_settle(&loop);
    assert_int_equal(bells, 1);
    offer(&taps, 101, 10);
    loop_settle(&loop);
    assert_int_equal(bells, 2);
    detach(a, filters[0]);
    offer(&taps, 102, 10);
    loop_settle(&loop);
    assert_int_equal(bells, 3);
    detach(b, filters[1]);
    offer(&taps, 103, 10);
    loop_settle(&loop);
    assert_int_equal(bells, 3);
}

static void nobody_is_woken_for_nothing(void **state) {
    (void)state;
    struct record_filter *filter;
    struct tap_sampler sampler;
    struct tap *t = attach("status>=500", &filter, NULL);
    offer(&taps, 1, 10);
    loop_settle(&loop);
    assert_int_equal(bells, 0);
    detach(t, filter);
    tap_sampler_init(&sampler, 1);
    t = attach(NULL, &filter, &sampler);
    assert_true(tap_sampler_take(&sampler, loop.now_us + 1000000));
    offer(&taps, 2, 10);
    loop_settle(&loop);
    assert_int_equal(bells, 0);
    detach(t, filter);
}

/* --- sampling --------------------------------------------------------------------------------------------------- */

static unsigned taken_at(struct tap_sampler *s, uint64_t now_us, unsigned wanted) {
    unsigned taken = 0;
    while (wanted--) taken += tap_sampler_take(s, now_us);
    return taken;
}

static void a_tenth_at_once_and_so_many_a_second(void **state) {
    (void)state;
    struct tap_sampler s;
    tap_sampler_init(&s, 100);
    assert_int_equal(taken_at(&s, 5000000, 1000), 10);
    assert_int_equal(taken_at(&s, 5000000 + 9999, 1000), 0);
    assert_int_equal(taken_at(&s, 5000000 + 10000, 1000), 1);
    assert_int_equal(taken_at(&s, 5000000 + 60000, 1000), 5);
    assert_int_equal(taken_at(&s, 99000000, 1000), 10); /* what was not used is not saved */
    unsigned sum = 0;
    for (uint64_t at = 99000000; at < 102000000; at += 137) sum += taken_at(&s, at, 3);
    assert_in_range(sum, 298, 300);
    tap_sampler_init(&s, 1);
    assert_int_equal(taken_at(&s, 5000000, 9), 1);
    assert_int_equal(taken_at(&s, 5999999, 9), 0);
    assert_int_equal(taken_at(&s, 6000000, 9), 1);
    tap_sampler_init(&s, UINT32_MAX); /* more than there are ns */
    assert_int_equal(taken_at(&s, 5000000, 9), 9);
}

/* --- threads ---------------------------------------------------------------------------------------------------- */

enum { PRODUCERS = 3, RECORDS = 30000, TAPS = 3 };

static struct producer {
    struct loop loop;
    struct taps taps;
    pthread_t thread;
    struct tap *parts[TAPS];
    struct reading got[TAPS];
    _Atomic bool is_done;
} producers[PRODUCERS];

static _Atomic bool go;

static void read_all(struct producer *p) {
    for (unsigned i = 0; i < TAPS; i++) tap_read(p->parts[i], take_line, &p->got[i]);
}

static void deliver_bell(struct mail *bell, void *receiver) {
    (void)receiver;
    read_all(LG_CONTAINER_OF(taps_hear(bell), struct producer, taps));
}

static void *produce(void *arg) {
    struct producer *p = arg;
    struct random random = {(uint64_t)(p - producers) + 1};
    for (unsigned i = 0; i < TAPS; i++) taps_attach(&p->taps, p->parts[i], &home, deliver_bell);
    while (!atomic_load(&go)) continue;
    for (uint64_t i = 1; i <= RECORDS; i++) {
        offer(&p->taps, i, random_below(&random, 300));
        if (random_once_in(&random, 8)) loop_turns(&p->loop, 1);
    }
    loop_turns(&p->loop, 1);
    for (unsigned i = 0; i < TAPS; i++) taps_detach(p->parts[i]);
    atomic_store(&p->is_done, true);
    return NULL;
}

static bool all_done(void) {
    for (unsigned i = 0; i < PRODUCERS; i++)
        if (!atomic_load(&producers[i].is_done)) return false;
    return true;
}

/* Each record is read, or counted as dropped, or the filter's: also the last ones, for which the last bell rings. */
static void from_several_threads_at_once(void **state) {
    (void)state;
    struct error e;
    struct tap_sampler sampler;
    struct record_filter *filters[TAPS] = {[1] = record_filter_compile(SLICE("bytes_in<=1000 and path~x"), NULL, &e)};
    tap_sampler_init(&sampler, 10);
    atomic_store(&go, false);
    for (unsigned k = 0; k < PRODUCERS; k++) {
        struct producer *p = &producers[k];
        memset(p->got, 0, sizeof p->got);
        loop_init(&p->loop);
        taps_init(&p->taps, &p->loop);
        for (unsigned i = 0; i < TAPS; i++) p->parts[i] = tap_new(filters[i], i == 2 ? &sampler : NULL);
        atomic_store(&p->is_done, false);
        assert_int_equal(pthread_create(&p->thread, NULL, produce, p), 0);
    }
    atomic_store(&go, true);
    while (!all_done()) loop_step(&loop, 0);
    loop_settle(&loop);
    uint64_t sampled = 0;
    for (unsigned k = 0; k < PRODUCERS; k++) {
        struct producer *p = &producers[k];
        pthread_join(p->thread, NULL);
        assert_true(p->got[0].count > 0);
        assert_int_equal(p->got[0].count + tap_dropped(p->parts[0]), RECORDS);
        assert_in_range(p->got[1].count + tap_dropped(p->parts[1]), 900, 1000); /* a path may be empty */
        assert_true(p->got[1].last <= 1000);
        sampled += p->got[2].count;
        for (unsigned i = 0; i < TAPS; i++) tap_free(p->parts[i]);
        loop_finish(&p->loop);
    }
    assert_true(sampled > 0);
    record_filter_free(filters[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(everything_in_its_order),
        TEST(what_finds_no_room_is_counted),
        TEST(a_reader_may_stop),
        TEST(each_tap_has_its_filter),
        TEST(one_bell_a_turn),
        TEST(nobody_is_woken_for_nothing),
        TEST(a_tenth_at_once_and_so_many_a_second),
        TEST(from_several_threads_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
