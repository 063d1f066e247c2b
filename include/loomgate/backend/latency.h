/* latency.h: how long a server takes to answer: a moving average that believes bad news at once, in one atomic word. */
#ifndef LOOMGATE_BACKEND_LATENCY_H
#define LOOMGATE_BACKEND_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>

/* What was measured counts half after so long. */
enum { LATENCY_HALF_LIFE_US = 5 << 20 };

/* Many threads add and read, without a lock: value and time are one word, replaced as a whole, so nobody sees the one
 * without the other. Relaxed order is enough: nothing else is published with it. All zero: never measured. */
struct latency {
    _Atomic uint64_t word;
};

/* A sample. What is slower than the average becomes the average; what is faster moves it down as time goes by. */
void latency_add(struct latency *l, uint64_t now_us, uint64_t sample_us);
/* In microseconds, at least 1, but 0 when nothing was measured yet. It sinks while there are no samples, so that a
 * server that was slow once is tried again. */
float latency_at(const struct latency *l, uint64_t now_us);

#endif
