/* balance.h: the contract of a balancing policy: one group of servers, who is next. */
#ifndef LOOMGATE_BACKEND_BALANCE_H
#define LOOMGATE_BACKEND_BALANCE_H

#include "loomgate/backend/server.h"
#include "loomgate/config/config.h"

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
    const struct breaker_settings *breaker;
    uint32_t weight; /* of this configuration; member_base_weight() is in force */
};

/* In units of 1 / WEIGHT_ONE, before a ramp; 0: takes nothing. */
static inline uint32_t member_base_weight(const struct balance_member *m) {
    return server_weight(m->server, m->weight);
}

/* Why a server can be picked, or cannot: the first that holds, from below. */
enum standing {
    STANDING_OK,
    STANDING_FULL, /* max_connections exchanges use it */
    STANDING_OPEN, /* its breaker lets nothing through now */
    STANDING_OUT,  /* weight 0, drained, in maintenance, or down */
};

/* Policies ask this of every server that they look at: in the good case it reads one line of the server and its limit.
 */
static inline enum standing member_standing(const struct balance_member *m, uint64_t now_us) {
    const struct server *s = m->server;
    if (!member_base_weight(m) || server_admin_get(s) != SERVER_READY || server_health_get(s) != SERVER_UP)
        return STANDING_OUT;
    if (!breaker_is_closed(&s->shared.breaker) && m->breaker->on && !m->breaker->observe &&
        !breaker_may_take(&s->shared.breaker, m->breaker, now_us))
        return STANDING_OPEN;
    uint32_t max = m->settings->max_connections;
    if (max && server_active(s) >= max) return STANDING_FULL;
    return STANDING_OK;
}

/* What a policy may need to know of the exchange that wants a server. */
struct pick_request {
    const struct tried *tried; /* NULL: none */
    uint64_t now_us;           /* of the worker's loop */
    uint64_t random;           /* 64 random bits */
    uint64_t key;              /* see balance_hash.h; only when the policy wants one, and */
    bool has_key;              /* the request has what it is made of */
    bool peek;                 /* who would be picked: no turn is taken */
};

/* Shared by all workers: pick must be safe from many threads and take no lock. */
struct balancer {
    const struct balance_ops *ops;
};

struct balance_ops {
    const char *name;   /* as in the configuration */
    bool wants_key;     /* pick_request.key is looked at */
    bool wants_latency; /* server.shared.latency is looked at: somebody must feed it */
    /* The members and settings are borrowed for the balancer's life. Their base weights are those of now: when one
     * changes, another balancer is to be made. */
    struct balancer *(*make)(const struct balance_member *members, uint32_t count,
                             const struct balance_settings *settings);
    void (*free)(struct balancer *b);
    /* A member with weight that may take an exchange and is not in `tried`; NULL when there is none. */
    const struct balance_member *(*pick)(struct balancer *b, const struct pick_request *r);
};

#endif
