/* window.h: rolling windows as one chain of slices of time that all series share: when slices begin, merge and end.
 *
 *   now <- | 1 s | 1 s | ... 10 of them | 6 s | 6 s | ... to 1 min | 30 s | 30 s | ... to 5 min | -> dropped
 *            ^ open                      level 1                     level 2
 *
 * (For the windows 1 s, 10 s, 1 min, 5 min.) A slice is as long as a tenth of the shortest window that still reaches
 * it, at least 1 s (give or take 5 %); as it grows older it is merged into longer ones. A window is, at each tick, the
 * newest slice and those before whose middle is not older than the window is long. So it forgets exactly: all that is
 * younger than the window's length less half a slice is in it, and nothing that is older than its length plus half a
 * slice; between ticks it stays as it was. With ticks each second that means: the 10 s window is the last ten seconds,
 * and an event has left it 11 s, the 5 min window 5.5 min after it happened. Rates are taken over what the slices
 * really cover, so neither late ticks nor the length of slices distorts them. */
#ifndef LOOMGATE_STATS_WINDOW_H
#define LOOMGATE_STATS_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum {
    WINDOWS_MAX = 8,
    WINDOW_PARTS = 10,         /* slices of a window */
    WINDOW_SLICE_US = 1000000, /* the shortest slice */
    LEVEL_SLOTS = 24,          /* no level has more slices: two neighbours are longer than one should be */
    SLOTS_MAX = WINDOWS_MAX * LEVEL_SLOTS,
};

struct time_slice {
    uint64_t begin_us, end_us;
    uint16_t slot; /* where series keep what is theirs of it; stays while the slice grows older */
    uint8_t level;
};

struct timeline {
    uint64_t windows[WINDOWS_MAX]; /* lengths in us, ascending */
    unsigned window_count;
    struct {
        uint64_t slice_us;  /* how long its slices should be */
        uint64_t length_us; /* up to which age */
    } levels[WINDOWS_MAX];
    unsigned level_count, slot_count;
    uint64_t last_us;                    /* of the last tick */
    struct time_slice slices[SLOTS_MAX]; /* the eldest first, without gaps; the last one is open */
    unsigned slice_count;
    uint16_t free_slots[SLOTS_MAX];
    unsigned free_count;
};

/* Time begins; ascending lengths. */
void timeline_init(struct timeline *l, const uint64_t *windows, unsigned count, uint64_t now_us);
/* Time goes on to now_us. Returns the slot for what has come since the last call; in *fresh whether it is a new one. */
unsigned timeline_advance(struct timeline *l, uint64_t now_us, bool *fresh);

/* One thing to be done with what series keep: `from` goes into `to`, or is forgotten (to is SLOT_NONE). */
#define SLOT_NONE UINT16_MAX
struct slot_move {
    uint16_t from, to;
};
/* After timeline_advance(): the next thing to do; false: nothing is left. */
bool timeline_age(struct timeline *l, struct slot_move *move);

/* How many slices, from the last on, the window has now; what they cover in *span_us. */
unsigned timeline_reach(const struct timeline *l, unsigned window, uint64_t *span_us);

#endif
