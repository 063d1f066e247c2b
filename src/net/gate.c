/* gate.c: how many connections are open, and how many may be. */
#include "loomgate/net/gate.h"

bool gate_enter(struct gate *g) {
    /* Compare and swap, so that a refused one is never counted, not even for a moment: nobody else is refused by it. */
    uint32_t open = gate_open(g), limit = gate_limit(g);
    do
        if (limit && open >= limit) return false;
    while (
        !atomic_compare_exchange_weak_explicit(&g->open, &open, open + 1, memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool gate_leave(struct gate *g) {
    uint32_t open = atomic_fetch_sub_explicit(&g->open, 1, memory_order_relaxed), limit = gate_limit(g);
    return limit && open >= limit;
}
