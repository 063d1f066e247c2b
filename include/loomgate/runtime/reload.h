/* reload.h: another configuration for the running process: as one step, or not at all.
 *
 *   parse, check -> build a snapshot -> bind what is new -> PUBLISH -> each worker takes it up -> done
 *   |                                 \ an error up to here changes nothing              \ old snapshots end with
 *   \ the next reload waits until this one is done                                         their last exchange
 *
 *   published to be confirmed: --runtime_confirm, or a reload that need not be--> stays
 *                              --time over, or runtime_rollback--> back to the last one that was to stay
 *                              --another that is to be confirmed--> waits anew, for the way back to the same one
 *
 * What lives on is found again by its name: sockets by address; servers with their health, breakers, pools and admin
 * state by backend, name and address; queues and counters by name; client connections by their frontend's name.
 * Settings that only a restart changes stay as they are, and count as such in the configuration that is in force. */
#ifndef LOOMGATE_RUNTIME_RELOAD_H
#define LOOMGATE_RUNTIME_RELOAD_H

#include "loomgate/config/config_diff.h"
#include "loomgate/config/diagnose.h"
#include "loomgate/runtime/binds.h"
#include "loomgate/runtime/runtime.h"

struct reload_request {
    const char *path;    /* NULL: the file that the process was started with */
    uint64_t confirm_us; /* it goes back by itself unless confirmed in this time; 0: it stays */
};

enum reload_outcome {
    RELOAD_DONE,
    RELOAD_REFUSED, /* nothing has changed */
    RELOAD_LATE,    /* the same: the process is stopping, or there is nothing to go back to */
};
struct reload_result {
    enum reload_outcome outcome;
    const char *why;                 /* a sentence; NULL when it is done */
    struct diagnostics *diagnostics; /* of the file; NULL: none was read */
    const struct config_diff *diff;  /* to what was in force before; NULL unless it is done */
    uint64_t number;                 /* of the configuration that is in force now, from 0 */
    struct bind_changes sockets;
    bool replaced; /* one that waited to be confirmed */
};
/* What is in the result lives until it returns. */
typedef void reload_done(void *arg, const struct reload_result *result);

/* Reads the file and puts it in force. On the control thread; `done` (may be NULL) is told when all workers have taken
 * it up, or nothing has changed; it may come before this returns, at the latest before runtime_run does. */
void runtime_reload(struct runtime *r, const struct reload_request *request, reload_done *done, void *arg);
/* Back to the configuration before the last reload, or when that was not confirmed yet, to the last one that was to
 * stay; this goes once. */
void runtime_rollback(struct runtime *r, reload_done *done, void *arg);
/* The configuration in force stays; false: it does already. */
bool runtime_confirm(struct runtime *r);

struct reload_state {
    uint64_t total, failed; /* configurations put in force since the start; that could not be */
    uint64_t last_us;       /* when the last one was, by the loop's clock; 0: never */
    unsigned alive;         /* the current one, and those with exchanges that began under them */
    uint64_t confirm_us;    /* left to confirm it; 0: it stays */
    bool can_roll_back;
};
void runtime_reload_state(const struct runtime *r, struct reload_state *out);

#endif
