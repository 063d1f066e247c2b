/* test_attempt.c: one try at one server: an idle session, a fresh connection, or waiting for a descriptor. */
#include "loomgate/proxy/attempt.h"

#include "../../support/addr_make.h"
#include "../../support/proxy_bed.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

static struct attempt attempt;
static struct attempt_request request;
static unsigned ready, failed;
static enum failure cause;

static void on_ready(struct attempt *a) {
    assert_ptr_equal(a, &attempt);
    ready++;
}

static void on_failed(struct attempt *a, enum failure f) {
    assert_ptr_equal(a, &attempt);
    failed++;
    cause = f;
}

static const struct attempt_events events = {on_ready, on_failed};

static struct loop *loop(void) {
    return &pb.env.loop;
}

static void begin(void) {
    proxy_build();
    attempt_init(&attempt, &pb.env, &events);
    request = (struct attempt_request){.member = &pb.snapshot->backends[0].members[0], .route = &pb.frontend->fallback};
    ready = failed = 0;
    cause = FAILURE_NONE;
}

static int set_up(void **state) {
    proxy_set_up(state);
    begin();
    return 0;
}

static int tear_down(void **state) {
    attempt_end(&attempt);
    loop_settle(loop());
    return proxy_tear_down(state);
}

static void an_idle_session_is_ready_at_once(void **state) {
    (void)state;
    proxy_add_idle();
    assert_true(attempt_start(&attempt, &request));
    assert_ptr_equal(attempt.session, pb.back_session);
    assert_true(attempt.connect_us == UINT64_MAX); /* nothing was connected */
    attempt_end(&attempt);
    assert_ptr_equal(pb.session_shut, &pb.back_session->h1.session); /* not wanted: it is closed */
    assert_int_equal(ready + failed, 0);
    attempt_end(&attempt);
}

static void a_fresh_connection_becomes_a_session(void **state) {
    (void)state;
    assert_false(attempt_start(&attempt, &request));
    assert_int_equal(ready, 0);
    LOOP_UNTIL(loop(), ready == 1);
    assert_non_null(attempt.session);
    assert_null(attempt.conn);
    assert_false(attempt.session->is_private);
    assert_true(attempt.connect_us < 5000000);
    assert_int_equal(pb.env.pools.sessions.in_use, 1);
}

static void a_fresh_one_may_be_asked_for(void **state) {
    (void)state;
    proxy_add_idle();
    request.fresh = true;
    assert_false(attempt_start(&attempt, &request));
    LOOP_UNTIL(loop(), ready == 1);
    assert_ptr_not_equal(attempt.session, pb.back_session);
    assert_int_equal(pb.env.pools.idle, 1);
}

static void a_dead_idle_session_is_passed_over_when_certainty_is_asked_for(void **state) {
    (void)state;
    proxy_add_idle();
    peer_shut(&pb.back_peer);
    request.certain = true;
    assert_false(attempt_start(&attempt, &request));
    assert_ptr_equal(pb.session_shut, &pb.back_session->h1.session);
    LOOP_UNTIL(loop(), ready == 1);
}

static void a_raw_connection(void **state) {
    (void)state;
    proxy_add_idle();
    request.raw = true;
    assert_false(attempt_start(&attempt, &request));
    LOOP_UNTIL(loop(), ready == 1);
    assert_null(attempt.session);
    assert_non_null(attempt.conn);
    assert_int_equal(pb.env.pools.idle, 1); /* sessions are not for tunnels */
}

static void a_connection_in_the_clients_name_is_private(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.s1->send_proxy = SEND_PROXY_V1;
    begin();
    struct addr client = addr_make_ip("192.0.2.7", 5123), local = addr_make_ip("198.51.100.1", 80);
    request.client = &client;
    request.local = &local;
    proxy_add_idle();
    assert_false(attempt_start(&attempt, &request)); /* an idle session would speak for somebody else */
    LOOP_UNTIL(loop(), ready == 1);
    assert_true(attempt.session->is_private);
    listener_accept(pb.listener, loop(), &pb.server);
    peer_expect(&pb.server, loop(), "PROXY TCP4 192.0.2.7 198.51.100.1 5123 80\r\n");
}

static void a_failure_is_told_later(void **state) {
    (void)state;
    proxy_set_up(NULL);
    struct addr at;
    int port = port_refusing(&at);
    pb.s1->address = address_make(&pb.config->arena, &at);
    begin();
    assert_false(attempt_start(&attempt, &request));
    assert_int_equal(failed, 0);
    LOOP_UNTIL(loop(), failed == 1);
    assert_int_equal(cause, FAILURE_connect_failed);
    close(port);
}

static void ending_while_connecting(void **state) {
    (void)state;
    assert_false(attempt_start(&attempt, &request));
    attempt_end(&attempt);
    loop_settle(loop());
    assert_int_equal(ready + failed, 0);
    assert_false(attempt_start(&attempt, &request)); /* and again */
    LOOP_UNTIL(loop(), ready == 1);
}

/* --- without descriptors ---------------------------------------------------------------------------------------- */

static struct rlimit before;

static void lack_descriptors(void) {
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    struct rlimit none = before;
    int next = dup(0);
    close(next);
    none.rlim_cur = (rlim_t)next;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
}

static void have_descriptors(void) {
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
}

static void it_waits_for_a_descriptor(void **state) {
    (void)state;
    lack_descriptors();
    assert_false(attempt_start(&attempt, &request));
    attempts_feed(&pb.env);
    loop_settle(loop());
    assert_int_equal(ready + failed, 0);
    assert_false(list_is_empty(&pb.env.starved));
    have_descriptors();
    loop_settle(loop());
    assert_int_equal(ready, 0); /* nobody said that there is one */
    attempts_feed(&pb.env);
    LOOP_UNTIL(loop(), ready == 1);
    assert_true(list_is_empty(&pb.env.starved));
}

static void it_takes_a_session_that_became_idle(void **state) {
    (void)state;
    lack_descriptors();
    bool now = attempt_start(&attempt, &request);
    have_descriptors();
    assert_false(now);
    proxy_add_idle();
    lack_descriptors();
    attempts_feed(&pb.env);
    loop_settle(loop());
    have_descriptors();
    assert_int_equal(ready, 1);
    assert_ptr_equal(attempt.session, pb.back_session);
}

static void it_does_not_wait_for_ever(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.app->timeouts.connect_us = 10000;
    begin();
    lack_descriptors();
    bool now = attempt_start(&attempt, &request);
    LOOP_UNTIL(loop(), failed == 1);
    have_descriptors();
    assert_false(now);
    assert_int_equal(cause, FAILURE_connect_timeout);
    assert_true(list_is_empty(&pb.env.starved));
}

static void it_may_end_while_it_waits(void **state) {
    (void)state;
    lack_descriptors();
    bool now = attempt_start(&attempt, &request);
    attempt_end(&attempt);
    have_descriptors();
    assert_false(now);
    assert_true(list_is_empty(&pb.env.starved));
    attempts_feed(&pb.env);
    loop_settle(loop());
    assert_int_equal(ready + failed, 0);
}

#define TEST(name)   cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define UNMADE(name) cmocka_unit_test_teardown(name, tear_down) /* sets up by itself */

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_idle_session_is_ready_at_once),
        TEST(a_fresh_connection_becomes_a_session),
        TEST(a_fresh_one_may_be_asked_for),
        TEST(a_dead_idle_session_is_passed_over_when_certainty_is_asked_for),
        TEST(a_raw_connection),
        UNMADE(a_connection_in_the_clients_name_is_private),
        UNMADE(a_failure_is_told_later),
        TEST(ending_while_connecting),
        TEST(it_waits_for_a_descriptor),
        TEST(it_takes_a_session_that_became_idle),
        UNMADE(it_does_not_wait_for_ever),
        TEST(it_may_end_while_it_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
