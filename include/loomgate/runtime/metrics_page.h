/* metrics_page.h: all that Prometheus is told, family by family, in portions of one sample or histogram. Reads what
 * belongs to the control thread. */
#ifndef LOOMGATE_RUNTIME_METRICS_PAGE_H
#define LOOMGATE_RUNTIME_METRICS_PAGE_H

#include "loomgate/snapshot/snapshot.h"
#include "loomgate/stats/exposition.h"
#include "loomgate/stats/metrics.h"
#include "loomgate/stats/telemetry.h"

/* What there is once for the whole process. */
struct metrics_facts {
    uint64_t counters[METRIC_COUNT];
    uint64_t now_us, start_unix_us, cpu_us;
    uint64_t resident_bytes; /* 0: not known */
    uint64_t log_lost, reloads;
    unsigned workers, connections_limit, configurations;
    struct telemetry_memory memory;
};

struct metrics_page {
    struct exposition *text;
    const struct snapshot *snapshot;
    const struct telemetry *telemetry;
    struct metrics_facts facts;
    unsigned counter;       /* the next row of metrics.def; then */
    unsigned scope, family; /* the family that is being written, and what it is told of next: */
    uint32_t outer, inner;  /* a frontend and its route, say */
};

/* Begins. All is borrowed until the last portion is written; the snapshot keeps the series alive. */
void metrics_page_init(struct metrics_page *p, struct exposition *text, const struct snapshot *snapshot,
                       const struct telemetry *telemetry, const struct metrics_facts *facts);
/* One portion; false: all is written. */
bool metrics_page_write(struct metrics_page *p);

#endif
