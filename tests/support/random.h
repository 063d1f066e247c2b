/* random.h: repeatable random numbers for tests (xorshift64*, Marsaglia 2003 and Vigna 2016). */
#ifndef TESTS_SUPPORT_RANDOM_H
#define TESTS_SUPPORT_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state; /* never 0 */
};

static inline uint64_t random_next(struct random *r) {
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1dU;
}

/* 0 to `limit` - 1. */
static inline uint32_t random_below(struct random *r, uint32_t limit) {
    return (uint32_t)((random_next(r) >> 32) % limit);
}

/* True once in `n` calls. */
static inline bool random_once_in(struct random *r, uint32_t n) {
    return random_below(r, n) == 0;
}

#endif
