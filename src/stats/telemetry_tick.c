/* telemetry_tick.c: what has come since the last tick: differences of all shards, into the slice of time at hand. */
#include "loomgate/base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "telemetry_internal.h"

struct telemetry_scratch *telemetry_scratch_get(struct telemetry *t) {
    if (!t->scratch) t->scratch = xcalloc(1, sizeof *t->scratch + t->recorder_count * sizeof(struct shard *));
    return t->scratch;
}

/* --- history ---------------------------------------------------------------------------------------------------- */

static size_t heap_bytes(size_t size) {
    return size + 2 * sizeof(size_t);
}

static void *history_alloc(struct telemetry *t, size_t size) {
    t->history_bytes += heap_bytes(size);
    return xcalloc(1, size);
}

static void history_release(struct telemetry *t, void *p, size_t size) {
    if (p) t->history_bytes -= heap_bytes(size);
    free(p);
}

static size_t slots_size(const struct telemetry *t) {
    return t->timeline.slot_count * sizeof(struct digest *);
}

static void put_digest(struct telemetry *t, struct history *h, unsigned slot, struct digest *d) {
    if (h->slots[slot]) t->history_bytes -= digest_heap_bytes(h->slots[slot]);
    if (d) t->history_bytes += digest_heap_bytes(d);
    free(h->slots[slot]);
    h->slots[slot] = d;
}

void history_clear_slots(struct telemetry *t, struct history *h) {
    if (!h->slots) return;
    for (unsigned i = 0; i < t->timeline.slot_count; i++) put_digest(t, h, i, NULL);
    history_release(t, h->slots, slots_size(t));
    h->slots = NULL;
}

void history_free(struct telemetry *t, struct series *s) {
    struct history *h = s->history;
    if (!h) return;
    history_clear_slots(t, h);
    for (unsigned m = 0; m < MEASURE_COUNT; m++)
        for (unsigned b = 0; b < HISTOGRAM_BLOCKS; b++) history_release(t, h->seen[m][b], sizeof *h->seen[m][b]);
    history_release(t, h->base_causes, FAILURE_COUNT * sizeof *h->base_causes);
    history_release(t, h, sizeof *h);
    s->history = NULL;
}

/* --- differences ------------------------------------------------------------------------------------------------ */

/* The series' shards, and in *version the sum of their versions. What a version tells of is seen by what is read
 * after it. */
static unsigned find_shards(struct telemetry *t, const struct series *s, const struct shard **shards,
                            uint32_t *version) {
    unsigned count = 0;
    *version = 0;
    for (unsigned i = 0; i < t->recorder_count; i++) {
        const struct shard *shard = recorder_find(t->recorders[i], s->id);
        if (!shard) continue;
        *version += atomic_load_explicit(&shard->version, memory_order_acquire);
        shards[count++] = shard;
    }
    return count;
}

static void sum_tallies(const struct shard *const *shards, unsigned count, uint64_t sums[TALLY_COUNT]) {
    memset(sums, 0, TALLY_COUNT * sizeof *sums);
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < TALLY_COUNT; k++)
            sums[k] += atomic_load_explicit(&shards[i]->tallies[k], memory_order_relaxed);
}

static void take_tallies(struct history *h, const struct shard *const *shards, unsigned count,
                         uint64_t news[TALLY_COUNT]) {
    uint64_t sums[TALLY_COUNT];
    sum_tallies(shards, count, sums);
    for (unsigned k = 0; k < TALLY_COUNT; k++) news[k] = sums[k] - h->tallies[k];
    memcpy(h->tallies, sums, sizeof sums);
}

static void add_block(const struct bucket_block *b, struct seen_block *sum) {
    for (unsigned i = 0; i < LG_COUNT(sum->pairs); i++)
        sum->pairs[i] += atomic_load_explicit(&b->pairs[i], memory_order_relaxed);
}

/* Right as long as no bucket gets 2^32 between two ticks. */
static uint64_t take_differences(struct seen_block *seen, const struct seen_block *sum, unsigned first_bucket,
                                 struct digest_writer *w) {
    uint64_t total = 0;
    for (unsigned i = 0; i < LG_COUNT(sum->pairs); i++) {
        uint64_t news = sum->pairs[i] - seen->pairs[i];
        if (!news) continue;
        digest_put(w, first_bucket + 2 * i, news & UINT32_MAX);
        digest_put(w, first_bucket + 2 * i + 1, news >> 32);
        total += (news & UINT32_MAX) + (news >> 32);
    }
    *seen = *sum;
    return total;
}

/* Of measure m's blocks those that have moved since the last tick, a bit each. */
static uint32_t find_moved(const struct telemetry *t, struct history *h, unsigned m, unsigned count) {
    const struct shard *const *shards = t->scratch->shards;
    uint32_t made = 0, found = 0;
    for (unsigned i = 0; i < count; i++) made |= atomic_load_explicit(&shards[i]->made[m], memory_order_acquire);
    for (; made; made &= made - 1) {
        unsigned block = (unsigned)__builtin_ctz(made);
        uint32_t moved = 0;
        for (unsigned i = 0; i < count; i++)
            moved += atomic_load_explicit(&shards[i]->moved[m][block], memory_order_acquire);
        if (moved != h->moved[m][block]) found |= UINT32_C(1) << block;
        h->moved[m][block] = moved;
    }
    return found;
}

static const struct bucket_block *find_block(const struct shard *s, unsigned m, unsigned block) {
    uint32_t made = atomic_load_explicit(&s->made[m], memory_order_acquire);
    return made >> block & 1 ? s->blocks[m][block] : NULL;
}

/* Workers have just written there, so every line is far away: ask for all of them while there is other work. */
static void prefetch_block(const struct telemetry *t, unsigned m, unsigned block, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const char *at = (const char *)find_block(t->scratch->shards[i], m, block);
        for (unsigned k = 0; at && k < sizeof(struct bucket_block); k += LG_CACHE_LINE) __builtin_prefetch(at + k);
    }
}

static void take_block(struct telemetry *t, struct history *h, unsigned m, unsigned block, unsigned count,
                       struct digest_writer *w) {
    struct seen_block sum = {0};
    for (unsigned i = 0; i < count; i++) {
        const struct bucket_block *b = find_block(t->scratch->shards[i], m, block);
        if (b) add_block(b, &sum);
    }
    if (!h->seen[m][block]) h->seen[m][block] = history_alloc(t, sizeof sum);
    h->passed[m][block] += take_differences(h->seen[m][block], &sum, block * HISTOGRAM_BLOCK, w);
}

static void take_measure(struct telemetry *t, struct history *h, unsigned m, unsigned count, struct digest_writer *w) {
    uint32_t moved = find_moved(t, h, m, count);
    if (moved) prefetch_block(t, m, (unsigned)__builtin_ctz(moved), count);
    while (moved) {
        unsigned block = (unsigned)__builtin_ctz(moved);
        moved &= moved - 1;
        if (moved) prefetch_block(t, m, (unsigned)__builtin_ctz(moved), count);
        take_block(t, h, m, block, count, w);
    }
    digest_end_measure(w);
}

/* Takes all news of the series into scratch->room; false: there are none. */
static bool take_news(struct telemetry *t, struct series *s, struct digest_writer *w) {
    struct telemetry_scratch *scratch = t->scratch;
    uint32_t version;
    uint64_t news[TALLY_COUNT];
    unsigned count = find_shards(t, s, scratch->shards, &version);
    if (version == (s->history ? s->history->version : 0)) return false;
    if (!s->history) s->history = history_alloc(t, sizeof *s->history);
    s->history->version = version;
    take_tallies(s->history, scratch->shards, count, news);
    digest_begin(w, scratch->room, news);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) take_measure(t, s->history, m, count, w);
    return true;
}

struct history *history_need_base(struct telemetry *t, struct series *s) {
    if (!s->history) s->history = history_alloc(t, sizeof *s->history);
    if (!s->history->base_causes) s->history->base_causes = history_alloc(t, FAILURE_COUNT * sizeof(uint64_t));
    return s->history;
}

void history_begin_anew(struct telemetry *t, struct series *s) {
    struct digest_writer w;
    telemetry_scratch_get(t);
    if (!take_news(t, s, &w)) return;
    struct stats_totals before;
    telemetry_totals(t, s, &before);
    struct history *h = history_need_base(t, s);
    memcpy(h->base_tallies, before.tallies, sizeof h->base_tallies);
    memcpy(h->base_causes, before.causes, sizeof before.causes);
    memset(h->passed, 0, sizeof h->passed);
}

/* --- the tick --------------------------------------------------------------------------------------------------- */

static void keep(struct telemetry *t, struct history *h, unsigned slot, struct digest *d) {
    if (h->slots[slot]) {
        struct digest *sum = digest_merge(h->slots[slot], d, t->scratch->room);
        free(d);
        d = sum;
    }
    put_digest(t, h, slot, d);
}

static void move_slot(struct telemetry *t, struct history *h, const struct slot_move *move) {
    struct digest *d = h->slots[move->from];
    if (!d) return;
    if (move->to == SLOT_NONE) {
        put_digest(t, h, move->from, NULL);
        return;
    }
    t->history_bytes -= digest_heap_bytes(d);
    h->slots[move->from] = NULL;
    keep(t, h, move->to, d);
}

static void age(struct telemetry *t) {
    struct slot_move move;
    while (timeline_age(&t->timeline, &move))
        for (struct series *s = telemetry_next(t, NULL); s; s = telemetry_next(t, s))
            if (s->history && s->history->slots) move_slot(t, s->history, &move);
}

void telemetry_tick(struct telemetry *t, uint64_t now_us) {
    if (!t->timeline.window_count || now_us <= t->timeline.last_us) return;
    bool fresh;
    telemetry_scratch_get(t);
    unsigned slot = timeline_advance(&t->timeline, now_us, &fresh);
    for (struct series *s = telemetry_next(t, NULL); s; s = telemetry_next(t, s)) {
        struct digest_writer w;
        if (!take_news(t, s, &w)) continue;
        struct history *h = s->history;
        if (!h->slots) h->slots = history_alloc(t, slots_size(t));
        keep(t, h, slot, digest_finish(&w));
    }
    age(t);
}
