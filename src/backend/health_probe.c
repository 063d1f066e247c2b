/* health_probe.c: the conversation of one check: connect, ask, look at how the answer begins.
 *
 *   probe_start --> connecting --> asked (PROXY header, request or `send`) --> answer --> on_done(passed or not)
 *                       |              '-- TCP without `expect`: that was enough ----------^ ^
 *                       '-- error, timeout, end, wrong or too large answer: from anywhere ---'
 *
 * Every second check goes out on the connection of the one before, where the server keeps it: that costs a quarter.
 * Only a connection whose check has passed is kept, so what accepts nothing any more fails check after check; and one
 * that was closed meanwhile is no failure, but made anew.
 *
 * A thousand checks a second are to cost next to nothing, so an answer that is awaited is asked for without waiting
 * for the connection: where that stands at once, as to servers of the same host, there is only the answer to wait for,
 * and elsewhere conn.c waits with what it could not send. */
#include "health_internal.h"

#include "loomgate/config/values.h"
#include "loomgate/net/proxy_protocol.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const struct h1_limits limits = {.head_bytes = PROBE_HEAD_MAX, .field_count = H1_FIELDS_MAX};

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* By RST: the answer's body is not wanted, and no thousands of sockets stay behind in TIME_WAIT. */
static void hang_up(struct probe *p) {
    if (p->conn->state == CONN_OPEN && !p->conn->error_number)
        spares_put(p->spares, conn_release(p->conn), &p->server->addr);
    else
        conn_close(p->conn, CONN_CLOSE_RESET);
    p->conn = NULL;
}

static void drop_kept(struct probe *p) {
    if (p->kept) conn_close(p->kept, CONN_CLOSE_NOW);
    p->kept = NULL;
}

static void keep(struct probe *p) {
    p->kept = p->conn;
    p->conn = NULL;
    conn_set_timeout(p->kept, 0, false);
}

/* Bytes of this check's answer so far. */
static uint64_t answered(const struct probe *p) {
    return p->conn->bytes_in - p->before_in;
}

LG_PRINTF(3, 4) static void finish(struct probe *p, bool passed, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(p->reason, sizeof p->reason, format, args);
    va_end(args);
    if (p->conn) hang_up(p); /* it may have been kept */
    p->on_done(p, passed);
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

/* A header that says: this is no client's connection. */
static size_t print_proxy_header(const struct probe *p, char out[PROXY_HEADER_MAX]) {
    static const struct addr unknown;
    switch (p->server_settings->send_proxy) {
    case SEND_PROXY_V1:
        return proxy_print_v1(out, &unknown, &unknown);
    case SEND_PROXY_V2:
        return proxy_print_v2(out, &unknown, &unknown);
    case SEND_PROXY_OFF:
        break;
    }
    return 0;
}

static struct slice host_of(const struct probe *p) {
    if (p->settings->host) return slice_of(p->settings->host);
    const struct address_setting *a = &p->server_settings->address;
    return a->kind == ADDRESS_UNIX ? SLICE("localhost") : slice_of(a->text);
}

/* In one write, so that it leaves in one packet. */
static void write_parts(struct conn *c, const struct slice *parts, int count) {
    struct iovec iov[8];
    int used = 0;
    LG_ASSERT(count <= (int)LG_COUNT(iov));
    for (int i = 0; i < count; i++)
        if (parts[i].n) iov[used++] = (struct iovec){(void *)(uintptr_t)parts[i].p, parts[i].n};
    if (used) conn_write(c, iov, used, false);
}

static void ask_http(struct probe *p, struct slice proxy_header) {
    const struct health_settings *s = p->settings;
    h1_codec_init(&p->codec, H1_READS_RESPONSES);
    h1_codec_expect(&p->codec, method_find(slice_of(s->method)), false);
    const struct slice parts[] = {
        proxy_header,
        slice_of(s->method),
        SLICE(" "),
        slice_of(s->path),
        SLICE(" HTTP/1.1\r\nHost: "),
        host_of(p),
        SLICE("\r\nUser-Agent: loomgate-health\r\n"),
        p->on_kept ? SLICE("Connection: close\r\n\r\n") : SLICE("\r\n"),
    };
    write_parts(p->conn, parts, LG_COUNT(parts));
}

static void ask(struct probe *p) {
    char header[PROXY_HEADER_MAX];
    const struct slice parts[] = {slice_from(header, p->on_kept ? 0 : print_proxy_header(p, header)),
                                  p->settings->send};
    p->before_in = p->conn->bytes_in;
    if (p->settings->kind == HEALTH_HTTP)
        ask_http(p, parts[0]);
    else
        write_parts(p->conn, parts, LG_COUNT(parts));
}

/* It has something to say, and waits for an answer. */
static bool speaks_first(const struct probe *p) {
    if (p->settings->kind == HEALTH_HTTP) return true;
    return p->settings->expect.n && (p->settings->send.n || p->server_settings->send_proxy != SEND_PROXY_OFF);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

/* Without more ado where the connection is not to be kept: the rest of the answer is not wanted. Half of the servers
 * begin with one that is not, so that at any time as many sockets are given back as are taken anew. */
static bool is_wanted(struct probe *p, const struct message *head) {
    if (!p->passed || p->on_kept || !head->keep_alive) return false;
    bool skip = p->skips_one;
    p->skips_one = false;
    return !skip;
}

static void finish_http(struct probe *p) {
    finish(p, p->passed, "status %u", p->status);
}

/* Answers before the answer (1xx) are passed over. */
static size_t read_http(struct probe *p, struct slice in) {
    const size_t all = in.n;
    for (;;) {
        struct h1_result r;
        switch (h1_codec_next(&p->codec, &in, &limits, p->scratch, &r)) {
        case H1_HEAD:
            if (r.head->status < 200) break;
            p->status = r.head->status;
            p->passed = status_list_has(p->settings->expect_status, p->status);
            if (is_wanted(p, r.head)) break;
            finish_http(p);
            return all;
        case H1_ERROR:
            if (p->status)
                finish_http(p); /* only its rest is bad */
            else
                finish(p, false, "%s", failure_get(r.failure)->sentence);
            return all;
        case H1_MORE:
            if (p->status) { /* its body is not all here, and not worth waiting for */
                finish_http(p);
                return all;
            }
            if (answered(p) <= PROBE_HEAD_MAX) return all - in.n;
            finish(p, false, "%s", failure_get(FAILURE_response_too_large)->sentence);
            return all;
        case H1_BODY:
            break;
        case H1_END:
            if (!p->status) break;
            if (!in.n) keep(p);
            finish_http(p);
            return all;
        }
    }
}

static size_t read_tcp(struct probe *p, struct slice in) {
    const struct slice expect = p->settings->expect;
    const size_t n = in.n < expect.n ? in.n : expect.n;
    if (memcmp(in.p, expect.p, n) != 0)
        finish(p, false, "another answer than expected");
    else if (n == expect.n)
        finish(p, true, "answer as expected");
    return p->conn ? 0 : in.n;
}

static size_t on_read(struct conn *c, struct slice bytes) {
    struct probe *p = c->owner;
    if (c == p->kept) {
        drop_kept(p); /* nothing was asked */
        return bytes.n;
    }
    return p->settings->kind == HEALTH_HTTP ? read_http(p, bytes) : read_tcp(p, bytes);
}

/* Only where the connection itself was waited for. */
static void on_open(struct conn *c) {
    struct probe *p = c->owner;
    if (p->settings->expect.n) return;
    ask(p);
    finish(p, true, "connected");
}

/* --- no answer -------------------------------------------------------------------------------------------------- */

static struct conn *connect_and_ask(struct probe *p);

/* The server has closed the kept connection before it was asked, or as it was: on a fresh one it may answer. */
static bool goes_on(struct probe *p, struct conn *c) {
    if (c == p->kept) {
        drop_kept(p);
        return true;
    }
    if (!p->on_kept || answered(p)) return false;
    conn_close(p->conn, CONN_CLOSE_NOW);
    p->on_kept = false;
    p->conn = connect_and_ask(p);
    if (p->conn)
        conn_set_timeout(p->conn, p->settings->timeout_us, false);
    else
        finish(p, false, "%s", strerror(errno));
    return true;
}

static void on_eof(struct conn *c) {
    struct probe *p = c->owner;
    if (goes_on(p, c)) return;
    finish(p, false, "%s", answered(p) ? failure_get(FAILURE_response_cut)->sentence : "closed without an answer");
}

static void on_error(struct conn *c, int error_number) {
    struct probe *p = c->owner;
    if (!goes_on(p, c)) finish(p, false, "%s", strerror(error_number));
}

static void on_timeout(struct conn *c) {
    struct probe *p = c->owner;
    bool connected = c->state == CONN_OPEN && (c->bytes_out || !speaks_first(p));
    const char *what = !connected ? "connection" : answered(p) ? "whole answer" : "answer";
    finish(p, false, "no %s within %" PRIu64 " ms", what, p->settings->timeout_us / 1000);
}

static const struct conn_events events = {
    .on_open = on_open, .on_read = on_read, .on_eof = on_eof, .on_error = on_error, .on_timeout = on_timeout};

/* --- the beginning ---------------------------------------------------------------------------------------------- */

static struct conn *connect_and_ask(struct probe *p) {
    bool done;
    int fd = spares_connect(p->spares, &p->server->addr, &done);
    if (fd < 0) return NULL;
    p->conn = conn_adopt(p->loop, fd, &events, p);
    ask(p);
    return p->conn;
}

int probe_start(struct probe *p) {
    LG_ASSERT(!p->conn);
    p->status = 0;
    p->passed = false;
    p->on_kept = p->kept != NULL;
    if (p->on_kept) {
        p->conn = p->kept;
        p->kept = NULL;
        conn_set_timeout(p->conn, p->settings->timeout_us, false);
        ask(p);
        return 0;
    }
    p->before_in = 0;
    p->conn = speaks_first(p) ? connect_and_ask(p) : conn_connect(p->loop, &p->server->addr, &events, p);
    int error_number = p->conn ? 0 : errno;
    if (p->conn)
        conn_set_timeout(p->conn, p->settings->timeout_us, false);
    else
        snprintf(p->reason, sizeof p->reason, "%s", strerror(error_number));
    return error_number;
}

void probe_cancel(struct probe *p) {
    drop_kept(p);
    if (p->conn) hang_up(p);
}
