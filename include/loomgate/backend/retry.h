/* retry.h: the rules of another try: how long to wait before it, and how many there may be in all; pure.
 *
 *   back-off:  any time up to min(max, base * 2^n)
 *   budget:    ratio-paid retries of the last 10 s  <=  ratio x requests of the last 10 s
 *              else one from the floor: a bucket that is filled min_per_second times a second and holds a second's */
#ifndef LOOMGATE_BACKEND_RETRY_H
#define LOOMGATE_BACKEND_RETRY_H

#include "loomgate/base/failure.h"
#include "loomgate/base/macros.h"
#include "loomgate/config/config.h"

#include <stdatomic.h>

enum {
    BUDGET_WINDOW_S = 10,
    BUDGET_SLICES = 16,                   /* more than the window has: a worker whose clock lags still finds its own */
    RETRY_AFTER_UNBOUNDED_US = 10000000U, /* so long a server's Retry-After is obeyed where no timeouts.request is */
};

/* One for each backend, shared by all workers: atomics alone, and all of them relaxed. Zero is a fresh one. */
struct retry_budget {
    /* A second's counts in one word, so that they begin anew together: its number, requests, retries. */
    _Alignas(LG_CACHE_LINE) _Atomic uint64_t slices[BUDGET_SLICES];
    _Atomic uint64_t floor_us; /* up to this time the floor is spent (a virtual clock, as in GCRA) */
};

/* "Full jitter" (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): of clients that failed
 * together no two come back together. `retries` have been made before this one; `random` is uniform over 64 bits. */
uint64_t retry_backoff_us(const struct retry_settings *s, unsigned retries, uint64_t random);

/* Whether a try that ended so is to be made good. `status`: of the server's own answer (FAILURE_bad_status). */
bool retry_covers(const struct retry_settings *s, enum failure f, unsigned status);

/* A request has come that may need retries. */
void retry_budget_count(struct retry_budget *b, uint64_t now_us);
/* Takes what one retry costs; false: there is nothing left. */
LG_MUST_CHECK bool retry_budget_take(struct retry_budget *b, const struct retry_settings *s, uint64_t now_us);

/* Retry-After as a number of seconds (RFC 9110 section 10.2.3), in us; a date, or what is none: 0. */
uint64_t retry_after_parse_us(struct slice value);

#endif
