/* breaker_state.c: a breaker's state as facts, for the process that takes over. */
#include "breaker_internal.h"

static const char *const state_names[] = {
    [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};

/* --- printing --------------------------------------------------------------------------------------------------- */

static uint64_t slot_at(const struct breaker_window *w, uint64_t number) {
    uint64_t slot = atomic_load_explicit(&w->slices[number % RING], memory_order_relaxed);
    return slot >> (REQUEST_BITS + ERROR_BITS) == (number & MASK(NUMBER_BITS)) ? slot : 0;
}

/* "12,0,3": each slice of the window, the newest first. */
static void print_counts(const struct breaker_window *w, uint64_t newest, const char *key, unsigned shift, FILE *out) {
    fprintf(out, " %s=", key);
    for (unsigned i = 0; i < BREAKER_SLICES; i++)
        fprintf(out, "%s%llu", i ? "," : "", (unsigned long long)(slot_at(w, newest - i) >> shift & MASK(ERROR_BITS)));
}

static bool is_empty(const struct breaker_window *w, uint64_t newest) {
    for (unsigned i = 0; i < BREAKER_SLICES; i++)
        if (slot_at(w, newest - i)) return false;
    return true;
}

void breaker_print(const struct breaker *b, const struct breaker_window *w, const struct breaker_settings *s,
                   uint64_t now_us, FILE *out) {
    struct view v = unpack(atomic_load_explicit(&b->word, memory_order_acquire));
    uint64_t newest = slice_number(s, now_us), changed_us = atomic_load_explicit(&b->changed_us, memory_order_relaxed);
    const char *reason = breaker_reason_name(b);
    if (!v.is_held) {
        facts_text(out, "breaker", state_names[v.state]);
        facts_number(out, "breaker_level", v.level);
        if (v.state == BREAKER_OPEN) facts_number(out, "breaker_open_us", breaker_wait_us(b, now_us));
    }
    facts_number(out, "breaker_trips", atomic_load_explicit(&b->trips, memory_order_relaxed));
    if (reason) facts_text(out, "breaker_reason", reason);
    if (changed_us) facts_number(out, "breaker_changed_us", now_us > changed_us ? now_us - changed_us : 0);
    if (is_empty(w, newest)) return;
    facts_number(out, "window_us", s->window_us);
    print_counts(w, newest, "window_requests", ERROR_BITS, out);
    print_counts(w, newest, "window_errors", 0, out);
}

/* --- taking ----------------------------------------------------------------------------------------------------- */

static void take_state(struct breaker *b, uint64_t now_us, const struct facts *f) {
    const char *state = facts_find(f, "breaker");
    uint64_t level = 0, open_us = 0;
    if (!state || breaker_is_held(b)) return;
    facts_find_number(f, "breaker_level", MASK(LEVEL_BITS), &level);
    facts_find_number(f, "breaker_open_us", UINT64_MAX, &open_us);
    struct view v = {.state = BREAKER_CLOSED, .level = level};
    if (strcmp(state, state_names[BREAKER_CLOSED]) != 0) {
        uint64_t longest_us = (HELD_OPEN - 1) * 1000 - now_us;
        v.state = BREAKER_OPEN;
        v.until_ms = (now_us + (open_us < longest_us ? open_us : longest_us)) / 1000;
    }
    atomic_store_explicit(&b->word, pack(v), memory_order_release);
}

static void take_reason(struct breaker *b, const char *reason) {
    for (uint8_t i = BREAKER_REASON_ERROR_RATE; reason && i <= BREAKER_REASON_OPERATOR; i++) {
        struct breaker other = {.reason = i};
        if (strcmp(breaker_reason_name(&other), reason) == 0)
            atomic_store_explicit(&b->reason, i, memory_order_relaxed);
    }
}

/* The next number of the list; 0 when there is none (any more), or it would not fit. */
static uint64_t next_count(struct slice *list) {
    struct slice part;
    uint64_t number = 0;
    if (slice_split(list, ',', &part) && !slice_to_u64(part, MASK(ERROR_BITS), &number)) number = 0;
    return number;
}

static void take_window(struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                        const struct facts *f) {
    struct slice requests = slice_of(facts_find(f, "window_requests")),
                 errors = slice_of(facts_find(f, "window_errors"));
    uint64_t newest = slice_number(s, now_us);
    if (facts_get_number(f, "window_us") != s->window_us) return;
    for (unsigned i = 0; i < BREAKER_SLICES; i++) {
        uint64_t number = newest - i, count = next_count(&requests), failed = next_count(&errors);
        if (!count && !failed) continue;
        uint64_t slot = (number & MASK(NUMBER_BITS)) << (REQUEST_BITS + ERROR_BITS) | count << ERROR_BITS | failed;
        atomic_store_explicit(&w->slices[number % RING], slot, memory_order_relaxed);
    }
}

void breaker_take(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                  const struct facts *f) {
    uint64_t trips, ago_us;
    take_state(b, now_us, f);
    if (facts_find_number(f, "breaker_trips", UINT32_MAX, &trips))
        atomic_store_explicit(&b->trips, (uint32_t)trips, memory_order_relaxed);
    take_reason(b, facts_find(f, "breaker_reason"));
    if (facts_find_number(f, "breaker_changed_us", now_us - 1, &ago_us))
        atomic_store_explicit(&b->changed_us, now_us - ago_us, memory_order_relaxed);
    take_window(w, s, now_us, f);
}
