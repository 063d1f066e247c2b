/* server_client.c: one connection to a control socket: lines in, answers out, one command after the other.
 *
 *   bytes --> in[] --a whole line--> line --command by command--> call --its end--> the next one
 *                \--16 KiB without a line's end--> an error, closed
 *
 * While an answer waits for the client to read, no further command begins, so what waits is bounded. Commands run from
 * a task of the loop, a few in a turn, never from inside an event of the connection. */
#include "server_internal.h"

#include <poll.h>
#include <stdlib.h>

/* LOOK: so often it is looked whether the reader of a stream is still there. */
enum { IN_MAX = CONTROL_LINE_MAX + 2, COMMANDS_A_TURN = 8, WAITING_MAX = 16384, LOOK_US = 1000000 };
_Static_assert((int)WAITING_MAX > (int)CONN_HIGH_MARK, "or on_drained never comes");

struct client {
    struct list node;
    struct control_socket *socket;
    struct conn *conn;
    struct socket_peer peer;
    char *in; /* IN_MAX bytes while any are used: lines that have not begun */
    size_t used;
    char *line_text;   /* the line under way; NULL: none */
    struct slice line; /* what is left of it */
    struct call *call; /* under way */
    bool eof, prompt, quit;
    bool streams;   /* `call` is a stream */
    bool told_stop; /* which knows that it is to end */
    struct task step;
};

/* --- out -------------------------------------------------------------------------------------------------------- */

/* What the client does not take in time ends it. */
static void client_send(struct client *c, struct slice text) {
    struct iovec iov = {(void *)(uintptr_t)text.p, text.n};
    bool waited = conn_has_output(c->conn);
    conn_write(c->conn, &iov, 1, false);
    if (!waited && conn_has_output(c->conn)) conn_set_timeout(c->conn, CONTROL_ANSWER_US, false);
}

static void client_close(struct client *c, enum conn_close_how how) {
    struct control_socket *s = c->socket;
    task_cancel(&c->step);
    if (c->conn) conn_close(c->conn, how);
    if (c->call) call_abandon(c->call);
    list_remove(&c->node);
    s->client_count--;
    s->server->control.client_count--;
    free(c->in);
    free(c->line_text);
    free(c);
}

static void step_soon(struct client *c) {
    loop_defer(c->socket->server->loop, &c->step);
}

/* --- calls ------------------------------------------------------------------------------------------------------ */

/* More than a client's kernel buffer and this is not kept for it. on_drained tells when it is gone. */
static bool has_much_waiting(const struct client *c) {
    return c->conn->out.bytes > WAITING_MAX;
}

static bool on_text(struct call *call, struct slice text) {
    struct client *c = call->owner;
    if (call->on_stop && has_much_waiting(c)) return false; /* a stream drops, an answer waits */
    client_send(c, text);
    return true;
}

static void on_end(struct call *call) {
    struct client *c = call->owner;
    c->call = NULL;
    if (c->streams) conn_set_timeout(c->conn, conn_has_output(c->conn) ? CONTROL_ANSWER_US : 0, false);
    c->streams = c->told_stop = false;
    c->prompt = c->prompt || call->wants_prompt;
    c->quit = c->quit || call->wants_quit;
    step_soon(c);
}

static const struct call_events call_events = {.on_text = on_text, .on_end = on_end};

/* --- lines ------------------------------------------------------------------------------------------------------ */

static void drop_in(struct client *c, size_t from, size_t n) {
    memmove(c->in + from, c->in + from + n, c->used - from - n);
    c->used -= n;
    if (!c->used) {
        free(c->in);
        c->in = NULL;
    }
    conn_resume(c->conn);
}

/* Moves the next line out of in[]; at the end also one that lacks its end. False: there is none. */
static bool take_line(struct client *c) {
    const char *end = c->used ? memchr(c->in, '\n', c->used) : NULL;
    if (!end && !(c->eof && c->used)) return false;
    size_t n = end ? (size_t)(end - c->in) : c->used, whole = end ? n + 1 : n;
    if (n && c->in[n - 1] == '\r') n--;
    c->line_text = xmalloc(n + 1);
    memcpy(c->line_text, c->in, n);
    c->line = slice_from(c->line_text, n);
    drop_in(c, 0, whole);
    return true;
}

static bool is_too_long(const struct client *c) {
    const char *end = c->used ? memchr(c->in, '\n', c->used) : NULL;
    size_t n = end ? (size_t)(end - c->in) : c->used;
    if (n && c->in[n - 1] == '\r') n--;
    return n > CONTROL_LINE_MAX;
}

/* Whether one of the lines that wait is empty, which ends a stream; takes it away. */
static bool take_empty_line(struct client *c) {
    for (size_t at = 0; at < c->used;) {
        const char *end = memchr(c->in + at, '\n', c->used - at);
        if (!end) return false;
        size_t n = (size_t)(end - c->in) - at;
        if (n == 0 || (n == 1 && c->in[at] == '\r')) {
            drop_in(c, at, n + 1);
            return true;
        }
        at += n + 1;
    }
    return false;
}

/* --- steps ------------------------------------------------------------------------------------------------------ */

static void begin_stream(struct client *c) {
    c->streams = true;
    conn_set_timeout(c->conn, LOOK_US, false);
}

static void watch_stream(struct client *c) {
    bool over = take_empty_line(c) || (c->eof && !c->call->is_finite);
    if (c->told_stop || !over) return;
    c->told_stop = true;
    c->call->on_stop(c->call);
}

static void refuse_long_line(struct client *c) {
    client_send(c, SLICE("error: too_long: a line has at most 16 KiB\n\n"));
    client_close(c, CONN_CLOSE_LINGER); /* a reset would destroy the answer */
}

static void finish_line(struct client *c) {
    free(c->line_text);
    c->line_text = NULL;
    if (c->prompt) client_send(c, SLICE("> "));
}

/* Begins the next command. False: there is nothing to do now, or the client is gone. */
static bool client_advance(struct client *c) {
    if (c->call) {
        if (c->call->on_stop) watch_stream(c);
        return false;
    }
    if (has_much_waiting(c)) return false; /* on_drained, or the timeout */
    if (c->quit) {
        client_close(c, CONN_CLOSE_LINGER);
        return false;
    }
    if (!c->line_text && is_too_long(c)) {
        refuse_long_line(c);
        return false;
    }
    if (!c->line_text && !take_line(c)) {
        if (c->eof) client_close(c, CONN_CLOSE_AFTER_WRITE);
        return false;
    }
    c->call = call_new(&c->socket->server->control, &call_events, c, c->socket->level, &c->peer, &c->line);
    if (c->call)
        call_run(c->call);
    else
        finish_line(c);
    if (c->call && c->call->on_stop) begin_stream(c);
    return true;
}

static void on_step(struct task *task) {
    struct client *c = LG_CONTAINER_OF(task, struct client, step);
    struct loop *loop = c->socket->server->loop;
    for (unsigned n = 0; n < COMMANDS_A_TURN; n++)
        if (!client_advance(c)) return;
    task_cancel(&c->step);
    loop_next_turn(loop, &c->step);
}

/* --- events of the connection ----------------------------------------------------------------------------------- */

static size_t on_read(struct conn *conn, struct slice bytes) {
    struct client *c = conn->owner;
    size_t n = bytes.n < IN_MAX - c->used ? bytes.n : IN_MAX - c->used;
    if (!c->in) c->in = xmalloc(IN_MAX);
    memcpy(c->in + c->used, bytes.p, n);
    c->used += n;
    if (c->used == IN_MAX) conn_pause(conn);
    step_soon(c);
    return n;
}

static void on_eof(struct conn *conn) {
    struct client *c = conn->owner;
    c->eof = true;
    step_soon(c);
}

static void on_drained(struct conn *conn) {
    step_soon(conn->owner);
}

static void on_error(struct conn *conn, int error_number) {
    (void)error_number;
    client_close(conn->owner, CONN_CLOSE_NOW);
}

/* Nothing tells of it when its end of input is known already, or not read yet. */
static bool has_hung_up(const struct conn *conn) {
    struct pollfd p = {.fd = conn->io.fd};
    return poll(&p, 1, 0) == 1;
}

/* An answer has waited too long; a stream may be as slow as it likes, but not without anybody to read it. */
static void on_timeout(struct conn *conn) {
    struct client *c = conn->owner;
    if (c->streams && !has_hung_up(conn))
        conn_set_timeout(conn, LOOK_US, false);
    else if (c->streams)
        client_close(c, CONN_CLOSE_NOW);
    else if (conn_has_output(conn))
        client_close(c, CONN_CLOSE_RESET);
}

static const struct conn_events conn_events = {
    .on_read = on_read, .on_eof = on_eof, .on_drained = on_drained, .on_error = on_error, .on_timeout = on_timeout};

/* --- birth and death -------------------------------------------------------------------------------------------- */

static void refuse(struct control_socket *s, int fd) {
    static const char text[] = "error: conflict: 64 clients are connected to this socket already\n\n";
    _Static_assert(CONTROL_CLIENTS_MAX == 64, "it is in the text");
    struct conn *conn = conn_adopt(s->server->loop, fd, NULL, NULL);
    conn_write(conn, &(struct iovec){(void *)(uintptr_t)text, sizeof text - 1}, 1, false);
    conn_close(conn, CONN_CLOSE_LINGER);
}

void client_open(struct control_socket *s, int fd) {
    if (s->client_count == CONTROL_CLIENTS_MAX) {
        refuse(s, fd);
        return;
    }
    struct client *c = xcalloc(1, sizeof *c);
    c->socket = s;
    if (!socket_get_peer(fd, &c->peer)) c->peer = (struct socket_peer){-1, (uid_t)-1, (gid_t)-1};
    task_init(&c->step, on_step);
    list_push_back(&s->clients, &c->node);
    s->client_count++;
    s->server->control.client_count++;
    c->conn = conn_adopt(s->server->loop, fd, &conn_events, c);
}

void clients_close(struct control_socket *s) {
    LIST_FOR (node, &s->clients) {
        struct client *c = LIST_ENTRY(node, struct client, node);
        if (c->call)
            client_send(c, c->call->json || c->streams
                               ? SLICE("{\"ok\":false,\"error\":\"conflict\",\"message\":\"LoomGate stops\"}\n\n")
                               : SLICE("error: conflict: LoomGate stops\n\n"));
        client_close(c, CONN_CLOSE_AFTER_WRITE);
    }
}
