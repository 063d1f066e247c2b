/* loop.h: a thread's event loop: cached clock, deferred calls, graveyard, deadline lists.
 *
 * One turn:  wait for events -> read the clock once -> what was put off from the turn before -> callbacks
 *            -> deferred calls -> flushes -> graveyard -> wait (or only look: see spin.h) */
#ifndef LOOMGATE_NET_LOOP_H
#define LOOMGATE_NET_LOOP_H

#include "loomgate/base/buf.h"
#include "loomgate/base/list.h"
#include "loomgate/net/spin.h"
#include "loomgate/stats/histogram.h"

#include <ev.h>
#include <stdint.h>

/* Something to do later in this turn; embedded in what it is about. A task that is waiting is not queued twice. */
struct task {
    struct list node; /* list_init()ed, or zero before task_init */
    void (*run)(struct task *task);
};

/* A point in time at which something has taken too long. Deadlines of one duration are kept in one list, which is
 * ordered by itself, so that setting, moving and cancelling cost O(1) and no system call. */
struct deadline {
    struct list node;
    uint64_t at_us;
    void (*on_expire)(struct deadline *deadline);
};

/* The same for any time at all, such as a random one: a timer of libev's each, O(log n). */
struct loop_timer {
    struct loop *loop; /* NULL: not set */
    ev_timer ev;
    void (*on_expire)(struct loop_timer *timer);
};

enum { LOOP_READ_SIZE = 288 * 1024 };

/* Something that happened in this turn and waits for its place in the order. */
struct loop_event {
    void (*run)(void *owner, int events);
    void *owner;
    int events;
};

struct loop {
    struct ev_loop *ev;
    uint64_t now_us;  /* CLOCK_MONOTONIC, read once a turn */
    uint64_t unix_us; /* the wall clock's time of now_us */
    uint64_t turn_us; /* now_us when this turn began */
    uint64_t turn;    /* counts up: events of one turn were all seen by one wait */
    struct chunk_pool chunks;
    char *read_buffer;                        /* LOOP_READ_SIZE bytes, for whoever reads now */
    unsigned closing;                         /* conns that still send or linger without an owner */
    void (*on_all_closed)(struct loop *loop); /* the last of them has gone; may be NULL */
    struct slab conns;                        /* of conn.c, which sets it up */
    int connect_ceiling;                      /* conn_connect takes no descriptor from here on: they are others' */

    struct loop_event *arrived; /* of this turn, the last one first */
    unsigned arrived_count, arrived_room;
    struct list deferred, flushing, graveyard;
    struct list next;             /* for the start of the next turn */
    ev_idle awake;                /* active when the next wait is only a look: because of these, or of `spin` */
    struct spin spin;             /* its `most` is whoever's the loop is to set */
    bool served;                  /* events of descriptors in this turn */
    struct deadline_list **lists; /* open addressing by duration */
    unsigned list_count, list_mask;
    ev_prepare turn_end;
    ev_check turn_start;
    uint64_t clock_offset_us, clock_checked_us;
    struct loop_latency *latency;
    double turn_began; /* by libev's clock */
};

void loop_init(struct loop *loop);
/* Deadlines that are still set expire now: closing connections give up. */
void loop_fini(struct loop *loop);
/* Until loop_stop() is called from inside. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* From a watcher's callback: `run` is called in this turn, in the order in which the kernel told of the descriptors.
 * libev goes through the events of a turn from the last to the first: who asked first would always wait longest.
 * `owner` must last until the turn's end (its grave). */
void loop_in_order(struct loop *loop, void (*run)(void *owner, int events), void *owner, int events);

void task_init(struct task *task, void (*run)(struct task *task));
/* `task` runs at the end of this turn, after all callbacks that called for it have returned. */
void loop_defer(struct loop *loop, struct task *task);
/* The same after all deferred ones: for output that is collected over a turn. */
void loop_flush_later(struct loop *loop, struct task *task);
/* The same at the very end: for freeing what callbacks of this turn may still hold. */
void loop_bury(struct loop *loop, struct task *task);
/* The same at the start of the next turn, which then does not wait: for work that is cut into portions. */
void loop_next_turn(struct loop *loop, struct task *task);
void task_cancel(struct task *task);
bool task_is_waiting(const struct task *task);

void deadline_init(struct deadline *d, void (*on_expire)(struct deadline *d));
/* Expires `duration_us` from now; 0 means never. Replaces what was set before. Durations come from the configuration:
 * each distinct one costs a list for the loop's life. */
void deadline_set(struct loop *loop, struct deadline *d, uint64_t duration_us);
void deadline_cancel(struct deadline *d);
bool deadline_is_set(const struct deadline *d);

void timer_init(struct loop_timer *t, void (*on_expire)(struct loop_timer *t));
/* Expires `delay_us` from now, in a later turn also when that is 0. Replaces what was set before. Whoever set it
 * cancels it before the loop ends. */
void timer_set(struct loop *loop, struct loop_timer *t, uint64_t delay_us);
void timer_cancel(struct loop_timer *t);
bool timer_is_set(const struct loop_timer *t);

/* Before a descriptor is closed whose open file another process has, too: else it would stay in the kernel's list of
 * what this loop waits for, as no close() but the last one takes it out (epoll(7)). Its watchers are stopped. */
void loop_forget_fd(struct loop *loop, int fd);

/* How long turns took, from the end of the wait to the next one: how late an event may be served. In the last 10 to 20
 * seconds: of each sixteenth turn, but the longest (max_us) of all, also when no sixteenth was among them. On the
 * loop's thread. */
void loop_latency_read(struct loop *loop, struct histogram_summary *out);

/* Reads the clock now (it is read once a turn by itself). */
void loop_update_clock(struct loop *loop);

#endif
