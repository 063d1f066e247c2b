/* test_worker.c: threads with their part of all connections: served, drained, stopped (runs under ThreadSanitizer). */
#include "loomgate/runtime/worker.h"

#include "../../support/config_make.h"
#include "../../support/conn_pair.h"

#include "loomgate/net/socket.h"

#include <stdlib.h>
#include <unistd.h>

enum { WORKERS = 2 };

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

/* The control thread's side: this one. */
static struct loop home;
static struct mailbox box;
static struct registry registry;
static struct snapshot *snapshot;
static struct gate gate;
static struct listener_settings listener = {.backlog = 64};
static struct worker *workers[WORKERS];
static struct addr at[WORKERS];
static unsigned drained, count, tenures_ended;
static int server_listener;
static struct peer server, client;

static void on_drained(struct worker *w) {
    assert_ptr_equal(w->owner, &home);
    drained++;
}

static void on_gate_left(struct worker *w) {
    (void)w;
    for (unsigned i = 0; i < count; i++) worker_resume(workers[i]);
}

static void on_tenure_end(struct worker *w, struct tenure *t) {
    assert_ptr_equal(w->owner, &home);
    assert_int_equal(t->clients, 0);
    tenures_ended++;
    free(t);
}

/* An order with one listener: the bind is new unless `to` is NULL. */
static void obey(struct worker *w, unsigned bind, struct addr *to) {
    int fds[WORKERS];
    struct tenure *tenures[WORKERS];
    struct order_listener l = {.bind = bind, .frontend = &snapshot->frontends[0], .settings = &listener};
    struct order o = {.tenures = tenures, .listeners = &l, .listener_count = 1, .workers = WORKERS};
    tenures[w->index] = xcalloc(1, sizeof(struct tenure));
    tenures[w->index]->snapshot = snapshot;
    if (to) {
        fds[w->index] = listener_open(to);
        l.fds = fds;
        l.fd_count = WORKERS;
        l.port = addr_port(to);
    }
    worker_switch(w, &o);
}

static void make_worker(unsigned i) {
    size_t size = (sizeof(struct worker) + LG_CACHE_LINE - 1) / LG_CACHE_LINE * LG_CACHE_LINE;
    struct worker *w = workers[i] = aligned_alloc(LG_CACHE_LINE, size);
    assert_non_null(w);
    memset(w, 0, size);
    w->owner = &home;
    w->on_drained = on_drained;
    w->on_gate_left = on_gate_left;
    w->on_tenure_end = on_tenure_end;
    worker_init(w, i, &gate, &box);
    obey(w, 1 + i, &at[i]);
}

/* "/own" is answered by the worker, all else by the server. Each worker has a port of its own. */
static void begin(unsigned worker_count, uint32_t limit) {
    struct addr server_at;
    struct error e;
    loop_init(&home);
    mailbox_init(&box, &home, NULL);
    registry_init(&registry);
    server_listener = listener_open(&server_at);
    server.fd = client.fd = -1;
    drained = tenures_ended = 0;
    gate = (struct gate){.limit = limit};
    struct config *c = config_make();
    c->global.spin = 7;
    struct frontend_settings *f = config_add_frontend(c, "web");
    config_add_route(c, f, "own", "/own")->respond.body = SLICE("mine");
    config_add_server(c, config_add_backend(c, "app"), "s1", &server_at);
    f->default_backend = 0;
    snapshot = snapshot_build(c, &registry, &e);
    assert_non_null(snapshot);
    count = worker_count;
    for (unsigned i = 0; i < count; i++) make_worker(i);
}

static void start(void) {
    struct error e;
    for (unsigned i = 0; i < count; i++) assert_true(worker_start(workers[i], &e));
}

static void drain_and_stop(void) {
    for (unsigned i = 0; i < count; i++) worker_drain(workers[i]);
    LOOP_UNTIL(&home, drained == count);
    for (unsigned i = 0; i < count; i++) {
        worker_stop(workers[i]);
        worker_fini(workers[i]);
        free(workers[i]);
    }
    count = 0;
}

static int tear_down(void **state) {
    (void)state;
    peer_close(&client);
    peer_close(&server);
    if (count) drain_and_stop();
    assert_int_equal(atomic_load(&gate.open), 0);
    snapshot_free(snapshot, &registry);
    registry_fini(&registry);
    mailbox_fini(&box);
    loop_finish(&home);
    close(server_listener);
    return 0;
}

static void connect_to(unsigned worker, struct peer *p) {
    bool done;
    int fd = socket_connect(&at[worker], &done);
    assert_true(fd >= 0);
    peer_take(p, fd);
    LOOP_UNTIL(&home, send(fd, "", 0, MSG_NOSIGNAL) == 0);
}

static void a_worker_serves(void **state) {
    (void)state;
    begin(1, 0);
    assert_int_equal(workers[0]->env.loop.spin.most, 7);
    start();
    connect_to(0, &client);
    peer_say(&client, GET("/own"));
    peer_expect_part(&client, &home, "mine");
    peer_say(&client, GET("/app"));
    listener_accept(server_listener, &home, &server);
    peer_expect_part(&server, &home, "GET /app HTTP/1.1\r\n");
    peer_say(&server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nyours");
    peer_expect_part(&client, &home, "yours");
}

static void a_worker_without_clients_is_drained_at_once(void **state) {
    (void)state;
    begin(2, 0);
    start();
    drain_and_stop();
    assert_int_equal(drained, 2);
}

static void idle_clients_do_not_hold_up_a_drain(void **state) {
    (void)state;
    begin(1, 0);
    start();
    connect_to(0, &client);
    peer_say(&client, GET("/own"));
    peer_expect_part(&client, &home, "mine");
    drain_and_stop();
    peer_expect_eof(&client, &home);
}

static void a_running_exchange_is_waited_for(void **state) {
    (void)state;
    begin(1, 0);
    start();
    connect_to(0, &client);
    peer_say(&client, GET("/app"));
    listener_accept(server_listener, &home, &server);
    peer_expect_part(&server, &home, "GET /app HTTP/1.1\r\n");
    worker_drain(workers[0]);
    loop_settle(&home);
    assert_int_equal(drained, 0);
    peer_say(&server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nyours");
    peer_expect_part(&client, &home, "Connection: close\r\n\r\nyours");
    peer_expect_eof(&client, &home);
    LOOP_UNTIL(&home, drained == 1);
}

/* Who was in the queue with a request when the end was called gets an answer. */
static void who_was_in_the_queue_is_answered(void **state) {
    (void)state;
    begin(1, 0);
    connect_to(0, &client);
    peer_say(&client, GET("/own"));
    worker_drain(workers[0]); /* the first thing that it will hear */
    start();
    peer_expect_part(&client, &home, "Connection: close\r\n\r\nmine");
    peer_expect_eof(&client, &home);
    LOOP_UNTIL(&home, drained == 1);
}

/* The gate is one for all workers: who waits at one is let in when somebody leaves at another. */
static void the_gate_is_shared(void **state) {
    (void)state;
    struct peer second;
    begin(2, 1);
    start();
    connect_to(0, &client);
    peer_say(&client, GET("/own"));
    peer_expect_part(&client, &home, "mine");
    connect_to(1, &second);
    peer_say(&second, GET("/own"));
    peer_expect_nothing(&second, &home);
    peer_close(&client);
    peer_expect_part(&second, &home, "mine");
    peer_close(&second);
}

static void stop_now(void) {
    for (unsigned i = 0; i < count; i++) worker_stop(workers[i]);
    for (unsigned i = 0; i < count; i++) {
        worker_fini(workers[i]);
        free(workers[i]);
    }
    count = 0;
}

static void a_stop_breaks_off_what_runs(void **state) {
    (void)state;
    begin(1, 0);
    start();
    connect_to(0, &client);
    peer_say(&client, GET("/app"));
    listener_accept(server_listener, &home, &server);
    peer_expect_part(&server, &home, "GET /app HTTP/1.1\r\n");
    stop_now();
    LOOP_UNTIL(&home, (peer_read(&client), client.eof || client.error));
    LOOP_UNTIL(&home, (peer_read(&server), server.eof || server.error));
}

/* Connections that linger at the stop end with their worker: nobody is told any more, least of all by freed workers. */
static void a_stop_while_connections_linger(void **state) {
    (void)state;
    begin(2, 0);
    start();
    connect_to(1, &client);
    peer_say(&client, "NONSENSE\r\n\r\n");
    peer_expect_part(&client, &home, "HTTP/1.1 400 ");
    stop_now();
    loop_settle(&home);
}

/* What is sent to a slow reader is part of what is drained. */
static void a_drain_waits_for_the_last_bytes(void **state) {
    (void)state;
    begin(1, 0);
    start();
    connect_to(0, &client);
    peer_say(&client, "NONSENSE\r\n\r\n");
    peer_expect_part(&client, &home, "HTTP/1.1 400 ");
    worker_drain(workers[0]);
    loop_run_for(&home, 5000);
    assert_int_equal(drained, 0); /* the client has not closed its side */
    peer_close(&client);
    LOOP_UNTIL(&home, drained == 1);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_worker_serves),
        TEST(a_worker_without_clients_is_drained_at_once),
        TEST(idle_clients_do_not_hold_up_a_drain),
        TEST(a_running_exchange_is_waited_for),
        TEST(who_was_in_the_queue_is_answered),
        TEST(the_gate_is_shared),
        TEST(a_stop_breaks_off_what_runs),
        TEST(a_stop_while_connections_linger),
        TEST(a_drain_waits_for_the_last_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
