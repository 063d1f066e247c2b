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

static bool acquire_servers(struct backend *b, struct registry *registry, struct error *e) {
    for (uint32_t i = 0; i < b->settings->server_count; i++) {
        const struct server_settings *s = &b->settings->servers[i];
        struct server *server = registry_acquire(registry, b->settings->name, s, e);
        if (!server) return false;
        /* A server in maintenance has no turns, or its neighbour in the schedule would get them all. */
        struct balance_member m = {server, s, s->maint ? 0 : s->weight};
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
    b->budget = aligned_alloc(LG_CACHE_LINE, sizeof *b->budget);
    LG_ASSERT(b->budget != NULL);
    memset(b->budget, 0, sizeof *b->budget);
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
    free(b->members);
    free(b->backups);
    free(b->budget);
    *b = (struct backend){0};
}

const struct balance_member *backend_pick(const struct backend *b, const struct pick_request *r) {
    const struct balance_member *m = b->primary->ops->pick(b->primary, r);
    return m ? m : b->secondary->ops->pick(b->secondary, r);
}
