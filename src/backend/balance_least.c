/* balance_least.c: the server with the fewest running exchanges for its weight.
 *
 * Each is judged by what it would have: (active + 1) / weight, the one it has now. Equal ones draw lots by weight, and
 * so do all when none is busy: else the heaviest would get everything while there is little to do. Every pick looks at
 * every server. */
#include "loomgate/backend/balance_least.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>

#include "balance_internal.h"

struct least_requests {
    struct balancer balancer;
    const struct balance_member *members;
    uint32_t count;
};

static struct balancer *least_make(const struct balance_member *members, uint32_t count,
                                   const struct balance_settings *settings) {
    (void)settings;
    struct least_requests *l = xcalloc(1, sizeof *l);
    *l = (struct least_requests){{&balance_least_requests}, members, count};
    return &l->balancer;
}

static void least_free(struct balancer *b) {
    free(LG_CONTAINER_OF(b, struct least_requests, balancer));
}

static const struct balance_member *least_pick(struct balancer *b, const struct pick_request *r) {
    const struct least_requests *l = LG_CONTAINER_OF(b, struct least_requests, balancer);
    struct dice dice = {r->random};
    struct lottery least = {0}, all = {0};
    uint64_t load = 0, weight = 1; /* of the least loaded so far: their ratio */
    bool busy = false;
    for (uint32_t i = 0; i < l->count; i++) {
        const struct balance_member *m = &l->members[i];
        if (!member_can_take(m, r)) continue;
        uint64_t active = member_active(m);
        uint32_t own_weight = member_weight(m, r);
        busy = busy || active;
        if (!busy) lottery_add(&all, m, own_weight, &dice);
        uint64_t own = (active + 1) * weight, other = load * own_weight;
        if (!least.winner || own < other) {
            least = (struct lottery){0};
            load = active + 1;
            weight = own_weight;
        } else if (own > other) {
            continue;
        }
        lottery_add(&least, m, own_weight, &dice);
    }
    return busy ? least.winner : all.winner;
}

const struct balance_ops balance_least_requests = {
    .name = "least_requests", .make = least_make, .free = least_free, .pick = least_pick};
