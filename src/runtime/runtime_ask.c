/* runtime_ask.c: what whoever commands the process may ask of it; work that every worker does a part of. */
#include "runtime_internal.h"

#include "loomgate/base/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct loop *runtime_loop(struct runtime *r) {
    return &r->loop;
}

enum runtime_state runtime_state(const struct runtime *r) {
    return r->state;
}

struct snapshot *runtime_snapshot(const struct runtime *r) {
    return r->snapshot;
}

struct registry *runtime_registry(struct runtime *r) {
    return &r->registry;
}

const struct gate *runtime_gate(const struct runtime *r) {
    return &r->gate;
}

unsigned runtime_worker_count(const struct runtime *r) {
    return r->worker_count;
}

const struct metrics *runtime_worker_metrics(const struct runtime *r, unsigned worker) {
    LG_ASSERT(worker < r->worker_count);
    return &r->workers[worker]->env.metrics;
}

uint64_t runtime_metric(const struct runtime *r, enum metric m) {
    uint64_t sum = atomic_load_explicit(&r->metrics.v[m], memory_order_relaxed);
    for (unsigned i = 0; i < r->worker_count; i++)
        sum += atomic_load_explicit(&r->workers[i]->env.metrics.v[m], memory_order_relaxed);
    return sum;
}

uint64_t runtime_start_us(const struct runtime *r) {
    return r->start_us;
}

int runtime_inherit(struct runtime *r, const struct addr *a, bool *is_lent) {
    return listen_fds_take(&r->inherited, a, false, is_lent);
}

bool runtime_is_alone(const struct runtime *r) {
    return r->is_alone;
}

uint64_t runtime_resident_bytes(void) {
    unsigned long long total, resident;
    FILE *f = fopen("/proc/self/statm", "re");
    bool ok = f && fscanf(f, "%llu %llu", &total, &resident) == 2; /* NOLINT(cert-err34-c): the kernel's digits */
    if (f) fclose(f);
    return ok ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

unsigned runtime_snapshots_alive(const struct runtime *r) {
    unsigned count = 0;
    LIST_FOR (node, &r->snapshots) count++;
    return count;
}

void runtime_reopen_logs(void) {
    log_reopen();
    event_info("logs_reopened", NULL);
}

/* --- broadcasts ------------------------------------------------------------------------------------------------- */

/* One worker's part: the letter goes out, is read there, again and again if that is to be, and comes back. */
struct letter {
    struct mail mail;
    struct broadcast *broadcast;
    uint64_t at; /* how far it has come */
};

struct broadcast {
    void (*run)(struct env *env, unsigned worker, void *arg); /* or: */
    bool (*step)(struct env *env, unsigned worker, uint64_t *at, void *arg);
    void (*done)(void *arg);
    void *arg;
    unsigned left; /* letters that have not come back; the control thread's */
    struct letter letters[];
};

static void deliver_back(struct mail *mail, void *receiver) {
    struct broadcast *b = LG_CONTAINER_OF(mail, struct letter, mail)->broadcast;
    (void)receiver;
    if (--b->left) return;
    b->done(b->arg);
    free(b);
}

static void deliver_out(struct mail *mail, void *receiver) {
    struct worker *w = receiver;
    struct letter *letter = LG_CONTAINER_OF(mail, struct letter, mail);
    const struct broadcast *b = letter->broadcast;
    bool is_done = true;
    if (b->run)
        b->run(&w->env, w->index, b->arg);
    else
        is_done = b->step(&w->env, w->index, &letter->at, b->arg);
    if (is_done) mail->deliver = deliver_back;
    mailbox_post(is_done ? w->home : &w->box, mail);
}

static void broadcast(struct runtime *r, const struct broadcast *what) {
    struct broadcast *b = xcalloc(1, sizeof *b + r->worker_count * sizeof b->letters[0]);
    *b = *what;
    b->left = r->worker_count;
    for (unsigned i = 0; i < r->worker_count; i++) {
        b->letters[i] = (struct letter){{NULL, deliver_out}, b, 0};
        mailbox_post(&r->workers[i]->box, &b->letters[i].mail);
    }
}

void runtime_broadcast(struct runtime *r, void (*run)(struct env *env, unsigned worker, void *arg),
                       void (*done)(void *arg), void *arg) {
    broadcast(r, &(struct broadcast){.run = run, .done = done, .arg = arg});
}

void runtime_broadcast_steps(struct runtime *r, bool (*step)(struct env *env, unsigned worker, uint64_t *at, void *arg),
                             void (*done)(void *arg), void *arg) {
    broadcast(r, &(struct broadcast){.step = step, .done = done, .arg = arg});
}
