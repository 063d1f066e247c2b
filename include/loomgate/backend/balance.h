/* balance.h: the contract of a balancing policy: one group of servers, who is next. */
#ifndef LOOMGATE_BACKEND_BALANCE_H
#define LOOMGATE_BACKEND_BALANCE_H

#include "loomgate/backend/server.h"

#include <stdint.h>

enum { TRIED_MAX = 8 };

/* The servers that this exchange has met already. */
struct tried {
    const struct server *v[TRIED_MAX];
    unsigned count;
};

static inline bool tried_has(const struct tried *t, const struct server *s) {
    for (unsigned i = 0; t && i < t->count; i++)
        if (t->v[i] == s) return true;
    return false;
}

struct balance_member {
    struct server *server;
    const struct server_settings *settings; /* of this configuration */
    uint32_t weight;                        /* 0: takes nothing */
};

/* Shared by all workers: pick must be safe from many threads and take no lock. */
struct balancer {
    const struct balance_ops *ops;
};

struct balance_ops {
    const char *name; /* as in the configuration */
    /* The members are borrowed for the balancer's life. */
    struct balancer *(*make)(const struct balance_member *members, uint32_t count);
    void (*free)(struct balancer *b);
    /* A member with weight that may take an exchange and is not in `tried`; NULL when there is none. */
    const struct balance_member *(*pick)(struct balancer *b, const struct tried *tried);
};

#endif
