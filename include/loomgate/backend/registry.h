/* registry.h: identity (backend, name, address) to living server, across configurations; control thread only. */
#ifndef LOOMGATE_BACKEND_REGISTRY_H
#define LOOMGATE_BACKEND_REGISTRY_H

#include "loomgate/backend/server.h"
#include "loomgate/base/map.h"

struct registry {
    struct map servers;
    unsigned id_limit; /* ids are below it */
};

void registry_init(struct registry *r);
void registry_fini(struct registry *r); /* all servers must have been released */
/* The server of that identity, made when there is none, with a reference for the caller. Its address is resolved when
 * it is made; NULL with an error when that fails. */
struct server *registry_acquire(struct registry *r, const char *backend, const struct server_settings *settings,
                                struct error *e);
void registry_release(struct registry *r, struct server *server);

#endif
