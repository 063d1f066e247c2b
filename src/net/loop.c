/* loop.c: a thread's event loop on libev: cached clock, deferred calls, graveyard, deadline lists. */
#include "loomgate/net/loop.h"

#include "loomgate/base/log.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum { CLOCK_CHECK_US = 1000000, FIRST_LISTS = 32, FIRST_EVENTS = 64 };
/* Of the turns' latencies: reading the clock once more in each would cost what few look at. The longest turn is never
 * missed all the same: libev reads the clock before and after each wait, for its timers. */
enum { SAMPLED_TURNS = 16, LATENCY_EPOCH_US = 10000000 };

struct loop_latency {
    uint64_t counts[2][HISTOGRAM_BUCKETS]; /* this epoch's and the one's before */
    uint64_t longest_us[2];                /* of all turns */
    unsigned current;
    uint64_t epoch_us; /* when this one began */
};

struct deadline_list {
    uint64_t duration_us;
    struct list waiting; /* of struct deadline, the earliest first */
    struct loop *loop;
    ev_timer timer; /* fires at the time of the first one, or of one that has been cancelled since */
};

static uint64_t clock_us(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

void loop_update_clock(struct loop *loop) {
    loop->now_us = clock_us(CLOCK_MONOTONIC);
    /* The wall clock may be set while we run: look at it each second, not each turn. */
    if (loop->now_us - loop->clock_checked_us >= CLOCK_CHECK_US) {
        loop->clock_checked_us = loop->now_us;
        loop->clock_offset_us = clock_us(CLOCK_REALTIME) - loop->now_us;
    }
    loop->unix_us = loop->now_us + loop->clock_offset_us;
}

static void run_tasks(struct list *tasks) {
    struct list *node;
    while ((node = list_first(tasks))) {
        list_remove(node);
        struct task *task = LIST_ENTRY(node, struct task, node);
        task->run(task);
    }
}

/* --- latency ---------------------------------------------------------------------------------------------------- */

static void latency_begin(struct loop_latency *l) {
    memset(l->counts[l->current], 0, sizeof l->counts[0]);
    l->longest_us[l->current] = 0;
}

static void latency_turn_over(struct loop *loop) {
    struct loop_latency *l = loop->latency;
    uint64_t passed_us = loop->now_us - l->epoch_us;
    if (passed_us < LATENCY_EPOCH_US) return;
    if (passed_us >= 2 * LATENCY_EPOCH_US) latency_begin(l);
    l->current = !l->current;
    latency_begin(l);
    l->epoch_us = loop->now_us;
}

static void latency_sample(struct loop *loop) {
    latency_turn_over(loop);
    loop->latency->counts[loop->latency->current][histogram_index(clock_us(CLOCK_MONOTONIC) - loop->turn_us)]++;
}

/* Right before each wait, when libev has read the clock. Its time may jump with the wall clock, so it only says when
 * it is worth to read ours. */
static void on_wait(struct ev_loop *ev) {
    struct loop *loop = ev_userdata(ev);
    struct loop_latency *l = loop->latency;
    double took_us = (ev_now(ev) - loop->turn_began) * 1e6;
    bool is_fresh = loop->now_us - l->epoch_us < LATENCY_EPOCH_US;
    if (LG_LIKELY(is_fresh && took_us <= (double)l->longest_us[l->current])) return;
    latency_turn_over(loop);
    if (took_us <= 0) return; /* as before the first turn */
    uint64_t us = clock_us(CLOCK_MONOTONIC) - loop->turn_us;
    if (us > l->longest_us[l->current]) l->longest_us[l->current] = us;
}

static void on_waited(struct ev_loop *ev) {
    (void)ev;
}

void loop_latency_read(struct loop *loop, struct histogram_summary *out) {
    uint64_t counts[HISTOGRAM_BUCKETS];
    latency_turn_over(loop);
    const struct loop_latency *l = loop->latency;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) counts[i] = l->counts[0][i] + l->counts[1][i];
    histogram_summarise(counts, HISTOGRAM_BUCKETS, out);
    for (unsigned i = 0; i < LG_COUNT(l->longest_us); i++)
        if ((double)l->longest_us[i] > out->max_us) out->max_us = (double)l->longest_us[i];
}

/* --- turns ------------------------------------------------------------------------------------------------------ */

static void on_turn_end(struct ev_loop *ev, ev_prepare *w, int events) {
    (void)ev, (void)events;
    struct loop *loop = w->data;
    /* A flush may defer and a grave may flush: go on until all three are empty. */
    while (!list_is_empty(&loop->deferred) || !list_is_empty(&loop->flushing) || !list_is_empty(&loop->graveyard)) {
        run_tasks(&loop->deferred);
        run_tasks(&loop->flushing);
        if (list_is_empty(&loop->deferred)) run_tasks(&loop->graveyard);
    }
    log_flush();
    bool only_looked = loop->spin.left && !loop->served;
    if (loop->turn % SAMPLED_TURNS == 0 && !only_looked) latency_sample(loop);
    if (spin_again(&loop->spin, loop->served) || !list_is_empty(&loop->next))
        ev_idle_start(loop->ev, &loop->awake);
    else
        ev_idle_stop(loop->ev, &loop->awake);
    loop->served = false;
}

static void on_turn_start(struct ev_loop *ev, ev_check *w, int events) {
    (void)events;
    struct loop *loop = w->data;
    loop->turn++;
    loop_update_clock(loop);
    loop->turn_us = loop->now_us;
    loop->turn_began = ev_now(ev);
    if (list_is_empty(&loop->next)) return;
    struct list now; /* tasks may put themselves off again */
    list_init(&now);
    list_move_all(&now, &loop->next);
    run_tasks(&now);
}

static void on_idle(struct ev_loop *ev, ev_idle *w, int events) {
    (void)ev, (void)w, (void)events;
}

/* --- the order of a turn's events ------------------------------------------------------------------------------- */

void loop_in_order(struct loop *loop, void (*run)(void *owner, int events), void *owner, int events) {
    if (loop->arrived_count == loop->arrived_room) {
        loop->arrived_room = loop->arrived_room ? loop->arrived_room * 2 : FIRST_EVENTS;
        loop->arrived = xrealloc(loop->arrived, loop->arrived_room * sizeof *loop->arrived);
    }
    loop->arrived[loop->arrived_count++] = (struct loop_event){run, owner, events};
}

static void on_pending(struct ev_loop *ev) {
    struct loop *loop = ev_userdata(ev);
    ev_invoke_pending(ev);
    if (loop->arrived_count) loop->served = true;
    while (loop->arrived_count) {
        const struct loop_event *e = &loop->arrived[--loop->arrived_count];
        e->run(e->owner, e->events);
    }
}

void loop_init(struct loop *loop) {
    *loop = (struct loop){.connect_ceiling = INT_MAX};
    loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    LG_ASSERT(loop->ev != NULL);
    ev_set_userdata(loop->ev, loop);
    ev_set_invoke_pending_cb(loop->ev, on_pending);
    list_init(&loop->deferred);
    list_init(&loop->flushing);
    list_init(&loop->graveyard);
    list_init(&loop->next);
    ev_idle_init(&loop->awake, on_idle);
    chunk_pool_init(&loop->chunks);
    loop->read_buffer = xmalloc(LOOP_READ_SIZE);
    loop->lists = xcalloc(FIRST_LISTS, sizeof(struct deadline_list *));
    loop->list_mask = FIRST_LISTS - 1;
    ev_prepare_init(&loop->turn_end, on_turn_end);
    ev_check_init(&loop->turn_start, on_turn_start);
    ev_set_priority(&loop->turn_start, EV_MAXPRI);
    loop->turn_end.data = loop->turn_start.data = loop;
    ev_prepare_start(loop->ev, &loop->turn_end);
    ev_check_start(loop->ev, &loop->turn_start);
    loop->turn = 1;
    loop_update_clock(loop);
    loop->turn_us = loop->now_us;
    loop->latency = xcalloc(1, sizeof *loop->latency);
    loop->latency->epoch_us = loop->now_us;
    loop->turn_began = HUGE_VAL;
    ev_set_userdata(loop->ev, loop);
    ev_set_loop_release_cb(loop->ev, on_wait, on_waited);
}

static void expire_all(struct deadline_list *l) {
    struct list *first;
    while ((first = list_first(&l->waiting))) {
        list_remove(first);
        struct deadline *d = LIST_ENTRY(first, struct deadline, node);
        d->on_expire(d);
    }
}

void loop_fini(struct loop *loop) {
    for (unsigned i = 0; i <= loop->list_mask; i++)
        if (loop->lists[i]) expire_all(loop->lists[i]);
    on_turn_end(loop->ev, &loop->turn_end, 0);
    for (unsigned i = 0; i <= loop->list_mask; i++) {
        if (!loop->lists[i]) continue;
        ev_timer_stop(loop->ev, &loop->lists[i]->timer);
        free(loop->lists[i]);
    }
    free(loop->lists);
    free(loop->latency);
    free(loop->read_buffer);
    free(loop->arrived);
    ev_idle_stop(loop->ev, &loop->awake);
    ev_prepare_stop(loop->ev, &loop->turn_end);
    ev_check_stop(loop->ev, &loop->turn_start);
    ev_loop_destroy(loop->ev);
    chunk_pool_fini(&loop->chunks);
    slab_fini(&loop->conns);
}

void loop_run(struct loop *loop) {
    ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop) {
    ev_break(loop->ev, EVBREAK_ALL);
}

void task_init(struct task *task, void (*run)(struct task *task)) {
    list_init(&task->node);
    task->run = run;
}

bool task_is_waiting(const struct task *task) {
    return !list_is_empty(&task->node);
}

static void enqueue(struct list *tasks, struct task *task) {
    if (!task_is_waiting(task)) list_push_back(tasks, &task->node);
}

void loop_defer(struct loop *loop, struct task *task) {
    enqueue(&loop->deferred, task);
}

void loop_flush_later(struct loop *loop, struct task *task) {
    enqueue(&loop->flushing, task);
}

void loop_next_turn(struct loop *loop, struct task *task) {
    enqueue(&loop->next, task);
}

void loop_bury(struct loop *loop, struct task *task) {
    enqueue(&loop->graveyard, task);
}

void task_cancel(struct task *task) {
    list_remove(&task->node);
}

/* --- deadlines -------------------------------------------------------------------------------------------------- */

/* Starts the timer for the first one that waits, if any. libev's own clock may lag behind ours by a part of a turn, so
 * the delay counts from the time that libev believes. */
static void list_arm(struct deadline_list *l) {
    struct list *first = list_first(&l->waiting);
    if (!first || ev_is_active(&l->timer)) return;
    uint64_t at = LIST_ENTRY(first, struct deadline, node)->at_us;
    uint64_t delay = at > l->loop->now_us ? at - l->loop->now_us : 0;
    ev_timer_set(&l->timer, (double)delay / 1e6 + 0.0005, 0.);
    ev_timer_start(l->loop->ev, &l->timer);
}

static void on_list_timer(struct ev_loop *ev, ev_timer *w, int events) {
    (void)ev, (void)events;
    struct deadline_list *l = w->data;
    struct list *first;
    while ((first = list_first(&l->waiting))) {
        struct deadline *d = LIST_ENTRY(first, struct deadline, node);
        if (d->at_us > l->loop->now_us) break;
        list_remove(first);
        d->on_expire(d);
    }
    list_arm(l);
}

static unsigned list_place(const struct loop *loop, uint64_t duration_us) {
    unsigned i = (unsigned)((duration_us * 0x9E3779B97F4A7C15U) >> 32) & loop->list_mask;
    while (loop->lists[i] && loop->lists[i]->duration_us != duration_us) i = (i + 1) & loop->list_mask;
    return i;
}

static void lists_grow(struct loop *loop) {
    struct deadline_list **old = loop->lists;
    unsigned places = loop->list_mask + 1;
    loop->lists = xcalloc((size_t)places * 2, sizeof(struct deadline_list *));
    loop->list_mask = places * 2 - 1;
    for (unsigned i = 0; i < places; i++)
        if (old[i]) loop->lists[list_place(loop, old[i]->duration_us)] = old[i];
    free(old);
}

static struct deadline_list *list_get(struct loop *loop, uint64_t duration_us) {
    unsigned i = list_place(loop, duration_us);
    if (LG_LIKELY(loop->lists[i] != NULL)) return loop->lists[i];
    if (++loop->list_count > loop->list_mask / 2) {
        lists_grow(loop);
        i = list_place(loop, duration_us);
    }
    struct deadline_list *l = xcalloc(1, sizeof *l);
    l->duration_us = duration_us;
    l->loop = loop;
    list_init(&l->waiting);
    ev_init(&l->timer, on_list_timer);
    l->timer.data = l;
    return loop->lists[i] = l;
}

void deadline_init(struct deadline *d, void (*on_expire)(struct deadline *d)) {
    list_init(&d->node);
    d->on_expire = on_expire;
}

void deadline_set(struct loop *loop, struct deadline *d, uint64_t duration_us) {
    list_remove(&d->node);
    if (!duration_us) return;
    struct deadline_list *l = list_get(loop, duration_us);
    d->at_us = loop->now_us + duration_us;
    list_push_back(&l->waiting, &d->node);
    if (!ev_is_active(&l->timer)) list_arm(l);
}

void deadline_cancel(struct deadline *d) {
    list_remove(&d->node);
}

bool deadline_is_set(const struct deadline *d) {
    return !list_is_empty(&d->node);
}

/* --- timers ----------------------------------------------------------------------------------------------------- */

static void on_timer(struct ev_loop *ev, ev_timer *w, int events) {
    (void)ev, (void)events;
    struct loop_timer *t = w->data;
    t->loop = NULL;
    t->on_expire(t);
}

void timer_init(struct loop_timer *t, void (*on_expire)(struct loop_timer *t)) {
    t->loop = NULL;
    t->on_expire = on_expire;
    ev_init(&t->ev, on_timer);
    t->ev.data = t;
}

void timer_set(struct loop *loop, struct loop_timer *t, uint64_t delay_us) {
    timer_cancel(t);
    t->loop = loop;
    ev_timer_set(&t->ev, (double)delay_us / 1e6, 0.);
    ev_timer_start(loop->ev, &t->ev);
}

void timer_cancel(struct loop_timer *t) {
    if (!t->loop) return;
    ev_timer_stop(t->loop->ev, &t->ev);
    t->loop = NULL;
}

bool timer_is_set(const struct loop_timer *t) {
    return t->loop != NULL;
}

/* --- the kernel's list ------------------------------------------------------------------------------------------ */

/* libev tells its epoll descriptor to nobody but another loop that is to watch it. It may be another one from one turn
 * to the next. */
static int epoll_fd_of(struct ev_loop *ev) {
    struct ev_loop *other = ev_loop_new(EVBACKEND_SELECT | EVFLAG_NOENV);
    ev_embed embed;
    LG_ASSERT(other != NULL);
    ev_embed_init(&embed, NULL, ev);
    ev_embed_start(other, &embed);
    int fd = embed.io.fd;
    ev_embed_stop(other, &embed);
    ev_loop_destroy(other);
    return fd;
}

void loop_forget_fd(struct loop *loop, int fd) {
    epoll_ctl(epoll_fd_of(loop->ev), EPOLL_CTL_DEL, fd, NULL); /* fails when it was not in the list yet: so be it */
}
