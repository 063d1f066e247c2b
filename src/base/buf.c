/* buf.c: owned bytes in counted chunks. */
#include "loomgate/base/buf.h"

#include "loomgate/base/macros.h"

#include <stdlib.h>

enum { CLASS_SMALL, CLASS_LARGE, CLASS_HEAP };

void chunk_pool_init(struct chunk_pool *pool) {
    *pool = (struct chunk_pool){0};
    slab_init(&pool->small, CHUNK_SMALL, 32);
    slab_init(&pool->large, CHUNK_LARGE, 8);
}

void chunk_pool_fini(struct chunk_pool *pool) {
    slab_fini(&pool->small);
    slab_fini(&pool->large);
}

static struct chunk *chunk_new(struct chunk_pool *pool, size_t want) {
    const size_t head = sizeof(struct chunk);
    uint32_t size_class = want <= CHUNK_SMALL - head   ? CLASS_SMALL
                          : want <= CHUNK_LARGE - head ? CLASS_LARGE
                                                       : CLASS_HEAP;
    struct chunk *c;
    size_t room;
    if (size_class == CLASS_SMALL) {
        c = slab_get(&pool->small);
        room = CHUNK_SMALL - head;
    } else if (size_class == CLASS_LARGE) {
        c = slab_get(&pool->large);
        room = CHUNK_LARGE - head;
    } else {
        LG_ASSERT(want < UINT32_MAX);
        c = xmalloc(head + want);
        room = want;
    }
    c->next = NULL;
    c->start = c->end = 0;
    c->room = (uint32_t)room;
    c->size_class = size_class;
    pool->bytes += room;
    return c;
}

static void chunk_free(struct chunk *c, struct chunk_pool *pool) {
    pool->bytes -= c->room;
    if (c->size_class == CLASS_SMALL)
        slab_put(&pool->small, c);
    else if (c->size_class == CLASS_LARGE)
        slab_put(&pool->large, c);
    else
        free(c);
}

void buf_init(struct buf *b) {
    *b = (struct buf){0};
}

void buf_clear(struct buf *b, struct chunk_pool *pool) {
    struct chunk *c = buf_first(b);
    if (c) b->last->next = NULL; /* the ring is opened */
    *b = (struct buf){0};
    while (c) {
        struct chunk *next = c->next;
        chunk_free(c, pool);
        c = next;
    }
}

char *buf_reserve(struct buf *b, struct chunk_pool *pool, size_t n) {
    struct chunk *c = b->last;
    if (!c || c->room - c->end < n) {
        c = chunk_new(pool, n);
        c->next = c;
        if (b->last) {
            c->next = b->last->next;
            b->last->next = c;
        }
        b->last = c;
    }
    return c->data + c->end;
}

void buf_commit(struct buf *b, size_t n) {
    LG_ASSERT(b->last && n <= b->last->room - b->last->end);
    b->last->end += (uint32_t)n;
    b->bytes += n;
}

void buf_append(struct buf *b, struct chunk_pool *pool, struct slice bytes) {
    while (bytes.n) {
        struct chunk *c = b->last;
        size_t left = c ? c->room - c->end : 0;
        if (!left) {
            size_t want = bytes.n < CHUNK_LARGE - sizeof *c ? bytes.n : CHUNK_LARGE - sizeof *c;
            buf_reserve(b, pool, want);
            left = b->last->room - b->last->end;
        }
        size_t n = bytes.n < left ? bytes.n : left;
        memcpy(b->last->data + b->last->end, bytes.p, n);
        buf_commit(b, n);
        bytes.p += n;
        bytes.n -= n;
    }
}

void buf_consume(struct buf *b, struct chunk_pool *pool, size_t n) {
    LG_ASSERT(n <= b->bytes);
    b->bytes -= n;
    while (b->last) {
        struct chunk *c = b->last->next;
        size_t here = c->end - c->start;
        if (n < here) {
            c->start += (uint32_t)n;
            return;
        }
        n -= here;
        if (c == b->last)
            b->last = NULL;
        else
            b->last->next = c->next;
        chunk_free(c, pool);
    }
}

int buf_iov(const struct buf *b, struct iovec *iov, int max) {
    int n = 0;
    for (struct chunk *c = buf_first(b); c && n < max; c = buf_after(b, c)) {
        if (c->start == c->end) continue;
        iov[n++] = (struct iovec){c->data + c->start, c->end - c->start};
    }
    return n;
}

struct slice buf_front(const struct buf *b) {
    struct chunk *c = buf_first(b);
    while (c && c->start == c->end) c = buf_after(b, c); /* reserved, but nothing was put in */
    return c ? slice_from(c->data + c->start, c->end - c->start) : slice_from(NULL, 0);
}

struct slice buf_linear(struct buf *b, struct chunk_pool *pool) {
    if (b->last && b->last->next != b->last) {
        struct buf whole = {0};
        char *p = buf_reserve(&whole, pool, b->bytes * 2); /* room to grow: repeated calls copy each byte O(1) times */
        size_t at = 0;
        for (struct chunk *c = buf_first(b); c; c = buf_after(b, c)) {
            memcpy(p + at, c->data + c->start, c->end - c->start);
            at += c->end - c->start;
        }
        buf_commit(&whole, at);
        buf_clear(b, pool);
        *b = whole;
    }
    return buf_front(b);
}
