/* balance_rr.c: round robin: smooth, weighted, exact over all workers.
 *
 * One period of the schedule is written down when the policy is made: a server of weight w stands in it w times, its
 * k-th turn at (k + 1/2) / w of the period, which is an earliest-deadline-first order and keeps equal servers apart.
 * Picking is one shared counter: whichever worker asks, turns are given out in that order, so any 3,000 requests are
 * shared out exactly.
 *
 *   next    a b c a b c a b c    each pick takes the next turn; b is out
 *             |     |     |
 *   spare     a     c     a      its turns are given out on a second way through the same schedule
 *
 * Were they left to the next one, c would get twice what a gets. On a way of their own they are shared out by weight
 * among all that can take them, as exactly as the first ones. A server that ramps up throws dice for each turn it comes
 * to, on both ways; as each of its turns is come to as often as any other, it gets its share of its weight, and the
 * others what they have always had of the rest. */
#include "loomgate/backend/balance_rr.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>

#include "balance_internal.h"

/* REACH: so many turns are looked at, at most, for one that can be taken. Not reached but where nearly all weight is
 * out. PERIOD: above about so many turns weights are rounded; what the configuration of 4,000 servers has is not. */
enum { REACH_MAX = 8192, PERIOD_MAX = 1 << 20 };

struct turn {
    uint32_t member, weight, k;
};

struct round_robin {
    struct balancer balancer;
    const struct balance_member *members;
    uint32_t *schedule; /* member indexes */
    uint32_t count, period;
    _Alignas(LG_CACHE_LINE) _Atomic uint64_t next; /* written by every pick of every worker: that is what exact costs */
    _Alignas(LG_CACHE_LINE) _Atomic uint64_t spare; /* where the turns go on that were not taken */
};

static uint32_t gcd(uint32_t a, uint32_t b) {
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* (2k+1)/2w of one against the other, without division; then the file's order. */
static int compare_turns(const void *left, const void *right) {
    const struct turn *a = left, *b = right;
    uint64_t at_a = (uint64_t)(2 * a->k + 1) * b->weight, at_b = (uint64_t)(2 * b->k + 1) * a->weight;
    if (at_a != at_b) return at_a < at_b ? -1 : 1;
    return (a->member > b->member) - (a->member < b->member);
}

/* How many turns a period has for this weight. */
static uint32_t turns_of(uint32_t weight, uint32_t unit) {
    uint32_t turns = weight / unit + (weight % unit > unit / 2);
    return weight && !turns ? 1 : turns;
}

static void write_schedule(struct round_robin *rr, uint32_t unit) {
    struct turn *turns = xcalloc(rr->period, sizeof *turns);
    uint32_t n = 0;
    for (uint32_t i = 0; i < rr->count; i++)
        for (uint32_t k = 0, w = turns_of(member_base_weight(&rr->members[i]), unit); k < w; k++)
            turns[n++] = (struct turn){i, w, k};
    qsort(turns, n, sizeof *turns, compare_turns);
    rr->schedule = xcalloc(n, sizeof *rr->schedule);
    for (uint32_t i = 0; i < n; i++) rr->schedule[i] = turns[i].member;
    free(turns);
}

static struct balancer *rr_make(const struct balance_member *members, uint32_t count,
                                const struct balance_settings *settings) {
    (void)settings;
    struct round_robin *rr = aligned_alloc(LG_CACHE_LINE, sizeof *rr);
    LG_ASSERT(rr != NULL);
    *rr = (struct round_robin){.balancer = {&balance_round_robin}, .members = members, .count = count};
    uint32_t unit = 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        unit = gcd(unit, member_base_weight(&members[i]));
        sum += member_base_weight(&members[i]);
    }
    if (!unit) return &rr->balancer; /* nobody takes anything */
    if (sum / unit > PERIOD_MAX) unit = (uint32_t)(sum / PERIOD_MAX + 1);
    for (uint32_t i = 0; i < count; i++) rr->period += turns_of(member_base_weight(&members[i]), unit);
    write_schedule(rr, unit);
    return &rr->balancer;
}

static void rr_free(struct balancer *b) {
    struct round_robin *rr = LG_CONTAINER_OF(b, struct round_robin, balancer);
    free(rr->schedule);
    free(rr);
}

/* The member whose turn is at this place, when it takes it. */
static const struct balance_member *take_turn(const struct round_robin *rr, const struct pick_request *r, uint32_t at,
                                              struct dice *dice) {
    const struct balance_member *m = &rr->members[rr->schedule[at]];
    return member_can_take(m, r) && member_wins(m, r, dice) ? m : NULL;
}

/* Goes on to the first one that takes its turn. When nobody does within reach (all have lost their dice, or nearly all
 * weight is out) chance decides, with the same shares. */
static const struct balance_member *pick_spare(struct round_robin *rr, const struct pick_request *r,
                                               struct dice *dice) {
    uint32_t reach = rr->period < REACH_MAX ? rr->period : REACH_MAX, steps;
    uint64_t from = atomic_load_explicit(&rr->spare, memory_order_relaxed);
    const struct balance_member *m;
    do {
        uint32_t at = (uint32_t)(from % rr->period);
        for (steps = 0, m = NULL; !m && steps < reach; steps++) {
            m = take_turn(rr, r, at, dice);
            if (++at == rr->period) at = 0;
        }
    } while (!r->peek && !atomic_compare_exchange_weak_explicit(&rr->spare, &from, from + steps, memory_order_relaxed,
                                                                memory_order_relaxed));
    return m ? m : draw_of_all(rr->members, rr->count, NULL, r, dice);
}

static const struct balance_member *rr_pick(struct balancer *b, const struct pick_request *r) {
    struct round_robin *rr = LG_CONTAINER_OF(b, struct round_robin, balancer);
    struct dice dice = {r->random};
    if (!rr->period) return NULL;
    uint64_t turn = r->peek ? atomic_load_explicit(&rr->next, memory_order_relaxed)
                            : atomic_fetch_add_explicit(&rr->next, 1, memory_order_relaxed);
    const struct balance_member *m = take_turn(rr, r, (uint32_t)(turn % rr->period), &dice);
    return m ? m : pick_spare(rr, r, &dice);
}

const struct balance_ops balance_round_robin = {
    .name = "round_robin", .make = rr_make, .free = rr_free, .pick = rr_pick};
