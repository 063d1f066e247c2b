/* tap.c: finished exchanges, live: a ring of rendered records for each tap and worker.
 *
 *      tail                          head
 *   ....|length line|length line|skip|..|        skip: what a record found too short before the ring's end
 *       the control thread moves it  the worker moves it */
#include "loomgate/proxy/tap.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>

enum {
    MASK = TAP_RING_SIZE - 1,
    HEAD = sizeof(uint32_t),
    ROOM = HEAD + ACCESS_RECORD_MAX, /* for any record */
    GIVE_BACK = TAP_RING_SIZE / 8    /* how often a reader gives room back to the producer */
};
#define SKIP UINT32_MAX

_Static_assert((TAP_RING_SIZE & MASK) == 0, "positions wrap by a mask");
_Static_assert(TAP_RING_SIZE >= 4 * ROOM, "the ring holds a record also when one does not fit before its end");

static size_t span(size_t len) {
    return (HEAD + len + HEAD - 1) / HEAD * HEAD;
}

/* --- sampling --------------------------------------------------------------------------------------------------- */

/* The generic cell rate algorithm (ITU-T I.371, annex A): a bucket of tokens as one word, the time at which the next
 * one would be due if they came evenly. */
void tap_sampler_init(struct tap_sampler *s, uint32_t per_second) {
    LG_ASSERT(per_second > 0);
    uint64_t at_once = per_second / 10;
    s->interval_ns = 1000000000 / per_second;
    s->slack_ns = at_once > 1 ? (at_once - 1) * s->interval_ns : 0;
    atomic_init(&s->due_ns, 0);
}

bool tap_sampler_take(struct tap_sampler *s, uint64_t now_us) {
    uint64_t now = now_us * 1000, due = atomic_load_explicit(&s->due_ns, memory_order_relaxed), next;
    do {
        if (due > now + s->slack_ns) return false;
        next = (due > now ? due : now) + s->interval_ns;
    } while (
        !atomic_compare_exchange_weak_explicit(&s->due_ns, &due, next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* --- a tap ------------------------------------------------------------------------------------------------------ */

struct tap *tap_new(const struct record_filter *filter, struct tap_sampler *sampler) {
    struct tap *t = aligned_alloc(LG_CACHE_LINE, sizeof *t);
    LG_ASSERT(t != NULL);
    t->filter = filter;
    t->sampler = sampler;
    t->scratch = filter ? record_filter_scratch_new() : NULL;
    list_init(&t->node);
    atomic_init(&t->head, 0);
    atomic_init(&t->tail, 0);
    atomic_init(&t->dropped, 0);
    return t;
}

void tap_free(struct tap *t) {
    record_filter_scratch_free(t->scratch);
    free(t);
}

/* --- the worker ------------------------------------------------------------------------------------------------- */

static void ring_bell(struct task *task) {
    struct taps *taps = LG_CONTAINER_OF(task, struct taps, ring_bell);
    if (!atomic_exchange(&taps->is_ringing, true)) mailbox_post(taps->home, &taps->bell);
}

void taps_init(struct taps *taps, struct loop *loop) {
    *taps = (struct taps){.loop = loop};
    list_init(&taps->attached);
    task_init(&taps->ring_bell, ring_bell);
}

void taps_attach(struct taps *taps, struct tap *t, struct mailbox *home,
                 void (*deliver)(struct mail *bell, void *receiver)) {
    if (!taps->home) { /* later the bell may be under way */
        taps->home = home;
        taps->bell.deliver = deliver;
    }
    LG_ASSERT(taps->home == home && taps->bell.deliver == deliver);
    list_push_back(&taps->attached, &t->node);
}

void taps_detach(struct tap *t) {
    list_remove(&t->node);
}

/* Nothing is published before the record is whole. */
static bool put(struct tap *t, const struct access_record *r) {
    size_t head = atomic_load_explicit(&t->head, memory_order_relaxed);
    size_t used = head - atomic_load_explicit(&t->tail, memory_order_acquire);
    size_t rest = TAP_RING_SIZE - (head & MASK), skip = rest < ROOM ? rest : 0;
    if (used + skip + ROOM > TAP_RING_SIZE) return false;
    if (skip) memcpy(&t->data[head & MASK], &(uint32_t){SKIP}, HEAD);
    head += skip;
    char *at = &t->data[head & MASK], *line = at + HEAD;
    uint32_t len = (uint32_t)(access_record_print(r, FORMAT_JSON, line, line + ACCESS_RECORD_MAX) - line);
    memcpy(at, &len, HEAD);
    atomic_store_explicit(&t->head, head + span(len), memory_order_release);
    return true;
}

static void offer(struct taps *taps, struct tap *t, const struct access_record *r) {
    if (t->filter && !record_filter_matches(t->filter, t->scratch, r)) return;
    if (t->sampler && !tap_sampler_take(t->sampler, taps->loop->now_us)) return;
    if (put(t, r)) {
        loop_flush_later(taps->loop, &taps->ring_bell);
        return;
    }
    uint64_t dropped = atomic_load_explicit(&t->dropped, memory_order_relaxed);
    atomic_store_explicit(&t->dropped, dropped + 1, memory_order_relaxed);
}

void taps_offer(struct taps *taps, const struct access_record *r) {
    LIST_FOR (node, &taps->attached) offer(taps, LIST_ENTRY(node, struct tap, node), r);
}

/* --- the control thread ----------------------------------------------------------------------------------------- */

/* An exchange and not a store: it reads what the worker has exchanged and so sees all that was put before. What is put
 * later rings again. */
struct taps *taps_hear(struct mail *bell) {
    struct taps *taps = LG_CONTAINER_OF(bell, struct taps, bell);
    atomic_exchange(&taps->is_ringing, false);
    return taps;
}

bool tap_read(struct tap *t, bool (*on_line)(void *owner, struct slice line), void *owner) {
    size_t tail = atomic_load_explicit(&t->tail, memory_order_relaxed), given_back = tail;
    size_t head = atomic_load_explicit(&t->head, memory_order_acquire);
    bool goes_on = true;
    while (goes_on && tail != head) {
        const char *at = &t->data[tail & MASK];
        uint32_t len;
        memcpy(&len, at, HEAD);
        if (len == SKIP) {
            tail += TAP_RING_SIZE - (tail & MASK);
            continue;
        }
        goes_on = on_line(owner, slice_from(at + HEAD, len - 1));
        tail += span(len);
        if (tail - given_back < GIVE_BACK) continue;
        atomic_store_explicit(&t->tail, tail, memory_order_release);
        given_back = tail;
    }
    atomic_store_explicit(&t->tail, tail, memory_order_release);
    return goes_on;
}

uint64_t tap_dropped(const struct tap *t) {
    return atomic_load_explicit(&t->dropped, memory_order_relaxed);
}
