/* balance_internal.h: what the policies share: who may be picked, dice, lotteries, two drawn by weight. */
#ifndef LOOMGATE_BACKEND_BALANCE_INTERNAL_H
#define LOOMGATE_BACKEND_BALANCE_INTERNAL_H

#include "loomgate/backend/balance.h"

static inline bool member_can_take(const struct balance_member *m, const struct pick_request *r) {
    return member_standing(m, r->now_us) == STANDING_OK && !tried_has(r->tried, m->server);
}

/* Its weight now, in units of 1 / SHARE_ONE / WEIGHT_ONE: less while it ramps up. Never 0 for one that can take. */
static inline uint32_t member_weight(const struct balance_member *m, const struct pick_request *r) {
    return member_base_weight(m) * server_share(m->server, r->now_us);
}

static inline uint32_t member_active(const struct balance_member *m) {
    return atomic_load_explicit(&m->server->shared.active, memory_order_relaxed);
}

/* The finalizer of MurmurHash3 (Appleby): every bit of `x` changes about half of the result's. */
static inline uint64_t mix64(uint64_t x) {
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdU;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53U;
    return x ^ x >> 33;
}

/* Further random numbers from one: a counter, mixed (the idea of SplitMix; Steele, Lea and Flood, 2014). */
struct dice {
    uint64_t state;
};

/* 0 to limit - 1. */
static inline uint64_t dice_below(struct dice *d, uint64_t limit) {
    d->state += 0x9e3779b97f4a7c15U;
    return (uint64_t)((unsigned __int128)mix64(d->state) * limit >> 64);
}

/* Who ramps up takes as many of its chances as its share says; all others take each. */
static inline bool member_wins(const struct balance_member *m, const struct pick_request *r, struct dice *dice) {
    uint32_t share = server_share(m->server, r->now_us);
    return share == SHARE_ONE || dice_below(dice, SHARE_ONE) < share;
}

/* Draws one by weight while they are looked at one after the other, each once. */
struct lottery {
    const struct balance_member *winner; /* NULL: nobody took part */
    uint64_t tickets;
};

static inline void lottery_add(struct lottery *l, const struct balance_member *m, uint32_t weight, struct dice *dice) {
    l->tickets += weight;
    if (dice_below(dice, l->tickets) < weight) l->winner = m;
}

/* balance_draw.c: one of all that can take it, by the weights they have now, but not this one; NULL: there is none. */
const struct balance_member *draw_of_all(const struct balance_member *members, uint32_t count,
                                         const struct balance_member *but, const struct pick_request *r,
                                         struct dice *dice);

/* Drawing by weight without looking at all of them. */
struct draw {
    const struct balance_member *members;
    uint64_t *sums; /* of the base weights up to and with each member */
    uint64_t total;
    uint32_t count;
};

void draw_init(struct draw *d, const struct balance_member *members, uint32_t count);
void draw_fini(struct draw *d);
/* Two different ones that may take the exchange, each by the weight it has now; fewer when there are no two: then NULL.
 */
struct pair {
    const struct balance_member *first, *second;
};
struct pair draw_two(const struct draw *d, const struct pick_request *r);

#endif
