/* mem.c: memory that never runs out quietly: checked allocation, arenas, slabs. */
#include "loomgate/base/mem.h"

#include "loomgate/base/macros.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLAB_IS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SLAB_IS_MALLOC 1
#endif
#endif
#ifndef SLAB_IS_MALLOC
#define SLAB_IS_MALLOC 0
#endif

enum { ARENA_BLOCK = 4096 };

struct arena_block {
    struct arena_block *next;
    size_t size;
};

static void *checked(void *p, size_t size) {
    if (LG_LIKELY(p != NULL)) return p;
    fprintf(stderr, "loomgate: out of memory (%zu bytes asked for)\n", size);
    abort();
}

void *xmalloc(size_t size) {
    return checked(malloc(size ? size : 1), size);
}

void *xcalloc(size_t count, size_t size) {
    return checked(calloc(count ? count : 1, size ? size : 1), count * size);
}

void *xrealloc(void *old, size_t size) {
    return checked(realloc(old, size ? size : 1), size);
}

char *xstrdup(const char *text) {
    size_t len = strlen(text) + 1;
    return memcpy(xmalloc(len), text, len);
}

void arena_init(struct arena *a, void *first, size_t first_size) {
    size_t unaligned = (16U - ((uintptr_t)first & 15U)) & 15U;
    *a = (struct arena){0};
    if (!first || first_size < unaligned) return;
    a->at = (char *)first + unaligned;
    a->end = (char *)first + first_size;
}

void arena_fini(struct arena *a) {
    struct arena_block *next;
    for (struct arena_block *b = a->blocks; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){0};
}

void *arena_alloc_slow(struct arena *a, size_t size) {
    const size_t head = (sizeof(struct arena_block) + 15U) & ~(size_t)15U;
    /* Blocks grow with the arena, so that a large configuration does not take thousands of them. */
    size_t room = a->total > ARENA_BLOCK ? a->total : ARENA_BLOCK;
    if (room > ((size_t)1 << 20)) room = (size_t)1 << 20;
    if (room < size) room = size;
    struct arena_block *b = xmalloc(head + room);
    b->next = a->blocks;
    b->size = room;
    a->blocks = b;
    a->total += room;
    char *p = (char *)b + head;
    /* The emptier of the two blocks goes on serving. */
    if (room - size >= (size_t)(a->end - a->at)) {
        a->at = p + size;
        a->end = p + room;
    }
    return p;
}

void *arena_calloc(struct arena *a, size_t size) {
    return memset(arena_alloc(a, size ? size : 1), 0, size);
}

char *arena_strndup(struct arena *a, const char *text, size_t len) {
    char *p = arena_alloc(a, len + 1);
    if (len) memcpy(p, text, len);
    p[len] = '\0';
    return p;
}

void slab_init(struct slab *s, size_t size, unsigned per_block) {
    size = (size + 15U) & ~(size_t)15U;
    *s = (struct slab){.size = size, .per_block = per_block ? per_block : 1};
}

void slab_fini(struct slab *s) {
    void *next;
    for (void *b = s->blocks; b; b = next) {
        next = *(void **)b;
        free(b);
    }
    *s = (struct slab){0};
}

/* A block is a link to the next one (padded to the objects' alignment), then the objects. */
static void slab_grow(struct slab *s) {
    char *block = xmalloc(16 + s->size * s->per_block);
    *(void **)(void *)block = s->blocks;
    s->blocks = block;
    s->unused = block + 16;
    s->unused_count = s->per_block;
    s->reserved += s->per_block;
}

static void *slab_get_unused(struct slab *s) {
    if (!s->unused_count) slab_grow(s);
    void *object = s->unused;
    s->unused += s->size;
    s->unused_count--;
    return object;
}

void *slab_get(struct slab *s) {
    s->in_use++;
    if (SLAB_IS_MALLOC) {
        s->reserved++;
        return xmalloc(s->size);
    }
    if (!s->free) return slab_get_unused(s);
    void *object = s->free;
    s->free = *(void **)object;
    return object;
}

void slab_put(struct slab *s, void *object) {
    LG_ASSERT(s->in_use > 0);
    s->in_use--;
    if (SLAB_IS_MALLOC) {
        s->reserved--;
        free(object);
        return;
    }
    *(void **)object = s->free;
    s->free = object;
}
