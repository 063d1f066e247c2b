/* backend.c: the servers under one policy; who may be picked now. */
#include "loomgate/backend/backend.h"

#include "loomgate/backend/balance_ewma.h"
#include "loomgate/backend/balance_first.h"
#include "loomgate/backend/balance_hash.h"
#include "loomgate/backend/balance_least.h"
#include "loomgate/backend/balance_random.h"
#include "loomgate/backend/balance_rr.h"
#include "loomgate/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const struct balance_ops *const policies[] = {
    [BALANCE_ROUND_ROBIN] = &balance_round_robin,
    [BALANCE_LEAST_REQUESTS] = &balance_least_requests,
    [BALANCE_RANDOM_TWO] = &balance_random_two,
    [BALANCE_PEAK_EWMA] = &balance_peak_ewma,
    [BALANCE_FIRST] = &balance_first,
    [BALANCE_HASH] = &balance_hash,
};

/* --- life ------------------------------------------------------------------------------------------------------- */

static enum pick_result pick_for_waiter(struct waiter *w, uint64_t now_us);
static const struct queue_events group_events = {.pick = pick_for_waiter};

static bool acquire_servers(struct backend *b, struct registry *registry, struct error *e) {
    for (uint32_t i = 0; i < b->settings->server_count; i++) {
        const struct server_settings *s = &b->settings->servers[i];
        struct server *server = registry_acquire(registry, b->settings->name, s, e);
        if (!server) return false;
        struct balance_member m = {server, s, &b->settings->breaker, s->weight};
        if (s->backup)
            b->backups[b->backup_count++] = m;
        else
            b->members[b->member_count++] = m;
    }
    return true;
}

bool backend_init(struct backend *b, const struct backend_settings *settings, struct registry *registry,
                  struct error *e) {
    *b = (struct backend){.settings = settings, .policy = policies[settings->balance.kind]};
    b->members = xcalloc(settings->server_count, sizeof *b->members);
    b->backups = xcalloc(settings->server_count, sizeof *b->backups);
    b->group = registry_acquire_group(registry, settings->name, &group_events);
    b->series = telemetry_acquire(&registry->telemetry, SERIES_BACKEND, "", settings->name);
    if (!acquire_servers(b, registry, e)) {
        backend_fini(b, registry);
        return false;
    }
    backend_reweigh(b); /* there were none before */
    return true;
}

void backend_fini(struct backend *b, struct registry *registry) {
    balancers_free(&(struct balancers){b->primary, b->secondary});
    for (uint32_t i = 0; i < b->member_count; i++) registry_release(registry, b->members[i].server);
    for (uint32_t i = 0; i < b->backup_count; i++) registry_release(registry, b->backups[i].server);
    if (b->group) registry_release_group(registry, b->group);
    telemetry_release(&registry->telemetry, b->series);
    free(b->members);
    free(b->backups);
    *b = (struct backend){0};
}

/* --- balancers -------------------------------------------------------------------------------------------------- */

/* Release, and acquire where one is picked from: it is made before it is seen. */
static struct balancer *replace(_Atomic(struct balancer *) *place, struct balancer *by) {
    return atomic_exchange_explicit(place, by, memory_order_acq_rel);
}

struct balancers backend_reweigh(struct backend *b) {
    const struct balance_settings *settings = &b->settings->balance;
    struct balancers old;
    old.primary = replace(&b->primary, b->policy->make(b->members, b->member_count, settings));
    old.secondary = replace(&b->secondary, b->policy->make(b->backups, b->backup_count, settings));
    return old;
}

void balancers_free(struct balancers *old) {
    if (old->primary) old->primary->ops->free(old->primary);
    if (old->secondary) old->secondary->ops->free(old->secondary);
    *old = (struct balancers){NULL, NULL};
}

static const struct balance_member *pick_from(_Atomic(struct balancer *) const *place, const struct pick_request *r) {
    struct balancer *balancer = atomic_load_explicit(place, memory_order_acquire);
    return balancer->ops->pick(balancer, r);
}

/* --- picking ---------------------------------------------------------------------------------------------------- */

static bool some_are_busy(const struct backend *b, const struct pick_request *r) {
    for (uint32_t i = 0; i < b->member_count; i++)
        if (member_standing(&b->members[i], r->now_us) == STANDING_FULL && !tried_has(r->tried, b->members[i].server))
            return true;
    return false;
}

/* Backups are for when the others fail, not for when they are busy: then one waits. */
const struct balance_member *backend_pick(const struct backend *b, const struct pick_request *r) {
    const struct balance_member *m = pick_from(&b->primary, r);
    if (m || some_are_busy(b, r)) return m;
    return pick_from(&b->secondary, r);
}

/* All have been tried: begin anew, but with the last one only where there is no other. */
static const struct balance_member *pick_again(const struct backend *b, const struct pick_request *r) {
    const struct balance_member *m = backend_pick(b, r);
    if (m || !r->tried || !r->tried->count) return m;
    const struct tried last = {.v = {r->tried->v[r->tried->count - 1]}, .count = 1};
    struct pick_request again = *r;
    again.tried = &last;
    m = backend_pick(b, &again);
    again.tried = NULL;
    return m ? m : backend_pick(b, &again);
}

static enum standing nearest_of(const struct balance_member *members, uint32_t count, uint64_t now_us) {
    enum standing nearest = STANDING_OUT;
    for (uint32_t i = 0; i < count; i++) {
        enum standing standing = member_standing(&members[i], now_us);
        if (standing < nearest) nearest = standing;
    }
    return nearest;
}

/* By the server that is nearest to taking an exchange. PICK_OK: one has become able to since nobody was found. */
static enum pick_result why_none(const struct backend *b, uint64_t now_us) {
    static const enum pick_result results[] = {
        [STANDING_OK] = PICK_OK, [STANDING_FULL] = PICK_FULL, [STANDING_OPEN] = PICK_OPEN, [STANDING_OUT] = PICK_NONE};
    enum standing member = nearest_of(b->members, b->member_count, now_us);
    if (member <= STANDING_FULL) return results[member]; /* as in backend_pick: no backup is looked at */
    enum standing backup = nearest_of(b->backups, b->backup_count, now_us);
    return results[member < backup ? member : backup];
}

bool backend_reacquire(const struct balance_member *m, uint64_t now_us, struct lease *lease,
                       struct breaker_change *change) {
    *lease = (struct lease){0};
    *change = (struct breaker_change){0};
    if (member_standing(m, now_us) != STANDING_OK || !server_acquire(m->server, m->settings->max_connections))
        return false;
    if (!breaker_enter(&m->server->shared.breaker, m->breaker, now_us, &lease->ticket, change)) {
        server_release(m->server);
        return false;
    }
    lease->member = m;
    return true;
}

/* The next one to be tried, or why there is none. Another round is made only when another thread has taken or given
 * back a place meanwhile: `now_us` stands still. */
static enum pick_result find(const struct backend *b, const struct pick_request *r, const struct balance_member **m) {
    enum pick_result why;
    do {
        *m = pick_again(b, r);
        why = *m ? PICK_OK : why_none(b, r->now_us);
    } while (!*m && why == PICK_OK);
    return why;
}

enum pick_result backend_acquire(const struct backend *b, const struct pick_request *r, struct lease *lease,
                                 struct breaker_change *change) {
    const struct balance_member *m;
    enum pick_result why;
    *lease = (struct lease){0};
    *change = (struct breaker_change){0};
    do why = find(b, r, &m);
    while (why == PICK_OK && !backend_reacquire(m, r->now_us, lease, change));
    return why;
}

enum pick_result backend_peek(const struct backend *b, const struct pick_request *r, const struct balance_member **m) {
    struct pick_request peek = *r;
    peek.peek = true;
    return find(b, &peek, m);
}

static void tell(struct lease *lease, enum breaker_result result, uint64_t now_us, struct breaker_change *change) {
    const struct balance_member *m = lease->member;
    struct server *s = m->server;
    *change = (struct breaker_change){0};
    if (!lease->told)
        breaker_leave(&s->shared.breaker, &s->shared.window, m->breaker, now_us, lease->ticket, result, change);
    else if (result == BREAKER_FAILED && !lease->failed)
        breaker_revoke(&s->shared.breaker, &s->shared.window, m->breaker, now_us, lease->ticket, change);
    lease->told = true;
    if (result == BREAKER_FAILED) lease->failed = true;
    if (change->happened && change->to == BREAKER_CLOSED && !m->breaker->observe)
        server_begin_ramp(s, now_us, m->breaker->ramp_us);
}

/* A probe that has shown something may have made room for those who wait. */
void backend_report(const struct backend *b, struct lease *lease, enum breaker_result result, uint64_t now_us,
                    struct breaker_change *change) {
    tell(lease, result, now_us, change);
    if (lease->ticket.is_probe) queue_pump(&b->group->queue, now_us);
}

void backend_release(const struct backend *b, struct lease *lease, enum breaker_result result, uint64_t now_us,
                     struct breaker_change *change) {
    tell(lease, result, now_us, change);
    server_release(lease->member->server);
    lease->member = NULL;
    queue_pump(&b->group->queue, now_us);
}

uint64_t backend_wait_us(const struct backend *b, uint64_t now_us) {
    uint64_t least = 0;
    for (uint32_t i = 0; i < b->member_count + b->backup_count; i++) {
        const struct balance_member *m = i < b->member_count ? &b->members[i] : &b->backups[i - b->member_count];
        if (member_standing(m, now_us) != STANDING_OPEN || breaker_is_held(&m->server->shared.breaker)) continue;
        uint64_t wait = breaker_wait_us(&m->server->shared.breaker, now_us);
        if (!wait) wait = 1; /* its probes are under way */
        if (!least || wait < least) least = wait;
    }
    return least;
}

/* --- who waits -------------------------------------------------------------------------------------------------- */

static enum pick_result pick_for_waiter(struct waiter *w, uint64_t now_us) {
    w->request.now_us = now_us;
    return backend_acquire(w->backend, &w->request, &w->lease, &w->change);
}
