/* gate.h: how many connections are open, and how many may be; shared by all workers, written once a connection. */
#ifndef LOOMGATE_NET_GATE_H
#define LOOMGATE_NET_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct gate {
    _Atomic uint32_t open;
    _Atomic uint32_t limit; /* 0: none; written by the control thread */
};

/* Enters; false when the limit is reached. */
bool gate_enter(struct gate *g);
/* Leaves; true when it had been full, so that somebody may wait. */
bool gate_leave(struct gate *g);

static inline uint32_t gate_open(const struct gate *g) {
    return atomic_load_explicit(&g->open, memory_order_relaxed);
}
static inline uint32_t gate_limit(const struct gate *g) {
    return atomic_load_explicit(&g->limit, memory_order_relaxed);
}
static inline void gate_set_limit(struct gate *g, uint32_t limit) {
    atomic_store_explicit(&g->limit, limit, memory_order_relaxed);
}

#endif
