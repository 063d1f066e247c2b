/* loop_run.h: turns of a loop in a test: until something is true, but never for long. */
#ifndef TESTS_SUPPORT_LOOP_RUN_H
#define TESTS_SUPPORT_LOOP_RUN_H

#include "loomgate/net/loop.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { LOOP_PATIENCE_US = 5000000, LOOP_SETTLE_TURNS = 8 };

/* CLOCK_MONOTONIC now. */
uint64_t loop_clock_us(void);
/* One turn, which waits for events, but not long. False once the clock is past `end_us`. */
bool loop_step(struct loop *loop, uint64_t end_us);
/* So many turns that wait for nothing: what is under way between local sockets has arrived afterwards. */
void loop_turns(struct loop *loop, unsigned count);
static inline void loop_settle(struct loop *loop) {
    loop_turns(loop, LOOP_SETTLE_TURNS);
}
/* Turns for so long: only to see that nothing happens. */
void loop_run_for(struct loop *loop, uint64_t us);
/* loop_fini(), after a look whether all connections and chunks have been given back. */
void loop_finish(struct loop *loop);

#define LOOP_UNTIL(loop, condition)                                                                 \
    do {                                                                                            \
        const uint64_t loop_until_end = loop_clock_us() + LOOP_PATIENCE_US;                         \
        while (!(condition))                                                                        \
            if (!loop_step((loop), loop_until_end)) fail_msg("waited in vain for: %s", #condition); \
    } while (0)

#endif
