/* digest.c: what a series did in one slice of time, packed. */
#include "loomgate/stats/digest.h"

#include "loomgate/base/mem.h"

#include <string.h>

enum { GAP_LONG = 15, COUNT_LONG = 15 };

/* --- writing ---------------------------------------------------------------------------------------------------- */

static inline uint8_t *put_varint(uint8_t *at, uint64_t n) {
    for (; n >= 0x80; n >>= 7) *at++ = (uint8_t)(n | 0x80);
    *at++ = (uint8_t)n;
    return at;
}

void digest_begin(struct digest_writer *w, uint8_t *room, const uint64_t tallies[TALLY_COUNT]) {
    *w = (struct digest_writer){.begin = room, .at = room, .last = -1};
    for (unsigned t = 0; t < TALLY_COUNT; t++) w->at = put_varint(w->at, tallies[t]);
}

static inline void put_bucket(struct digest_writer *w, int bucket, uint64_t count) {
    unsigned gap = (unsigned)(bucket - w->last);
    unsigned short_gap = gap < GAP_LONG ? gap : GAP_LONG;
    unsigned short_count = count - 1 < COUNT_LONG ? (unsigned)count - 1 : COUNT_LONG;
    *w->at++ = (uint8_t)(short_gap << 4 | short_count);
    if (LG_UNLIKELY(short_gap == GAP_LONG)) w->at = put_varint(w->at, gap - GAP_LONG);
    if (short_count == COUNT_LONG) w->at = put_varint(w->at, count - 1 - COUNT_LONG);
    w->last = bucket;
}

void digest_put(struct digest_writer *w, unsigned bucket, uint64_t count) {
    if (count) put_bucket(w, (int)bucket, count);
}

void digest_end_measure(struct digest_writer *w) {
    *w->at++ = 0;
    w->last = -1;
}

struct digest *digest_finish(const struct digest_writer *w) {
    size_t size = (size_t)(w->at - w->begin);
    struct digest *d = xmalloc(sizeof *d + size);
    d->size = (uint32_t)size;
    memcpy(d->octets, w->begin, size);
    return d;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

struct digest_reader {
    const uint8_t *at;
    int bucket; /* BUCKET_END after the last one of a measure */
    uint64_t count;
};

enum { BUCKET_END = HISTOGRAM_BUCKETS };

static inline uint64_t take_varint(const uint8_t **at) {
    uint64_t n = 0;
    unsigned shift = 0;
    uint8_t octet;
    do {
        octet = *(*at)++;
        n |= (uint64_t)(octet & 0x7f) << shift;
        shift += 7;
    } while (octet & 0x80);
    return n;
}

static inline void take_bucket(struct digest_reader *r) {
    uint8_t octet = *r->at++;
    if (!octet) {
        r->bucket = BUCKET_END;
        return;
    }
    unsigned gap = octet >> 4;
    r->count = (octet & 15U) + 1;
    if (LG_UNLIKELY(gap == GAP_LONG)) gap += (unsigned)take_varint(&r->at);
    if ((octet & 15U) == COUNT_LONG) r->count += take_varint(&r->at);
    r->bucket += (int)gap;
}

static inline void begin_measure(struct digest_reader *r) {
    r->bucket = -1;
    take_bucket(r);
}

static void merge_measure(struct digest_writer *w, struct digest_reader *a, struct digest_reader *b) {
    begin_measure(a);
    begin_measure(b);
    while (a->bucket != BUCKET_END || b->bucket != BUCKET_END) {
        int bucket = a->bucket < b->bucket ? a->bucket : b->bucket;
        uint64_t count = 0;
        if (a->bucket == bucket) {
            count = a->count;
            take_bucket(a);
        }
        if (b->bucket == bucket) {
            count += b->count;
            take_bucket(b);
        }
        put_bucket(w, bucket, count);
    }
    digest_end_measure(w);
}

struct digest *digest_merge(const struct digest *a, const struct digest *b, uint8_t *room) {
    struct digest_reader ra = {.at = a->octets}, rb = {.at = b->octets};
    struct digest_writer w;
    uint64_t tallies[TALLY_COUNT];
    for (unsigned t = 0; t < TALLY_COUNT; t++) tallies[t] = take_varint(&ra.at) + take_varint(&rb.at);
    digest_begin(&w, room, tallies);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) merge_measure(&w, &ra, &rb);
    return digest_finish(&w);
}

void digest_sum_clear(struct digest_sum *sum) {
    memset(sum->tallies, 0, sizeof sum->tallies);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) memset(sum->buckets[m], 0, sum->end[m] * sizeof sum->buckets[m][0]);
    memset(sum->end, 0, sizeof sum->end);
}

static void add_measure(struct digest_reader *r, uint64_t *buckets, unsigned *end) {
    unsigned past = 0;
    for (begin_measure(r); r->bucket != BUCKET_END; take_bucket(r)) {
        buckets[r->bucket] += r->count;
        past = (unsigned)r->bucket + 1;
    }
    if (*end < past) *end = past;
}

void digest_add_to(const struct digest *d, struct digest_sum *sum) {
    struct digest_reader r = {.at = d->octets};
    for (unsigned t = 0; t < TALLY_COUNT; t++) sum->tallies[t] += take_varint(&r.at);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) add_measure(&r, sum->buckets[m], &sum->end[m]);
}

size_t digest_heap_bytes(const struct digest *d) {
    size_t size = sizeof *d + d->size + sizeof(size_t); /* glibc: a word in front, multiples of 16, at least 32 */
    return size < 32 ? 32 : (size + 15) & ~(size_t)15;
}
