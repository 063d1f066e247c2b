/* conn_pair.c: the other end of a connection under test. */
#include "conn_pair.h"

#include "addr_make.h"

#include "loomgate/net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum { READ_STEP = 65536 };

void peer_take(struct peer *p, int fd) {
    *p = (struct peer){.fd = fd};
    assert_return_code(fcntl(fd, F_SETFL, O_NONBLOCK), errno);
}

int peer_open(struct peer *p) {
    int fds[2];
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), errno);
    peer_take(p, fds[0]);
    return fds[1];
}

int peer_open_tcp(struct peer *p) {
    struct addr at, from;
    bool done;
    int listener = listener_open(&at);
    int fd = socket_connect(&at, &done);
    assert_true(fd >= 0);
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, LOOP_PATIENCE_US / 1000), 1);
    peer_take(p, socket_accept(listener, &from));
    wait = (struct pollfd){.fd = fd, .events = POLLOUT};
    assert_int_equal(poll(&wait, 1, LOOP_PATIENCE_US / 1000), 1);
    close(listener);
    return fd;
}

void peer_close(struct peer *p) {
    if (p->fd >= 0) close(p->fd);
    free(p->got);
    *p = (struct peer){.fd = -1};
}

void peer_reset(struct peer *p) {
    socket_set_reset(p->fd);
    peer_close(p);
}

void peer_shut(struct peer *p) {
    assert_return_code(shutdown(p->fd, SHUT_WR), errno);
}

size_t peer_push(struct peer *p, struct slice bytes) {
    size_t done = 0;
    while (done < bytes.n) {
        ssize_t n = send(p->fd, bytes.p + done, bytes.n - done, MSG_NOSIGNAL);
        if (n <= 0) break;
        done += (size_t)n;
    }
    return done;
}

void peer_say_slice(struct peer *p, struct slice bytes) {
    assert_int_equal(peer_push(p, bytes), bytes.n);
}

void peer_say(struct peer *p, const char *text) {
    peer_say_slice(p, slice_of(text));
}

void peer_read(struct peer *p) {
    while (!p->eof && !p->error) {
        if (p->room - p->count < READ_STEP) p->got = xrealloc(p->got, p->room += p->room + READ_STEP);
        ssize_t n = recv(p->fd, p->got + p->count, p->room - p->count, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n < 0) p->error = errno;
        if (n == 0) p->eof = true;
        if (n <= 0) return;
        p->count += (size_t)n;
        p->total += (uint64_t)n;
    }
}

void peer_forget(struct peer *p) {
    p->count = 0;
}

bool peer_has(struct peer *p, size_t count) {
    peer_read(p);
    return p->count >= count;
}

static bool has_or_ended(struct peer *p, size_t count) {
    return peer_has(p, count) || p->eof || p->error;
}

void peer_expect(struct peer *p, struct loop *loop, const char *text) {
    size_t n = strlen(text);
    LOOP_UNTIL(loop, has_or_ended(p, n));
    if (p->count < n || memcmp(p->got, text, n) != 0)
        fail_msg("expected \"%s\" next, got \"%.*s\"%s", text, (int)p->count, p->got, p->eof ? " and the end" : "");
    p->count -= n;
    memmove(p->got, p->got + n, p->count);
}

static bool has_part(struct peer *p, const char *text) {
    peer_read(p);
    return memmem(p->got, p->count, text, strlen(text)) != NULL;
}

void peer_expect_part(struct peer *p, struct loop *loop, const char *text) {
    LOOP_UNTIL(loop, has_part(p, text) || p->eof || p->error);
    if (!has_part(p, text)) fail_msg("expected \"%s\", got \"%.*s\" and the end", text, (int)p->count, p->got);
    peer_forget(p);
}

void peer_expect_eof(struct peer *p, struct loop *loop) {
    LOOP_UNTIL(loop, has_or_ended(p, SIZE_MAX));
    if (p->count) fail_msg("expected the end, got \"%.*s\"", (int)p->count, p->got);
    assert_int_equal(p->error, 0);
}

void peer_expect_nothing(struct peer *p, struct loop *loop) {
    loop_settle(loop);
    peer_read(p);
    if (p->count) fail_msg("expected nothing, got \"%.*s\"", (int)p->count, p->got);
    assert_false(p->eof);
    assert_int_equal(p->error, 0);
}

int listener_open(struct addr *at) {
    struct addr any = addr_make_ip("127.0.0.1", 0);
    struct error e;
    int fd;
    if (!socket_listen(&any, false, 128, 1, &fd, &e)) fail_msg("%s", e.text);
    assert_true(socket_local_addr(fd, at));
    return fd;
}

static bool try_accept(int listener, struct peer *p) {
    struct addr from;
    int fd = socket_accept(listener, &from);
    if (fd >= 0) peer_take(p, fd);
    return fd >= 0;
}

void listener_accept(int listener, struct loop *loop, struct peer *p) {
    LOOP_UNTIL(loop, try_accept(listener, p));
}

int port_refusing(struct addr *at) {
    struct addr any = addr_make_ip("127.0.0.1", 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, &any.u.sa, any.len), errno);
    assert_true(socket_local_addr(fd, at));
    return fd;
}
