/* plan.h: what another configuration would change, without changing anything. */
#ifndef LOOMGATE_RUNTIME_PLAN_H
#define LOOMGATE_RUNTIME_PLAN_H

#include "loomgate/config/config_diff.h"
#include "loomgate/runtime/runtime.h"

struct plan_socket {
    const char *address, *frontend; /* of the configuration that has it */
};
struct plan {
    struct config_diff diff; /* from what is in force */
    struct plan_socket *opened, *closed;
    uint32_t opened_count, closed_count, kept_count;
    uint64_t exchanges; /* in flight that what is changed or removed of frontends and backends has to do with */
};
typedef void plan_done(void *arg, const struct plan *plan);

/* Compares with `after`, which it does not need any more when it returns. On the control thread; `done` is told when
 * all workers have counted, at the latest before runtime_run returns; the plan lives until it returns. */
void runtime_plan(struct runtime *r, const struct config *after, plan_done *done, void *arg);

#endif
