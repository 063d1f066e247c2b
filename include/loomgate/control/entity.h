/* entity.h: what has a name and numbers: the frontends, backends and servers of the configuration in force, and what
 * each of them is doing now, for `show stats` and the streams.
 *
 *   entity_next: frontends, then each backend with its servers behind it --> entity_read --> a row, a line of JSON
 */
#ifndef LOOMGATE_CONTROL_ENTITY_H
#define LOOMGATE_CONTROL_ENTITY_H

#include "loomgate/snapshot/snapshot.h"

#include <stdio.h>

struct entity {
    enum series_kind kind; /* never a route */
    const char *owner;     /* of a server its backend; else "" */
    const char *name;
    const struct series *series;
    const struct frontend *frontend;     /* of that kind, else NULL */
    const struct backend *backend;       /* also a server's, else NULL */
    const struct balance_member *member; /* a server, else NULL */
    uint32_t next_frontend, next_backend, next_member;
};

/* Walks those of a configuration: begin with one that is all zero; false behind the last. */
bool entity_next(const struct snapshot *s, struct entity *e);
/* Whether NAME means it: a frontend's name, a backend's (also its servers), or BACKEND/SERVER. */
bool entity_is(const struct entity *e, struct slice name);

/* A server's state in a word. */
const char *member_admin_word(const struct balance_member *m);
const char *member_health_word(const struct balance_member *m);
const char *member_breaker_word(const struct balance_member *m);
/* Its weight in force. */
double member_weight(const struct balance_member *m, uint64_t now_us);

/* In numbers; NAN is what there is not. */
struct entity_stats {
    const char *kind, *owner, *name;
    double window_s;
    struct stats_view view; /* of that window; of a server: its tries. Percentiles and the error rate may be NAN */
    double rps_1s;          /* of the shortest window */
    struct stats_totals totals;
    /* A frontend's connections are its clients', its queued and idle are not known. A backend's are those of its
     * servers; who waits in its queue waits for any of them, and is told of each. */
    uint64_t active, queued, connections, idle;
    /* Of a server: */
    const char *admin, *health, *breaker;
    double weight;
};
/* As of the last tick, which is the caller's to make. The window is the one of 10 s, or the next longer one. */
void entity_read(const struct entity *e, const struct telemetry *t, uint64_t now_us, struct entity_stats *out);

/* The members of a JSON object, from `"kind":` on, without its braces. */
void entity_print_json(const struct entity *e, const struct entity_stats *stats, FILE *out);

#endif
