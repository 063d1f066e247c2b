/* telemetry_bed.h: workers' recorders and the control thread's side of them, with a fake clock. */
#ifndef TESTS_UNIT_TELEMETRY_BED_H
#define TESTS_UNIT_TELEMETRY_BED_H

#include "loomgate/stats/telemetry.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { BED_WORKERS = 4, S = 1000000, MINUTE = 60 * S };
/* Indexes of the windows. */
enum { LAST_1S, LAST_10S, LAST_MINUTE, LAST_5_MINUTES };

static struct telemetry_bed {
    struct telemetry t;
    struct recorder workers[BED_WORKERS];
    uint64_t now_us;
    struct series *server; /* of id 0 */
} tb;

static inline int bed_set_up(void **state) {
    static const uint64_t windows[] = {1 * S, 10 * S, 1 * MINUTE, 5 * (uint64_t)MINUTE};
    (void)state;
    memset(&tb, 0, sizeof tb);
    tb.now_us = 77 * S;
    telemetry_init(&tb.t);
    for (unsigned i = 0; i < BED_WORKERS; i++) {
        recorder_init(&tb.workers[i]);
        telemetry_add_recorder(&tb.t, &tb.workers[i]);
    }
    telemetry_set_windows(&tb.t, windows, 4, tb.now_us);
    tb.server = telemetry_acquire(&tb.t, SERIES_SERVER, "app", "a1");
    return 0;
}

/* All series but tb.server must have been released. */
static inline int bed_tear_down(void **state) {
    (void)state;
    telemetry_release(&tb.t, tb.server);
    assert_int_equal(tb.t.history_bytes, 0);
    assert_int_equal(tb.t.series_bytes, 0);
    for (unsigned i = 0; i < BED_WORKERS; i++) recorder_fini(&tb.workers[i]);
    telemetry_fini(&tb.t);
    return 0;
}

static inline void bed_tick(uint64_t after_us) {
    tb.now_us += after_us;
    telemetry_tick(&tb.t, tb.now_us);
}

/* An exchange that took so long, with nothing else to tell. */
static inline struct sample sample_of(uint64_t total_us) {
    return (struct sample){.us = {total_us, SAMPLE_NONE, SAMPLE_NONE, SAMPLE_NONE}, .tries = 1};
}

static inline void bed_add(unsigned worker, const struct series *s, const struct sample *sample) {
    recorder_add(&tb.workers[worker], &s->id, 1, sample);
}

static inline void bed_add_many(unsigned worker, const struct series *s, unsigned count, uint64_t total_us) {
    struct sample sample = sample_of(total_us);
    for (unsigned i = 0; i < count; i++) bed_add(worker, s, &sample);
}

static inline struct stats_view bed_read(const struct series *s, unsigned window) {
    struct stats_view v;
    assert_true(window_read(&tb.t, s, window, &v));
    return v;
}

static inline uint64_t bed_count(const struct series *s, unsigned window) {
    return bed_read(s, window).exchanges;
}

static inline struct stats_totals bed_totals(const struct series *s) {
    struct stats_totals totals;
    telemetry_totals(&tb.t, s, &totals);
    return totals;
}

#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, bed_set_up, bed_tear_down)

#endif
