/* test_h1_session.c: a client's HTTP/1 session: requests and their bodies in, one after the other, early answers,
 * refusals. (What is sent: test_h1_send.c; ends: test_h1_session_ends.c; a server's session: test_h1_session_server.c.)
 */
#include "loomgate/http/h1_session.h"

#include "../../support/h1_bed.h"

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

/* --- one after the other ---------------------------------------------------------------------------------------- */

static void requests_follow_each_other(void **state) {
    (void)state;
    bed_open_client();
    for (unsigned i = 0; i < 3; i++) {
        say(GET("/a"));
        bed_await("GET/a end");
        assert_int_equal(bed.stream->reused, i > 0);
        bed_answer("ok");
        bed_expect("close:ok");
        expect_bytes(OK_TEXT);
        assert_int_equal(bed.bytes_in, strlen(GET("/a")));
        assert_int_equal(bed.bytes_out, strlen(OK_TEXT));
    }
    assert_int_equal(bed.s.served, 3);
    assert_int_equal(bed.loop.chunks.bytes, 0); /* an idle connection holds no buffer */
    peer_shut(&bed.peer);
    bed_await("gone");
    expect_end();
}

static void heads_may_come_byte_by_byte(void **state) {
    (void)state;
    bed_open_client();
    bed.at_end = bed_answer_ok;
    for (const char *at = GET("/slow") GET("/more"); *at; at++) {
        peer_say_slice(&bed.peer, slice_from(at, 1));
        loop_turns(&bed.loop, 2);
    }
    bed_await("GET/slow end close:ok GET/more end close:ok");
    expect_bytes(OK_TEXT OK_TEXT);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    (void)state;
    bed_open_client();
    say(GET("/1") GET("/2") GET("/3") "GET /4 HTT");
    bed_await("GET/1 end");
    peer_expect_nothing(&bed.peer, &bed.loop);
    bed_expect("");
    bed_answer("one");
    assert_int_equal(bed.bytes_in, strlen(GET("/1")));
    bed_await("close:ok GET/2 end");
    say("P/1.1\r\nHost: h\r\n\r\n");
    loop_settle(&bed.loop);
    bed_answer("");
    assert_int_equal(bed.bytes_in, strlen(GET("/2")));
    bed_await("close:ok GET/3 end");
    bed_answer("ok");
    bed_await("close:ok GET/4 end");
    bed_answer("ok");
    assert_int_equal(bed.bytes_in, strlen(GET("/4")));
    bed_expect("close:ok");
    expect_bytes(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" OK_TEXT OK_TEXT);
}

static void pipelined_requests_answered_at_once(void **state) {
    (void)state;
    bed_open_client();
    bed.at_end = bed_answer_ok;
    say(GET("/1") GET("/2") GET("/3"));
    peer_shut(&bed.peer);
    bed_await("GET/1 end close:ok GET/2 end close:ok GET/3 end close:ok gone");
    expect_bytes(OK_TEXT OK_TEXT OK_TEXT);
    expect_end();
}

/* The end of what the client sends is heard of only behind the requests that wait. */
static void pipelined_requests_then_half_close(void **state) {
    (void)state;
    bed_open_client();
    say(GET("/1") GET("/2"));
    peer_shut(&bed.peer);
    bed_await("GET/1 end");
    loop_settle(&bed.loop);
    bed_answer("ok");
    bed_await("close:ok GET/2 end");
    loop_settle(&bed.loop);
    bed_answer("ok");
    bed_await("close:ok gone");
    expect_bytes(OK_TEXT);
    peer_expect_part(&bed.peer, &bed.loop, "\r\n\r\nok");
    expect_end();
}

static void answer_block(struct h1_bed *b) {
    struct message m = bed_response(200, BODY_LENGTH, 65536);
    (void)b;
    bed_send_head(&m, false);
    bed_send_block(65536);
    bed_send_end();
}

/* Whoever asks much and reads nothing gets what fits the buffers and no more. */
static void responses_that_nobody_reads_do_not_pile_up(void **state) {
    (void)state;
    enum { REQUESTS = 200 };
    bed_open_client();
    bed.at_end = answer_block;
    for (unsigned i = 0; i < REQUESTS; i++) say(GET("/"));
    loop_settle(&bed.loop);
    assert_true(bed.closes < REQUESTS);
    assert_true(bed.conn->out.bytes < 4 * 65536);
    size_t all = REQUESTS * (65536 + strlen("HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n"));
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    while (bed.peer.total < all) {
        peer_read(&bed.peer);
        peer_forget(&bed.peer);
        assert_true(loop_step(&bed.loop, end_us));
    }
    assert_int_equal(bed.closes, REQUESTS);
    assert_int_equal(bed.peer.total, all);
}

/* A client with a thousand requests in one read does not keep the others waiting. */
static void pipelined_requests_take_turns_with_others(void **state) {
    (void)state;
    enum { REQUESTS = 1000 };
    bed_open_client();
    bed.at_end = bed_answer_ok;
    char *all = xmalloc(REQUESTS * strlen(GET("/")));
    for (unsigned i = 0; i < REQUESTS; i++) memcpy(all + i * strlen(GET("/")), GET("/"), strlen(GET("/")));
    peer_say_slice(&bed.peer, slice_from(all, REQUESTS * strlen(GET("/"))));
    free(all);
    unsigned before = 0;
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    while (bed.closes < REQUESTS) {
        assert_true(loop_step(&bed.loop, end_us));
        assert_true(bed.closes - before <= 2 * 32);
        before = bed.closes;
        peer_read(&bed.peer);
    }
    loop_settle(&bed.loop);
    peer_read(&bed.peer);
    assert_int_equal(bed.peer.total, REQUESTS * strlen(OK_TEXT));
}

/* --- bodies in -------------------------------------------------------------------------------------------------- */

static void bodies_come_in(void **state) {
    (void)state;
    bed_open_client();
    bed.at_end = bed_answer_ok;
    say("POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
        "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: "
        "1\r\n\r\n"
        "POST /z HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    bed_await("POST/l +hello end close:ok POST/c +abc +de end(1) close:ok POST/z end close:ok");
    expect_bytes(OK_TEXT OK_TEXT OK_TEXT);
}

static void bodies_come_byte_by_byte(void **state) {
    (void)state;
    bed_open_client();
    const char *at = "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    for (; *at; at++) {
        peer_say_slice(&bed.peer, slice_from(at, 1));
        loop_turns(&bed.loop, 2);
    }
    bed_await("POST/c +a +b end");
    bed_answer("ok");
    bed_expect("close:ok");
    expect_bytes(OK_TEXT);
}

static void pause_at_head(struct h1_bed *b, struct message *m) {
    (void)m;
    b->stream->ops->pause(b->stream);
}

static void a_paused_stream_gets_nothing(void **state) {
    (void)state;
    bed_open_client();
    bed.at_head = pause_at_head;
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello");
    bed_await("POST/");
    say("world");
    peer_shut(&bed.peer);
    loop_settle(&bed.loop);
    bed_expect("");
    bed.stream->ops->resume(bed.stream);
    bed_expect(""); /* not before it returns */
    bed_await("+hello +world end");
    bed_answer("ok");
    bed_await("close:ok gone");
}

static void pause_at_body(struct h1_bed *b, struct slice body, bool more) {
    (void)body, (void)more;
    b->stream->ops->pause(b->stream);
}

static void a_pause_between_two_chunks(void **state) {
    (void)state;
    bed_open_client();
    bed.at_body = pause_at_body;
    say("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n" GET("/next"));
    bed_await("POST/ +a");
    loop_settle(&bed.loop);
    bed_expect("");
    bed.stream->ops->resume(bed.stream);
    bed_await("+b");
    bed.stream->ops->resume(bed.stream);
    bed_await("end");
    bed_answer("ok");
    bed_await("close:ok GET/next end");
}

static void large_bodies_stream(void **state) {
    (void)state;
    enum { SIZE = 4 * 1024 * 1024 };
    bed_open_client();
    char *block = xcalloc(1, SIZE);
    size_t sent = 0;
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n");
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    while (bed.body_bytes < SIZE) {
        sent += peer_push(&bed.peer, slice_from(block, SIZE - sent));
        assert_true(loop_step(&bed.loop, end_us));
        assert_true(bed.loop.chunks.bytes < 1024 * 1024);
    }
    free(block);
    bed_answer("ok");
    assert_int_equal(bed.cause, FAILURE_NONE);
    assert_int_equal(bed.bytes_in, SIZE + strlen("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n"));
}

/* --- early answers ---------------------------------------------------------------------------------------------- */

static void the_rest_of_an_answered_request_is_read_away(void **state) {
    (void)state;
    bed_open_client();
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello");
    bed_await("POST/ +hello");
    bed_answer("ok");
    bed_expect(""); /* the stream lives until the request is complete */
    expect_bytes(OK_TEXT);
    say("world" GET("/next"));
    bed_await("close:ok GET/next end");
    bed_answer("ok");
    expect_bytes(OK_TEXT);
}

static void answered_at_the_head(void **state) {
    (void)state;
    bed_open_client();
    say("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    bed_await("POST/");
    bed_answer("ok");
    say("5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n" GET("/next"));
    bed_await("close:ok GET/next end");
}

/* It is not read for ever: then FIN, a little lingering, and the client has its answer. */
static void too_long_a_rest_closes(void **state) {
    (void)state;
    static char block[64 * 1024];
    bed_open_client();
    say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n");
    bed_await("POST/");
    bed_answer("ok");
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    size_t sent = 0;
    while (!bed.closes) {
        sent += peer_push(&bed.peer, slice_from(block, sizeof block));
        assert_true(loop_step(&bed.loop, end_us));
    }
    assert_true(sent >= 256 * 1024);
    assert_true(sent < 2 * 1024 * 1024);
    bed_expect("close:ok gone");
    expect_bytes(OK_TEXT);
    expect_end();
    loop_settle(&bed.loop);                                   /* what the peer had sent is read away */
    assert_int_equal(peer_push(&bed.peer, SLICE("more")), 4); /* lingering: no reset */
    loop_settle(&bed.loop);
    peer_shut(&bed.peer);
    LOOP_UNTIL(&bed.loop, bed.loop.conns.in_use == 0);
}

static void a_bad_chunk_behind_the_answer_closes(void **state) {
    (void)state;
    bed_open_client();
    say("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    bed_await("POST/");
    bed_answer("ok");
    say("zz\r\n" GET("/smuggled"));
    bed_await("close:ok gone");
    expect_bytes(OK_TEXT);
    expect_end();
    peer_shut(&bed.peer);
}

/* --- refused ---------------------------------------------------------------------------------------------------- */

static void an_unreadable_request_is_answered_and_nothing_else_is_read(void **state) {
    (void)state;
    bed_open_client();
    bed.at_fail = bed_answer_ok;
    say("GET / HTTP/1.1\r\nHost : h\r\n\r\n" GET("/smuggled"));
    bed_await("fail:bad_field close:ok gone");
    expect_bytes(OK_CLOSE);
    expect_end();
    say(GET("/still-reading"));
    loop_settle(&bed.loop);
    assert_int_equal(bed.streams, 1);
    peer_shut(&bed.peer);
    LOOP_UNTIL(&bed.loop, bed.loop.conns.in_use == 0);
}

/* While it lasts, as at its end. */
static void bytes_may_be_counted_meanwhile(void **state) {
    (void)state;
    static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n";
    bed_open_client();
    say(head);
    bed_await("POST/");
    bed.stream->ops->count(bed.stream);
    assert_int_equal(bed.stream->bytes_in, sizeof head - 1);
    assert_int_equal(bed.stream->bytes_out, 0);
    say("abc");
    bed_await("+abc");
    bed.stream->ops->count(bed.stream);
    assert_int_equal(bed.stream->bytes_in, sizeof head - 1 + 3);
    say("de");
    bed_await("+de end");
    bed_answer("ok");
    bed_await("close:ok");
    assert_int_equal(bed.bytes_in, sizeof head - 1 + 5);
    assert_true(bed.bytes_out > 20);
}

static void a_bad_body_fails_the_request(void **state) {
    (void)state;
    bed_open_client();
    say("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n");
    bed_await("POST/ +a fail:bad_chunk");
    assert_int_equal(bed.malformed, 1);
    assert_int_equal(bed.malformed_why, FAILURE_bad_chunk);
    say(GET("/smuggled"));
    loop_settle(&bed.loop);
    bed_expect("");
    bed_answer("ok"); /* later is well too */
    bed_expect("close:ok gone");
    expect_bytes(OK_CLOSE);
}

static void an_unreadable_pipelined_request_waits_for_its_turn(void **state) {
    (void)state;
    bed_open_client();
    say(GET("/good") "BAD\r\n\r\n");
    bed_await("GET/good end");
    bed_answer("ok");
    bed_await("close:ok fail:bad_request_line");
    bed_answer("ok");
    bed_expect("close:ok gone");
    expect_bytes(OK_TEXT OK_CLOSE);
}

static void heads_over_the_limit(void **state) {
    (void)state;
    bed_open_client();
    bed.limits = (struct h1_limits){.head_bytes = 64, .field_count = 2, .uri_bytes = 20};
    say("GET / HTTP/1.1\r\nHost: h\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    bed_await("fail:header_too_large");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_set_up, bed_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(requests_follow_each_other),
        TEST(heads_may_come_byte_by_byte),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(pipelined_requests_answered_at_once),
        TEST(pipelined_requests_then_half_close),
        TEST(responses_that_nobody_reads_do_not_pile_up),
        TEST(pipelined_requests_take_turns_with_others),
        TEST(bodies_come_in),
        TEST(bodies_come_byte_by_byte),
        TEST(a_paused_stream_gets_nothing),
        TEST(a_pause_between_two_chunks),
        TEST(large_bodies_stream),
        TEST(the_rest_of_an_answered_request_is_read_away),
        TEST(answered_at_the_head),
        TEST(too_long_a_rest_closes),
        TEST(a_bad_chunk_behind_the_answer_closes),
        TEST(an_unreadable_request_is_answered_and_nothing_else_is_read),
        TEST(bytes_may_be_counted_meanwhile),
        TEST(a_bad_body_fails_the_request),
        TEST(an_unreadable_pipelined_request_waits_for_its_turn),
        TEST(heads_over_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
