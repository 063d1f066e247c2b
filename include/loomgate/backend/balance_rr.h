/* balance_rr.h: round robin: smooth, weighted, exact over all workers. */
#ifndef LOOMGATE_BACKEND_BALANCE_RR_H
#define LOOMGATE_BACKEND_BALANCE_RR_H

#include "loomgate/backend/balance.h"

extern const struct balance_ops balance_round_robin;

#endif
