/* test_queue_stress.c: many workers with loops of their own, a few servers with few places, thousands of exchanges that
 * wait, get their turn, use a server, give it back or leave: no server ever has too many, nobody is forgotten or
 * overtaken, and nothing is left over. */
#include "loomgate/backend/backend.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"
#include "../../support/loop_run.h"
#include "../../support/random.h"

#include <string.h>

enum { WORKERS = 4, CLIENTS = 12, SERVERS = 3, QUEUE_MAX = 40, PATIENCE_US = 40000000 };

enum client_state { IDLE, WAITS, USES };

struct client {
    struct worker *worker;
    enum client_state state;
    struct waiter *waiter;
    struct lease lease;
    uint64_t number;                    /* of its join among those of its worker */
    _Atomic uint64_t began, has_joined; /* by the clock of all joins; has_joined: 0 while it joins */
};

struct worker {
    pthread_t thread, self; /* the same, as it sees it */
    struct loop loop;
    struct mailbox box;
    struct slab waiters;
    struct random dice;
    struct client clients[CLIENTS];
    unsigned used, left, left_with_place, refused, waited, opened; /* exchanges */
    uint64_t joins, last_turn;
    uint64_t progress_us; /* when something happened last */
};

/* How they behave. */
static struct plan {
    unsigned rounds;   /* exchanges that each worker is to serve */
    unsigned leave_in; /* who waits leaves once in so many looks; 0: never */
    unsigned fail_in;  /* an exchange fails once in so many; 0: never */
} plan;

static struct registry registry;
static struct config *config;
static struct backend_settings *settings;
static struct backend backend;
static struct worker workers[WORKERS];
static _Atomic unsigned inside[SERVERS], finished;
static _Atomic uint64_t joins_clock;
static uint64_t latest_begin; /* of those who got a turn; under the queue's lock */
static const struct queue_events *real_events;

/* In other threads than the test's own a failed assertion of cmocka has nowhere to go. */
#define CHECK LG_ASSERT

/* Who had joined before another one began to goes first. */
static enum pick_result pick_in_order(struct waiter *w, uint64_t now_us) {
    struct client *c = w->owner;
    enum pick_result r = real_events->pick(w, now_us);
    if (r == PICK_FULL) return r;
    uint64_t has_joined = atomic_load(&c->has_joined), began = atomic_load(&c->began);
    CHECK(!has_joined || has_joined > latest_begin);
    if (began > latest_begin) latest_begin = began;
    return r;
}

static const struct queue_events checking_events = {.pick = pick_in_order};

/* --- an exchange ------------------------------------------------------------------------------------------------ */

static size_t place_of(const struct lease *lease) {
    return (size_t)(lease->member - backend.members);
}

static void use(struct client *c, const struct lease *lease) {
    size_t i = place_of(lease);
    c->lease = *lease;
    c->state = USES;
    CHECK(atomic_fetch_add(&inside[i], 1) < lease->member->settings->max_connections);
}

static void give_back(struct client *c, enum breaker_result result) {
    struct breaker_change change;
    size_t i = place_of(&c->lease);
    atomic_fetch_sub(&inside[i], 1);
    backend_release(&backend, &c->lease, result, c->worker->loop.now_us, &change);
    CHECK(!c->lease.member);
    c->state = IDLE;
}

static void finish(struct client *c) {
    struct worker *w = c->worker;
    bool fails = plan.fail_in && random_once_in(&w->dice, plan.fail_in);
    give_back(c, fails ? BREAKER_FAILED : BREAKER_SUCCEEDED);
    w->used++;
}

static void on_turn(struct waiter *waiter, enum pick_result r) {
    struct client *c = waiter->owner;
    struct worker *w = c->worker;
    CHECK(pthread_equal(pthread_self(), w->self) && c->state == WAITS && c->waiter == waiter);
    CHECK(c->number > w->last_turn); /* of one worker, too, nobody is overtaken */
    w->last_turn = c->number;
    w->progress_us = w->loop.now_us;
    c->waiter = NULL;
    c->state = IDLE;
    w->waited++;
    if (r == PICK_OK)
        use(c, &waiter->lease);
    else
        w->opened++;
}

static void wait_for_turn(struct client *c) {
    struct worker *w = c->worker;
    struct waiter *waiter = queue_waiter_new(&w->waiters, &w->box);
    waiter->backend = &backend;
    waiter->owner = c;
    waiter->on_turn = on_turn;
    waiter->request.random = random_next(&w->dice);
    c->waiter = waiter;
    c->state = WAITS;
    c->number = ++w->joins;
    atomic_store(&c->has_joined, 0);
    atomic_store(&c->began, atomic_fetch_add(&joins_clock, 1) + 1);
    if (queue_join(&backend.group->queue, waiter, QUEUE_MAX, w->loop.now_us)) {
        atomic_store(&c->has_joined, atomic_fetch_add(&joins_clock, 1) + 1);
        return;
    }
    c->waiter = NULL;
    c->state = IDLE;
    w->refused++;
}

static void begin(struct client *c) {
    struct worker *w = c->worker;
    struct lease lease;
    struct breaker_change change;
    struct pick_request r = {.now_us = w->loop.now_us, .random = random_next(&w->dice)};
    enum pick_result result =
        queue_is_empty(&backend.group->queue) ? backend_acquire(&backend, &r, &lease, &change) : PICK_FULL;
    if (result == PICK_OK)
        use(c, &lease);
    else if (result == PICK_FULL)
        wait_for_turn(c);
    else
        w->opened++;
}

static void leave(struct client *c) {
    struct worker *w = c->worker;
    struct lease lease;
    struct breaker_change change;
    struct waiter *waiter = c->waiter;
    c->waiter = NULL;
    c->state = IDLE;
    w->left++;
    if (!queue_leave(waiter, w->loop.now_us, &lease, &change)) return;
    w->left_with_place++;
    use(c, &lease);
    give_back(c, BREAKER_UNKNOWN);
}

/* --- a worker --------------------------------------------------------------------------------------------------- */

static unsigned count_of(const struct worker *w, enum client_state state) {
    unsigned n = 0;
    for (unsigned i = 0; i < CLIENTS; i++) n += w->clients[i].state == state;
    return n;
}

static void act(struct worker *w) {
    struct client *c = &w->clients[random_below(&w->dice, CLIENTS)];
    if (c->state == WAITS && (!plan.leave_in || !random_once_in(&w->dice, plan.leave_in))) return;
    w->progress_us = w->loop.now_us;
    if (c->state == IDLE)
        begin(c);
    else if (c->state == WAITS)
        leave(c);
    else
        finish(c);
}

/* No new ones; who waits goes on waiting. */
static void wind_up(struct worker *w) {
    for (unsigned i = 0; i < CLIENTS; i++)
        if (w->clients[i].state == USES) finish(&w->clients[i]);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    w->self = pthread_self();
    w->progress_us = loop_clock_us();
    while (w->used < plan.rounds || count_of(w, IDLE) < CLIENTS) {
        if (w->used < plan.rounds)
            for (unsigned i = random_below(&w->dice, CLIENTS); i-- > 0;) act(w);
        else
            wind_up(w);
        if (count_of(w, USES))
            loop_turns(&w->loop, 1);
        else
            loop_step(&w->loop, 0);                           /* until mail comes, but not long */
        CHECK(w->loop.now_us < w->progress_us + PATIENCE_US); /* else somebody was forgotten */
    }
    atomic_fetch_add(&finished, 1);
    return NULL;
}

static void add_server(const char *name, uint32_t max) {
    struct addr at = addr_make_ip("192.0.2.1", 80);
    config_add_server(config, settings, name, &at)->max_connections = max;
}

static int set_up(void **state) {
    (void)state;
    registry_init(&registry);
    config = config_make();
    settings = config_add_backend(config, "app");
    add_server("s1", 1);
    memset(workers, 0, sizeof workers);
    for (unsigned i = 0; i < SERVERS; i++) atomic_store(&inside[i], 0);
    atomic_store(&finished, 0);
    atomic_store(&joins_clock, 0);
    latest_begin = 0;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    backend_fini(&backend, &registry);
    registry_fini(&registry);
    config_free(config);
    return 0;
}

static void start(struct worker *w, unsigned i) {
    loop_init(&w->loop);
    mailbox_init(&w->box, &w->loop, w);
    slab_init(&w->waiters, sizeof(struct waiter), 8);
    w->dice.state = i + 1;
    for (unsigned k = 0; k < CLIENTS; k++) w->clients[k].worker = w;
}

static void stop(struct worker *w) {
    loop_turns(&w->loop, 2); /* mail to those who left at the end */
    assert_int_equal(w->waiters.in_use, 0);
    slab_fini(&w->waiters);
    mailbox_fini(&w->box);
    loop_finish(&w->loop);
}

/* As the control thread does: for what only time changes. */
static void pump_until_all_have_finished(void) {
    struct loop loop;
    loop_init(&loop);
    while (atomic_load(&finished) < WORKERS) {
        loop_step(&loop, 0);
        queue_pump(&backend.group->queue, loop.now_us);
    }
    loop_finish(&loop);
}

static void run(bool pump) {
    struct error e;
    if (!backend_init(&backend, settings, &registry, &e)) fail_msg("%s", e.text);
    real_events = backend.group->queue.events;
    backend.group->queue.events = &checking_events;
    for (unsigned i = 0; i < WORKERS; i++) start(&workers[i], i);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    if (pump) pump_until_all_have_finished();
    for (unsigned i = 0; i < WORKERS; i++) pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < WORKERS; i++) stop(&workers[i]);
    assert_true(queue_is_empty(&backend.group->queue));
    for (unsigned i = 0; i < backend.member_count; i++) {
        assert_int_equal(server_active(backend.members[i].server), 0);
        assert_int_equal(atomic_load(&inside[i]), 0);
    }
}

static struct worker sum(void) {
    struct worker all = {0};
    for (unsigned i = 0; i < WORKERS; i++) {
        all.used += workers[i].used;
        all.left += workers[i].left;
        all.waited += workers[i].waited;
        all.opened += workers[i].opened;
        all.refused += workers[i].refused;
    }
    return all;
}

/* Nobody leaves and nobody pumps but those who give a place back: if a single one were forgotten, the end would never
 * come. */
static void one_place_for_all(void **state) {
    (void)state;
    plan = (struct plan){.rounds = 5000};
    run(false);
    assert_int_equal(sum().opened, 0);
}

static void nobody_is_forgotten(void **state) {
    (void)state;
    plan = (struct plan){.rounds = 5000};
    add_server("s2", 2);
    add_server("s3", 3);
    run(false);
    struct worker all = sum();
    assert_true(all.used >= WORKERS * plan.rounds && all.waited > 0);
    assert_int_equal(all.opened, 0); /* there always is a server: full or not */
}

static void who_leaves_takes_nothing_along(void **state) {
    (void)state;
    plan = (struct plan){.rounds = 5000, .leave_in = 3};
    settings->balance.kind = BALANCE_LEAST_REQUESTS;
    add_server("s2", 2);
    run(false);
    struct worker all = sum();
    assert_true(all.used >= WORKERS * plan.rounds && all.left > 0);
    assert_int_equal(all.opened, 0);
}

/* The breakers open and half-open all the time. */
static void breakers_and_queue_together(void **state) {
    (void)state;
    plan = (struct plan){.rounds = 1000, .leave_in = 50, .fail_in = 2};
    settings->balance.kind = BALANCE_RANDOM_TWO;
    add_server("s2", 2);
    add_server("s3", 3);
    settings->breaker = (struct breaker_settings){.on = true,
                                                  .error_rate = 0.3,
                                                  .window_us = 10000000,
                                                  .open_us = 1000,
                                                  .max_open_us = 4000,
                                                  .min_requests = 20,
                                                  .probes = 2,
                                                  .ramp_us = 10000};
    run(true);
    assert_true(sum().used >= WORKERS * plan.rounds);
    unsigned trips = 0;
    for (unsigned i = 0; i < backend.member_count; i++)
        trips += atomic_load(&backend.members[i].server->shared.breaker.trips);
    assert_true(trips > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_place_for_all),
        TEST(nobody_is_forgotten),
        TEST(who_leaves_takes_nothing_along),
        TEST(breakers_and_queue_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
