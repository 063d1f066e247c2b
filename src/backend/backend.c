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
static void take_back(struct waiter *w, uint64_t now_us);
static const struct queue_events group_events = {.pick = pick_for_waiter, .give_back = take_back};

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
    *b = (struct backend){.settings = settings};
    b->members = xcalloc(settings->server_count, sizeof *b->members);
    b->backups = xcalloc(settings->server_count, sizeof *b->backups);
    b->group = registry_acquire_group(registry, settings->name, &group_events);
    if (!acquire_servers(b, registry, e)) {
        backend_fini(b, registry);
        return false;
    }
    const struct balance_ops *policy = policies[settings->balance.kind];
    b->primary = policy->make(b->members, b->member_count, &settings->balance);
    b->secondary = policy->make(b->backups, b->backup_count, &settings->balance);
    return true;
}

void backend_fini(struct backend *b, struct registry *registry) {
    if (b->primary) b->primary->ops->free(b->primary);
    if (b->secondary) b->secondary->ops->free(b->secondary);
    for (uint32_t i = 0; i < b->member_count; i++) registry_release(registry, b->members[i].server);
    for (uint32_t i = 0; i < b->backup_count; i++) registry_release(registry, b->backups[i].server);
    if (b->group) registry_release_group(registry, b->group);
    free(b->members);
    free(b->backups);
    *b = (struct backend){0};
}

/* --- picking ---------------------------------------------------------------------------------------------------- */

/* Of the members with this standing there is one. */
static bool some_stand(const struct balance_member *members, uint32_t count, enum standing standing, uint64_t now_us) {
    for (uint32_t i = 0; i < count; i++)
        if (member_standing(&members[i], now_us) == standing) return true;
    return false;
}

/* Backups are for when the others fail, not for when they are busy: then one waits. */
const struct balance_member *backend_pick(const struct backend *b, const struct pick_request *r) {
    const struct balance_member *m = b->primary->ops->pick(b->primary, r);
    if (m || some_stand(b->members, b->member_count, STANDING_FULL, r->now_us)) return m;
    return b->secondary->ops->pick(b->secondary, r);
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

static enum pick_result why_none(const struct backend *b, uint64_t now_us) {
    if (some_stand(b->members, b->member_count, STANDING_FULL, now_us)) return PICK_FULL;
    if (some_stand(b->backups, b->backup_count, STANDING_FULL, now_us)) return PICK_FULL;
    if (some_stand(b->members, b->member_count, STANDING_OPEN, now_us)) return PICK_OPEN;
    if (some_stand(b->backups, b->backup_count, STANDING_OPEN, now_us)) return PICK_OPEN;
    return PICK_NONE;
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

/* A place that another thread takes in between is one that stands no longer: the next pick sees it. */
enum pick_result backend_acquire(const struct backend *b, const struct pick_request *r, struct lease *lease,
                                 struct breaker_change *change) {
    const struct balance_member *m;
    *lease = (struct lease){0};
    *change = (struct breaker_change){0};
    while ((m = pick_again(b, r)))
        if (backend_reacquire(m, r->now_us, lease, change)) return PICK_OK;
    return why_none(b, r->now_us);
}

void backend_report(struct lease *lease, enum breaker_result result, uint64_t now_us, struct breaker_change *change) {
    const struct balance_member *m = lease->member;
    struct server *s = m->server;
    *change = (struct breaker_change){0};
    if (!lease->told)
        breaker_leave(&s->shared.breaker, &s->shared.window, m->breaker, now_us, lease->ticket, result, change);
    else if (result == BREAKER_FAILED)
        breaker_revoke(&s->shared.breaker, &s->shared.window, m->breaker, now_us, lease->ticket, change);
    lease->told = true;
    if (change->happened && change->to == BREAKER_CLOSED && !m->breaker->observe)
        server_begin_ramp(s, now_us, m->breaker->ramp_us);
}

void backend_release(const struct backend *b, struct lease *lease, enum breaker_result result, uint64_t now_us,
                     struct breaker_change *change) {
    backend_report(lease, result, now_us, change);
    server_release(lease->member->server);
    lease->member = NULL;
    queue_pump(&b->group->queue, now_us);
}

uint64_t backend_wait_us(const struct backend *b, uint64_t now_us) {
    uint64_t least = 0;
    for (uint32_t i = 0; i < b->member_count + b->backup_count; i++) {
        const struct balance_member *m = i < b->member_count ? &b->members[i] : &b->backups[i - b->member_count];
        uint64_t wait = breaker_wait_us(&m->server->shared.breaker, now_us);
        if (wait && (!least || wait < least)) least = wait;
    }
    return least;
}

/* --- who waits -------------------------------------------------------------------------------------------------- */

static enum pick_result pick_for_waiter(struct waiter *w, uint64_t now_us) {
    w->request.now_us = now_us;
    return backend_acquire(w->backend, &w->request, &w->lease, &w->change);
}

static void take_back(struct waiter *w, uint64_t now_us) {
    struct breaker_change change;
    backend_release(w->backend, &w->lease, BREAKER_UNKNOWN, now_us, &change);
}
