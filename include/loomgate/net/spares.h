/* spares.h: sockets that have been used and reset, kept to connect anew: for who connects a thousand times a second. Of
 * a short connection, making, registering and closing its socket is a fifth of the cost. */
#ifndef LOOMGATE_NET_SPARES_H
#define LOOMGATE_NET_SPARES_H

#include "loomgate/net/addr.h"

enum { SPARES_MAX = 128 };

/* Zero is a valid, empty set. */
struct spares {
    int fds[SPARES_MAX];
    unsigned count;
    sa_family_t family; /* of all of them */
};

/* socket_connect(), with a kept socket where there is one that fits. For who sends something at once. */
int spares_connect(struct spares *s, const struct addr *to, bool *done);
/* Takes a socket over that has no watcher any more and ends its connection by RST; keeps it when there is room. `to` is
 * where it was connected. */
void spares_put(struct spares *s, int fd, const struct addr *to);
void spares_fini(struct spares *s);

#endif
