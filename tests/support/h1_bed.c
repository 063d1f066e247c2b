/* h1_bed.c: an HTTP/1 session over a socket pair. */
#include "h1_bed.h"

#include <stdio.h>

struct h1_bed bed;
static struct session_timeouts next_times;

/* --- the account ------------------------------------------------------------------------------------------------ */

LG_PRINTF(1, 2)
static void note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (bed.log_len && bed.log_len < BED_LOG_MAX - 1) bed.log[bed.log_len++] = ' ';
    int n = vsnprintf(bed.log + bed.log_len, BED_LOG_MAX - bed.log_len, format, args);
    va_end(args);
    bed.log_len += (size_t)n;
    if (bed.log_len >= BED_LOG_MAX) bed.log_len = BED_LOG_MAX - 1;
}

void bed_expect(const char *log) {
    assert_string_equal(bed.log, log);
    bed.log[bed.log_len = 0] = '\0';
}

void bed_await(const char *log) {
    uint64_t end_us = loop_clock_us() + LOOP_PATIENCE_US;
    while (strcmp(bed.log, log) != 0)
        if (!loop_step(&bed.loop, end_us)) fail_msg("expected \"%s\", heard \"%s\"", log, bed.log);
    bed.log[bed.log_len = 0] = '\0';
}

/* --- the exchange ----------------------------------------------------------------------------------------------- */

static void on_head(struct stream *s, struct message *m) {
    (void)s;
    if (m->status)
        note("%u", m->status);
    else
        note("%.*s%.*s", SLICE_ARG(m->method_name), SLICE_ARG(m->uri));
    if (bed.at_head) bed.at_head(&bed, m);
}

static void on_body(struct stream *s, struct slice body, bool more) {
    (void)s;
    bed.body_bytes += body.n;
    if (body.n <= 32) note("+%.*s", SLICE_ARG(body));
    if (bed.at_body) bed.at_body(&bed, body, more);
}

static void on_end(struct stream *s, const struct fields *trailers) {
    (void)s;
    if (trailers && trailers->count)
        note("end(%u)", trailers->count);
    else
        note("end");
    if (bed.at_end) bed.at_end(&bed);
}

static void on_writable(struct stream *s) {
    assert_false(s->congested);
    note("writable");
}

static void on_fail(struct stream *s, enum failure f) {
    (void)s;
    note("fail:%s", failure_get(f)->name);
    if (bed.at_fail) bed.at_fail(&bed);
}

static void on_close(struct stream *s, enum failure f) {
    note("close:%s", f == FAILURE_NONE ? "ok" : failure_get(f)->name);
    assert_ptr_equal(s, bed.stream);
    bed.stream = NULL;
    bed.closes++;
    bed.cause = f;
    bed.untouched = s->untouched;
    bed.bytes_in = s->bytes_in;
    bed.bytes_out = s->bytes_out;
    if (bed.at_close) bed.at_close(&bed, f);
}

static const struct stream_events stream_events = {on_head, on_body, on_end, on_writable, on_fail, on_close};

/* --- the session's owner ---------------------------------------------------------------------------------------- */

static void on_stream(struct session *s, struct stream *stream) {
    (void)s;
    assert_null(bed.stream);
    bed.streams++;
    bed.stream = stream;
    stream->events = &stream_events;
    stream->owner = &bed;
}

static void on_idle(struct session *s) {
    (void)s;
    note("idle");
    if (bed.at_idle) bed.at_idle(&bed);
}

static void on_gone(struct session *s) {
    (void)s;
    note("gone");
    bed.gone++;
    assert_int_equal(bed.gone, 1);
}

static void on_malformed(struct session *s, enum failure f, struct slice bytes, const char *place) {
    (void)s;
    assert_true(!place || (place >= bytes.p && place <= bytes.p + bytes.n));
    bed.malformed++;
    bed.malformed_why = f;
    bed.malformed_at = place ? (size_t)(place - bytes.p) : 0;
}

static const struct session_events session_events = {on_stream, on_idle, on_gone, on_malformed};

/* --- birth and death -------------------------------------------------------------------------------------------- */

void bed_times(uint64_t idle_us, uint64_t head_us, uint64_t stall_us) {
    next_times = (struct session_timeouts){idle_us, head_us, stall_us};
}

int bed_set_up(void **state) {
    (void)state;
    memset(&bed, 0, offsetof(struct h1_bed, scratch));
    memset((char *)&bed + offsetof(struct h1_bed, limits), 0, sizeof bed - offsetof(struct h1_bed, limits));
    bed.limits = (struct h1_limits){.head_bytes = 8192, .field_count = 64, .uri_bytes = 4096};
    bed_times(BED_TIME_US, BED_TIME_US, BED_TIME_US);
    loop_init(&bed.loop);
    return 0;
}

int bed_tear_down(void **state) {
    (void)state;
    bed.at_close = NULL;
    if (bed.s.conn) bed.s.session.ops->abort(&bed.s.session, FAILURE_shutting_down);
    peer_close(&bed.peer);
    loop_finish(&bed.loop);
    return 0;
}

static void open_session(int fd, bool client) {
    bed.timeouts = next_times;
    bed.conn = conn_adopt(&bed.loop, fd, NULL, NULL);
    if (client)
        h1_session_init_client(&bed.s, bed.conn, &bed.scratch, &bed.limits, &bed.timeouts, &session_events, &bed);
    else
        h1_session_init_server(&bed.s, bed.conn, &bed.scratch, &bed.limits, &bed.timeouts, &session_events, &bed);
}

void bed_open_client(void) {
    open_session(peer_open(&bed.peer), true);
}

void bed_open_server(void) {
    open_session(peer_open(&bed.peer), false);
}

void bed_open_client_tcp(void) {
    open_session(peer_open_tcp(&bed.peer), true);
}

void bed_open_server_tcp(void) {
    open_session(peer_open_tcp(&bed.peer), false);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

struct message bed_request(const char *method, const char *uri, enum body_kind body, uint64_t length) {
    return (struct message){.method = (uint8_t)method_find(slice_of(method)),
                            .method_name = slice_of(method),
                            .host = SLICE("h"),
                            .uri = slice_of(uri),
                            .minor = 1,
                            .body = (uint8_t)body,
                            .length = length,
                            .has_length = body == BODY_LENGTH,
                            .keep_alive = true};
}

struct message bed_response(unsigned status, enum body_kind body, uint64_t length) {
    return (struct message){.status = (uint16_t)status,
                            .reason = status_reason(status),
                            .minor = 1,
                            .body = (uint8_t)body,
                            .length = length,
                            .has_length = body == BODY_LENGTH,
                            .keep_alive = true};
}

void bed_send_head(const struct message *m, bool end) {
    bed.stream->ops->send_head(bed.stream, m, end);
}

void bed_send_body(const char *text, bool more) {
    bed.stream->ops->send_body(bed.stream, slice_of(text), more);
}

void bed_send_block(size_t size) {
    char *block = xmalloc(size);
    memset(block, 'x', size);
    bed.stream->ops->send_body(bed.stream, slice_from(block, size), false);
    free(block);
}

void bed_send_end(void) {
    bed.stream->ops->send_end(bed.stream, NULL);
}

void bed_answer(const char *body) {
    struct message m = bed_response(200, BODY_LENGTH, strlen(body));
    bed_send_head(&m, *body == '\0');
    if (!*body) return;
    bed_send_body(body, true);
    bed_send_end();
}

void bed_answer_ok(struct h1_bed *b) {
    (void)b;
    bed_answer("ok");
}

void bed_open_stream(void) {
    assert_null(bed.stream);
    bed.streams++;
    bed.stream = bed.s.session.ops->open_stream(&bed.s.session, &stream_events, &bed);
}

void bed_get(const char *uri) {
    struct message m = bed_request("GET", uri, BODY_NONE, 0);
    bed_open_stream();
    bed_send_head(&m, true);
}

/* --- within a turn ---------------------------------------------------------------------------------------------- */

static void on_check(struct ev_loop *ev, ev_check *w, int events) {
    (void)events;
    void (*what)(void) = *(void (**)(void))w->data;
    ev_check_stop(ev, w);
    what();
}

void bed_within_turn(void (*what)(void)) {
    ev_check check;
    ev_check_init(&check, on_check);
    ev_set_priority(&check, EV_MAXPRI - 1); /* behind the loop's own, before sockets */
    check.data = &what;
    ev_check_start(bed.loop.ev, &check);
    loop_turns(&bed.loop, 1);
}
