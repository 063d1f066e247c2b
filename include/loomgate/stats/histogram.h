/* histogram.h: log-linear buckets of durations: which bucket a duration is in, what a bucket stands for, percentiles.
 *
 * Below 128 us each microsecond has a bucket; above, each octave has 64 of equal width. A bucket stands for its middle,
 * so no value is off by more than half a bucket: 1/128, 0.8 %. (The shape is that of Gil Tene's HdrHistogram.)
 * Durations are whole microseconds; what takes 2^37 us (38 hours) or more is in the last bucket. */
#ifndef LOOMGATE_STATS_HISTOGRAM_H
#define LOOMGATE_STATS_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SUB_BITS = 6,
    HISTOGRAM_BLOCK = 1 << HISTOGRAM_SUB_BITS, /* buckets of a block: 0 to 63 us, 64 to 127 us, then an octave each */
    HISTOGRAM_BLOCKS = 32,
    HISTOGRAM_BUCKETS = HISTOGRAM_BLOCK * HISTOGRAM_BLOCKS,
};
#define HISTOGRAM_MAX_US ((UINT64_C(1) << 37) - 1)

static inline unsigned histogram_index(uint64_t us) {
    if (us > HISTOGRAM_MAX_US) us = HISTOGRAM_MAX_US;
    unsigned shift = 63U - HISTOGRAM_SUB_BITS - (unsigned)__builtin_clzll(us | HISTOGRAM_BLOCK);
    return shift * HISTOGRAM_BLOCK + (unsigned)(us >> shift);
}

/* What the bucket stands for: the middle of the durations that are in it, in microseconds. */
double histogram_value(unsigned index);

/* The durations in block `block` are less than that. */
static inline uint64_t histogram_block_limit_us(unsigned block) {
    return (uint64_t)HISTOGRAM_BLOCK << block;
}

/* Where durations lie; all by nearest rank: Pxx is the ceil(xx % of count)th smallest. With a count of 0 there are no
 * percentiles: all are 0 and none may be shown. */
struct histogram_summary {
    uint64_t count;
    double p50_us, p90_us, p95_us, p99_us, p999_us, max_us;
};
/* Of the first `end` buckets; the others are empty. */
void histogram_summarise(const uint64_t *counts, unsigned end, struct histogram_summary *out);

#endif
