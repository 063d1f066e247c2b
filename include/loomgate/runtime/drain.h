/* drain.h: what the operator wants of a server, carried out on all workers.
 *
 *   READY --drain--> DRAIN: no new exchange; idle connections are closed, running exchanges finish, or are cut when
 *                           drain.timeout has passed (cause `drained`)
 *         --maint--> MAINT: the same without that limit, and it is not checked
 *   DRAIN | MAINT --ready--> READY: with slow start */
#ifndef LOOMGATE_RUNTIME_DRAIN_H
#define LOOMGATE_RUNTIME_DRAIN_H

#include "loomgate/runtime/runtime.h"

/* On the control thread. New exchanges heed it when this returns; `done` (may be NULL) comes when each worker has
 * closed its idle connections to the server. Never before this returns. */
void runtime_set_admin(struct runtime *r, struct server *server, enum server_admin admin, void (*done)(void *arg),
                       void *arg);

#endif
