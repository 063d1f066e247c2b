/* listen_fds.h: listening sockets that were there before the process: from the service manager (systemd's socket
 * activation) or from the process before (upgrade.h): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES; sd_listen_fds(3).
 *
 * The process before names whose they are: `frontend/NAME` (a ':' in it as '%') or `control/`. With `lent-` before that
 * the service manager has made them, as any others; then the files of UNIX sockets are not ours to remove. */
#ifndef LOOMGATE_RUNTIME_LISTEN_FDS_H
#define LOOMGATE_RUNTIME_LISTEN_FDS_H

#include "loomgate/base/error.h"
#include "loomgate/net/addr.h"

enum { LISTEN_FDS_FIRST = 3, LISTEN_FDS_MAX = 65536, LISTEN_NAME_MAX = 96 };

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

/* The name of a frontend's socket, or with NULL of a control socket. */
void listen_fds_name(char out[LISTEN_NAME_MAX], const char *frontend, bool is_lent);
/* Whether the service manager has made it. */
bool listen_fds_is_lent(const struct listen_fd *l);

/* Takes over what the environment tells of, if it is meant for this process, and removes the variables: they are not
 * for children. All descriptors are non-blocking and close-on-exec then. False when one is not a listening stream
 * socket, or is none at all: the process should not start then. On the main thread before there are others. */
LG_MUST_CHECK bool listen_fds_init(struct listen_fds *l, struct error *e);
/* A socket of this address that nobody has taken yet, which is the caller's then; -1: none (any more). `any_family` is
 * for "*", which 0.0.0.0 will do for, too. *is_lent tells of listen_fds_is_lent(). */
int listen_fds_take(struct listen_fds *l, const struct addr *a, bool any_family, bool *is_lent);

/* Sockets for workers: all of one address must be served, or what waits in the others is lost. */
struct listen_group {
    int *fds;          /* on the heap */
    unsigned count;    /* at least one a worker */
    unsigned distinct; /* so many are sockets, those behind them are duplicates */
    bool is_inherited, is_lent;
};
/* All sockets of the address, which may be a group with SO_REUSEPORT, and duplicates where they are fewer than workers.
 * Port 0 is one that this frontend has had. group->count is 0 when there are none. False when one could not be
 * duplicated; what was taken is closed then. */
LG_MUST_CHECK bool listen_fds_take_group(struct listen_fds *l, const struct addr *a, bool any_family,
                                         const char *frontend, unsigned workers, struct listen_group *group,
                                         struct error *e);
/* Nothing will be taken any more: closes what is left, says so on the log, and removes files that were the process
 * before's. */
void listen_fds_end(struct listen_fds *l);
/* The same without a word, and without removing files: the process before goes on. */
void listen_fds_fini(struct listen_fds *l);

#endif
