/* conn.c: one connected socket: state, buffers, deadline, events upward. */
#include "loomgate/net/conn.h"

#include "conn_internal.h"
#include "loomgate/net/socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_io(struct ev_loop *ev, ev_io *w, int events);
static void on_deadline(struct deadline *d);
static void on_task(struct task *task);
static void on_grave(struct task *task);

/* --- watchers --------------------------------------------------------------------------------------------------- */

void conn_rewatch(struct conn *c, bool reading, bool writing) {
    ev_io_stop(conn_loop(c)->ev, &c->io);
    c->reading = reading;
    c->writing = writing;
    if (!reading && !writing) return;
    ev_io_set(&c->io, c->io.fd, (reading ? EV_READ : 0) | (writing ? EV_WRITE : 0));
    ev_io_start(conn_loop(c)->ev, &c->io);
}

/* At the end of the turn: an event to tell, or bytes to present. */
static void conn_defer(struct conn *c) {
    c->only_flush = false;
    loop_defer(conn_loop(c), &c->task);
}

/* --- birth ------------------------------------------------------------------------------------------------------ */

static struct conn *conn_new(struct loop *loop, int fd, enum conn_state state, const struct conn_events *events,
                             void *owner) {
    if (!loop->conns.size) slab_init(&loop->conns, sizeof(struct conn), 64);
    struct conn *c = slab_get(&loop->conns);
    *c = (struct conn){.transport = &transport_plain, .events = events, .owner = owner, .state = (uint8_t)state};
    ev_io_init(&c->io, on_io, fd, 0);
    c->io.data = loop;
    deadline_init(&c->deadline, on_deadline);
    task_init(&c->task, on_task);
    conn_watch(c, state == CONN_OPEN, state == CONN_CONNECTING);
    return c;
}

struct conn *conn_adopt(struct loop *loop, int fd, const struct conn_events *events, void *owner) {
    return conn_new(loop, fd, CONN_OPEN, events, owner);
}

struct conn *conn_connect(struct loop *loop, const struct addr *to, const struct conn_events *events, void *owner) {
    bool done;
    int fd = socket_connect_below(to, loop->connect_ceiling, &done);
    if (fd < 0) return NULL;
    struct conn *c = conn_new(loop, fd, CONN_CONNECTING, events, owner);
    if (done) conn_defer(c); /* UNIX sockets connect at once; on_open still comes later */
    return c;
}

void conn_set_owner(struct conn *c, const struct conn_events *events, void *owner) {
    c->events = events;
    c->owner = owner;
    c->eof_told = false;
    c->reads_on = false;
    conn_set_timeout(c, 0, false);
    if (events && !c->error_told) conn_defer(c);
}

/* --- death ------------------------------------------------------------------------------------------------------ */

/* Everything but the socket ends. */
static void conn_let_go(struct conn *c) {
    bool was_closing = c->state == CONN_CLOSING;
    c->state = CONN_CLOSED;
    c->events = NULL;
    conn_watch(c, false, false);
    deadline_cancel(&c->deadline);
    task_cancel(&c->task);
    c->task.run = on_grave;
    loop_bury(conn_loop(c), &c->task);
    if (was_closing && --conn_loop(c)->closing == 0 && conn_loop(c)->on_all_closed)
        conn_loop(c)->on_all_closed(conn_loop(c));
}

static void conn_bury(struct conn *c) {
    if (c->state == CONN_CLOSED) return;
    conn_let_go(c);
    if (c->reset_on_close) socket_set_reset(c->io.fd);
    close(c->io.fd);
}

int conn_release(struct conn *c) {
    LG_ASSERT(c->state == CONN_OPEN);
    conn_let_go(c);
    return c->io.fd;
}

static void on_grave(struct task *task) {
    struct conn *c = LG_CONTAINER_OF(task, struct conn, task);
    struct loop *loop = conn_loop(c);
    buf_clear(&c->in, &loop->chunks);
    buf_clear(&c->out, &loop->chunks);
    slab_put(&loop->conns, c);
}

/* CLOSING: the owner is gone. Send what is left; then close, or send FIN and read away what comes until the peer's. */
static void conn_closing_step(struct conn *c) {
    if (conn_is_broken(c) || (!c->out.bytes && (!c->linger || (c->eof && c->shut_done)))) conn_bury(c);
}

static bool has_unfinished_business(const struct conn *c) {
    return c->state == CONN_OPEN && !conn_is_broken(c) && (c->out.bytes || (c->linger && !c->eof));
}

void conn_close(struct conn *c, enum conn_close_how how) {
    LG_ASSERT(c->state != CONN_CLOSED);
    c->events = NULL;
    c->owner = NULL;
    c->reset_on_close = how == CONN_CLOSE_RESET;
    c->linger = how == CONN_CLOSE_LINGER;
    bool writes = how == CONN_CLOSE_AFTER_WRITE || how == CONN_CLOSE_LINGER;
    if (writes && (c->linger || c->out.bytes)) conn_shutdown(c); /* FIN goes out with the last bytes */
    if (!writes || !has_unfinished_business(c)) {
        conn_bury(c);
        return;
    }
    c->state = CONN_CLOSING;
    conn_loop(c)->closing++;
    c->paused = c->unseen = false;
    buf_clear(&c->in, &conn_loop(c)->chunks);
    if (c->shut_done)
        conn_set_timeout(c, CONN_LINGER_US, false);
    else
        conn_set_timeout(c, CONN_DRAIN_US, true);
    conn_watch(c, !c->eof, c->writing);
    conn_closing_step(c);
}

/* --- failing ---------------------------------------------------------------------------------------------------- */

_Static_assert(EHWPOISON <= UINT8_MAX, "error numbers are kept in a byte"); /* the highest of Linux */

void conn_break(struct conn *c, int error_number) {
    if (c->error_number) return;
    c->error_number = (uint8_t)error_number;
    buf_clear(&c->out, &conn_loop(c)->chunks);
    conn_watch(c, false, false);
    conn_defer(c);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* What is kept because the owner paused comes before anything else is read, or a peer that only sends would pile up
 * here what it is not read for. */
static void conn_note_unseen(struct conn *c) {
    c->unseen = c->in.bytes && (c->paused || c->yielded);
}

/* Presents kept bytes, if the owner takes any now. */
static void conn_present_kept(struct conn *c) {
    c->in_read = true;
    while (c->in.bytes && !c->paused && !c->yielded && c->events) {
        size_t n = c->events->on_read(c, buf_linear(&c->in, &conn_loop(c)->chunks));
        if (c->state == CONN_CLOSED || c->state == CONN_CLOSING) break;
        buf_consume(&c->in, &conn_loop(c)->chunks, n);
        if (!n) break;
    }
    c->in_read = false;
    conn_note_unseen(c);
}

static void conn_tell_eof(struct conn *c) {
    if (!c->eof || c->eof_told || c->paused || c->yielded || !c->events || c->error_number) return;
    c->eof_told = true;
    c->events->on_eof(c);
}

/* The end never overtakes bytes that are kept, such as those that wait for a new owner. */
static void conn_present_and_tell_eof(struct conn *c) {
    if (c->state != CONN_OPEN || !c->events || c->paused) return;
    conn_present_kept(c);
    if (c->state == CONN_OPEN) conn_tell_eof(c);
}

static void conn_take(struct conn *c, size_t n) {
    struct slice bytes = slice_from(conn_loop(c)->read_buffer, n);
    if (c->in.bytes) {
        buf_append(&c->in, &conn_loop(c)->chunks, bytes);
        conn_present_kept(c);
        return;
    }
    c->in_read = true;
    size_t taken = c->events->on_read(c, bytes);
    c->in_read = false;
    if (taken < n && c->events) buf_append(&c->in, &conn_loop(c)->chunks, slice_from(bytes.p + taken, n - taken));
    conn_note_unseen(c);
}

static void conn_note_full_read(struct conn *c) {
    c->full_reads++; /* sixteen of them are none */
    if (!c->full_reads && c->read_level < CONN_READ_LEVELS) c->read_level++;
}

_Static_assert(CONN_READ_FIRST << CONN_READ_LEVELS == LOOP_READ_SIZE, "the highest level fills the loop's buffer");

static void conn_on_readable(struct conn *c) {
    if (c->yielded) return;
    if (c->paused) {
        conn_watch(c, false, c->writing); /* only now: many a pause ends before the next byte */
        return;
    }
    if (c->unseen) return; /* it has been resumed in this turn */
    const size_t size = (size_t)CONN_READ_FIRST << c->read_level;
    ssize_t n = c->transport->read(c->io.fd, conn_loop(c)->read_buffer, size);
    if (n < 0) {
        if (errno != EAGAIN) conn_break(c, errno);
        return;
    }
    if (n == 0 && c->write_error) {
        conn_break(c, c->write_error);
        return;
    }
    if (n == 0) {
        c->eof = true;
        conn_watch(c, false, c->writing);
        conn_present_and_tell_eof(c);
        if (c->state == CONN_CLOSING) conn_closing_step(c);
        return;
    }
    c->bytes_in += (uint64_t)n;
    if ((size_t)n == size) conn_note_full_read(c);
    if (c->state == CONN_OPEN) conn_moved(c); /* what is only thrown away keeps nothing alive */
    if (c->events) conn_take(c, (size_t)n);
}

void conn_read_now(struct conn *c) {
    if (c->state == CONN_OPEN && c->reading && !conn_is_broken(c)) conn_on_readable(c);
}

void conn_read_on(struct conn *c) {
    c->reads_on = true;
}

void conn_yield(struct conn *c) {
    c->yielded = true;
    c->only_flush = false;
    task_cancel(&c->task);
    loop_next_turn(conn_loop(c), &c->task);
}

bool conn_has_input(const struct conn *c) {
    char byte;
    return c->in.bytes || recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static uint16_t clock_ms(const struct conn *c) {
    return (uint16_t)(conn_loop(c)->now_us / 1000);
}

void conn_pause(struct conn *c) {
    if (c->paused) return;
    c->paused = true;
    c->paused_ms = clock_ms(c);
}

void conn_resume(struct conn *c) {
    if (!c->paused) return;
    c->paused = false;
    if ((uint16_t)(clock_ms(c) - c->paused_ms) >= CONN_SLOW_MS) {
        c->read_level = 0;
        c->full_reads = 0;
    }
    if (c->state != CONN_OPEN || c->error_number) return;
    if (!c->eof) conn_watch(c, true, c->writing);
    if ((c->in.bytes && !c->in_read) || (c->eof && !c->eof_told)) conn_defer(c);
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static void conn_tell_drained(struct conn *c) {
    if (c->out.bytes || !c->congested) return;
    c->congested = false;
    if (c->events) c->events->on_drained(c);
}

static void conn_on_connected(struct conn *c) {
    int error_number = socket_error(c->io.fd);
    if (error_number) {
        conn_break(c, error_number);
        return;
    }
    c->state = CONN_OPEN;
    conn_watch(c, true, false);
    if (c->events) c->events->on_open(c);
    if (c->state != CONN_OPEN) return;
    conn_flush(c);
    conn_tell_drained(c);
}

static void conn_on_writable(struct conn *c) {
    conn_write_out(c);
    if (conn_is_broken(c)) return;
    conn_watch(c, c->reading, c->out.bytes > 0);
    conn_finish_shutdown(c);
    conn_tell_drained(c);
    if (c->state == CONN_CLOSING) conn_closing_step(c);
}

static void conn_on_event(void *owner, int events) {
    struct conn *c = owner;
    if (c->state == CONN_CONNECTING) {
        conn_on_connected(c);
        return;
    }
    if (events & EV_WRITE && c->writing) conn_on_writable(c);
    if (events & EV_READ && c->reading && c->state != CONN_CLOSED && !c->error_number) conn_on_readable(c);
}

static void on_io(struct ev_loop *ev, ev_io *w, int events) {
    (void)ev;
    struct conn *c = LG_CONTAINER_OF(w, struct conn, io);
    loop_in_order(conn_loop(c), conn_on_event, c, events);
}

/* What was put off in this turn: a connect that was done at once, an error to tell, kept bytes to present, output. */
static void on_task(struct task *task) {
    struct conn *c = LG_CONTAINER_OF(task, struct conn, task);
    c->yielded = c->only_flush = false;
    if (c->state == CONN_CONNECTING && !c->error_number) {
        if (c->writing) conn_on_connected(c);
        return;
    }
    if (c->error_number) {
        if (c->state == CONN_CLOSING)
            conn_bury(c);
        else if (!c->error_told && c->events) {
            c->error_told = true;
            c->events->on_error(c, c->error_number);
        }
        return;
    }
    conn_present_and_tell_eof(c);
    if (c->state == CONN_OPEN || c->state == CONN_CLOSING) conn_flush(c);
}

static void on_deadline(struct deadline *d) {
    struct conn *c = LG_CONTAINER_OF(d, struct conn, deadline);
    if (c->state == CONN_CLOSING) {
        c->reset_on_close = c->out.bytes > 0;
        conn_bury(c);
    } else if (c->events) {
        c->events->on_timeout(c);
    }
}

void conn_set_timeout(struct conn *c, uint64_t timeout_us, bool renew) {
    c->timeout_us = timeout_us;
    c->renew = renew;
    if (timeout_us || deadline_is_set(&c->deadline)) deadline_set(conn_loop(c), &c->deadline, timeout_us);
}
