/* spares.c: sockets that have been used and reset, kept to connect anew. */
#include "loomgate/net/spares.h"

#include "loomgate/net/socket.h"

#include <unistd.h>

/* Too late for its first connection, but it is kept for others. */
static int connect_new(const struct addr *to, bool *done) {
    int fd = socket_connect(to, done);
    if (fd >= 0 && !addr_is_unix(to)) socket_defer_ack(fd);
    return fd;
}

int spares_connect(struct spares *s, const struct addr *to, bool *done) {
    if (!s->count || s->family != to->u.sa.sa_family) return connect_new(to, done);
    int fd = s->fds[--s->count];
    if (socket_connect_again(fd, to, done)) return fd;
    close(fd);
    return connect_new(to, done);
}

void spares_put(struct spares *s, int fd, const struct addr *to) {
    if (!s->count) s->family = to->u.sa.sa_family;
    if (s->count < SPARES_MAX && s->family == to->u.sa.sa_family && socket_disconnect(fd)) {
        s->fds[s->count++] = fd;
        return;
    }
    socket_set_reset(fd);
    close(fd);
}

void spares_fini(struct spares *s) {
    while (s->count) close(s->fds[--s->count]);
}
