/* tap.h: finished exchanges, live: the records that a filter takes go from a worker to the control thread.
 *
 *   an exchange ends --taps_offer--> filter --> sampler --> ring --the bell, once a turn--> control thread: tap_read
 *                                      | no       | too many   | full
 *                                      -          -            dropped, counted */
#ifndef LOOMGATE_PROXY_TAP_H
#define LOOMGATE_PROXY_TAP_H

#include "loomgate/net/mailbox.h"
#include "loomgate/proxy/record_filter.h"

#include <stdalign.h>
#include <stdatomic.h>

enum { TAP_RING_SIZE = 256 * 1024 }; /* a power of two, of many records */

/* Lets so many records a second through, over all workers together, and at most a tenth of that at once. */
struct tap_sampler {
    uint64_t interval_ns, slack_ns; /* constant */
    alignas(LG_CACHE_LINE) _Atomic uint64_t due_ns;
};
void tap_sampler_init(struct tap_sampler *s, uint32_t per_second); /* not 0 */
/* Whether one may go through now; any thread. */
bool tap_sampler_take(struct tap_sampler *s, uint64_t now_us);

/* A worker's part of a tap: a ring with one producer and one consumer. Positions only grow; a byte's place is its
 * position modulo the ring's size. */
struct tap {
    const struct record_filter *filter; /* NULL: all */
    struct tap_sampler *sampler;        /* NULL: all */
    struct record_filter_scratch *scratch;
    struct list node; /* in the worker's list */
    alignas(LG_CACHE_LINE) _Atomic size_t head;
    _Atomic uint64_t dropped;
    alignas(LG_CACHE_LINE) _Atomic size_t tail;
    alignas(LG_CACHE_LINE) char data[TAP_RING_SIZE]; /* what was never reached costs nothing */
};

/* What is shared with other taps belongs to the caller, who frees it after the last of them. */
struct tap *tap_new(const struct record_filter *filter, struct tap_sampler *sampler);
/* Attached to no worker any more. */
void tap_free(struct tap *t);

/* --- on the worker's thread ------------------------------------------------------------------------------------- */

/* All taps of a worker. */
struct taps {
    struct list attached;
    struct loop *loop;
    struct task ring_bell;
    struct mailbox *home; /* of the control thread */
    struct mail bell;
    _Atomic bool is_ringing; /* the bell is under way */
};

void taps_init(struct taps *taps, struct loop *loop);
/* `deliver` gets the bell at `home`; both are the same for all taps of a worker. */
void taps_attach(struct taps *taps, struct tap *t, struct mailbox *home,
                 void (*deliver)(struct mail *bell, void *receiver));
/* What is in its ring stays there. */
void taps_detach(struct tap *t);

static inline bool taps_is_empty(const struct taps *taps) {
    return LG_LIKELY(list_is_empty(&taps->attached));
}
/* Renders the record for each tap that wants it; never waits. */
void taps_offer(struct taps *taps, const struct access_record *r);

/* --- on the control thread -------------------------------------------------------------------------------------- */

/* Whose bell it is; it may be rung again. First of all when it is delivered, then each tap of that worker is read. */
struct taps *taps_hear(struct mail *bell);
/* Hands over the lines that are there (JSON, without their newlines, in the order in which the exchanges ended) until
 * `on_line` returns false; true: all of them. */
bool tap_read(struct tap *t, bool (*on_line)(void *owner, struct slice line), void *owner);
/* Records that found the ring full; any thread. */
uint64_t tap_dropped(const struct tap *t);

#endif
