/* test_exchange.c: the way of a request through its states: routed, connected, forwarded, failed, sent again, ended. */
#include "loomgate/proxy/exchange.h"

#include "../../../src/proxy/exchange_internal.h"
#include "../../support/addr_make.h"
#include "../../support/proxy_bed.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK_TEXT "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

enum { REPLAY_MAX = 65536 }; /* of config_make */

static struct loop *loop(void) {
    return &pb.env.loop;
}

static uint64_t metric(enum metric m) {
    struct metrics *shard = &pb.env.metrics;
    return metrics_sum(&shard, 1, m);
}

static void accept_server(void) {
    peer_close(&pb.server);
    listener_accept(pb.listener, loop(), &pb.server);
}

static void await_end(unsigned ends) {
    LOOP_UNTIL(loop(), pb.ends == ends);
}

/* The client has had just this error of ours, and the exchange is over. */
static void assert_answered(const char *head, enum failure cause) {
    char start[64];
    snprintf(start, sizeof start, "head:%s", head);
    if (strncmp(pb.front.log, start, strlen(start)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", pb.front.log, start);
    assert_int_equal(proxy_cause(), cause);
}

/* --- well ended ------------------------------------------------------------------------------------------------- */

static void a_request_over_an_idle_session(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_get("/a");
    assert_int_equal(proxy_last()->state, EXCHANGE_FORWARD);
    fake_expect(&pb.back, "head:GET/a.");
    assert_int_equal(metric(METRIC_exchanges_active), 1);
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 2, NULL));
    fake_body(&pb.back, "ok");
    fake_end(&pb.back);
    fake_expect(&pb.front, "head:200/2 +ok end");
    assert_int_equal(pb.ends, 0); /* not before the server's side is closed as well */
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_last()->state, EXCHANGE_DONE);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(proxy_last()->try_count, 1);
    assert_true(proxy_last()->reused);
    assert_int_equal(metric(METRIC_exchanges_active), 0);
    assert_int_equal(metric(METRIC_exchanges_total), 1);
    assert_int_equal(metric(METRIC_server_connections_reused_total), 1);
    assert_int_equal(metric(METRIC_server_connections_total), 0);
}

static void a_request_over_a_fresh_connection_and_the_next_over_the_same(void **state) {
    (void)state;
    proxy_get("/a");
    assert_int_equal(proxy_last()->state, EXCHANGE_CONNECT);
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /a HTTP/1.1\r\nHost: example.org\r\n");
    assert_int_equal(proxy_last()->state, EXCHANGE_FORWARD);
    assert_true(proxy_last()->connect_us != 0);
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
    fake_expect(&pb.front, "head:200/2 +ok end");
    assert_int_equal(metric(METRIC_server_connections_total), 1);
    assert_int_equal(pb.env.pools.idle, 1);
    proxy_get("/b");
    assert_int_equal(proxy_last()->state, EXCHANGE_FORWARD);
    peer_expect_part(&pb.server, loop(), "GET /b HTTP/1.1\r\n");
    peer_say(&pb.server, OK_TEXT);
    await_end(2);
    assert_int_equal(metric(METRIC_server_connections_total), 1);
    assert_int_equal(metric(METRIC_server_connections_reused_total), 1);
}

static void the_servers_load_is_counted(void **state) {
    (void)state;
    struct server *s = pb.snapshot->backends[0].members[0].server;
    proxy_add_idle();
    proxy_get("/");
    assert_int_equal(atomic_load(&s->shared.active), 1);
    fake_head(&pb.back, proxy_response(204, BODY_NONE, 0, NULL));
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(atomic_load(&s->shared.active), 0);
}

/* --- answered by ourselves -------------------------------------------------------------------------------------- */

static void routes_of_our_own(void **state) {
    (void)state;
    proxy_set_up(NULL);
    struct route_settings *r = config_add_route(pb.config, pb.web, "hello", "/hello");
    r->respond.body = SLICE("hi");
    r = config_add_route(pb.config, pb.web, "old", "/old");
    r->action = ROUTE_REDIRECT;
    r->redirect.to = "/new%{query}";
    r->redirect.status = 301;
    proxy_build();
    proxy_get("/hello");
    fake_expect(&pb.front, "head:200/2 +hi~ end");
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    proxy_get("/old?x");
    fake_expect(&pb.front, "head:301/0.");
    fake_expect_field(&pb.front, "Location: /newx");
    assert_int_equal(pb.ends, 2);
}

static void nothing_matches(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.web->default_backend = -1;
    config_add_route(pb.config, pb.web, "hello", "/hello");
    proxy_build();
    proxy_get("/");
    assert_answered("404/", FAILURE_no_route);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(metric(METRIC_gateway_failures_total), 1);
}

static void no_server_is_left(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.s1->maint = true;
    proxy_build();
    proxy_get("/");
    assert_answered("503/", FAILURE_no_server);
    assert_int_equal(proxy_last()->try_count, 0);
}

static void the_server_refuses(void **state) {
    (void)state;
    proxy_set_up(NULL);
    struct addr at;
    int port = port_refusing(&at);
    pb.s1->address = address_make(&pb.config->arena, &at);
    proxy_build();
    proxy_get("/");
    await_end(1);
    assert_answered("502/", FAILURE_connect_failed);
    assert_int_equal(proxy_last()->try_count, 1);
    assert_int_equal(proxy_last()->tries[0].cause, FAILURE_connect_failed);
    assert_int_equal(metric(METRIC_server_failures_total), 1);
    close(port);
}

static void an_answer_to_a_request_that_has_not_ended(void **state) {
    (void)state;
    proxy_set_up(NULL);
    config_add_route(pb.config, pb.web, "hello", "/hello")->respond.body = SLICE("hi");
    proxy_build();
    proxy_post("/hello", 5);
    fake_expect(&pb.front, "head:200/2 +hi~ end");
    assert_int_equal(proxy_last()->state, EXCHANGE_ANSWER);
    assert_int_equal(pb.ends, 0);
    fake_close(&pb.front, FAILURE_client_closed); /* it has been answered; that it left is no news */
    assert_int_equal(pb.ends, 1);
}

/* The record says what the client was told, not that it left afterwards. */
static void the_cause_of_an_answer_stays(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.web->default_backend = -1;
    proxy_build();
    proxy_post("/", 5);
    assert_answered("404/", FAILURE_no_route);
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_no_route);
}

/* --- sent again ------------------------------------------------------------------------------------------------- */

static void a_closed_idle_connection_is_made_good(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_get("/a");
    fake_close(&pb.back, FAILURE_closed_idle);
    assert_int_equal(proxy_last()->state, EXCHANGE_CONNECT);
    fake_expect(&pb.front, "");
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /a HTTP/1.1\r\nHost: example.org\r\n");
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
    fake_expect(&pb.front, "head:200/2 +ok end");
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(proxy_last()->try_count, 2);
    assert_int_equal(proxy_last()->tries[0].cause, FAILURE_closed_idle);
    assert_int_equal(proxy_last()->tries[1].cause, FAILURE_NONE);
    assert_int_equal(metric(METRIC_resends_total), 1);
    assert_int_equal(metric(METRIC_server_failures_total), 0);
}

static void once_and_not_twice(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_get("/a");
    fake_close(&pb.back, FAILURE_closed_idle);
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /a");
    peer_shut(&pb.server);
    await_end(1);
    assert_answered("502/", FAILURE_reset_before_response);
    assert_int_equal(proxy_last()->try_count, 2);
}

/* Only the race with an idle connection is made good: everything else is for `retry` to decide. */
static void other_failures_are_told(void **state) {
    (void)state;
    static const enum failure causes[] = {FAILURE_reset_before_response, FAILURE_response_cut, FAILURE_response_timeout,
                                          FAILURE_bad_response};
    proxy_add_idle();
    for (unsigned i = 0; i < LG_COUNT(causes); i++) {
        proxy_get("/a");
        fake_close(&pb.back, causes[i]);
        char status[8];
        snprintf(status, sizeof status, "%u/", failure_get(causes[i])->status);
        assert_answered(status, causes[i]);
        assert_int_equal(pb.ends, i + 1);
        list_push_front(&pb.env.pools.v[0]->idle, &pb.back_session->node); /* back into the pool */
        pb.env.pools.v[0]->count++;
        pb.env.pools.idle++;
    }
    assert_int_equal(metric(METRIC_resends_total), 0);
}

static void a_post_that_may_have_been_seen_is_not_sent_again(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_start(proxy_request("POST", "/p", BODY_LENGTH, 0, NULL));
    fake_expect(&pb.back, "head:POST/p/0.");
    fake_close(&pb.back, FAILURE_closed_idle);
    assert_answered("502/", FAILURE_closed_idle);
    pb.front.open = pb.front.open && (fake_close(&pb.front, FAILURE_client_closed), false);
    assert_int_equal(metric(METRIC_resends_total), 0);
}

static void a_post_that_cannot_have_been_seen_is_sent_again(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_post("/p", 2);
    fake_expect(&pb.back, "head:POST/p/2");
    pb.back.stream.untouched = true;
    fake_close(&pb.back, FAILURE_closed_idle);
    fake_expect(&pb.front, "pause");
    accept_server();
    LOOP_UNTIL(loop(), proxy_last()->state == EXCHANGE_FORWARD);
    fake_expect(&pb.front, "resume");
    fake_body(&pb.front, "hi");
    fake_end(&pb.front);
    peer_expect_part(&pb.server, loop(), "\r\n\r\nhi");
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
}

/* Bytes of its body are gone: nobody kept them, as it was not expected to be sent again. */
static void a_post_whose_body_has_begun_is_not_sent_again(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_post("/p", 4);
    fake_body(&pb.front, "hi");
    pb.back.stream.untouched = true;
    fake_close(&pb.back, FAILURE_closed_idle);
    assert_answered("502/", FAILURE_closed_idle);
    fake_close(&pb.front, FAILURE_client_closed);
}

static void put_two_pieces(void) {
    proxy_add_idle();
    proxy_start(proxy_request("PUT", "/p", BODY_LENGTH, 6, NULL));
    fake_body(&pb.front, "ab");
    fake_body(&pb.front, "cd");
    fake_expect(&pb.back, "head:PUT/p/6 +ab +cd");
}

static void a_body_is_sent_again_and_goes_on(void **state) {
    (void)state;
    put_two_pieces();
    fake_close(&pb.back, FAILURE_closed_idle);
    fake_expect(&pb.front, "pause");
    accept_server();
    peer_expect_part(&pb.server, loop(), "\r\n\r\nabcd");
    fake_expect(&pb.front, "resume");
    fake_body(&pb.front, "ef");
    fake_end(&pb.front);
    peer_expect(&pb.server, loop(), "ef");
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(metric(METRIC_resends_total), 1);
}

static void a_whole_body_is_sent_again(void **state) {
    (void)state;
    put_two_pieces();
    fake_body(&pb.front, "ef");
    fake_end(&pb.front);
    fake_expect(&pb.back, "+ef end");
    fake_close(&pb.back, FAILURE_closed_idle);
    accept_server();
    peer_expect_part(&pb.server, loop(), "\r\n\r\nabcdef");
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
    fake_expect(&pb.front, "head:200/2 +ok end");
}

/* An empty chunked body is a body too: its end has to be sent again. */
static void an_empty_body_is_sent_again(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_start(proxy_request("PUT", "/p", BODY_CHUNKED, 0, NULL));
    fake_end(&pb.front);
    fake_expect(&pb.back, "head:PUT/p end");
    fake_close(&pb.back, FAILURE_closed_idle);
    accept_server();
    peer_expect_part(&pb.server, loop(), "\r\n\r\n0\r\n\r\n");
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
}

static void a_body_too_long_to_keep_is_not_sent_again(void **state) {
    (void)state;
    static char block[REPLAY_MAX + 2];
    memset(block, 'x', REPLAY_MAX + 1);
    proxy_add_idle();
    proxy_start(proxy_request("PUT", "/p", BODY_LENGTH, 1000000, NULL));
    fake_body(&pb.front, block);
    assert_int_equal(loop()->chunks.bytes, 0);
    fake_close(&pb.back, FAILURE_closed_idle);
    assert_answered("502/", FAILURE_closed_idle);
    fake_close(&pb.front, FAILURE_client_closed);
}

/* --- cut -------------------------------------------------------------------------------------------------------- */

/* After the first byte there is no other answer: the client sees that something is missing. */
static void a_response_that_breaks_is_cut(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 10, NULL));
    fake_body(&pb.back, "half");
    fake_close(&pb.back, FAILURE_response_cut);
    fake_expect(&pb.front, "head:200/10 +half reset");
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_response_cut);
    assert_int_equal(proxy_last()->status, 200);
}

static void a_closed_idle_one_that_had_begun_to_answer_is_cut(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 10, NULL));
    fake_close(&pb.back, FAILURE_closed_idle);
    fake_expect(&pb.front, "head:200/10 reset");
    assert_int_equal(metric(METRIC_resends_total), 0);
}

/* --- the client leaves ------------------------------------------------------------------------------------------ */

static void a_client_that_leaves_before_its_head_is_complete(void **state) {
    (void)state;
    fake_stream_init(&pb.front, true);
    exchange_start(&pb.client, &pb.front.stream);
    pb.x = pb.front.stream.owner;
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_client_closed);
    assert_int_equal(metric(METRIC_client_failures_total), 1);
}

static void a_client_that_leaves_while_connecting(void **state) {
    (void)state;
    proxy_get("/");
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_client_closed);
    assert_int_equal(proxy_last()->try_count, 1);
}

static void a_client_that_leaves_while_the_server_works(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_get("/");
    fake_close(&pb.front, FAILURE_client_closed);
    fake_expect(&pb.back, "head:GET/. reset");
    assert_int_equal(pb.ends, 1);
}

static void a_client_that_leaves_within_the_response(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 10, NULL));
    fake_close(&pb.front, FAILURE_client_timeout);
    fake_expect(&pb.back, "head:GET/. reset");
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_client_timeout);
}

/* A request that turns out to be unreadable is not the server's business any more. */
static void a_request_that_fails_within_its_body(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_start(proxy_request("PUT", "/", BODY_CHUNKED, 0, NULL));
    fake_body(&pb.front, "ab");
    fake_fail(&pb.front, FAILURE_bad_chunk);
    fake_expect(&pb.back, "head:PUT/ +ab reset");
    assert_answered("400/", FAILURE_bad_chunk);
    assert_int_equal(pb.ends, 1);
}

static void a_request_that_fails_before_its_head(void **state) {
    (void)state;
    fake_stream_init(&pb.front, true);
    exchange_start(&pb.client, &pb.front.stream);
    pb.x = pb.front.stream.owner;
    fake_fail(&pb.front, FAILURE_header_timeout);
    assert_answered("408/", FAILURE_header_timeout);
    assert_int_equal(pb.ends, 1);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static void set_up_hurry(void) {
    proxy_set_up(NULL);
    pb.web->timeouts.request_us = 10000;
    proxy_build();
}

static void a_request_that_takes_too_long(void **state) {
    (void)state;
    set_up_hurry();
    proxy_add_idle();
    proxy_get("/");
    await_end(1);
    fake_expect(&pb.back, "head:GET/. reset");
    assert_answered("504/", FAILURE_request_timeout);
}

static void a_response_that_takes_too_long(void **state) {
    (void)state;
    set_up_hurry();
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 10, NULL));
    await_end(1);
    fake_expect(&pb.front, "head:200/10 reset");
    assert_int_equal(proxy_cause(), FAILURE_request_timeout);
}

static void a_request_in_time_is_left_alone(void **state) {
    (void)state;
    set_up_hurry();
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(204, BODY_NONE, 0, NULL));
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    loop_run_for(loop(), 20000);
    assert_int_equal(pb.ends, 1);
    fake_expect(&pb.front, "head:204.");
}

/* --- draining --------------------------------------------------------------------------------------------------- */

static void the_last_responses_close(void **state) {
    (void)state;
    proxy_add_idle();
    proxy_get("/");
    pb.env.draining = true;
    fake_head(&pb.back, proxy_response(204, BODY_NONE, 0, NULL));
    assert_false(pb.front.keep_alive);
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(pb.ends, 1);
}

/* --- states ----------------------------------------------------------------------------------------------------- */

static bool move_is_legal(enum exchange_state from, enum exchange_state to) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        static struct exchange x;
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(nowhere, 2);
        signal(SIGABRT, SIG_DFL);
        x.state = (uint8_t)from;
        exchange_set_state(&x, to);
        _exit(x.state == to ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The picture in exchange.h; what is not in it is a bug. */
static void only_the_pictures_moves_are_legal(void **state) {
    (void)state;
    static const struct {
        enum exchange_state from, to;
        bool legal;
    } rows[] = {
        {EXCHANGE_HEAD, EXCHANGE_ROUTE, true},      {EXCHANGE_ROUTE, EXCHANGE_PICK, true},
        {EXCHANGE_PICK, EXCHANGE_CONNECT, true},    {EXCHANGE_CONNECT, EXCHANGE_FORWARD, true},
        {EXCHANGE_FORWARD, EXCHANGE_DONE, true},    {EXCHANGE_FORWARD, EXCHANGE_TUNNEL, true},
        {EXCHANGE_FAIL, EXCHANGE_ANSWER, true},     {EXCHANGE_TUNNEL, EXCHANGE_DONE, true},
        {EXCHANGE_HEAD, EXCHANGE_FORWARD, false},   {EXCHANGE_DONE, EXCHANGE_FAIL, false},
        {EXCHANGE_ANSWER, EXCHANGE_CONNECT, false}, {EXCHANGE_TUNNEL, EXCHANGE_FAIL, false},
        {EXCHANGE_FORWARD, EXCHANGE_PICK, false},   {EXCHANGE_DONE, EXCHANGE_HEAD, false},
    };
    for (size_t i = 0; i < LG_COUNT(rows); i++)
        if (move_is_legal(rows[i].from, rows[i].to) != rows[i].legal) fail_msg("%d -> %d", rows[i].from, rows[i].to);
}

#define BUILT(name)  cmocka_unit_test_setup_teardown(name, proxy_set_up_built, proxy_tear_down)
#define UNMADE(name) cmocka_unit_test_teardown(name, proxy_tear_down) /* sets up by itself */

int main(void) {
    const struct CMUnitTest tests[] = {
        BUILT(a_request_over_an_idle_session),
        BUILT(a_request_over_a_fresh_connection_and_the_next_over_the_same),
        BUILT(the_servers_load_is_counted),
        UNMADE(routes_of_our_own),
        UNMADE(nothing_matches),
        UNMADE(no_server_is_left),
        UNMADE(the_server_refuses),
        UNMADE(an_answer_to_a_request_that_has_not_ended),
        UNMADE(the_cause_of_an_answer_stays),
        BUILT(a_closed_idle_connection_is_made_good),
        BUILT(once_and_not_twice),
        BUILT(other_failures_are_told),
        BUILT(a_post_that_may_have_been_seen_is_not_sent_again),
        BUILT(a_post_that_cannot_have_been_seen_is_sent_again),
        BUILT(a_post_whose_body_has_begun_is_not_sent_again),
        BUILT(a_body_is_sent_again_and_goes_on),
        BUILT(a_whole_body_is_sent_again),
        BUILT(an_empty_body_is_sent_again),
        BUILT(a_body_too_long_to_keep_is_not_sent_again),
        BUILT(a_response_that_breaks_is_cut),
        BUILT(a_closed_idle_one_that_had_begun_to_answer_is_cut),
        BUILT(a_client_that_leaves_before_its_head_is_complete),
        BUILT(a_client_that_leaves_while_connecting),
        BUILT(a_client_that_leaves_while_the_server_works),
        BUILT(a_client_that_leaves_within_the_response),
        BUILT(a_request_that_fails_within_its_body),
        BUILT(a_request_that_fails_before_its_head),
        UNMADE(a_request_that_takes_too_long),
        UNMADE(a_response_that_takes_too_long),
        UNMADE(a_request_in_time_is_left_alone),
        BUILT(the_last_responses_close),
        cmocka_unit_test(only_the_pictures_moves_are_legal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
