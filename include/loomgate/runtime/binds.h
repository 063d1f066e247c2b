/* binds.h: the addresses that are listened on, across configurations: identity (address) to sockets; control thread.
 *
 *   binds_plan: each listener of a snapshot -> a bind that is open already | a new one, its sockets bound
 *   binds_keep: those that are in the plan no more are forgotten, once all workers have closed them
 *   binds_undo: the new ones are closed again */
#ifndef LOOMGATE_RUNTIME_BINDS_H
#define LOOMGATE_RUNTIME_BINDS_H

#include "loomgate/runtime/listen_fds.h"
#include "loomgate/runtime/worker.h"

struct binds {
    struct list list; /* of struct bind (binds.c) */
    unsigned next_id;
    struct listen_fds *inherited; /* that are taken instead of new sockets; NULL: there are none (any more) */
};

/* What a plan opened and what it leaves out, for the log. */
struct bind_changes {
    unsigned kept, opened, closed;
};

void binds_init(struct binds *b);
/* Removes the files of UNIX sockets; the sockets are the workers'. */
void binds_fini(struct binds *b);
/* Fills in the order's listeners (on the heap: order_fini()). False with an error: nothing was opened. */
LG_MUST_CHECK bool binds_plan(struct binds *b, const struct snapshot *s, unsigned workers, struct order *o,
                              struct bind_changes *changes, struct error *e);
void binds_undo(struct binds *b, struct order *o);
/* All workers have taken up the last plan. */
void binds_keep(struct binds *b);

/* Tells all sockets of all addresses, with their names for listen_fds.h, for a process that is to serve them. No order
 * may be under way. */
typedef void bind_heir(void *arg, int fd, const char *name);
void binds_bequeath(const struct binds *b, bind_heir *each, void *arg);
/* Whether another process serves the same UNIX sockets: then their files stay when they are closed. Those that were
 * inherited begin so. */
void binds_share_files(struct binds *b, bool with_others);

enum bind_fate { BIND_KEPT, BIND_OPENED, BIND_CLOSED };
typedef void bind_each(void *arg, enum bind_fate fate, const char *address, const char *frontend);
/* Tells what a plan for this configuration would do with each address, without doing it; those that close come last. */
void binds_compare(struct binds *b, const struct config *after, bind_each *each, void *arg);
void order_fini(struct order *o);

#endif
