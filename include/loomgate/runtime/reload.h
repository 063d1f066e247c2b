/* reload.h: another configuration for the running process: as one step, or not at all.
 *
 *   parse, check -> build a snapshot -> bind what is new -> PUBLISH -> each worker takes it up -> done
 *   |                                 \ an error up to here changes nothing              \ old snapshots end with
 *   \ the next reload waits until this one is done                                         their last exchange
 *
 * What lives on is found again by its name: sockets by address; servers with their health, breakers, pools and admin
 * state by backend, name and address; queues and counters by name; client connections by their frontend's name. */
#ifndef LOOMGATE_RUNTIME_RELOAD_H
#define LOOMGATE_RUNTIME_RELOAD_H

#include "loomgate/runtime/runtime.h"

struct reload_result {
    bool ok;
    const char *text; /* every error and warning of the file, or why it could not be applied; "" when all is well */
    uint64_t number;  /* of the configuration that is in force now, from 0 */
    unsigned sockets_kept, sockets_opened, sockets_closed;
};
typedef void reload_done(void *arg, const struct reload_result *result);

/* Reads `path` (NULL: the file that the process was started with) and puts it in force. On the control thread; `done`
 * (may be NULL) is told when all workers have taken it up, or nothing has changed; it may come before this returns. */
void runtime_reload(struct runtime *r, const char *path, reload_done *done, void *arg);
/* Back to the configuration before the last reload; false: there is none (it goes back once). */
bool runtime_rollback(struct runtime *r, reload_done *done, void *arg);

#endif
