/* balance_first.c: the first in the file's order that can: the others rest until it cannot.
 *
 * While it ramps up it takes its share, and the next one the rest. What nobody takes is the first's after all. */
#include "loomgate/backend/balance_first.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>

#include "balance_internal.h"

struct first {
    struct balancer balancer;
    const struct balance_member *members;
    uint32_t count;
};

static struct balancer *first_make(const struct balance_member *members, uint32_t count,
                                   const struct balance_settings *settings) {
    (void)settings;
    struct first *f = xcalloc(1, sizeof *f);
    *f = (struct first){{&balance_first}, members, count};
    return &f->balancer;
}

static void first_free(struct balancer *b) {
    free(LG_CONTAINER_OF(b, struct first, balancer));
}

static const struct balance_member *first_pick(struct balancer *b, const struct pick_request *r) {
    const struct first *f = LG_CONTAINER_OF(b, struct first, balancer);
    const struct balance_member *first = NULL;
    struct dice dice = {r->random};
    for (const struct balance_member *m = f->members; m < f->members + f->count; m++) {
        if (!member_can_take(m, r)) continue;
        if (member_wins(m, r, &dice)) return m;
        if (!first) first = m;
    }
    return first;
}

const struct balance_ops balance_first = {.name = "first", .make = first_make, .free = first_free, .pick = first_pick};
