/* registry.h: identity to what lives on across configurations: servers (backend, name, address), what all servers of a
 * backend's name share, the gates of frontends by name; control thread only. */
#ifndef LOOMGATE_BACKEND_REGISTRY_H
#define LOOMGATE_BACKEND_REGISTRY_H

#include "loomgate/backend/queue.h"
#include "loomgate/backend/retry.h"
#include "loomgate/backend/server.h"
#include "loomgate/base/map.h"
#include "loomgate/net/gate.h"
#include "loomgate/stats/telemetry.h"

/* Of all configurations' backends of one name. */
struct group {
    struct queue queue;
    struct retry_budget budget;
    const char *name;
    unsigned refs;
};

struct registry {
    struct map servers, groups, gates;
    struct telemetry telemetry; /* the series of everything that has a name */
    unsigned id_limit;          /* ids of servers are below it */
    unsigned *free_ids;         /* of servers that are gone */
    unsigned free_count, free_room;
};

void registry_init(struct registry *r);
void registry_fini(struct registry *r); /* all servers must have been released */
/* The server of that identity, made when there is none, with a reference for the caller. Its address is resolved when
 * it is made; NULL with an error when that fails. */
struct server *registry_acquire(struct registry *r, const char *backend, const struct server_settings *settings,
                                struct error *e);
void registry_release(struct registry *r, struct server *server);
/* The group of that name, made when there is none, with a reference for the caller. */
struct group *registry_acquire_group(struct registry *r, const char *backend, const struct queue_events *events);
void registry_release_group(struct registry *r, struct group *group);
/* The gate of the frontends of that name, made open when there is none, with a reference for the caller. */
struct gate *registry_acquire_gate(struct registry *r, const char *frontend);
void registry_release_gate(struct registry *r, struct gate *gate);

#endif
