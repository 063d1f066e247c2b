/* histogram.c: what a bucket of durations stands for, and percentiles. */
#include "loomgate/stats/histogram.h"

#include "loomgate/base/macros.h"

double histogram_value(unsigned index) {
    if (index < 2 * HISTOGRAM_BLOCK) return index;
    unsigned shift = index / HISTOGRAM_BLOCK - 1;
    uint64_t low = (uint64_t)(index % HISTOGRAM_BLOCK + HISTOGRAM_BLOCK) << shift;
    return (double)low + (double)((UINT64_C(1) << shift) - 1) / 2;
}

static uint64_t nearest_rank(uint64_t count, uint64_t permille) {
    return (count / 1000) * permille + (count % 1000 * permille + 999) / 1000;
}

void histogram_summarise(const uint64_t *counts, unsigned end, struct histogram_summary *out) {
    static const uint64_t permilles[] = {500, 900, 950, 990, 999, 1000};
    double *const values[] = {&out->p50_us, &out->p90_us, &out->p95_us, &out->p99_us, &out->p999_us, &out->max_us};
    *out = (struct histogram_summary){0};
    for (unsigned i = 0; i < end; i++) out->count += counts[i];
    uint64_t sum = 0;
    size_t next = 0;
    for (unsigned i = 0; i < end && out->count; i++) {
        sum += counts[i];
        for (; next < LG_COUNT(values) && sum >= nearest_rank(out->count, permilles[next]); next++)
            *values[next] = histogram_value(i);
    }
}
