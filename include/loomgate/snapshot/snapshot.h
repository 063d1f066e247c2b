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

/* Client connections of a frontend, or of all; written by all workers, once a connection. */
struct gate {
    _Atomic uint32_t open;
    uint32_t limit; /* 0: none */
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
    struct gate gate;
    struct series *series;
};

struct snapshot {
    struct config *config; /* owned */
    struct frontend *frontends;
    struct backend *backends;
    uint32_t frontend_count, backend_count;
    unsigned refs; /* the control thread counts */
};

/* Takes the configuration over, also when it fails (NULL with an error). The caller holds the first reference. */
struct snapshot *snapshot_build(struct config *config, struct registry *registry, struct error *e);
void snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s, struct registry *registry);

/* Enters; false when the limit is reached. */
bool gate_enter(struct gate *g);
/* Leaves; true when it had been full, so that somebody may wait. */
bool gate_leave(struct gate *g);

#endif
