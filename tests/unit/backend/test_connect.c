/* test_connect.c: a fresh connection to a server: it stands, is refused, takes too long, or tells of the client. */
#include "loomgate/backend/connect.h"

#include "../../support/addr_make.h"
#include "../../support/conn_pair.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TIMEOUT_US = 60000000 };

static struct loop loop;
static struct connect k;
static struct server server;
static struct peer peer;
static struct conn *conn; /* what came of it */
static unsigned connected, failed;
static enum failure cause;
static int listener;

static void on_connected(struct connect *from, struct conn *c) {
    assert_ptr_equal(from, &k);
    connected++;
    conn = c;
    conn_set_owner(c, NULL, NULL);
}

static void on_failed(struct connect *from, enum failure f) {
    assert_ptr_equal(from, &k);
    failed++;
    cause = f;
}

static const struct connect_events events = {on_connected, on_failed};

static int set_up(void **state) {
    (void)state;
    loop_init(&loop);
    connect_init(&k, &loop, &events);
    server = (struct server){.name = "s1"};
    peer = (struct peer){.fd = -1};
    conn = NULL;
    connected = failed = 0;
    cause = FAILURE_NONE;
    listener = listener_open(&server.addr);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    connect_cancel(&k);
    if (conn) conn_close(conn, CONN_CLOSE_NOW);
    peer_close(&peer);
    close(listener);
    loop_finish(&loop);
    return 0;
}

static void start(uint64_t timeout_us) {
    assert_true(connect_start(&k, &server, timeout_us));
    assert_int_equal(connected + failed, 0); /* never before it returns */
}

static void it_stands(void **state) {
    (void)state;
    start(TIMEOUT_US);
    LOOP_UNTIL(&loop, connected == 1);
    listener_accept(listener, &loop, &peer);
    peer_expect_nothing(&peer, &loop);
    assert_null(k.conn);
    assert_false(deadline_is_set(&conn->deadline)); /* the timeout was the connecting's */
    assert_int_equal(failed, 0);
}

static void it_may_be_used_again(void **state) {
    (void)state;
    start(TIMEOUT_US);
    LOOP_UNTIL(&loop, connected == 1);
    conn_close(conn, CONN_CLOSE_NOW);
    conn = NULL;
    connected = 0;
    start(TIMEOUT_US);
    LOOP_UNTIL(&loop, connected == 1);
}

static void refused(void **state) {
    (void)state;
    int port = port_refusing(&server.addr);
    start(TIMEOUT_US);
    LOOP_UNTIL(&loop, failed == 1);
    assert_int_equal(cause, FAILURE_connect_failed);
    assert_int_equal(k.error_number, ECONNREFUSED);
    loop_settle(&loop);
    assert_int_equal(failed, 1);
    assert_int_equal(loop.conns.in_use, 0);
    close(port);
}

/* A queue of no more room: the kernel leaves the connection half made. */
static void too_slow(void **state) {
    (void)state;
    struct addr at = addr_make_ip("127.0.0.1", 0);
    int full = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fill[4];
    assert_return_code(bind(full, &at.u.sa, at.len), errno);
    assert_return_code(listen(full, 0), errno);
    socklen_t len = sizeof at.u;
    assert_return_code(getsockname(full, &at.u.sa, &len), errno);
    for (unsigned i = 0; i < LG_COUNT(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fill[i], &at.u.sa, at.len);
    }
    server.addr = at;
    start(10000);
    LOOP_UNTIL(&loop, failed == 1);
    assert_int_equal(cause, FAILURE_connect_timeout);
    assert_int_equal(k.error_number, ETIMEDOUT);
    for (unsigned i = 0; i < LG_COUNT(fill); i++) close(fill[i]);
    close(full);
}

static void cancelled(void **state) {
    (void)state;
    start(TIMEOUT_US);
    connect_cancel(&k);
    connect_cancel(&k);
    loop_settle(&loop);
    assert_int_equal(connected + failed, 0);
    assert_int_equal(loop.conns.in_use, 0);
    start(TIMEOUT_US);
    LOOP_UNTIL(&loop, connected == 1);
}

static void a_unix_socket(void **state) {
    (void)state;
    char dir[] = "/tmp/lg-connect-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    server.addr = addr_make_unix(path);
    start(TIMEOUT_US); /* fails at once, is told later */
    LOOP_UNTIL(&loop, failed == 1);
    assert_int_equal(cause, FAILURE_connect_failed);
    assert_int_equal(k.error_number, ENOENT);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, &server.addr.u.sa, server.addr.len), errno);
    assert_return_code(listen(fd, 8), errno);
    failed = 0;
    start(TIMEOUT_US);
    LOOP_UNTIL(&loop, connected == 1);
    listener_accept(fd, &loop, &peer);
    close(fd);
    unlink(path);
    rmdir(dir);
}

static void a_failure_at_once_can_be_cancelled(void **state) {
    (void)state;
    server.addr = addr_make_unix("/nonexistent/socket");
    start(TIMEOUT_US);
    connect_cancel(&k);
    loop_settle(&loop);
    assert_int_equal(failed, 0);
}

/* No descriptor: nothing was begun, nobody is to blame. */
static void a_lack_of_descriptors_is_told_apart(void **state) {
    (void)state;
    struct rlimit before, none;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    none = before;
    int next = dup(0);
    close(next);
    none.rlim_cur = (rlim_t)next;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
    bool begun = connect_start(&k, &server, TIMEOUT_US);
    int error_number = errno;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    assert_false(begun);
    assert_int_equal(error_number, EMFILE);
    assert_int_equal(k.error_number, EMFILE);
    loop_settle(&loop);
    assert_int_equal(connected + failed, 0);
}

/* Some may be left for others. */
static void so_is_a_ceiling_below_the_limit(void **state) {
    (void)state;
    int next = dup(0);
    close(next);
    loop.connect_ceiling = next;
    assert_false(connect_start(&k, &server, TIMEOUT_US));
    assert_int_equal(k.error_number, EMFILE);
    int again = dup(0);
    assert_int_equal(again, next);
    loop.connect_ceiling = next + 2;
    assert_true(connect_start(&k, &server, TIMEOUT_US));
    LOOP_UNTIL(&loop, connected == 1);
    close(again);
}

static void the_proxy_header_goes_first(void **state) {
    (void)state;
    struct addr client = addr_make_ip("192.0.2.7", 5123), local = addr_make_ip("198.51.100.1", 80);
    k.client = &client;
    k.local = &local;
    k.send_proxy = SEND_PROXY_V1;
    start(TIMEOUT_US);
    listener_accept(listener, &loop, &peer);
    LOOP_UNTIL(&loop, connected == 1);
    const struct iovec iov = {(void *)(uintptr_t) "hello", 5};
    conn_write(conn, &iov, 1, false);
    peer_expect(&peer, &loop, "PROXY TCP4 192.0.2.7 198.51.100.1 5123 80\r\nhello");
}

static void the_proxy_header_goes_without_anything_behind_it(void **state) {
    (void)state;
    struct addr client = addr_make_ip("2001:db8::7", 5123), local = addr_make_ip("2001:db8::1", 80);
    k.client = &client;
    k.local = &local;
    k.send_proxy = SEND_PROXY_V2;
    start(TIMEOUT_US);
    listener_accept(listener, &loop, &peer);
    LOOP_UNTIL(&loop, peer_has(&peer, 16 + 36));
    assert_memory_equal(peer.got, "\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24", 16);
    assert_int_equal(peer.count, 16 + 36);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(it_stands),
        TEST(it_may_be_used_again),
        TEST(refused),
        TEST(too_slow),
        TEST(cancelled),
        TEST(a_unix_socket),
        TEST(a_failure_at_once_can_be_cancelled),
        TEST(a_lack_of_descriptors_is_told_apart),
        TEST(so_is_a_ceiling_below_the_limit),
        TEST(the_proxy_header_goes_first),
        TEST(the_proxy_header_goes_without_anything_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
