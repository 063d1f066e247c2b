/* plan.c: what another configuration would change, without changing anything. */
#include "loomgate/runtime/plan.h"

#include "loomgate/proxy/exchange.h"

#include <stdlib.h>

#include "runtime_internal.h"

struct planning {
    struct plan plan;
    struct arena arena;
    struct map frontends, backends; /* names of those that are touched */
    plan_done *done;
    void *arg;
    _Atomic uint64_t exchanges;
};

/* --- what is touched -------------------------------------------------------------------------------------------- */

static void map_names(struct map *all, struct arena *a, const char *name) {
    const char *kept = arena_strndup(a, name, strlen(name));
    map_put(all, slice_of(kept), (void *)(uintptr_t)kept);
}

/* Names may have dots in them, so the longest that the path begins with is meant. */
static void touch(struct map *touched, const struct map *all, struct slice path) {
    for (size_t n = path.n; n > 0; n--) {
        if (n < path.n && path.p[n] != '.') continue;
        void *known = map_find(all, slice_from(path.p, n));
        if (!known) continue;
        map_put(touched, slice_of(known), known);
        return;
    }
}

static void find_touched(struct planning *p, const struct config *now) {
    static const char front[] = "frontends.", back[] = "backends.";
    struct map frontends, backends;
    map_init(&frontends);
    map_init(&backends);
    for (uint32_t i = 0; i < now->frontend_count; i++) map_names(&frontends, &p->arena, now->frontends[i].name);
    for (uint32_t i = 0; i < now->backend_count; i++) map_names(&backends, &p->arena, now->backends[i].name);
    for (uint32_t i = 0; i < p->plan.diff.count; i++) {
        const char *path = p->plan.diff.v[i].path;
        if (strncmp(path, front, sizeof front - 1) == 0)
            touch(&p->frontends, &frontends, slice_of(path + sizeof front - 1));
        else if (strncmp(path, back, sizeof back - 1) == 0)
            touch(&p->backends, &backends, slice_of(path + sizeof back - 1));
    }
    map_fini(&frontends);
    map_fini(&backends);
}

static bool has_name(const struct map *names, const char *name) {
    return map_find(names, slice_of(name)) != NULL;
}

/* On each worker: what is in the plan is constant by now. */
static void count_exchanges(struct env *env, unsigned worker, void *arg) {
    struct planning *p = arg;
    uint64_t count = 0;
    (void)worker;
    LIST_FOR (node, &env->live_exchanges) {
        const struct exchange *x = LIST_ENTRY(node, struct exchange, node);
        const struct backend *b = x->route ? x->route->backend : NULL;
        count += has_name(&p->frontends, x->client->frontend->settings->name) ||
                 (b && has_name(&p->backends, b->settings->name));
    }
    atomic_fetch_add(&p->exchanges, count);
}

/* --- sockets ---------------------------------------------------------------------------------------------------- */

static void note_socket(struct planning *p, struct plan_socket **list, uint32_t *count, const char *address,
                        const char *frontend) {
    *list = xrealloc(*list, (*count + 1) * sizeof **list);
    (*list)[(*count)++] = (struct plan_socket){arena_strndup(&p->arena, address, strlen(address)),
                                               arena_strndup(&p->arena, frontend, strlen(frontend))};
}

static void on_listener(void *arg, enum bind_fate fate, const char *address, const char *frontend) {
    struct planning *p = arg;
    struct plan *plan = &p->plan;
    if (fate == BIND_KEPT)
        plan->kept_count++;
    else if (fate == BIND_OPENED)
        note_socket(p, &plan->opened, &plan->opened_count, address, frontend);
    else
        note_socket(p, &plan->closed, &plan->closed_count, address, frontend);
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static void on_counted(void *arg) {
    struct planning *p = arg;
    p->plan.exchanges = atomic_load(&p->exchanges);
    p->done(p->arg, &p->plan);
    config_diff_fini(&p->plan.diff);
    map_fini(&p->frontends);
    map_fini(&p->backends);
    arena_fini(&p->arena);
    free(p->plan.opened);
    free(p->plan.closed);
    free(p);
}

void runtime_plan(struct runtime *r, const struct config *after, plan_done *done, void *arg) {
    const struct config *now = r->snapshot->config;
    struct planning *p = xcalloc(1, sizeof *p);
    p->done = done;
    p->arg = arg;
    arena_init(&p->arena, NULL, 0);
    map_init(&p->frontends);
    map_init(&p->backends);
    config_diff_init(&p->plan.diff, now, after);
    find_touched(p, now);
    binds_compare(&r->binds, after, on_listener, p);
    runtime_broadcast(r, count_exchanges, on_counted, p);
}
