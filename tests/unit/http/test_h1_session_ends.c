/* test_h1_session_ends.c: how a client's HTTP/1 session ends: by the client, by its owner, within events, by time. */
#include "loomgate/http/h1_session.h"

#include "../../support/h1_bed.h"

#include <errno.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_TEXT   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define OK_CLOSE  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

static void say(const char *text) {
    peer_say(&bed.peer, text);
}

static void expect_bytes(const char *text) {
    peer_expect(&bed.peer, &bed.loop, text);
}

static void expect_end(void) {
    peer_expect_eof(&bed.peer, &bed.loop);
}

static void answer_block(struct h1_bed *b) {
    struct message m = bed_response(200, BODY_LENGTH, 65536);
    (void)b;
    bed_send_head(&m, false);
    bed_send_block(65536);
    bed_send_end();
}

static void pause_at_head(struct h1_bed *b, struct message *m) {
    (void)m;
    b->stream->ops->pause(b->stream);
}

/* --- ends ------------------------------------------------------------------------------------------------------- */

static void a_client_that_half_closes_gets_its_answer(void **state) {
    (void)state;
    bed_open_client();
    say(GET("/"));
    peer_shut(&bed.peer);
    bed_await("GET/ end");
    loop_settle(&bed.loop);
    bed_answer("ok");
    bed_expect("close:ok gone");
    expect_bytes(OK_CLOSE);
    expect_end();
}

static void a_client_that_goes_before_it_asks(void **state) {
    (void)state;
    bed_open_client();
    peer_close(&bed.peer);
    bed_await("gone");
    assert_int_equal(bed.streams, 0);
}

static void a_client_that_goes_within_a_head(void **state) {
    (void)state;
    bed_open_client();
    say("GET / HTTP/1.1\r\nHo");
    peer_close(&bed.peer);
    bed_await("close:client_closed gone");
    assert_int_equal(bed.streams, 1);
}

static void a_client_that_goes_within_a_body(void **state) {
    (void)state;
    bed_open_client();
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello");
    peer_shut(&bed.peer);
    bed_await("POST/ +hello close:client_closed gone");
    expect_end();
}

static void a_client_that_resets(void **state) {
    (void)state;
    bed_open_client_tcp();
    say(GET("/"));
    bed_await("GET/ end");
    peer_reset(&bed.peer);
    bed_await("close:client_closed gone");
}

static void a_client_that_resets_when_idle(void **state) {
    (void)state;
    bed_open_client_tcp();
    bed.at_end = bed_answer_ok;
    say(GET("/"));
    bed_await("GET/ end close:ok");
    peer_reset(&bed.peer);
    bed_await("gone");
}

/* The stream has ended, its last bytes have not: closing, for whatever reason, does not cut them. */
static void begin_unread_response(void) {
    bed_open_client();
    say(GET("/"));
    bed_await("GET/ end");
    struct message m = bed_response(200, BODY_LENGTH, 900000);
    bed_send_head(&m, false);
    bed_send_block(900000);
    bed_send_end();
    bed_expect("close:ok");
    assert_true(conn_has_output(bed.conn));
}

static void assert_whole_response(void) {
    const size_t all = 900000 + strlen("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n");
    LOOP_UNTIL(&bed.loop, peer_has(&bed.peer, all) || bed.peer.eof || bed.peer.error);
    assert_int_equal(bed.peer.count, all);
    peer_forget(&bed.peer);
    expect_end();
}

static void a_shutdown_does_not_cut_an_unread_response(void **state) {
    (void)state;
    begin_unread_response();
    bed.s.session.ops->shutdown(&bed.s.session);
    bed_expect("gone");
    assert_whole_response();
}

static void a_half_close_does_not_cut_an_unread_response(void **state) {
    (void)state;
    begin_unread_response();
    peer_shut(&bed.peer);
    loop_settle(&bed.loop);
    assert_whole_response();
    bed_await("gone");
}

/* The reader takes a little every 5 ms, and the idle timeout is 20 ms: it is no limit for a response that moves. */
static void the_idle_timeout_does_not_cut_an_unread_response(void **state) {
    (void)state;
    bed_times(20000, 20000, 1000000);
    begin_unread_response();
    struct peer *p = &bed.peer;
    size_t all = 900000 + strlen("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n"), got = 0;
    static char room[50000];
    while (got < all) {
        ssize_t n = recv(p->fd, room, sizeof room, 0);
        if (n == 0) fail_msg("cut after %zu bytes", got);
        if (n > 0) got += (size_t)n;
        loop_run_for(&bed.loop, 3000);
    }
    bed_await("gone"); /* now it is idle */
}

static void an_unread_response_does_not_stand_for_ever(void **state) {
    (void)state;
    bed_times(1000000, 1000000, 20000);
    begin_unread_response();
    bed_await("gone");
}

/* --- asked to end ----------------------------------------------------------------------------------------------- */

static void shutdown_of_an_idle_session_is_at_once(void **state) {
    (void)state;
    bed_open_client();
    bed.s.session.ops->shutdown(&bed.s.session);
    bed_expect("gone");
    expect_end();
    bed.s.session.ops->shutdown(&bed.s.session); /* harmless until it is freed */
    bed_expect("");
}

static void shutdown_of_a_busy_session_waits_for_the_answer(void **state) {
    (void)state;
    bed_open_client();
    say(GET("/") GET("/never"));
    bed_await("GET/ end");
    bed.s.session.ops->shutdown(&bed.s.session);
    bed_expect("");
    bed_answer("ok");
    bed_expect("close:ok gone");
    expect_bytes(OK_CLOSE);
    expect_end();
}

static void the_last_request_is_answered_and_closed_at_once(const char *request) {
    bed_open_client_tcp();
    say(request);
    bed_await("GET/ end");
    bed_answer("ok");
    bed_expect("close:ok gone");
    assert_int_equal(bed.loop.closing, 0);
    expect_bytes(OK_CLOSE);
    expect_end();
}

/* A client that asked for the close has nothing more to say; one that did not may be speaking just now. */
static void a_close_that_the_client_asked_for_is_at_once(void **state) {
    (void)state;
    the_last_request_is_answered_and_closed_at_once("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
}

static void so_is_one_after_a_request_of_http_10(void **state) {
    (void)state;
    the_last_request_is_answered_and_closed_at_once("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
}

static void a_close_of_our_own_waits_for_the_client(void **state) {
    (void)state;
    bed_open_client_tcp();
    say(GET("/"));
    bed_await("GET/ end");
    bed.s.session.ops->shutdown(&bed.s.session);
    bed_answer("ok");
    bed_expect("close:ok gone");
    say(GET("/did-not-know"));
    loop_settle(&bed.loop);
    assert_int_equal(bed.loop.closing, 1);
    expect_bytes(OK_CLOSE);
    expect_end();
    peer_close(&bed.peer);
    LOOP_UNTIL(&bed.loop, bed.loop.closing == 0);
}

static void abort_ends_the_stream_with_its_cause(void **state) {
    (void)state;
    bed_open_client_tcp();
    say(GET("/"));
    bed_await("GET/ end");
    bed.s.session.ops->abort(&bed.s.session, FAILURE_shutting_down);
    bed_expect("close:shutting_down gone");
    LOOP_UNTIL(&bed.loop, (peer_read(&bed.peer), bed.peer.error || bed.peer.eof));
    assert_int_equal(bed.peer.error, ECONNRESET);
}

/* The owner may end the session inside of any event. */
static void abort_session(struct h1_bed *b) {
    b->s.session.ops->abort(&b->s.session, FAILURE_internal);
}

static void abort_inside_on_end(void **state) {
    (void)state;
    bed_open_client();
    bed.at_end = abort_session;
    say(GET("/1") GET("/2"));
    bed_await("GET/1 end close:internal gone");
    loop_settle(&bed.loop);
    bed_expect("");
}

static void reset_stream(struct h1_bed *b) {
    struct stream *s = b->stream;
    b->stream = NULL;
    s->ops->reset(s);
}

static void reset_at_head(struct h1_bed *b, struct message *m) {
    (void)m;
    reset_stream(b);
}

static void reset_inside_on_head(void **state) {
    (void)state;
    bed_open_client();
    bed.at_head = reset_at_head;
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" GET("/2"));
    bed_await("POST/ gone");
    loop_settle(&bed.loop);
    bed_expect("");
}

static void reset_at_body(struct h1_bed *b, struct slice body, bool more) {
    (void)body, (void)more;
    reset_stream(b);
}

static void reset_inside_on_body(void **state) {
    (void)state;
    bed_open_client();
    bed.at_body = reset_at_body;
    say("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
    bed_await("POST/ +a gone");
    loop_settle(&bed.loop);
    bed_expect("");
}

static void reset_inside_on_end(void **state) {
    (void)state;
    bed_open_client();
    bed.at_end = reset_stream;
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na" GET("/2"));
    bed_await("POST/ +a end gone");
    loop_settle(&bed.loop);
    bed_expect("");
}

static void reset_inside_on_fail(void **state) {
    (void)state;
    bed_open_client();
    bed.at_fail = reset_stream;
    say("BAD\r\n\r\n");
    bed_await("fail:bad_request_line gone");
    expect_end();
}

/* --- timeouts --------------------------------------------------------------------------------------------------- */

static void a_client_that_never_asks_is_closed_quietly(void **state) {
    (void)state;
    bed_times(BED_TIME_US, 10000, BED_TIME_US);
    bed_open_client();
    bed_await("gone");
    assert_int_equal(bed.streams, 0);
    expect_end();
}

static void an_idle_client_is_closed_quietly(void **state) {
    (void)state;
    bed_times(10000, BED_TIME_US, BED_TIME_US);
    bed_open_client();
    bed.at_end = bed_answer_ok;
    say(GET("/"));
    bed_await("GET/ end close:ok gone");
    expect_bytes(OK_TEXT);
    expect_end();
}

static void trickle(const char *text, uint64_t each_us) {
    for (; *text && !bed.stream; text++) {
        peer_say_slice(&bed.peer, slice_from(text, 1));
        loop_run_for(&bed.loop, each_us);
    }
}

static void a_head_that_trickles_times_out(void **state) {
    (void)state;
    bed_times(BED_TIME_US, 20000, BED_TIME_US);
    bed_open_client();
    uint64_t began_us = loop_clock_us();
    trickle("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            2000);
    bed_await("fail:header_timeout");
    assert_true(loop_clock_us() - began_us < 2000000);
    bed_answer("ok");
    bed_expect("close:ok gone");
    expect_bytes(OK_CLOSE);
}

static void a_second_head_that_trickles_times_out(void **state) {
    (void)state;
    bed_times(BED_TIME_US, 20000, BED_TIME_US);
    bed_open_client();
    bed.at_end = bed_answer_ok;
    say(GET("/"));
    bed_await("GET/ end close:ok");
    trickle("\r\nGET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            2000);
    bed_await("fail:header_timeout");
}

/* Nor does it help to leave a response unread meanwhile. */
static void a_head_that_trickles_beside_unread_responses_times_out(void **state) {
    (void)state;
    bed_times(BED_TIME_US, 20000, BED_TIME_US);
    bed_open_client();
    bed.at_end = answer_block;
    while (!conn_has_output(bed.conn)) {
        say(GET("/"));
        loop_settle(&bed.loop);
        if (bed.closes == 1) bed.at_end = bed_answer_ok; /* then in small steps */
        if (bed.closes > 100000) fail_msg("the socket never fills");
    }
    for (unsigned i = 0; i < 100 && !bed.gone && !bed.stream; i++) {
        peer_push(&bed.peer, i ? SLICE("a") : SLICE("GET /"));
        loop_run_for(&bed.loop, 2000);
    }
    assert_true(bed.gone || bed.stream);
}

static void a_body_that_stops_times_out(void **state) {
    (void)state;
    bed_times(BED_TIME_US, BED_TIME_US, 50000);
    bed_open_client();
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
    bed_await("POST/");
    for (unsigned i = 0; i < 3; i++) { /* movement counts */
        uint64_t at_us = bed.conn->deadline.at_us, now_us = bed.loop.now_us;
        LOOP_UNTIL(&bed.loop, bed.loop.now_us > now_us + 100);
        say("a");
        bed_await("+a");
        assert_true(bed.conn->deadline.at_us > at_us);
    }
    bed_await("fail:client_timeout");
    bed_answer("ok");
    bed_expect("close:ok gone");
    expect_bytes(OK_CLOSE);
}

static void a_reader_that_stops_times_out(void **state) {
    (void)state;
    bed_times(BED_TIME_US, BED_TIME_US, 15000);
    bed_open_client_tcp();
    say(GET("/"));
    bed_await("GET/ end");
    struct message m = bed_response(200, BODY_CHUNKED, 0);
    bed_send_head(&m, false);
    while (!bed.stream->congested) bed_send_block(500000);
    bed_await("close:client_timeout gone");
}

static void an_answered_request_that_stops_is_closed(void **state) {
    (void)state;
    bed_times(BED_TIME_US, BED_TIME_US, 15000);
    bed_open_client();
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhello");
    bed_await("POST/ +hello");
    bed_answer("ok");
    bed_await("close:ok gone");
    expect_bytes(OK_TEXT);
    expect_end();
    peer_shut(&bed.peer);
}

/* A server may think for longer than the client's timeouts are. */
static void no_timeout_runs_while_the_client_waits(void **state) {
    (void)state;
    bed_times(10000, 10000, 10000);
    bed_open_client();
    say(GET("/"));
    bed_await("GET/ end");
    loop_run_for(&bed.loop, 30000);
    bed_expect("");
    bed_answer("ok");
    expect_bytes(OK_TEXT);
}

static void a_paused_stream_does_not_time_out(void **state) {
    (void)state;
    bed_times(10000, 10000, 10000);
    bed_open_client();
    bed.at_head = pause_at_head;
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    bed_await("POST/");
    loop_run_for(&bed.loop, 30000);
    bed_expect("");
    bed.stream->ops->resume(bed.stream);
    bed_await("fail:client_timeout");
}

static const struct session_timeouts long_times = {BED_TIME_US, BED_TIME_US, BED_TIME_US};

static void take_long_times(struct h1_bed *b, struct message *m) {
    (void)m;
    b->s.session.ops->set_timeouts(&b->s.session, &long_times);
}

static void new_timeouts_stop_the_old_timer(void **state) {
    (void)state;
    bed_times(10000, 10000, 10000);
    bed_open_client();
    bed.at_head = take_long_times;
    say(GET("/"));
    bed_await("GET/ end");
    loop_run_for(&bed.loop, 30000);
    bed_expect("");
    bed_answer("ok");
    bed_expect("close:ok");
    bed.s.session.ops->set_timeouts(&bed.s.session, &bed.timeouts);
    say("G");
    bed_await("fail:header_timeout");
}

static void timeouts_of_zero_are_none(void **state) {
    (void)state;
    bed_times(0, 0, 0);
    bed_open_client();
    loop_settle(&bed.loop);
    assert_false(deadline_is_set(&bed.conn->deadline));
    say("GET /");
    loop_settle(&bed.loop);
    assert_false(deadline_is_set(&bed.conn->deadline));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_set_up, bed_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_client_that_half_closes_gets_its_answer),
        TEST(a_client_that_goes_before_it_asks),
        TEST(a_client_that_goes_within_a_head),
        TEST(a_client_that_goes_within_a_body),
        TEST(a_client_that_resets),
        TEST(a_client_that_resets_when_idle),
        TEST(a_shutdown_does_not_cut_an_unread_response),
        TEST(a_half_close_does_not_cut_an_unread_response),
        TEST(the_idle_timeout_does_not_cut_an_unread_response),
        TEST(an_unread_response_does_not_stand_for_ever),
        TEST(shutdown_of_an_idle_session_is_at_once),
        TEST(shutdown_of_a_busy_session_waits_for_the_answer),
        TEST(a_close_that_the_client_asked_for_is_at_once),
        TEST(so_is_one_after_a_request_of_http_10),
        TEST(a_close_of_our_own_waits_for_the_client),
        TEST(abort_ends_the_stream_with_its_cause),
        TEST(abort_inside_on_end),
        TEST(reset_inside_on_head),
        TEST(reset_inside_on_body),
        TEST(reset_inside_on_end),
        TEST(reset_inside_on_fail),
        TEST(a_client_that_never_asks_is_closed_quietly),
        TEST(an_idle_client_is_closed_quietly),
        TEST(a_head_that_trickles_times_out),
        TEST(a_second_head_that_trickles_times_out),
        TEST(a_head_that_trickles_beside_unread_responses_times_out),
        TEST(a_body_that_stops_times_out),
        TEST(a_reader_that_stops_times_out),
        TEST(an_answered_request_that_stops_is_closed),
        TEST(no_timeout_runs_while_the_client_waits),
        TEST(a_paused_stream_does_not_time_out),
        TEST(new_timeouts_stop_the_old_timer),
        TEST(timeouts_of_zero_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
