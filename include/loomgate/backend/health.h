/* health.h: active checks: a small HTTP request or TCP exchange with each server, from the control thread alone.
 *
 *   (waiting for its time) --> connecting --> sending --> awaiting the answer --> passed | failed: counted, then waits
 *   UP --`fall` failed in a row--> DOWN --`rise` passed in a row--> UP       meanwhile every fast_interval */
#ifndef LOOMGATE_BACKEND_HEALTH_H
#define LOOMGATE_BACKEND_HEALTH_H

#include "loomgate/backend/server.h"
#include "loomgate/config/config.h"
#include "loomgate/stats/metrics.h"

/* All checks of the process. */
struct checks {
    struct loop *loop;
    struct metrics *metrics;
    struct list list; /* of struct check (health.c) */
    struct map by_server;
    unsigned round; /* of checks_apply, to find what is gone */
    void *owner;
    /* A server went up or down (server->shared.health says which); already logged and counted. */
    void (*on_change)(struct checks *c, struct server *server);
};

void checks_init(struct checks *c, struct loop *loop, struct metrics *metrics);
void checks_fini(struct checks *c);
/* Between begin and end each server that is to be checked is told, with the settings of the configuration in force (all
 * of which outlive the next round). A server that is new begins with `initial`; one that was known keeps its state and
 * history; one that is not told any more is no longer checked and becomes UP. */
void checks_begin(struct checks *c);
void checks_put(struct checks *c, struct server *server, const struct health_settings *settings,
                const struct server_settings *server_settings, uint64_t slow_start_us);
void checks_end(struct checks *c);

#endif
