/* latency.c: the average behind `peak_ewma`: rises at once, sinks by half-lives (Peak EWMA of Twitter's Finagle).
 *
 *   word = time of the last change, 32 bits of 1024 us | the average then, the bits of a float */
#include "loomgate/backend/latency.h"

#include <string.h>

enum { TICK_SHIFT = 10, HALF_LIFE_TICKS = LATENCY_HALF_LIFE_US >> TICK_SHIFT, SKEW_TICKS = 60000 };

static uint32_t tick_of(uint64_t now_us) {
    return (uint32_t)(now_us >> TICK_SHIFT);
}

static uint64_t pack(uint32_t tick, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint64_t)tick << 32 | bits;
}

static float value_of(uint64_t word) {
    uint32_t bits = (uint32_t)word;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Ticks since the word was written. Workers' clocks differ a little: what seems to be from the future is from now. */
static uint32_t age_of(uint64_t word, uint32_t now) {
    uint32_t age = now - (uint32_t)(word >> 32);
    return age > UINT32_MAX - SKEW_TICKS ? 0 : age;
}

/* 2^-(age / half-life), a straight line between the powers of two. */
static float kept(uint32_t age) {
    uint32_t halvings = age / HALF_LIFE_TICKS;
    if (halvings > 31) return 0;
    float part = (float)(age % HALF_LIFE_TICKS) / (float)HALF_LIFE_TICKS;
    return (1 - part / 2) / (float)(1U << halvings);
}

/* Within a tick nothing sinks, so at most one write a tick comes of samples that are not peaks. */
static uint64_t word_after(uint64_t old, uint32_t now, float sample) {
    if (!old) return pack(now, sample);
    uint32_t age = age_of(old, now);
    float was = value_of(old), keep = kept(age);
    if (sample >= was) return pack(age ? now : (uint32_t)(old >> 32), sample);
    return age ? pack(now, was * keep + sample * (1 - keep)) : old;
}

void latency_add(struct latency *l, uint64_t now_us, uint64_t sample_us) {
    float sample = sample_us ? (float)sample_us : 1;
    uint64_t old = atomic_load_explicit(&l->word, memory_order_relaxed), next;
    do {
        next = word_after(old, tick_of(now_us), sample);
        if (next == old) return;
    } while (!atomic_compare_exchange_weak_explicit(&l->word, &old, next, memory_order_relaxed, memory_order_relaxed));
}

float latency_at(const struct latency *l, uint64_t now_us) {
    uint64_t word = atomic_load_explicit(&l->word, memory_order_relaxed);
    if (!word) return 0;
    float value = value_of(word) * kept(age_of(word, tick_of(now_us)));
    return value > 1 ? value : 1;
}
