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
    struct chunk *next;
    for (struct chunk *c = b->head; c; c = next) {
        next = c->next;
        chunk_free(c, pool);
    }
    *b = (struct buf){0};
}

char *buf_reserve(struct buf *b, struct chunk_pool *pool, size_t n) {
    struct chunk *c = b->tail;
    if (!c || c->room - c->end < n) {
        c = chunk_new(pool, n);
        if (b->tail)
            b->tail->next = c;
        else
            b->head = c;
        b->tail = c;
    }
    return c->data + c->end;
}

void buf_commit(struct buf *b, size_t n) {
    LG_ASSERT(b->tail && n <= b->tail->room - b->tail->end);
    b->tail->end += (uint32_t)n;
    b->bytes += n;
}

void buf_append(struct buf *b, struct chunk_pool *pool, struct slice bytes) {
    while (bytes.n) {
        struct chunk *c = b->tail;
        size_t left = c ? c->room - c->end : 0;
        if (!left) {
            size_t want = bytes.n < CHUNK_LARGE - sizeof *c ? bytes.n : CHUNK_LARGE - sizeof *c;
            buf_reserve(b, pool, want);
            left = b->tail->room - b->tail->end;
        }
        size_t n = bytes.n < left ? bytes.n : left;
        memcpy(b->tail->data + b->tail->end, bytes.p, n);
        buf_commit(b, n);
        bytes.p += n;
        bytes.n -= n;
    }
}

void buf_consume(struct buf *b, struct chunk_pool *pool, size_t n) {
    LG_ASSERT(n <= b->bytes);
    b->bytes -= n;
    while (b->head) {
        struct chunk *c = b->head;
        size_t here = c->end - c->start;
        if (n < here) {
            c->start += (uint32_t)n;
            return;
        }
        n -= here;
        b->head = c->next;
        if (!b->head) b->tail = NULL;
        chunk_free(c, pool);
    }
}

int buf_iov(const struct buf *b, struct iovec *iov, int max) {
    int n = 0;
    for (struct chunk *c = b->head; c && n < max; c = c->next) {
        if (c->start == c->end) continue;
        iov[n++] = (struct iovec){c->data + c->start, c->end - c->start};
    }
    return n;
}

struct slice buf_front(const struct buf *b) {
    struct chunk *c = b->head;
    while (c && c->start == c->end) c = c->next; /* reserved, but nothing was put in */
    return c ? slice_from(c->data + c->start, c->end - c->start) : slice_from(NULL, 0);
}

struct slice buf_linear(struct buf *b, struct chunk_pool *pool) {
    if (b->head != b->tail) {
        struct buf whole = {0};
        char *p = buf_reserve(&whole, pool, b->bytes * 2); /* room to grow: repeated calls copy each byte O(1) times */
        size_t at = 0;
        for (struct chunk *c = b->head; c; c = c->next) {
            memcpy(p + at, c->data + c->start, c->end - c->start);
            at += c->end - c->start;
        }
        buf_commit(&whole, at);
        buf_clear(b, pool);
        *b = whole;
    }
    return buf_front(b);
}
