/* spawn.h: another program as a child, with listening sockets of this process (LISTEN_FDS, see listen_fds.h) and two
 * more descriptors, whose numbers stand in a variable: what an upgrade starts.
 *
 *   spawn_init -> spawn_add... -> spawn_run -> spawn_fini */
#ifndef LOOMGATE_RUNTIME_SPAWN_H
#define LOOMGATE_RUNTIME_SPAWN_H

#include "loomgate/base/error.h"

#include <stddef.h>
#include <sys/types.h>

/* "CHANNEL STATE": the numbers of the two. */
#define SPAWN_VARIABLE "LOOMGATE_UPGRADE"

struct spawn {
    int *fds;
    char *names; /* joined by ':' */
    size_t names_len, names_room;
    unsigned count, room;
};

void spawn_init(struct spawn *s);
void spawn_fini(struct spawn *s);
/* A listening socket, which stays the caller's. */
void spawn_add(struct spawn *s, int fd, const char *name);
/* Starts the program at `path` with default signals and none blocked, and nothing else of what is close-on-exec here.
 * Returns when it has been executed. False with an error: it could not be, and there is no child. */
LG_MUST_CHECK bool spawn_run(struct spawn *s, const char *path, char *const *argv, int channel, int state, pid_t *pid,
                             struct error *e);

#endif
