/* h1_send.c: what a stream sends over HTTP/1: heads with their framing, bodies, ends. */
#include "loomgate/http/rewrite.h"

#include "h1_session_internal.h"

enum { CHUNK_SIZE_TEXT_MAX = 18 };

static struct h1_session *session_of(struct stream *stream) {
    return LG_CONTAINER_OF(stream, struct h1_session, stream);
}

static void after_write(struct h1_session *s) {
    s->stream.congested = conn_is_congested(s->conn);
}

/* The conn closes with the end of this response: what is still to be sent goes out with the FIN. */
static bool closes_at_end(const struct h1_session *s) {
    return s->client_side && (!s->keep_alive || s->broken);
}

static void print_head(struct h1_session *s, const struct message *m, const struct h1_framing *f) {
    char *at = conn_reserve(s->conn, h1_head_bound(m));
    char *end = s->client_side ? h1_print_response(at, m, f) : h1_print_request(at, m, f);
    conn_commit(s->conn, (size_t)(end - at));
}

/* --- responses -------------------------------------------------------------------------------------------------- */

static void send_interim(struct h1_session *s, const struct message *m) {
    if (s->peer_10) return; /* HTTP/1.0 knows no 1xx (RFC 9110 section 15.2) */
    if (m->status == 100) s->expects = false;
    print_head(s, m, &(struct h1_framing){.body = BODY_NONE});
    conn_flush(s->conn);
    after_write(s);
}

static bool response_has_no_body(const struct h1_session *s, unsigned status) {
    return s->request_method == METHOD_HEAD || status == 101 || status == 204 || status == 304;
}

static void frame_response(struct h1_session *s, const struct message *m, bool end, struct h1_framing *f) {
    f->upgrade = m->status == 101;
    if (response_has_no_body(s, m->status)) {
        f->body = BODY_NONE;
        f->has_length = m->has_length && m->status != 204 && m->status != 101;
        f->length = m->length;
    } else if (end || m->body == BODY_LENGTH) {
        f->body = BODY_LENGTH;
        f->length = end ? 0 : m->length;
    } else {
        f->body = s->peer_10 ? BODY_UNTIL_CLOSE : BODY_CHUNKED;
    }
    /* A client that waits for 100 and gets a final answer may or may not send its body: the next request could not be
     * told from it. */
    bool unsure = !s->in_done && s->expects;
    if (!m->keep_alive || unsure || f->body == BODY_UNTIL_CLOSE || s->broken) s->keep_alive = false;
    f->close = !s->keep_alive && !f->upgrade;
    f->keep_alive_10 = s->peer_10 && s->keep_alive;
}

static void send_response(struct h1_session *s, const struct message *m, bool end) {
    struct h1_framing f = {0};
    frame_response(s, m, end, &f);
    s->out_head = true;
    s->out_body = f.body;
    s->out_left = f.body == BODY_LENGTH ? f.length : 0;
    print_head(s, m, &f);
}

/* --- requests --------------------------------------------------------------------------------------------------- */

static void send_request(struct h1_session *s, const struct message *m, bool end) {
    struct h1_framing f = {
        .close = !m->keep_alive && !m->upgrade, .upgrade = m->upgrade, .te_trailers = m->te_trailers};
    f.body = end && m->body != BODY_LENGTH ? BODY_NONE : m->body;
    f.length = m->length;
    h1_codec_expect(&s->codec, m->method, m->upgrade);
    s->sent_turn = (uint32_t)conn_loop(s->conn)->turn;
    s->out_head = true;
    s->out_body = f.body;
    s->out_left = f.body == BODY_LENGTH ? f.length : 0;
    print_head(s, m, &f);
}

/* --- the contract ----------------------------------------------------------------------------------------------- */

static void h1_send_head(struct stream *stream, const struct message *m, bool end) {
    struct h1_session *s = session_of(stream);
    if (!s->conn) return;
    if (s->client_side && m->status < 200 && m->status != 101) {
        send_interim(s, m);
        return;
    }
    if (s->client_side)
        send_response(s, m, end);
    else
        send_request(s, m, end);
    if (!end) {
        h1_update_wait(s);
        return;
    }
    s->out_done = true;
    if (!closes_at_end(s)) conn_flush(s->conn);
    after_write(s);
    h1_check_complete(s);
}

static void h1_send_body(struct stream *stream, struct slice body, bool more) {
    struct h1_session *s = session_of(stream);
    if (!s->conn || !body.n || s->out_body == BODY_NONE) return;
    if (s->out_body == BODY_CHUNKED) {
        char size[CHUNK_SIZE_TEXT_MAX];
        size_t n = (size_t)(h1_print_chunk_size(size, body.n) - size);
        const struct iovec iov[] = {{size, n}, {(void *)(uintptr_t)body.p, body.n}, {(void *)(uintptr_t) "\r\n", 2}};
        conn_write(s->conn, iov, 3, more);
    } else {
        if (s->out_body == BODY_LENGTH) {
            LG_ASSERT(body.n <= s->out_left);
            s->out_left -= body.n;
        }
        const struct iovec iov = {(void *)(uintptr_t)body.p, body.n};
        conn_write(s->conn, &iov, 1, s->out_left ? more : s->out_body == BODY_LENGTH && closes_at_end(s));
    }
    after_write(s);
    h1_update_wait(s);
}

static void send_last_chunk(struct h1_session *s, const struct fields *trailers) {
    size_t size = sizeof "0\r\n\r\n";
    for (uint32_t i = 0; trailers && i < trailers->count; i++)
        size += trailers->v[i].name.n + trailers->v[i].value.n + 4;
    char *start = conn_reserve(s->conn, size);
    char *at = h1_print_chunk_size(start, 0);
    for (uint32_t i = 0; trailers && i < trailers->count; i++) {
        const struct field *f = &trailers->v[i];
        if (f->drop) continue;
        at = h1_print_field(at, f->name, f->value);
    }
    *at++ = '\r';
    *at++ = '\n';
    conn_commit(s->conn, (size_t)(at - start));
}

static void h1_send_end(struct stream *stream, const struct fields *trailers) {
    struct h1_session *s = session_of(stream);
    if (!s->conn || s->out_done) return;
    LG_ASSERT(s->out_left == 0);
    if (s->out_body == BODY_CHUNKED) send_last_chunk(s, trailers);
    s->out_done = true;
    if (!closes_at_end(s)) conn_flush(s->conn);
    after_write(s);
    h1_check_complete(s);
}

static void h1_pause(struct stream *stream) {
    struct h1_session *s = session_of(stream);
    if (!s->conn || s->paused) return;
    s->paused = true;
    conn_pause(s->conn);
    h1_update_wait(s);
}

static void h1_resume(struct stream *stream) {
    struct h1_session *s = session_of(stream);
    if (!s->conn || !s->paused) return;
    s->paused = false;
    conn_resume(s->conn);
    h1_update_wait(s);
}

/* A body whose end only the close tells must be cut with RST, or it would look complete. */
static void h1_reset(struct stream *stream) {
    struct h1_session *s = session_of(stream);
    if (!s->open) return;
    s->open = false;
    bool cut = !s->client_side || (s->out_head && s->out_body == BODY_UNTIL_CLOSE);
    if (s->conn) h1_close(s, cut ? CONN_CLOSE_RESET : CONN_CLOSE_AFTER_WRITE);
}

static struct conn *h1_take_conn(struct stream *stream) {
    struct h1_session *s = session_of(stream);
    struct conn *c = s->conn;
    LG_ASSERT(c && s->open);
    h1_count_bytes(s);
    s->open = false;
    s->conn = NULL;
    conn_set_owner(c, NULL, NULL);
    conn_resume(c);
    s->session.events->on_close(&s->session);
    return c;
}

static void h1_count(struct stream *stream) {
    struct h1_session *s = session_of(stream);
    if (s->conn) h1_count_bytes(s);
}

const struct stream_ops h1_stream_ops = {
    .send_head = h1_send_head,
    .send_body = h1_send_body,
    .send_end = h1_send_end,
    .pause = h1_pause,
    .resume = h1_resume,
    .reset = h1_reset,
    .take_conn = h1_take_conn,
    .count = h1_count,
};
