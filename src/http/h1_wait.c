/* h1_wait.c: what a session waits for, how long it may take, and what happens when it takes longer. */
#include "h1_session_internal.h"

enum { WAIT_NONE, WAIT_IDLE, WAIT_HEAD, WAIT_STALL };

size_t h1_left_over(const struct h1_session *s) {
    if (s->broken) return 0;
    return s->pumping ? s->pending : s->conn->in.bytes;
}

static uint8_t wait_on_client(const struct h1_session *s) {
    /* Also of a response whose stream has ended; but not while the next head comes, or its bytes would renew it. */
    if (conn_has_output(s->conn) && (s->open || !h1_left_over(s))) return WAIT_STALL;
    if (!s->open) return s->fresh || h1_left_over(s) ? WAIT_HEAD : WAIT_IDLE;
    if (!s->in_done && !s->paused) return WAIT_STALL;
    return WAIT_NONE;
}

static uint8_t wait_on_server(const struct h1_session *s) {
    if (!s->open) return WAIT_IDLE;
    if (conn_has_output(s->conn)) return WAIT_STALL;
    if (s->in_done || s->paused) return WAIT_NONE;
    if (s->got_head) return WAIT_STALL;
    return s->out_done ? WAIT_HEAD : WAIT_NONE;
}

void h1_update_wait_now(struct h1_session *s) {
    uint8_t wait = s->client_side ? wait_on_client(s) : wait_on_server(s);
    if (wait == s->wait) return;
    s->wait = wait;
    const uint64_t us[] = {0, s->timeouts->idle_us, s->timeouts->head_us, s->timeouts->stall_us};
    conn_set_timeout(s->conn, us[wait], wait == WAIT_STALL);
}

void h1_update_wait(struct h1_session *s) {
    if (s->conn && !s->pumping) h1_update_wait_now(s);
}

void h1_set_timeouts(struct session *session, const struct session_timeouts *timeouts) {
    struct h1_session *s = LG_CONTAINER_OF(session, struct h1_session, session);
    if (s->timeouts == timeouts) return;
    s->timeouts = timeouts;
    if (s->wait == WAIT_NONE) return;
    s->wait = WAIT_NONE; /* what is waited for starts anew with the next step */
    if (s->conn) conn_set_timeout(s->conn, 0, false);
}

static void client_timeout(struct h1_session *s) {
    if (!s->open && conn_has_output(s->conn)) { /* a response that nobody reads */
        h1_close(s, CONN_CLOSE_RESET);
    } else if (!s->open && !s->conn->in.bytes) { /* nothing was asked: go quietly */
        h1_close(s, CONN_CLOSE_NOW);
    } else if (!s->open) {
        h1_refuse_request(s, FAILURE_header_timeout);
    } else if (s->out_done) {
        s->keep_alive = false;
        h1_finish_stream(s);
    } else if (s->out_head) {
        h1_fail(s, FAILURE_client_timeout, CONN_CLOSE_RESET);
    } else {
        h1_refuse_request(s, FAILURE_client_timeout);
    }
}

static void server_timeout(struct h1_session *s) {
    if (!s->open) {
        h1_close(s, CONN_CLOSE_NOW);
        return;
    }
    bool in_head = s->open && !s->got_head && s->out_done;
    h1_fail(s, in_head ? FAILURE_response_timeout : FAILURE_server_timeout, CONN_CLOSE_RESET);
}

void h1_on_timeout(struct conn *c) {
    struct h1_session *s = c->owner;
    uint8_t waited = s->wait;
    if (waited == WAIT_NONE) return;
    /* What was waited for may have come about without a word to us, such as the last byte leaving the buffer. */
    s->wait = WAIT_NONE;
    h1_update_wait(s);
    if (s->wait != waited) return;
    if (s->client_side)
        client_timeout(s);
    else
        server_timeout(s);
}
