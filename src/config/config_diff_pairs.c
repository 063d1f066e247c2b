/* config_diff_pairs.c: which items of two lists are the same thing, and which of those have moved. */
#include "config_diff_internal.h"

#include <stdlib.h>

/* Of an old item: those behind it with the same key (listeners of any port may share one). */
struct chain {
    uint32_t next; /* NOBODY: the end */
    uint32_t last; /* of the first item of a key: where to append */
};

void pairing_init(struct pairing *p, const struct keys *before, const struct keys *after) {
    struct chain *chains = xcalloc(before->count + 1, sizeof *chains);
    struct map known; /* key to the chain of the first old item that has it */
    map_init(&known);
    p->new_of = xcalloc(before->count + 1, sizeof *p->new_of);
    p->old_of = xcalloc(after->count + 1, sizeof *p->old_of);
    for (uint32_t i = 0; i < before->count; i++) {
        p->new_of[i] = NOBODY;
        chains[i] = (struct chain){NOBODY, i};
        struct chain *first = map_put(&known, before->v[i], &chains[i]);
        if (!first) continue;
        chains[first->last].next = i;
        first->last = i;
    }
    for (uint32_t i = 0; i < after->count; i++) {
        struct chain *found = map_find(&known, after->v[i]);
        uint32_t at = found ? (uint32_t)(found - chains) : NOBODY;
        while (at != NOBODY && p->new_of[at] != NOBODY) at = chains[at].next;
        p->old_of[i] = at;
        if (at != NOBODY) p->new_of[at] = i;
    }
    map_fini(&known);
    free(chains);
}

void pairing_fini(struct pairing *p) {
    free(p->old_of);
    free(p->new_of);
}

/* A longest increasing subsequence (Fredman 1975): for each length the smallest end is kept; these are in order, so the
 * place of the next one is found by halving. */
bool *pairing_find_staying(const struct pairing *p, uint32_t new_count) {
    bool *stays = xcalloc(new_count + 1, sizeof *stays);
    uint32_t *ends = xcalloc(new_count + 1, sizeof *ends), *before = xcalloc(new_count + 1, sizeof *before), length = 0;
    for (uint32_t i = 0; i < new_count; i++) {
        if (p->old_of[i] == NOBODY) continue;
        uint32_t low = 0, high = length;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (p->old_of[ends[middle]] < p->old_of[i])
                low = middle + 1;
            else
                high = middle;
        }
        before[i] = low ? ends[low - 1] : NOBODY;
        ends[low] = i;
        if (low == length) length++;
    }
    for (uint32_t i = length ? ends[length - 1] : NOBODY; i != NOBODY; i = before[i]) stays[i] = true;
    free(ends);
    free(before);
    return stays;
}
