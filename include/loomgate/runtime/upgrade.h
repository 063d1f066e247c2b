/* upgrade.h: another process, mostly of a newer program, takes the sockets and the state over; no client notices.
 *
 *   the old one (upgrade.c)                            the new one (heir.c)
 *
 *   NONE --runtime_upgrade--> WAITS for a reload
 *          STARTS: sockets, a channel, a memory file --> exec: reads its file, builds, takes or binds sockets, opens
 * logs the state into the memory file  <--"state"--  asks
 *                                            --"state"-->  applies it, starts its workers: serves
 *          OVER: tells systemd, stops       <--"serving"-  its pid file; files of UNIX sockets are its own from here on
 *            accepting, ends with its last connection
 *
 *   STARTS --the new one says why not, or ends, or says nothing for the limit: it is ended--> ENDS --it has--> NONE,
 *     and all is as if nothing had been
 *
 * Both accept from the new one's start to the old one's end of it; nothing that waits in a queue is lost. What the old
 * one counts from the state on is not in the new one's totals; its windows and percentiles begin anew, but for the
 * histograms for Prometheus. */
#ifndef LOOMGATE_RUNTIME_UPGRADE_H
#define LOOMGATE_RUNTIME_UPGRADE_H

#include "loomgate/runtime/runtime.h"

#include <sys/types.h>

enum upgrade_outcome {
    UPGRADE_DONE,
    UPGRADE_CONFLICT, /* it does not go together with the state that things are in; nothing was begun */
    UPGRADE_DECLINED, /* the new one could not start, and `why` is its own sentence */
    UPGRADE_FAILED,   /* there was no new one, or it ended, or it hung */
};
struct upgrade_result {
    enum upgrade_outcome outcome;
    const char *why; /* a sentence; NULL when it is done */
    pid_t pid;       /* of the new one, when it is done */
};
typedef void upgrade_done(void *arg, const struct upgrade_result *result);

/* Begins, or waits for the reload that is under way; reloads wait for it. On the control thread; `done` (may be NULL)
 * may come before this returns, at the latest before runtime_run does. */
void runtime_upgrade(struct runtime *r, upgrade_done *done, void *arg);

/* How often the service has been upgraded, and who has taken over from this process; 0: nobody. */
uint64_t runtime_upgrades(const struct runtime *r);
pid_t runtime_heir(const struct runtime *r);

#endif
