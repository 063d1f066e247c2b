/* test_client.c: a client's connection from its accept to its end: HTTP, PROXY headers, TCP mode, gates, draining. */
#include "loomgate/proxy/client.h"

#include "../../support/addr_make.h"
#include "../../support/proxy_bed.h"

#include <errno.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static struct peer peer;
static unsigned left_full, gone;

static struct loop *loop(void) {
    return &pb.env.loop;
}

static void on_gate_left(struct env *env) {
    assert_ptr_equal(env, &pb.env);
    left_full++;
}

static void on_client_gone(struct env *env) {
    assert_ptr_equal(env, &pb.env);
    gone++;
}

/* "/" is answered by ourselves, "/app" by the server. */
static int set_up(void **state) {
    proxy_set_up(state);
    config_add_route(pb.config, pb.web, "own", "/own")->respond.body = SLICE("mine");
    left_full = gone = 0;
    peer = (struct peer){.fd = -1};
    return 0;
}

static int tear_down(void **state) {
    peer_close(&peer);
    peer_close(&pb.server);
    LOOP_UNTIL(loop(), pb.env.client_count == 0);
    loop_settle(loop());
    assert_int_equal(atomic_load(&pb.gate.open), 0);
    assert_int_equal(atomic_load(&pb.frontend->gate->open), 0);
    assert_int_equal(pb.env.clients.in_use, 0);
    assert_true(list_is_empty(&pb.env.live_clients));
    struct metrics *shard = &pb.env.metrics;
    assert_int_equal(metrics_sum(&shard, 1, METRIC_connections_active), 0);
    assert_int_equal(metrics_sum(&shard, 1, METRIC_exchanges_active), 0);
    return proxy_tear_down(state);
}

static void build(void) {
    proxy_build();
    pb.env.on_gate_left = on_gate_left;
    pb.env.on_client_gone = on_client_gone;
}

static void start_as(int fd, bool accept_proxy, bool has_spoken) {
    const struct addr from = addr_make_ip("192.0.2.7", 5123);
    assert_true(gate_enter(&pb.gate));
    assert_true(gate_enter(pb.frontend->gate));
    client_start(&pb.env, pb.frontend, fd, &(struct client_origin){&from, 8080, accept_proxy, has_spoken});
}

static void start(int fd, bool accept_proxy) {
    start_as(fd, accept_proxy, false);
}

static void begin(bool accept_proxy) {
    build();
    start(peer_open(&peer), accept_proxy);
}

static void say(const char *text) {
    peer_say(&peer, text);
}

static void accept_server(void) {
    peer_close(&pb.server);
    listener_accept(pb.listener, loop(), &pb.server);
}

/* --- HTTP ------------------------------------------------------------------------------------------------------- */

static void requests_of_a_connection(void **state) {
    (void)state;
    begin(false);
    struct metrics *shard = &pb.env.metrics;
    assert_int_equal(metrics_sum(&shard, 1, METRIC_connections_active), 1);
    for (unsigned i = 0; i < 3; i++) {
        say(GET("/own"));
        peer_expect_part(&peer, loop(), "\r\n\r\nmine");
    }
    assert_int_equal(pb.env.client_count, 1);
    assert_int_equal(pb.env.exchange_count, 0);
    assert_int_equal(metrics_sum(&shard, 1, METRIC_exchanges_total), 3);
    peer_shut(&peer);
    LOOP_UNTIL(loop(), gone == 1);
    peer_expect_eof(&peer, loop());
    assert_int_equal(metrics_sum(&shard, 1, METRIC_connections_total), 1);
}

/* Its request is under way before the loop has looked at its socket. */
static void a_client_that_has_spoken_is_read_at_once(void **state) {
    (void)state;
    build();
    int fd = peer_open(&peer);
    say(GET("/app"));
    start_as(fd, false, true);
    assert_int_equal(pb.env.exchange_count, 1);
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /app HTTP/1.1\r\n");
    peer_say(&pb.server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nyours");
    peer_expect_part(&peer, loop(), "yours");
    say(GET("/own"));
    peer_expect_part(&peer, loop(), "mine");
}

static void so_is_its_proxy_header(void **state) {
    (void)state;
    build();
    int fd = peer_open(&peer);
    say("PROXY TCP4 198.51.100.9 198.51.100.1 999 443\r\n" GET("/own"));
    start_as(fd, true, true);
    peer_expect_part(&peer, loop(), "mine");
}

static void who_was_thought_to_have_spoken_may_be_silent(void **state) {
    (void)state;
    build();
    start_as(peer_open(&peer), false, true);
    assert_int_equal(pb.env.exchange_count, 0);
    say(GET("/own"));
    peer_expect_part(&peer, loop(), "mine");
}

/* In TCP mode the tunnel reads when its server is there. */
static void a_tunnel_is_not_read_at_once(void **state) {
    (void)state;
    pb.web->mode = MODE_TCP;
    build();
    int fd = peer_open_tcp(&peer);
    say("ping");
    start_as(fd, false, true);
    accept_server();
    peer_expect(&pb.server, loop(), "ping");
    peer_reset(&peer);
    LOOP_UNTIL(loop(), gone == 1);
}

/* A client may have gone again by the time that it is accepted. */
static void who_has_spoken_may_be_gone(void **state) {
    (void)state;
    build();
    int fd = peer_open_tcp(&peer);
    peer_reset(&peer);
    start_as(fd, false, true);
    LOOP_UNTIL(loop(), gone == 1);
}

static void pipelined_requests_of_both_kinds(void **state) {
    (void)state;
    begin(false);
    say(GET("/own") GET("/app") GET("/own"));
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /app HTTP/1.1\r\n");
    peer_expect_part(&peer, loop(), "mine");
    peer_expect_nothing(&peer, loop());
    peer_say(&pb.server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nyours");
    peer_expect_part(&peer, loop(), "mine");
}

static void a_client_that_goes_while_the_server_works(void **state) {
    (void)state;
    build();
    start(peer_open_tcp(&peer), false);
    say(GET("/app"));
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /app");
    peer_reset(&peer);
    LOOP_UNTIL(loop(), gone == 1);
    LOOP_UNTIL(loop(), (peer_read(&pb.server), pb.server.eof || pb.server.error));
    assert_int_equal(pb.env.exchange_count, 0);
}

static void a_response_is_cut_with_its_client(void **state) {
    (void)state;
    begin(false);
    say(GET("/app"));
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /app");
    peer_say(&pb.server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    peer_expect_part(&peer, loop(), "half");
    peer_shut(&pb.server);
    peer_expect_eof(&peer, loop());
    LOOP_UNTIL(loop(), gone == 1);
}

static void a_websocket(void **state) {
    (void)state;
    begin(false);
    say("GET /app HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
    accept_server();
    peer_expect_part(&pb.server, loop(), "Upgrade: websocket\r\n");
    peer_say(&pb.server, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
    peer_expect_part(&peer, loop(), "\r\n\r\nhello");
    peer_expect(&pb.server, loop(), "early");
    assert_int_equal(pb.env.client_count, 1); /* it lives in its tunnel */
    peer_shut(&peer);
    peer_expect_eof(&pb.server, loop());
    assert_int_equal(gone, 0);
    peer_shut(&pb.server);
    LOOP_UNTIL(loop(), gone == 1);
}

/* --- PROXY ------------------------------------------------------------------------------------------------------ */

static const struct exchange_client *first_client(void) {
    struct list *node = list_first(&pb.env.live_clients);
    assert_non_null(node);
    return &LIST_ENTRY(node, struct client, task.node)->base;
}

static void assert_first_client_is(const struct addr *a) {
    struct addr found;
    addr_recall(&first_client()->addr, &found);
    assert_true(addr_eq(&found, a));
}

static void a_proxy_header_tells_who_it_is(void **state) {
    (void)state;
    begin(true);
    say("PROXY TCP4 198.51.100.9 198.51.100.1 999 443\r\n" GET("/app"));
    accept_server();
    peer_expect_part(&pb.server, loop(), "X-Forwarded-For: 198.51.100.9\r\n");
    const struct addr from = addr_make_ip("198.51.100.9", 999), to = addr_make_ip("198.51.100.1", 443);
    assert_first_client_is(&from);
    assert_true(addr_eq(first_client()->local, &to));
    assert_int_equal(first_client()->port, 443);
}

static void a_proxy_header_in_pieces(void **state) {
    (void)state;
    begin(true);
    for (const char *at = "PROXY TCP4 198.51.100.9 198.51.100.1 999 443\r\n" GET("/own"); *at; at++) {
        peer_say_slice(&peer, slice_from(at, 1));
        loop_turns(loop(), 2);
    }
    peer_expect_part(&peer, loop(), "mine");
    const struct addr from = addr_make_ip("198.51.100.9", 999);
    assert_first_client_is(&from);
}

static void a_proxy_header_that_says_nothing(void **state) {
    (void)state;
    begin(true);
    say("PROXY UNKNOWN\r\n" GET("/own"));
    peer_expect_part(&peer, loop(), "mine");
    const struct addr from = addr_make_ip("192.0.2.7", 5123);
    assert_first_client_is(&from);
    assert_null(first_client()->local);
    assert_int_equal(first_client()->port, 8080);
}

static void without_a_proxy_header_nothing_is_served(void **state) {
    (void)state;
    begin(true);
    say(GET("/own"));
    LOOP_UNTIL(loop(), gone == 1);
    LOOP_UNTIL(loop(), (peer_read(&peer), peer.eof || peer.error));
    assert_int_equal(peer.total, 0);
    struct metrics *shard = &pb.env.metrics;
    assert_int_equal(metrics_sum(&shard, 1, METRIC_client_failures_total), 1);
}

static void a_client_that_goes_before_its_proxy_header(void **state) {
    (void)state;
    begin(true);
    say("PROXY TC");
    peer_shut(&peer);
    LOOP_UNTIL(loop(), gone == 1);
}

static void a_client_that_never_sends_its_proxy_header(void **state) {
    (void)state;
    pb.web->timeouts.header_us = 10000;
    begin(true);
    LOOP_UNTIL(loop(), gone == 1);
    peer_expect_eof(&peer, loop());
}

/* --- TCP mode --------------------------------------------------------------------------------------------------- */

static void tcp_mode(void **state) {
    (void)state;
    pb.web->mode = MODE_TCP;
    begin(false);
    say("ping");
    accept_server();
    peer_expect(&pb.server, loop(), "ping");
    peer_say(&pb.server, "pong");
    peer_expect(&peer, loop(), "pong");
    assert_int_equal(pb.env.client_count, 1);
    peer_shut(&peer);
    peer_shut(&pb.server);
    LOOP_UNTIL(loop(), gone == 1);
}

/* What follows the header in the same read belongs to the server. */
static void tcp_mode_behind_a_proxy_header(void **state) {
    (void)state;
    pb.web->mode = MODE_TCP;
    begin(true);
    say("PROXY TCP4 198.51.100.9 198.51.100.1 999 443\r\nping");
    accept_server();
    peer_expect(&pb.server, loop(), "ping");
    peer_shut(&peer);
    peer_expect_eof(&pb.server, loop());
    peer_shut(&pb.server);
    LOOP_UNTIL(loop(), gone == 1);
}

static void tcp_mode_without_a_server(void **state) {
    (void)state;
    pb.web->mode = MODE_TCP;
    pb.s1->maint = true;
    build();
    start(peer_open_tcp(&peer), false); /* it may be gone when this returns */
    LOOP_UNTIL(loop(), gone == 1);
    LOOP_UNTIL(loop(), (peer_read(&peer), peer.eof || peer.error));
}

static void tcp_mode_without_a_server_behind_a_proxy_header(void **state) {
    (void)state;
    pb.web->mode = MODE_TCP;
    pb.s1->maint = true;
    begin(true);
    say("PROXY TCP4 198.51.100.9 198.51.100.1 999 443\r\nping");
    LOOP_UNTIL(loop(), gone == 1);
}

/* --- gates and the end ------------------------------------------------------------------------------------------ */

static void whoever_leaves_a_full_gate_says_so(void **state) {
    (void)state;
    pb.web->max_connections = 2;
    begin(false);
    struct peer second;
    start(peer_open(&second), false);
    assert_false(gate_enter(pb.frontend->gate));
    peer_close(&second);
    LOOP_UNTIL(loop(), gone == 1);
    assert_int_equal(left_full, 1);
    peer_shut(&peer);
    LOOP_UNTIL(loop(), gone == 2);
    assert_int_equal(left_full, 1);
}

static void a_shutdown_closes_idle_clients(void **state) {
    (void)state;
    begin(false);
    say(GET("/own"));
    peer_expect_part(&peer, loop(), "mine");
    pb.env.draining = true;
    clients_shutdown(&pb.env);
    assert_int_equal(gone, 1);
    peer_expect_eof(&peer, loop());
}

static void a_shutdown_lets_a_running_exchange_end(void **state) {
    (void)state;
    begin(false);
    say(GET("/app"));
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /app");
    pb.env.draining = true;
    clients_shutdown(&pb.env);
    loop_settle(loop());
    assert_int_equal(gone, 0);
    peer_say(&pb.server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nyours");
    peer_expect_part(&peer, loop(), "Connection: close\r\n\r\nyours");
    LOOP_UNTIL(loop(), gone == 1);
    peer_expect_eof(&peer, loop());
}

/* A request that is in the kernel already is answered too. */
static void a_shutdown_sees_what_was_sent(void **state) {
    (void)state;
    begin(false);
    say(GET("/own"));
    pb.env.draining = true;
    clients_shutdown(&pb.env);
    peer_expect_part(&peer, loop(), "Connection: close\r\n\r\nmine");
    LOOP_UNTIL(loop(), gone == 1);
    peer_expect_eof(&peer, loop());
}

static void a_shutdown_sees_what_was_sent_behind_a_proxy_header(void **state) {
    (void)state;
    begin(true);
    say("PROXY UNKNOWN\r\n" GET("/own"));
    pb.env.draining = true;
    clients_shutdown(&pb.env);
    peer_expect_part(&peer, loop(), "Connection: close\r\n\r\nmine");
    LOOP_UNTIL(loop(), gone == 1);
}

static void a_shutdown_closes_who_has_not_said_who_it_is(void **state) {
    (void)state;
    begin(true);
    pb.env.draining = true;
    clients_shutdown(&pb.env);
    assert_int_equal(gone, 1);
}

/* At once means at once: requests, responses, tunnels, PROXY headers and idle clients. */
static void an_abort_ends_everything(void **state) {
    (void)state;
    struct peer more[3], tunnel;
    begin(false);
    say(GET("/app"));
    accept_server();
    peer_expect_part(&pb.server, loop(), "GET /app");
    for (unsigned i = 0; i < 3; i++) start(peer_open(&more[i]), i == 0);
    peer_say(&more[1], "POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    struct peer first = pb.server;
    listener_accept(pb.listener, loop(), &tunnel);
    peer_expect_part(&tunnel, loop(), "half");
    clients_abort(&pb.env);
    assert_int_equal(gone, 4);
    assert_int_equal(pb.env.exchange_count, 0);
    for (unsigned i = 0; i < 3; i++) peer_close(&more[i]);
    peer_close(&tunnel);
    pb.server = first;
}

static void an_abort_ends_tunnels(void **state) {
    (void)state;
    pb.web->mode = MODE_TCP;
    build();
    start(peer_open_tcp(&peer), false);
    say("ping");
    accept_server();
    peer_expect(&pb.server, loop(), "ping");
    struct peer connecting;
    start(peer_open_tcp(&connecting), false); /* its server has not been reached yet */
    clients_abort(&pb.env);
    assert_int_equal(gone, 2);
    LOOP_UNTIL(loop(), (peer_read(&peer), peer.eof || peer.error));
    LOOP_UNTIL(loop(), (peer_read(&pb.server), pb.server.eof || pb.server.error));
    peer_close(&connecting);
}

static void a_shutdown_of_many(void **state) {
    (void)state;
    enum { COUNT = 50 };
    static struct peer many[COUNT];
    build();
    for (unsigned i = 0; i < COUNT; i++) start(peer_open(&many[i]), false);
    loop_settle(loop());
    clients_shutdown(&pb.env);
    assert_int_equal(gone, COUNT);
    for (unsigned i = 0; i < COUNT; i++) peer_close(&many[i]);
}

/* --- another configuration -------------------------------------------------------------------------------------- */

static struct tenure *ended;

static void on_tenure_end(struct env *env, struct tenure *t) {
    assert_ptr_equal(env, &pb.env);
    assert_null(ended);
    ended = t;
}

static void change_tenure(struct tenure *to) {
    ended = NULL;
    pb.env.on_tenure_end = on_tenure_end;
    pb.env.tenure = to;
}

/* In how many turns, with so much effort in each. */
static unsigned move_all(uint32_t left, uint32_t effort_a_turn) {
    uint32_t effort = effort_a_turn;
    unsigned turns = 1;
    for (; !clients_move(&pb.env, &left, &effort); turns++) {
        effort = effort_a_turn;
        loop_turns(loop(), 1);
    }
    assert_int_equal(left, 0);
    return turns;
}

static void idle_clients_go_over_in_portions(void **state) {
    (void)state;
    enum { COUNT = 10 };
    static struct peer many[COUNT], late;
    build();
    for (unsigned i = 0; i < COUNT; i++) start(peer_open(&many[i]), false);
    loop_settle(loop());
    struct tenure now = {.snapshot = pb.snapshot};
    uint32_t left = pb.env.client_count, effort = 4;
    change_tenure(&now);
    assert_false(clients_move(&pb.env, &left, &effort));
    assert_true(left == COUNT - 4 && effort == 0 && now.clients == 4 && !ended);
    start(peer_open(&late), false); /* meanwhile: it is of the new one */
    peer_close(&many[COUNT - 1]);   /* one of those that are left */
    LOOP_UNTIL(loop(), gone == 1);
    assert_int_equal(move_all(left, 4), 2);
    assert_ptr_equal(ended, &pb.tenure);
    assert_int_equal(now.clients, COUNT);
    for (unsigned i = 0; i < COUNT - 1; i++) peer_close(&many[i]);
    peer_close(&late);
    LOOP_UNTIL(loop(), pb.env.client_count == 0);
    assert_int_equal(now.clients, 0);
    change_tenure(&pb.tenure);
}

static void clients_without_a_frontend_leave_in_portions(void **state) {
    (void)state;
    enum { COUNT = 10 };
    static struct peer many[COUNT];
    struct snapshot empty = {0};
    build();
    for (unsigned i = 0; i < COUNT; i++) start(peer_open(&many[i]), false);
    loop_settle(loop());
    struct tenure now = {.snapshot = &empty};
    map_init(&empty.names);
    change_tenure(&now);
    assert_int_equal(move_all(COUNT, 64), 5); /* two in each turn */
    assert_ptr_equal(ended, &pb.tenure);
    assert_true(gone == COUNT && now.clients == 0);
    for (unsigned i = 0; i < COUNT; i++) peer_close(&many[i]);
    change_tenure(&pb.tenure);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(requests_of_a_connection),
        TEST(a_client_that_has_spoken_is_read_at_once),
        TEST(so_is_its_proxy_header),
        TEST(who_was_thought_to_have_spoken_may_be_silent),
        TEST(a_tunnel_is_not_read_at_once),
        TEST(who_has_spoken_may_be_gone),
        TEST(pipelined_requests_of_both_kinds),
        TEST(a_client_that_goes_while_the_server_works),
        TEST(a_response_is_cut_with_its_client),
        TEST(a_websocket),
        TEST(a_proxy_header_tells_who_it_is),
        TEST(a_proxy_header_in_pieces),
        TEST(a_proxy_header_that_says_nothing),
        TEST(without_a_proxy_header_nothing_is_served),
        TEST(a_client_that_goes_before_its_proxy_header),
        TEST(a_client_that_never_sends_its_proxy_header),
        TEST(tcp_mode),
        TEST(tcp_mode_behind_a_proxy_header),
        TEST(tcp_mode_without_a_server),
        TEST(tcp_mode_without_a_server_behind_a_proxy_header),
        TEST(whoever_leaves_a_full_gate_says_so),
        TEST(a_shutdown_closes_idle_clients),
        TEST(a_shutdown_lets_a_running_exchange_end),
        TEST(a_shutdown_sees_what_was_sent),
        TEST(a_shutdown_sees_what_was_sent_behind_a_proxy_header),
        TEST(a_shutdown_closes_who_has_not_said_who_it_is),
        TEST(a_shutdown_of_many),
        TEST(an_abort_ends_everything),
        TEST(an_abort_ends_tunnels),
        TEST(idle_clients_go_over_in_portions),
        TEST(clients_without_a_frontend_leave_in_portions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
