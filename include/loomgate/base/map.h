/* map.h: a hash map from a slice to a pointer; keys are borrowed and must outlive the map. */
#ifndef LOOMGATE_BASE_MAP_H
#define LOOMGATE_BASE_MAP_H

#include "loomgate/base/slice.h"

#include <stdbool.h>

struct map_entry {
    struct slice key;
    void *value; /* never NULL for a used place */
    uint32_t hash;
};

struct map {
    struct map_entry *places; /* open addressing, linear probing; a power of two of them, or none */
    size_t mask;
    size_t count;
};

void map_init(struct map *m);
void map_fini(struct map *m);
/* NULL when there is none. */
void *map_find(const struct map *m, struct slice key);
/* Stores `value` (not NULL); returns what was stored under the key before, which stays when it is not NULL: the first
 * one wins and the caller sees the clash. */
void *map_put(struct map *m, struct slice key, void *value);
/* Returns what was removed, or NULL. */
void *map_remove(struct map *m, struct slice key);
/* Walks all entries in no order: start with *at = 0; NULL at the end. Do not change the map meanwhile. */
struct map_entry *map_next(const struct map *m, size_t *at);
/* FNV-1a with a final mix. Keys come from the configuration: nobody can flood a map with colliding ones. */
uint32_t map_hash(struct slice key);

#endif
