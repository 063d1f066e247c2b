/* breaker.c: the circuit breaker of one server. Its picture is in the header.
 *
 * The pattern is Michael Nygard's ("Release It!", 2007); an error rate over a rolling window of slices, as in Netflix's
 * Hystrix, rather than a count in a row. */
#include "breaker_internal.h"

/* --- the word --------------------------------------------------------------------------------------------------- */

/* Acquire, and release in move(): who sees a breaker closed sees its window emptied. */
static uint64_t word_of(const struct breaker *b) {
    return atomic_load_explicit(&b->word, memory_order_acquire);
}

/* Until OPEN ends; 0: it has. */
static uint64_t rest_us(struct view v, uint64_t now_us) {
    return v.until_ms * 1000 > now_us ? v.until_ms * 1000 - now_us : 0;
}

/* To the millisecond below, so that never more is announced than was asked for. What the word has no room for lasts a
 * thousand years. */
static struct view opened(struct view v, uint64_t now_us, uint64_t open_us, uint64_t level) {
    const uint64_t longest_us = (HELD_OPEN - 1) * 1000 - now_us;
    uint64_t until_ms = (now_us + (open_us < longest_us ? open_us : longest_us)) / 1000;
    return (struct view){.state = BREAKER_OPEN, .generation = v.generation + 1, .level = level, .until_ms = until_ms};
}

static uint64_t open_limit(const struct breaker_settings *s) {
    return s->max_open_us > s->open_us ? s->max_open_us : s->open_us;
}

/* For so long no probe has ended that another could have come: uploads that trickle, say. They are written off, so that
 * they do not keep a server out that is well. */
static bool are_overdue(struct view v, const struct breaker_settings *s, uint64_t now_us) {
    uint64_t age_s = (now_us / 1000000 - v.since_s) & MASK(SINCE_BITS);
    bool is_ahead = age_s >> (SINCE_BITS - 1); /* the clock of whoever wrote it */
    return !is_ahead && age_s > open_limit(s) / 1000000 + 1;
}

static bool lets_in(struct view v, const struct breaker_settings *s, uint64_t now_us) {
    if (v.state == BREAKER_CLOSED) return true;
    if (v.state == BREAKER_OPEN) return rest_us(v, now_us) == 0;
    return v.in_flight < s->probes || are_overdue(v, s, now_us);
}

static void note_reason(struct breaker *b, enum breaker_reason reason) {
    atomic_store_explicit(&b->reason, reason, memory_order_relaxed);
}

/* By hand it is another one. */
static enum breaker_reason reason_of(uint8_t from, uint64_t to) {
    if (to == BREAKER_HALF_OPEN) return BREAKER_REASON_OPEN_OVER;
    if (to == BREAKER_CLOSED) return BREAKER_REASON_PROBES_SUCCEEDED;
    return from == BREAKER_CLOSED ? BREAKER_REASON_ERROR_RATE : BREAKER_REASON_PROBE_FAILED;
}

const char *breaker_reason_name(const struct breaker *b) {
    static const char *const names[] = {[BREAKER_REASON_ERROR_RATE] = "error_rate",
                                        [BREAKER_REASON_OPEN_OVER] = "open_over",
                                        [BREAKER_REASON_PROBE_FAILED] = "probe_failed",
                                        [BREAKER_REASON_PROBES_SUCCEEDED] = "probes_succeeded",
                                        [BREAKER_REASON_OPERATOR] = "operator"};
    return names[atomic_load_explicit(&b->reason, memory_order_relaxed)];
}

/* Replaces the word that was read as `old` and tells of it. */
static bool move(struct breaker *b, uint64_t *old, struct view to, uint64_t now_us, struct breaker_change *change) {
    uint8_t from = (uint8_t)unpack(*old).state;
    if (!atomic_compare_exchange_weak_explicit(&b->word, old, pack(to), memory_order_acq_rel, memory_order_acquire))
        return false;
    if (from == to.state) return true;
    *change = (struct breaker_change){.happened = true, .from = from, .to = (uint8_t)to.state};
    atomic_store_explicit(&b->changed_us, now_us, memory_order_relaxed);
    note_reason(b, reason_of(from, to.state));
    if (to.state == BREAKER_OPEN) atomic_fetch_add_explicit(&b->trips, 1, memory_order_relaxed);
    return true;
}

/* --- the window ------------------------------------------------------------------------------------------------- */

/* So far ahead the clock of another thread may be, in slices: more when a window is very short. */
enum { AHEAD_MAX = 8 * RING };

/* How many slices the slot is ahead of this number; modulo. */
static uint64_t slots_lead(uint64_t slot, uint64_t number) {
    return ((slot >> (REQUEST_BITS + ERROR_BITS)) - number) & MASK(NUMBER_BITS);
}

/* What a slot holds already when this slice is counted in: nothing when that is a round older. What a thread whose
 * clock is ahead has begun is not begun anew. */
static uint64_t slot_for(uint64_t slot, uint64_t number) {
    if (slot && slots_lead(slot, number) < AHEAD_MAX) return slot;
    return (number & MASK(NUMBER_BITS)) << (REQUEST_BITS + ERROR_BITS);
}

/* A full slice counts no more: its rate stands. */
static void window_add(struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us, unsigned requests,
                       unsigned errors) {
    uint64_t number = slice_number(s, now_us), new;
    size_t i = number % RING;
    uint64_t old = atomic_load_explicit(&w->slices[i], memory_order_relaxed);
    do {
        new = slot_for(old, number);
        if ((new >> ERROR_BITS &MASK(REQUEST_BITS)) == MASK(REQUEST_BITS)) return;
        if ((new &MASK(ERROR_BITS)) == MASK(ERROR_BITS)) return;
        new += ((uint64_t)requests << ERROR_BITS) + errors;
    } while (
        !atomic_compare_exchange_weak_explicit(&w->slices[i], &old, new, memory_order_relaxed, memory_order_relaxed));
}

static void window_clear(struct breaker_window *w) {
    for (unsigned i = 0; i < RING; i++) atomic_store_explicit(&w->slices[i], 0, memory_order_relaxed);
}

/* The slices of the window, and those that threads ahead of this one have begun. An error whose request has been
 * forgotten stands for one. */
void breaker_window_read(const struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                         uint32_t *requests, uint32_t *errors) {
    uint64_t oldest = slice_number(s, now_us) - (BREAKER_SLICES - 1);
    *requests = *errors = 0;
    for (unsigned i = 0; i < RING; i++) {
        uint64_t slot = atomic_load_explicit(&w->slices[i], memory_order_relaxed);
        if (slots_lead(slot, oldest) >= RING) continue;
        *requests += (uint32_t)(slot >> ERROR_BITS & MASK(REQUEST_BITS));
        *errors += (uint32_t)(slot & MASK(ERROR_BITS));
    }
    if (*requests < *errors) *requests = *errors;
}

/* --- an exchange's way through it ------------------------------------------------------------------------------- */

bool breaker_may_take(const struct breaker *b, const struct breaker_settings *s, uint64_t now_us) {
    return !s->on || lets_in(unpack(word_of(b)), s, now_us);
}

/* With a probe more. */
static struct view with_probe(struct view v, const struct breaker_settings *s, uint64_t now_us) {
    if (v.state == BREAKER_OPEN)
        v = (struct view){.state = BREAKER_HALF_OPEN, .generation = v.generation + 1, .level = v.level};
    if (v.in_flight >= s->probes) { /* the old ones are overdue */
        v.generation++;
        v.in_flight = 0;
    }
    v.in_flight++;
    v.since_s = now_us / 1000000;
    return v;
}

static struct breaker_ticket ticket_of(struct view v, bool is_probe) {
    return (struct breaker_ticket){.is_probe = is_probe, .generation = v.generation & MASK(GENERATION_BITS)};
}

bool breaker_enter(struct breaker *b, const struct breaker_settings *s, uint64_t now_us, struct breaker_ticket *t,
                   struct breaker_change *change) {
    uint64_t old = word_of(b);
    *change = (struct breaker_change){0};
    for (;;) {
        struct view v = unpack(old);
        *t = ticket_of(v, false);
        if (!s->on || v.state == BREAKER_CLOSED) return true;
        if (!lets_in(v, s, now_us)) return s->observe;
        v = with_probe(v, s, now_us);
        if (!move(b, &old, v, now_us, change)) continue;
        *t = ticket_of(v, true);
        return true;
    }
}

static bool is_current(struct view v, struct breaker_ticket t) {
    return v.generation == t.generation;
}

/* Whether this is the failure that is too many. The allowance is for rates that are no binary fractions. */
static bool are_too_many(const struct breaker_settings *s, uint32_t requests, uint32_t errors) {
    return requests >= s->min_requests && (double)errors + 1e-6 >= s->error_rate * (double)requests;
}

/* A failure has been counted: opens when there were enough. */
static void consider(struct breaker *b, const struct breaker_window *w, const struct breaker_settings *s,
                     uint64_t now_us, struct breaker_ticket t, struct breaker_change *change) {
    uint32_t requests, errors;
    breaker_window_read(w, s, now_us, &requests, &errors);
    if (!are_too_many(s, requests, errors)) return;
    for (uint64_t old = word_of(b);;) {
        struct view v = unpack(old);
        if (v.state != BREAKER_CLOSED || v.is_held || !is_current(v, t)) return;
        if (!move(b, &old, opened(v, now_us, s->open_us, 1), now_us, change)) continue;
        change->requests = requests;
        change->errors = errors;
        change->open_us = s->open_us;
        return;
    }
}

/* After so many openings in a row. */
static uint64_t open_time(const struct breaker_settings *s, uint64_t level) {
    uint64_t limit = open_limit(s);
    return s->open_us <= limit >> level ? s->open_us << level : limit;
}

/* What HALF_OPEN becomes by the result of a probe. */
static struct view without_probe(struct view v, const struct breaker_settings *s, uint64_t now_us,
                                 enum breaker_result result) {
    uint64_t level = v.level < MASK(LEVEL_BITS) ? v.level + 1 : v.level;
    if (result == BREAKER_FAILED) return opened(v, now_us, open_time(s, v.level), level);
    if (v.in_flight) v.in_flight--;
    if (result == BREAKER_UNKNOWN || ++v.succeeded < s->probes) return v;
    return (struct view){.state = BREAKER_CLOSED, .generation = v.generation + 1};
}

static void end_probe(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                      struct breaker_ticket t, enum breaker_result result, struct breaker_change *change) {
    uint64_t old = word_of(b);
    for (;;) {
        struct view v = unpack(old), to;
        if (v.state != BREAKER_HALF_OPEN || !is_current(v, t)) return;
        to = without_probe(v, s, now_us, result);
        /* Before, not after: the first failure of those that come now must not find the old ones. */
        if (to.state == BREAKER_CLOSED) window_clear(w);
        if (!move(b, &old, to, now_us, change)) continue;
        if (to.state == BREAKER_OPEN) change->open_us = open_time(s, v.level);
        return;
    }
}

void breaker_leave(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                   struct breaker_ticket t, enum breaker_result result, struct breaker_change *change) {
    *change = (struct breaker_change){0};
    if (!s->on || !is_current(unpack(word_of(b)), t)) return;
    if (t.is_probe) {
        end_probe(b, w, s, now_us, t, result, change);
        return;
    }
    if (result == BREAKER_UNKNOWN) return;
    window_add(w, s, now_us, 1, result == BREAKER_FAILED);
    if (result == BREAKER_FAILED) consider(b, w, s, now_us, t, change);
}

void breaker_revoke(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                    struct breaker_ticket t, struct breaker_change *change) {
    *change = (struct breaker_change){0};
    if (!s->on || !is_current(unpack(word_of(b)), t)) return;
    if (t.is_probe) {
        end_probe(b, w, s, now_us, t, BREAKER_FAILED, change);
        return;
    }
    window_add(w, s, now_us, 0, 1); /* the request was counted */
    consider(b, w, s, now_us, t, change);
}

/* --- views and commands ----------------------------------------------------------------------------------------- */

enum breaker_state breaker_state_get(const struct breaker *b) {
    return (enum breaker_state)unpack(word_of(b)).state;
}

uint64_t breaker_wait_us(const struct breaker *b, uint64_t now_us) {
    struct view v = unpack(word_of(b));
    if (v.state != BREAKER_OPEN || v.is_held) return 0;
    uint64_t rest = rest_us(v, now_us);
    return rest ? rest : 1;
}

void breaker_reset(struct breaker *b, struct breaker_window *w, uint64_t now_us, struct breaker_change *change) {
    uint64_t old = word_of(b);
    *change = (struct breaker_change){0};
    window_clear(w);
    while (!move(b, &old, (struct view){.state = BREAKER_CLOSED, .generation = unpack(old).generation + 1}, now_us,
                 change)) {}
    if (change->happened) note_reason(b, BREAKER_REASON_OPERATOR);
}

void breaker_trip(struct breaker *b, uint64_t now_us, uint64_t open_us, struct breaker_change *change) {
    uint64_t old = word_of(b);
    *change = (struct breaker_change){0};
    while (!move(b, &old, opened(unpack(old), now_us, open_us, 1), now_us, change)) {}
    if (change->happened) note_reason(b, BREAKER_REASON_OPERATOR);
    change->open_us = open_us;
}

/* What runs through a CLOSED one is counted on. */
void breaker_hold(struct breaker *b, enum breaker_state state, uint64_t now_us, struct breaker_change *change) {
    uint64_t old = word_of(b);
    struct view v, to;
    LG_ASSERT(state != BREAKER_HALF_OPEN);
    *change = (struct breaker_change){0};
    do {
        v = unpack(old);
        to = (struct view){.state = state, .generation = v.generation + (v.state != state), .is_held = true};
    } while (!move(b, &old, to, now_us, change));
    if (change->happened) note_reason(b, BREAKER_REASON_OPERATOR);
}

void breaker_release(struct breaker *b, uint64_t now_us) {
    uint64_t old = word_of(b);
    struct breaker_change none = {0};
    struct view v;
    do {
        v = unpack(old);
        if (!v.is_held) return;
        v = v.state == BREAKER_OPEN ? opened(v, now_us, 0, 1) : (struct view){.generation = v.generation};
    } while (!move(b, &old, v, now_us, &none));
}

bool breaker_is_held(const struct breaker *b) {
    return unpack(word_of(b)).is_held;
}
