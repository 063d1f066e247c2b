/* window.c: when slices of time begin, merge and end. */
#include "loomgate/stats/window.h"

#include "loomgate/base/macros.h"

#include <string.h>

/* A slice is long enough a little before its length, so that ticks that come a little early do not double it. */
static bool is_long_enough(uint64_t span_us, uint64_t slice_us) {
    return span_us >= slice_us - slice_us / 10;
}

/* Two are merged also when that becomes a little too long. */
static bool fit_together(uint64_t a_us, uint64_t b_us, uint64_t slice_us) {
    return a_us + b_us <= slice_us + slice_us / 20;
}

static uint64_t span_of(const struct time_slice *s) {
    return s->end_us - s->begin_us;
}

/* The slice's middle is further back than that. */
static bool is_older(const struct timeline *l, const struct time_slice *s, uint64_t age_us) {
    return l->last_us - s->end_us + span_of(s) / 2 > age_us;
}

void timeline_init(struct timeline *l, const uint64_t *windows, unsigned count, uint64_t now_us) {
    LG_ASSERT(count > 0 && count <= WINDOWS_MAX && windows[0] >= WINDOW_SLICE_US);
    *l = (struct timeline){.window_count = count, .last_us = now_us};
    for (unsigned i = 0; i < count; i++) {
        LG_ASSERT(i == 0 || windows[i] > windows[i - 1]);
        l->windows[i] = windows[i];
        uint64_t slice_us = windows[i] / WINDOW_PARTS;
        if (slice_us < WINDOW_SLICE_US) slice_us = WINDOW_SLICE_US;
        if (!l->level_count || l->levels[l->level_count - 1].slice_us != slice_us) l->level_count++;
        l->levels[l->level_count - 1].slice_us = slice_us;
        l->levels[l->level_count - 1].length_us = windows[i];
    }
    l->slot_count = l->level_count * LEVEL_SLOTS;
    for (unsigned i = l->slot_count; i > 0; i--) l->free_slots[l->free_count++] = (uint16_t)(i - 1);
}

unsigned timeline_advance(struct timeline *l, uint64_t now_us, bool *fresh) {
    struct time_slice *open = &l->slices[l->slice_count - (l->slice_count > 0)];
    *fresh = !l->slice_count || (l->free_count && is_long_enough(span_of(open), l->levels[0].slice_us));
    if (*fresh) {
        open = &l->slices[l->slice_count++];
        *open = (struct time_slice){.begin_us = l->last_us, .slot = l->free_slots[--l->free_count]};
    }
    if (now_us > l->last_us) l->last_us = now_us;
    open->end_us = l->last_us;
    return open->slot;
}

/* The slice at `at` becomes part of the one before it, or nothing when there is none. */
static void remove_slice(struct timeline *l, unsigned at, struct slot_move *move) {
    struct time_slice *s = &l->slices[at];
    *move = (struct slot_move){.from = s->slot, .to = SLOT_NONE};
    if (at) {
        move->to = s[-1].slot;
        s[-1].end_us = s->end_us;
    }
    l->free_slots[l->free_count++] = s->slot;
    memmove(s, s + 1, (--l->slice_count - at) * sizeof *s);
}

/* The eldest slice of a level, when it is too old for it, goes up to the next: into that level's youngest slice, or as
 * one of its own. True when something is to be done with what it holds. */
static bool age_slice(struct timeline *l, unsigned at, struct slot_move *move) {
    struct time_slice *s = &l->slices[at];
    while ((at == 0 || s[-1].level > s->level) && is_older(l, s, l->levels[s->level].length_us)) {
        if (s->level + 1U == l->level_count) {
            remove_slice(l, at, move);
            return true;
        }
        s->level++;
        bool joins = at && s[-1].level == s->level;
        if (joins && fit_together(span_of(&s[-1]), span_of(s), l->levels[s->level].slice_us)) {
            remove_slice(l, at, move);
            return true;
        }
    }
    return false;
}

/* Levels are in order, the higher the older; only the eldest of all is ever dropped. The open slice always stays. */
bool timeline_age(struct timeline *l, struct slot_move *move) {
    for (unsigned at = 0; at + 1 < l->slice_count; at++)
        if (age_slice(l, at, move)) return true;
    return false;
}

unsigned timeline_reach(const struct timeline *l, unsigned window, uint64_t *span_us) {
    LG_ASSERT(window < l->window_count);
    unsigned count = 0;
    *span_us = 0;
    for (unsigned at = l->slice_count; at-- > 0; count++) {
        const struct time_slice *s = &l->slices[at];
        if (count && is_older(l, s, l->windows[window])) break;
        *span_us += span_of(s);
    }
    return count;
}
