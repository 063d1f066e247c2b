/* test_backend.c: the servers under one policy: members, backups, maintenance, and what a failure leaves. */
#include "loomgate/backend/backend.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

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

static const struct balance_member *pick(const struct tried *tried) {
    return backend_pick(&backend, &(struct pick_request){.tried = tried});
}

static const char *pick_name(const struct tried *tried) {
    const struct balance_member *m = pick(tried);
    return m ? m->server->name : "none";
}

static void servers_take_turns(void **state) {
    (void)state;
    add("s1", 1);
    add("s2", 2);
    init();
    assert_int_equal(backend.member_count, 2);
    assert_int_equal(backend.backup_count, 0);
    assert_ptr_equal(backend.settings, settings);
    assert_string_equal(pick_name(NULL), "s1");
    assert_string_equal(pick_name(NULL), "s2");
    assert_string_equal(pick_name(NULL), "s1");
}

static void members_know_their_settings(void **state) {
    (void)state;
    struct server_settings *s = add("s1", 1);
    s->weight = 7;
    s->send_proxy = SEND_PROXY_V2;
    init();
    const struct balance_member *m = pick(NULL);
    assert_ptr_equal(m->settings, s);
    assert_int_equal(m->weight, 7);
}

static void backups_wait_until_nobody_else_can(void **state) {
    (void)state;
    add("s1", 1);
    add("b1", 2)->backup = true;
    add("b2", 3)->backup = true;
    init();
    for (unsigned i = 0; i < 5; i++) assert_string_equal(pick_name(NULL), "s1");
    struct server *s1 = backend.members[0].server;
    struct tried tried = {.v = {s1}, .count = 1};
    assert_string_equal(pick_name(&tried), "b1");
    assert_string_equal(pick_name(&tried), "b2");
    atomic_store(&s1->shared.admin, SERVER_MAINT);
    assert_string_equal(pick_name(NULL), "b1");
    atomic_store(&s1->shared.admin, SERVER_READY);
    assert_string_equal(pick_name(NULL), "s1");
}

/* The row of each policy is the one of its name, and backups are behind all of them. */
static void every_policy_is_there(void **state) {
    static const char *const policies[] = {"round_robin", "least_requests", "random_two", "peak_ewma", "first", "hash"};
    (void)state;
    add("s1", 1);
    add("b1", 2)->backup = true;
    settings->balance.bounded_load = 1.25;
    for (unsigned i = 0; i < LG_COUNT(policies); i++) {
        settings->balance.kind = (enum balance_kind)i;
        init();
        assert_string_equal(backend.primary->ops->name, policies[i]);
        assert_int_equal(backend_wants_key(&backend), i == BALANCE_HASH);
        assert_int_equal(backend_wants_latency(&backend), i == BALANCE_PEAK_EWMA);
        assert_string_equal(pick_name(NULL), "s1");
        struct tried tried = {.v = {backend.members[0].server}, .count = 1};
        assert_string_equal(pick_name(&tried), "b1");
        tried.v[tried.count++] = backend.backups[0].server;
        assert_string_equal(pick_name(&tried), "none");
        backend_fini(&backend, &registry);
    }
    init();
}

/* The others share its turns evenly, rather than its neighbour getting them all. */
static void maintenance_by_the_configuration_is_shared_evenly(void **state) {
    (void)state;
    unsigned got[3] = {0};
    add("s1", 1);
    add("s2", 2)->maint = true;
    add("s3", 3);
    init();
    for (unsigned i = 0; i < 120; i++) got[pick(NULL) - backend.members]++;
    assert_int_equal(got[0], 60);
    assert_int_equal(got[1], 0);
    assert_int_equal(got[2], 60);
}

static void nobody_is_left(void **state) {
    (void)state;
    add("s1", 1)->maint = true;
    add("b1", 2)->backup = true;
    init();
    struct tried tried = {.v = {backend.backups[0].server}, .count = 1};
    assert_string_equal(pick_name(NULL), "b1");
    assert_string_equal(pick_name(&tried), "none");
}

static enum pick_result peek(const struct balance_member **m) {
    return backend_peek(&backend, &(struct pick_request){.now_us = 1, .random = 5}, m);
}

/* It tells what backend_acquire will find, and why it will find none. */
static void a_peek_changes_nothing(void **state) {
    (void)state;
    const struct pick_request r = {.now_us = 1, .random = 5};
    const struct balance_member *m;
    struct lease lease;
    struct breaker_change change;
    settings->breaker = (struct breaker_settings){.on = true, .window_us = 1000, .open_us = 1000, .probes = 1};
    add("s1", 1)->max_connections = 1;
    add("s2", 2)->max_connections = 1;
    init();
    for (unsigned i = 0; i < 2; i++) {
        const struct balance_member *next = NULL;
        assert_int_equal(peek(&next), PICK_OK);
        for (unsigned k = 0; k < 5; k++) assert_int_equal(peek(&m), PICK_OK);
        assert_ptr_equal(m, next);
        assert_int_equal(atomic_load(&m->server->shared.active), 0);
        assert_int_equal(backend_acquire(&backend, &r, &lease, &change), PICK_OK);
        assert_ptr_equal(lease.member, next);
    }
    assert_int_equal(peek(&m), PICK_FULL);
    assert_null(m);
    breaker_trip(&backend.members[0].server->shared.breaker, 1, 1000000, &change);
    breaker_trip(&backend.members[1].server->shared.breaker, 1, 1000000, &change);
    assert_int_equal(peek(&m), PICK_OPEN);
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&backend.members[i].server->shared.admin, SERVER_MAINT);
        server_release(backend.members[i].server);
    }
    assert_int_equal(peek(&m), PICK_NONE);
}

static void servers_are_given_back(void **state) {
    (void)state;
    add("s1", 1);
    add("b1", 2)->backup = true;
    init();
    assert_int_equal(registry.servers.count, 2);
    backend_fini(&backend, &registry);
    assert_int_equal(registry.servers.count, 0);
}

static void a_failure_leaves_nothing_behind(void **state) {
    (void)state;
    struct error e = {{0}};
    add("s1", 1);
    add("b1", 2)->backup = true;
    add("s3", 3)->address = (struct address_setting){.kind = ADDRESS_IP, .text = "x:1", .host = "x", .port = 1};
    assert_false(backend_init(&backend, settings, &registry, &e));
    assert_true(e.text[0] != '\0');
    assert_int_equal(registry.servers.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(servers_take_turns),
        TEST(members_know_their_settings),
        TEST(backups_wait_until_nobody_else_can),
        TEST(every_policy_is_there),
        TEST(maintenance_by_the_configuration_is_shared_evenly),
        TEST(nobody_is_left),
        TEST(a_peek_changes_nothing),
        TEST(servers_are_given_back),
        TEST(a_failure_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
