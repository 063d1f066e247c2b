/* health.h: active checks: a small HTTP request or TCP exchange with each server, from the control thread alone.
 *
 *   (waiting for its time) --> connecting --> asking --> awaiting the answer --> passed | failed: counted, then waits
 *   UP --`fall` failed in a row--> DOWN --`rise` passed in a row--> UP       meanwhile every fast_interval */
#ifndef LOOMGATE_BACKEND_HEALTH_H
#define LOOMGATE_BACKEND_HEALTH_H

#include "loomgate/backend/server.h"
#include "loomgate/base/map.h"
#include "loomgate/config/config.h"
#include "loomgate/net/loop.h"
#include "loomgate/net/spares.h"
#include "loomgate/stats/metrics.h"

/* All checks of the process. */
struct checks {
    struct loop *loop;
    struct metrics *metrics;
    struct list list;     /* of struct check (health_internal.h) */
    struct map by_server; /* the same, by the server's address in memory */
    unsigned round;       /* of checks_begin, to find what is gone */
    uint64_t random;
    uint64_t shortage_us;       /* when descriptors or memory lacked last; 0: never */
    struct h1_scratch *scratch; /* for the answer that is read now */
    struct spares spares;
    void *owner;
    /* A server went up or down (server->shared.health says which); already logged and counted. May be NULL. */
    void (*on_change)(struct checks *c, struct server *server);
};

/* The metrics are the control thread's own. */
void checks_init(struct checks *c, struct loop *loop, struct metrics *metrics);
/* Ends all checks; the servers keep what is known of them. Before loop_fini(). */
void checks_fini(struct checks *c);
/* Between begin and end each server that is to be checked is told, with the settings of the configuration in force,
 * which stay until the end of the next round. A server that is new begins with `initial`, and its first check comes at
 * any moment of one fast_interval; one that was known keeps its state and history; one that is not told any more is no
 * longer checked and becomes UP. A server that is told stays in memory until the end of a round without it. */
void checks_begin(struct checks *c);
void checks_put(struct checks *c, struct server *server, const struct health_settings *settings,
                const struct server_settings *server_settings, uint64_t slow_start_us);
void checks_end(struct checks *c);

/* By an operator: the server is taken for that, whatever its checks say (they go on), until it is unpinned. Then it is
 * what they say, or UP where there are none. on_change is not called. Control thread. */
void health_pin(struct server *s, enum server_health health);
void health_unpin(struct server *s);

/* --- the rules, pure -------------------------------------------------------------------------------------------- */

/* Counts a check of a server in that state: true when it goes over to the other one. */
bool health_count(struct health_state *h, enum server_health state, const struct health_settings *settings,
                  bool passed);
/* From one check to the next: the interval, or the faster one while checks speak against the state, give or take the
 * jitter; evenly spread for even random bits. */
uint64_t health_delay_us(const struct health_state *h, const struct health_settings *settings, uint64_t random);

#endif
