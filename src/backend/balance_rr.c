/* balance_rr.c: round robin: smooth, weighted, exact over all workers.
 *
 * One period of the schedule is written down when the policy is made: a server of weight w stands in it w times, its
 * k-th turn at (k + 1/2) / w of the period, which is an earliest-deadline-first order and keeps equal servers apart.
 * Picking is one shared counter: whichever worker asks, turns are given out in that order, so any 3,000 requests are
 * shared out exactly. A server that may take nothing leaves its turn to the next in the schedule. */
#include "loomgate/backend/balance_rr.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>

#include "balance_internal.h"

struct turn {
    uint32_t member, weight, k;
};

struct round_robin {
    struct balancer balancer;
    const struct balance_member *members;
    uint32_t *schedule; /* member indexes */
    uint32_t period;
    _Alignas(LG_CACHE_LINE) _Atomic uint64_t next; /* written by every pick of every worker: that is what exact costs */
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

static void write_schedule(struct round_robin *rr, uint32_t count, uint32_t unit) {
    struct turn *turns = xcalloc(rr->period, sizeof *turns);
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0, w = rr->members[i].weight / unit; k < w; k++) turns[n++] = (struct turn){i, w, k};
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
    *rr = (struct round_robin){.balancer = {&balance_round_robin}, .members = members};
    uint32_t unit = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        unit = gcd(unit, members[i].weight);
        sum += members[i].weight;
    }
    if (sum) {
        rr->period = sum / unit;
        write_schedule(rr, count, unit);
    }
    return &rr->balancer;
}

static void rr_free(struct balancer *b) {
    struct round_robin *rr = LG_CONTAINER_OF(b, struct round_robin, balancer);
    free(rr->schedule);
    free(rr);
}

static const struct balance_member *rr_pick(struct balancer *b, const struct pick_request *r) {
    struct round_robin *rr = LG_CONTAINER_OF(b, struct round_robin, balancer);
    if (!rr->period) return NULL;
    uint64_t turn = atomic_fetch_add_explicit(&rr->next, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < rr->period; i++) {
        const struct balance_member *m = &rr->members[rr->schedule[(turn + i) % rr->period]];
        if (member_can_take(m, r)) return m;
    }
    return NULL;
}

const struct balance_ops balance_round_robin = {
    .name = "round_robin", .make = rr_make, .free = rr_free, .pick = rr_pick};
