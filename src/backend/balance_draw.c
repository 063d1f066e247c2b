/* balance_draw.c: two members drawn by weight, in O(log n): what the policies with two choices begin with.
 *
 * They are drawn by base weight; who ramps up, or may not be picked, is drawn in vain: by the dice of its ramp, or
 * always. What is left has the weights of now, and so has the lottery among all that follows too many vain draws. */
#include "loomgate/base/mem.h"

#include <stdlib.h>

#include "balance_internal.h"

/* So often somebody is drawn in vain before all are looked at. */
enum { DRAWS_MAX = 8 };

void draw_init(struct draw *d, const struct balance_member *members, uint32_t count) {
    *d = (struct draw){.members = members, .count = count, .sums = xcalloc(count, sizeof *d->sums)};
    for (uint32_t i = 0; i < count; i++) d->sums[i] = d->total += member_base_weight(&members[i]);
}

void draw_fini(struct draw *d) {
    free(d->sums);
}

/* The member who has this ticket: the first with more tickets before its end. */
static const struct balance_member *owner_of(const struct draw *d, uint64_t ticket) {
    uint32_t low = 0, high = d->count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (d->sums[middle] > ticket)
            high = middle;
        else
            low = middle + 1;
    }
    return &d->members[low];
}

const struct balance_member *draw_of_all(const struct balance_member *members, uint32_t count,
                                         const struct balance_member *but, const struct pick_request *r,
                                         struct dice *dice) {
    struct lottery lottery = {0};
    for (const struct balance_member *m = members; m < members + count; m++)
        if (m != but && member_can_take(m, r)) lottery_add(&lottery, m, member_weight(m, r), dice);
    return lottery.winner;
}

static const struct balance_member *draw_one(const struct draw *d, const struct pick_request *r,
                                             const struct balance_member *but, struct dice *dice) {
    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        const struct balance_member *m = owner_of(d, dice_below(dice, d->total));
        if (m != but && member_can_take(m, r) && member_wins(m, r, dice)) return m;
    }
    return draw_of_all(d->members, d->count, but, r, dice);
}

struct pair draw_two(const struct draw *d, const struct pick_request *r) {
    struct dice dice = {r->random};
    struct pair pair = {0};
    if (d->total) pair.first = draw_one(d, r, NULL, &dice);
    if (pair.first && d->count > 1) pair.second = draw_one(d, r, pair.first, &dice);
    return pair;
}
