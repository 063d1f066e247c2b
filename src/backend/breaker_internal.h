/* breaker_internal.h: what the word of a breaker and the slices of its window are made of. */
#ifndef LOOMGATE_SRC_BACKEND_BREAKER_INTERNAL_H
#define LOOMGATE_SRC_BACKEND_BREAKER_INTERNAL_H

#include "loomgate/backend/breaker.h"

/* --- the word --------------------------------------------------------------------------------------------------- */

/* The word unpacked. The lowest bits are the end of OPEN, or what HALF_OPEN knows of its probes. */
struct view {
    uint64_t state, generation, level;
    bool is_held; /* CLOSED or OPEN */
    uint64_t until_ms;
    uint64_t since_s, in_flight, succeeded; /* since_s: when the last probe came; wraps around after a year */
};
enum { STATE_BITS = 2, GENERATION_BITS = 12, LEVEL_BITS = 5, UNTIL_BITS = 45 };
enum { SINCE_BITS = 25, COUNT_BITS = 10 }; /* of probes: ample */
enum {
    SUCCEEDED_AT = SINCE_BITS,
    IN_FLIGHT_AT = SUCCEEDED_AT + COUNT_BITS,
    LEVEL_AT = UNTIL_BITS,
    GENERATION_AT = LEVEL_AT + LEVEL_BITS,
    STATE_AT = GENERATION_AT + GENERATION_BITS
};
_Static_assert((int)STATE_AT == (int)BREAKER_STATE_AT, "the header reads the state too");
_Static_assert(STATE_AT + STATE_BITS == 64 && IN_FLIGHT_AT + COUNT_BITS == UNTIL_BITS, "the word is full");
#define MASK(bits) ((1ULL << (bits)) - 1)

/* In the place of the end of OPEN. CLOSED needs no more than a mark there. */
#define HELD_OPEN   MASK(UNTIL_BITS)
#define HELD_CLOSED 1ULL

static inline struct view unpack(uint64_t word) {
    struct view v = {.state = word >> STATE_AT,
                     .generation = word >> GENERATION_AT & MASK(GENERATION_BITS),
                     .level = word >> LEVEL_AT & MASK(LEVEL_BITS)};
    uint64_t rest = word & MASK(UNTIL_BITS);
    v.is_held = rest == (v.state == BREAKER_OPEN ? HELD_OPEN : HELD_CLOSED) && v.state != BREAKER_HALF_OPEN;
    if (v.state == BREAKER_OPEN) v.until_ms = rest;
    if (v.state != BREAKER_HALF_OPEN) return v;
    v.since_s = word & MASK(SINCE_BITS);
    v.succeeded = word >> SUCCEEDED_AT & MASK(COUNT_BITS);
    v.in_flight = word >> IN_FLIGHT_AT & MASK(COUNT_BITS);
    return v;
}

static inline uint64_t pack_rest(struct view v) {
    if (v.is_held) return v.state == BREAKER_OPEN ? HELD_OPEN : HELD_CLOSED;
    if (v.state == BREAKER_OPEN) return v.until_ms;
    return v.in_flight << IN_FLIGHT_AT | v.succeeded << SUCCEEDED_AT | (v.since_s & MASK(SINCE_BITS));
}

static inline uint64_t pack(struct view v) {
    uint64_t rest = pack_rest(v);
    return v.state << STATE_AT | (v.generation & MASK(GENERATION_BITS)) << GENERATION_AT | v.level << LEVEL_AT | rest;
}

/* --- the window ------------------------------------------------------------------------------------------------- */

/* slice number (20 bits) | requests (22 bits) | errors (22 bits) */
enum { ERROR_BITS = 22, REQUEST_BITS = 22, NUMBER_BITS = 20, RING = BREAKER_SLICES + 2 };

static inline uint64_t slice_number(const struct breaker_settings *s, uint64_t now_us) {
    uint64_t length_us = s->window_us / BREAKER_SLICES;
    return now_us / (length_us ? length_us : 1);
}

#endif
