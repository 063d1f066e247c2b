/* exchange_streams.c: what moves between an exchange's two streams, with back-pressure. */
#include "loomgate/http/rewrite.h"

#include "exchange_internal.h"

/* --- back-pressure ---------------------------------------------------------------------------------------------- */

void exchange_pause_front(struct exchange *x, bool pause) {
    if (!x->front || x->front_paused == pause) return;
    x->front_paused = pause;
    if (pause)
        x->front->ops->pause(x->front);
    else
        x->front->ops->resume(x->front);
}

static void pause_back(struct exchange *x, bool pause) {
    if (!x->back || x->back_paused == pause) return;
    x->back_paused = pause;
    if (pause)
        x->back->ops->pause(x->back);
    else
        x->back->ops->resume(x->back);
}

/* --- the request ------------------------------------------------------------------------------------------------ */

static void send_request_body(struct exchange *x, struct slice body, bool more) {
    x->back->ops->send_body(x->back, body, more);
    if (x->back->congested) exchange_pause_front(x, true);
}

static void send_kept(void *owner, struct slice piece) {
    struct exchange *x = owner;
    x->back->ops->send_body(x->back, piece, true);
}

/* What went to an earlier try. It is kept on: this one may fail too. */
static void send_replay(struct exchange *x) {
    replay_walk(&x->replay, send_kept, x);
    if (x->request_ended) x->back->ops->send_end(x->back, NULL);
}

void exchange_forward(struct exchange *x) {
    exchange_rewrite_request(x);
    struct server_session *session = x->attempt.session;
    x->attempt.session = NULL;
    x->back = server_session_open(session, &x->route->server_timeouts, &exchange_back_events, x);
    x->back_paused = false;
    x->asked_us = !x->has_body || x->request_ended ? x->env->loop.now_us : 0;
    x->reused = x->back->reused;
    if (x->reused) metrics_add(&x->env->metrics, METRIC_server_connections_reused_total, 1);
    x->back->ops->send_head(x->back, &x->request, !x->has_body);
    if (!x->has_body) return;
    if (x->body_in || x->request_ended) {
        send_replay(x);
    } else if (!x->replay.on) {
        size_t limit = exchange_replay_limit(x);
        if (limit) replay_start(&x->replay, limit);
    }
    exchange_pause_front(x, x->back->congested);
}

static void front_on_head(struct stream *s, struct message *m) {
    struct exchange *x = s->owner;
    enum failure f = exchange_prepare(x, m);
    if (f != FAILURE_NONE) {
        exchange_fail(x, f);
        return;
    }
    exchange_set_state(x, EXCHANGE_ROUTE);
    exchange_run(x);
}

static void front_on_body(struct stream *s, struct slice body, bool more) {
    struct exchange *x = s->owner;
    uint64_t limit = x->client->frontend->settings->limits.body_size;
    x->body_in += body.n;
    if (limit && x->body_in > limit && !x->response_ended) {
        exchange_fail(x, FAILURE_body_too_large);
        return;
    }
    replay_add(&x->replay, &x->env->loop.chunks, body);
    if (x->back && !x->draining_back) send_request_body(x, body, more);
}

static void front_on_end(struct stream *s, const struct fields *trailers) {
    struct exchange *x = s->owner;
    x->request_ended = true;
    if (x->back) x->asked_us = x->env->loop.now_us;
    if (trailers && trailers->count) x->replay.lost = true; /* they are not kept */
    if (x->back && !x->draining_back && x->has_body) x->back->ops->send_end(x->back, trailers);
}

static void front_on_writable(struct stream *s) {
    struct exchange *x = s->owner;
    pause_back(x, false);
    if (x->state == EXCHANGE_ANSWER && x->metrics) exchange_send_metrics(x);
}

static void front_on_fail(struct stream *s, enum failure f) {
    exchange_fail(s->owner, f);
}

static void front_on_close(struct stream *s, enum failure f) {
    struct exchange *x = s->owner;
    exchange_front_gone(x);
    if (f != FAILURE_NONE)
        exchange_fail(x, f);
    else
        exchange_check_done(x);
}

const struct stream_events exchange_front_events = {front_on_head,     front_on_body, front_on_end,
                                                    front_on_writable, front_on_fail, front_on_close};

/* --- the response ----------------------------------------------------------------------------------------------- */

static void forward_interim(struct exchange *x, struct message *m) {
    response_rewrite(m, &(struct response_rewrite){0});
    m->keep_alive = true;
    x->front->ops->send_head(x->front, m, false);
    if (x->front->congested) pause_back(x, true);
}

/* The protocol has changed: both connections become a tunnel; bytes behind the heads go with them. */
static void switch_protocols(struct exchange *x, struct message *m) {
    struct stream *front_stream = x->front, *back_stream = x->back;
    response_rewrite(m, &(struct response_rewrite){x->client->frontend->id_name, x->id, env_date(x->env)});
    front_stream->ops->send_head(front_stream, m, false);
    struct conn *front = front_stream->ops->take_conn(front_stream);
    exchange_front_gone(x);
    /* The tunnel counts the whole life of the connection; take off what belonged to earlier exchanges and the heads. */
    x->bytes_in -= front->bytes_in - front->in.bytes;
    x->bytes_out -= front->bytes_out + front->out.bytes;
    x->back = NULL;
    deadline_cancel(&x->deadline); /* the request is over: from here on timeouts.tunnel rules */
    struct conn *back = back_stream->ops->take_conn(back_stream);
    exchange_set_state(x, EXCHANGE_TUNNEL);
    tunnel_start(&x->tunnel, front, back, x->route->tunnel_us, &exchange_tunnel_events);
}

static void forward_response(struct exchange *x, struct message *m) {
    bool end = m->body == BODY_NONE || (m->body == BODY_LENGTH && m->length == 0);
    response_rewrite(m, &(struct response_rewrite){x->client->frontend->id_name, x->id, env_date(x->env)});
    m->keep_alive = !x->env->draining && !x->client->is_leaving;
    x->front->ops->send_head(x->front, m, end);
    if (x->front && x->front->congested) pause_back(x, true);
}

/* A server may only change to what the client offered (RFC 9110 section 7.8). */
static bool was_offered(const struct exchange *x, struct slice protocol) {
    struct slice rest = x->request.upgrade_to, offer;
    while (slice_split(&rest, ',', &offer))
        if (slice_eq_nocase(slice_trim(offer), protocol)) return true;
    return false;
}

static void note_unasked(struct exchange *x, const struct message *m) {
    const struct server *server = x->picked->server;
    const struct malformed_source from = {server->backend, server->name, &server->addr};
    malformed_add(&x->env->malformed, x->env->loop.unix_us, &from, FAILURE_bad_response, m->raw, m->upgrade_to.p);
}

static void back_on_head(struct stream *s, struct message *m) {
    struct exchange *x = s->owner;
    if (m->status == 101 && !was_offered(x, m->upgrade_to)) {
        note_unasked(x, m);
        exchange_fail(x, FAILURE_bad_response);
        return;
    }
    if (m->status < 200 && m->status != 101) {
        forward_interim(x, m);
        return;
    }
    if (m->status >= 500 && exchange_hold_back(x, m)) return;
    deadline_cancel(&x->try_deadline);
    x->status = m->status;
    x->response_started = true;
    x->first_byte_us = x->env->loop.now_us - x->start_us;
    exchange_note_answer(x, m->status);
    if (x->asked_us) exchange_note_latency(x, x->env->loop.now_us - x->asked_us);
    replay_stop(&x->replay, &x->env->loop.chunks);
    if (m->status == 101)
        switch_protocols(x, m);
    else
        forward_response(x, m);
}

static void back_on_body(struct stream *s, struct slice body, bool more) {
    struct exchange *x = s->owner;
    if (!x->front) return;
    x->front->ops->send_body(x->front, body, more);
    if (x->front && x->front->congested) pause_back(x, true);
}

static void back_on_end(struct stream *s, const struct fields *trailers) {
    struct exchange *x = s->owner;
    x->response_ended = true;
    /* The server may want no more of the request: what still comes of it is thrown away. */
    exchange_pause_front(x, false);
    if (x->front) x->front->ops->send_end(x->front, trailers);
}

static void back_on_writable(struct stream *s) {
    exchange_pause_front(s->owner, false);
}

static void back_on_close(struct stream *s, enum failure f) {
    struct exchange *x = s->owner;
    x->back = NULL;
    if (f != FAILURE_NONE) {
        x->untouched = s->untouched;
        exchange_fail(x, f);
        return;
    }
    exchange_end_try(x, FAILURE_NONE);
    exchange_check_done(x);
}

const struct stream_events exchange_back_events = {back_on_head,     back_on_body, back_on_end,
                                                   back_on_writable, NULL,         back_on_close};

/* --- an answer that is not passed on ---------------------------------------------------------------------------- */

static void drain_on_head(struct stream *s, struct message *m) {
    (void)s, (void)m;
}

static void drain_on_body(struct stream *s, struct slice body, bool more) {
    (void)s, (void)body, (void)more;
}

static void drain_on_end(struct stream *s, const struct fields *trailers) {
    (void)s, (void)trailers;
}

static void drain_on_writable(struct stream *s) {
    (void)s;
}

static void drain_on_close(struct stream *s, enum failure f) {
    struct exchange *x = s->owner;
    (void)f; /* the try has ended already */
    x->back = NULL;
    x->draining_back = false;
}

const struct stream_events exchange_drain_events = {drain_on_head,     drain_on_body, drain_on_end,
                                                    drain_on_writable, NULL,          drain_on_close};

/* --- the tunnel ------------------------------------------------------------------------------------------------- */

static void on_tunnel_end(struct tunnel *t, enum failure f) {
    struct exchange *x = LG_CONTAINER_OF(t, struct exchange, tunnel);
    x->cause = (uint8_t)f;
    x->bytes_in += t->bytes_in;
    x->bytes_out += t->bytes_out;
    exchange_check_done(x);
}

const struct tunnel_events exchange_tunnel_events = {on_tunnel_end};
