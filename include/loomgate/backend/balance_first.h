/* balance_first.h: the first in the file's order that can. */
#ifndef LOOMGATE_BACKEND_BALANCE_FIRST_H
#define LOOMGATE_BACKEND_BALANCE_FIRST_H

#include "loomgate/backend/balance.h"

extern const struct balance_ops balance_first;

#endif
