/* breaker.c: the circuit breaker of one server. Its picture is in the header.
 *
 * The pattern is Michael Nygard's ("Release It!", 2007); an error rate over a rolling window of slices, as in Netflix's
 * Hystrix, rather than a count in a row. */
#include "loomgate/backend/breaker.h"

/* --- the word --------------------------------------------------------------------------------------------------- */

/* The word unpacked. Widths in bits: 2 8 5 7 7 35. */
struct view {
    uint64_t state, generation, level, in_flight, succeeded;
    uint64_t until_ms; /* of OPEN; wraps around after a year */
};
enum { UNTIL_BITS = 35, COUNT_BITS = 7, LEVEL_BITS = 5, GENERATION_BITS = 8 };
enum {
    SUCCEEDED_AT = UNTIL_BITS,
    IN_FLIGHT_AT = SUCCEEDED_AT + COUNT_BITS,
    LEVEL_AT = IN_FLIGHT_AT + COUNT_BITS,
    GENERATION_AT = LEVEL_AT + LEVEL_BITS,
    STATE_AT = GENERATION_AT + GENERATION_BITS
};
_Static_assert((int)STATE_AT == (int)BREAKER_STATE_AT, "the header reads the state too");
#define MASK(bits) ((1ULL << (bits)) - 1)

static struct view unpack(uint64_t word) {
    return (struct view){word >> STATE_AT,
                         word >> GENERATION_AT & MASK(GENERATION_BITS),
                         word >> LEVEL_AT & MASK(LEVEL_BITS),
                         word >> IN_FLIGHT_AT & MASK(COUNT_BITS),
                         word >> SUCCEEDED_AT & MASK(COUNT_BITS),
                         word & MASK(UNTIL_BITS)};
}

static uint64_t pack(struct view v) {
    return v.state << STATE_AT | (v.generation & MASK(GENERATION_BITS)) << GENERATION_AT | v.level << LEVEL_AT |
           v.in_flight << IN_FLIGHT_AT | v.succeeded << SUCCEEDED_AT | (v.until_ms & MASK(UNTIL_BITS));
}

/* Until OPEN ends; 0: it has. Rounded up, so that what is announced is not too early. */
static uint64_t rest_ms(struct view v, uint64_t now_us) {
    uint64_t rest = (v.until_ms - now_us / 1000) & MASK(UNTIL_BITS);
    return rest >> (UNTIL_BITS - 1) ? 0 : rest;
}

static struct view opened(struct view v, uint64_t now_us, uint64_t open_us, uint64_t level) {
    uint64_t until_ms = (now_us + open_us) / 1000 + 1;
    return (struct view){BREAKER_OPEN, v.generation + 1, level, 0, 0, until_ms};
}

/* Replaces the word that was read as `old` and tells of it. */
static bool move(struct breaker *b, uint64_t *old, struct view to, uint64_t now_us, struct breaker_change *change) {
    uint8_t from = (uint8_t)unpack(*old).state;
    if (!atomic_compare_exchange_weak_explicit(&b->word, old, pack(to), memory_order_relaxed, memory_order_relaxed))
        return false;
    if (from == to.state) return true;
    *change = (struct breaker_change){.happened = true, .from = from, .to = (uint8_t)to.state};
    atomic_store_explicit(&b->changed_us, now_us, memory_order_relaxed);
    if (to.state == BREAKER_OPEN) atomic_fetch_add_explicit(&b->trips, 1, memory_order_relaxed);
    return true;
}

/* --- the window ------------------------------------------------------------------------------------------------- */

/* slice number (16 bits) | requests (24 bits) | errors (24 bits) */
enum { ERROR_BITS = 24, REQUEST_BITS = 24, NUMBER_BITS = 16, RING = BREAKER_SLICES + 2 };

static uint64_t slice_number(const struct breaker_settings *s, uint64_t now_us) {
    uint64_t length_us = s->window_us / BREAKER_SLICES;
    return now_us / (length_us ? length_us : 1);
}

static uint64_t slice_begin(uint64_t number) {
    return (number & MASK(NUMBER_BITS)) << (REQUEST_BITS + ERROR_BITS);
}

/* What a slice holds under this number: nothing when it is an older one's. */
static uint64_t slice_under(uint64_t slice, uint64_t number) {
    return slice >> (REQUEST_BITS + ERROR_BITS) == (number & MASK(NUMBER_BITS)) ? slice : slice_begin(number);
}

static void window_add(struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us, unsigned requests,
                       unsigned errors) {
    uint64_t number = slice_number(s, now_us), new;
    _Atomic uint64_t *slice = &w->slices[number % RING];
    uint64_t old = atomic_load_explicit(slice, memory_order_relaxed);
    do {
        new = slice_under(old, number);
        if ((new >> ERROR_BITS &MASK(REQUEST_BITS)) == MASK(REQUEST_BITS)) return;
        if ((new &MASK(ERROR_BITS)) == MASK(ERROR_BITS)) return;
        new += ((uint64_t)requests << ERROR_BITS) + errors;
    } while (!atomic_compare_exchange_weak_explicit(slice, &old, new, memory_order_relaxed, memory_order_relaxed));
}

static void window_clear(struct breaker_window *w) {
    for (unsigned i = 0; i < RING; i++) atomic_store_explicit(&w->slices[i], 0, memory_order_relaxed);
}

void breaker_window_read(const struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                         uint32_t *requests, uint32_t *errors) {
    uint64_t number = slice_number(s, now_us);
    *requests = *errors = 0;
    for (uint64_t i = 0; i < BREAKER_SLICES && i <= number; i++) {
        uint64_t slice = atomic_load_explicit(&w->slices[(number - i) % RING], memory_order_relaxed);
        slice = slice_under(slice, number - i);
        *requests += (uint32_t)(slice >> ERROR_BITS & MASK(REQUEST_BITS));
        *errors += (uint32_t)(slice & MASK(ERROR_BITS));
    }
}

/* --- an exchange's way through it ------------------------------------------------------------------------------- */

bool breaker_may_take(const struct breaker *b, const struct breaker_settings *s, uint64_t now_us) {
    struct view v = unpack(atomic_load_explicit(&b->word, memory_order_relaxed));
    if (!s->on || v.state == BREAKER_CLOSED) return true;
    if (v.state == BREAKER_OPEN) return rest_ms(v, now_us) == 0;
    return v.in_flight < s->probes;
}

bool breaker_enter(struct breaker *b, const struct breaker_settings *s, uint64_t now_us, struct breaker_ticket *t,
                   struct breaker_change *change) {
    uint64_t old = atomic_load_explicit(&b->word, memory_order_relaxed);
    *change = (struct breaker_change){0};
    *t = (struct breaker_ticket){.generation = (uint8_t)unpack(old).generation};
    if (!s->on) return true;
    for (;;) {
        struct view v = unpack(old);
        *t = (struct breaker_ticket){.generation = (uint8_t)v.generation};
        if (v.state == BREAKER_CLOSED) return true;
        if (v.state == BREAKER_OPEN ? rest_ms(v, now_us) > 0 : v.in_flight >= s->probes) return s->observe;
        if (v.state == BREAKER_OPEN) v = (struct view){BREAKER_HALF_OPEN, v.generation + 1, v.level, 0, 0, 0};
        v.in_flight++;
        if (move(b, &old, v, now_us, change)) {
            *t = (struct breaker_ticket){.is_probe = true,
                                         .generation = (uint8_t)(v.generation & MASK(GENERATION_BITS))};
            return true;
        }
    }
}

/* A failure while closed: opens when there were enough. */
static void consider(struct breaker *b, const struct breaker_window *w, const struct breaker_settings *s,
                     uint64_t now_us, struct breaker_change *change) {
    uint32_t requests, errors;
    uint64_t old = atomic_load_explicit(&b->word, memory_order_relaxed);
    breaker_window_read(w, s, now_us, &requests, &errors);
    if (requests < s->min_requests || (double)errors < s->error_rate * (double)requests) return;
    while (unpack(old).state == BREAKER_CLOSED) {
        if (!move(b, &old, opened(unpack(old), now_us, s->open_us, 1), now_us, change)) continue;
        change->requests = requests;
        change->errors = errors;
        change->open_us = s->open_us;
        return;
    }
}

static uint64_t open_time(const struct breaker_settings *s, uint64_t level) {
    uint64_t limit = s->max_open_us > s->open_us ? s->max_open_us : s->open_us;
    return s->open_us <= limit >> level ? s->open_us << level : limit;
}

/* A probe has ended. Its result says nothing once another transition has been made. */
static void end_probe(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                      struct breaker_ticket t, enum breaker_result result, struct breaker_change *change) {
    uint64_t old = atomic_load_explicit(&b->word, memory_order_relaxed);
    for (;;) {
        struct view v = unpack(old), to = v;
        if (v.state != BREAKER_HALF_OPEN || v.generation != t.generation) return;
        if (to.in_flight) to.in_flight--; /* a revoked one was counted off already */
        uint64_t open_us = open_time(s, v.level);
        if (result == BREAKER_FAILED)
            to = opened(v, now_us, open_us, v.level < MASK(LEVEL_BITS) ? v.level + 1 : v.level);
        else if (result == BREAKER_SUCCEEDED && ++to.succeeded >= s->probes)
            to = (struct view){.state = BREAKER_CLOSED, .generation = v.generation + 1};
        if (!move(b, &old, to, now_us, change)) continue;
        if (to.state == BREAKER_OPEN) change->open_us = open_us;
        if (to.state == BREAKER_CLOSED) window_clear(w);
        return;
    }
}

/* What began before the last transition says nothing of the time after it. */
static bool is_current(const struct breaker *b, struct breaker_ticket t) {
    return unpack(atomic_load_explicit(&b->word, memory_order_relaxed)).generation == t.generation;
}

void breaker_leave(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                   struct breaker_ticket t, enum breaker_result result, struct breaker_change *change) {
    *change = (struct breaker_change){0};
    if (!s->on) return;
    if (t.is_probe) {
        end_probe(b, w, s, now_us, t, result, change);
        return;
    }
    if (result == BREAKER_UNKNOWN) return;
    if (!is_current(b, t)) return;
    window_add(w, s, now_us, 1, result == BREAKER_FAILED);
    if (result == BREAKER_FAILED) consider(b, w, s, now_us, change);
}

void breaker_revoke(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                    struct breaker_ticket t, struct breaker_change *change) {
    *change = (struct breaker_change){0};
    if (!s->on || !is_current(b, t)) return;
    if (t.is_probe) {
        end_probe(b, w, s, now_us, t, BREAKER_FAILED, change);
        return;
    }
    window_add(w, s, now_us, 0, 1); /* the request was counted */
    consider(b, w, s, now_us, change);
}

/* --- views and commands ----------------------------------------------------------------------------------------- */

enum breaker_state breaker_state_get(const struct breaker *b) {
    return (enum breaker_state)unpack(atomic_load_explicit(&b->word, memory_order_relaxed)).state;
}

uint64_t breaker_wait_us(const struct breaker *b, uint64_t now_us) {
    struct view v = unpack(atomic_load_explicit(&b->word, memory_order_relaxed));
    if (v.state != BREAKER_OPEN) return 0;
    uint64_t rest = rest_ms(v, now_us);
    return rest > 1 ? (rest - 1) * 1000 : 1; /* `until` is rounded up */
}

void breaker_reset(struct breaker *b, struct breaker_window *w, uint64_t now_us, struct breaker_change *change) {
    uint64_t old = atomic_load_explicit(&b->word, memory_order_relaxed);
    *change = (struct breaker_change){0};
    while (!move(b, &old, (struct view){.state = BREAKER_CLOSED, .generation = unpack(old).generation + 1}, now_us,
                 change)) {}
    window_clear(w);
}

void breaker_trip(struct breaker *b, uint64_t now_us, uint64_t open_us, struct breaker_change *change) {
    uint64_t old = atomic_load_explicit(&b->word, memory_order_relaxed);
    *change = (struct breaker_change){0};
    while (!move(b, &old, opened(unpack(old), now_us, open_us, 1), now_us, change)) {}
    change->open_us = open_us;
}
