/* snapshot.h: one configuration made ready to serve: immutable once published, counted, freed by the control thread.
 *
 *   snapshot_build: BUILDING --published--> CURRENT --replaced--> DRAINING --last reference--> FREED */
#ifndef LOOMGATE_SNAPSHOT_SNAPSHOT_H
#define LOOMGATE_SNAPSHOT_SNAPSHOT_H

#include "loomgate/backend/backend.h"
#include "loomgate/http/h1_codec.h"
#include "loomgate/http/session.h"
#include "loomgate/snapshot/router.h"

/* Where a request goes and under which limits of time: a route of the file, or a frontend's default_backend. */
struct route {
    const char *name;                      /* NULL: the default */
    const struct route_settings *settings; /* NULL: the default */
    const struct backend *backend;         /* NULL: an answer of our own */
    const struct retry_settings *retry;    /* with a backend */
    struct series *series;                 /* NULL: the default */
    struct session_timeouts client_timeouts, server_timeouts;
    uint64_t connect_us, request_us, tunnel_us, queue_us;
};

struct frontend {
    const struct frontend_settings *settings;
    struct router *router;
    struct route *routes;  /* in the order of the file */
    struct route fallback; /* the default_backend's */
    bool has_fallback;
    struct session_timeouts client_timeouts;
    struct h1_limits limits;
    struct slice id_name;        /* of the field that carries an exchange's id */
    struct log_sink *access_log; /* NULL: off */
    struct gate *gate;           /* of this name, in all configurations */
    struct series *series;
    uint16_t *ports; /* of its listeners, as they were bound; the control thread's */
};

/* The first of its routes that matches, else its default; NULL: there is none. */
const struct route *frontend_find_route(const struct frontend *f, const struct message *request,
                                        const struct addr *client);

struct snapshot {
    struct config *config; /* owned */
    struct frontend *frontends;
    struct backend *backends;
    uint32_t frontend_count, backend_count;
    struct map names; /* of frontends */
    struct list node; /* among the snapshots that are alive; the owner's */
    uint64_t number;  /* how many were published before it; the owner's */
    unsigned refs;    /* the control thread counts */
};

/* Takes over a reference to the configuration, also when it fails (NULL with an error). The caller holds the first
 * reference to what is made. */
struct snapshot *snapshot_build(struct config *config, struct registry *registry, struct error *e);
void snapshot_ref(struct snapshot *s);
/* True: it was the last one. The snapshot is to be freed, once nobody can know it any more. */
LG_MUST_CHECK bool snapshot_unref(struct snapshot *s);
void snapshot_free(struct snapshot *s, struct registry *registry);
/* The limits of connections and whether its servers are in use are facts of the living, told when it is published. */
void snapshot_set_limits(const struct snapshot *s);
/* NULL when there is none. */
struct frontend *snapshot_find_frontend(const struct snapshot *s, const char *name);

#endif
