/* conn_write.c: what a connection sends: at once, kept, or collected over a turn. */
#include "conn_internal.h"

#include <errno.h>

/* So many bytes of a piece with `more` behind it are copied to wait for it; larger ones are written at once. */
enum { COALESCE_MAX = 16384, IOV_MAX_HERE = 64 };

/* The peer takes no more bytes. Where it matters what it sent before, that is read to its end, which is then told as
 * this error. */
static void conn_stop_writing(struct conn *c, int error_number) {
    c->write_error = (uint8_t)error_number;
    buf_clear(&c->out, &conn_loop(c)->chunks);
    if (!c->reads_on || c->state != CONN_OPEN || c->eof)
        conn_break(c, error_number);
    else
        conn_watch(c, !c->paused, false);
}

void conn_finish_shutdown(struct conn *c) {
    if (!c->shut || c->shut_done || c->out.bytes || c->state == CONN_CONNECTING || conn_is_broken(c)) return;
    c->shut_done = true;
    if (c->state == CONN_CLOSING) conn_set_timeout(c, CONN_LINGER_US, false);
    if (c->transport->shutdown(c->io.fd) != 0 && errno != ENOTCONN) conn_break(c, errno);
}

/* Writes as much as the socket takes; returns the bytes written, or SIZE_MAX when it broke. */
static size_t conn_push(struct conn *c, const struct iovec *iov, int count) {
    ssize_t n = c->transport->write(c->io.fd, iov, count, c->shut);
    if (n < 0) {
        if (errno == EAGAIN) return 0;
        conn_stop_writing(c, errno);
        return SIZE_MAX;
    }
    c->bytes_out += (uint64_t)n;
    if (n > 0) conn_moved(c);
    return (size_t)n;
}

/* Nothing is left of what the task was waiting for. */
static void conn_flush_done(struct conn *c) {
    if (!c->only_flush) return;
    c->only_flush = false;
    task_cancel(&c->task);
}

/* After a write: if something is left, wait until the socket takes more. */
static void conn_await_room(struct conn *c) {
    if (!c->out.bytes) {
        conn_flush_done(c);
        return;
    }
    conn_watch(c, c->reading, true);
    c->congested = true;
}

void conn_write_out(struct conn *c) {
    while (c->out.bytes && !conn_is_broken(c)) {
        struct iovec iov[IOV_MAX_HERE];
        int count = buf_iov(&c->out, iov, IOV_MAX_HERE);
        size_t total = 0;
        for (int i = 0; i < count; i++) total += iov[i].iov_len;
        size_t n = conn_push(c, iov, count);
        if (n == SIZE_MAX) return;
        buf_consume(&c->out, &conn_loop(c)->chunks, n);
        if (n < total) break;
    }
}

static bool can_send(const struct conn *c) {
    return c->state != CONN_CONNECTING && !c->writing && !conn_is_broken(c);
}

void conn_flush(struct conn *c) {
    if (!can_send(c)) return;
    conn_write_out(c);
    if (conn_is_broken(c)) return;
    conn_await_room(c);
    conn_finish_shutdown(c);
}

/* What waits to be sent is sent at the turn's end at the latest. */
static void conn_flush_later(struct conn *c) {
    if (can_send(c)) {
        if (!task_is_waiting(&c->task)) c->only_flush = true;
        loop_flush_later(conn_loop(c), &c->task);
    } else if (c->out.bytes > CONN_HIGH_MARK) {
        c->congested = true;
    }
}

char *conn_reserve(struct conn *c, size_t size) {
    return buf_reserve(&c->out, &conn_loop(c)->chunks, size);
}

void conn_commit(struct conn *c, size_t size) {
    buf_commit(&c->out, size);
    if (conn_is_broken(c) || c->shut) {
        buf_clear(&c->out, &conn_loop(c)->chunks);
        return;
    }
    conn_flush_later(c);
}

static void keep(struct conn *c, const struct iovec *iov, int count, size_t skip) {
    for (int i = 0; i < count; i++) {
        size_t len = iov[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        buf_append(&c->out, &conn_loop(c)->chunks, slice_from((const char *)iov[i].iov_base + skip, len - skip));
        skip = 0;
    }
}

void conn_write(struct conn *c, const struct iovec *iov, int count, bool more) {
    if (conn_is_broken(c) || c->shut) return;
    size_t total = 0;
    for (int i = 0; i < count; i++) total += iov[i].iov_len;
    if (!can_send(c) || (more && c->out.bytes + total <= COALESCE_MAX)) {
        keep(c, iov, count, 0);
        conn_flush_later(c);
        return;
    }
    /* One system call for what was kept and what is new. */
    struct iovec all[IOV_MAX_HERE];
    int n = buf_iov(&c->out, all, IOV_MAX_HERE - count);
    size_t kept = 0;
    for (int i = 0; i < n; i++) kept += all[i].iov_len;
    if (kept < c->out.bytes) {
        conn_write_out(c);
        if (conn_is_broken(c)) return;
        n = 0;
        kept = 0;
        if (c->out.bytes) {
            keep(c, iov, count, 0);
            conn_await_room(c);
            return;
        }
    }
    for (int i = 0; i < count; i++) all[n++] = iov[i];
    size_t written = conn_push(c, all, n);
    if (written == SIZE_MAX) return;
    if (kept) buf_consume(&c->out, &conn_loop(c)->chunks, written < kept ? written : kept);
    if (written < kept + total) keep(c, iov, count, written > kept ? written - kept : 0);
    conn_await_room(c);
}

void conn_shutdown(struct conn *c) {
    if (c->shut) return;
    c->shut = true;
    conn_flush(c);
}
