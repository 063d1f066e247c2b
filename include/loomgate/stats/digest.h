/* digest.h: what a series did in one slice of time, packed: tallies, and the buckets of each measure that are not 0.
 *
 *   TALLY_COUNT varints | for each measure: an octet a bucket (0xGC), and a final 0x00
 *
 * G is how many buckets further on it is than the last one (1 to 14; 15: a varint follows, to be added), C its count
 * less 1 (0 to 14; 15: a varint follows, to be added). Varints are LEB128: 7 bits an octet, the lowest first. */
#ifndef LOOMGATE_STATS_DIGEST_H
#define LOOMGATE_STATS_DIGEST_H

#include "loomgate/stats/recorder.h"

#include <stdbool.h>

struct digest {
    uint32_t size; /* of `octets` */
    uint8_t octets[];
};

enum {
    VARINT_MAX = 10,
    /* No digest is larger: a gap of more than 14 leaves out as many buckets. */
    DIGEST_MAX = TALLY_COUNT * VARINT_MAX + MEASURE_COUNT * (HISTOGRAM_BUCKETS * (1 + VARINT_MAX) + 3 + 1),
};

/* Writing, into DIGEST_MAX octets: the tallies, then each measure: its buckets in rising order, and its end. */
struct digest_writer {
    uint8_t *begin, *at;
    int last;
};
void digest_begin(struct digest_writer *w, uint8_t *room, const uint64_t tallies[TALLY_COUNT]);
void digest_put(struct digest_writer *w, unsigned bucket, uint64_t count); /* a count of 0 is passed over */
void digest_end_measure(struct digest_writer *w);
/* On the heap; freed with free(). */
struct digest *digest_finish(const struct digest_writer *w);

/* The sum of both. `room` as above. */
struct digest *digest_merge(const struct digest *a, const struct digest *b, uint8_t *room);

/* What windows are added up in. */
struct digest_sum {
    uint64_t tallies[TALLY_COUNT];
    uint64_t buckets[MEASURE_COUNT][HISTOGRAM_BUCKETS];
    unsigned end[MEASURE_COUNT]; /* buckets from there on are 0 */
};
void digest_sum_clear(struct digest_sum *sum); /* cheap; the first time it must be zero already */
void digest_add_to(const struct digest *d, struct digest_sum *sum);

/* What one takes on the heap, book-keeping included. */
size_t digest_heap_bytes(const struct digest *d);

#endif
