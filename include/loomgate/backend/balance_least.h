/* balance_least.h: the server with the fewest running exchanges for its weight. */
#ifndef LOOMGATE_BACKEND_BALANCE_LEAST_H
#define LOOMGATE_BACKEND_BALANCE_LEAST_H

#include "loomgate/backend/balance.h"

extern const struct balance_ops balance_least_requests;

#endif
