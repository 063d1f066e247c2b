/* map.c: a hash map from a slice to a pointer: open addressing, linear probing, removal by shifting back. */
#include "loomgate/base/map.h"

#include "loomgate/base/macros.h"
#include "loomgate/base/mem.h"

#include <stdlib.h>

void map_init(struct map *m) {
    *m = (struct map){0};
}

void map_fini(struct map *m) {
    free(m->places);
    *m = (struct map){0};
}

uint32_t map_hash(struct slice key) {
    uint32_t h = 2166136261U;
    for (size_t i = 0; i < key.n; i++) h = (h ^ (unsigned char)key.p[i]) * 16777619U;
    h ^= h >> 16;
    return h * 0x85ebca6bU;
}

/* The place of the key, or the empty place where it would go. */
static struct map_entry *map_place(const struct map *m, struct slice key, uint32_t hash) {
    for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
        struct map_entry *e = &m->places[i];
        if (!e->value || (e->hash == hash && slice_eq(e->key, key))) return e;
    }
}

void *map_find(const struct map *m, struct slice key) {
    return m->count ? map_place(m, key, map_hash(key))->value : NULL;
}

static void map_grow(struct map *m) {
    struct map old = *m;
    size_t places = old.places ? (old.mask + 1) * 2 : 8;
    m->places = xcalloc(places, sizeof *m->places);
    m->mask = places - 1;
    for (size_t i = 0; old.places && i <= old.mask; i++)
        if (old.places[i].value) *map_place(m, old.places[i].key, old.places[i].hash) = old.places[i];
    free(old.places);
}

void *map_put(struct map *m, struct slice key, void *value) {
    LG_ASSERT(value != NULL);
    if (!m->places || m->count >= (m->mask + 1) / 2) map_grow(m);
    uint32_t hash = map_hash(key);
    struct map_entry *e = map_place(m, key, hash);
    if (e->value) return e->value;
    *e = (struct map_entry){key, value, hash};
    m->count++;
    return NULL;
}

void *map_remove(struct map *m, struct slice key) {
    if (!m->count) return NULL;
    struct map_entry *hole = map_place(m, key, map_hash(key));
    void *value = hole->value;
    if (!value) return NULL;
    /* Move back what probing would no longer reach across the hole. */
    size_t gap = (size_t)(hole - m->places);
    for (size_t i = (gap + 1) & m->mask; m->places[i].value; i = (i + 1) & m->mask) {
        size_t home = m->places[i].hash & m->mask;
        if (((i - home) & m->mask) < ((i - gap) & m->mask)) continue;
        m->places[gap] = m->places[i];
        gap = i;
    }
    m->places[gap].value = NULL;
    m->count--;
    return value;
}

struct map_entry *map_next(const struct map *m, size_t *at) {
    while (m->places && *at <= m->mask) {
        struct map_entry *e = &m->places[(*at)++];
        if (e->value) return e;
    }
    return NULL;
}
