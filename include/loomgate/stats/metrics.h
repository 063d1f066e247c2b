/* metrics.h: counters: a shard a worker with one writer, summed on read; the names are rows of metrics.def. */
#ifndef LOOMGATE_STATS_METRICS_H
#define LOOMGATE_STATS_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

enum metric {
#define METRIC(name, kind, help) METRIC_##name,
#include "loomgate/stats/metrics.def"
#undef METRIC
    METRIC_COUNT
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };
struct metric_row {
    const char *name, *help;
    enum metric_kind kind;
};
const struct metric_row *metric_get(enum metric m);

/* One worker's counters, on cache lines of their own. Only its worker writes; anybody reads. */
struct metrics {
    _Alignas(64) _Atomic uint64_t v[METRIC_COUNT];
};
_Static_assert(sizeof(struct metrics) % 64 == 0, "nothing else is on the last line");

/* One writer: a relaxed load and store, no locked instruction. */
static inline void metrics_add(struct metrics *shard, enum metric m, uint64_t n) {
    uint64_t old = atomic_load_explicit(&shard->v[m], memory_order_relaxed);
    atomic_store_explicit(&shard->v[m], old + n, memory_order_relaxed);
}
static inline void metrics_sub(struct metrics *shard, enum metric m, uint64_t n) {
    metrics_add(shard, m, (uint64_t)0 - n);
}
/* The sum over all shards; a gauge may be momentarily off by what moves meanwhile. */
uint64_t metrics_sum(struct metrics *const *shards, unsigned count, enum metric m);

#endif
