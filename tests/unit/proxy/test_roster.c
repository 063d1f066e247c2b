/* test_roster.c: exchanges in flight in each of their phases: told of, chosen, and ended by hand. */
#include "loomgate/proxy/roster.h"

#include "../../support/addr_make.h"
#include "../../support/proxy_bed.h"

static struct roster roster;
static const struct roster_filter everything;

static struct loop *loop(void) {
    return &pb.env.loop;
}

static int set_up(void **state) {
    proxy_set_up(state);
    roster_init(&roster);
    return 0;
}

static int tear_down(void **state) {
    roster_fini(&roster);
    return proxy_tear_down(state);
}

static uint32_t count_of(struct roster_filter filter) {
    struct roster r;
    roster_init(&r);
    roster_take(&r, &pb.env, &filter);
    uint32_t count = r.count;
    assert_int_equal(r.matches, count);
    roster_fini(&r);
    return count;
}

/* The only one there is. */
static const struct roster_entry *entry(void) {
    roster_fini(&roster);
    roster_init(&roster);
    roster_take(&roster, &pb.env, &everything);
    assert_int_equal(roster.count, 1);
    return &roster.v[0];
}

static void assert_phase(const char *phase) {
    assert_string_equal(entry()->phase, phase);
}

/* It ends, and nothing is left of it; `answered`: as nothing was before, the client hears of it. */
static void kill_it(bool answered) {
    assert_int_equal(roster_kill(&pb.env, &everything), 1);
    if (answered) {
        assert_non_null(strstr(pb.front.log, "head:503/"));
        assert_false(pb.front.keep_alive);
        if (pb.front.open) fake_close(&pb.front, FAILURE_NONE); /* as h1_session does when it may not go on */
    } else {
        assert_null(strstr(pb.front.log, "head:503"));
    }
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_killed);
    assert_int_equal(count_of(everything), 0);
    assert_int_equal(roster_kill(&pb.env, &everything), 0);
}

/* --- phases ----------------------------------------------------------------------------------------------------- */

static void waiting_for_an_answer(void **state) {
    (void)state;
    proxy_build();
    proxy_add_idle();
    proxy_get("/a?b");
    const struct roster_entry *e = entry();
    assert_string_equal(e->phase, "waiting");
    assert_true(slice_is(e->method, "GET") && slice_is(e->target, "/a?b") && slice_is(e->host, "example.org"));
    assert_true(slice_is(e->frontend, "web") && slice_is(e->backend, "app") && slice_is(e->server, "s1"));
    assert_int_equal(e->id.n, ENV_ID_LEN);
    assert_int_equal(e->tries, 1);
    struct addr client;
    addr_recall(&pb.client.addr, &client);
    assert_true(addr_eq(&e->client, &client));
    kill_it(true);
}

static void in_the_body_of_a_request(void **state) {
    (void)state;
    proxy_build();
    proxy_add_idle();
    proxy_post("/", 100);
    fake_body(&pb.front, "hello");
    assert_phase("request");
    kill_it(true);
}

static void in_the_body_of_a_response(void **state) {
    (void)state;
    proxy_build();
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 100, NULL));
    fake_body(&pb.back, "hello");
    assert_phase("response");
    kill_it(false);
    assert_int_equal(proxy_last()->status, 200);
}

static void behind_the_response(void **state) {
    (void)state;
    proxy_build();
    proxy_add_idle();
    proxy_post("/", 100);
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 0, NULL));
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    const struct roster_entry *e = entry();
    assert_string_equal(e->phase, "request"); /* the rest of it is not here yet */
    assert_int_equal(e->server.n, 0);
    kill_it(false);
}

static void in_an_answer_of_our_own(void **state) {
    (void)state;
    struct route_settings *route = config_add_route(pb.config, pb.web, "own", "/own");
    route->respond.body = SLICE("mine");
    proxy_build();
    proxy_post("/own", 100);
    assert_phase("answer");
    kill_it(false);
    assert_int_equal(proxy_last()->status, 200);
}

static void connecting(void **state) {
    (void)state;
    proxy_build();
    proxy_get("/");
    assert_phase("connect");
    assert_true(slice_is(roster.v[0].server, "s1"));
    kill_it(true);
    loop_settle(loop());
}

static void in_the_queue(void **state) {
    (void)state;
    pb.s1->max_connections = 1;
    pb.app->queue_max = 1;
    proxy_build();
    struct server *server = pb.snapshot->backends[0].members[0].server;
    assert_true(server_acquire(server, 1));
    proxy_get("/");
    const struct roster_entry *e = entry();
    assert_string_equal(e->phase, "queue");
    assert_int_equal(e->tries, 0);
    assert_int_equal(e->server.n, 0);
    assert_int_equal(count_of((struct roster_filter){.backend = "app", .server = "s1"}), 0);
    kill_it(true);
    server_release(server);
}

static void backing_off(void **state) {
    (void)state;
    static const uint16_t on[] = {RETRY_ON_503};
    pb.app->retry = (struct retry_settings){
        .on = true, .max = 1, .causes = on, .cause_count = 1, .budget_min_per_second = 1, .buffer = 1};
    pb.web->timeouts.request_us = 100000000;
    proxy_build();
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(503, BODY_LENGTH, 10, "Retry-After: 50\n"));
    const struct roster_entry *e = entry();
    assert_string_equal(e->phase, "backoff");
    assert_int_equal(e->tries, 1);
    assert_int_equal(e->server.n, 0);
    kill_it(true);
}

/* --- choosing --------------------------------------------------------------------------------------------------- */

static void all_that_is_given_must_hold(void **state) {
    (void)state;
    pb.web->request_id = (struct request_id_settings){.header = "X-Id", .trust = true};
    proxy_build();
    proxy_add_idle();
    proxy_start(proxy_request("GET", "/", BODY_NONE, 0, "X-Id: abcd\n"));
    fake_end(&pb.front);
    static const struct {
        struct roster_filter filter;
        uint32_t count;
    } rows[] = {
        {{.frontend = "web"}, 1},
        {{.frontend = "we"}, 0},
        {{.backend = "app", .server = "s1"}, 1},
        {{.backend = "app", .server = "s2"}, 0},
        {{.backend = "api", .server = "s1"}, 0},
        {{.id = {"ab", 2}}, 1},
        {{.id = {"abcd", 4}}, 1},
        {{.id = {"abcde", 5}}, 0},
        {{.id = {"b", 1}}, 0},
        {{.id = {"ab", 2}, .whole_id = true}, 0},
        {{.id = {"abcd", 4}, .whole_id = true}, 1},
        {{.older_us = 5000}, 1},
        {{.older_us = 5001}, 0},
        {{.frontend = "web", .backend = "app", .server = "s1", .id = {"a", 1}, .older_us = 1}, 1},
        {{.frontend = "web", .backend = "app", .server = "s1", .id = {"b", 1}, .older_us = 1}, 0},
    };
    loop()->now_us += 5000;
    for (size_t i = 0; i < LG_COUNT(rows); i++)
        if (count_of(rows[i].filter) != rows[i].count) fail_msg("row %zu", i);
    assert_int_equal(entry()->age_us, 5000);
    assert_int_equal(roster_kill(&pb.env, &rows[4].filter), 0);
    kill_it(true);
}

/* What was told stays readable when all of it is gone. */
static void what_was_told_stands_alone(void **state) {
    (void)state;
    char uri[1000] = "/";
    proxy_build();
    proxy_add_idle();
    memset(uri + 1, 'x', sizeof uri - 2);
    proxy_get(uri);
    const struct roster_entry *e = entry();
    kill_it(true);
    loop_settle(loop());
    assert_int_equal(e->target.n, ROSTER_TEXT_MAX);
    assert_int_equal(e->target.p[ROSTER_TEXT_MAX - 1], 'x');
    assert_true(slice_is(e->server, "s1") && slice_is(e->frontend, "web"));
}

/* The oldest are told of, the others counted. */
static void there_is_a_limit(void **state) {
    (void)state;
    static struct fake_stream fronts[ROSTER_MAX + 5];
    pb.s1->max_connections = 1;
    pb.app->queue_max = LG_COUNT(fronts);
    proxy_build();
    struct server *server = pb.snapshot->backends[0].members[0].server;
    assert_true(server_acquire(server, 1));
    for (size_t i = 0; i < LG_COUNT(fronts); i++) {
        char uri[16];
        snprintf(uri, sizeof uri, "/%zu", i);
        struct message *m = proxy_request("GET", uri, BODY_NONE, 0, NULL);
        fake_stream_init(&fronts[i], true);
        exchange_start(&pb.client, &fronts[i].stream);
        fake_head(&fronts[i], m);
        fake_end(&fronts[i]);
    }
    roster_take(&roster, &pb.env, &everything);
    assert_int_equal(roster.count, ROSTER_MAX);
    assert_int_equal(roster.matches, LG_COUNT(fronts));
    assert_true(slice_is(roster.v[0].target, "/0") && slice_is(roster.v[ROSTER_MAX - 1].target, "/999"));
    assert_int_equal(roster_kill(&pb.env, &everything), LG_COUNT(fronts));
    assert_int_equal(pb.ends, LG_COUNT(fronts));
    server_release(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(waiting_for_an_answer),
        TEST(in_the_body_of_a_request),
        TEST(in_the_body_of_a_response),
        TEST(behind_the_response),
        TEST(in_an_answer_of_our_own),
        TEST(connecting),
        TEST(in_the_queue),
        TEST(backing_off),
        TEST(all_that_is_given_must_hold),
        TEST(what_was_told_stands_alone),
        TEST(there_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
