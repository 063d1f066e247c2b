/* recorder.c: a worker's side of the analytics: counters and histograms with one writer. */
#include "loomgate/stats/recorder.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { AREA_SIZE = 16384 };

struct area {
    _Alignas(LG_CACHE_LINE) struct area *next;
};

/* --- life ------------------------------------------------------------------------------------------------------- */

static void count_bytes(struct recorder *r, size_t n) {
    size_t before = atomic_load_explicit(&r->bytes, memory_order_relaxed);
    atomic_store_explicit(&r->bytes, before + n, memory_order_relaxed);
}

void recorder_init(struct recorder *r) {
    *r = (struct recorder){0};
    r->chunks = xcalloc(RECORDER_CHUNKS, sizeof *r->chunks);
    count_bytes(r, RECORDER_CHUNKS * sizeof *r->chunks);
}

void recorder_fini(struct recorder *r) {
    struct area *a = r->areas;
    while (a) {
        struct area *next = a->next;
        free(a);
        a = next;
    }
    free((void *)r->chunks);
    *r = (struct recorder){0};
}

/* Zeroed, on cache lines of its own: nothing that another thread writes is near. */
static void *area_alloc(struct recorder *r, size_t size) {
    size = (size + LG_CACHE_LINE - 1) & ~(size_t)(LG_CACHE_LINE - 1);
    if ((size_t)(r->end - r->at) < size) {
        struct area *a = aligned_alloc(LG_CACHE_LINE, AREA_SIZE);
        LG_ASSERT(a != NULL && size <= AREA_SIZE - sizeof *a);
        a->next = r->areas;
        r->areas = a;
        r->at = (char *)(a + 1);
        r->end = (char *)a + AREA_SIZE;
        count_bytes(r, AREA_SIZE);
    }
    void *p = r->at;
    r->at += size;
    return memset(p, 0, size);
}

/* --- recording -------------------------------------------------------------------------------------------------- */

static struct shard *shard_make(struct recorder *r, uint32_t id) {
    LG_ASSERT(id < SERIES_MAX);
    struct shard_chunk *c = atomic_load_explicit(&r->chunks[id / RECORDER_CHUNK], memory_order_relaxed);
    if (!c) {
        c = area_alloc(r, sizeof *c);
        atomic_store_explicit(&r->chunks[id / RECORDER_CHUNK], c, memory_order_release);
    }
    struct shard *made = area_alloc(r, sizeof *made);
    atomic_store_explicit(&c->shards[id % RECORDER_CHUNK], made, memory_order_release);
    return made;
}

static inline struct shard *shard_get(struct recorder *r, uint32_t id) {
    struct shard_chunk *c = atomic_load_explicit(&r->chunks[id / RECORDER_CHUNK], memory_order_relaxed);
    struct shard *s = c ? atomic_load_explicit(&c->shards[id % RECORDER_CHUNK], memory_order_relaxed) : NULL;
    return LG_LIKELY(s != NULL) ? s : shard_make(r, id);
}

/* One writer: a load and a store, no locked instruction. */
static inline void add(_Atomic uint64_t *at, uint64_t n) {
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Who sees that it has moved sees all that moved before it. */
static inline void publish(_Atomic uint32_t *at) {
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + 1, memory_order_release);
}

static struct bucket_block *block_make(struct recorder *r, struct shard *s, unsigned measure, unsigned block) {
    uint32_t made = atomic_load_explicit(&s->made[measure], memory_order_relaxed);
    s->blocks[measure][block] = area_alloc(r, sizeof(struct bucket_block));
    atomic_store_explicit(&s->made[measure], made | UINT32_C(1) << block, memory_order_release);
    return s->blocks[measure][block];
}

/* A duration of a sample, made ready to be counted in several shards. */
struct mark {
    uint8_t measure, block, pair;
    uint64_t us, by;
};

static unsigned make_marks(const struct sample *sample, struct mark out[MEASURE_COUNT]) {
    unsigned count = 0;
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        uint64_t us = sample->us[m];
        if (us == SAMPLE_NONE) continue;
        unsigned index = histogram_index(us);
        out[count++] = (struct mark){.measure = (uint8_t)m,
                                     .block = (uint8_t)(index / HISTOGRAM_BLOCK),
                                     .pair = (uint8_t)(index % HISTOGRAM_BLOCK / 2),
                                     .us = us,
                                     .by = UINT64_C(1) << index % 2 * 32};
    }
    return count;
}

static inline void count_duration(struct recorder *r, struct shard *s, const struct mark *m) {
    struct bucket_block *b = s->blocks[m->measure][m->block];
    if (LG_UNLIKELY(!b)) b = block_make(r, s, m->measure, m->block);
    add(&s->tallies[TALLY_SUM_US + m->measure], m->us);
    add(&b->pairs[m->pair], m->by);
    publish(&s->moved[m->measure][m->block]);
}

static void count_error(struct recorder *r, struct shard *s, enum failure f) {
    _Atomic uint64_t *causes = atomic_load_explicit(&s->causes, memory_order_relaxed);
    if (!causes) {
        causes = area_alloc(r, FAILURE_COUNT * sizeof *causes);
        atomic_store_explicit(&s->causes, causes, memory_order_release);
    }
    add(&causes[f], 1);
    add(&s->tallies[TALLY_ERRORS], 1);
}

void recorder_add(struct recorder *r, const uint32_t *ids, unsigned count, const struct sample *sample) {
    struct mark marks[MEASURE_COUNT];
    unsigned mark_count = make_marks(sample, marks);
    for (unsigned i = 0; i < count; i++) {
        if (ids[i] == SERIES_NONE) continue;
        struct shard *s = shard_get(r, ids[i]);
        add(&s->tallies[TALLY_EXCHANGES], 1);
        add(&s->tallies[TALLY_TRIES], sample->tries);
        if (sample->retries) add(&s->tallies[TALLY_RETRIES], sample->retries);
        add(&s->tallies[TALLY_BYTES_IN], sample->bytes_in);
        add(&s->tallies[TALLY_BYTES_OUT], sample->bytes_out);
        for (unsigned m = 0; m < mark_count; m++) count_duration(r, s, &marks[m]);
        if (sample->error != FAILURE_NONE) count_error(r, s, sample->error);
        publish(&s->version);
    }
}

void recorder_add_bytes(struct recorder *r, uint32_t id, uint64_t in, uint64_t out) {
    if (id == SERIES_NONE) return;
    struct shard *s = shard_get(r, id);
    add(&s->tallies[TALLY_BYTES_IN], in);
    add(&s->tallies[TALLY_BYTES_OUT], out);
    publish(&s->version);
}

void recorder_move(struct recorder *r, uint32_t id, enum gauge g, int by) {
    if (id == SERIES_NONE) return;
    add(&shard_get(r, id)->gauges[g], (uint64_t)(int64_t)by);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

const struct shard *recorder_find(const struct recorder *r, uint32_t id) {
    struct shard_chunk *c = atomic_load_explicit(&r->chunks[id / RECORDER_CHUNK], memory_order_acquire);
    return c ? atomic_load_explicit(&c->shards[id % RECORDER_CHUNK], memory_order_acquire) : NULL;
}

enum failure sample_error(enum failure cause, unsigned status) {
    const struct failure_row *row = failure_get(cause);
    if (row->blame == BLAME_SERVER || row->blame == BLAME_GATEWAY) return cause;
    if (status < 500) return FAILURE_NONE;
    return row->status == status ? cause : FAILURE_bad_status;
}
