/* backend.h: the servers under one policy; who may be picked now. */
#ifndef LOOMGATE_BACKEND_BACKEND_H
#define LOOMGATE_BACKEND_BACKEND_H

#include "loomgate/backend/balance.h"
#include "loomgate/backend/registry.h"
#include "loomgate/backend/retry.h"
#include "loomgate/config/config.h"

/* Part of a snapshot: immutable but for what the balancers and servers share by themselves. */
struct backend {
    const struct backend_settings *settings;
    struct balance_member *members, *backups; /* backups are picked when no member can be */
    uint32_t member_count, backup_count;
    struct balancer *primary, *secondary;
    struct retry_budget *budget;
};

/* Acquires its servers from the registry. False with an error leaves nothing behind. */
LG_MUST_CHECK bool backend_init(struct backend *b, const struct backend_settings *settings, struct registry *registry,
                                struct error *e);
void backend_fini(struct backend *b, struct registry *registry);
/* The server for a new try, another than those in r->tried; NULL when there is none. */
const struct balance_member *backend_pick(const struct backend *b, const struct pick_request *r);
/* What its policy wants to know: a key for each pick, the servers' latencies. */
static inline bool backend_wants_key(const struct backend *b) {
    return b->primary->ops->wants_key;
}
static inline bool backend_wants_latency(const struct backend *b) {
    return b->primary->ops->wants_latency;
}

#endif
