/* tunnel.c: bytes both ways between two connections, with back-pressure and half-close. */
#include "loomgate/proxy/tunnel.h"

static struct conn *other(const struct tunnel *t, const struct conn *c) {
    return c == t->front ? t->back : t->front;
}

static void close_both(struct tunnel *t, enum conn_close_how how) {
    t->bytes_in = t->front->bytes_in;
    t->bytes_out = t->front->bytes_out + (how == CONN_CLOSE_AFTER_WRITE ? t->front->out.bytes : 0);
    conn_close(t->front, how);
    conn_close(t->back, how);
    t->front = t->back = NULL;
}

static void end(struct tunnel *t, enum failure f) {
    close_both(t, f == FAILURE_NONE ? CONN_CLOSE_AFTER_WRITE : CONN_CLOSE_RESET);
    t->events->on_tunnel_end(t, f);
}

static size_t on_read(struct conn *c, struct slice bytes) {
    struct tunnel *t = c->owner;
    struct conn *to = other(t, c);
    const struct iovec iov = {(void *)(uintptr_t)bytes.p, bytes.n};
    conn_write(to, &iov, 1, false);
    if (conn_is_congested(to)) conn_pause(c);
    return bytes.n;
}

static void on_drained(struct conn *c) {
    struct tunnel *t = c->owner;
    conn_resume(other(t, c));
}

static void on_eof(struct conn *c) {
    struct tunnel *t = c->owner;
    struct conn *to = other(t, c);
    conn_shutdown(to);
    if (to->eof_told) end(t, FAILURE_NONE);
}

static void on_error(struct conn *c, int error_number) {
    struct tunnel *t = c->owner;
    (void)error_number;
    end(t, c == t->front ? FAILURE_client_closed : FAILURE_response_cut);
}

/* Every byte, whichever way it goes, passes the front: its timeout is the tunnel's. */
static void on_timeout(struct conn *c) {
    end(c->owner, FAILURE_tunnel_timeout);
}

static const struct conn_events tunnel_conn_events = {
    .on_read = on_read, .on_eof = on_eof, .on_drained = on_drained, .on_error = on_error, .on_timeout = on_timeout};

void tunnel_abort(struct tunnel *t) {
    if (t->front) close_both(t, CONN_CLOSE_RESET);
}

void tunnel_start(struct tunnel *t, struct conn *front, struct conn *back, uint64_t idle_us,
                  const struct tunnel_events *events) {
    *t = (struct tunnel){.front = front, .back = back, .events = events};
    conn_set_owner(front, &tunnel_conn_events, t);
    conn_set_owner(back, &tunnel_conn_events, t);
    conn_read_on(back);
    conn_set_timeout(front, idle_us, true);
    conn_resume(front);
    conn_resume(back);
}
