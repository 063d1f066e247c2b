/* listen_fds.h: listening sockets that were there before the process: from the service manager (systemd's socket
 * activation) or from the binary before (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES; sd_listen_fds(3)). */
#ifndef LOOMGATE_RUNTIME_LISTEN_FDS_H
#define LOOMGATE_RUNTIME_LISTEN_FDS_H

#include "loomgate/base/error.h"
#include "loomgate/net/addr.h"

enum { LISTEN_FDS_FIRST = 3 }; /* the number of the first one */

struct listen_fd {
    int fd; /* -1: taken */
    struct addr addr;
    const char *name; /* from LISTEN_FDNAMES; "" for none */
};

struct listen_fds {
    struct listen_fd *v;
    unsigned count;
    char *names; /* that `name` points into */
};

/* Takes over what the environment tells of, if it is meant for this process, and removes the variables: they are not
 * for children. All descriptors are non-blocking and close-on-exec then. False when one is not a listening stream
 * socket, or is none at all: the process should not start then. On the main thread before there are others. */
LG_MUST_CHECK bool listen_fds_init(struct listen_fds *l, struct error *e);
/* A socket of this address that nobody has taken yet, which is the caller's then; -1: none (any more). There may be
 * several (a group with SO_REUSEPORT): each must be served, or what waits in it is lost. `any_family` is for "*", which
 * 0.0.0.0 will do for, too. */
int listen_fds_take(struct listen_fds *l, const struct addr *a, bool any_family);
/* The same for as many workers: fills `fds` with those of the address and, where they are fewer, duplicates of them.
 * *found tells whether there is any. False when one could not be duplicated; what was taken is closed then. */
LG_MUST_CHECK bool listen_fds_take_group(struct listen_fds *l, const struct addr *a, bool any_family, unsigned count,
                                         int *fds, bool *found, struct error *e);
/* Closes what nobody took, and says so on the log. */
void listen_fds_fini(struct listen_fds *l);

#endif
