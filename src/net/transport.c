/* transport.c: plain sockets. */
#include "loomgate/net/transport.h"

#include <errno.h>
#include <sys/socket.h>

static ssize_t plain_read(int fd, void *to, size_t size) {
    ssize_t n;
    do n = recv(fd, to, size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

static ssize_t plain_write(int fd, const struct iovec *iov, int count) {
    ssize_t n;
    if (count == 1) {
        do n = send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n;
    }
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    do n = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n;
}

static int plain_shutdown(int fd) {
    return shutdown(fd, SHUT_WR);
}

const struct transport transport_plain = {"plain", plain_read, plain_write, plain_shutdown};
