/* fake_stream.c: one side of an exchange without a protocol. */
#include "fake_stream.h"

#include "loomgate/base/macros.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct fake_stream *fake_of(struct stream *s) {
    return LG_CONTAINER_OF(s, struct fake_stream, stream);
}

LG_PRINTF(2, 3)
static void note(struct fake_stream *f, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (f->log_len && f->log_len < FAKE_LOG_MAX - 1) f->log[f->log_len++] = ' ';
    int n = vsnprintf(f->log + f->log_len, FAKE_LOG_MAX - f->log_len, format, args);
    va_end(args);
    f->log_len += (size_t)n;
    if (f->log_len >= FAKE_LOG_MAX) f->log_len = FAKE_LOG_MAX - 1;
}

void fake_expect(struct fake_stream *f, const char *log) {
    assert_string_equal(f->log, log);
    f->log[f->log_len = 0] = '\0';
}

static void write_fields(struct fake_stream *f, const struct message *m) {
    size_t at = 0;
    f->fields[0] = '\0';
    for (uint32_t i = 0; i < m->fields.count; i++) {
        const struct field *v = &m->fields.v[i];
        if (v->drop) continue;
        int n = snprintf(f->fields + at, FAKE_FIELDS_MAX - at, "%.*s: %.*s\n", SLICE_ARG(v->name), SLICE_ARG(v->value));
        at += (size_t)n;
        assert_true(at < FAKE_FIELDS_MAX);
    }
}

void fake_expect_field(const struct fake_stream *f, const char *line) {
    char wanted[512];
    snprintf(wanted, sizeof wanted, "%s\n", line);
    const char *at = strstr(f->fields, wanted);
    if (!at || (at > f->fields && at[-1] != '\n')) fail_msg("no \"%s\" among:\n%s", line, f->fields);
}

void fake_expect_no_field(const struct fake_stream *f, const char *name) {
    char start[256];
    snprintf(start, sizeof start, "%s:", name);
    const char *at = strstr(f->fields, start);
    if (at && (at == f->fields || at[-1] == '\n')) fail_msg("there is a %s among:\n%s", name, f->fields);
}

/* --- operations ------------------------------------------------------------------------------------------------- */

/* The last thing that an operation does. */
static void check_complete(struct fake_stream *f) {
    if (f->open && f->closes_itself && f->request_ended && f->response_ended) fake_close(f, FAILURE_NONE);
}

static void fake_send_head(struct stream *s, const struct message *m, bool end) {
    struct fake_stream *f = fake_of(s);
    char what[128], length[32] = "";
    assert_true(f->open);
    if (m->status)
        snprintf(what, sizeof what, "%u", m->status);
    else
        snprintf(what, sizeof what, "%.*s%.*s", SLICE_ARG(m->method_name), SLICE_ARG(m->uri));
    if (m->body == BODY_LENGTH) snprintf(length, sizeof length, "/%llu", (unsigned long long)m->length);
    note(f, "head:%s%s%s", what, length, end ? "." : "");
    write_fields(f, m);
    f->keep_alive = m->keep_alive;
    if (!end) return;
    f->response_ended = true;
    check_complete(f);
}

static void fake_send_body(struct stream *s, struct slice body, bool more) {
    struct fake_stream *f = fake_of(s);
    assert_true(f->open);
    if (body.n <= 200)
        note(f, "+%.*s%s", SLICE_ARG(body), more ? "~" : "");
    else
        note(f, "+(%zu)%s", body.n, more ? "~" : "");
}

static void fake_send_end(struct stream *s, const struct fields *trailers) {
    struct fake_stream *f = fake_of(s);
    assert_true(f->open);
    if (trailers && trailers->count)
        note(f, "end(%u)", trailers->count);
    else
        note(f, "end");
    f->response_ended = true;
    check_complete(f);
}

static void fake_pause(struct stream *s) {
    struct fake_stream *f = fake_of(s);
    assert_true(f->open && !f->paused);
    f->paused = true;
    note(f, "pause");
}

static void fake_resume(struct stream *s) {
    struct fake_stream *f = fake_of(s);
    assert_true(f->open && f->paused);
    f->paused = false;
    note(f, "resume");
}

static void fake_reset(struct stream *s) {
    struct fake_stream *f = fake_of(s);
    assert_true(f->open);
    f->open = false;
    note(f, "reset");
}

static struct conn *fake_take_conn(struct stream *s) {
    struct fake_stream *f = fake_of(s);
    assert_true(f->open && f->conn);
    f->open = false;
    note(f, "take");
    return f->conn;
}

static void fake_count(struct stream *s) {
    assert_true(fake_of(s)->open);
}

static const struct stream_ops fake_stream_ops = {fake_send_head, fake_send_body, fake_send_end,  fake_pause,
                                                  fake_resume,    fake_reset,     fake_take_conn, fake_count};

void fake_stream_init(struct fake_stream *f, bool is_client) {
    *f = (struct fake_stream){.stream = {.ops = &fake_stream_ops}, .open = true, .closes_itself = is_client};
}

/* --- events ----------------------------------------------------------------------------------------------------- */

void fake_head(struct fake_stream *f, struct message *m) {
    assert_true(f->open);
    f->stream.events->on_head(&f->stream, m);
}

void fake_body(struct fake_stream *f, const char *text) {
    assert_true(f->open);
    f->stream.events->on_body(&f->stream, slice_of(text), false);
}

void fake_end(struct fake_stream *f) {
    assert_true(f->open);
    f->request_ended = true;
    f->stream.events->on_end(&f->stream, NULL);
    check_complete(f);
}

void fake_writable(struct fake_stream *f) {
    assert_true(f->open);
    f->stream.congested = false;
    f->stream.events->on_writable(&f->stream);
}

void fake_fail(struct fake_stream *f, enum failure why) {
    assert_true(f->open);
    f->request_ended = true;
    f->stream.events->on_fail(&f->stream, why);
}

void fake_close(struct fake_stream *f, enum failure why) {
    assert_true(f->open);
    f->open = false;
    f->stream.events->on_close(&f->stream, why);
}
