/* Deadlines in milliseconds: a binary heap of timers that their owners embed. */
#ifndef ORIGIN_TIMERS_H
#define ORIGIN_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t at; /* CLOCK_MONOTONIC, ms */
    size_t slot; /* place in the heap, from 1; 0: not set */
};

uint64_t timers_now(void);

/* Sets or moves it. */
void timer_set(struct timer *timer, uint64_t ms_from_now);
void timer_clear(struct timer *timer);

/* What epoll_wait may sleep: -1 when no timer is set. */
int timers_timeout(void);

/* Takes the first timer that is due out of the heap; NULL when none is. */
struct timer *timers_take_due(uint64_t now);

#endif
