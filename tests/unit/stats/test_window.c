/* test_window.c: the chain of slices with a fake clock: it has no gaps, stays short, and windows forget when they
 * should. */
#include "loomgate/stats/window.h"

#include "loomgate/base/macros.h"

#include "../../support/random.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { S = 1000000, EVENTS_MAX = 8192 };
static const uint64_t usual[] = {1 * S, 10 * S, 60 * S, UINT64_C(300) * S};

/* Each slot holds the numbers of the ticks whose news are in it. */
static struct {
    struct timeline l;
    struct {
        uint32_t from, to; /* ticks, `to` not included; equal: empty */
    } slots[SLOTS_MAX];
    uint64_t tick_us[EVENTS_MAX]; /* the end of each tick's stretch of time */
    uint32_t ticks;
    unsigned slices_max;
} bed;

static void begin(const uint64_t *windows, unsigned count) {
    memset(&bed, 0, sizeof bed);
    timeline_init(&bed.l, windows, count, 5 * S);
    bed.tick_us[bed.ticks++] = 5 * S;
}

static void check_chain(void) {
    const struct timeline *l = &bed.l;
    bool used[SLOTS_MAX] = {false};
    for (unsigned i = 0; i < l->slice_count; i++) {
        const struct time_slice *s = &l->slices[i];
        assert_true(s->begin_us <= s->end_us && !used[s->slot] && s->slot < l->slot_count);
        used[s->slot] = true;
        assert_true(i == 0 || (l->slices[i - 1].end_us == s->begin_us && l->slices[i - 1].level >= s->level));
        /* What the slice holds is just what happened in its time. */
        uint32_t from = bed.slots[s->slot].from, to = bed.slots[s->slot].to;
        assert_true(from < to);
        assert_int_equal(bed.tick_us[from - 1], s->begin_us);
        assert_int_equal(bed.tick_us[to - 1], s->end_us);
    }
    assert_int_equal(l->slice_count + l->free_count, l->slot_count);
    assert_int_equal(l->slices[l->slice_count - 1].end_us, bed.tick_us[bed.ticks - 1]);
    if (bed.slices_max < l->slice_count) bed.slices_max = l->slice_count;
}

static void apply(struct slot_move move) {
    if (move.to != SLOT_NONE) {
        assert_int_equal(bed.slots[move.to].to, bed.slots[move.from].from);
        bed.slots[move.to].to = bed.slots[move.from].to;
    }
    bed.slots[move.from].from = bed.slots[move.from].to = 0;
}

static void tick(uint64_t after_us) {
    bool fresh;
    struct slot_move move;
    uint64_t now_us = bed.tick_us[bed.ticks - 1] + after_us;
    unsigned slot = timeline_advance(&bed.l, now_us, &fresh);
    if (fresh) bed.slots[slot].from = bed.ticks;
    bed.tick_us[bed.ticks] = now_us;
    bed.slots[slot].to = ++bed.ticks;
    while (timeline_age(&bed.l, &move)) apply(move);
    check_chain();
}

/* The longest slice of the window, but for the newest. */
static uint64_t longest_slice_us(unsigned reach) {
    uint64_t longest = 0;
    for (unsigned i = bed.l.slice_count - reach; i + 1 < bed.l.slice_count; i++) {
        uint64_t span = bed.l.slices[i].end_us - bed.l.slices[i].begin_us;
        if (span > longest) longest = span;
    }
    return longest;
}

/* Nothing older than a window and half a slice is in it, and nothing younger than the window less half a slice is
 * missing. Ticks are as much as `jitter_us` longer than they should be. */
static void check_windows(uint64_t jitter_us) {
    const struct timeline *l = &bed.l;
    for (unsigned w = 0; w < l->window_count; w++) {
        uint64_t span, length = l->windows[w];
        unsigned reach = timeline_reach(l, w, &span);
        assert_true(reach >= 1);
        const struct time_slice *eldest = &l->slices[l->slice_count - reach];
        assert_int_equal(span, l->last_us - eldest->begin_us);
        uint64_t slice = length / WINDOW_PARTS > S ? length / WINDOW_PARTS : S;
        uint64_t most = slice + slice / 20 + jitter_us;
        assert_true(longest_slice_us(reach) <= most);
        assert_true(span <= length + most / 2);
        assert_true(span + most / 2 >= length || eldest->begin_us == bed.tick_us[0]);
    }
}

static void ticks_on_the_second(void **state) {
    (void)state;
    begin(usual, 4);
    for (unsigned n = 1; n <= 1000; n++) {
        uint64_t span;
        tick(S);
        check_windows(0);
        assert_int_equal(timeline_reach(&bed.l, 0, &span), 1);
        assert_int_equal(span, S);
        timeline_reach(&bed.l, 1, &span);
        assert_int_equal(span, (n < 10 ? n : 10) * (uint64_t)S); /* to the second */
        timeline_reach(&bed.l, 3, &span);
        if (n <= 300) assert_int_equal(span, n * (uint64_t)S);
    }
    assert_true(bed.slices_max <= 10 + 1 + 20 + 20);
}

static void ticks_that_jitter(void **state) {
    (void)state;
    struct random r = {11};
    begin(usual, 4);
    for (unsigned n = 0; n < 4000; n++) {
        tick(S - 40000 + random_below(&r, 80000));
        check_windows(40000);
    }
}

/* A reader that wants fresher figures may tick ten times a second; slices do not multiply. */
static void ticks_more_often(void **state) {
    (void)state;
    struct random r = {12};
    begin(usual, 4);
    for (unsigned n = 0; n < 8000; n++) {
        tick(S / 20 + random_below(&r, S / 10));
        check_windows(S / 5);
    }
    assert_true(bed.slices_max < bed.l.slot_count);
}

/* However ticks come, nothing is lost or twice in the chain (check_chain), and there is always room. */
static void ticks_at_random(void **state) {
    (void)state;
    static const uint64_t odd[][WINDOWS_MAX] = {{S},
                                                {90 * S},
                                                {S, 2 * S, 3 * S, 11 * S, 12 * S, 13 * S, 14 * S, 15 * S},
                                                {7 * S, 3600 * (uint64_t)S},
                                                {1 * S, 10 * S, 60 * S, UINT64_C(300) * S}};
    static const unsigned counts[] = {1, 1, 8, 2, 4};
    struct random r = {13};
    for (unsigned k = 0; k < LG_COUNT(counts); k++) {
        begin(odd[k], counts[k]);
        for (unsigned n = 0; n < 6000; n++) {
            uint64_t most = random_once_in(&r, 40) ? 400 * S : random_once_in(&r, 5) ? 5 * S : S / 2;
            tick(1 + random_next(&r) % most);
        }
        assert_true(bed.slices_max < bed.l.slot_count);
    }
}

/* The control thread was busy for a while: that is one long slice, which every window has until it is too old. */
static void a_late_tick(void **state) {
    (void)state;
    uint64_t span;
    begin(usual, 4);
    for (unsigned n = 0; n < 20; n++) tick(S);
    tick(4 * S);
    assert_int_equal(timeline_reach(&bed.l, 0, &span), 1);
    assert_int_equal(span, 4 * S);
    timeline_reach(&bed.l, 1, &span);
    assert_int_equal(span, 10 * S);
    tick(S);
    timeline_reach(&bed.l, 0, &span);
    assert_int_equal(span, S);
    tick(1000 * (uint64_t)S);
    for (unsigned w = 0; w < 4; w++) {
        assert_int_equal(timeline_reach(&bed.l, w, &span), 1);
        assert_int_equal(span, 1000 * (uint64_t)S);
    }
    tick(S);
    timeline_reach(&bed.l, 3, &span);
    assert_int_equal(span, S);
}

static void time_that_stands_still(void **state) {
    (void)state;
    uint64_t span;
    bool fresh;
    begin(usual, 4);
    assert_int_equal(timeline_reach(&bed.l, 0, &span), 0);
    assert_int_equal(span, 0);
    timeline_advance(&bed.l, 5 * S, &fresh);
    assert_true(fresh);
    timeline_advance(&bed.l, 4 * S, &fresh); /* not backwards either */
    assert_false(fresh);
    assert_int_equal(timeline_reach(&bed.l, 0, &span), 1);
    assert_int_equal(span, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_on_the_second), cmocka_unit_test(ticks_that_jitter),
        cmocka_unit_test(ticks_more_often),    cmocka_unit_test(ticks_at_random),
        cmocka_unit_test(a_late_tick),         cmocka_unit_test(time_that_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
