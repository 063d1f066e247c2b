/* transport.c: plain sockets. */
#include "loomgate/net/transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By syscall(2): the C library's own recv, send and sendmsg are points where a thread may be cancelled, for which each
 * call pays two atomic operations as soon as there are threads. Nobody cancels ours, and these are the calls that a
 * request is made of. */

static ssize_t plain_read(int fd, void *to, size_t size) {
    ssize_t n;
    do n = syscall(SYS_recvfrom, fd, to, size, 0, NULL, NULL);
    while (n < 0 && errno == EINTR);
    return n;
}

static ssize_t plain_write(int fd, const struct iovec *iov, int count, bool ends) {
    const int flags = MSG_NOSIGNAL | (ends ? MSG_MORE : 0);
    ssize_t n;
    if (count == 1) {
        do n = syscall(SYS_sendto, fd, iov[0].iov_base, iov[0].iov_len, flags, NULL, 0);
        while (n < 0 && errno == EINTR);
        return n;
    }
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    do n = syscall(SYS_sendmsg, fd, &m, flags);
    while (n < 0 && errno == EINTR);
    return n;
}

static int plain_shutdown(int fd) {
    return shutdown(fd, SHUT_WR);
}

const struct transport transport_plain = {"plain", plain_read, plain_write, plain_shutdown};
