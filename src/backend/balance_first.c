/* balance_first.c: the first in the file's order that can: the others rest until it cannot. */
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
    for (uint32_t i = 0; i < f->count; i++)
        if (member_can_take(&f->members[i], r)) return &f->members[i];
    return NULL;
}

const struct balance_ops balance_first = {.name = "first", .make = first_make, .free = first_free, .pick = first_pick};
