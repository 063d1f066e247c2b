/* balance_random.c: the power of two choices: two drawn by weight, the less loaded one is picked.
 *
 * A second choice brings the longest queue down from O(log n / log log n) to O(log log n) (Mitzenmacher, "The Power of
 * Two Choices in Randomized Load Balancing", 2001), and unlike the least loaded of all it does not send all workers to
 * the same server. While both are idle the first one drawn is picked, so that the weights alone decide. */
#include "loomgate/backend/balance_random.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>

#include "balance_internal.h"

struct random_two {
    struct balancer balancer;
    struct draw draw;
};

static struct balancer *random_make(const struct balance_member *members, uint32_t count,
                                    const struct balance_settings *settings) {
    (void)settings;
    struct random_two *t = xcalloc(1, sizeof *t);
    t->balancer.ops = &balance_random_two;
    draw_init(&t->draw, members, count);
    return &t->balancer;
}

static void random_free(struct balancer *b) {
    struct random_two *t = LG_CONTAINER_OF(b, struct random_two, balancer);
    draw_fini(&t->draw);
    free(t);
}

static const struct balance_member *random_pick(struct balancer *b, const struct pick_request *r) {
    const struct random_two *t = LG_CONTAINER_OF(b, struct random_two, balancer);
    struct pair pair = draw_two(&t->draw, r);
    if (!pair.second) return pair.first;
    uint64_t first = member_active(pair.first), second = member_active(pair.second);
    if (!first && !second) return pair.first;
    uint64_t first_load = (first + 1) * member_weight(pair.second, r);
    uint64_t second_load = (second + 1) * member_weight(pair.first, r);
    return first_load <= second_load ? pair.first : pair.second;
}

const struct balance_ops balance_random_two = {
    .name = "random_two", .make = random_make, .free = random_free, .pick = random_pick};
