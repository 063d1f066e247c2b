/* test_h1_send.c: what a stream sends over HTTP/1: framing of heads and bodies, interim heads, resets, take-over. */
#include "loomgate/http/h1_session.h"

#include "../../support/h1_bed.h"

#include <errno.h>

static void say(const char *text) {
    peer_say(&bed.peer, text);
}

static void expect_bytes(const char *text) {
    peer_expect(&bed.peer, &bed.loop, text);
}

static void ask(const char *request, const char *log) {
    bed_open_client();
    say(request);
    bed_await(log);
}

static void ask_get(void) {
    ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET/ end");
}

/* --- responses -------------------------------------------------------------------------------------------------- */

static void a_known_length(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(200, BODY_LENGTH, 10);
    bed_send_head(&m, false);
    bed_send_body("hello", true);
    bed_send_body("world", false);
    bed_send_end();
    bed_expect("close:ok");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhelloworld");
}

static void an_unknown_length_is_chunked(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(200, BODY_CHUNKED, 0);
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    bed_send_body("", false); /* an empty piece is no last chunk */
    expect_bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    peer_expect_nothing(&bed.peer, &bed.loop);
    bed_send_body("seventeen bytes..", true);
    bed_send_end();
    bed_expect("close:ok");
    expect_bytes("11\r\nseventeen bytes..\r\n0\r\n\r\n");
}

static void a_body_until_close_becomes_chunked(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(200, BODY_UNTIL_CLOSE, 0);
    bed_send_head(&m, false);
    bed_send_body("x", false);
    bed_send_end();
    bed_expect("close:ok");
    expect_bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
}

static void trailers_follow_the_last_chunk(void **state) {
    (void)state;
    ask_get();
    struct field v[] = {{SLICE("X-Sum"), SLICE("42"), FIELD_OTHER, false},
                        {SLICE("X-Dropped"), SLICE("no"), FIELD_OTHER, true},
                        {SLICE("X-Empty"), SLICE(""), FIELD_OTHER, false}};
    struct fields trailers = {.v = v, .count = 3, .room = 3};
    struct message m = bed_response(200, BODY_CHUNKED, 0);
    bed_send_head(&m, false);
    bed_send_body("x", false);
    bed.stream->ops->send_end(bed.stream, &trailers);
    expect_bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 42\r\nX-Empty: \r\n\r\n");
}

static void trailers_behind_a_length_are_left_out(void **state) {
    (void)state;
    ask_get();
    struct field v[] = {{SLICE("X-Sum"), SLICE("42"), FIELD_OTHER, false}};
    struct fields trailers = {.v = v, .count = 1, .room = 1};
    struct message m = bed_response(200, BODY_LENGTH, 1);
    bed_send_head(&m, false);
    bed_send_body("x", false);
    bed.stream->ops->send_end(bed.stream, &trailers);
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
    peer_expect_nothing(&bed.peer, &bed.loop);
}

static void no_body_at_all(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(200, BODY_CHUNKED, 0);
    bed_send_head(&m, true);
    bed_expect("close:ok");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static void a_204_has_neither_body_nor_length(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(204, BODY_NONE, 0);
    bed_send_head(&m, true);
    expect_bytes("HTTP/1.1 204 No Content\r\n\r\n");
    peer_expect_nothing(&bed.peer, &bed.loop);
}

static void a_304_keeps_its_length(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(304, BODY_NONE, 77);
    m.has_length = true;
    bed_send_head(&m, true);
    expect_bytes("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n");
}

/* Whatever is sent as the body of an answer to HEAD is not sent. */
static void head_has_no_body(void **state) {
    (void)state;
    ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD/ end");
    struct message m = bed_response(200, BODY_LENGTH, 5);
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    bed_send_end();
    bed_expect("close:ok");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    say("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    bed_await("HEAD/ end");
    m = bed_response(200, BODY_CHUNKED, 0);
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    bed_send_end();
    expect_bytes("HTTP/1.1 200 OK\r\n\r\n");
    peer_expect_nothing(&bed.peer, &bed.loop);
}

static void a_message_that_closes(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(200, BODY_LENGTH, 2);
    m.keep_alive = false;
    bed_send_head(&m, false);
    bed_send_body("ok", false);
    bed_send_end();
    bed_expect("close:ok gone");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    peer_expect_eof(&bed.peer, &bed.loop);
}

static void a_client_that_asked_to_close(void **state) {
    (void)state;
    ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET/ end");
    bed_answer("ok");
    bed_expect("close:ok gone");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    peer_expect_eof(&bed.peer, &bed.loop);
}

static void an_old_client_gets_no_chunks(void **state) {
    (void)state;
    ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET/ end");
    struct message m = bed_response(200, BODY_CHUNKED, 0);
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    bed_send_end();
    bed_expect("close:ok gone");
    expect_bytes("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
    peer_expect_eof(&bed.peer, &bed.loop);
}

static void an_old_client_that_asks_is_kept(void **state) {
    (void)state;
    ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET/ end");
    bed_answer("ok");
    bed_expect("close:ok");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");
    say("GET /b HTTP/1.0\r\n\r\n");
    bed_await("GET/b end");
    bed_answer("ok");
    bed_expect("close:ok gone");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
}

/* --- interim ---------------------------------------------------------------------------------------------------- */

#define EXPECTS "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"

static void interim_heads_go_before(void **state) {
    (void)state;
    ask(EXPECTS, "POST/");
    struct message m = bed_response(103, BODY_NONE, 0);
    bed_send_head(&m, false);
    m = bed_response(100, BODY_NONE, 0);
    bed_send_head(&m, false);
    expect_bytes("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
    say("hello");
    bed_await("+hello end");
    bed_answer("ok");
    bed_expect("close:ok");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void an_old_client_gets_no_interim_heads(void **state) {
    (void)state;
    ask("GET / HTTP/1.0\r\n\r\n", "GET/ end");
    struct message m = bed_response(103, BODY_NONE, 0);
    bed_send_head(&m, false);
    bed_answer("ok");
    expect_bytes("HTTP/1.1 200 OK\r\n");
}

/* Whether its body follows nobody knows: the next request could not be told from it. */
static void a_final_answer_instead_of_100_closes(void **state) {
    (void)state;
    ask(EXPECTS, "POST/");
    bed_answer("ok");
    bed_expect("close:ok gone");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    say("hello");
    loop_settle(&bed.loop);
    peer_shut(&bed.peer);
}

static void a_client_that_did_not_wait_for_100_is_kept(void **state) {
    (void)state;
    ask(EXPECTS "hello", "POST/ +hello end");
    bed_answer("ok");
    bed_expect("close:ok");
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

/* --- requests --------------------------------------------------------------------------------------------------- */

static void requests_and_their_framing(void **state) {
    (void)state;
    static const struct {
        const char *method;
        enum body_kind body;
        uint64_t length;
        bool end;
        const char *text;
    } rows[] = {
        {"GET", BODY_NONE, 0, true, "GET /u HTTP/1.1\r\nHost: h\r\n\r\n"},
        {"POST", BODY_LENGTH, 0, true, "POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"},
        {"POST", BODY_LENGTH, 2, false, "POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok"},
        {"PUT", BODY_CHUNKED, 0, false,
         "PUT /u HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
    };
    bed_open_server();
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        struct message m = bed_request(rows[i].method, "/u", rows[i].body, rows[i].length);
        bed_open_stream();
        bed_send_head(&m, rows[i].end);
        if (!rows[i].end) {
            bed_send_body("ok", false);
            bed_send_end();
        }
        expect_bytes(rows[i].text);
        peer_expect_nothing(&bed.peer, &bed.loop);
        say("HTTP/1.1 204 No Content\r\n\r\n");
        bed_await("204 end close:ok idle");
    }
}

static void a_request_that_closes(void **state) {
    (void)state;
    bed_open_server();
    struct message m = bed_request("GET", "/", BODY_NONE, 0);
    m.keep_alive = false;
    bed_open_stream();
    bed_send_head(&m, true);
    expect_bytes("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
}

/* One write for a head and what follows it within the turn. */
static void a_head_waits_for_its_body(void **state) {
    (void)state;
    bed_open_server();
    struct message m = bed_request("POST", "/", BODY_LENGTH, 2);
    bed_open_stream();
    bed_send_head(&m, false);
    peer_read(&bed.peer);
    assert_int_equal(bed.peer.count, 0);
    bed_send_body("ok", false);
    peer_read(&bed.peer);
    assert_true(bed.peer.count > 0);
    bed_send_end();
    expect_bytes("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok");
    say("HTTP/1.1 204 No Content\r\n\r\n");
    bed_await("204 end close:ok idle");
    bed_open_stream();
    bed_send_head(&m, false);
    expect_bytes("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"); /* not longer than to the turn's end */
}

/* --- back-pressure ---------------------------------------------------------------------------------------------- */

static void a_slow_client_congests(void **state) {
    (void)state;
    enum { BLOCK = 100000 };
    size_t blocks = 0;
    ask_get();
    struct message m = bed_response(200, BODY_UNTIL_CLOSE, 0);
    m.keep_alive = false;
    bed_send_head(&m, false);
    for (; !bed.stream->congested; blocks++) bed_send_block(BLOCK);
    bed_expect("");
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    while (!bed.log_len) {
        peer_read(&bed.peer);
        assert_true(loop_step(&bed.loop, end_us));
    }
    bed_expect("writable");
    bed_send_end();
    bed_expect("close:ok gone");
    LOOP_UNTIL(&bed.loop, (peer_read(&bed.peer), bed.peer.eof));
    size_t all = strlen("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n") +
                 blocks * (BLOCK + strlen("186a0\r\n\r\n")) + strlen("0\r\n\r\n");
    assert_int_equal(bed.peer.total, all);
    assert_int_equal(bed.bytes_out, all);
}

/* --- breaking off ----------------------------------------------------------------------------------------------- */

static void break_off(void) {
    struct stream *s = bed.stream;
    bed.stream = NULL;
    s->ops->reset(s);
    bed_expect("gone");
    s->ops->reset(s); /* once more, and all else, is harmless within the turn */
    s->ops->send_body(s, SLICE("x"), false);
    s->ops->send_end(s, NULL);
    s->ops->pause(s);
    s->ops->resume(s);
    bed_expect("");
}

static void a_reset_before_the_head_just_closes(void **state) {
    (void)state;
    ask_get();
    break_off();
    peer_expect_eof(&bed.peer, &bed.loop);
}

static void a_cut_length_is_seen_as_cut(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(200, BODY_LENGTH, 10);
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    break_off();
    expect_bytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    peer_expect_eof(&bed.peer, &bed.loop);
}

static void a_cut_chunked_body_has_no_last_chunk(void **state) {
    (void)state;
    ask_get();
    struct message m = bed_response(200, BODY_CHUNKED, 0);
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    break_off();
    expect_bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    peer_expect_eof(&bed.peer, &bed.loop);
}

/* FIN would make it look complete. */
static void a_cut_body_until_close_is_reset(void **state) {
    (void)state;
    bed_open_client_tcp();
    say("GET / HTTP/1.0\r\n\r\n");
    bed_await("GET/ end");
    struct message m = bed_response(200, BODY_UNTIL_CLOSE, 0);
    bed_send_head(&m, false);
    bed_send_body("hello", false);
    break_off();
    LOOP_UNTIL(&bed.loop, (peer_read(&bed.peer), bed.peer.eof || bed.peer.error));
    assert_int_equal(bed.peer.error, ECONNRESET);
}

/* --- another protocol ------------------------------------------------------------------------------------------- */

static struct {
    struct conn *c;
    char got[64];
    size_t len;
    unsigned eofs;
} taker;

static size_t on_taken_read(struct conn *c, struct slice bytes) {
    (void)c;
    assert_true(taker.len + bytes.n < sizeof taker.got);
    memcpy(taker.got + taker.len, bytes.p, bytes.n);
    taker.len += bytes.n;
    taker.got[taker.len] = '\0';
    return bytes.n;
}

static void on_taken_eof(struct conn *c) {
    (void)c;
    taker.eofs++;
}

static const struct conn_events taken_events = {.on_read = on_taken_read, .on_eof = on_taken_eof};

static void take_conn(void) {
    struct stream *s = bed.stream;
    bed.stream = NULL;
    memset(&taker, 0, sizeof taker);
    taker.c = s->ops->take_conn(s);
    assert_ptr_equal(taker.c, bed.conn);
    conn_set_owner(taker.c, &taken_events, &taker);
    assert_int_equal(taker.len, 0);
}

#define UPGRADE "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

static struct message switching(void) {
    struct message m = bed_response(101, BODY_NONE, 0);
    m.upgrade = true;
    m.upgrade_to = SLICE("websocket");
    return m;
}

static void a_client_conn_is_taken_with_what_follows_the_head(void **state) {
    (void)state;
    ask(UPGRADE "early frame", "GET/ws end");
    struct message m = switching();
    bed_send_head(&m, false);
    take_conn();
    bed_expect("gone");
    expect_bytes("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    LOOP_UNTIL(&bed.loop, taker.len == 11);
    say(" late");
    LOOP_UNTIL(&bed.loop, taker.len == 16);
    assert_string_equal(taker.got, "early frame late");
    conn_close(taker.c, CONN_CLOSE_NOW);
    assert_int_equal(bed.closes, 0);
}

/* A half-close behind the request is the new protocol's, and not lost. */
static void a_half_close_behind_the_head_is_taken_too(void **state) {
    (void)state;
    ask(UPGRADE, "GET/ws end");
    peer_shut(&bed.peer);
    loop_settle(&bed.loop);
    struct message m = switching();
    bed_send_head(&m, false);
    take_conn();
    loop_settle(&bed.loop);
    assert_int_equal(taker.eofs, 1);
    conn_close(taker.c, CONN_CLOSE_NOW);
}

static void take_at_head(struct h1_bed *b, struct message *m) {
    (void)b;
    assert_int_equal(m->status, 101);
    take_conn();
}

static void a_server_conn_is_taken_with_what_follows_the_head(void **state) {
    (void)state;
    bed_open_server();
    struct message m = bed_request("GET", "/ws", BODY_NONE, 0);
    m.upgrade = true;
    m.upgrade_to = SLICE("websocket");
    bed_open_stream();
    bed_send_head(&m, true);
    expect_bytes("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    bed.at_head = take_at_head;
    say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframe");
    bed_await("101 gone");
    LOOP_UNTIL(&bed.loop, taker.len == 5);
    assert_string_equal(taker.got, "frame");
    conn_close(taker.c, CONN_CLOSE_NOW);
}

/* A 101 to somebody who did not ask for it. */
static void an_unasked_101_is_a_bad_response(void **state) {
    (void)state;
    bed_open_server();
    bed_get("/");
    say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframe");
    bed_await("close:bad_response gone");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_set_up, bed_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_known_length),
        TEST(an_unknown_length_is_chunked),
        TEST(a_body_until_close_becomes_chunked),
        TEST(trailers_follow_the_last_chunk),
        TEST(trailers_behind_a_length_are_left_out),
        TEST(no_body_at_all),
        TEST(a_204_has_neither_body_nor_length),
        TEST(a_304_keeps_its_length),
        TEST(head_has_no_body),
        TEST(a_message_that_closes),
        TEST(a_client_that_asked_to_close),
        TEST(an_old_client_gets_no_chunks),
        TEST(an_old_client_that_asks_is_kept),
        TEST(interim_heads_go_before),
        TEST(an_old_client_gets_no_interim_heads),
        TEST(a_final_answer_instead_of_100_closes),
        TEST(a_client_that_did_not_wait_for_100_is_kept),
        TEST(requests_and_their_framing),
        TEST(a_request_that_closes),
        TEST(a_head_waits_for_its_body),
        TEST(a_slow_client_congests),
        TEST(a_reset_before_the_head_just_closes),
        TEST(a_cut_length_is_seen_as_cut),
        TEST(a_cut_chunked_body_has_no_last_chunk),
        TEST(a_cut_body_until_close_is_reset),
        TEST(a_client_conn_is_taken_with_what_follows_the_head),
        TEST(a_half_close_behind_the_head_is_taken_too),
        TEST(a_server_conn_is_taken_with_what_follows_the_head),
        TEST(an_unasked_101_is_a_bad_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
