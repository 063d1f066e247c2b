/* test_transport.c: plain sockets under a connection. */
#include "loomgate/net/transport.h"

#include "../../support/conn_pair.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct transport *const t = &transport_plain;
static struct peer peer;
static int fd;

static int set_up(void **state) {
    (void)state;
    fd = peer_open(&peer);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    peer_close(&peer);
    close(fd);
    return 0;
}

static struct iovec iov_of(const char *text) {
    return (struct iovec){(void *)(uintptr_t)text, strlen(text)};
}

static void assert_peer_has(const char *text) {
    peer_read(&peer);
    assert_int_equal(peer.count, strlen(text));
    assert_memory_equal(peer.got, text, peer.count);
    peer_forget(&peer);
}

static void pieces_are_written_as_one(void **state) {
    (void)state;
    const struct iovec three[] = {iov_of("one "), iov_of("two "), iov_of("three")};
    assert_int_equal(t->write(fd, three, 1, false), 4);
    assert_peer_has("one ");
    assert_int_equal(t->write(fd, three, 3, false), 13);
    assert_peer_has("one two three");
}

static void reading_gives_bytes_then_later_then_the_end(void **state) {
    (void)state;
    char room[8];
    errno = 0;
    assert_int_equal(t->read(fd, room, sizeof room), -1);
    assert_int_equal(errno, EAGAIN);
    peer_say(&peer, "0123456789");
    assert_int_equal(t->read(fd, room, sizeof room), 8);
    assert_memory_equal(room, "01234567", 8);
    assert_int_equal(t->read(fd, room, sizeof room), 2);
    peer_shut(&peer);
    assert_int_equal(t->read(fd, room, sizeof room), 0);
}

static void a_full_socket_says_later(void **state) {
    (void)state;
    static char block[65536];
    const struct iovec iov[] = {{block, sizeof block}, {block, sizeof block}};
    ssize_t n;
    size_t total = 0;
    while ((n = t->write(fd, iov, 2, false)) > 0) total += (size_t)n;
    assert_int_equal(n, -1);
    assert_int_equal(errno, EAGAIN);
    peer_read(&peer);
    assert_int_equal(peer.count, total);
    assert_int_equal(t->write(fd, iov, 1, false), sizeof block);
}

static void shutdown_is_one_way(void **state) {
    (void)state;
    char byte;
    const struct iovec x = iov_of("x");
    assert_int_equal(t->shutdown(fd), 0);
    peer_read(&peer);
    assert_true(peer.eof);
    assert_int_equal(t->write(fd, &x, 1, false), -1);
    assert_int_equal(errno, EPIPE);
    peer_say(&peer, "y");
    assert_int_equal(t->read(fd, &byte, 1), 1);
}

/* The process would be dead if it came as SIGPIPE. */
static void a_gone_peer_is_an_error_not_a_signal(void **state) {
    (void)state;
    const struct iovec two[] = {iov_of("x"), iov_of("y")};
    peer_close(&peer);
    assert_int_equal(t->write(fd, two, 1, false), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(t->write(fd, two, 2, false), -1);
    assert_int_equal(errno, EPIPE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces_are_written_as_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reading_gives_bytes_then_later_then_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_socket_says_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shutdown_is_one_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_gone_peer_is_an_error_not_a_signal, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
