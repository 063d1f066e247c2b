/* listen.c: a listening socket on a loop: tells of each connection. */
#include "loomgate/net/listen.h"

#include "loomgate/net/socket.h"

#include <errno.h>
#include <unistd.h>

static void on_acceptable(struct ev_loop *ev, ev_io *w, int events) {
    (void)ev, (void)events;
    struct listen_watch *l = w->data;
    for (unsigned n = 0; n < LISTEN_BURST && ev_is_active(&l->io); n++) {
        struct addr peer;
        int fd = socket_accept(l->io.fd, &peer);
        if (fd >= 0) {
            l->on_accept(l, fd, &peer);
            continue;
        }
        if (errno == EAGAIN) return;
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) continue; /* the client left */
        ev_io_stop(l->loop->ev, &l->io);
        timer_set(l->loop, &l->retry, LISTEN_RETRY_US);
        return;
    }
}

static void on_retry(struct loop_timer *t) {
    struct listen_watch *l = LG_CONTAINER_OF(t, struct listen_watch, retry);
    ev_io_start(l->loop->ev, &l->io);
}

void listen_start(struct listen_watch *l, struct loop *loop, int fd,
                  void (*on_accept)(struct listen_watch *l, int fd, const struct addr *peer)) {
    *l = (struct listen_watch){.loop = loop, .on_accept = on_accept};
    timer_init(&l->retry, on_retry);
    ev_io_init(&l->io, on_acceptable, fd, EV_READ);
    l->io.data = l;
    ev_io_start(loop->ev, &l->io);
}

void listen_stop(struct listen_watch *l) {
    LG_ASSERT(l->io.fd >= 0);
    ev_io_stop(l->loop->ev, &l->io);
    timer_cancel(&l->retry);
    loop_forget_fd(l->loop, l->io.fd);
    close(l->io.fd);
    l->io.fd = -1;
}
