/* loop_run.c: turns of a loop in a test. */
#include "loop_run.h"

#include <time.h>

static const double TICK_S = 0.002;

static void on_tick(struct ev_loop *ev, ev_timer *w, int events) {
    (void)ev, (void)w, (void)events;
}

uint64_t loop_clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

bool loop_step(struct loop *loop, uint64_t end_us) {
    ev_timer tick;
    ev_timer_init(&tick, on_tick, TICK_S, 0.);
    ev_timer_start(loop->ev, &tick);
    ev_run(loop->ev, EVRUN_ONCE);
    ev_timer_stop(loop->ev, &tick);
    return loop_clock_us() < end_us;
}

void loop_turns(struct loop *loop, unsigned count) {
    while (count--) ev_run(loop->ev, EVRUN_NOWAIT);
}

void loop_run_for(struct loop *loop, uint64_t us) {
    uint64_t end_us = loop_clock_us() + us;
    while (loop_step(loop, end_us)) continue;
}

void loop_finish(struct loop *loop) {
    loop_turns(loop, 2);
    assert_int_equal(loop->conns.in_use, 0);
    assert_int_equal(loop->chunks.bytes, 0);
    loop_fini(loop);
}
