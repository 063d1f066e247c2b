/* taps.h: finished exchanges of all workers, live, for who commands the process.
 *
 *   runtime_tap_open -> OPENING --all workers have it--> on_open, on_line... --runtime_tap_close--> CLOSING
 *     --no worker has it any more--> freed
 *
 * All on the control thread. Nothing of it ever makes a worker wait. */
#ifndef LOOMGATE_RUNTIME_TAPS_H
#define LOOMGATE_RUNTIME_TAPS_H

#include "loomgate/proxy/record_filter.h"
#include "loomgate/runtime/runtime.h"

enum { RUNTIME_TAPS_MAX = 64 };

struct runtime_tap;
struct runtime_tap_options {
    struct record_filter *filter; /* NULL: all. Taken over in any case */
    uint32_t sample_per_s;        /* at most so many records a second over all workers; 0: all */
    void *owner;
    /* What ends from now on is told, on each worker; some that ended before may have been, too. May be NULL. */
    void (*on_open)(void *owner);
    /* One record as JSON, without its newline; lives until this returns. Those of one worker come in the order in which
     * the exchanges ended. May close this tap and any other. */
    void (*on_line)(void *owner, struct slice line);
};

/* NULL when RUNTIME_TAPS_MAX are open. Calls nothing back before it returns. */
struct runtime_tap *runtime_tap_open(struct runtime *r, const struct runtime_tap_options *options);
/* Nothing is called back any more; records that were not told yet are gone. To be called before the end of on_stop. */
void runtime_tap_close(struct runtime_tap *t);
/* Records that were lost, as the control thread did not read fast enough. */
uint64_t runtime_tap_dropped(const struct runtime_tap *t);

#endif
