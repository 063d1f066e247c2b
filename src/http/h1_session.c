/* h1_session.c: HTTP/1 on a connection, either role; the picture is in the header. Heads and bodies out are
 * h1_send.c's, timeouts h1_wait.c's. */
#include "loomgate/http/h1_session.h"

#include "h1_session_internal.h"

/* So much of a request that was answered early is read and thrown away to save the connection. */
enum { DRAIN_MAX = 256 * 1024 };

/* So many pipelined requests of one client are begun in a turn. */
enum { TURN_REQUESTS_MAX = 32 };

static const struct conn_events conn_events_h1;

/* --- ends ------------------------------------------------------------------------------------------------------- */

void h1_count_bytes(struct h1_session *s) {
    s->stream.bytes_in = s->conn->bytes_in - h1_left_over(s);
    s->stream.bytes_out = s->conn->bytes_out + s->conn->out.bytes;
}

void h1_close(struct h1_session *s, enum conn_close_how how) {
    if (!s->conn) return;
    struct conn *c = s->conn;
    h1_count_bytes(s);
    s->conn = NULL;
    conn_close(c, how);
    if (!s->open) s->session.events->on_close(&s->session);
}

/* The stream's last event; the session goes too when its conn has gone. */
static void close_stream(struct h1_session *s, enum failure f) {
    s->open = false;
    s->served++;
    s->used = true;
    s->stream.events->on_close(&s->stream, f);
    if (!s->conn) s->session.events->on_close(&s->session);
}

/* Nothing can go on: the conn closes and the stream, if there is one, hears why. */
void h1_fail(struct h1_session *s, enum failure f, enum conn_close_how how) {
    bool was_open = s->open;
    h1_close(s, how);
    if (was_open) close_stream(s, f);
}

/* A client that asked for the close itself sends nothing behind that request (RFC 9112 section 9.6); any other may have
 * sent its next one by now, and a reset might destroy its answer. */
static enum conn_close_how way_to_close(const struct h1_session *s) {
    if (!s->client_side) return CONN_CLOSE_NOW;
    bool all_read = s->in_done && !h1_left_over(s) && !s->broken;
    return all_read && s->asked_close ? CONN_CLOSE_AFTER_WRITE : CONN_CLOSE_LINGER;
}

void h1_finish_stream(struct h1_session *s) {
    h1_count_bytes(s);
    bool reusable = s->keep_alive && !s->broken;
    if (s->client_side)
        reusable &= !s->conn->eof || h1_left_over(s); /* requests before the client's FIN are still answered */
    else
        reusable &= !s->conn->eof && !h1_left_over(s); /* surplus bytes: nobody asked for them */
    if (!reusable) {
        enum conn_close_how how = way_to_close(s);
        struct conn *c = s->conn;
        s->conn = NULL;
        conn_close(c, how);
    }
    close_stream(s, FAILURE_NONE);
    if (!s->conn) return;
    s->paused = false; /* the next exchange begins unpaused; a pipelined request may wait already */
    if (!s->client_side || !conn_is_congested(s->conn)) conn_resume(s->conn);
    if (!s->client_side) s->session.events->on_idle(&s->session);
    h1_update_wait(s);
}

void h1_check_complete(struct h1_session *s) {
    if (!s->conn || !s->open) return;
    if (s->out_done && s->in_done)
        h1_finish_stream(s);
    else if (s->client_side && s->out_done && (!s->keep_alive || s->broken))
        h1_finish_stream(s);
    else
        h1_update_wait(s);
}

static void begin_stream(struct h1_session *s) {
    s->open = true;
    s->got_head = s->in_done = s->out_head = s->out_done = s->interim = s->expects = false;
    s->keep_alive = true;
    s->drained = 0;
    s->out_left = 0;
    s->out_body = BODY_NONE;
    s->paused = false;
    s->stream.congested = s->stream.untouched = false;
    s->stream.reused = s->used;
    s->stream.bytes_in = s->stream.bytes_out = 0;
}

/* --- bytes in: requests ----------------------------------------------------------------------------------------- */

static void open_client_stream(struct h1_session *s) {
    begin_stream(s);
    s->fresh = false;
    s->session.events->on_stream(&s->session, &s->stream);
}

/* A request without a body has ended with its head: known before the exchange answers, the connection may be closed
 * without lingering or reused at once. */
static bool ends_with_head(struct h1_session *s, const struct message *m) {
    struct slice nothing = {NULL, 0};
    struct h1_result r;
    if (m->body == BODY_CHUNKED || (m->body == BODY_LENGTH && m->length)) return false;
    enum h1_event event = h1_codec_next(&s->codec, &nothing, s->limits, s->scratch, &r);
    LG_ASSERT(event == H1_END);
    return true;
}

static void on_request_head(struct h1_session *s, struct message *m) {
    open_client_stream(s);
    s->got_head = true;
    s->keep_alive = m->keep_alive;
    s->asked_close = !m->keep_alive;
    s->peer_10 = m->minor == 0;
    s->request_method = m->method;
    s->expects = m->expect_continue;
    s->in_done = ends_with_head(s, m);
    s->stream.events->on_head(&s->stream, m);
    if (s->open && s->in_done && !s->out_done) s->stream.events->on_end(&s->stream, NULL);
}

void h1_refuse_request(struct h1_session *s, enum failure f) {
    if (!s->open) open_client_stream(s);
    s->broken = true;
    s->keep_alive = false;
    if (s->out_done)
        h1_finish_stream(s);
    else
        s->stream.events->on_fail(&s->stream, f);
}

/* The body of a request whose answer is complete: read on to save the connection, but not for ever. */
static void drain_request(struct h1_session *s, size_t bytes) {
    s->drained += (uint32_t)bytes; /* of one read: it does not wrap */
    if (s->drained > DRAIN_MAX) {
        s->keep_alive = false;
        h1_finish_stream(s);
    }
}

/* --- bytes in: responses ---------------------------------------------------------------------------------------- */

static void on_response_head(struct h1_session *s, struct message *m) {
    s->interim = m->status < 200 && m->status != 101;
    if (!s->interim) {
        s->got_head = true;
        s->keep_alive &= m->keep_alive;
    }
    s->stream.events->on_head(&s->stream, m);
}

static bool is_sent_in_this_turn(const struct h1_session *s) {
    return s->sent_turn == (uint32_t)conn_loop(s->conn)->turn;
}

static enum failure lost_response(const struct h1_session *s) {
    if (s->got_head) return FAILURE_response_cut;
    /* With a byte of a head it was no idle connection that had been closed; but an answer it was neither. */
    return s->stream.reused && s->conn->bytes_in == 0 ? FAILURE_closed_idle : FAILURE_reset_before_response;
}

/* --- the pump --------------------------------------------------------------------------------------------------- */

/* Requests behind the one in progress wait, and so do all as long as the client does not read its responses. */
static bool must_wait(const struct h1_session *s) {
    return s->open ? s->in_done : conn_is_congested(s->conn);
}

static bool may_read(const struct h1_session *s) {
    if (!s->conn || s->broken || s->paused) return false;
    return s->client_side ? !must_wait(s) : s->open && !s->in_done;
}

static void on_message_end(struct h1_session *s, const struct fields *trailers) {
    if (s->interim) {
        s->interim = false;
        return;
    }
    s->in_done = true;
    if (!(s->client_side && s->out_done)) s->stream.events->on_end(&s->stream, trailers);
    if (!s->conn || !s->open) return;
    if (!s->client_side && !s->out_done) { /* answered before the request was sent whole: nothing to save */
        h1_fail(s, FAILURE_NONE, CONN_CLOSE_NOW);
        return;
    }
    h1_check_complete(s);
}

static void tell_malformed(struct h1_session *s, enum failure f, struct slice bytes, const char *place) {
    if (s->session.events->on_malformed) s->session.events->on_malformed(&s->session, f, bytes, place);
}

static void on_bad_message(struct h1_session *s, enum failure f) {
    if (s->client_side)
        h1_refuse_request(s, f);
    else
        h1_fail(s, f, CONN_CLOSE_NOW);
}

/* One event of the codec; false when it wants more bytes. */
static bool pump_once(struct h1_session *s, struct slice *in) {
    const struct slice bytes = *in;
    struct h1_result r;
    enum h1_event event = h1_codec_next(&s->codec, in, s->limits, s->scratch, &r);
    s->pending = (uint32_t)in->n;
    switch (event) {
    case H1_MORE:
        return false;
    case H1_HEAD:
        if (s->client_side)
            on_request_head(s, r.head);
        else
            on_response_head(s, r.head);
        break;
    case H1_BODY:
        if (s->client_side && s->out_done)
            drain_request(s, r.body.n);
        else
            s->stream.events->on_body(&s->stream, r.body, in->n > 0);
        break;
    case H1_END:
        on_message_end(s, r.trailers);
        break;
    case H1_ERROR:
        tell_malformed(s, r.failure, bytes, r.place);
        on_bad_message(s, r.failure);
        break;
    }
    return true;
}

static size_t h1_on_read(struct conn *c, struct slice bytes) {
    struct h1_session *s = c->owner;
    struct slice in = bytes;
    if (!s->client_side && !s->open) { /* an idle server connection speaks: whatever it says is no answer */
        h1_close(s, CONN_CLOSE_NOW);
        return 0;
    }
    if (!s->client_side && is_sent_in_this_turn(s)) { /* it spoke before it was asked */
        s->stream.untouched = true;
        if (!s->stream.reused) tell_malformed(s, FAILURE_bad_response, bytes, NULL);
        h1_fail(s, s->stream.reused ? FAILURE_closed_idle : FAILURE_bad_response, CONN_CLOSE_NOW);
        return 0;
    }
    s->pumping = true;
    s->pending = (uint32_t)in.n;
    uint32_t served = s->served;
    bool more = true;
    while (more && may_read(s)) {
        if (s->served - served >= TURN_REQUESTS_MAX && in.n) {
            conn_yield(c);
            break;
        }
        if (!s->open) {
            if (!in.n) break;
            conn_count_from(c, in.n, 0 - (uint64_t)c->out.bytes); /* what waits is the response before */
        }
        more = pump_once(s, &in);
    }
    /* An end that needs no more bytes is seen also while paused: nothing might come that would call us again. */
    if (s->conn && s->open && s->paused && !s->in_done && !s->broken && !in.n) pump_once(s, &in);
    if (s->broken) in.n = 0;
    s->pending = (uint32_t)in.n;
    /* What has to wait does so in the kernel rather than here. */
    if (s->conn && s->client_side && in.n && must_wait(s)) conn_pause(c);
    if (s->conn) h1_update_wait_now(s);
    s->pumping = false;
    return bytes.n - in.n;
}

/* --- the conn's other events ------------------------------------------------------------------------------------ */

static void client_eof(struct h1_session *s) {
    struct h1_result r;
    s->keep_alive = false;
    if (s->broken || (s->open && s->in_done)) return; /* half closed: the answer is still wanted */
    enum h1_event e = h1_codec_eof(&s->codec, buf_front(&s->conn->in), &r);
    if (!s->open && e == H1_ERROR) open_client_stream(s);
    h1_fail(s, FAILURE_client_closed, s->open ? CONN_CLOSE_NOW : CONN_CLOSE_AFTER_WRITE);
}

static void server_eof(struct h1_session *s) {
    struct h1_result r;
    if (!s->open) {
        h1_close(s, CONN_CLOSE_NOW);
        return;
    }
    s->stream.untouched = is_sent_in_this_turn(s) || s->conn->bytes_out == 0;
    switch (h1_codec_eof(&s->codec, buf_front(&s->conn->in), &r)) {
    case H1_END:
        s->keep_alive = false;
        on_message_end(s, NULL);
        break;
    default:
        h1_fail(s, lost_response(s), CONN_CLOSE_NOW);
        break;
    }
}

static void h1_on_eof(struct conn *c) {
    struct h1_session *s = c->owner;
    if (s->client_side)
        client_eof(s);
    else
        server_eof(s);
}

static void h1_on_drained(struct conn *c) {
    struct h1_session *s = c->owner;
    s->stream.congested = false;
    if (s->open)
        s->stream.events->on_writable(&s->stream);
    else if (s->client_side)
        conn_resume(c);
    h1_update_wait(s);
}

static void h1_on_error(struct conn *c, int error_number) {
    struct h1_session *s = c->owner;
    (void)error_number;
    if (!s->client_side && s->open) s->stream.untouched = c->bytes_out == 0;
    h1_fail(s, s->client_side ? FAILURE_client_closed : s->open ? lost_response(s) : FAILURE_NONE, CONN_CLOSE_NOW);
}

static const struct conn_events conn_events_h1 = {
    .on_read = h1_on_read,
    .on_eof = h1_on_eof,
    .on_drained = h1_on_drained,
    .on_error = h1_on_error,
    .on_timeout = h1_on_timeout,
};

/* --- operations ------------------------------------------------------------------------------------------------- */

static struct stream *h1_open_stream(struct session *session, const struct stream_events *events, void *owner) {
    struct h1_session *s = LG_CONTAINER_OF(session, struct h1_session, session);
    LG_ASSERT(!s->client_side && !s->open && s->conn);
    begin_stream(s);
    s->stream.events = events;
    s->stream.owner = owner;
    conn_count_from(s->conn, 0, 0);
    h1_update_wait(s);
    return &s->stream;
}

static void h1_shutdown(struct session *session) {
    struct h1_session *s = LG_CONTAINER_OF(session, struct h1_session, session);
    if (!s->conn) return;
    if (s->open)
        s->keep_alive = false;
    else if (!s->client_side || !conn_has_input(s->conn)) /* a request that is here already is still answered */
        h1_close(s, s->client_side ? CONN_CLOSE_AFTER_WRITE : CONN_CLOSE_NOW);
}

static void h1_abort(struct session *session, enum failure f) {
    h1_fail(LG_CONTAINER_OF(session, struct h1_session, session), f, CONN_CLOSE_RESET);
}

static const struct session_ops session_ops_h1 = {h1_open_stream, h1_shutdown, h1_set_timeouts, h1_abort};

static void h1_init(struct h1_session *s, struct conn *c, struct h1_scratch *scratch, const struct h1_limits *limits,
                    const struct session_timeouts *timeouts, const struct session_events *events, void *owner) {
    *s = (struct h1_session){.session = {&session_ops_h1, events, owner},
                             .conn = c,
                             .scratch = scratch,
                             .limits = limits,
                             .timeouts = timeouts};
    s->stream.ops = &h1_stream_ops;
    conn_set_owner(c, &conn_events_h1, s);
}

void h1_session_init_client(struct h1_session *s, struct conn *c, struct h1_scratch *scratch,
                            const struct h1_limits *limits, const struct session_timeouts *timeouts,
                            const struct session_events *events, void *owner) {
    h1_init(s, c, scratch, limits, timeouts, events, owner);
    s->client_side = true;
    s->fresh = true;
    h1_codec_init(&s->codec, H1_READS_REQUESTS);
    h1_update_wait(s);
}

void h1_session_init_server(struct h1_session *s, struct conn *c, struct h1_scratch *scratch,
                            const struct h1_limits *limits, const struct session_timeouts *timeouts,
                            const struct session_events *events, void *owner) {
    h1_init(s, c, scratch, limits, timeouts, events, owner);
    conn_read_on(c);
    h1_codec_init(&s->codec, H1_READS_RESPONSES);
    h1_update_wait(s);
}

void h1_session_set_policies(struct h1_session *s, const struct h1_limits *limits,
                             const struct session_timeouts *timeouts) {
    s->limits = limits;
    h1_set_timeouts(&s->session, timeouts);
    if (!s->open) h1_update_wait(s);
}
