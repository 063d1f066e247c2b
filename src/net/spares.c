/* spares.c: sockets that have been used and reset, kept to connect anew. */
#include "loomgate/net/spares.h"

#include "loomgate/net/socket.h"

#include <unistd.h>

int spares_connect(struct spares *s, const struct addr *to, bool *done) {
    if (!s->count || s->family != to->u.sa.sa_family) return socket_connect(to, done);
    int fd = s->fds[--s->count];
    if (socket_connect_again(fd, to, done)) return fd;
    close(fd);
    return socket_connect(to, done);
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
