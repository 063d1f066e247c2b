/* test_queue.c: who waits for a server: first come first served, bounded, and leaving at any time. The servers are a
 * number of free places; test_queue_stress.c has real ones and many threads. */
#include "loomgate/backend/queue.h"

#include "loomgate/backend/backend.h"

#include "../../support/loop_run.h"

enum { CLIENTS = 8 };

struct client {
    struct waiter *waiter; /* while it waits */
    unsigned turns;
    enum pick_result result;
    struct lease lease;
    bool is_picky; /* no place is good enough */
    const struct backend *backend;
};

static struct loop loop;
static struct mailbox box;
static struct slab slab;
static struct queue queue;
static struct client clients[CLIENTS];
static unsigned places;
static enum pick_result without_place;
static unsigned order[CLIENTS], served; /* who got a turn, in order */
static uint64_t asked_us;
static const struct balance_member member;

static enum pick_result pick(struct waiter *w, uint64_t now_us) {
    const struct client *c = w->owner;
    asked_us = now_us;
    w->lease = (struct lease){0};
    if (!places || c->is_picky) return without_place;
    places--;
    w->lease.member = &member;
    w->change.happened = true;
    return PICK_OK;
}

static const struct queue_events events = {.pick = pick};

static int set_up(void **state) {
    (void)state;
    loop_init(&loop);
    mailbox_init(&box, &loop, NULL);
    slab_init(&slab, sizeof(struct waiter), 4);
    queue_init(&queue, &events);
    memset(clients, 0, sizeof clients);
    places = served = 0;
    without_place = PICK_FULL;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    loop_settle(&loop);
    assert_true(queue_is_empty(&queue));
    assert_int_equal(slab.in_use, 0);
    queue_fini(&queue);
    slab_fini(&slab);
    mailbox_fini(&box);
    loop_finish(&loop);
    return 0;
}

static void on_turn(struct waiter *w, enum pick_result r) {
    struct client *c = w->owner;
    assert_ptr_equal(c->waiter, w);
    c->waiter = NULL;
    c->turns++;
    c->result = r;
    c->lease = w->lease;
    order[served++] = (unsigned)(c - clients);
}

static bool join(unsigned i, uint32_t max) {
    struct waiter *w = queue_waiter_new(&slab, &box);
    assert_ptr_equal(w->request.tried, &w->tried);
    w->owner = &clients[i];
    w->backend = clients[i].backend;
    w->on_turn = on_turn;
    clients[i].waiter = w;
    bool ok = queue_join(&queue, w, max, 1000 + i);
    if (!ok) clients[i].waiter = NULL;
    assert_int_equal(clients[i].turns, 0); /* not before it returns */
    return ok;
}

static void join_many(unsigned count) {
    for (unsigned i = 0; i < count; i++) assert_true(join(i, CLIENTS));
}

static bool leave(unsigned i) {
    struct lease lease = {0};
    struct breaker_change change = {0};
    struct waiter *w = clients[i].waiter;
    clients[i].waiter = NULL;
    bool had = queue_leave(w, 2000, &lease, &change);
    assert_ptr_equal(lease.member, had ? &member : NULL);
    assert_int_equal(change.happened, had);
    return had;
}

static void give_back(unsigned count) {
    places += count;
    queue_pump(&queue, 3000);
}

static unsigned waiting(void) {
    return atomic_load(&queue.waiting);
}

static void assert_served(unsigned count, const unsigned *who) {
    loop_settle(&loop);
    assert_int_equal(served, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(order[i], who[i]);
        assert_int_equal(clients[who[i]].turns, 1);
        assert_null(clients[who[i]].waiter);
    }
}
#define SERVED(...) assert_served(sizeof((unsigned[]){__VA_ARGS__}) / sizeof(unsigned), (const unsigned[]){__VA_ARGS__})

static void first_come_first_served(void **state) {
    (void)state;
    join_many(4);
    assert_int_equal(waiting(), 4);
    assert_served(0, NULL);
    give_back(1);
    assert_int_equal(waiting(), 3);
    assert_int_equal(asked_us, 3000);
    SERVED(0);
    give_back(2);
    SERVED(0, 1, 2);
    give_back(2);
    SERVED(0, 1, 2, 3);
    assert_int_equal(places, 1);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(clients[i].result, PICK_OK);
        assert_ptr_equal(clients[i].lease.member, &member);
    }
}

/* A place became free between its look at the servers and its joining. */
static void who_joins_looks_once_more(void **state) {
    (void)state;
    places = 1;
    assert_true(join(0, CLIENTS));
    assert_int_equal(asked_us, 1000);
    assert_int_equal(waiting(), 0);
    SERVED(0);
}

/* Nor does somebody who comes later overtake. */
static void who_joins_goes_behind(void **state) {
    (void)state;
    join_many(2);
    places = 1; /* nobody has been told of it yet */
    assert_true(join(2, CLIENTS));
    SERVED(0);
    give_back(2);
    SERVED(0, 1, 2);
}

/* The first one of a configuration may hold up those of its own, not those of another one. */
static void configurations_do_not_hold_up_each_other(void **state) {
    static struct backend configurations[2];
    (void)state;
    for (unsigned i = 0; i < 5; i++) clients[i].backend = &configurations[i >= 2];
    clients[0].is_picky = true;
    join_many(5);
    give_back(2);
    SERVED(2, 3);
    clients[0].is_picky = false;
    give_back(1);
    SERVED(2, 3, 0);
    clients[1].is_picky = clients[4].is_picky = true;
    give_back(1);
    assert_int_equal(waiting(), 2);
    clients[1].is_picky = clients[4].is_picky = false;
    give_back(2);
    SERVED(2, 3, 0, 1, 4);
    assert_int_equal(places, 1);
}

static void it_is_bounded(void **state) {
    (void)state;
    assert_false(join(0, 0));
    assert_true(join(1, 2));
    assert_true(join(2, 2));
    assert_false(join(3, 2));
    assert_int_equal(waiting(), 2);
    assert_int_equal(slab.in_use, 2);
    give_back(1);
    assert_true(join(3, 2)); /* who was granted a place does not wait any more */
    give_back(2);
    SERVED(1, 2, 3);
}

static void leaving_while_queued(void **state) {
    (void)state;
    join_many(4);
    assert_false(leave(1));
    assert_int_equal(waiting(), 3);
    assert_int_equal(slab.in_use, 3);
    assert_false(leave(3));
    give_back(4);
    SERVED(0, 2);
    assert_int_equal(places, 2);
    assert_int_equal(clients[1].turns + clients[3].turns, 0);
}

static void leaving_when_granted(void **state) {
    (void)state;
    join_many(2);
    give_back(1);
    assert_true(leave(0)); /* its mail is under way */
    assert_int_equal(slab.in_use, 2);
    give_back(1);
    SERVED(1);
    assert_int_equal(clients[0].turns, 0);
    assert_int_equal(slab.in_use, 0);
}

static void leaving_when_refused(void **state) {
    (void)state;
    join_many(1);
    without_place = PICK_OPEN;
    queue_pump(&queue, 0);
    assert_false(leave(0)); /* there is nothing to give back */
    loop_settle(&loop);
    assert_int_equal(clients[0].turns, 0);
}

/* The first wants what the others do not. */
static void leaving_lets_the_next_one_look(void **state) {
    (void)state;
    clients[0].is_picky = true;
    join_many(3);
    give_back(1);
    assert_served(0, NULL);
    assert_false(leave(0));
    assert_int_equal(asked_us, 2000);
    SERVED(1);
    give_back(1);
    SERVED(1, 2);
}

static void all_hear_that_there_is_no_server(void **state) {
    (void)state;
    join_many(3);
    without_place = PICK_OPEN;
    queue_pump(&queue, 0);
    SERVED(0, 1, 2);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(clients[i].result, PICK_OPEN);
        assert_null(clients[i].lease.member);
    }
    without_place = PICK_NONE;
    assert_true(join(3, CLIENTS));
    SERVED(0, 1, 2, 3);
    assert_int_equal(clients[3].result, PICK_NONE);
}

static void pumping_an_empty_queue(void **state) {
    (void)state;
    places = 3;
    asked_us = 0;
    queue_pump(&queue, 3000);
    assert_int_equal(asked_us, 0); /* nobody was asked for */
    assert_int_equal(places, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(first_come_first_served),
        TEST(who_joins_looks_once_more),
        TEST(who_joins_goes_behind),
        TEST(it_is_bounded),
        TEST(leaving_while_queued),
        TEST(leaving_when_granted),
        TEST(leaving_when_refused),
        TEST(leaving_lets_the_next_one_look),
        TEST(all_hear_that_there_is_no_server),
        TEST(pumping_an_empty_queue),
        TEST(configurations_do_not_hold_up_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
