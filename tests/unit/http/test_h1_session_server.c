/* test_h1_session_server.c: a server's HTTP/1 session: responses in, reuse, and what it means when they do not come. */
#include "loomgate/http/h1_session.h"

#include "../../support/h1_bed.h"

#include <errno.h>

#define GET_TEXT(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_TEXT        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void say(const char *text) {
    peer_say(&bed.peer, text);
}

static void expect_bytes(const char *text) {
    peer_expect(&bed.peer, &bed.loop, text);
}

/* One exchange, so that the connection is a used one. */
static void use_once(void) {
    bed_get("/first");
    expect_bytes(GET_TEXT("/first"));
    say(OK_TEXT);
    bed_await("200 +ok end close:ok idle");
}

/* --- well answered ---------------------------------------------------------------------------------------------- */

static void requests_follow_each_other(void **state) {
    (void)state;
    bed_open_server();
    for (unsigned i = 0; i < 3; i++) {
        bed_get("/a");
        assert_int_equal(bed.stream->reused, i > 0);
        expect_bytes(GET_TEXT("/a"));
        say(OK_TEXT);
        bed_await("200 +ok end close:ok idle");
        assert_int_equal(bed.bytes_in, strlen(OK_TEXT));
        assert_int_equal(bed.bytes_out, strlen(GET_TEXT("/a")));
    }
    assert_int_equal(bed.s.served, 3);
    assert_int_equal(bed.loop.chunks.bytes, 0);
    bed.s.session.ops->shutdown(&bed.s.session);
    bed_expect("gone");
    peer_expect_eof(&bed.peer, &bed.loop);
}

static void get_again(struct h1_bed *b) {
    if (b->streams < 3) bed_get("/again");
}

/* The owner may use the session again inside of on_idle. */
static void reuse_inside_on_idle(void **state) {
    (void)state;
    bed_open_server();
    bed.at_idle = get_again;
    bed_get("/a");
    expect_bytes(GET_TEXT("/a"));
    say(OK_TEXT);
    bed_await("200 +ok end close:ok idle");
    expect_bytes(GET_TEXT("/again"));
    say(OK_TEXT);
    bed_await("200 +ok end close:ok idle");
    expect_bytes(GET_TEXT("/again"));
}

static void responses_byte_by_byte(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/a");
    for (const char *at = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"; *at;
         at++) {
        peer_say_slice(&bed.peer, slice_from(at, 1));
        loop_turns(&bed.loop, 2);
    }
    bed_await("200 +o +k end(1) close:ok idle");
}

static void interim_responses_come_before(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/a");
    say("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" OK_TEXT);
    bed_await("103 100 200 +ok end close:ok idle");
}

static void responses_without_a_body(void **state) {
    (void)state;
    bed_open_server();
    struct message head = bed_request("HEAD", "/", BODY_NONE, 0);
    bed_open_stream();
    bed_send_head(&head, true);
    say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    bed_await("200 end close:ok idle");
    bed_get("/");
    say("HTTP/1.1 204 No Content\r\n\r\n");
    bed_await("204 end close:ok idle");
    bed_get("/");
    say("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    bed_await("304 end close:ok idle");
}

static void a_body_that_ends_with_the_connection(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/a");
    say("HTTP/1.1 200 OK\r\n\r\nhello");
    bed_await("200 +hello");
    peer_shut(&bed.peer);
    bed_await("end close:ok gone");
}

static void a_server_that_says_close_is_not_used_again(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/a");
    say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    bed_await("200 +ok end close:ok gone");
    bed_expect("");
    peer_forget(&bed.peer);
}

static void an_old_server_is_not_used_again(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/a");
    say("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    bed_await("200 +ok end close:ok gone");
}

/* Nobody asked for what follows: it must not be taken for the next answer (response smuggling). */
static void surplus_bytes_end_the_session(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/a");
    say(OK_TEXT "HTTP/1.1 200 OK\r\n");
    bed_await("200 +ok end close:ok gone");
}

static void an_idle_server_that_speaks_is_dropped(void **state) {
    (void)state;
    bed_open_server();
    use_once();
    say("HTTP/1.1 408 Request Timeout\r\n\r\n");
    bed_await("gone");
    assert_int_equal(bed.streams, 1);
}

static void an_idle_server_that_closes_is_dropped(void **state) {
    (void)state;
    bed_open_server();
    use_once();
    peer_shut(&bed.peer);
    bed_await("gone");
}

static void an_idle_server_that_resets_is_dropped(void **state) {
    (void)state;
    bed_open_server_tcp();
    use_once();
    peer_reset(&bed.peer);
    bed_await("gone");
}

/* --- bodies out ------------------------------------------------------------------------------------------------- */

static void a_request_with_a_body(void **state) {
    (void)state;
    bed_open_server();
    struct message m = bed_request("POST", "/p", BODY_LENGTH, 10);
    bed_open_stream();
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    bed_send_body("world", false);
    bed_send_end();
    expect_bytes("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhelloworld");
    say(OK_TEXT);
    bed_await("200 +ok end close:ok idle");
}

/* The answer may come while the request is still on its way: what is left of that cannot be told from the next one. */
static void an_early_answer_ends_the_session(void **state) {
    (void)state;
    bed_open_server();
    struct message m = bed_request("POST", "/p", BODY_LENGTH, 10);
    bed_open_stream();
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    bed_await("413 +no end close:ok gone");
}

static void the_request_may_end_while_the_answer_comes(void **state) {
    (void)state;
    bed_open_server();
    struct message m = bed_request("POST", "/p", BODY_LENGTH, 5);
    bed_open_stream();
    bed_send_head(&m, false);
    say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    bed_await("200 +o");
    bed_send_body("hello", false);
    bed_send_end();
    say("k");
    bed_await("+k end close:ok idle");
}

static void send_end_at_head(struct h1_bed *b, struct message *m) {
    (void)m;
    b->stream->ops->send_body(b->stream, SLICE("hello"), false);
    b->stream->ops->send_end(b->stream, NULL);
}

static void the_request_may_end_inside_on_head(void **state) {
    (void)state;
    bed_open_server();
    struct message m = bed_request("POST", "/p", BODY_LENGTH, 5);
    bed.at_head = send_end_at_head;
    bed_open_stream();
    bed_send_head(&m, false);
    say(OK_TEXT);
    bed_await("200 +ok end close:ok idle");
    expect_bytes("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
}

/* --- back-pressure ---------------------------------------------------------------------------------------------- */

static void a_slow_server_congests(void **state) {
    (void)state;
    bed_open_server();
    struct message m = bed_request("POST", "/p", BODY_CHUNKED, 0);
    bed_open_stream();
    bed_send_head(&m, false);
    while (!bed.stream->congested) bed_send_block(100000);
    bed_expect("");
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    while (!bed.log_len) {
        peer_read(&bed.peer);
        peer_forget(&bed.peer);
        assert_true(loop_step(&bed.loop, end_us));
    }
    bed_expect("writable");
    assert_false(bed.stream->congested);
}

static void pause_at_head(struct h1_bed *b, struct message *m) {
    (void)m;
    b->stream->ops->pause(b->stream);
}

static void a_paused_stream_gets_nothing(void **state) {
    (void)state;
    bed_open_server();
    bed.at_head = pause_at_head;
    bed_get("/");
    say("HTTP/1.1 200 OK\r\n\r\nhello");
    bed_await("200");
    peer_shut(&bed.peer);
    loop_settle(&bed.loop);
    bed_expect("");
    bed.stream->ops->resume(bed.stream);
    bed_await("+hello end close:ok gone");
}

/* --- not answered ----------------------------------------------------------------------------------------------- */

static void a_fresh_connection_that_closes(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/");
    expect_bytes(GET_TEXT("/"));
    peer_shut(&bed.peer);
    bed_await("close:reset_before_response gone");
    assert_false(bed.untouched);
}

static void a_used_connection_that_closes(void **state) {
    (void)state;
    bed_open_server();
    use_once();
    bed_get("/");
    expect_bytes(GET_TEXT("/"));
    peer_shut(&bed.peer);
    bed_await("close:closed_idle gone");
    assert_false(bed.untouched); /* it had the request */
}

static void a_used_connection_that_resets(void **state) {
    (void)state;
    bed_open_server_tcp();
    use_once();
    bed_get("/");
    expect_bytes(GET_TEXT("/"));
    peer_reset(&bed.peer);
    bed_await("close:closed_idle gone");
    assert_false(bed.untouched);
}

static void get_late(void) {
    bed_get("/late");
}

/* It had closed before the request was written: seen in one turn with it. */
static void a_connection_that_had_closed_before_is_untouched(void **state) {
    (void)state;
    bed_open_server();
    use_once();
    peer_shut(&bed.peer);
    bed_within_turn(get_late);
    bed_await("close:closed_idle gone");
    assert_true(bed.untouched);
    assert_int_equal(bed.malformed, 0); /* a server may say that it closes */
}

static void a_connection_that_had_been_reset_before_is_untouched(void **state) {
    (void)state;
    bed_open_server_tcp();
    use_once();
    peer_reset(&bed.peer);
    bed_within_turn(get_late);
    bed_await("close:closed_idle gone");
    assert_true(bed.untouched);
}

/* What it says in the turn in which it is asked it said before: it is no answer. */
static void a_used_connection_that_spoke_before_it_was_asked(void **state) {
    (void)state;
    bed_open_server();
    use_once();
    say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    bed_within_turn(get_late);
    bed_await("close:closed_idle gone");
    assert_true(bed.untouched);
}

static void a_fresh_connection_that_spoke_before_it_was_asked(void **state) {
    (void)state;
    bed_open_server();
    loop_settle(&bed.loop);
    say("SSH-2.0-OpenSSH\r\n");
    bed_within_turn(get_late);
    bed_await("close:bad_response gone");
    assert_int_equal(bed.malformed, 1);
}

static void a_response_cut_within_its_head(void **state) {
    (void)state;
    bed_open_server();
    use_once();
    bed_get("/");
    say("HTTP/1.1 20");
    peer_shut(&bed.peer);
    bed_await("close:reset_before_response gone");
}

static void a_response_cut_after_an_interim_one(void **state) {
    (void)state;
    bed_open_server();
    use_once();
    bed_get("/");
    say("HTTP/1.1 100 Continue\r\n\r\n");
    bed_await("100");
    peer_shut(&bed.peer);
    bed_await("close:reset_before_response gone");
}

static void a_response_cut_within_its_body(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/");
    say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell");
    peer_shut(&bed.peer);
    bed_await("200 +hell close:response_cut gone");
    assert_int_equal(bed.malformed, 0);
}

static void a_response_cut_within_its_chunks(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/");
    say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n");
    peer_shut(&bed.peer);
    bed_await("200 +hello close:response_cut gone");
}

static void a_response_cut_by_a_reset(void **state) {
    (void)state;
    bed_open_server_tcp();
    bed_get("/");
    say("HTTP/1.1 200 OK\r\n\r\nhello"); /* would be complete with a FIN */
    bed_await("200 +hello");
    peer_reset(&bed.peer);
    bed_await("close:response_cut gone");
}

static void a_malformed_response(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/");
    say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok");
    bed_await("close:bad_response gone");
    assert_int_equal(bed.malformed, 1);
    assert_int_equal(bed.malformed_why, FAILURE_bad_response);
    assert_int_equal(bed.malformed_at, strlen("HTTP/1.1 200 OK\r\n"));
    peer_forget(&bed.peer);
}

static void a_response_that_turns_bad(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/");
    say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n");
    bed_await("200 +a close:bad_response gone");
}

static void a_response_head_over_the_limit(void **state) {
    (void)state;
    bed_open_server();
    bed.limits.head_bytes = 64;
    bed_get("/");
    say("HTTP/1.1 200 OK\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n");
    bed_await("close:response_too_large gone");
}

/* --- asked to end ----------------------------------------------------------------------------------------------- */

static void reset_breaks_off_in_silence(void **state) {
    (void)state;
    bed_open_server_tcp();
    bed_get("/");
    expect_bytes(GET_TEXT("/"));
    struct stream *s = bed.stream;
    bed.stream = NULL;
    s->ops->reset(s);
    bed_expect("gone");
    LOOP_UNTIL(&bed.loop, (peer_read(&bed.peer), bed.peer.eof || bed.peer.error));
    assert_int_equal(bed.peer.error, ECONNRESET);
    assert_int_equal(bed.closes, 0);
}

static void reset_at_head(struct h1_bed *b, struct message *m) {
    struct stream *s = b->stream;
    (void)m;
    b->stream = NULL;
    s->ops->reset(s);
}

static void reset_inside_on_head(void **state) {
    (void)state;
    bed_open_server();
    bed.at_head = reset_at_head;
    bed_get("/");
    say(OK_TEXT);
    bed_await("200 gone");
    loop_settle(&bed.loop);
    bed_expect("");
}

static void abort_tells_the_stream(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/");
    bed.s.session.ops->abort(&bed.s.session, FAILURE_shutting_down);
    bed_expect("close:shutting_down gone");
}

/* A session with a running exchange ends with that. */
static void shutdown_of_a_busy_session_waits(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/");
    bed.s.session.ops->shutdown(&bed.s.session);
    bed_expect("");
    say(OK_TEXT);
    bed_await("200 +ok end close:ok gone");
}

/* --- timeouts --------------------------------------------------------------------------------------------------- */

static void a_server_that_does_not_answer(void **state) {
    (void)state;
    bed_times(BED_TIME_US, 10000, BED_TIME_US);
    bed_open_server();
    bed_get("/");
    bed_await("close:response_timeout gone");
}

static void a_head_that_trickles_is_no_answer(void **state) {
    (void)state;
    bed_times(BED_TIME_US, 20000, BED_TIME_US);
    bed_open_server();
    bed_get("/");
    say("HTTP/1.1 200 OK\r\nX-A: ");
    for (unsigned i = 0; i < 200 && !bed.closes; i++) {
        peer_push(&bed.peer, SLICE("a"));
        loop_run_for(&bed.loop, 1000);
    }
    bed_expect("close:response_timeout gone");
}

static void the_answers_time_begins_with_the_requests_end(void **state) {
    (void)state;
    bed_times(BED_TIME_US, 10000, BED_TIME_US);
    bed_open_server();
    struct message m = bed_request("POST", "/", BODY_LENGTH, 5);
    bed_open_stream();
    bed_send_head(&m, false);
    loop_run_for(&bed.loop, 30000); /* the client is slow: not the server's fault */
    bed_expect("");
    bed_send_body("hello", false);
    bed_send_end();
    bed_await("close:response_timeout gone");
}

static void a_body_that_stops(void **state) {
    (void)state;
    bed_times(BED_TIME_US, BED_TIME_US, 10000);
    bed_open_server();
    bed_get("/");
    say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell");
    bed_await("200 +hell close:server_timeout gone");
}

static void a_server_that_stops_reading(void **state) {
    (void)state;
    bed_times(BED_TIME_US, BED_TIME_US, 10000);
    bed_open_server();
    struct message m = bed_request("POST", "/", BODY_CHUNKED, 0);
    bed_open_stream();
    bed_send_head(&m, false);
    while (!bed.stream->congested) bed_send_block(100000);
    bed_await("close:server_timeout gone");
}

static void a_paused_stream_does_not_time_out(void **state) {
    (void)state;
    bed_times(BED_TIME_US, 10000, 10000);
    bed_open_server();
    bed.at_head = pause_at_head;
    bed_get("/");
    say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    bed_await("200");
    loop_run_for(&bed.loop, 30000);
    bed_expect("");
    bed.stream->ops->resume(bed.stream);
    bed_await("close:server_timeout gone");
}

/* Politely: a server's log should not be full of resets. */
static void an_idle_session_closes_after_its_time(void **state) {
    (void)state;
    bed_times(10000, BED_TIME_US, BED_TIME_US);
    bed_open_server_tcp();
    use_once();
    bed_await("gone");
    peer_expect_eof(&bed.peer, &bed.loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_set_up, bed_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(requests_follow_each_other),
        TEST(reuse_inside_on_idle),
        TEST(responses_byte_by_byte),
        TEST(interim_responses_come_before),
        TEST(responses_without_a_body),
        TEST(a_body_that_ends_with_the_connection),
        TEST(a_server_that_says_close_is_not_used_again),
        TEST(an_old_server_is_not_used_again),
        TEST(surplus_bytes_end_the_session),
        TEST(an_idle_server_that_speaks_is_dropped),
        TEST(an_idle_server_that_closes_is_dropped),
        TEST(an_idle_server_that_resets_is_dropped),
        TEST(a_request_with_a_body),
        TEST(an_early_answer_ends_the_session),
        TEST(the_request_may_end_while_the_answer_comes),
        TEST(the_request_may_end_inside_on_head),
        TEST(a_slow_server_congests),
        TEST(a_paused_stream_gets_nothing),
        TEST(a_fresh_connection_that_closes),
        TEST(a_used_connection_that_closes),
        TEST(a_used_connection_that_resets),
        TEST(a_connection_that_had_closed_before_is_untouched),
        TEST(a_connection_that_had_been_reset_before_is_untouched),
        TEST(a_used_connection_that_spoke_before_it_was_asked),
        TEST(a_fresh_connection_that_spoke_before_it_was_asked),
        TEST(a_response_cut_within_its_head),
        TEST(a_response_cut_after_an_interim_one),
        TEST(a_response_cut_within_its_body),
        TEST(a_response_cut_within_its_chunks),
        TEST(a_response_cut_by_a_reset),
        TEST(a_malformed_response),
        TEST(a_response_that_turns_bad),
        TEST(a_response_head_over_the_limit),
        TEST(reset_breaks_off_in_silence),
        TEST(reset_inside_on_head),
        TEST(abort_tells_the_stream),
        TEST(shutdown_of_a_busy_session_waits),
        TEST(a_server_that_does_not_answer),
        TEST(a_head_that_trickles_is_no_answer),
        TEST(the_answers_time_begins_with_the_requests_end),
        TEST(a_body_that_stops),
        TEST(a_server_that_stops_reading),
        TEST(a_paused_stream_does_not_time_out),
        TEST(an_idle_session_closes_after_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
