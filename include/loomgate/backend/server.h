/* server.h: one server as it lives: shared by all workers, outliving the configuration that named it.
 *
 * Three facts, each with one writer or rule, say whether it may be used: what the operator wants (admin), what active
 * checks found (health), what its exchanges showed (breaker). member_standing() in balance.h folds them. */
#ifndef LOOMGATE_BACKEND_SERVER_H
#define LOOMGATE_BACKEND_SERVER_H

#include "loomgate/backend/breaker.h"
#include "loomgate/backend/latency.h"
#include "loomgate/base/macros.h"
#include "loomgate/net/addr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* What the operator wants of a server. DRAIN and MAINT take no new exchange; with MAINT it is not checked either. */
enum server_admin { SERVER_READY, SERVER_DRAIN, SERVER_MAINT };
enum server_health { SERVER_UP, SERVER_DOWN };

/* What is known of its checks; the control thread's alone. */
struct health_state {
    bool checked;            /* it is checked at all */
    bool pinned;             /* an operator has decided, see health_pin() */
    uint8_t found;           /* enum server_health: what the checks say */
    uint32_t streak;         /* checks in a row that speak against the state it is in */
    uint64_t checks, failed; /* since the start */
    uint64_t since_us;       /* in this state, CLOCK_MONOTONIC; 0: from the start */
    uint64_t last_us;        /* when the last check ended; 0: none has yet */
    uint64_t latency_us;     /* how long it took */
    bool last_passed;
    uint16_t last_status; /* of an HTTP answer; 0: none */
    char reason[96];      /* of the last check, for eyes: "status 503", "Connection refused" */
};

struct series; /* stats/telemetry.h */
struct drain;  /* runtime/drain.c */

struct server {
    /* Identity: set once, before any worker sees it. Never a tunable: whatever may change lives in `shared`. */
    const char *backend, *name;
    struct addr addr;
    unsigned id;           /* dense: the place of its pool in each worker */
    unsigned refs;         /* of snapshots; the control thread alone counts */
    unsigned round;        /* of publishing that it was in last; the control thread's alone, and so is: */
    struct series *series; /* where its tries are counted */
    struct health_state health;
    struct drain *drain; /* the runtime's: when what still runs on it is cut; NULL: nothing is to be */

    /* Written by all workers, so on lines of its own. Relaxed order is enough but for `active`, see queue.h. */
    struct {
        _Alignas(LG_CACHE_LINE) _Atomic uint32_t active; /* exchanges that use it now; see server_active() */
        _Atomic uint8_t admin;                           /* enum server_admin; one writer: the control thread */
        _Atomic bool retired;    /* in no configuration in force; one writer: the control thread */
        _Atomic uint8_t health;  /* enum server_health; one writer: the control thread */
        struct latency latency;  /* of its answers; fed only where a policy wants it */
        _Atomic uint64_t ramp;   /* see server_begin_ramp(); 0: none */
        _Atomic uint32_t weight; /* see server_set_weight(); 0: that of the configuration */
        struct breaker breaker;
        struct breaker_window window; /* on lines of its own */
    } shared;
};
_Static_assert(offsetof(struct server, shared) % LG_CACHE_LINE == 0, "what workers write is not beside what they read");

static inline enum server_admin server_admin_get(const struct server *s) {
    return (enum server_admin)atomic_load_explicit(&s->shared.admin, memory_order_relaxed);
}
/* Whether it is meant to be used: new exchanges may go to it, its idle connections are kept. */
static inline bool server_is_in_service(const struct server *s) {
    return server_admin_get(s) == SERVER_READY && !atomic_load_explicit(&s->shared.retired, memory_order_relaxed);
}
static inline enum server_health server_health_get(const struct server *s) {
    return (enum server_health)atomic_load_explicit(&s->shared.health, memory_order_relaxed);
}

/* Sequentially consistent, as all that a decision to wait is made of: see queue.h. */
static inline uint32_t server_active(const struct server *s) {
    return atomic_load(&s->shared.active);
}

/* An exchange begins to use the server; false: `max` (0: no limit) use it already. */
static inline bool server_acquire(struct server *s, uint32_t max) {
    if (!max) {
        atomic_fetch_add_explicit(&s->shared.active, 1, memory_order_relaxed);
        return true;
    }
    uint32_t active = server_active(s);
    do
        if (active >= max) return false;
    while (!atomic_compare_exchange_weak(&s->shared.active, &active, active + 1));
    return true;
}
/* Sequentially consistent: a look at who waits for the place follows. */
static inline void server_release(struct server *s) {
    atomic_fetch_sub(&s->shared.active, 1);
}

/* It comes back: its weight grows from next to nothing to the whole over length_us. Any thread; the last one wins. */
enum { SHARE_ONE = 256, RAMP_LENGTH_BITS = 24 };
void server_begin_ramp(struct server *s, uint64_t now_us, uint64_t length_us);
/* How much of its weight it has now, of SHARE_ONE, when there is a ramp; never 0. */
uint32_t server_ramp_share(uint64_t ramp, uint64_t now_us);
static inline uint32_t server_share(const struct server *s, uint64_t now_us) {
    uint64_t ramp = atomic_load_explicit(&s->shared.ramp, memory_order_relaxed);
    return ramp ? server_ramp_share(ramp, now_us) : SHARE_ONE;
}

/* An operator's weight instead of the configuration's, in units of 1 / WEIGHT_ONE; WEIGHT_OF_CONFIG takes it back.
 * Control thread; backend_reweigh() is to follow. */
enum { WEIGHT_ONE = 100, WEIGHT_MAX = 256, WEIGHT_OF_CONFIG = UINT32_MAX };
static inline void server_set_weight(struct server *s, uint32_t weight) {
    atomic_store_explicit(&s->shared.weight, weight + 1, memory_order_relaxed);
}
static inline bool server_has_weight(const struct server *s) {
    return atomic_load_explicit(&s->shared.weight, memory_order_relaxed) != 0;
}
static inline uint32_t server_weight(const struct server *s, uint32_t of_config) {
    uint32_t own = atomic_load_explicit(&s->shared.weight, memory_order_relaxed);
    return own ? own - 1 : of_config * WEIGHT_ONE;
}

/* --- over to another process (server_state.c) -------------------------------------------------------------------- */

/* A line of facts: who it is, what its checks have found, its breaker, its latency, its ramp. */
void server_print(const struct server *s, const struct breaker_settings *breaker, uint64_t now_us, FILE *out);
/* Becomes that, before any worker uses it; what operators have set comes first, and stays. False: it is about another
 * address. */
bool server_take(struct server *s, const struct breaker_settings *breaker, uint64_t now_us, const struct facts *f);

#endif
