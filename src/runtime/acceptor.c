/* acceptor.c: the live listening socket of one bind point in one worker. */
#include "loomgate/runtime/acceptor.h"

#include "loomgate/base/event.h"
#include "loomgate/net/socket.h"
#include "loomgate/proxy/client.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BURST_MAX = 64, FULL_QUIET_US = 60000000 };
/* So many wake-ups in a row must have found as many connections as they asked for before the next ones ask for more:
 * where each brings one, asking for a second is mostly a call in vain. */
enum { FULL_BURSTS = 8 };

enum accept_result { ACCEPT_ONE, ACCEPT_NONE, ACCEPT_PAUSE };

/* It is woken when a connection leaves a full gate. That a gate looked full may also have been another worker's
 * accept that came to nothing, which wakes nobody: so it looks again by itself as well. */
static void acceptor_pause(struct acceptor *a) {
    a->paused = true;
    deadline_set(&a->env->loop, &a->retry, ACCEPT_RETRY_US);
    ev_io_stop(a->env->loop.ev, &a->io);
}

static void leave_gates(struct acceptor *a) {
    gate_leave(a->frontend->gate);
    gate_leave(a->env->gate);
}

/* A lack of descriptors or memory passes; until then waiting clients stay in the kernel's queue. */
static void acceptor_starve(struct acceptor *a, int error_number) {
    metrics_add(&a->env->metrics, METRIC_accept_errors_total, 1);
    if (!a->starved)
        event_warn("accept_paused", "accepting pauses until descriptors or memory are free again",
                   LOG_STR("frontend", a->frontend->settings->name), LOG_STR("error", strerror(error_number)),
                   LOG_INT("connections", a->env->client_count));
    a->starved = true;
}

static void tell_recovery(struct acceptor *a) {
    a->starved = false;
    event_info("accept_resumed", "accepting again", LOG_STR("frontend", a->frontend->settings->name),
               LOG_INT("connections", a->env->client_count));
}

static enum accept_result accept_failed(struct acceptor *a, int error_number) {
    switch (error_number) {
    case EAGAIN:
        return ACCEPT_NONE;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        acceptor_starve(a, error_number);
        return ACCEPT_PAUSE;
    default: /* the client has given up already, or its network has (accept(2), "Error handling") */
        metrics_add(&a->env->metrics, METRIC_accept_errors_total, 1);
        return ACCEPT_ONE;
    }
}

/* Told once until it has been quiet for a while, or a service at its limit would fill its log. */
static enum accept_result gate_is_full(struct acceptor *a, const char *scope, const struct gate *gate) {
    uint64_t now_us = a->env->loop.now_us;
    if (now_us - a->full_us > FULL_QUIET_US)
        event_warn("max_connections_reached", "clients wait until others have left",
                   LOG_STR("frontend", a->frontend->settings->name), LOG_STR("limit_of", scope),
                   LOG_INT("limit", gate_limit(gate)));
    a->full_us = now_us;
    return ACCEPT_PAUSE;
}

static enum accept_result accept_one(struct acceptor *a) {
    struct addr peer;
    if (!gate_enter(a->env->gate)) return gate_is_full(a, "global", a->env->gate);
    if (!gate_enter(a->frontend->gate)) {
        gate_leave(a->env->gate);
        return gate_is_full(a, a->frontend->settings->name, a->frontend->gate);
    }
    int fd = socket_accept(a->io.fd, &peer);
    if (fd < 0) {
        int error_number = errno;
        leave_gates(a);
        return accept_failed(a, error_number);
    }
    client_start(a->env, a->frontend, fd, &(struct client_origin){&peer, a->port, a->accept_proxy, a->defers});
    if (fd < a->env->fd_ceiling) return ACCEPT_ONE;
    /* The last descriptors are for the servers' side, or all would wait for each other. */
    acceptor_starve(a, EMFILE);
    return ACCEPT_PAUSE;
}

/* A quiet listener asks for one connection and so saves the call that would say "no more"; a busy one takes many. */
static void on_acceptable(struct ev_loop *ev, ev_io *w, int events) {
    (void)ev, (void)events;
    struct acceptor *a = w->data;
    unsigned limit = a->starved ? a->backlog + 1 : a->burst; /* after a shortage: until nobody waits, which is told */
    for (unsigned n = 0; n < limit; n++) {
        enum accept_result result = accept_one(a);
        if (result == ACCEPT_ONE) continue;
        if (result == ACCEPT_PAUSE) acceptor_pause(a);
        if (result == ACCEPT_NONE && a->starved) tell_recovery(a); /* nobody waits any more */
        a->burst = n == 0 ? 1 : n < BURST_MAX ? n : BURST_MAX;
        a->full_bursts = 0;
        return;
    }
    if (++a->full_bursts < FULL_BURSTS || a->burst >= BURST_MAX) return;
    a->burst *= 2;
    a->full_bursts = 0;
}

static void on_retry(struct deadline *d) {
    acceptor_resume(LG_CONTAINER_OF(d, struct acceptor, retry));
}

void acceptor_init(struct acceptor *a, struct env *env, struct frontend *frontend, int fd, uint16_t port,
                   const struct listener_settings *settings) {
    *a = (struct acceptor){.env = env,
                           .frontend = frontend,
                           .port = port,
                           .backlog = settings->backlog,
                           .accept_proxy = settings->accept_proxy,
                           .burst = 1,
                           .full_us = env->loop.now_us - FULL_QUIET_US - 1};
    deadline_init(&a->retry, on_retry);
    ev_io_init(&a->io, on_acceptable, fd, EV_READ);
    a->io.data = a;
    ev_io_start(env->loop.ev, &a->io);
    /* The socket may be another process's, with an option of its own. */
    if (port) a->defers = socket_defer_accept(fd, settings->defer_accept) && settings->defer_accept;
}

void acceptor_set(struct acceptor *a, struct frontend *frontend, const struct listener_settings *settings) {
    a->frontend = frontend;
    a->accept_proxy = settings->accept_proxy;
    if (a->backlog != settings->backlog && listen(a->io.fd, (int)settings->backlog) == 0)
        a->backlog = settings->backlog;
    if (a->defers != settings->defer_accept && socket_defer_accept(a->io.fd, settings->defer_accept))
        a->defers = settings->defer_accept;
    acceptor_resume(a); /* its limit may be another one */
}

void acceptor_resume(struct acceptor *a) {
    if (!a->paused) return;
    a->paused = false;
    deadline_cancel(&a->retry);
    ev_io_start(a->env->loop.ev, &a->io);
}

void acceptor_close(struct acceptor *a) {
    uint32_t queued = a->backlog;
    while (a->io.fd >= 0 && queued-- && accept_one(a) == ACCEPT_ONE) continue;
    acceptor_abandon(a);
}

void acceptor_abandon(struct acceptor *a) {
    if (a->io.fd < 0) return;
    ev_io_stop(a->env->loop.ev, &a->io);
    deadline_cancel(&a->retry);
    a->paused = false;
    loop_forget_fd(&a->env->loop, a->io.fd); /* another process may have it, too */
    close(a->io.fd);
    a->io.fd = -1;
}
