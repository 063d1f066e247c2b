/* reload_end.c: the end of a snapshot: what workers keep of servers that only it knew goes first. */
#include "loomgate/runtime/reload.h"

#include "loomgate/runtime/drain.h"
#include "loomgate/runtime/reload.h"

#include <stdlib.h>

#include "runtime_internal.h"

/* Its servers may be in the pools of workers: they are swept, and once the last session is out of its graveyard the
 * pools are forgotten; two rounds over all workers. Other letters about its servers were sent before, so they have been
 * read. */
struct retirement {
    struct runtime *runtime;
    struct snapshot *snapshot;
};

static void sweep(struct env *env, unsigned worker, void *arg) {
    (void)worker, (void)arg;
    pools_sweep(&env->pools);
}

static void forget_members(struct pools *pools, const struct balance_member *v, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!server_is_in_service(v[i].server)) pools_forget(pools, v[i].server);
}

static void forget(struct env *env, unsigned worker, void *arg) {
    const struct snapshot *s = ((const struct retirement *)arg)->snapshot;
    (void)worker;
    for (uint32_t i = 0; i < s->backend_count; i++) {
        forget_members(&env->pools, s->backends[i].members, s->backends[i].member_count);
        forget_members(&env->pools, s->backends[i].backups, s->backends[i].backup_count);
    }
}

static void on_forgotten(void *arg) {
    struct retirement *t = arg;
    drains_forget(t->runtime, t->snapshot);
    snapshot_free(t->snapshot, &t->runtime->registry);
    free(t);
}

static void on_swept(void *arg) {
    struct retirement *t = arg;
    if (t->runtime->state == RUNTIME_STOPPED)
        on_forgotten(t); /* the workers have ended, with all of their pools */
    else
        runtime_broadcast(t->runtime, forget, on_forgotten, t);
}

void reload_release(struct runtime *r, struct snapshot *s) {
    if (!snapshot_unref(s)) return;
    struct retirement *t = xcalloc(1, sizeof *t);
    *t = (struct retirement){r, s};
    if (r->state == RUNTIME_STOPPED)
        on_forgotten(t);
    else
        runtime_broadcast(r, sweep, on_swept, t);
}
