/* queue.c: exchanges that wait for a server of one backend. Its picture is in the header. */
#include "loomgate/backend/queue.h"

enum waiter_state {
    WAITER_QUEUED,
    WAITER_GRANTED, /* its mail is on the way, with `result` and `lease` */
    WAITER_LEFT,    /* the mail is on the way, but says nothing any more */
};

void queue_init(struct queue *q, const struct queue_events *events) {
    *q = (struct queue){.events = events};
    list_init(&q->waiters);
    pthread_mutex_init(&q->lock, NULL);
}

void queue_fini(struct queue *q) {
    LG_ASSERT(list_is_empty(&q->waiters));
    pthread_mutex_destroy(&q->lock);
}

/* On the waiter's thread, which alone calls queue_leave: so `state` needs no lock any more. */
static void deliver(struct mail *mail, void *receiver) {
    struct waiter *w = LG_CONTAINER_OF(mail, struct waiter, mail);
    (void)receiver;
    if (w->state == WAITER_GRANTED) w->on_turn(w, (enum pick_result)w->result);
    slab_put(w->slab, w);
}

struct waiter *queue_waiter_new(struct slab *slab, struct mailbox *home) {
    struct waiter *w = slab_get(slab);
    *w = (struct waiter){.home = home, .slab = slab, .mail = {.deliver = deliver}};
    list_init(&w->node);
    w->request.tried = &w->tried;
    return w;
}

bool queue_join(struct queue *q, struct waiter *w, uint32_t max, uint64_t now_us) {
    w->queue = q;
    pthread_mutex_lock(&q->lock);
    bool ok = atomic_load_explicit(&q->waiting, memory_order_relaxed) < max;
    if (ok) {
        list_push_back(&q->waiters, &w->node);
        atomic_fetch_add(&q->waiting, 1);
    }
    pthread_mutex_unlock(&q->lock);
    if (ok)
        queue_pump(q, now_us);
    else
        slab_put(w->slab, w);
    return ok;
}

/* Under the lock. */
static void take_out(struct queue *q, struct waiter *w) {
    list_remove(&w->node);
    atomic_fetch_sub(&q->waiting, 1);
}

bool queue_leave(struct waiter *w, uint64_t now_us, struct lease *lease, struct breaker_change *change) {
    struct queue *q = w->queue;
    pthread_mutex_lock(&q->lock);
    bool queued = w->state == WAITER_QUEUED;
    if (queued)
        take_out(q, w);
    else
        w->state = WAITER_LEFT;
    pthread_mutex_unlock(&q->lock);
    if (!queued) {
        *lease = w->lease;
        *change = w->change;
        return w->result == PICK_OK;
    }
    slab_put(w->slab, w);
    queue_pump(q, now_us); /* the next one may be content with a server that this one was not */
    return false;
}

/* The first one that came under another configuration than `w`, behind it. In their order they came under one after
 * the other, so when the last one is of the same, all are. */
static struct list *next_of_other(struct queue *q, const struct waiter *w) {
    const struct waiter *last = LIST_ENTRY(list_last(&q->waiters), struct waiter, node);
    if (last->backend == w->backend) return NULL;
    struct list *node = w->node.next;
    while (LIST_ENTRY(node, struct waiter, node)->backend == w->backend) node = node->next;
    return node;
}

void queue_pump(struct queue *q, uint64_t now_us) {
    if (queue_is_empty(q)) return;
    pthread_mutex_lock(&q->lock);
    struct list *node = list_first(&q->waiters);
    while (node) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, node);
        enum pick_result r = q->events->pick(w, now_us);
        if (r == PICK_FULL) { /* those of another configuration may have other servers, or other limits */
            node = next_of_other(q, w);
            continue;
        }
        node = w->node.next != &q->waiters ? w->node.next : NULL;
        take_out(q, w);
        w->state = WAITER_GRANTED;
        w->result = (uint8_t)r;
        mailbox_post(w->home, &w->mail);
    }
    pthread_mutex_unlock(&q->lock);
}
