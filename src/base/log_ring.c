/* log_ring.c: a ring of records per logging thread: one producer, one consumer, no lock, no system call.
 *
 *      tail                    head
 *   ....|record|record|filler|..|          filler: what a record found too short before the ring's end
 *       writer moves it         its thread moves it */
#include "log_internal.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    RECORD_HEAD = sizeof(struct log_record),
    RECORD_BYTES = 512,     /* what a record counts of the `queue` given to log_init */
    RING_LEAST = 64 * 1024, /* below, one hostile access record would not fit */
    RING_WARM = 64 * 1024,  /* so much of an empty ring was used: it begins at its start again */
    DRAIN_STEP = 64 * 1024, /* how often a drain gives room back to the producer */
    RING_HEADER = (sizeof(struct log_ring) + LG_CACHE_LINE - 1) / LG_CACHE_LINE * LG_CACHE_LINE
};

static size_t ring_size;
static _Atomic(struct log_ring *) incoming;
static _Thread_local struct log_ring *mine;
static _Thread_local unsigned mine_generation;

static size_t record_span(size_t len) {
    return (RECORD_HEAD + len + RECORD_HEAD - 1) / RECORD_HEAD * RECORD_HEAD;
}

void rings_init(unsigned queue) {
    ring_size = RING_LEAST;
    while (ring_size < (size_t)queue * RECORD_BYTES) ring_size *= 2;
}

/* Mapped, not allocated: pages that no record ever reached cost nothing. */
static struct log_ring *ring_new(void) {
    size_t mapped = RING_HEADER + ring_size;
    void *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    struct log_ring *r = p;
    r->mask = ring_size - 1;
    r->data = (char *)p + RING_HEADER;
    r->mapped = mapped;
    return r;
}

void ring_free(struct log_ring *r) {
    munmap(r, r->mapped);
}

static void ring_announce(struct log_ring *r) {
    r->next = atomic_load(&incoming);
    while (!atomic_compare_exchange_weak(&incoming, &r->next, r)) {}
}

struct log_ring *rings_take_new(void) {
    return atomic_exchange(&incoming, NULL);
}

bool rings_has_new(void) {
    return atomic_load(&incoming) != NULL;
}

/* The calling thread's ring if it has one of this life of the log. */
static struct log_ring *ring_find(void) {
    return mine && mine_generation == writer_generation() ? mine : NULL;
}

static struct log_ring *ring_get(void) {
    struct log_ring *r = ring_find();
    if (LG_LIKELY(r != NULL)) return r;
    unsigned generation = writer_generation();
    if (!generation || !(r = ring_new())) return NULL;
    mine = r;
    mine_generation = generation;
    ring_announce(r);
    return r;
}

static char *ring_at(const struct log_ring *r, size_t position) {
    return r->data + ((position - r->base) & r->mask);
}

/* Where the record goes is decided here, but nothing is published before log_commit(). */
static char *ring_place(struct log_ring *r, size_t max) {
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t used = head - atomic_load_explicit(&r->tail, memory_order_acquire);
    if (used == 0 && ((head - r->base) & r->mask) >= RING_WARM) r->base = head;
    size_t at = (head - r->base) & r->mask, size = r->mask + 1, rest = size - at, span = record_span(max);
    if (span > size) return NULL;
    r->skip = rest < span ? rest : 0;
    if (used + r->skip + span > size) return NULL;
    r->reserved = max;
    return ring_at(r, head + r->skip) + RECORD_HEAD;
}

static void record_put(char *at, struct log_sink *sink, size_t len, enum log_level level) {
    struct log_record *record = (void *)at;
    *record = (struct log_record){sink, (uint32_t)len, level};
}

char *ring_reserve(struct log_sink *sink, size_t max, enum log_level level) {
    struct log_ring *r = ring_get();
    LG_ASSERT(!r || r->reserved == 0);
    char *room = r && max ? ring_place(r, max) : NULL;
    if (!room) {
        sink_lose(sink, 1);
        return NULL;
    }
    record_put(room - RECORD_HEAD, sink, 0, level);
    return room;
}

char *log_reserve(struct log_sink *sink, size_t max) {
    return ring_reserve(sink, max, LEVEL_INFO);
}

void log_commit(size_t len) {
    struct log_ring *r = ring_find();
    LG_ASSERT(r && len <= r->reserved);
    r->reserved = 0;
    if (len == 0) return;
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (r->skip) record_put(ring_at(r, head), NULL, r->skip - RECORD_HEAD, LEVEL_DEBUG);
    head += r->skip;
    struct log_record *record = (void *)ring_at(r, head);
    record->len = (uint32_t)len;
    r->dirty = true;
    atomic_store_explicit(&r->head, head + record_span(len), memory_order_release);
}

void log_flush(void) {
    struct log_ring *r = ring_find();
    if (!r || !r->dirty) return;
    r->dirty = false;
    /* Stored once more in the one total order that the writer's sleep is in too: either the writer sees this head
     * when it looks a last time before it sleeps, or writer_nudge() sees that it sleeps. */
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    atomic_store_explicit(&r->head, head, memory_order_seq_cst);
    writer_nudge(head - atomic_load_explicit(&r->tail, memory_order_relaxed) > r->mask / 4);
}

void log_thread_end(void) {
    struct log_ring *r = ring_find();
    mine = NULL;
    if (!r) return;
    LG_ASSERT(r->reserved == 0);
    atomic_store(&r->retired, true); /* from here on the writer may free it */
    writer_nudge(false);
}

/* --- the consumer ----------------------------------------------------------------------------------------------- */

bool ring_is_empty(const struct log_ring *r) {
    return atomic_load(&r->head) == atomic_load_explicit(&r->tail, memory_order_relaxed);
}

bool ring_drain(struct log_ring *r, uint64_t now_ms) {
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed), given_back = tail;
    size_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    bool some = tail != head;
    while (tail != head) {
        const char *at = ring_at(r, tail);
        const struct log_record *record = (const void *)at;
        if (record->sink)
            sink_append(record->sink, (enum log_level)record->level, slice_from(at + RECORD_HEAD, record->len), now_ms);
        tail += record_span(record->len);
        if (tail - given_back < DRAIN_STEP) continue;
        atomic_store_explicit(&r->tail, tail, memory_order_release);
        given_back = tail;
    }
    atomic_store_explicit(&r->tail, tail, memory_order_release);
    return some;
}
