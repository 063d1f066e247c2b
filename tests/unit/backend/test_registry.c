/* test_registry.c: identity to living server: shared by who names the same, gone with the last reference. */
#include "loomgate/backend/registry.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct registry registry;
static struct arena arena;

static int set_up(void **state) {
    (void)state;
    registry_init(&registry);
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    registry_fini(&registry);
    arena_fini(&arena);
    return 0;
}

static struct server_settings settings_of(const char *name, const char *ip, uint16_t port) {
    struct addr at = addr_make_ip(ip, port);
    return (struct server_settings){.name = name, .address = address_make(&arena, &at), .weight = 1};
}

static struct server *acquire(const char *backend, const struct server_settings *s) {
    struct error e;
    struct server *server = registry_acquire(&registry, backend, s, &e);
    if (!server) fail_msg("%s", e.text);
    return server;
}

static void a_server_is_made_from_its_settings(void **state) {
    (void)state;
    struct server_settings s = settings_of("s1", "192.0.2.1", 8080);
    struct addr at = addr_make_ip("192.0.2.1", 8080);
    struct server *server = acquire("app", &s);
    assert_string_equal(server->backend, "app");
    assert_string_equal(server->name, "s1");
    assert_true(addr_eq(&server->addr, &at));
    assert_true(server_admin_get(server) == SERVER_READY);
    assert_int_equal(atomic_load(&server->shared.active), 0);
    assert_int_equal((uintptr_t)&server->shared % LG_CACHE_LINE, 0);
    registry_release(&registry, server);
}

static void the_names_are_the_servers_own(void **state) {
    (void)state;
    char backend[] = "app", name[] = "s1";
    struct server_settings s = settings_of(name, "192.0.2.1", 80);
    struct server *server = acquire(backend, &s);
    memset(backend, 'x', 3);
    memset(name, 'x', 2);
    arena_fini(&arena);
    assert_string_equal(server->backend, "app");
    assert_string_equal(server->name, "s1");
    registry_release(&registry, server);
}

static void the_same_identity_is_the_same_server(void **state) {
    (void)state;
    struct server_settings s = settings_of("s1", "192.0.2.1", 80), again = settings_of("s1", "192.0.2.1", 80);
    again.weight = 7; /* no part of who it is */
    struct server *server = acquire("app", &s);
    assert_ptr_equal(acquire("app", &again), server);
    assert_int_equal(server->refs, 2);
    assert_true(server_acquire(server, 0));
    registry_release(&registry, server);
    assert_int_equal(atomic_load(&server->shared.active), 1); /* it lives on */
    server_release(server);
    registry_release(&registry, server);
}

static void another_name_backend_or_address_is_another(void **state) {
    (void)state;
    struct server_settings rows[] = {settings_of("s1", "192.0.2.1", 80), settings_of("s2", "192.0.2.1", 80),
                                     settings_of("s1", "192.0.2.2", 80), settings_of("s1", "192.0.2.1", 81)};
    struct server *made[5];
    for (unsigned i = 0; i < 4; i++) made[i] = acquire("app", &rows[i]);
    made[4] = acquire("api", &rows[0]);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(made[i]->id < registry.id_limit);
        for (unsigned k = 0; k < i; k++) {
            assert_ptr_not_equal(made[i], made[k]);
            assert_int_not_equal(made[i]->id, made[k]->id);
        }
    }
    for (unsigned i = 0; i < 5; i++) registry_release(&registry, made[i]);
    assert_int_equal(registry.servers.count, 0);
}

static void after_the_last_reference_it_is_made_anew(void **state) {
    (void)state;
    struct server_settings s = settings_of("s1", "192.0.2.1", 80);
    struct server *server = acquire("app", &s);
    unsigned id = server->id;
    registry_release(&registry, server);
    assert_int_equal(registry.servers.count, 0);
    server = acquire("app", &s);
    assert_int_equal(server->refs, 1);
    assert_int_equal(server->id, id); /* a place in each worker, which has been cleared before */
    registry_release(&registry, server);
}

static void maintenance_is_how_it_starts(void **state) {
    (void)state;
    struct server_settings s = settings_of("s1", "192.0.2.1", 80);
    s.maint = true;
    struct server *server = acquire("app", &s);
    assert_int_equal(server_admin_get(server), SERVER_MAINT);
    registry_release(&registry, server);
}

static void an_address_that_cannot_be_resolved_is_an_error(void **state) {
    (void)state;
    struct error e = {{0}};
    struct server_settings s = {
        .name = "s1", .address = {.kind = ADDRESS_IP, .text = "999.1.1.1:80", .host = "999.1.1.1", .port = 80}};
    assert_null(registry_acquire(&registry, "app", &s, &e));
    assert_true(e.text[0] != '\0');
    assert_int_equal(registry.servers.count, 0);
}

static const struct queue_events no_events;

static void groups_are_known_by_the_backends_name(void **state) {
    (void)state;
    char name[] = "app";
    struct group *g = registry_acquire_group(&registry, name, &no_events);
    memset(name, 'x', 3); /* its name is its own */
    assert_string_equal(g->name, "app");
    assert_true(queue_is_empty(&g->queue));
    assert_int_equal((uintptr_t)&g->queue % LG_CACHE_LINE, 0);
    assert_ptr_equal(registry_acquire_group(&registry, "app", &no_events), g);
    struct group *other = registry_acquire_group(&registry, "api", &no_events);
    assert_ptr_not_equal(other, g);
    registry_release_group(&registry, g);
    assert_int_equal(registry.groups.count, 2);
    registry_release_group(&registry, g);
    registry_release_group(&registry, other);
    assert_int_equal(registry.groups.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_server_is_made_from_its_settings),
        TEST(the_names_are_the_servers_own),
        TEST(the_same_identity_is_the_same_server),
        TEST(another_name_backend_or_address_is_another),
        TEST(after_the_last_reference_it_is_made_anew),
        TEST(maintenance_is_how_it_starts),
        TEST(an_address_that_cannot_be_resolved_is_an_error),
        TEST(groups_are_known_by_the_backends_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
