/* roster.h: a worker's exchanges in flight: told of, and ended by hand. On the worker's thread; what was told may then
 * be read and freed by another. */
#ifndef LOOMGATE_PROXY_ROSTER_H
#define LOOMGATE_PROXY_ROSTER_H

#include "loomgate/proxy/exchange.h"

/* MAX: so many are told of, the oldest; TEXT: so much of a host or a target. */
enum { ROSTER_MAX = 1000, ROSTER_TEXT_MAX = 256 };

/* All that is given must hold. By names: the exchange may be one of an older configuration. */
struct roster_filter {
    const char *frontend;         /* NULL: any */
    const char *backend, *server; /* that it uses now, both or neither */
    uint64_t older_us;
    struct slice id; /* it begins so; empty: any */
    bool whole_id;   /* it is that */
};

struct roster_entry {
    struct slice id, frontend, method, host, target;
    struct slice backend, server; /* in use now; empty: none */
    struct addr client;
    const char *phase;
    uint64_t age_us, bytes_in, bytes_out; /* from and to the client, so far */
    unsigned tries;
};

struct roster {
    struct arena arena; /* of the texts */
    struct roster_entry *v;
    uint32_t count, room;
    uint64_t matches; /* those that were left out, too */
};

void roster_init(struct roster *r);
void roster_fini(struct roster *r);
/* Adds those that match, the oldest first. */
void roster_take(struct roster *r, struct env *env, const struct roster_filter *filter);
/* Ends those that match, with the cause `killed`: answered as long as nothing was; returns how many. */
uint32_t roster_kill(struct env *env, const struct roster_filter *filter);

/* What an exchange does, in a word: queue, connect, request (its body is sent), waiting (for an answer), response,
 * tunnel, backoff, collect (the metrics), answer (one of our own). */
const char *exchange_phase(const struct exchange *x);

#endif
