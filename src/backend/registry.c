/* registry.c: identity to what lives on across configurations: servers, groups of them, gates. */
#include "loomgate/backend/registry.h"

#include "loomgate/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A server with its identity as the map's key; names hold no '/'. */
struct registered {
    struct server server;
    struct slice key;
    char text[];
};

void registry_init(struct registry *r) {
    *r = (struct registry){0};
    map_init(&r->servers);
    map_init(&r->groups);
    map_init(&r->gates);
    telemetry_init(&r->telemetry);
}

void registry_fini(struct registry *r) {
    LG_ASSERT(r->servers.count == 0 && r->groups.count == 0 && r->gates.count == 0);
    free(r->free_ids);
    map_fini(&r->gates);
    map_fini(&r->servers);
    map_fini(&r->groups);
    telemetry_fini(&r->telemetry);
}

/* Zeroed, on cache lines of its own. */
static void *alloc_lines(size_t size) {
    size = (size + LG_CACHE_LINE - 1) & ~(size_t)(LG_CACHE_LINE - 1);
    void *p = aligned_alloc(LG_CACHE_LINE, size);
    LG_ASSERT(p != NULL);
    return memset(p, 0, size);
}

/* "backend/name/address", with the two names as strings of their own behind it. */
static struct registered *registered_new(const char *backend, const struct server_settings *s) {
    size_t backend_len = strlen(backend), name_len = strlen(s->name), address_len = strlen(s->address.text);
    size_t key_len = backend_len + name_len + address_len + 2;
    size_t size = sizeof(struct registered) + key_len + 1 + backend_len + 1 + name_len + 1;
    struct registered *made = alloc_lines(size);
    snprintf(made->text, key_len + 1, "%s/%s/%s", backend, s->name, s->address.text);
    made->key = slice_from(made->text, key_len);
    char *names = made->text + key_len + 1;
    made->server.backend = memcpy(names, backend, backend_len + 1);
    made->server.name = memcpy(names + backend_len + 1, s->name, name_len + 1);
    return made;
}

/* Ids are places in arrays of each worker, so those of servers that are gone are given out again. */
static unsigned take_id(struct registry *r) {
    return r->free_count ? r->free_ids[--r->free_count] : r->id_limit++;
}

static void give_id_back(struct registry *r, unsigned id) {
    if (r->free_count == r->free_room) {
        r->free_room += 16;
        r->free_ids = xrealloc(r->free_ids, r->free_room * sizeof *r->free_ids);
    }
    r->free_ids[r->free_count++] = id;
}

struct server *registry_acquire(struct registry *r, const char *backend, const struct server_settings *settings,
                                struct error *e) {
    struct registered *made = registered_new(backend, settings);
    struct registered *known = map_find(&r->servers, made->key);
    if (known) {
        free(made);
        known->server.refs++;
        return &known->server;
    }
    if (!addr_resolve(&made->server.addr, &settings->address, e)) {
        free(made);
        return NULL;
    }
    made->server.refs = 1;
    made->server.id = take_id(r);
    atomic_init(&made->server.shared.admin, settings->maint ? SERVER_MAINT : SERVER_READY);
    made->server.series = telemetry_acquire(&r->telemetry, SERIES_SERVER, backend, settings->name);
    map_put(&r->servers, made->key, made);
    return &made->server;
}

void registry_release(struct registry *r, struct server *server) {
    LG_ASSERT(server->refs > 0);
    if (--server->refs) return;
    struct registered *gone = LG_CONTAINER_OF(server, struct registered, server);
    map_remove(&r->servers, gone->key);
    give_id_back(r, server->id);
    telemetry_release(&r->telemetry, server->series);
    free(gone);
}

struct group *registry_acquire_group(struct registry *r, const char *backend, const struct queue_events *events) {
    struct group *g = map_find(&r->groups, slice_of(backend));
    if (!g) {
        size_t size = strlen(backend) + 1;
        g = alloc_lines(sizeof *g + size);
        g->name = memcpy(g + 1, backend, size);
        queue_init(&g->queue, events);
        map_put(&r->groups, slice_of(g->name), g);
    }
    g->refs++;
    return g;
}

void registry_release_group(struct registry *r, struct group *group) {
    LG_ASSERT(group->refs > 0);
    if (--group->refs) return;
    map_remove(&r->groups, slice_of(group->name));
    queue_fini(&group->queue);
    free(group);
}

struct registered_gate {
    struct gate gate;
    unsigned refs;
    char name[];
};

struct gate *registry_acquire_gate(struct registry *r, const char *frontend) {
    struct registered_gate *g = map_find(&r->gates, slice_of(frontend));
    if (!g) {
        size_t size = strlen(frontend) + 1;
        g = alloc_lines(sizeof *g + size);
        memcpy(g->name, frontend, size);
        map_put(&r->gates, slice_of(g->name), g);
    }
    g->refs++;
    return &g->gate;
}

void registry_release_gate(struct registry *r, struct gate *gate) {
    struct registered_gate *g = LG_CONTAINER_OF(gate, struct registered_gate, gate);
    LG_ASSERT(g->refs > 0);
    if (--g->refs) return;
    map_remove(&r->gates, slice_of(g->name));
    free(g);
}
