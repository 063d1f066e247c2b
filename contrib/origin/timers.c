/* A binary heap of deadlines. */
#include "timers.h"

#include <stdlib.h>
#include <time.h>

static struct timer **heap; /* from 1 */
static size_t heap_len, heap_cap;

uint64_t timers_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void place(struct timer *timer, size_t slot) {
    heap[slot] = timer;
    timer->slot = slot;
}

static void sift(struct timer *timer, size_t slot) {
    while (slot > 1 && heap[slot / 2]->at > timer->at) {
        place(heap[slot / 2], slot);
        slot /= 2;
    }
    for (size_t child = slot * 2; child <= heap_len; child = slot * 2) {
        child += child < heap_len && heap[child + 1]->at < heap[child]->at;
        if (heap[child]->at >= timer->at) {
            break;
        }
        place(heap[child], slot);
        slot = child;
    }
    place(timer, slot);
}

void timer_set(struct timer *timer, uint64_t ms_from_now) {
    timer->at = timers_now() + ms_from_now;
    if (timer->slot == 0) {
        if (heap_len + 1 >= heap_cap) {
            heap_cap = heap_cap ? heap_cap * 2 : 256;
            heap = realloc(heap, heap_cap * sizeof(struct timer *));
            if (!heap) {
                abort();
            }
        }
        timer->slot = ++heap_len;
    }
    sift(timer, timer->slot);
}

void timer_clear(struct timer *timer) {
    size_t slot = timer->slot;
    if (slot == 0) {
        return;
    }
    timer->slot = 0;
    struct timer *last = heap[heap_len--];
    if (last != timer) {
        sift(last, slot);
    }
}

int timers_timeout(void) {
    if (heap_len == 0) {
        return -1;
    }
    uint64_t now = timers_now();
    uint64_t left = heap[1]->at > now ? heap[1]->at - now : 0;
    return left > 60000 ? 60000 : (int)left;
}

struct timer *timers_take_due(uint64_t now) {
    if (heap_len == 0 || heap[1]->at > now) {
        return NULL;
    }
    struct timer *timer = heap[1];
    timer_clear(timer);
    return timer;
}
