/* balance_ewma.h: two drawn by weight, the one that promises the shorter wait is picked. */
#ifndef LOOMGATE_BACKEND_BALANCE_EWMA_H
#define LOOMGATE_BACKEND_BALANCE_EWMA_H

#include "loomgate/backend/balance.h"

/* Reads server.shared.latency, which whoever runs the exchanges feeds. */
extern const struct balance_ops balance_peak_ewma;

#endif
