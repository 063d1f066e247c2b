/* server.c: how a server that comes back gets its share again. */
#include "loomgate/backend/server.h"

/* At least so much of its weight: it must get something to show that it works. */
enum { SHARE_LEAST = SHARE_ONE / 16 };
#define RAMP_LENGTH_MAX ((1U << RAMP_LENGTH_BITS) - 1)

/* One word, so that nobody sees one without the other: the start (40 bits) and the length (24 bits), milliseconds. */
void server_begin_ramp(struct server *s, uint64_t now_us, uint64_t length_us) {
    uint64_t length_ms = length_us / 1000;
    if (length_ms > RAMP_LENGTH_MAX) length_ms = RAMP_LENGTH_MAX;
    uint64_t ramp = length_ms ? now_us / 1000 << RAMP_LENGTH_BITS | length_ms : 0;
    atomic_store_explicit(&s->shared.ramp, ramp, memory_order_relaxed);
}

uint32_t server_ramp_share(uint64_t ramp, uint64_t now_us) {
    uint64_t start_ms = ramp >> RAMP_LENGTH_BITS, length_ms = ramp & RAMP_LENGTH_MAX, now_ms = now_us / 1000;
    if (now_ms >= start_ms + length_ms) return SHARE_ONE;
    uint64_t gone_ms = now_ms > start_ms ? now_ms - start_ms : 0; /* another thread's clock may be ahead */
    uint64_t share = SHARE_ONE * gone_ms / length_ms;
    return share < SHARE_LEAST ? SHARE_LEAST : (uint32_t)share;
}
