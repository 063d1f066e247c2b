/* test_spares.c: sockets that are reset and connect again. */
#include "loomgate/net/spares.h"

#include "../../support/addr_make.h"
#include "../../support/conn_pair.h"

#include "loomgate/net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static struct spares spares;
static struct loop loop;
static struct peer peer;
static struct addr at;
static int listener;

static int set_up(void **state) {
    (void)state;
    loop_init(&loop);
    spares = (struct spares){0};
    peer = (struct peer){.fd = -1};
    listener = listener_open(&at);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    spares_fini(&spares);
    peer_close(&peer);
    close(listener);
    loop_finish(&loop);
    return 0;
}

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

static int connect_to(const struct addr *to) {
    bool done;
    int fd = spares_connect(&spares, to, &done);
    assert_true(fd >= 0);
    return fd;
}

/* Connected, with the other end at the peer. */
static int connect_and_accept(void) {
    int fd = connect_to(&at);
    peer_close(&peer);
    listener_accept(listener, &loop, &peer);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    assert_int_equal(poll(&wait, 1, LOOP_PATIENCE_US / 1000), 1);
    assert_int_equal(socket_error(fd), 0);
    return fd;
}

static bool has_ended(void) {
    peer_read(&peer);
    return peer.eof || peer.error;
}

static void a_kept_socket_connects_anew(void **state) {
    (void)state;
    int first = connect_and_accept();
    for (unsigned i = 0; i < 3; i++) {
        peer_say(&peer, "not read"); /* nothing of it may show up in the next connection */
        spares_put(&spares, first, &at);
        assert_int_equal(spares.count, 1);
        LOOP_UNTIL(&loop, has_ended());
        assert_int_equal(peer.error, ECONNRESET);
        assert_int_equal(connect_and_accept(), first);
        assert_int_equal(spares.count, 0);
        assert_int_equal(send(first, "hello", 5, MSG_NOSIGNAL), 5);
        peer_expect(&peer, &loop, "hello");
        char byte;
        assert_int_equal(recv(first, &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
    }
    close(first);
}

static void after_the_peers_end_too(void **state) {
    (void)state;
    int fd = connect_and_accept();
    peer_shut(&peer);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, LOOP_PATIENCE_US / 1000), 1);
    spares_put(&spares, fd, &at);
    assert_int_equal(connect_and_accept(), fd);
    peer_say(&peer, "again");
    char text[8] = "";
    assert_int_equal(poll(&wait, 1, LOOP_PATIENCE_US / 1000), 1);
    assert_int_equal(recv(fd, text, sizeof text, 0), 5);
    assert_string_equal(text, "again");
    close(fd);
}

static void one_that_is_refused_is_not_lost(void **state) {
    (void)state;
    struct addr nobody;
    int port = port_refusing(&nobody), fd = connect_and_accept();
    spares_put(&spares, fd, &at);
    bool done;
    int again = spares_connect(&spares, &nobody, &done);
    assert_int_equal(again, fd);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    assert_int_equal(poll(&wait, 1, LOOP_PATIENCE_US / 1000), 1);
    assert_int_equal(socket_error(fd), ECONNREFUSED);
    close(fd);
    close(port);
}

static void other_families_have_sockets_of_their_own(void **state) {
    (void)state;
    char dir[] = "/tmp/lg-spares-XXXXXX", path[64];
    struct error e;
    int unix_listener;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    struct addr file = addr_make_unix(path);
    assert_true(socket_listen(&file, false, 16, 1, &unix_listener, &e));
    int tcp = connect_and_accept(), local;
    spares_put(&spares, tcp, &at);
    local = connect_to(&file);
    assert_int_not_equal(local, tcp);
    spares_put(&spares, local, &file); /* cannot be kept */
    assert_false(is_open(local));
    assert_int_equal(spares.count, 1);
    close(unix_listener);
    unlink(path);
    rmdir(dir);
}

static void no_more_than_there_is_room_for(void **state) {
    (void)state;
    int fds[SPARES_MAX + 1];
    for (unsigned i = 0; i < LG_COUNT(fds); i++) fds[i] = connect_to(&at);
    for (unsigned i = 0; i < LG_COUNT(fds); i++) spares_put(&spares, fds[i], &at);
    assert_int_equal(spares.count, SPARES_MAX);
    assert_true(is_open(fds[SPARES_MAX - 1]));
    assert_false(is_open(fds[SPARES_MAX]));
    spares_fini(&spares);
    for (unsigned i = 0; i < LG_COUNT(fds); i++) assert_false(is_open(fds[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define SPARES(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        SPARES(a_kept_socket_connects_anew),     SPARES(after_the_peers_end_too),
        SPARES(one_that_is_refused_is_not_lost), SPARES(other_families_have_sockets_of_their_own),
        SPARES(no_more_than_there_is_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
