/* taps.c: finished exchanges of all workers, live: each tap is a part on each worker, read here. */
#include "loomgate/runtime/taps.h"

#include "loomgate/proxy/tap.h"

#include <stdlib.h>

#include "runtime_internal.h"

struct runtime_tap {
    struct list node; /* among the runtime's */
    struct runtime *runtime;
    struct runtime_tap_options options;
    bool is_closed;
    struct tap_sampler *sampler; /* NULL: none */
    struct tap *parts[];         /* of each worker, which has it from attach() to detach() */
};

static unsigned open_count(const struct runtime *r) {
    unsigned count = 0;
    LIST_FOR (node, &r->taps) count += !LIST_ENTRY(node, struct runtime_tap, node)->is_closed;
    return count;
}

static struct tap_sampler *sampler_new(uint32_t per_second) {
    if (!per_second) return NULL;
    struct tap_sampler *s = aligned_alloc(LG_CACHE_LINE, sizeof *s);
    LG_ASSERT(s != NULL);
    tap_sampler_init(s, per_second);
    return s;
}

static void tap_gone(struct runtime_tap *t) {
    list_remove(&t->node);
    for (unsigned i = 0; i < t->runtime->worker_count; i++) tap_free(t->parts[i]);
    free(t->sampler);
    record_filter_free(t->options.filter);
    free(t);
}

void runtime_taps_fini(struct runtime *r) {
    LIST_FOR (node, &r->taps) tap_gone(LIST_ENTRY(node, struct runtime_tap, node));
}

/* --- the bell --------------------------------------------------------------------------------------------------- */

/* Whoever is told may close any tap: it stays in the list until its workers have let go of it. */
static bool on_line(void *owner, struct slice line) {
    struct runtime_tap *t = owner;
    t->options.on_line(t->options.owner, line);
    return !t->is_closed;
}

static void deliver_bell(struct mail *bell, void *receiver) {
    struct runtime *r = receiver;
    const struct env *env = LG_CONTAINER_OF(taps_hear(bell), struct env, taps);
    const struct worker *w = env->owner;
    LIST_FOR (node, &r->taps) {
        struct runtime_tap *t = LIST_ENTRY(node, struct runtime_tap, node);
        if (!t->is_closed) tap_read(t->parts[w->index], on_line, t);
    }
}

/* --- opening and closing ---------------------------------------------------------------------------------------- */

static void attach(struct env *env, unsigned worker, void *arg) {
    struct runtime_tap *t = arg;
    taps_attach(&env->taps, t->parts[worker], &t->runtime->box, deliver_bell);
}

static void detach(struct env *env, unsigned worker, void *arg) {
    struct runtime_tap *t = arg;
    (void)env;
    taps_detach(t->parts[worker]);
}

/* Comes before on_detached: mail between two threads keeps its order. */
static void on_attached(void *arg) {
    struct runtime_tap *t = arg;
    if (!t->is_closed && t->options.on_open) t->options.on_open(t->options.owner);
}

/* Bells that its records rang have come before. */
static void on_detached(void *arg) {
    tap_gone(arg);
}

struct runtime_tap *runtime_tap_open(struct runtime *r, const struct runtime_tap_options *options) {
    if (open_count(r) == RUNTIME_TAPS_MAX) {
        record_filter_free(options->filter);
        return NULL;
    }
    struct runtime_tap *t = xcalloc(1, sizeof *t + r->worker_count * sizeof t->parts[0]);
    t->runtime = r;
    t->options = *options;
    t->sampler = sampler_new(options->sample_per_s);
    for (unsigned i = 0; i < r->worker_count; i++) t->parts[i] = tap_new(options->filter, t->sampler);
    list_push_back(&r->taps, &t->node);
    runtime_broadcast(r, attach, on_attached, t);
    return t;
}

void runtime_tap_close(struct runtime_tap *t) {
    LG_ASSERT(!t->is_closed);
    t->is_closed = true;
    runtime_broadcast(t->runtime, detach, on_detached, t);
}

uint64_t runtime_tap_dropped(const struct runtime_tap *t) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < t->runtime->worker_count; i++) sum += tap_dropped(t->parts[i]);
    return sum;
}
