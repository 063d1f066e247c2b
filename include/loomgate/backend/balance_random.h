/* balance_random.h: two drawn by weight, the less loaded one is picked. */
#ifndef LOOMGATE_BACKEND_BALANCE_RANDOM_H
#define LOOMGATE_BACKEND_BALANCE_RANDOM_H

#include "loomgate/backend/balance.h"

extern const struct balance_ops balance_random_two;

#endif
