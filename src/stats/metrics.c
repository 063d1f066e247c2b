/* metrics.c: counters: the rows of metrics.def as a table, and the sum over all shards. */
#include "loomgate/stats/metrics.h"

#include "loomgate/base/macros.h"

static const struct metric_row rows[METRIC_COUNT] = {
#define METRIC(name, kind, help) [METRIC_##name] = {#name, help, METRIC_##kind},
#include "loomgate/stats/metrics.def"
#undef METRIC
};

const struct metric_row *metric_get(enum metric m) {
    LG_ASSERT((unsigned)m < METRIC_COUNT);
    return &rows[m];
}

uint64_t metrics_sum(struct metrics *const *shards, unsigned count, enum metric m) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; i++) sum += atomic_load_explicit(&shards[i]->v[m], memory_order_relaxed);
    return sum;
}
