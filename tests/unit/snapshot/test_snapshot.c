/* test_snapshot.c: a configuration made ready: routes, timeouts folded, gates, and what a failure leaves. */
#include "loomgate/snapshot/snapshot.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct registry registry;
static struct config *config;
static struct snapshot *snapshot;

static int set_up(void **state) {
    (void)state;
    registry_init(&registry);
    config = config_make();
    snapshot = NULL;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    if (snapshot)
        snapshot_free(snapshot, &registry);
    else
        config_free(config);
    assert_int_equal(registry.servers.count, 0);
    registry_fini(&registry);
    return 0;
}

static void build(void) {
    struct error e;
    snapshot = snapshot_build(config, &registry, &e);
    if (!snapshot) fail_msg("%s", e.text);
}

static struct backend_settings *add_backend(const char *name) {
    struct addr at = addr_make_ip("192.0.2.1", 80);
    struct backend_settings *b = config_add_backend(config, name);
    config_add_server(config, b, "s1", &at);
    return b;
}

/* --- routes ----------------------------------------------------------------------------------------------------- */

static void routes_lead_to_their_backends(void **state) {
    (void)state;
    add_backend("one");
    add_backend("two");
    struct frontend_settings *f = config_add_frontend(config, "web");
    route_to(config_add_route(config, f, "api", "/api"), 1);
    config_add_route(config, f, "hello", "/hello");
    f->default_backend = 0;
    f->max_connections = 7;
    f->limits = (struct limit_settings){.header_size = 1000, .header_count = 10, .uri_size = 100};
    build();
    assert_int_equal(snapshot->frontend_count, 1);
    assert_int_equal(snapshot->backend_count, 2);
    const struct frontend *web = &snapshot->frontends[0];
    assert_string_equal(web->routes[0].name, "api");
    assert_ptr_equal(web->routes[0].backend, &snapshot->backends[1]);
    assert_null(web->routes[1].backend);
    assert_true(web->has_fallback);
    assert_null(web->fallback.name);
    assert_null(web->fallback.settings);
    assert_ptr_equal(web->fallback.backend, &snapshot->backends[0]);
    assert_int_equal(gate_limit(web->gate), 0); /* before it is published */
    snapshot_set_limits(snapshot);
    assert_int_equal(gate_limit(web->gate), 7);
    assert_int_equal(web->limits.head_bytes, 1000);
    assert_int_equal(web->limits.field_count, 10);
    assert_int_equal(web->limits.uri_bytes, 100);
    assert_true(slice_is(web->id_name, "X-Request-Id"));
    assert_null(web->access_log);
}

static void a_request_finds_its_route(void **state) {
    (void)state;
    const struct addr nobody = {0};
    for (int has_default = 0; has_default < 2; has_default++) {
        struct frontend_settings *f = config_add_frontend(config, has_default ? "with" : "without");
        if (!has_default) add_backend("app");
        route_to(config_add_route(config, f, "api", "/api"), 0);
        if (has_default) f->default_backend = 0;
    }
    build();
    struct message api = {.path = SLICE("/api/x")}, other = {.path = SLICE("/other")};
    const struct frontend *without = &snapshot->frontends[0], *with = &snapshot->frontends[1];
    assert_ptr_equal(frontend_find_route(without, &api, &nobody), &without->routes[0]);
    assert_null(frontend_find_route(without, &other, &nobody));
    assert_ptr_equal(frontend_find_route(with, &api, &nobody), &with->routes[0]);
    assert_ptr_equal(frontend_find_route(with, &other, &nobody), &with->fallback);
}

/* Names, not configurations, are what is counted for: the next one that has them goes on. */
static void everything_has_a_series(void **state) {
    (void)state;
    const struct telemetry *t = &registry.telemetry;
    for (int round = 0; round < 2; round++) {
        struct snapshot *before = snapshot;
        if (before) config = config_make();
        struct frontend_settings *f = config_add_frontend(config, "web");
        add_backend("app");
        config_add_route(config, f, round ? "new" : "old", "/x");
        route_to(config_add_route(config, f, "api", "/api"), 0);
        f->default_backend = 0;
        build();
        const struct frontend *web = &snapshot->frontends[0];
        assert_ptr_equal(telemetry_find(t, SERIES_FRONTEND, "", "web"), web->series);
        assert_ptr_equal(telemetry_find(t, SERIES_ROUTE, "web", "api"), web->routes[1].series);
        assert_null(web->fallback.series);
        assert_ptr_equal(telemetry_find(t, SERIES_BACKEND, "", "app"), snapshot->backends[0].series);
        assert_ptr_equal(telemetry_find(t, SERIES_SERVER, "app", "s1"),
                         snapshot->backends[0].members[0].server->series);
        if (!before) continue;
        assert_ptr_equal(before->frontends[0].series, web->series);
        assert_non_null(telemetry_find(t, SERIES_ROUTE, "web", "old"));
        snapshot_free(before, &registry);
        assert_null(telemetry_find(t, SERIES_ROUTE, "web", "old"));
        assert_non_null(telemetry_find(t, SERIES_ROUTE, "web", "new"));
    }
}

static void without_a_default_there_is_none(void **state) {
    (void)state;
    config_add_frontend(config, "web");
    build();
    assert_false(snapshot->frontends[0].has_fallback);
}

static void one_server_in_two_snapshots_lives_on(void **state) {
    (void)state;
    add_backend("one");
    build();
    struct snapshot *first = snapshot;
    struct server *server = first->backends[0].members[0].server;
    config = config_make();
    add_backend("one");
    build();
    assert_ptr_equal(snapshot->backends[0].members[0].server, server);
    snapshot_free(first, &registry);
    assert_int_equal(server->refs, 1);
}

static void references_are_counted(void **state) {
    (void)state;
    add_backend("one");
    build();
    snapshot_ref(snapshot);
    assert_false(snapshot_unref(snapshot));
    assert_int_equal(registry.servers.count, 1);
    assert_true(snapshot_unref(snapshot)); /* the tear-down frees it */
}

/* --- timeouts --------------------------------------------------------------------------------------------------- */

static const struct timeout_settings front_times = {
    .header_us = 1, .keep_alive_us = 2, .client_us = 3, .request_us = 4};
static const struct timeout_settings back_times = {
    .connect_us = 11, .response_us = 12, .server_us = 13, .tunnel_us = 14};

static void make_timed(struct frontend_settings **f, struct route_settings **r) {
    struct backend_settings *b = add_backend("app");
    b->timeouts = back_times;
    b->pool.idle_timeout_us = 15;
    *f = config_add_frontend(config, "web");
    (*f)->timeouts = front_times;
    (*f)->default_backend = 0;
    *r = config_add_route(config, *f, "api", "/api");
    route_to(*r, 0);
}

static void assert_plain_times(const struct route *r) {
    assert_int_equal(r->client_timeouts.head_us, 1);
    assert_int_equal(r->client_timeouts.idle_us, 2);
    assert_int_equal(r->client_timeouts.stall_us, 3);
    assert_int_equal(r->request_us, 4);
    assert_int_equal(r->connect_us, 11);
    assert_int_equal(r->server_timeouts.head_us, 12);
    assert_int_equal(r->server_timeouts.stall_us, 13);
    assert_int_equal(r->server_timeouts.idle_us, 15);
    assert_int_equal(r->tunnel_us, 14);
}

static void a_route_has_its_frontends_and_backends_times(void **state) {
    (void)state;
    struct frontend_settings *f;
    struct route_settings *r;
    make_timed(&f, &r);
    build();
    const struct frontend *web = &snapshot->frontends[0];
    assert_int_equal(web->client_timeouts.head_us, 1);
    assert_int_equal(web->client_timeouts.idle_us, 2);
    assert_int_equal(web->client_timeouts.stall_us, 3);
    assert_plain_times(&web->routes[0]);
    assert_plain_times(&web->fallback);
}

static void a_routes_own_times_win(void **state) {
    (void)state;
    struct frontend_settings *f;
    struct route_settings *r;
    make_timed(&f, &r);
    r->timeouts = (struct timeout_settings){.header_us = 101,
                                            .keep_alive_us = 102,
                                            .client_us = 103,
                                            .request_us = 0,
                                            .connect_us = 111,
                                            .response_us = 112,
                                            .server_us = 0,
                                            .queue_us = 0,
                                            .tunnel_us = 114};
    build();
    const struct route *route = &snapshot->frontends[0].routes[0];
    assert_int_equal(route->client_timeouts.head_us, 101);
    assert_int_equal(route->client_timeouts.idle_us, 102);
    assert_int_equal(route->client_timeouts.stall_us, 103);
    assert_int_equal(route->request_us, 0); /* given: no limit */
    assert_int_equal(route->connect_us, 111);
    assert_int_equal(route->server_timeouts.head_us, 112);
    assert_int_equal(route->server_timeouts.stall_us, 0);
    assert_int_equal(route->tunnel_us, 114);
    assert_int_equal(route->server_timeouts.idle_us, 15); /* the pool's */
    assert_plain_times(&snapshot->frontends[0].fallback);
}

/* --- failures --------------------------------------------------------------------------------------------------- */

static void a_server_that_cannot_be_resolved_leaves_nothing(void **state) {
    (void)state;
    struct error e = {{0}};
    add_backend("one");
    struct backend_settings *b = add_backend("two");
    struct addr at = addr_make_ip("192.0.2.1", 81);
    struct server_settings *s = config_add_server(config, b, "s2", &at);
    s->address.host = "not an address";
    config_add_frontend(config, "web");
    assert_null(snapshot_build(config, &registry, &e));
    assert_true(e.text[0] != '\0');
    assert_int_equal(registry.servers.count, 0);
    config = config_make(); /* it was taken over, and freed */
}

static void an_access_log_that_cannot_be_opened_leaves_nothing(void **state) {
    (void)state;
    struct error e = {{0}};
    add_backend("one");
    config_add_frontend(config, "first");
    struct frontend_settings *f = config_add_frontend(config, "web");
    config_add_route(config, f, "r", "/");
    f->access_log = (struct log_settings){.on = true, .target = LOG_TO_FILE, .path = "/nonexistent/dir/access.log"};
    assert_null(snapshot_build(config, &registry, &e));
    assert_non_null(strstr(e.text, "/nonexistent/dir/access.log"));
    assert_int_equal(registry.servers.count, 0);
    config = config_make();
}

/* --- gates ------------------------------------------------------------------------------------------------------ */

static void a_gate_lets_in_up_to_its_limit(void **state) {
    (void)state;
    struct gate g = {.limit = 2};
    assert_true(gate_enter(&g));
    assert_true(gate_enter(&g));
    assert_false(gate_enter(&g));
    assert_int_equal(atomic_load(&g.open), 2); /* a refused one is not counted */
    assert_true(gate_leave(&g));               /* it had been full */
    assert_false(gate_leave(&g));
    assert_true(gate_enter(&g));
}

static void a_gate_without_a_limit_is_never_full(void **state) {
    (void)state;
    struct gate g = {.limit = 0};
    for (unsigned i = 0; i < 1000; i++) assert_true(gate_enter(&g));
    assert_int_equal(atomic_load(&g.open), 1000);
    assert_false(gate_leave(&g));
}

enum { THREADS = 4, ROUNDS = 20000, LIMIT = 3 };
static struct gate shared;
static _Atomic unsigned over, refused, entered;

static void *go_in_and_out(void *arg) {
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!gate_enter(&shared)) {
            atomic_fetch_add(&refused, 1);
            continue;
        }
        if (atomic_load(&shared.open) > LIMIT) atomic_fetch_add(&over, 1);
        atomic_fetch_add(&entered, 1);
        gate_leave(&shared);
    }
    return NULL;
}

static void threads_are_never_more_than_the_limit(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    shared = (struct gate){.limit = LIMIT};
    for (unsigned i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, go_in_and_out, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(over, 0);
    assert_int_equal(entered + refused, THREADS * ROUNDS);
    assert_int_equal(atomic_load(&shared.open), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(routes_lead_to_their_backends),
        TEST(a_request_finds_its_route),
        TEST(everything_has_a_series),
        TEST(without_a_default_there_is_none),
        TEST(one_server_in_two_snapshots_lives_on),
        TEST(references_are_counted),
        TEST(a_route_has_its_frontends_and_backends_times),
        TEST(a_routes_own_times_win),
        TEST(a_server_that_cannot_be_resolved_leaves_nothing),
        TEST(an_access_log_that_cannot_be_opened_leaves_nothing),
        TEST(a_gate_lets_in_up_to_its_limit),
        TEST(a_gate_without_a_limit_is_never_full),
        TEST(threads_are_never_more_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
