/* test_tunnel.c: bytes both ways: half-close, back-pressure, errors, idleness, and what was kept before. */
#include "loomgate/proxy/tunnel.h"

#include "../../support/conn_pair.h"

#include <errno.h>

enum { TIME_US = 60000000 };

static struct loop loop;
static struct tunnel tunnel;
static struct peer client, server;
static struct conn *front, *back;
static unsigned ends;
static enum failure cause;

static void on_end(struct tunnel *t, enum failure f) {
    assert_ptr_equal(t, &tunnel);
    assert_null(t->front);
    assert_null(t->back);
    ends++;
    cause = f;
}

static const struct tunnel_events events = {on_end};

static void begin(int client_fd, int server_fd) {
    ends = 0;
    cause = FAILURE_NONE;
    front = conn_adopt(&loop, client_fd, NULL, NULL);
    back = conn_adopt(&loop, server_fd, NULL, NULL);
}

static int set_up(void **state) {
    (void)state;
    loop_init(&loop);
    int client_fd = peer_open(&client);
    begin(client_fd, peer_open(&server));
    return 0;
}

static int set_up_tcp(void **state) {
    (void)state;
    loop_init(&loop);
    int client_fd = peer_open_tcp(&client);
    begin(client_fd, peer_open_tcp(&server));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    peer_close(&client);
    peer_close(&server);
    LOOP_UNTIL(&loop, loop.conns.in_use == 0);
    loop_finish(&loop);
    return 0;
}

static void start(uint64_t idle_us) {
    tunnel_start(&tunnel, front, back, idle_us, &events);
}

static void bytes_go_both_ways(void **state) {
    (void)state;
    start(TIME_US);
    peer_say(&client, "ping");
    peer_expect(&server, &loop, "ping");
    peer_say(&server, "pong!");
    peer_expect(&client, &loop, "pong!");
    assert_int_equal(ends, 0);
    peer_shut(&client);
    peer_shut(&server);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_NONE);
    assert_int_equal(tunnel.bytes_in, 4);
    assert_int_equal(tunnel.bytes_out, 5);
    peer_expect_eof(&client, &loop);
    peer_expect_eof(&server, &loop);
}

static void a_half_close_leaves_the_other_way_open(void **state) {
    (void)state;
    start(TIME_US);
    peer_say(&client, "the whole question");
    peer_shut(&client);
    peer_expect(&server, &loop, "the whole question");
    peer_expect_eof(&server, &loop);
    assert_int_equal(ends, 0);
    peer_say(&server, "the answer");
    peer_expect(&client, &loop, "the answer");
    peer_expect_nothing(&client, &loop);
    peer_shut(&server);
    peer_expect_eof(&client, &loop);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_NONE);
}

static void a_server_may_half_close_first(void **state) {
    (void)state;
    start(TIME_US);
    peer_shut(&server);
    peer_expect_eof(&client, &loop);
    peer_say(&client, "still");
    peer_expect(&server, &loop, "still");
    peer_shut(&client);
    peer_expect_eof(&server, &loop);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_NONE);
}

/* What came before the tunnel, taken by nobody, goes through it; so does an end that was told to the owner before. */
static size_t take_nothing(struct conn *c, struct slice bytes) {
    (void)c, (void)bytes;
    return 0;
}

static unsigned earlier_eofs;

static void note_eof(struct conn *c) {
    (void)c;
    earlier_eofs++;
}

static const struct conn_events earlier_events = {.on_read = take_nothing, .on_eof = note_eof};

static void what_came_before_goes_through(void **state) {
    (void)state;
    earlier_eofs = 0;
    conn_set_owner(front, &earlier_events, NULL);
    conn_set_owner(back, &earlier_events, NULL);
    peer_say(&client, "from the client");
    peer_shut(&client);
    peer_say(&server, "from the server");
    LOOP_UNTIL(&loop, earlier_eofs == 1 && back->in.bytes == 15);
    start(TIME_US);
    peer_expect(&server, &loop, "from the client");
    peer_expect_eof(&server, &loop);
    peer_expect(&client, &loop, "from the server");
    peer_shut(&server);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_NONE);
    assert_int_equal(tunnel.bytes_in, 15);
    assert_int_equal(tunnel.bytes_out, 15);
}

static void paused_connections_are_resumed(void **state) {
    (void)state;
    conn_pause(front);
    conn_pause(back);
    peer_say(&client, "a");
    peer_say(&server, "b");
    loop_settle(&loop);
    start(TIME_US);
    peer_expect(&server, &loop, "a");
    peer_expect(&client, &loop, "b");
    peer_reset(&client);
}

/* A reader that stands still stops the writer; memory stays bounded, and nothing is lost or changed. */
static void a_slow_reader_stops_the_writer(void **state) {
    (void)state;
    enum { SIZE = 8 * 1024 * 1024, STEP = 65536 };
    char *block = xmalloc(SIZE), *got = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) block[i] = (char)(i * 2654435761U >> 13);
    start(TIME_US);
    size_t sent = 0, received = 0;
    for (unsigned idle = 0; idle < 8;) { /* nobody reads */
        size_t n = peer_push(&server, slice_from(block + sent, SIZE - sent));
        sent += n;
        idle = n ? 0 : idle + 1;
        loop_turns(&loop, 2);
    }
    assert_true(sent < SIZE);
    assert_true(loop.chunks.bytes < 2 * LOOP_READ_SIZE);
    peer_say(&client, "the other way goes on");
    peer_expect(&server, &loop, "the other way goes on");
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    while (received < SIZE) {
        sent += peer_push(&server, slice_from(block + sent, SIZE - sent < STEP ? SIZE - sent : STEP));
        ssize_t n = recv(client.fd, got + received, SIZE - received, 0);
        if (n > 0) received += (size_t)n;
        assert_true(loop.chunks.bytes < 2 * LOOP_READ_SIZE);
        assert_true(loop_step(&loop, end_us));
    }
    assert_memory_equal(got, block, SIZE);
    free(block);
    free(got);
    peer_shut(&client);
    peer_shut(&server);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(tunnel.bytes_out, SIZE);
}

/* Both sides have ended while the reader is behind: it still gets everything, and the account has everything. */
static void the_end_waits_for_a_slow_reader(void **state) {
    (void)state;
    enum { SIZE = 1000000 };
    char *block = xcalloc(1, SIZE);
    start(TIME_US);
    peer_shut(&client);
    size_t sent = 0;
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    while (sent < SIZE) {
        sent += peer_push(&server, slice_from(block, SIZE - sent));
        if (sent < SIZE) peer_read(&client);
        assert_true(loop_step(&loop, end_us));
    }
    free(block);
    peer_shut(&server);
    LOOP_UNTIL(&loop, peer_has(&client, SIZE));
    peer_forget(&client);
    peer_expect_eof(&client, &loop);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_NONE);
    assert_int_equal(tunnel.bytes_out, SIZE);
}

static void a_client_that_breaks(void **state) {
    (void)state;
    start(TIME_US);
    peer_reset(&client);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_client_closed);
    LOOP_UNTIL(&loop, (peer_read(&server), server.eof || server.error));
    assert_int_equal(server.error, ECONNRESET); /* the other side sees that it broke */
    loop_settle(&loop);
    assert_int_equal(ends, 1);
}

static void a_server_that_breaks(void **state) {
    (void)state;
    start(TIME_US);
    peer_reset(&server);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_response_cut);
    LOOP_UNTIL(&loop, (peer_read(&client), client.eof || client.error));
    assert_int_equal(client.error, ECONNRESET);
}

static void both_break_at_once(void **state) {
    (void)state;
    start(TIME_US);
    peer_reset(&server);
    peer_reset(&client);
    LOOP_UNTIL(&loop, ends == 1);
    loop_settle(&loop);
    assert_int_equal(ends, 1);
}

static void a_tunnel_that_broke_before_it_began(void **state) {
    (void)state;
    peer_reset(&client);
    loop_settle(&loop);
    start(TIME_US);
    assert_int_equal(ends, 0); /* never before it returns */
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_client_closed);
}

static void an_idle_tunnel_ends(void **state) {
    (void)state;
    start(10000);
    LOOP_UNTIL(&loop, ends == 1);
    assert_int_equal(cause, FAILURE_tunnel_timeout);
    LOOP_UNTIL(&loop, (peer_read(&client), client.eof || client.error));
    LOOP_UNTIL(&loop, (peer_read(&server), server.eof || server.error));
}

/* Bytes either way keep it alive. */
static void movement_renews(void **state) {
    (void)state;
    start(TIME_US);
    struct peer *from[] = {&client, &server}, *to[] = {&server, &client};
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at_us = front->deadline.at_us, now_us = loop.now_us;
        LOOP_UNTIL(&loop, loop.now_us > now_us + 100);
        peer_say(from[i % 2], "x");
        peer_expect(to[i % 2], &loop, "x");
        assert_true(front->deadline.at_us > at_us);
    }
    peer_shut(&client);
    peer_shut(&server);
}

/* Broken off by its owner: both sides see it, nothing is told, the account is complete. */
static void an_aborted_tunnel(void **state) {
    (void)state;
    start(TIME_US);
    peer_say(&client, "ping");
    peer_expect(&server, &loop, "ping");
    tunnel_abort(&tunnel);
    assert_null(tunnel.front);
    assert_int_equal(tunnel.bytes_in, 4);
    tunnel_abort(&tunnel);
    LOOP_UNTIL(&loop, (peer_read(&client), client.eof || client.error));
    assert_int_equal(client.error, ECONNRESET);
    LOOP_UNTIL(&loop, (peer_read(&server), server.eof || server.error));
    assert_int_equal(ends, 0);
}

#define PAIR(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TCP(name)  cmocka_unit_test_setup_teardown(name, set_up_tcp, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        PAIR(bytes_go_both_ways),
        PAIR(a_half_close_leaves_the_other_way_open),
        PAIR(a_server_may_half_close_first),
        PAIR(what_came_before_goes_through),
        TCP(paused_connections_are_resumed),
        PAIR(a_slow_reader_stops_the_writer),
        PAIR(the_end_waits_for_a_slow_reader),
        TCP(a_client_that_breaks),
        TCP(a_server_that_breaks),
        TCP(both_break_at_once),
        TCP(a_tunnel_that_broke_before_it_began),
        TCP(an_aborted_tunnel),
        PAIR(an_idle_tunnel_ends),
        PAIR(movement_renews),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
