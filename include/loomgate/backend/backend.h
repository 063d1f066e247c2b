/* backend.h: the servers under one policy; who may be picked now; places at them taken and given back.
 *
 *   backend_acquire -> PICK_OK: a lease ---backend_release--> its place goes to the first who waits
 *                   -> PICK_FULL: somebody must wait (queue.h), PICK_OPEN, PICK_NONE: fail */
#ifndef LOOMGATE_BACKEND_BACKEND_H
#define LOOMGATE_BACKEND_BACKEND_H

#include "loomgate/backend/balance.h"
#include "loomgate/backend/registry.h"
#include "loomgate/config/config.h"

/* Part of a snapshot: immutable but for what the balancers, servers and the group share by themselves, and for which
 * balancers there are. */
struct backend {
    const struct backend_settings *settings;
    const struct balance_ops *policy;
    struct balance_member *members, *backups; /* backups are picked when no member can be */
    uint32_t member_count, backup_count;
    _Atomic(struct balancer *) primary, secondary; /* see backend_reweigh() */
    struct group *group;
    struct series *series;
};

/* Acquires its servers and group from the registry. False with an error leaves nothing behind. */
LG_MUST_CHECK bool backend_init(struct backend *b, const struct backend_settings *settings, struct registry *registry,
                                struct error *e);
void backend_fini(struct backend *b, struct registry *registry);

/* The server for a new try, another than those in r->tried; NULL when there is none. No side effect but a turn. */
const struct balance_member *backend_pick(const struct backend *b, const struct pick_request *r);
/* The same with a place at it, and what became of its breaker. The servers in r->tried are passed over; when no other
 * is left, only the last of them; then none. A lease of PICK_OK goes back to backend_release(). */
enum pick_result backend_acquire(const struct backend *b, const struct pick_request *r, struct lease *lease,
                                 struct breaker_change *change);
/* What backend_acquire would find now, without side effects: PICK_OK with the server. */
enum pick_result backend_peek(const struct backend *b, const struct pick_request *r, const struct balance_member **m);
/* The same as backend_acquire for this one server, whose place was given back a moment ago. */
bool backend_reacquire(const struct balance_member *m, uint64_t now_us, struct lease *lease,
                       struct breaker_change *change);
/* Tells the breaker how it goes before it ends: an answer has begun, a tunnel stands. A server whose breaker closes
 * begins to ramp. */
void backend_report(const struct backend *b, struct lease *lease, enum breaker_result result, uint64_t now_us,
                    struct breaker_change *change);
/* Gives the place back and lets the next one in. `result` is told to the breaker; a success that was told before is
 * taken back by a failure. */
void backend_release(const struct backend *b, struct lease *lease, enum breaker_result result, uint64_t now_us,
                     struct breaker_change *change);
/* How long until the first of the breakers that keep servers out may let a probe through; 0: none keeps any out. */
uint64_t backend_wait_us(const struct backend *b, uint64_t now_us);

/* A weight has changed: from now on balancers are used that know it. Those of before are the caller's, to be given to
 * balancers_free() when no thread can be picking from them any more. Control thread. */
struct balancers {
    struct balancer *primary, *secondary;
};
struct balancers backend_reweigh(struct backend *b);
void balancers_free(struct balancers *old);

/* What its policy wants to know: a key for each pick, the servers' latencies. */
static inline bool backend_wants_key(const struct backend *b) {
    return b->policy->wants_key;
}
static inline bool backend_wants_latency(const struct backend *b) {
    return b->policy->wants_latency;
}

#endif
