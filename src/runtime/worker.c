/* worker.c: one thread with a loop, its acceptors and its part of all connections. */
#include "loomgate/runtime/worker.h"

#include "loomgate/proxy/client.h"
#include "loomgate/stats/exposition.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What settling does in a turn: at most about a millisecond, with eight connections that close. */
enum { SETTLE_EFFORT = 256 };

static void check_drained(struct worker *w) {
    /* Connections that still send their last bytes are part of what is drained. */
    if (!w->env.draining || w->told_drained || w->env.client_count || w->env.loop.closing) return;
    w->told_drained = true;
    pools_close_idle(&w->env.pools);
    mailbox_post(w->home, &w->drained);
}

static void deliver_drained(struct mail *mail, void *receiver) {
    (void)receiver;
    struct worker *w = LG_CONTAINER_OF(mail, struct worker, drained);
    w->on_drained(w);
}

static void close_acceptor(struct acceptor *a, void (*how)(struct acceptor *a)) {
    how(a);
    list_remove(&a->node);
    free(a);
}

static void close_acceptors(struct worker *w, void (*how)(struct acceptor *a)) {
    LIST_FOR (node, &w->acceptors) close_acceptor(LIST_ENTRY(node, struct acceptor, node), how);
}

static void deliver_drain(struct mail *mail, void *receiver) {
    struct worker *w = receiver;
    (void)mail;
    close_acceptors(w, acceptor_close);
    w->env.draining = true;
    clients_shutdown(&w->env);
    check_drained(w);
}

/* Another process has the listening sockets, too, and what waits there: who is connected here stays. Idle ones are not
 * closed, as a request may be on its way. */
static void deliver_hand_over(struct mail *mail, void *receiver) {
    struct worker *w = receiver;
    (void)mail;
    close_acceptors(w, acceptor_close);
    w->env.draining = true;
    check_drained(w);
}

static void deliver_resume(struct mail *mail, void *receiver) {
    struct worker *w = receiver;
    (void)mail;
    atomic_store(&w->resume_posted, false);
    LIST_FOR (node, &w->acceptors) acceptor_resume(LIST_ENTRY(node, struct acceptor, node));
}

static void deliver_stop(struct mail *mail, void *receiver) {
    struct worker *w = receiver;
    (void)mail;
    w->told_drained = true; /* nobody waits for it any more, and the worker is about to be freed */
    w->env.draining = true;
    close_acceptors(w, acceptor_abandon);
    clients_abort(&w->env);
    loop_stop(&w->env.loop);
}

static void on_gate_left(struct env *env) {
    struct worker *w = env->owner;
    w->on_gate_left(w);
}

/* --- the metrics ------------------------------------------------------------------------------------------------ */

static void deliver_collect(struct mail *mail, void *receiver) {
    struct worker *w = LG_CONTAINER_OF(mail, struct worker, collect);
    (void)receiver;
    w->on_collect(w);
}

static void on_collect(struct env *env) {
    struct worker *w = env->owner;
    if (w->collect_posted) return;
    w->collect_posted = true;
    w->collect.deliver = deliver_collect;
    mailbox_post(w->home, &w->collect);
}

static void deliver_metrics(struct mail *mail, void *receiver) {
    struct worker *w = receiver;
    struct exposition *text = w->metrics;
    (void)mail;
    w->collect_posted = false;
    exchanges_take_metrics(&w->env, text);
    exposition_unref(text);
}

void worker_give_metrics(struct worker *w, struct exposition *text) {
    w->metrics = text;
    w->collect.deliver = deliver_metrics;
    mailbox_post(&w->box, &w->collect);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void on_room(struct pools *pools) {
    attempts_feed(pools->owner);
}

static void on_all_closed(struct loop *loop) {
    struct env *env = LG_CONTAINER_OF(loop, struct env, loop);
    check_drained(env->owner);
}

static void on_client_gone(struct env *env) {
    check_drained(env->owner);
}

static void deliver_tenure_end(struct mail *mail, void *receiver) {
    struct tenure *t = LG_CONTAINER_OF(mail, struct tenure, ended);
    struct worker *w = t->owner;
    (void)receiver;
    w->on_tenure_end(w, t);
}

static void on_tenure_end(struct env *env, struct tenure *t) {
    struct worker *w = env->owner;
    t->owner = w;
    t->ended.deliver = deliver_tenure_end;
    mailbox_post(w->home, &t->ended);
}

void worker_init(struct worker *w, unsigned index, struct gate *gate, struct mailbox *home) {
    w->index = index;
    w->home = home;
    list_init(&w->acceptors);
    list_init(&w->asking);
    env_init(&w->env, gate);
    w->env.pools.owner = &w->env;
    w->env.pools.on_room = on_room;
    w->env.owner = w;
    w->env.loop.on_all_closed = on_all_closed;
    w->env.on_gate_left = on_gate_left;
    w->env.on_client_gone = on_client_gone;
    w->env.on_tenure_end = on_tenure_end;
    w->env.on_collect = on_collect;
    mailbox_init(&w->box, &w->env.loop, w);
    w->env.box = &w->box;
    w->drain.deliver = deliver_drain;
    w->hand_over.deliver = deliver_hand_over;
    w->stop.deliver = deliver_stop;
    w->resume.deliver = deliver_resume;
    w->drained.deliver = deliver_drained;
}

/* --- orders ----------------------------------------------------------------------------------------------------- */

/* The order's listener of this number, if it has one. Whoever asks goes up: listeners and acceptors are sorted by it.
 */
static const struct order_listener *order_find(const struct order *o, unsigned *place, unsigned bind) {
    while (*place < o->listener_count && o->listeners[*place].bind < bind) ++*place;
    return *place < o->listener_count && o->listeners[*place].bind == bind ? &o->listeners[*place] : NULL;
}

/* The order's are kept; what is in the queues of the others is still of the tenure before. */
static void keep_or_close(struct worker *w, const struct order *o) {
    unsigned place = 0;
    LIST_FOR (node, &w->acceptors) {
        struct acceptor *a = LIST_ENTRY(node, struct acceptor, node);
        const struct order_listener *l = order_find(o, &place, a->bind);
        if (l)
            acceptor_set(a, l->frontend, l->settings);
        else
            close_acceptor(a, acceptor_close);
    }
}

static void open_acceptor(struct worker *w, const struct order_listener *l, int fd) {
    struct acceptor *a = xcalloc(1, sizeof *a);
    acceptor_init(a, &w->env, l->frontend, fd, l->port, l->settings);
    a->bind = l->bind;
    list_push_back(&w->acceptors, &a->node);
}

/* Who drains opens nothing any more. */
static void take_up_listener(struct worker *w, const struct order *o, const struct order_listener *l) {
    for (unsigned i = w->index; l->fds && i < l->fd_count; i += o->workers) {
        if (w->env.draining)
            close(l->fds[i]);
        else
            open_acceptor(w, l, l->fds[i]);
    }
}

void worker_switch(struct worker *w, const struct order *o) {
    struct tenure *before = w->env.tenure;
    keep_or_close(w, o);
    bool was_empty = before && before->clients == 0;
    w->env.tenure = o->tenures[w->index];
    w->env.loop.spin.most = (uint16_t)w->env.tenure->snapshot->config->global.spin;
    for (unsigned i = 0; i < o->listener_count; i++) take_up_listener(w, o, &o->listeners[i]);
    w->clients_left = w->env.client_count;
    w->pools_left = w->env.pools.size;
    if (was_empty) on_tenure_end(&w->env, before);
}

bool worker_settle(struct worker *w) {
    uint32_t effort = SETTLE_EFFORT;
    return clients_move(&w->env, &w->clients_left, &effort) && pools_sweep(&w->env.pools, &w->pools_left, &effort);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof name, "worker-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    loop_run(&w->env.loop);
    log_thread_end();
    return NULL;
}

/* Signals are the control thread's business. */
bool worker_start(struct worker *w, struct error *e) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? error_set(e, "cannot start worker %u: %s", w->index, strerror(failed)) : true;
}

void worker_drain(struct worker *w) {
    mailbox_post(&w->box, &w->drain);
}

void worker_hand_over(struct worker *w) {
    mailbox_post(&w->box, &w->hand_over);
}

void worker_resume(struct worker *w) {
    if (!atomic_exchange(&w->resume_posted, true)) mailbox_post(&w->box, &w->resume);
}

void worker_stop(struct worker *w) {
    mailbox_post(&w->box, &w->stop);
    pthread_join(w->thread, NULL);
}

void worker_fini(struct worker *w) {
    w->told_drained = true;
    close_acceptors(w, acceptor_abandon);
    while (w->box.first) mailbox_deliver(&w->box); /* what waiters were granted at the last moment; unfinished orders */
    mailbox_fini(&w->box);
    env_fini(&w->env);
    free(w->env.tenure);
}
