/* transport.h: how bytes move under a connection: plain TCP (and UNIX) here, others beside it. */
#ifndef LOOMGATE_NET_TRANSPORT_H
#define LOOMGATE_NET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* All return as the system calls do: bytes, 0 for the end of what the peer sends, or -1 with errno (EAGAIN: later).
 * `ends`: the shutdown follows at once, and may share a packet with the last of these bytes. */
struct transport {
    const char *name;
    ssize_t (*read)(int fd, void *to, size_t size);
    ssize_t (*write)(int fd, const struct iovec *iov, int count, bool ends);
    int (*shutdown)(int fd); /* no more bytes from us */
};

extern const struct transport transport_plain;

#endif
