/* recorder.h: a worker's side of the analytics: counters and histograms of each series, written by this worker alone.
 *
 *   recorder -> chunk of 256 -> shard of a series -> counters, causes, block of 64 buckets
 *
 * Everything is made when it is first needed, published by a release store, and stays until recorder_fini(): the
 * control thread (telemetry.h) reads along at any time. In the steady state recording is plain loads and stores of
 * lines that no other thread writes: no lock, no locked instruction, no malloc. */
#ifndef LOOMGATE_STATS_RECORDER_H
#define LOOMGATE_STATS_RECORDER_H

#include "loomgate/base/failure.h"
#include "loomgate/base/macros.h"
#include "loomgate/stats/histogram.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What is measured of an exchange (of a server: of a try). */
enum measure {
    MEASURE_TOTAL,
    MEASURE_FIRST_BYTE, /* of those that had a response */
    MEASURE_CONNECT,    /* of those that opened a connection */
    MEASURE_QUEUE,      /* of those that waited for a server; readers count the others as 0 */
    MEASURE_COUNT
};

enum tally {
    TALLY_EXCHANGES, /* ended; of a server: tries */
    TALLY_ERRORS,
    TALLY_TRIES,
    TALLY_RETRIES,
    TALLY_BYTES_IN, /* from clients */
    TALLY_BYTES_OUT,
    TALLY_SUM_US, /* of each measure: microseconds in all */
    TALLY_COUNT = TALLY_SUM_US + MEASURE_COUNT
};

/* What is now, of one worker's part. */
enum gauge {
    GAUGE_ACTIVE, /* of a frontend: exchanges that run */
    GAUGE_IDLE,   /* of a server: connections that wait for an exchange */
    GAUGE_COUNT
};

/* How an exchange or a try went. */
#define SAMPLE_NONE UINT64_MAX /* a duration that there is not */
struct sample {
    uint64_t us[MEASURE_COUNT];
    uint64_t bytes_in, bytes_out;
    uint32_t tries, retries;
    enum failure error; /* FAILURE_NONE: it is no error */
};

/* Two buckets a word, as one number: the even one counts ones, the odd one 2^32s. Readers take differences of it, so
 * neither a bucket that wraps nor the carry into its neighbour is of any harm. */
struct bucket_block {
    _Atomic uint64_t pairs[HISTOGRAM_BLOCK / 2];
};

struct shard {
    _Alignas(LG_CACHE_LINE) _Atomic uint64_t tallies[TALLY_COUNT];
    _Atomic uint64_t gauges[GAUGE_COUNT];
    _Atomic(_Atomic uint64_t *) causes;   /* FAILURE_COUNT errors by cause; NULL: none yet */
    _Atomic uint32_t version;             /* moves after everything else of a sample */
    _Atomic uint32_t made[MEASURE_COUNT]; /* a bit for each of `blocks` that there is; published after it */
    _Atomic uint32_t moved[MEASURE_COUNT][HISTOGRAM_BLOCKS]; /* counts what is in the block; wraps; moves after it */
    struct bucket_block *blocks[MEASURE_COUNT][HISTOGRAM_BLOCKS];
};

enum { RECORDER_CHUNK = 256, RECORDER_CHUNKS = 4096, SERIES_MAX = RECORDER_CHUNK * RECORDER_CHUNKS };
#define SERIES_NONE UINT32_MAX /* an id that recording passes over */

struct shard_chunk {
    _Atomic(struct shard *) shards[RECORDER_CHUNK];
};

struct recorder {
    _Alignas(LG_CACHE_LINE) _Atomic(struct shard_chunk *) *chunks; /* RECORDER_CHUNKS of them */
    char *at, *end;                                                /* what is left of the newest of `areas` */
    void *areas;
    _Atomic size_t bytes; /* taken from the heap */
};

void recorder_init(struct recorder *r);
/* Nobody reads or records any more. */
void recorder_fini(struct recorder *r);

/* One exchange or try counts for each of these series (ids; SERIES_NONE is passed over). The owner's thread only. */
void recorder_add(struct recorder *r, const uint32_t *ids, unsigned count, const struct sample *s);
/* Bytes that come to light after their try has been counted. */
void recorder_add_bytes(struct recorder *r, uint32_t id, uint64_t in, uint64_t out);

/* One more or one less of it; SERIES_NONE is passed over. */
void recorder_move(struct recorder *r, uint32_t id, enum gauge g, int by);

/* Any thread: the shard of a series; NULL when nothing has been recorded for it here. */
const struct shard *recorder_find(const struct recorder *r, uint32_t id);

/* What counts as an error of an exchange or try that ended with `cause` and the status `status` (0: none): a failure
 * that a server or the gateway is to blame for, or a status of 500 and more (as `bad_status`, unless the cause itself
 * stands for it). FAILURE_NONE: no error. */
enum failure sample_error(enum failure cause, unsigned status);

#endif
