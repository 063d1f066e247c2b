/* scrape.c: the metrics for workers whose clients ask: written on the control thread, whose they are, in portions.
 *
 *   worker asks -+- a text of a moment ago is there --> it is given that
 *                +- one is being written -----------> it waits for it
 *                +- else: a draft begins, goes on a portion each turn, is given to all who wait, and kept a moment
 *
 * So many who ask at once cost one text, and a long one holds up nothing else. */

#include "runtime_internal.h"

#include <sys/resource.h>
#include <time.h>

/* PORTION: how long the control thread is held up; looked at after each STRIDE steps, a few microseconds each. */
enum { KEEP_US = 250000, PORTION_US = 500, STRIDE = 8 };

static uint64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- facts ------------------------------------------------------------------------------------------------------ */

static uint64_t us_of(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static uint64_t cpu_us(void) {
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? us_of(u.ru_utime) + us_of(u.ru_stime) : 0;
}

/* Once: the wall clock may be set later. */
static uint64_t start_unix_us(struct runtime *r) {
    struct scrapes *s = &r->scrapes;
    if (!s->start_unix_us) s->start_unix_us = r->loop.unix_us - (r->loop.now_us - r->start_us);
    return s->start_unix_us;
}

static void take_facts(struct runtime *r, struct metrics_facts *facts) {
    *facts = (struct metrics_facts){
        .now_us = r->loop.now_us,
        .start_unix_us = start_unix_us(r),
        .cpu_us = cpu_us(),
        .resident_bytes = runtime_resident_bytes(),
        .log_lost = log_lost(),
        .workers = r->worker_count,
        .reloads = r->snapshot->number,
        .connections_limit = gate_limit(&r->gate),
        .configurations = runtime_snapshots_alive(r),
        .memory = telemetry_memory(&r->registry.telemetry),
    };
    for (unsigned m = 0; m < METRIC_COUNT; m++) facts->counters[m] = runtime_metric(r, (enum metric)m);
}

/* --- the draft -------------------------------------------------------------------------------------------------- */

static void give_to_all(struct scrapes *s) {
    struct list *node;
    while ((node = list_first(&s->waiting))) {
        list_remove(node);
        exposition_ref(s->text);
        worker_give_metrics(LIST_ENTRY(node, struct worker, asking), s->text);
    }
}

static void finish_draft(struct runtime *r) {
    struct scrapes *s = &r->scrapes;
    s->text = s->draft;
    s->draft = NULL;
    reload_release(r, s->snapshot);
    give_to_all(s);
    deadline_set(&r->loop, &s->stale, KEEP_US);
}

static void go_on(struct runtime *r) {
    uint64_t until_us = clock_us() + PORTION_US;
    bool more = true;
    do
        for (unsigned i = 0; more && i < STRIDE; i++) more = metrics_page_write(&r->scrapes.page);
    while (more && clock_us() < until_us);
    if (more)
        loop_next_turn(&r->loop, &r->scrapes.go_on);
    else
        finish_draft(r);
}

static void on_next_turn(struct task *task) {
    go_on(LG_CONTAINER_OF(task, struct runtime, scrapes.go_on));
}

static void begin_draft(struct runtime *r) {
    struct scrapes *s = &r->scrapes;
    struct metrics_facts facts;
    take_facts(r, &facts);
    s->draft = exposition_new();
    s->snapshot = r->snapshot;
    snapshot_ref(s->snapshot);
    metrics_page_init(&s->page, s->draft, s->snapshot, &r->registry.telemetry, &facts);
    go_on(r);
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static void on_stale(struct deadline *d) {
    struct scrapes *s = LG_CONTAINER_OF(d, struct scrapes, stale);
    exposition_unref(s->text);
    s->text = NULL;
}

void scrapes_init(struct runtime *r) {
    struct scrapes *s = &r->scrapes;
    list_init(&s->waiting);
    task_init(&s->go_on, on_next_turn);
    deadline_init(&s->stale, on_stale);
}

void scrapes_fini(struct runtime *r) {
    struct scrapes *s = &r->scrapes;
    task_cancel(&s->go_on);
    deadline_cancel(&s->stale);
    exposition_unref(s->text);
    if (s->draft) reload_release(r, s->snapshot);
    exposition_unref(s->draft);
    s->text = s->draft = NULL;
}

void scrapes_ask(struct worker *w) {
    struct runtime *r = w->owner;
    struct scrapes *s = &r->scrapes;
    if (r->state == RUNTIME_STOPPED) return; /* and so is the worker: nobody waits there any more */
    list_push_back(&s->waiting, &w->asking);
    if (s->text)
        give_to_all(s);
    else if (!s->draft)
        begin_draft(r);
}
