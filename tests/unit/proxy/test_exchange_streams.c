/* test_exchange_streams.c: what moves between an exchange's two streams: order, back-pressure, early ends, a new
 * protocol. */
#include "loomgate/proxy/exchange.h"

#include "../../../src/proxy/exchange_internal.h"
#include "../../support/proxy_bed.h"

#include <unistd.h>

static struct loop *loop(void) {
    return &pb.env.loop;
}

static void begin_get(void) {
    proxy_add_idle();
    proxy_get("/");
    fake_expect(&pb.back, "head:GET/.");
}

static void begin_put(enum body_kind body, uint64_t length) {
    proxy_add_idle();
    proxy_start(proxy_request("PUT", "/", body, length, NULL));
    pb.back.log[pb.back.log_len = 0] = '\0';
}

static void end_well(void) {
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
}

/* --- order ------------------------------------------------------------------------------------------------------ */

static void a_request_body_goes_piece_by_piece(void **state) {
    (void)state;
    begin_put(BODY_LENGTH, 6);
    fake_body(&pb.front, "abc");
    fake_expect(&pb.back, "+abc");
    pb.front.stream.events->on_body(&pb.front.stream, SLICE("def"), true);
    fake_expect(&pb.back, "+def~");
    fake_end(&pb.front);
    fake_expect(&pb.back, "end");
    fake_head(&pb.back, proxy_response(204, BODY_NONE, 0, NULL));
    fake_end(&pb.back);
    end_well();
}

static void a_response_goes_piece_by_piece(void **state) {
    (void)state;
    begin_get();
    fake_head(&pb.back, proxy_response(200, BODY_CHUNKED, 0, "X-A: 1\n"));
    fake_expect(&pb.front, "head:200");
    fake_expect_field(&pb.front, "X-A: 1");
    assert_true(pb.front.keep_alive);
    pb.back.stream.events->on_body(&pb.back.stream, SLICE("abc"), true);
    fake_body(&pb.back, "def");
    fake_expect(&pb.front, "+abc~ +def");
    fake_end(&pb.back);
    fake_expect(&pb.front, "end");
    end_well();
}

static void trailers_go_both_ways(void **state) {
    (void)state;
    struct field v[] = {{SLICE("X-Sum"), SLICE("42"), FIELD_OTHER, false}};
    const struct fields trailers = {.v = v, .count = 1, .room = 1};
    begin_put(BODY_CHUNKED, 0);
    fake_body(&pb.front, "abc");
    pb.front.request_ended = true;
    pb.front.stream.events->on_end(&pb.front.stream, &trailers);
    fake_expect(&pb.back, "+abc end(1)");
    fake_head(&pb.back, proxy_response(200, BODY_CHUNKED, 0, NULL));
    pb.back.stream.events->on_end(&pb.back.stream, &trailers);
    fake_expect(&pb.front, "head:200 end(1)");
    end_well();
}

static void a_response_without_a_body_ends_with_its_head(void **state) {
    (void)state;
    begin_get();
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 0, NULL));
    fake_expect(&pb.front, "head:200/0.");
    assert_false(pb.front.open);
    fake_end(&pb.back);
    end_well();
}

static void interim_heads_go_before(void **state) {
    (void)state;
    begin_put(BODY_LENGTH, 2);
    fake_head(&pb.back, proxy_response(103, BODY_NONE, 0, "Link: </x>\n"));
    fake_expect(&pb.front, "head:103");
    fake_expect_field(&pb.front, "Link: </x>");
    fake_expect_no_field(&pb.front, "X-Request-Id"); /* of final responses */
    fake_head(&pb.back, proxy_response(100, BODY_NONE, 0, NULL));
    fake_expect(&pb.front, "head:100");
    assert_int_equal(proxy_last()->status, 0);
    fake_body(&pb.front, "ab");
    fake_end(&pb.front);
    fake_head(&pb.back, proxy_response(204, BODY_NONE, 0, NULL));
    fake_end(&pb.back);
    fake_expect(&pb.front, "head:204.");
    end_well();
    assert_int_equal(proxy_last()->status, 204);
}

static void the_first_byte_is_timed(void **state) {
    (void)state;
    begin_get();
    assert_true(proxy_last()->first_byte_us == UINT64_MAX);
    fake_head(&pb.back, proxy_response(103, BODY_NONE, 0, NULL));
    assert_true(proxy_last()->first_byte_us == UINT64_MAX);
    fake_head(&pb.back, proxy_response(204, BODY_NONE, 0, NULL));
    assert_true(proxy_last()->first_byte_us < 5000000);
    fake_end(&pb.back);
    end_well();
}

/* --- back-pressure ---------------------------------------------------------------------------------------------- */

static void a_slow_server_pauses_the_client(void **state) {
    (void)state;
    begin_put(BODY_CHUNKED, 0);
    fake_body(&pb.front, "a");
    fake_expect(&pb.front, "");
    pb.back.stream.congested = true;
    fake_body(&pb.front, "b");
    fake_expect(&pb.front, "pause");
    fake_body(&pb.front, "c"); /* the one that was under way */
    fake_expect(&pb.front, "");
    fake_writable(&pb.back);
    fake_expect(&pb.front, "resume");
    fake_writable(&pb.back);
    fake_expect(&pb.front, "");
    fake_close(&pb.front, FAILURE_client_closed);
}

static void a_slow_client_pauses_the_server(void **state) {
    (void)state;
    begin_get();
    fake_head(&pb.back, proxy_response(200, BODY_CHUNKED, 0, NULL));
    fake_body(&pb.back, "a");
    fake_expect(&pb.back, "");
    pb.front.stream.congested = true;
    fake_body(&pb.back, "b");
    fake_expect(&pb.back, "pause");
    fake_body(&pb.back, "c");
    fake_expect(&pb.back, "");
    fake_writable(&pb.front);
    fake_expect(&pb.back, "resume");
    fake_end(&pb.back);
    end_well();
}

static void heads_can_congest_too(void **state) {
    (void)state;
    begin_get();
    pb.front.stream.congested = true;
    fake_head(&pb.back, proxy_response(103, BODY_NONE, 0, NULL));
    fake_expect(&pb.back, "pause");
    fake_writable(&pb.front);
    fake_expect(&pb.back, "resume");
    pb.front.stream.congested = true;
    fake_head(&pb.back, proxy_response(200, BODY_CHUNKED, 0, NULL));
    fake_expect(&pb.back, "pause");
    fake_writable(&pb.front);
    fake_end(&pb.back);
    end_well();
}

/* --- early ends ------------------------------------------------------------------------------------------------- */

/* The server wants no more of the request: its rest is thrown away, a client that was paused can go on. */
static void an_early_response(void **state) {
    (void)state;
    begin_put(BODY_LENGTH, 1000);
    pb.back.stream.congested = true;
    fake_body(&pb.front, "abc");
    fake_expect(&pb.front, "pause");
    fake_head(&pb.back, proxy_response(413, BODY_LENGTH, 2, NULL));
    fake_body(&pb.back, "no");
    fake_end(&pb.back);
    fake_expect(&pb.front, "head:413/2 +no resume end");
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(pb.ends, 0); /* the client still sends */
    fake_body(&pb.front, "rest");
    fake_end(&pb.front);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(proxy_last()->status, 413);
}

static void an_early_response_to_a_client_that_leaves(void **state) {
    (void)state;
    begin_put(BODY_LENGTH, 1000);
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 0, NULL));
    fake_expect(&pb.front, "head:200/0.");
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(pb.ends, 1);
}

/* The client's stream may be gone with the last byte, before the server's says that it has ended. */
static void the_front_may_close_first(void **state) {
    (void)state;
    begin_get();
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 0, NULL));
    assert_false(pb.front.open);
    assert_int_equal(pb.ends, 0);
    fake_body(&pb.back, "surplus"); /* nobody is there: harmless */
    fake_end(&pb.back);
    end_well();
}

/* --- limits ----------------------------------------------------------------------------------------------------- */

static void set_up_limited(void) {
    proxy_set_up(NULL);
    pb.web->limits.body_size = 5;
    proxy_build();
}

static void a_length_over_the_limit_is_refused_at_once(void **state) {
    (void)state;
    set_up_limited();
    proxy_add_idle();
    proxy_post("/", 6);
    assert_int_equal(proxy_cause(), FAILURE_body_too_large);
    assert_memory_equal(pb.front.log, "head:413/", 9);
    assert_false(pb.front.keep_alive); /* the rest is not read away */
    assert_int_equal(pb.env.pools.idle, 1);
    fake_close(&pb.front, FAILURE_NONE);
    assert_int_equal(pb.ends, 1);
}

static void a_chunked_body_over_the_limit_is_refused_when_it_gets_there(void **state) {
    (void)state;
    set_up_limited();
    begin_put(BODY_CHUNKED, 0);
    fake_body(&pb.front, "12345");
    fake_expect(&pb.back, "+12345");
    fake_body(&pb.front, "6");
    fake_expect(&pb.back, "reset");
    assert_memory_equal(pb.front.log, "head:413/", 9);
    assert_int_equal(proxy_cause(), FAILURE_body_too_large);
    fake_close(&pb.front, FAILURE_NONE);
    assert_int_equal(pb.ends, 1);
}

static void a_body_over_the_limit_after_the_answer_has_begun_cuts_it(void **state) {
    (void)state;
    set_up_limited();
    begin_put(BODY_CHUNKED, 0);
    fake_head(&pb.back, proxy_response(200, BODY_CHUNKED, 0, NULL));
    fake_body(&pb.front, "123456");
    fake_expect(&pb.front, "head:200 reset");
    fake_expect(&pb.back, "reset");
    assert_int_equal(pb.ends, 1);
}

/* --- a new protocol --------------------------------------------------------------------------------------------- */

static struct peer client;
static struct conn *front_conn, *back_conn;
static struct peer server_end;

static void begin_upgrade(void) {
    proxy_add_idle();
    struct message *m = proxy_request("GET", "/ws", BODY_NONE, 0, "Connection: upgrade\nUpgrade: websocket, other\n");
    m->upgrade = true;
    m->upgrade_to = m->fields.v[1].value;
    proxy_start(m);
    fake_end(&pb.front);
    pb.back.log[pb.back.log_len = 0] = '\0';
    front_conn = conn_adopt(loop(), peer_open(&client), NULL, NULL);
    back_conn = conn_adopt(loop(), peer_open(&server_end), NULL, NULL);
    pb.front.conn = front_conn;
    pb.back.conn = back_conn;
}

static struct message *switching(const char *to) {
    char fields[64];
    snprintf(fields, sizeof fields, "Connection: upgrade\nUpgrade: %s\n", to);
    struct message *m = proxy_response(101, BODY_NONE, 0, fields);
    m->upgrade = true;
    m->upgrade_to = m->fields.v[1].value;
    return m;
}

static void end_tunnel(void) {
    peer_close(&client);
    peer_close(&server_end);
    LOOP_UNTIL(loop(), pb.ends == 1);
    loop_settle(loop());
}

static void a_101_becomes_a_tunnel(void **state) {
    (void)state;
    begin_upgrade();
    fake_head(&pb.back, switching("websocket"));
    fake_expect(&pb.front, "head:101 take");
    fake_expect(&pb.back, "take");
    assert_int_equal(proxy_last()->state, EXCHANGE_TUNNEL);
    peer_say(&client, "ping");
    peer_expect(&server_end, loop(), "ping");
    peer_say(&server_end, "pong!");
    peer_expect(&client, loop(), "pong!");
    assert_int_equal(pb.ends, 0);
    assert_int_equal(atomic_load(&pb.snapshot->backends[0].members[0].server->shared.active), 1);
    peer_shut(&client);
    peer_shut(&server_end);
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(proxy_last()->status, 101);
    assert_int_equal(proxy_last()->bytes_in, 4);
    assert_int_equal(proxy_last()->bytes_out, 5);
    end_tunnel();
}

static void a_protocol_that_was_not_offered_is_refused(void **state) {
    (void)state;
    begin_upgrade();
    fake_head(&pb.back, switching("h2c"));
    fake_expect(&pb.back, "reset");
    assert_memory_equal(pb.front.log, "head:502/", 9);
    assert_int_equal(proxy_cause(), FAILURE_bad_response);
    conn_close(front_conn, CONN_CLOSE_NOW);
    conn_close(back_conn, CONN_CLOSE_NOW);
    end_tunnel();
}

/* The server may decline: an ordinary response. */
static void an_upgrade_that_is_declined(void **state) {
    (void)state;
    begin_upgrade();
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 0, NULL));
    fake_expect(&pb.front, "head:200/0.");
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    conn_close(front_conn, CONN_CLOSE_NOW);
    conn_close(back_conn, CONN_CLOSE_NOW);
    end_tunnel();
}

static void a_requests_time_is_no_limit_for_its_tunnel(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.web->timeouts.request_us = 10000;
    proxy_build();
    begin_upgrade();
    fake_head(&pb.back, switching("websocket"));
    loop_run_for(loop(), 20000);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(atomic_load(&pb.snapshot->backends[0].members[0].server->shared.active), 1);
    peer_say(&client, "ping");
    peer_expect(&server_end, loop(), "ping");
    end_tunnel();
}

static void a_tunnel_has_its_own_time(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.app->timeouts.tunnel_us = 10000;
    proxy_build();
    begin_upgrade();
    fake_head(&pb.back, switching("websocket"));
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_tunnel_timeout);
    end_tunnel();
}

/* --- TCP mode --------------------------------------------------------------------------------------------------- */

static void start_tcp(bool has_server) {
    proxy_set_up(NULL);
    pb.web->mode = MODE_TCP;
    pb.s1->maint = !has_server;
    proxy_build();
    front_conn = conn_adopt(loop(), peer_open_tcp(&client), NULL, NULL);
    exchange_start_tcp(&pb.client, front_conn);
    if (!pb.ends) pb.x = front_conn->owner;
}

static void tcp_mode_is_a_tunnel(void **state) {
    (void)state;
    start_tcp(true);
    peer_say(&client, "early ");
    listener_accept(pb.listener, loop(), &pb.server);
    peer_say(&client, "late");
    peer_shut(&client);
    peer_expect(&pb.server, loop(), "early late");
    peer_expect_eof(&pb.server, loop());
    peer_say(&pb.server, "bye");
    peer_shut(&pb.server);
    peer_expect(&client, loop(), "bye");
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(proxy_last()->bytes_in, 10);
    assert_int_equal(proxy_last()->bytes_out, 3);
    assert_int_equal(proxy_last()->try_count, 1);
}

static void tcp_mode_without_a_server(void **state) {
    (void)state;
    start_tcp(false);
    assert_int_equal(pb.ends, 1);
    LOOP_UNTIL(loop(), (peer_read(&client), client.eof || client.error));
}

static void a_tcp_client_that_breaks_before_its_server_answers(void **state) {
    (void)state;
    start_tcp(true);
    peer_reset(&client);
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_client_closed);
}

static int end_peers(void **state) {
    peer_close(&client);
    peer_close(&server_end);
    peer_close(&pb.server);
    loop_settle(loop());
    return proxy_tear_down(state);
}

#define BUILT(name)  cmocka_unit_test_setup_teardown(name, proxy_set_up_built, proxy_tear_down)
#define UNMADE(name) cmocka_unit_test_teardown(name, end_peers) /* sets up by itself */
#define PEERS(name)  cmocka_unit_test_setup_teardown(name, proxy_set_up_built, end_peers)

int main(void) {
    client.fd = server_end.fd = -1;
    const struct CMUnitTest tests[] = {
        BUILT(a_request_body_goes_piece_by_piece),
        BUILT(a_response_goes_piece_by_piece),
        BUILT(trailers_go_both_ways),
        BUILT(a_response_without_a_body_ends_with_its_head),
        BUILT(interim_heads_go_before),
        BUILT(the_first_byte_is_timed),
        BUILT(a_slow_server_pauses_the_client),
        BUILT(a_slow_client_pauses_the_server),
        BUILT(heads_can_congest_too),
        BUILT(an_early_response),
        BUILT(an_early_response_to_a_client_that_leaves),
        BUILT(the_front_may_close_first),
        UNMADE(a_length_over_the_limit_is_refused_at_once),
        UNMADE(a_chunked_body_over_the_limit_is_refused_when_it_gets_there),
        UNMADE(a_body_over_the_limit_after_the_answer_has_begun_cuts_it),
        PEERS(a_101_becomes_a_tunnel),
        PEERS(a_protocol_that_was_not_offered_is_refused),
        PEERS(an_upgrade_that_is_declined),
        UNMADE(a_requests_time_is_no_limit_for_its_tunnel),
        UNMADE(a_tunnel_has_its_own_time),
        UNMADE(tcp_mode_is_a_tunnel),
        UNMADE(tcp_mode_without_a_server),
        UNMADE(a_tcp_client_that_breaks_before_its_server_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
