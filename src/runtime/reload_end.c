/* reload_end.c: the end of a snapshot: what workers keep of servers that only it knew goes first. */
#include "loomgate/runtime/reload.h"

#include "loomgate/runtime/drain.h"

#include <stdlib.h>

#include "runtime_internal.h"

/* Its servers may be in the pools of workers: they are swept, and once the last session is out of its graveyard the
 * pools are forgotten; two rounds over all workers. Other letters about its servers were sent before, so they have been
 * read. */
struct retirement {
    struct runtime *runtime;
    struct snapshot *snapshot;
};

/* So much is done in a turn: at most about a millisecond. */
enum { PORTION = 256 };

/* The lower half of *at counts the pools that are left, the upper one says that this has begun. */
static bool sweep(struct env *env, unsigned worker, uint64_t *at, void *arg) {
    static const uint64_t begun = UINT64_C(1) << 32;
    uint32_t left = *at & begun ? (uint32_t)*at : env->pools.size, effort = PORTION;
    (void)worker, (void)arg;
    bool is_done = pools_sweep(&env->pools, &left, &effort);
    *at = begun | left;
    return is_done;
}

/* The servers are counted through, the upper half of *at is the backend, the lower one its member. */
static const struct server *next_server(const struct snapshot *s, uint64_t *at) {
    for (;;) {
        uint32_t backend = (uint32_t)(*at >> 32), member = (uint32_t)*at;
        if (backend == s->backend_count) return NULL;
        const struct backend *b = &s->backends[backend];
        if (member < b->member_count + b->backup_count) {
            ++*at;
            return member < b->member_count ? b->members[member].server : b->backups[member - b->member_count].server;
        }
        *at = (uint64_t)(backend + 1) << 32;
    }
}

static bool forget(struct env *env, unsigned worker, uint64_t *at, void *arg) {
    const struct snapshot *s = ((const struct retirement *)arg)->snapshot;
    (void)worker;
    for (uint32_t i = 0; i < PORTION; i++) {
        const struct server *server = next_server(s, at);
        if (!server) return true;
        if (!server_is_in_service(server)) pools_forget(&env->pools, server);
    }
    return false;
}

static void on_forgotten(void *arg) {
    struct retirement *t = arg;
    drains_forget(t->snapshot);
    snapshot_free(t->snapshot, &t->runtime->registry);
    free(t);
}

static void on_swept(void *arg) {
    struct retirement *t = arg;
    if (t->runtime->state == RUNTIME_STOPPED)
        on_forgotten(t); /* the workers have ended, with all of their pools */
    else
        runtime_broadcast_steps(t->runtime, forget, on_forgotten, t);
}

void reload_release(struct runtime *r, struct snapshot *s) {
    if (!snapshot_unref(s)) return;
    struct retirement *t = xcalloc(1, sizeof *t);
    *t = (struct retirement){r, s};
    if (r->state == RUNTIME_STOPPED)
        on_forgotten(t);
    else
        runtime_broadcast_steps(r, sweep, on_swept, t);
}
