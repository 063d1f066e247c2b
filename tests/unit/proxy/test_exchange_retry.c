/* test_exchange_retry.c: what a failed try leads to: another one on another server, after a while, within the budget;
 * or the answer that the failure deserves. */
#include "loomgate/proxy/exchange.h"

#include "../../support/addr_make.h"
#include "../../support/proxy_bed.h"

#include <unistd.h>

#define OK_TEXT "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static struct loop *loop(void) {
    return &pb.env.loop;
}

static uint64_t metric(enum metric m) {
    struct metrics *shard = &pb.env.metrics;
    return metrics_sum(&shard, 1, m);
}

static void await_end(unsigned ends) {
    LOOP_UNTIL(loop(), pb.ends == ends);
}

static void assert_answered(const char *head, enum failure cause) {
    char start[64];
    snprintf(start, sizeof start, "head:%s", head);
    if (strncmp(pb.front.log, start, strlen(start)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", pb.front.log, start);
    assert_int_equal(proxy_cause(), cause);
}

/* Two servers at one place; the fake is the first one's idle session. Waits are short, the budget is no obstacle. */
static int set_up(void **state) {
    static const uint16_t all[] = {RETRY_ON_CONNECT_FAILED,
                                   RETRY_ON_CONNECT_TIMEOUT,
                                   RETRY_ON_CLOSED_IDLE,
                                   RETRY_ON_RESET_BEFORE_RESPONSE,
                                   RETRY_ON_RESPONSE_TIMEOUT,
                                   RETRY_ON_502,
                                   RETRY_ON_503,
                                   RETRY_ON_504};
    proxy_set_up(state);
    struct server_settings *s2 = config_add_server(pb.config, pb.app, "s2", &(struct addr){0});
    s2->address = pb.s1->address;
    pb.app->retry = (struct retry_settings){.on = true,
                                            .max = 2,
                                            .causes = all,
                                            .cause_count = LG_COUNT(all),
                                            .backoff_base_us = 500,
                                            .backoff_max_us = 1000,
                                            .budget_ratio = 1,
                                            .budget_min_per_second = 1000,
                                            .buffer = 10};
    return 0;
}

static void begin(void) {
    proxy_build();
    proxy_add_idle();
}

static void accept_server(void) {
    peer_close(&pb.server);
    listener_accept(pb.listener, loop(), &pb.server);
}

/* The next try arrives at a server and is answered. */
static void succeed(const char *request) {
    accept_server();
    peer_expect_part(&pb.server, loop(), request);
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(proxy_last()->status, 200);
}

static void assert_try(unsigned i, const char *server, enum failure cause) {
    assert_true(i < proxy_last()->try_count);
    assert_string_equal(proxy_last()->tries[i].server, server);
    assert_int_equal(proxy_last()->tries[i].cause, cause);
}

/* --- another try ------------------------------------------------------------------------------------------------ */

static void a_failed_try_is_made_good_by_another_server(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    fake_close(&pb.back, FAILURE_reset_before_response);
    assert_int_equal(proxy_last()->state, EXCHANGE_BACKOFF);
    assert_true(proxy_last()->backoff_us <= 500);
    succeed("GET /a HTTP/1.1\r\nHost: example.org\r\n");
    fake_expect(&pb.front, "head:200/2 +ok end");
    assert_int_equal(proxy_last()->try_count, 2);
    assert_try(0, "s1", FAILURE_reset_before_response);
    assert_try(1, "s2", FAILURE_NONE);
    assert_int_equal(proxy_last()->tries[0].backoff_us, 0);
    assert_true(proxy_last()->tries[1].backoff_us <= 500);
    assert_int_equal(metric(METRIC_retries_total), 1);
    assert_int_equal(metric(METRIC_resends_total), 0);
    assert_int_equal(metric(METRIC_server_failures_total), 0);
}

static void when_all_were_tried_it_begins_anew(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    fake_close(&pb.back, FAILURE_response_timeout);
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /a");
    peer_shut(&pb.server);
    succeed("GET /a");
    assert_int_equal(proxy_last()->try_count, 3);
    assert_try(0, "s1", FAILURE_response_timeout);
    assert_try(1, "s2", FAILURE_reset_before_response);
    assert_try(2, "s1", FAILURE_NONE);
}

static void refuse_all(void) {
    struct addr at;
    close(port_refusing(&at)); /* nobody takes it in this moment */
    pb.s1->address = address_make(&pb.config->arena, &at);
    struct server_settings *s2 = (struct server_settings *)(uintptr_t)&pb.app->servers[1];
    s2->address = pb.s1->address;
    proxy_build();
}

static void no_more_than_max_tries_more(void **state) {
    (void)state;
    refuse_all();
    proxy_get("/");
    await_end(1);
    assert_answered("502/", FAILURE_connect_failed);
    assert_int_equal(proxy_last()->try_count, 3);
    assert_try(0, "s1", FAILURE_connect_failed);
    assert_try(1, "s2", FAILURE_connect_failed);
    assert_try(2, "s1", FAILURE_connect_failed);
}

/* Nobody can have seen it. */
static void a_post_that_did_not_connect_is_sent_again(void **state) {
    (void)state;
    refuse_all();
    proxy_post("/p", 2);
    LOOP_UNTIL(loop(), pb.front.log_len > strlen("pause"));
    assert_int_equal(proxy_last()->try_count, 3);
    fake_close(&pb.front, FAILURE_client_closed);
}

static void a_post_that_may_have_been_seen_is_not(void **state) {
    (void)state;
    begin();
    proxy_start(proxy_request("POST", "/p", BODY_LENGTH, 0, NULL));
    fake_close(&pb.back, FAILURE_reset_before_response);
    assert_answered("502/", FAILURE_reset_before_response);
    fake_end(&pb.front);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(metric(METRIC_retries_total), 0);
}

static void a_post_is_where_that_is_allowed(void **state) {
    (void)state;
    pb.app->retry.non_idempotent = true;
    begin();
    proxy_post("/p", 2);
    fake_body(&pb.front, "hi");
    fake_end(&pb.front);
    fake_close(&pb.back, FAILURE_reset_before_response);
    succeed("\r\n\r\nhi");
}

static void nothing_that_the_settings_do_not_name(void **state) {
    (void)state;
    pb.app->retry.cause_count = 1;
    begin();
    proxy_get("/");
    fake_close(&pb.back, FAILURE_reset_before_response);
    assert_answered("502/", FAILURE_reset_before_response);
}

static void nothing_that_speaks_against_repeating(void **state) {
    (void)state;
    begin();
    proxy_get("/");
    fake_close(&pb.back, FAILURE_bad_response);
    assert_answered("502/", FAILURE_bad_response);
}

static void nothing_after_the_first_byte_of_an_answer(void **state) {
    (void)state;
    begin();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 10, NULL));
    fake_close(&pb.back, FAILURE_reset_before_response);
    fake_expect(&pb.front, "head:200/10 reset");
    assert_int_equal(metric(METRIC_retries_total), 0);
}

static void an_interim_answer_is_not_the_first_byte(void **state) {
    (void)state;
    begin();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(103, BODY_NONE, 0, NULL));
    fake_close(&pb.back, FAILURE_reset_before_response);
    succeed("GET /");
    fake_expect(&pb.front, "head:103 head:200/2 +ok end");
}

/* The race with an idle connection is made good on the same server, at once, and costs nothing. */
static void a_resend_is_no_retry(void **state) {
    (void)state;
    pb.app->retry.budget_ratio = 0;
    pb.app->retry.budget_min_per_second = 0;
    begin();
    proxy_get("/");
    fake_close(&pb.back, FAILURE_closed_idle);
    assert_int_equal(proxy_last()->state, EXCHANGE_CONNECT);
    succeed("GET /");
    assert_try(1, "s1", FAILURE_NONE);
    assert_int_equal(metric(METRIC_resends_total), 1);
    assert_int_equal(metric(METRIC_retries_total), 0);
}

/* --- bodies ----------------------------------------------------------------------------------------------------- */

static void put(const char *body) {
    begin();
    proxy_start(proxy_request("PUT", "/p", BODY_LENGTH, 12, NULL));
    fake_body(&pb.front, body);
}

static void a_body_is_kept_over_several_tries(void **state) {
    (void)state;
    put("0123456789");
    fake_close(&pb.back, FAILURE_reset_before_response);
    fake_expect(&pb.front, "pause");
    accept_server();
    peer_expect_part(&pb.server, loop(), "\r\n\r\n0123456789");
    fake_expect(&pb.front, "resume");
    peer_reset(&pb.server);
    LOOP_UNTIL(loop(), proxy_last()->retries == 2);
    accept_server();
    peer_expect_part(&pb.server, loop(), "\r\n\r\n0123456789");
    fake_body(&pb.front, "ab");
    fake_end(&pb.front);
    peer_expect(&pb.server, loop(), "ab");
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
}

static void a_body_above_the_buffer_is_not_sent_again(void **state) {
    (void)state;
    put("0123456789a");
    assert_int_equal(loop()->chunks.bytes, 0);
    fake_close(&pb.back, FAILURE_reset_before_response);
    assert_answered("502/", FAILURE_reset_before_response);
    fake_close(&pb.front, FAILURE_client_closed);
}

static void a_body_that_nobody_would_send_again_is_not_kept(void **state) {
    (void)state;
    begin();
    proxy_post("/p", 4);
    fake_body(&pb.front, "hi");
    assert_int_equal(loop()->chunks.bytes, 0);
    fake_close(&pb.front, FAILURE_client_closed);
}

/* --- the server's own answers ----------------------------------------------------------------------------------- */

static void finish_answer(void) {
    fake_body(&pb.back, "no");
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
}

static void an_answer_is_held_back_and_drained(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    fake_head(&pb.back, proxy_response(503, BODY_LENGTH, 2, NULL));
    assert_int_equal(proxy_last()->state, EXCHANGE_BACKOFF);
    assert_int_equal(atomic_load(&pb.snapshot->backends[0].members[0].server->shared.active), 0);
    finish_answer();
    fake_expect(&pb.back, "head:GET/a.");
    fake_expect(&pb.front, "");
    succeed("GET /a");
    fake_expect(&pb.front, "head:200/2 +ok end");
    assert_try(0, "s1", FAILURE_bad_status);
    assert_try(1, "s2", FAILURE_NONE);
}

static void an_answer_that_takes_too_long_is_cut_off(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    fake_head(&pb.back, proxy_response(502, BODY_CHUNKED, 0, NULL));
    succeed("GET /a");
    fake_expect(&pb.back, "head:GET/a. reset");
}

static void an_answer_to_an_unfinished_request_is_cut_off(void **state) {
    (void)state;
    put("01");
    fake_head(&pb.back, proxy_response(504, BODY_LENGTH, 2, NULL));
    fake_expect(&pb.back, "head:PUT/p/12 +01 reset");
    fake_expect(&pb.front, "pause");
    accept_server();
    peer_expect_part(&pb.server, loop(), "\r\n\r\n01");
    fake_body(&pb.front, "0123456789");
    fake_end(&pb.front);
    peer_say(&pb.server, OK_TEXT);
    await_end(1);
}

static void the_last_answer_is_passed_on(void **state) {
    (void)state;
    pb.app->retry.max = 1;
    begin();
    proxy_get("/a");
    fake_head(&pb.back, proxy_response(503, BODY_LENGTH, 2, NULL));
    finish_answer();
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /a");
    peer_say(&pb.server, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    await_end(1);
    fake_expect(&pb.front, "head:503/4 +busy end");
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_try(0, "s1", FAILURE_bad_status);
    assert_try(1, "s2", FAILURE_NONE);
}

static void expect_passed_on(unsigned status, const char *fields) {
    char head[32];
    fake_head(&pb.back, proxy_response(status, BODY_LENGTH, 2, fields));
    finish_answer();
    snprintf(head, sizeof head, "head:%u/2 +no end", status);
    fake_expect(&pb.front, head);
    assert_int_equal(pb.ends, 1);
}

static void other_statuses_are_passed_on(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    expect_passed_on(500, NULL);
}

static void an_answer_to_a_post_is_passed_on(void **state) {
    (void)state;
    begin();
    proxy_start(proxy_request("POST", "/p", BODY_LENGTH, 0, NULL));
    fake_end(&pb.front);
    expect_passed_on(503, NULL);
}

/* --- time ------------------------------------------------------------------------------------------------------- */

static void a_server_may_ask_to_wait(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    fake_head(&pb.back, proxy_response(503, BODY_LENGTH, 2, "Retry-After: 3\n"));
    assert_int_equal(proxy_last()->state, EXCHANGE_BACKOFF);
    assert_int_equal(proxy_last()->backoff_us, 3000000);
    finish_answer();
    fake_close(&pb.front, FAILURE_client_closed); /* who leaves meanwhile does not wait */
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_client_closed);
    assert_int_equal(proxy_last()->try_count, 1);
}

static void but_not_for_long(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    expect_passed_on(503, "Retry-After: 11\n");
}

static void and_not_beyond_the_requests_time(void **state) {
    (void)state;
    pb.web->timeouts.request_us = 900000;
    begin();
    proxy_get("/a");
    expect_passed_on(503, "Retry-After: 1\n");
}

static void leaving_while_an_answer_is_drained_ends_it(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    fake_head(&pb.back, proxy_response(503, BODY_LENGTH, 2, "Retry-After: 3\n"));
    fake_close(&pb.front, FAILURE_client_closed);
    fake_expect(&pb.back, "head:GET/a. reset");
    assert_int_equal(pb.ends, 1);
}

static void it_may_be_killed_while_it_waits(void **state) {
    (void)state;
    begin();
    proxy_get("/a");
    fake_head(&pb.back, proxy_response(503, BODY_LENGTH, 2, "Retry-After: 3\n"));
    exchange_kill(pb.x, FAILURE_shutting_down);
    fake_expect(&pb.front, "reset");
    fake_expect(&pb.back, "head:GET/a. reset");
    assert_int_equal(pb.ends, 1);
}

static void each_try_has_its_time(void **state) {
    (void)state;
    pb.app->retry.per_try_us = 5000;
    begin();
    proxy_get("/a");
    LOOP_UNTIL(loop(), proxy_last()->retries == 1);
    fake_expect(&pb.back, "head:GET/a. reset");
    succeed("GET /a");
    assert_try(0, "s1", FAILURE_response_timeout);
}

static void a_trys_time_ends_with_the_head(void **state) {
    (void)state;
    pb.app->retry.per_try_us = 5000;
    begin();
    proxy_get("/a");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 2, NULL));
    loop_run_for(loop(), 15000);
    assert_int_equal(pb.ends, 0);
    finish_answer();
    fake_expect(&pb.front, "head:200/2 +no end");
}

/* The server is not to blame for a client that sends slowly. */
static void a_trys_time_is_not_the_clients(void **state) {
    (void)state;
    pb.app->retry.per_try_us = 5000;
    put("01");
    loop_run_for(loop(), 15000);
    assert_int_equal(proxy_last()->state, EXCHANGE_FORWARD);
    fake_body(&pb.front, "0123456789");
    fake_end(&pb.front);
    await_end(1); /* from now on it is; and the body was too long to be kept */
    assert_int_equal(proxy_cause(), FAILURE_response_timeout);
}

static void the_requests_time_wins(void **state) {
    (void)state;
    pb.web->timeouts.request_us = 30000;
    pb.app->retry.max = 100;
    pb.app->retry.per_try_us = 4000;
    begin();
    proxy_get("/a");
    await_end(1);
    assert_true(proxy_last()->cause == FAILURE_request_timeout || proxy_last()->cause == FAILURE_response_timeout);
    assert_int_equal(proxy_last()->status, 504);
    assert_true(proxy_last()->retries < 100);
}

/* --- the budget ------------------------------------------------------------------------------------------------- */

static void without_a_budget_the_failure_is_told_at_once(void **state) {
    (void)state;
    pb.app->retry.budget_ratio = 0;
    pb.app->retry.budget_min_per_second = 0;
    begin();
    proxy_get("/");
    fake_close(&pb.back, FAILURE_reset_before_response);
    assert_answered("502/", FAILURE_reset_before_response);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(metric(METRIC_retries_over_budget_total), 1);
    assert_int_equal(metric(METRIC_retries_total), 0);
}

static void an_answer_over_the_budget_is_passed_on(void **state) {
    (void)state;
    pb.app->retry.budget_ratio = 0;
    pb.app->retry.budget_min_per_second = 0;
    begin();
    proxy_get("/");
    expect_passed_on(503, NULL);
    assert_int_equal(metric(METRIC_retries_over_budget_total), 1);
}

static void each_request_pays_in(void **state) {
    (void)state;
    pb.app->retry.budget_min_per_second = 0;
    pb.app->retry.budget_ratio = 1;
    refuse_all();
    proxy_get("/");
    await_end(1); /* the second retry is one too many for one request */
    assert_answered("502/", FAILURE_connect_failed);
    assert_int_equal(proxy_last()->try_count, 2);
}

static void off_is_off(void **state) {
    (void)state;
    pb.app->retry.on = false;
    begin();
    proxy_get("/");
    fake_close(&pb.back, FAILURE_reset_before_response);
    assert_answered("502/", FAILURE_reset_before_response);
}

static void a_route_may_have_rules_of_its_own(void **state) {
    (void)state;
    struct route_settings *r = config_add_route(pb.config, pb.web, "r", "/");
    route_to(r, 0);
    r->has_retry = true;
    r->retry = pb.app->retry;
    pb.app->retry.on = false;
    begin();
    proxy_get("/a");
    fake_close(&pb.back, FAILURE_reset_before_response);
    succeed("GET /a");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, proxy_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_failed_try_is_made_good_by_another_server),
        TEST(when_all_were_tried_it_begins_anew),
        TEST(no_more_than_max_tries_more),
        TEST(a_post_that_did_not_connect_is_sent_again),
        TEST(a_post_that_may_have_been_seen_is_not),
        TEST(a_post_is_where_that_is_allowed),
        TEST(nothing_that_the_settings_do_not_name),
        TEST(nothing_that_speaks_against_repeating),
        TEST(nothing_after_the_first_byte_of_an_answer),
        TEST(an_interim_answer_is_not_the_first_byte),
        TEST(a_resend_is_no_retry),
        TEST(a_body_is_kept_over_several_tries),
        TEST(a_body_above_the_buffer_is_not_sent_again),
        TEST(a_body_that_nobody_would_send_again_is_not_kept),
        TEST(an_answer_is_held_back_and_drained),
        TEST(an_answer_that_takes_too_long_is_cut_off),
        TEST(an_answer_to_an_unfinished_request_is_cut_off),
        TEST(the_last_answer_is_passed_on),
        TEST(other_statuses_are_passed_on),
        TEST(an_answer_to_a_post_is_passed_on),
        TEST(a_server_may_ask_to_wait),
        TEST(but_not_for_long),
        TEST(and_not_beyond_the_requests_time),
        TEST(leaving_while_an_answer_is_drained_ends_it),
        TEST(it_may_be_killed_while_it_waits),
        TEST(each_try_has_its_time),
        TEST(a_trys_time_ends_with_the_head),
        TEST(a_trys_time_is_not_the_clients),
        TEST(the_requests_time_wins),
        TEST(without_a_budget_the_failure_is_told_at_once),
        TEST(an_answer_over_the_budget_is_passed_on),
        TEST(each_request_pays_in),
        TEST(off_is_off),
        TEST(a_route_may_have_rules_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
