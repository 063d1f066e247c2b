/* config_diff_internal.h: which items of two lists are the same thing, and which of those have moved. */
#ifndef LOOMGATE_CONFIG_CONFIG_DIFF_INTERNAL_H
#define LOOMGATE_CONFIG_CONFIG_DIFF_INTERNAL_H

#include "loomgate/config/config_diff.h"

enum { NOBODY = UINT32_MAX };

struct keys {
    const struct slice *v;
    uint32_t count;
};

/* The place of each item's other half in the other list, or NOBODY. The first with a key goes with the first. */
struct pairing {
    uint32_t *old_of; /* of each new item */
    uint32_t *new_of; /* of each old item */
};

void pairing_init(struct pairing *p, const struct keys *before, const struct keys *after);
void pairing_fini(struct pairing *p);
/* For each new item whether it is a pair's that keeps its place among the pairs; as few as can be do not. From malloc.
 */
bool *pairing_find_staying(const struct pairing *p, uint32_t new_count);

#endif
