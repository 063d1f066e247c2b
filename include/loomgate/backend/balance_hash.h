/* balance_hash.h: requests with the same key go to the same server, as long as it is not overloaded. */
#ifndef LOOMGATE_BACKEND_BALANCE_HASH_H
#define LOOMGATE_BACKEND_BALANCE_HASH_H

#include "loomgate/backend/balance.h"

/* The key of a text: the same in every process. Several parts are chained: start with BALANCE_KEY. */
#define BALANCE_KEY 0xcbf29ce484222325U
uint64_t balance_key_add(uint64_t key, struct slice text);

extern const struct balance_ops balance_hash;

#endif
