/* Connections: edge-triggered, registered once, driven by one step function for each state until it would block.
 *
 *   PROXY -> HEAD -> BODY -> WAIT -> SEND -+-> HEAD (keep-alive), closed, FIN
 *              ^       |______________^   +-> BODY (early answers: the rest of the body is drained)
 *              |_______________________   +-> RESET, AFTER, HANG, TUNNEL
 */
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "proxy_line.h"

enum { IN_SIZE = 64 * 1024, IOV_COUNT = 24, RATE_TICK_MS = 20, RESET_POLLS = 2000 };

struct settings settings = {.name = "origin"};
struct counters counters;
const char *conn_pattern;

static char pattern[PATTERN_SIZE + PATTERN_PERIOD];
static char *spare_buffers[64];
static size_t spare_count;

void conn_init_pattern(void) {
    static const char period[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n";
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = period[i % PATTERN_PERIOD];
    }
    conn_pattern = pattern;
}

/* ---- life ---- */

struct conn *conn_new(int fd) {
    struct conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        abort();
    }
    conn->fd = fd;
    conn->state = settings.wants_proxy ? CONN_PROXY : CONN_HEAD;
    conn->is_readable = conn->is_writable = true;
    conn->serial = ++counters.accepted;
    counters.open++;
    return conn;
}

static void release_buffer(struct conn *conn) {
    if (conn->in && spare_count < sizeof(spare_buffers) / sizeof(*spare_buffers)) {
        spare_buffers[spare_count++] = conn->in;
    } else {
        free(conn->in);
    }
    conn->in = NULL;
    conn->in_from = conn->in_to = 0;
}

static void conn_close(struct conn *conn) {
    close(conn->fd);
    timer_clear(&conn->timer);
    release_buffer(conn);
    request_free(&conn->request);
    text_free(&conn->proxy);
    text_free(&conn->out);
    text_free(&conn->tail);
    free(conn);
    counters.open--;
}

static void conn_reset(struct conn *conn) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    conn_close(conn);
}

/* ---- reading ---- */

enum got { GOT_SOME, GOT_NOTHING, GOT_END };

/* Reads at most `most` bytes behind what is in the buffer. */
static enum got conn_read(struct conn *conn, size_t most) {
    if (!conn->in) {
        conn->in = spare_count ? spare_buffers[--spare_count] : malloc(IN_SIZE);
        if (!conn->in) {
            abort();
        }
    }
    if (conn->in_from == conn->in_to) {
        conn->in_from = conn->in_to = 0;
    } else if (conn->in_from > 0 && conn->in_to == IN_SIZE) {
        memmove(conn->in, conn->in + conn->in_from, conn->in_to - conn->in_from);
        conn->in_to -= conn->in_from;
        conn->in_from = 0;
    }
    size_t room = IN_SIZE - conn->in_to;
    if (room == 0) {
        return GOT_END; /* a head larger than the buffer: nobody whom we serve */
    }
    if (!conn->is_readable) {
        return GOT_NOTHING;
    }
    size_t want = most < room ? most : room;
    ssize_t n = read(conn->fd, conn->in + conn->in_to, want);
    if (n > 0) {
        conn->in_to += (size_t)n;
        /* A short read emptied the socket; the next byte is a new edge. A FIN that is already there is not. */
        conn->is_readable = (size_t)n == want || conn->is_half_closed;
        return GOT_SOME;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        conn->is_readable = false;
        return GOT_NOTHING;
    }
    return GOT_END;
}

/* Reading came to nothing: waits, or ends the connection. Always false: no further step now. */
static bool wait_or_close(struct conn *conn, enum got got) {
    if (got == GOT_END) {
        conn_close(conn);
    }
    return false;
}

/* ---- writing ---- */

void conn_set_fill(struct conn *conn, uint64_t size, size_t chunk) {
    struct fill *fill = &conn->fill;
    *fill = (struct fill){.size = size, .chunk = chunk};
    if (chunk == 0) {
        return;
    }
    fill->head_len = (size_t)snprintf(fill->head, sizeof(fill->head), "%zx\r\n", chunk);
    fill->size = size / chunk * (fill->head_len + chunk + 2);
    uint64_t rest = size % chunk;
    if (rest > 0) {
        text_printf(&conn->tail, "%llx\r\n", (unsigned long long)rest);
        text_add(&conn->tail, pattern + (size - rest) % PATTERN_PERIOD, rest);
        text_puts(&conn->tail, "\r\n");
    }
}

/* The longest run of the fill's bytes from `at` that lies in one piece. */
static struct iovec fill_piece(const struct fill *fill, uint64_t at) {
    uint64_t left = fill->size - at;
    if (fill->chunk == 0) {
        size_t len = left < PATTERN_SIZE ? (size_t)left : PATTERN_SIZE;
        return (struct iovec){pattern + at % PATTERN_PERIOD, len};
    }
    size_t frame = fill->head_len + fill->chunk + 2;
    size_t in_frame = (size_t)(at % frame);
    if (in_frame < fill->head_len) {
        return (struct iovec){(char *)(uintptr_t)fill->head + in_frame, fill->head_len - in_frame};
    }
    size_t in_data = in_frame - fill->head_len;
    if (in_data < fill->chunk) {
        uint64_t data_at = at / frame * fill->chunk + in_data;
        return (struct iovec){pattern + data_at % PATTERN_PERIOD, fill->chunk - in_data};
    }
    static char crlf[] = "\r\n";
    return (struct iovec){crlf + (in_data - fill->chunk), frame - in_frame};
}

static int gather(const struct conn *conn, struct iovec *pieces) {
    int count = 0;
    size_t out_end = conn->pace_ms && conn->allowed < conn->out.len ? conn->allowed : conn->out.len;
    if (conn->out_sent < out_end) {
        pieces[count++] = (struct iovec){conn->out.at + conn->out_sent, out_end - conn->out_sent};
    }
    if (conn->pace_ms) {
        return count;
    }
    for (uint64_t at = conn->fill.at; at < conn->fill.size && count < IOV_COUNT - 1;) {
        pieces[count] = fill_piece(&conn->fill, at);
        at += pieces[count++].iov_len;
        if (at == conn->fill.size) {
            break;
        }
        if (conn->fill.chunk == 0 && count > 4) {
            return count; /* about what a socket takes at once */
        }
    }
    uint64_t piled = 0;
    for (int i = conn->out_sent < out_end; i < count; i++) {
        piled += pieces[i].iov_len;
    }
    if (piled == conn->fill.size - conn->fill.at && conn->tail_sent < conn->tail.len) {
        pieces[count++] = (struct iovec){conn->tail.at + conn->tail_sent, conn->tail.len - conn->tail_sent};
    }
    return count;
}

static void account(struct conn *conn, size_t sent) {
    size_t part = conn->out.len - conn->out_sent;
    part = part < sent ? part : sent;
    conn->out_sent += part;
    sent -= part;
    uint64_t fill = conn->fill.size - conn->fill.at;
    part = fill < sent ? (size_t)fill : sent;
    conn->fill.at += part;
    conn->tail_sent += sent - part;
}

/* Back to where a request may begin, or the end of the connection. */
static bool finish(struct conn *conn) {
    switch (conn->ending) {
    case END_KEEP:
        if (settings.drop_rate && (unsigned)(random() % 100) < settings.drop_rate) {
            conn_close(conn);
            return false;
        }
        conn->state = CONN_HEAD;
        if (settings.idle_ms) {
            timer_set(&conn->timer, settings.idle_ms);
        }
        return true;
    case END_CLOSE:
        if (conn->after_ms) {
            conn->state = CONN_AFTER;
            timer_set(&conn->timer, conn->after_ms);
            return false;
        }
        conn_close(conn);
        return false;
    case END_RESET:
        conn->state = CONN_RESET;
        timer_set(&conn->timer, conn->after_ms);
        return false;
    case END_FIN_AND_HANG:
        shutdown(conn->fd, SHUT_WR);
        break;
    case END_TUNNEL:
        conn->state = CONN_TUNNEL;
        return true;
    case END_HANG:
        break;
    }
    conn->state = CONN_HANG;
    if (conn->is_half_closed) {
        conn_close(conn);
    }
    return false;
}

static void clear_answer(struct conn *conn) {
    text_clear(&conn->out);
    text_clear(&conn->tail);
    conn->out_sent = conn->tail_sent = 0;
    conn->fill = (struct fill){0};
    conn->pace_ms = 0;
}

static bool step_send(struct conn *conn) {
    struct iovec pieces[IOV_COUNT];
    int count = gather(conn, pieces);
    if (count == 0 && conn->pace_ms && conn->out_sent < conn->out.len) {
        timer_set(&conn->timer, conn->pace_ms);
        return false;
    }
    if (count == 0) {
        clear_answer(conn);
        if (conn->request.state < BODY_DONE && conn->ending <= END_CLOSE) {
            conn->is_answered = true;
            conn->state = CONN_BODY;
            return true;
        }
        return finish(conn);
    }
    if (!conn->is_writable) {
        return false;
    }
    ssize_t n = writev(conn->fd, pieces, count);
    if (n < 0) {
        if (errno != EAGAIN) {
            conn_close(conn);
            return false;
        }
        conn->is_writable = false;
        return false;
    }
    account(conn, (size_t)n);
    return true;
}

/* ---- requests ---- */

static bool step_proxy(struct conn *conn) {
    long n = conn->in_to > conn->in_from
                 ? proxy_line_read(conn->in + conn->in_from, conn->in_to - conn->in_from, &conn->proxy)
                 : 0;
    if (n < 0) {
        conn_reset(conn);
        return false;
    }
    if (n == 0) {
        enum got got = conn_read(conn, IN_SIZE);
        return got == GOT_SOME || wait_or_close(conn, got);
    }
    conn->in_from += (size_t)n;
    conn->state = CONN_HEAD;
    return true;
}

static bool refuse(struct conn *conn) {
    text_printf(&conn->out,
                "HTTP/1.1 400 Bad Request\r\nX-Origin: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                settings.name);
    conn->request.state = BODY_DONE;
    conn->ending = END_CLOSE;
    conn->state = CONN_SEND;
    return true;
}

static bool start_answer(struct conn *conn) {
    if (conn->delay_ms) {
        conn->state = CONN_WAIT;
        timer_set(&conn->timer, conn->delay_ms);
        conn->delay_ms = 0;
        return false;
    }
    conn->state = CONN_SEND;
    answer_run(conn);
    return true;
}

static bool start_request(struct conn *conn) {
    counters.requests++;
    conn->requests++;
    timer_clear(&conn->timer);
    conn->delay_ms = conn->after_ms = conn->rate = 0;
    conn->is_early = conn->is_answered = false;
    conn->budget = 0;
    conn->ending = conn->request.keep_alive ? END_KEEP : END_CLOSE;
    answer_find(conn);
    if (conn->request.state == BODY_DONE || conn->is_early) {
        return start_answer(conn);
    }
    if (conn->request.expect_continue && !conn->request.is_http10) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (write(conn->fd, go_on, sizeof(go_on) - 1) < 0) {
            conn_close(conn);
            return false;
        }
    }
    if (conn->rate) {
        timer_set(&conn->timer, RATE_TICK_MS);
    }
    conn->state = CONN_BODY;
    return true;
}

static void start_tcp(struct conn *conn) {
    if (settings.greets) {
        text_printf(&conn->out, "%s%s", settings.name, conn->proxy.len ? " " : "");
        text_add(&conn->out, conn->proxy.at, conn->proxy.len);
        text_puts(&conn->out, "\n");
    }
    conn->request.state = BODY_DONE;
    conn->ending = END_TUNNEL;
    conn->state = CONN_SEND;
}

static bool step_head(struct conn *conn) {
    if (settings.is_tcp) {
        start_tcp(conn);
        return true;
    }
    if (conn->in_to > conn->in_from) {
        long n = request_read_head(&conn->request, conn->in + conn->in_from, conn->in_to - conn->in_from);
        if (n < 0) {
            return refuse(conn);
        }
        if (n > 0) {
            conn->in_from += (size_t)n;
            return start_request(conn);
        }
    }
    enum got got = conn_read(conn, IN_SIZE);
    if (got == GOT_NOTHING && conn->in_from == conn->in_to) {
        release_buffer(conn);
    }
    return got == GOT_SOME || wait_or_close(conn, got);
}

static bool step_body(struct conn *conn) {
    size_t n = request_read_body(&conn->request, conn->in + conn->in_from, conn->in_to - conn->in_from);
    conn->in_from += n;
    conn->budget -= (int64_t)n;
    if (conn->request.state == BODY_DONE) {
        timer_clear(&conn->timer);
        return conn->is_answered ? finish(conn) : start_answer(conn);
    }
    if (conn->request.state == BODY_BAD) {
        if (conn->is_answered) {
            conn_close(conn);
            return false;
        }
        return refuse(conn);
    }
    size_t most = !conn->rate ? IN_SIZE : conn->budget > 0 ? (size_t)conn->budget : 0;
    if (most == 0) {
        return false; /* the timer gives more */
    }
    enum got got = conn_read(conn, most);
    return got == GOT_SOME || wait_or_close(conn, got);
}

static bool step_tunnel(struct conn *conn) {
    while (conn->in_from < conn->in_to) {
        ssize_t n = conn->is_writable ? write(conn->fd, conn->in + conn->in_from, conn->in_to - conn->in_from) : -1;
        if (n < 0) {
            if (conn->is_writable && errno != EAGAIN) {
                conn_close(conn);
            } else {
                conn->is_writable = false;
            }
            return false;
        }
        conn->in_from += (size_t)n;
    }
    enum got got = conn_read(conn, IN_SIZE);
    if (got == GOT_NOTHING) {
        release_buffer(conn);
    }
    return got == GOT_SOME || wait_or_close(conn, got); /* all is echoed: closing sends the FIN */
}

/* ---- events ---- */

static void conn_run(struct conn *conn) {
    for (;;) {
        bool goes_on;
        switch (conn->state) {
        case CONN_PROXY:
            goes_on = step_proxy(conn);
            break;
        case CONN_HEAD:
            goes_on = step_head(conn);
            break;
        case CONN_BODY:
            goes_on = step_body(conn);
            break;
        case CONN_SEND:
            goes_on = step_send(conn);
            break;
        case CONN_TUNNEL:
            goes_on = step_tunnel(conn);
            break;
        default:
            goes_on = false;
        }
        if (!goes_on) {
            return;
        }
    }
}

void conn_on_event(struct conn *conn, uint32_t events) {
    conn->is_readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    conn->is_writable |= (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    conn->is_half_closed |= (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
    bool is_gone = (events & (EPOLLHUP | EPOLLERR)) != 0;
    switch (conn->state) {
    case CONN_WAIT:
    case CONN_RESET:
    case CONN_AFTER:
        if (is_gone) {
            conn_close(conn);
        }
        return;
    case CONN_HANG:
        if (is_gone || conn->is_half_closed) {
            conn_close(conn);
        }
        return;
    default:
        conn_run(conn);
    }
}

static void poll_reset(struct conn *conn) {
    int unsent = 0;
    if (ioctl(conn->fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 && conn->polls++ < RESET_POLLS) {
        timer_set(&conn->timer, 1);
        return;
    }
    conn_reset(conn);
}

void conn_on_timer(struct timer *timer) {
    struct conn *conn = (struct conn *)(void *)((char *)timer - offsetof(struct conn, timer));
    switch (conn->state) {
    case CONN_WAIT:
        if (start_answer(conn)) {
            conn_run(conn);
        }
        return;
    case CONN_BODY:
        conn->budget += (int64_t)(conn->rate * RATE_TICK_MS / 1000) + 1;
        conn->budget = conn->budget < (int64_t)conn->rate ? conn->budget : (int64_t)conn->rate;
        timer_set(&conn->timer, RATE_TICK_MS);
        conn_run(conn);
        return;
    case CONN_SEND:
        conn->allowed++;
        conn_run(conn);
        return;
    case CONN_RESET:
        poll_reset(conn);
        return;
    case CONN_AFTER:
        conn_close(conn);
        return;
    case CONN_HEAD:
        if (conn->in_from == conn->in_to) {
            conn_close(conn);
        }
        return;
    default:
        return;
    }
}
