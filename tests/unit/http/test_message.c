/* test_message.c: methods, reasons, copies of a head. */
#include "loomgate/http/message.h"

#include "loomgate/base/macros.h"
#include "loomgate/http/h1_codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_methods(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum method method;
        bool idempotent;
    } rows[] = {
        {"GET", METHOD_GET, true},         {"HEAD", METHOD_HEAD, true},     {"POST", METHOD_POST, false},
        {"PUT", METHOD_PUT, true},         {"DELETE", METHOD_DELETE, true}, {"CONNECT", METHOD_CONNECT, false},
        {"OPTIONS", METHOD_OPTIONS, true}, {"TRACE", METHOD_TRACE, true},   {"PATCH", METHOD_PATCH, false},
        {"get", METHOD_OTHER, false},      {"GETS", METHOD_OTHER, false},   {"", METHOD_OTHER, false},
        {"PROPFIND", METHOD_OTHER, false},
    };
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        assert_int_equal(method_find(slice_of(rows[i].name)), rows[i].method);
        assert_int_equal(method_is_idempotent(rows[i].method), rows[i].idempotent);
    }
}

static void test_reasons(void **state) {
    (void)state;
    assert_true(slice_is(status_reason(200), "OK"));
    assert_true(slice_is(status_reason(431), "Request Header Fields Too Large"));
    assert_true(slice_is(status_reason(504), "Gateway Timeout"));
    assert_true(slice_is(status_reason(299), ""));
    assert_true(slice_is(status_reason(0), ""));
}

static bool inside(struct slice s, const char *start, size_t n) {
    return s.p >= start && s.p + s.n <= start + n;
}

static struct h1_scratch scratch;

/* Parses a head that lies in memory of its own, copies it, and overwrites and frees all that it lay in. */
static struct message copy_of(const char *text, struct arena *arena) {
    const struct h1_limits limits = {1024, 20, 200};
    struct h1_codec codec;
    struct h1_result r;
    struct message copy;
    size_t n = strlen(text);
    char *memory = malloc(n);
    assert_non_null(memory);
    memcpy(memory, text, n);
    struct slice in = {memory, n};
    h1_codec_init(&codec, H1_READS_REQUESTS);
    assert_int_equal(h1_codec_next(&codec, &in, &limits, &scratch, &r), H1_HEAD);
    message_copy(&copy, r.head, arena, 3);
    memset(memory, 'x', n);
    memset(&scratch, 'x', sizeof scratch);
    free(memory);
    return copy;
}

static void test_copy(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct message m =
        copy_of("GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: foo\r\nX:\r\n\r\n", &arena);
    assert_true(slice_is(m.method_name, "GET"));
    assert_true(slice_is(m.target, "/a?b"));
    assert_true(slice_is(m.uri, "/a?b"));
    assert_true(slice_is(m.path, "/a"));
    assert_true(slice_is(m.query, "b"));
    assert_true(slice_is(m.host, "h"));
    assert_true(slice_is(m.upgrade_to, "foo"));
    assert_int_equal(m.fields.count, 4);
    assert_true(m.fields.room >= 7);
    assert_true(slice_is(m.fields.v[0].value, "h"));
    assert_int_equal(m.fields.v[2].id, FIELD_UPGRADE);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(inside(m.fields.v[i].name, m.raw.p, m.raw.n));
        assert_true(inside(m.fields.v[i].value, m.raw.p, m.raw.n));
    }
    for (unsigned i = 0; i < 3; i++) assert_true(fields_add(&m.fields, SLICE("A"), SLICE("b")));
    arena_fini(&arena);
}

static void test_copy_of_a_uri_put_together(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct message m = copy_of("GET http://a?b=c HTTP/1.1\r\nHost: h\r\n\r\n", &arena);
    assert_true(slice_is(m.uri, "/?b=c"));
    assert_true(slice_is(m.path, "/"));
    assert_true(slice_is(m.query, "b=c"));
    assert_true(slice_is(m.host, "a"));
    m = copy_of("GET http://a HTTP/1.1\r\nHost: h\r\n\r\n", &arena);
    assert_true(slice_is(m.uri, "/"));
    assert_true(slice_is(m.path, "/"));
    assert_false(m.has_query);
    arena_fini(&arena);
}

/* A message that was never received has no bytes to move: its text stays where it is. */
static void test_copy_of_static_text(void **state) {
    (void)state;
    struct arena arena;
    struct field room[1];
    struct message copy, m = {.status = 404, .reason = SLICE("Not Found"), .fields = {.v = room, .room = 1}};
    arena_init(&arena, NULL, 0);
    assert_true(fields_add(&m.fields, SLICE("A"), SLICE("b")));
    message_copy(&copy, &m, &arena, 0);
    assert_ptr_equal(copy.reason.p, m.reason.p);
    assert_ptr_equal(copy.fields.v[0].value.p, room[0].value.p);
    assert_ptr_not_equal(copy.fields.v, room);
    arena_fini(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_of_a_uri_put_together),
        cmocka_unit_test(test_copy_of_static_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
