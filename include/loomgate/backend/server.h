/* server.h: one server as it lives: shared by all workers, outliving the configuration that named it. */
#ifndef LOOMGATE_BACKEND_SERVER_H
#define LOOMGATE_BACKEND_SERVER_H

#include "loomgate/backend/latency.h"
#include "loomgate/base/macros.h"
#include "loomgate/net/addr.h"

#include <stdatomic.h>
#include <stdbool.h>

/* What the operator wants of a server; one of the facts that server_may_take() folds. */
enum server_admin { SERVER_READY, SERVER_MAINT };

struct server {
    /* Identity: set once, before any worker sees it. Never a tunable: whatever may change lives in `shared`. */
    const char *backend, *name;
    struct addr addr;
    unsigned id;   /* dense: the place of its pool in each worker */
    unsigned refs; /* of snapshots; the control thread alone counts */

    /* Written by all workers, so on a line of its own. Relaxed order is enough: each is a fact by itself. */
    struct {
        _Alignas(LG_CACHE_LINE) _Atomic uint32_t active; /* exchanges that use it now */
        struct latency latency;                          /* of its answers; fed only where a policy wants it */
        _Atomic uint8_t admin;                           /* enum server_admin; one writer: the control thread */
    } shared;
};

/* Whether a new exchange may go to it. */
static inline bool server_may_take(const struct server *s) {
    return atomic_load_explicit(&s->shared.admin, memory_order_relaxed) == SERVER_READY;
}

/* An exchange begins and ends to use the server. */
static inline void server_acquire(struct server *s) {
    atomic_fetch_add_explicit(&s->shared.active, 1, memory_order_relaxed);
}
static inline void server_release(struct server *s) {
    atomic_fetch_sub_explicit(&s->shared.active, 1, memory_order_relaxed);
}

#endif
