/* telemetry_internal.h: what is kept of a series that has had traffic. */
#ifndef LOOMGATE_STATS_TELEMETRY_INTERNAL_H
#define LOOMGATE_STATS_TELEMETRY_INTERNAL_H

#include "loomgate/stats/digest.h"
#include "loomgate/stats/telemetry.h"

struct seen_block {
    uint64_t pairs[HISTOGRAM_BLOCK / 2];
};

struct history {
    /* Sums over all shards at the last tick, which differences are taken against; they wrap as the shards do. */
    uint32_t version;
    uint64_t tallies[TALLY_COUNT];
    uint32_t moved[MEASURE_COUNT][HISTOGRAM_BLOCKS];
    struct seen_block *seen[MEASURE_COUNT][HISTOGRAM_BLOCKS]; /* NULL: all 0 */

    uint64_t passed[MEASURE_COUNT][HISTOGRAM_BLOCKS]; /* durations since the series came, by block */
    struct digest **slots;                            /* slot_count of them; NULL: no traffic then */

    /* What the shards held already when the series came: another one's that had the id before. Less than nothing
     * (modulo 2^64) of what it has brought from another process. */
    uint64_t base_tallies[TALLY_COUNT];
    uint64_t *base_causes; /* NULL: nothing */
};

struct telemetry_scratch {
    struct digest_sum sum;
    uint8_t room[DIGEST_MAX];
    const struct shard *shards[]; /* of the series at hand: recorder_count at most */
};

/* telemetry_tick.c */
struct telemetry_scratch *telemetry_scratch_get(struct telemetry *t);
/* What the shards of its id hold belongs to an earlier series. */
void history_begin_anew(struct telemetry *t, struct series *s);
/* It has base_causes afterwards. */
struct history *history_need_base(struct telemetry *t, struct series *s);
void history_free(struct telemetry *t, struct series *s);
/* All slots empty, for a timeline that begins anew. */
void history_clear_slots(struct telemetry *t, struct history *h);

#endif
