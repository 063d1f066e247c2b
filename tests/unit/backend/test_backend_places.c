/* test_backend_places.c: places at the servers of a backend: who gets one, who waits, who is refused and why; what the
 * breakers are told; what backends of one name share. */
#include "loomgate/backend/backend.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"
#include "../../support/loop_run.h"

#define SECOND 1000000ULL
#define NOW    (777 * SECOND)

static struct registry registry;
static struct config *config;
static struct backend_settings *settings;
static struct backend backend;

static int set_up(void **state) {
    (void)state;
    registry_init(&registry);
    config = config_make();
    settings = config_add_backend(config, "app");
    backend = (struct backend){0};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    backend_fini(&backend, &registry);
    registry_fini(&registry);
    config_free(config);
    return 0;
}

static struct server_settings *add(const char *name, uint16_t port) {
    struct addr at = addr_make_ip("192.0.2.1", port);
    return config_add_server(config, settings, name, &at);
}

static void init(void) {
    struct error e;
    if (!backend_init(&backend, settings, &registry, &e)) fail_msg("%s", e.text);
}

static struct breaker_change change;

static enum pick_result acquire_but(struct lease *lease, const struct tried *tried, uint64_t now_us) {
    enum pick_result r =
        backend_acquire(&backend, &(struct pick_request){.tried = tried, .now_us = now_us}, lease, &change);
    assert_int_equal(r == PICK_OK, lease->member != NULL);
    return r;
}

static enum pick_result acquire(struct lease *lease) {
    return acquire_but(lease, NULL, NOW);
}

static void assert_gets(const char *name, const struct tried *tried) {
    struct lease lease;
    assert_int_equal(acquire_but(&lease, tried, NOW), PICK_OK);
    assert_string_equal(lease.member->server->name, name);
    backend_release(&backend, &lease, BREAKER_UNKNOWN, NOW, &change);
}

static void assert_gets_none(enum pick_result why) {
    struct lease lease;
    assert_int_equal(acquire(&lease), why);
}

static void release(struct lease *lease, enum breaker_result result) {
    backend_release(&backend, lease, result, NOW, &change);
    assert_null(lease->member);
}

static struct server *server_of(const char *name) {
    for (uint32_t i = 0; i < backend.member_count; i++)
        if (!strcmp(backend.members[i].server->name, name)) return backend.members[i].server;
    for (uint32_t i = 0; i < backend.backup_count; i++)
        if (!strcmp(backend.backups[i].server->name, name)) return backend.backups[i].server;
    fail_msg("there is no %s", name);
    return NULL;
}

static uint32_t load(const char *name) {
    return server_active(server_of(name));
}

static void use_breaker(void) {
    settings->breaker = (struct breaker_settings){.on = true,
                                                  .error_rate = 0.5,
                                                  .window_us = 10 * SECOND,
                                                  .open_us = 5 * SECOND,
                                                  .max_open_us = 60 * SECOND,
                                                  .ramp_us = 10 * SECOND,
                                                  .min_requests = 4,
                                                  .probes = 2};
}

static void open_breaker(const char *name, uint64_t us) {
    breaker_trip(&server_of(name)->shared.breaker, NOW, us, &change);
}

static void assert_window(const char *name, uint32_t requests, uint32_t errors) {
    uint32_t r, e;
    breaker_window_read(&server_of(name)->shared.window, &settings->breaker, NOW, &r, &e);
    assert_int_equal(r, requests);
    assert_int_equal(e, errors);
}

static void a_lease_is_a_place(void **state) {
    (void)state;
    struct lease a, b, c;
    add("s1", 1)->max_connections = 1;
    add("s2", 2)->max_connections = 1;
    init();
    assert_int_equal(acquire(&a), PICK_OK);
    assert_int_equal(acquire(&b), PICK_OK);
    assert_ptr_not_equal(a.member, b.member);
    assert_int_equal(load("s1") + load("s2"), 2);
    assert_int_equal(acquire(&c), PICK_FULL);
    const struct balance_member *m = a.member;
    release(&a, BREAKER_SUCCEEDED);
    assert_int_equal(acquire(&c), PICK_OK);
    assert_ptr_equal(c.member, m);
    release(&b, BREAKER_UNKNOWN);
    release(&c, BREAKER_FAILED);
    assert_int_equal(load("s1") + load("s2"), 0);
}

static void one_who_is_busy_does_not_call_for_backups(void **state) {
    (void)state;
    struct lease lease;
    add("s1", 1)->max_connections = 1;
    add("b1", 2)->backup = true;
    init();
    assert_int_equal(acquire(&lease), PICK_OK);
    assert_gets_none(PICK_FULL);
    assert_int_equal(load("b1"), 0);
    struct tried tried = {.v = {server_of("s1")}, .count = 1};
    assert_gets("b1", &tried); /* it is of no use to who met it already */
    atomic_store(&server_of("s1")->shared.health, SERVER_DOWN);
    assert_gets("b1", NULL);
    atomic_store(&server_of("s1")->shared.health, SERVER_UP);
    release(&lease, BREAKER_UNKNOWN);
    assert_gets("s1", NULL);
}

static void busy_backups_are_waited_for(void **state) {
    (void)state;
    struct lease lease;
    add("s1", 1)->maint = true;
    struct server_settings *b1 = add("b1", 2);
    b1->backup = true;
    b1->max_connections = 1;
    init();
    assert_int_equal(acquire(&lease), PICK_OK);
    assert_gets_none(PICK_FULL);
    release(&lease, BREAKER_UNKNOWN);
}

static void open_breakers_of_all(void **state) {
    (void)state;
    struct lease lease;
    use_breaker();
    add("s1", 1);
    add("s2", 2)->max_connections = 1;
    add("b1", 3)->backup = true;
    init();
    open_breaker("s1", 5 * SECOND);
    assert_gets("s2", NULL);
    assert_int_equal(acquire(&lease), PICK_OK);
    assert_gets_none(PICK_FULL); /* one of them can be waited for */
    release(&lease, BREAKER_UNKNOWN);
    open_breaker("s2", 3 * SECOND);
    assert_gets("b1", NULL);
    open_breaker("b1", 4 * SECOND);
    assert_gets_none(PICK_OPEN);
    assert_int_equal(backend_wait_us(&backend, NOW), 3 * SECOND);
    assert_int_equal(backend_wait_us(&backend, NOW + SECOND), 2 * SECOND);
    assert_int_equal(load("s1") + load("s2") + load("b1"), 0);
    assert_int_equal(acquire_but(&lease, NULL, NOW + 3 * SECOND), PICK_OK); /* a probe */
    assert_string_equal(lease.member->server->name, "s2");
    assert_true(change.happened && change.to == BREAKER_HALF_OPEN);
    release(&lease, BREAKER_UNKNOWN);
}

static void nobody_is_open_or_busy(void **state) {
    (void)state;
    use_breaker();
    add("s1", 1)->maint = true;
    add("s2", 2)->weight = 0;
    add("s3", 3);
    init();
    open_breaker("s1", SECOND);
    atomic_store(&server_of("s3")->shared.health, SERVER_DOWN);
    assert_gets_none(PICK_NONE);
    assert_int_equal(backend_wait_us(&backend, NOW), 0);
    atomic_store(&server_of("s3")->shared.health, SERVER_UP);
    open_breaker("s3", 2 * SECOND);
    assert_gets_none(PICK_OPEN);
    assert_int_equal(backend_wait_us(&backend, NOW), 2 * SECOND); /* s1 would not be picked even then */
}

static void no_more_probes_than_the_breaker_wants(void **state) {
    (void)state;
    struct lease a, b;
    use_breaker();
    add("s1", 1);
    init();
    open_breaker("s1", 5 * SECOND);
    breaker_trip(&server_of("s1")->shared.breaker, NOW - 10 * SECOND, 5 * SECOND, &change);
    assert_int_equal(acquire(&a), PICK_OK);
    assert_int_equal(acquire(&b), PICK_OK);
    assert_gets_none(PICK_OPEN);
    assert_int_equal(load("s1"), 2);
    assert_int_equal(backend_wait_us(&backend, NOW), 1); /* at any moment */
    release(&a, BREAKER_UNKNOWN);
    assert_gets("s1", NULL);
    release(&b, BREAKER_UNKNOWN);
}

static void observed_breakers_keep_nobody_out(void **state) {
    (void)state;
    use_breaker();
    settings->breaker.observe = true;
    add("s1", 1);
    init();
    open_breaker("s1", 5 * SECOND);
    assert_gets("s1", NULL);
    assert_int_equal(backend_wait_us(&backend, NOW), 0);
}

/* Another server each time; when all have been met, any but the last; when there is no other, that one. */
static void all_have_been_tried(void **state) {
    (void)state;
    add("s1", 1);
    add("s2", 2);
    add("s3", 3);
    init();
    struct tried tried = {.v = {server_of("s1"), server_of("s3")}, .count = 2};
    assert_gets("s2", &tried);
    tried.v[tried.count++] = server_of("s2");
    for (unsigned i = 0; i < 10; i++) {
        struct lease lease;
        assert_int_equal(acquire_but(&lease, &tried, NOW), PICK_OK);
        assert_string_not_equal(lease.member->server->name, "s2");
        release(&lease, BREAKER_UNKNOWN);
    }
    atomic_store(&server_of("s1")->shared.admin, SERVER_DRAIN);
    assert_gets("s3", &tried);
    atomic_store(&server_of("s3")->shared.admin, SERVER_MAINT);
    assert_gets("s2", &tried);
    atomic_store(&server_of("s2")->shared.admin, SERVER_MAINT);
    struct lease lease;
    assert_int_equal(acquire_but(&lease, &tried, NOW), PICK_NONE);
}

static void the_same_server_once_more(void **state) {
    (void)state;
    struct lease lease, again;
    use_breaker();
    add("s1", 1)->max_connections = 1;
    init();
    assert_int_equal(acquire(&lease), PICK_OK);
    const struct balance_member *m = lease.member;
    assert_false(backend_reacquire(m, NOW, &again, &change));
    assert_null(again.member);
    release(&lease, BREAKER_UNKNOWN);
    assert_true(backend_reacquire(m, NOW, &again, &change));
    assert_int_equal(load("s1"), 1);
    release(&again, BREAKER_UNKNOWN);
    open_breaker("s1", SECOND);
    assert_false(backend_reacquire(m, NOW, &again, &change));
    assert_int_equal(load("s1"), 0);
}

/* --- what the breaker is told ----------------------------------------------------------------------------------- */

static void an_exchange_counts_once(void **state) {
    (void)state;
    struct lease lease;
    use_breaker();
    settings->breaker.min_requests = 100;
    add("s1", 1);
    init();
    assert_int_equal(acquire(&lease), PICK_OK);
    backend_report(&backend, &lease, BREAKER_FAILED, NOW, &change);
    assert_window("s1", 1, 1);
    release(&lease, BREAKER_FAILED); /* a 500 that was cut, too */
    assert_window("s1", 1, 1);
    assert_int_equal(acquire(&lease), PICK_OK);
    backend_report(&backend, &lease, BREAKER_SUCCEEDED, NOW, &change);
    release(&lease, BREAKER_SUCCEEDED);
    assert_window("s1", 2, 1);
    assert_int_equal(acquire(&lease), PICK_OK);
    backend_report(&backend, &lease, BREAKER_SUCCEEDED, NOW, &change);
    release(&lease, BREAKER_UNKNOWN); /* the client left */
    assert_window("s1", 3, 1);
    assert_int_equal(acquire(&lease), PICK_OK);
    backend_report(&backend, &lease, BREAKER_SUCCEEDED, NOW, &change);
    release(&lease, BREAKER_FAILED); /* cut in the middle */
    assert_window("s1", 4, 2);
    assert_int_equal(acquire(&lease), PICK_OK);
    release(&lease, BREAKER_UNKNOWN);
    assert_window("s1", 4, 2);
}

static void failures_open_and_probes_close(void **state) {
    (void)state;
    struct lease lease;
    use_breaker();
    add("s1", 1);
    init();
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(acquire(&lease), PICK_OK);
        release(&lease, BREAKER_FAILED);
    }
    assert_true(change.happened && change.to == BREAKER_OPEN);
    assert_int_equal(change.requests, 4);
    assert_gets_none(PICK_OPEN);
    uint64_t later = NOW + 5 * SECOND;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(acquire_but(&lease, NULL, later), PICK_OK);
        assert_true(lease.ticket.is_probe);
        assert_int_equal(server_share(server_of("s1"), later), SHARE_ONE);
        backend_report(&backend, &lease, BREAKER_SUCCEEDED, later, &change);
        if (i) assert_true(change.happened && change.to == BREAKER_CLOSED);
        backend_release(&backend, &lease, BREAKER_SUCCEEDED, later, &change);
        assert_false(change.happened);
    }
    assert_true(server_share(server_of("s1"), later) < SHARE_ONE / 4); /* its share ramps */
    assert_int_equal(server_share(server_of("s1"), later + 10 * SECOND), SHARE_ONE);
}

/* --- those who wait --------------------------------------------------------------------------------------------- */

static struct loop loop;
static struct mailbox box;
static struct slab waiters;
static struct lease turn;
static unsigned turns;

static void on_turn(struct waiter *w, enum pick_result r) {
    assert_int_equal(r, PICK_OK);
    turn = w->lease;
    turns++;
}

static void begin_waiting(void) {
    loop_init(&loop);
    mailbox_init(&box, &loop, NULL);
    slab_init(&waiters, sizeof(struct waiter), 4);
    turns = 0;
}

static void end_waiting(void) {
    assert_int_equal(waiters.in_use, 0);
    slab_fini(&waiters);
    mailbox_fini(&box);
    loop_finish(&loop);
}

static void wait_for(const struct backend *b) {
    struct waiter *w = queue_waiter_new(&waiters, &box);
    w->backend = b;
    w->on_turn = on_turn;
    assert_true(queue_join(&b->group->queue, w, 10, NOW));
    assert_false(queue_is_empty(&b->group->queue));
}

static void a_place_given_back_is_the_next_ones(void **state) {
    (void)state;
    struct lease lease;
    add("s1", 1)->max_connections = 1;
    init();
    begin_waiting();
    assert_int_equal(acquire(&lease), PICK_OK);
    wait_for(&backend);
    release(&lease, BREAKER_SUCCEEDED);
    assert_int_equal(load("s1"), 1); /* already */
    assert_gets_none(PICK_FULL);
    LOOP_UNTIL(&loop, turns == 1);
    release(&turn, BREAKER_SUCCEEDED);
    assert_int_equal(load("s1"), 0);
    end_waiting();
}

/* Its answer has begun, but it has not ended. */
static void a_probe_that_succeeds_lets_those_who_wait_in(void **state) {
    (void)state;
    struct lease full, probes[2];
    use_breaker();
    add("s1", 1);
    add("s2", 2)->max_connections = 1;
    init();
    begin_waiting();
    open_breaker("s1", 60 * SECOND);
    assert_int_equal(acquire(&full), PICK_OK);
    breaker_trip(&server_of("s1")->shared.breaker, NOW - 9 * SECOND, 5 * SECOND, &change);
    for (unsigned i = 0; i < 2; i++) assert_int_equal(acquire(&probes[i]), PICK_OK);
    wait_for(&backend);
    backend_report(&backend, &probes[0], BREAKER_SUCCEEDED, NOW, &change);
    LOOP_UNTIL(&loop, turns == 1);
    assert_string_equal(turn.member->server->name, "s1");
    release(&turn, BREAKER_SUCCEEDED);
    release(&full, BREAKER_SUCCEEDED);
    for (unsigned i = 0; i < 2; i++) release(&probes[i], BREAKER_SUCCEEDED);
    end_waiting();
}

/* As over a reload: the backends of two configurations. */
static void the_group_is_shared_by_all_of_one_name(void **state) {
    (void)state;
    struct backend newer, other;
    struct error e;
    struct lease lease;
    struct addr at = addr_make_ip("192.0.2.9", 9);
    struct backend_settings *foreign = config_add_backend(config, "other");
    add("s1", 1)->max_connections = 1;
    config_add_server(config, foreign, "s1", &at);
    init();
    assert_true(backend_init(&newer, settings, &registry, &e));
    assert_true(backend_init(&other, foreign, &registry, &e));
    assert_ptr_equal(newer.group, backend.group);
    assert_ptr_equal(newer.members[0].server, backend.members[0].server);
    assert_ptr_not_equal(other.group, backend.group);
    begin_waiting();
    assert_int_equal(acquire(&lease), PICK_OK);
    wait_for(&newer);
    release(&lease, BREAKER_SUCCEEDED); /* a place of the old one is the new one's */
    LOOP_UNTIL(&loop, turns == 1);
    assert_ptr_equal(turn.member, &newer.members[0]);
    wait_for(&backend);
    backend_release(&newer, &turn, BREAKER_SUCCEEDED, NOW, &change);
    LOOP_UNTIL(&loop, turns == 2);
    release(&turn, BREAKER_SUCCEEDED);
    end_waiting();
    struct group *group = backend.group;
    backend_fini(&backend, &registry);
    assert_ptr_equal(newer.group, group);
    assert_int_equal(registry.groups.count, 2);
    backend_fini(&newer, &registry);
    backend_fini(&other, &registry);
    assert_int_equal(registry.groups.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_lease_is_a_place),
        TEST(one_who_is_busy_does_not_call_for_backups),
        TEST(busy_backups_are_waited_for),
        TEST(open_breakers_of_all),
        TEST(nobody_is_open_or_busy),
        TEST(no_more_probes_than_the_breaker_wants),
        TEST(observed_breakers_keep_nobody_out),
        TEST(all_have_been_tried),
        TEST(the_same_server_once_more),
        TEST(an_exchange_counts_once),
        TEST(failures_open_and_probes_close),
        TEST(a_place_given_back_is_the_next_ones),
        TEST(a_probe_that_succeeds_lets_those_who_wait_in),
        TEST(the_group_is_shared_by_all_of_one_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
