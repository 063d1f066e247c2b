/* buf.h: owned bytes in counted chunks: a queue that is filled at its end and written out from its front. */
#ifndef LOOMGATE_BASE_BUF_H
#define LOOMGATE_BASE_BUF_H

#include "loomgate/base/mem.h"
#include "loomgate/base/slice.h"

#include <sys/uio.h>

/* Chunks come in two sizes, kept for reuse a thread: most heads fit the small one, bodies take the large one. What
 * must lie in one piece and is larger gets a chunk of its own. */
enum { CHUNK_SMALL = 2048, CHUNK_LARGE = 16384 };

struct chunk {
    struct chunk *next;  /* behind the last one the first */
    uint32_t start, end; /* the bytes in use: data[start..end) */
    uint32_t room;       /* bytes that fit data[] */
    uint32_t size_class;
    char data[];
};

struct chunk_pool {
    struct slab small, large;
    size_t bytes; /* bytes of all chunks in use now */
};

void chunk_pool_init(struct chunk_pool *pool);
void chunk_pool_fini(struct chunk_pool *pool);

struct buf {
    struct chunk *last; /* NULL: no chunk. A ring, because a waiting connection has two of these and nothing in them */
    size_t bytes;
};

void buf_init(struct buf *b);
void buf_clear(struct buf *b, struct chunk_pool *pool);
/* Copies the bytes to the end. */
void buf_append(struct buf *b, struct chunk_pool *pool, struct slice bytes);
/* At least `n` bytes in one piece at the end, to be written and then taken with buf_commit (as many or fewer). */
char *buf_reserve(struct buf *b, struct chunk_pool *pool, size_t n);
void buf_commit(struct buf *b, size_t n);
/* Drops `n` bytes (no more than there are) from the front. */
void buf_consume(struct buf *b, struct chunk_pool *pool, size_t n);
/* Fills up to `max` entries with the bytes from the front; returns how many. */
int buf_iov(const struct buf *b, struct iovec *iov, int max);
/* The bytes at the front that lie in one piece. */
struct slice buf_front(const struct buf *b);
/* The chunks one by one, empty ones too; NULL behind the last. */
static inline struct chunk *buf_first(const struct buf *b) {
    return b->last ? b->last->next : NULL;
}
static inline struct chunk *buf_after(const struct buf *b, const struct chunk *c) {
    return c == b->last ? NULL : c->next;
}
/* Makes all bytes lie in one piece and returns it. */
struct slice buf_linear(struct buf *b, struct chunk_pool *pool);

#endif
