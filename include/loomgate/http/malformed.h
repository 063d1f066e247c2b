/* malformed.h: the last messages that could not be read: who sent them, what was wrong, the bytes around the place. One
 * ring a worker, on its thread; costs nothing as long as all is well. */
#ifndef LOOMGATE_HTTP_MALFORMED_H
#define LOOMGATE_HTTP_MALFORMED_H

#include "loomgate/base/failure.h"
#include "loomgate/base/slice.h"
#include "loomgate/net/addr.h"

enum { MALFORMED_KEPT = 32, MALFORMED_BYTES_MAX = 256, MALFORMED_NAME_MAX = 160 };

struct malformed {
    uint64_t unix_us;
    struct addr peer;
    bool is_response;
    uint8_t failure;      /* enum failure */
    uint16_t count, at;   /* of the bytes; where among them it was noticed, at most `count` */
    uint16_t name_len[2]; /* of the frontend; of backend and server: what `names` has, one behind the other */
    char names[MALFORMED_NAME_MAX];
    char bytes[MALFORMED_BYTES_MAX];
};

struct malformed_ring {
    uint64_t count; /* since the start */
    struct malformed v[MALFORMED_KEPT];
};

/* Who sent it: to the frontend `first` (then `second` is empty), or the server `second` of the backend `first`. */
struct malformed_source {
    const char *first, *second;
    const struct addr *peer;
};

/* Keeps a copy of the part of `bytes` around `place`, which points into them or to their end; else it is their
 * beginning. Names are cut when they are too long. */
void malformed_add(struct malformed_ring *r, uint64_t unix_us, const struct malformed_source *from, enum failure f,
                   struct slice bytes, const char *place);
/* What was kept as number `index`, the oldest first; NULL behind the last. */
const struct malformed *malformed_find(const struct malformed_ring *r, uint64_t index);
/* One of the two names. */
struct slice malformed_name(const struct malformed *m, unsigned which);

#endif
