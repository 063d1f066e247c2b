/* mem.h: memory that never runs out quietly: checked allocation, arenas, slabs. */
#ifndef LOOMGATE_BASE_MEM_H
#define LOOMGATE_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* All of these abort with a message when the system has no memory left: limits are on counts, so that running out is
 * a wrong set-up and not a state to handle in a hundred places. Freed with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);

/* An arena gives memory that is freed all at once. Aligned for any type. */
struct arena_block;
struct arena {
    char *at, *end;             /* what is left of the current block */
    struct arena_block *blocks; /* what was taken from the heap, newest first */
    size_t total;               /* bytes taken from the heap */
};

/* `first` (may be NULL) is memory of the caller's that serves first and that the arena never frees. */
void arena_init(struct arena *a, void *first, size_t first_size);
void arena_fini(struct arena *a);
void *arena_alloc_slow(struct arena *a, size_t size);
char *arena_strndup(struct arena *a, const char *text, size_t len); /* ends in NUL */

static inline void *arena_alloc(struct arena *a, size_t size) {
    size = (size + 15U) & ~(size_t)15U;
    if ((size_t)(a->end - a->at) < size) return arena_alloc_slow(a, size);
    void *p = a->at;
    a->at += size;
    return p;
}
void *arena_calloc(struct arena *a, size_t size);

/* A slab keeps freed objects of one size for reuse; one thread only. In sanitizer builds it is plain malloc, so that
 * a use after free is seen. */
struct slab {
    size_t size;
    size_t in_use;   /* objects handed out now */
    size_t reserved; /* objects that exist, handed out or kept */
    void *free;
    char *unused; /* objects of the newest block that were never handed out, so their pages cost nothing yet */
    unsigned unused_count;
    unsigned per_block;
    void *blocks;
};

void slab_init(struct slab *s, size_t size, unsigned per_block);
void slab_fini(struct slab *s); /* every object must have been put back, or be forgotten */
void *slab_get(struct slab *s); /* contents are undefined */
void slab_put(struct slab *s, void *object);

#endif
