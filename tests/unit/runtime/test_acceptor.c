/* test_acceptor.c: one worker's listening socket: gates, a lack of descriptors, and a close that leaves nobody waiting.
 */
#include "loomgate/runtime/acceptor.h"

#include "../../support/proxy_bed.h"

#include "loomgate/net/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CLIENTS = 16 };

#define GET_OWN "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

static struct acceptor acceptor;
static struct listener_settings settings = {.backlog = 64};
static struct addr at;
static struct peer clients[CLIENTS];
static unsigned client_count;

static struct loop *loop(void) {
    return &pb.env.loop;
}

/* As a worker does it. */
static void on_gate_left(struct env *env) {
    (void)env;
    acceptor_resume(&acceptor);
}

static void begin(uint32_t limit, uint32_t frontend_limit) {
    proxy_set_up(NULL);
    struct error e;
    struct log_sink *nowhere = NULL;
    log_init(64);
    nowhere = log_open(LOG_TO_FILE, "/dev/null", &e);
    assert_non_null(nowhere);
    log_configure(nowhere, FORMAT_TEXT, LEVEL_INFO);
    config_add_route(pb.config, pb.web, "own", "/")->respond.body = SLICE("mine");
    pb.web->max_connections = frontend_limit;
    pb.gate.limit = limit;
    proxy_build();
    pb.env.on_gate_left = on_gate_left;
    client_count = 0;
    int fd = listener_open(&at);
    acceptor_init(&acceptor, &pb.env, pb.frontend, fd, addr_port(&at), &settings);
}

static int set_up(void **state) {
    (void)state;
    begin(0, 0);
    return 0;
}

static int tear_down(void **state) {
    for (unsigned i = 0; i < client_count; i++) peer_close(&clients[i]);
    LOOP_UNTIL(loop(), pb.env.client_count == 0);
    acceptor_close(&acceptor);
    loop_settle(loop());
    assert_int_equal(atomic_load(&pb.gate.open), 0);
    assert_int_equal(atomic_load(&pb.frontend->gate->open), 0);
    log_fini(1000);
    return proxy_tear_down(state);
}

static struct peer *connect_client(void) {
    bool done;
    struct peer *p = &clients[client_count++];
    int fd = socket_connect(&at, &done);
    assert_true(fd >= 0);
    peer_take(p, fd);
    return p;
}

static void assert_served(struct peer *p) {
    peer_say(p, GET_OWN);
    peer_expect_part(p, loop(), "mine");
}

static void assert_not_accepted(void) {
    uint32_t count = pb.env.client_count;
    loop_settle(loop());
    assert_int_equal(pb.env.client_count, count);
    assert_true(acceptor.paused);
}

/* --- accepting -------------------------------------------------------------------------------------------------- */

static void clients_are_accepted_and_served(void **state) {
    (void)state;
    for (unsigned i = 0; i < CLIENTS; i++) connect_client();
    LOOP_UNTIL(loop(), pb.env.client_count == CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) assert_served(&clients[i]);
    assert_int_equal(atomic_load(&pb.gate.open), CLIENTS);
    assert_int_equal(atomic_load(&pb.frontend->gate->open), CLIENTS);
    assert_false(acceptor.paused);
}

/* A crowd is taken in a few turns, a single client costs no call too many. */
static void the_burst_follows_the_load(void **state) {
    (void)state;
    assert_int_equal(acceptor.burst, 1);
    for (unsigned i = 0; i < CLIENTS; i++) connect_client();
    uint64_t turn = loop()->turn;
    LOOP_UNTIL(loop(), pb.env.client_count == CLIENTS);
    assert_true(loop()->turn - turn < CLIENTS);
}

static void who_left_before_the_accept_does_no_harm(void **state) {
    (void)state;
    for (unsigned i = 0; i < 4; i++) peer_reset(connect_client());
    assert_served(connect_client());
    LOOP_UNTIL(loop(), pb.env.client_count == 1);
}

static int deferred_seconds(void) {
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(acceptor.io.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &value, &len), 0);
    return value;
}

/* Also when the setting changes while it listens. */
static void silent_clients_may_be_left_to_the_kernel(void **state) {
    (void)state;
    assert_int_equal(deferred_seconds(), 0);
    struct listener_settings defers = settings;
    defers.defer_accept = true;
    acceptor_set(&acceptor, pb.frontend, &defers);
    assert_true(deferred_seconds() > 0);
    connect_client();
    assert_served(connect_client());
    assert_served(&clients[0]);
    acceptor_set(&acceptor, pb.frontend, &settings);
    assert_int_equal(deferred_seconds(), 0);
    connect_client();
    LOOP_UNTIL(loop(), pb.env.client_count == 3);
}

/* It may come from another process. */
static void a_socket_that_deferred_before_does_not_by_itself(void **state) {
    (void)state;
    assert_true(socket_defer_accept(acceptor.io.fd, true));
    struct acceptor other;
    acceptor_init(&other, &pb.env, pb.frontend, dup(acceptor.io.fd), addr_port(&at), &settings);
    assert_int_equal(deferred_seconds(), 0);
    assert_false(other.defers);
    acceptor_abandon(&other);
}

static void the_client_knows_its_port(void **state) {
    (void)state;
    assert_int_equal(acceptor.port, addr_port(&at));
    assert_served(connect_client());
}

/* --- gates ------------------------------------------------------------------------------------------------------ */

static void a_full_gate_pauses_until_somebody_leaves(void **state) {
    (void)state;
    begin(2, 0);
    for (unsigned i = 0; i < 3; i++) connect_client();
    LOOP_UNTIL(loop(), pb.env.client_count == 2);
    peer_say(&clients[2], GET_OWN);
    LOOP_UNTIL(loop(), acceptor.paused);
    assert_not_accepted();
    peer_close(&clients[0]);
    peer_expect_part(&clients[2], loop(), "mine");
    assert_int_equal(pb.env.client_count, 2);
}

static void a_frontends_own_gate_pauses_too(void **state) {
    (void)state;
    begin(10, 1);
    for (unsigned i = 0; i < 2; i++) connect_client();
    peer_say(&clients[1], GET_OWN);
    LOOP_UNTIL(loop(), acceptor.paused);
    assert_int_equal(pb.env.client_count, 1);
    assert_int_equal(atomic_load(&pb.gate.open), 1); /* the other gate was left again */
    peer_close(&clients[0]);
    peer_expect_part(&clients[1], loop(), "mine");
}

/* Another worker's accept that came to nothing filled the gate for a moment: nobody says that it is over. */
static void a_pause_ends_by_itself(void **state) {
    (void)state;
    begin(1, 0);
    assert_true(gate_enter(&pb.gate));
    peer_say(connect_client(), GET_OWN);
    LOOP_UNTIL(loop(), acceptor.paused);
    assert_not_accepted();
    gate_leave(&pb.gate);
    peer_expect_part(&clients[0], loop(), "mine");
}

/* --- descriptors ------------------------------------------------------------------------------------------------ */

static void a_lack_of_descriptors_passes(void **state) {
    (void)state;
    struct rlimit before, none;
    struct metrics *shard = &pb.env.metrics;
    struct peer *p = connect_client();
    peer_say(p, GET_OWN);
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    none = before;
    int next = dup(0);
    close(next);
    none.rlim_cur = (rlim_t)next;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
    LOOP_UNTIL(loop(), acceptor.paused);
    assert_true(acceptor.starved);
    assert_int_equal(pb.env.client_count, 0);
    assert_int_equal(atomic_load(&pb.gate.open), 0);
    LOOP_UNTIL(loop(), metrics_sum(&shard, 1, METRIC_accept_errors_total) == 2); /* it tries again */
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    peer_expect_part(p, loop(), "mine");
    assert_false(acceptor.starved);
    assert_false(acceptor.paused);
}

/* The last descriptors are for the servers' side. */
static void accepting_stops_below_the_ceiling(void **state) {
    (void)state;
    for (unsigned i = 0; i < 3; i++) connect_client();
    int next = dup(0);
    close(next);
    pb.env.fd_ceiling = next + 1; /* the next one is the last below it */
    LOOP_UNTIL(loop(), acceptor.paused);
    assert_int_equal(pb.env.client_count, 2);
    for (unsigned i = 0; i < 2; i++) assert_served(&clients[i]); /* who is in is served */
    pb.env.fd_ceiling = 1 << 20;
    LOOP_UNTIL(loop(), pb.env.client_count == 3);
    assert_served(&clients[2]);
}

/* --- closing ---------------------------------------------------------------------------------------------------- */

static void a_close_takes_who_waits(void **state) {
    (void)state;
    for (unsigned i = 0; i < 5; i++) peer_say(connect_client(), GET_OWN);
    acceptor_close(&acceptor);
    assert_int_equal(pb.env.client_count, 5);
    for (unsigned i = 0; i < 5; i++) peer_expect_part(&clients[i], loop(), "mine");
    acceptor_close(&acceptor); /* once is enough */
    bool done;
    int fd = socket_connect(&at, &done);
    if (fd >= 0) {
        loop_settle(loop());
        assert_int_equal(socket_error(fd), ECONNREFUSED);
        close(fd);
    }
}

static void a_close_at_a_full_gate(void **state) {
    (void)state;
    begin(1, 0);
    for (unsigned i = 0; i < 3; i++) connect_client();
    acceptor_close(&acceptor);
    assert_int_equal(pb.env.client_count, 1);
    assert_int_equal(atomic_load(&pb.gate.open), 1);
}

static void a_close_while_paused(void **state) {
    (void)state;
    begin(1, 0);
    for (unsigned i = 0; i < 2; i++) connect_client();
    LOOP_UNTIL(loop(), acceptor.paused);
    acceptor_close(&acceptor);
    assert_false(deadline_is_set(&acceptor.retry));
    loop_settle(loop());
    assert_int_equal(pb.env.client_count, 1);
}

#define TEST(name)   cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define UNMADE(name) cmocka_unit_test_teardown(name, tear_down) /* sets up by itself */

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(clients_are_accepted_and_served),
        TEST(the_burst_follows_the_load),
        TEST(who_left_before_the_accept_does_no_harm),
        TEST(the_client_knows_its_port),
        TEST(silent_clients_may_be_left_to_the_kernel),
        TEST(a_socket_that_deferred_before_does_not_by_itself),
        UNMADE(a_full_gate_pauses_until_somebody_leaves),
        UNMADE(a_frontends_own_gate_pauses_too),
        UNMADE(a_pause_ends_by_itself),
        TEST(a_lack_of_descriptors_passes),
        TEST(accepting_stops_below_the_ceiling),
        TEST(a_close_takes_who_waits),
        UNMADE(a_close_at_a_full_gate),
        UNMADE(a_close_while_paused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
