/* test_fields.c: the table of names, lookup, lists, editing, characters. */
#include "loomgate/http/fields.h"

#include "loomgate/base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
    enum field_id id;
    struct slice name;
} known[] = {
#define X(id, name, cls) {FIELD_##id, {name, sizeof(name) - 1}},
    FIELD_TABLE(X)
#undef X
};

static void test_every_name_is_found(void **state) {
    (void)state;
    for (size_t i = 0; i < LG_COUNT(known); i++) {
        char text[32];
        struct slice name = {text, known[i].name.n};
        memcpy(text, known[i].name.p, name.n);
        assert_int_equal(field_id_find(name), known[i].id);
        for (size_t j = 0; j < name.n; j++) text[j] = ascii_lower(text[j]);
        assert_int_equal(field_id_find(name), known[i].id);
        for (size_t j = 0; j < name.n; j++)
            if (text[j] >= 'a' && text[j] <= 'z') text[j] = (char)(text[j] - 0x20);
        assert_int_equal(field_id_find(name), known[i].id);
        for (size_t j = 0; j < name.n; j++) { /* no byte may differ but in its case */
            char right = text[j];
            text[j] = (char)(right ^ 0x10);
            assert_int_equal(field_id_find(name), FIELD_OTHER);
            text[j] = right;
        }
        assert_int_equal(field_id_find(slice_from(text, name.n - 1)), FIELD_OTHER);
        assert_true(slice_eq(field_id_name(known[i].id), known[i].name));
    }
    assert_int_equal(field_id_find(SLICE("")), FIELD_OTHER);
    assert_int_equal(field_id_find(SLICE("\x48"
                                         "\x4f"
                                         "ST\0")),
                     FIELD_OTHER);
    assert_int_equal(field_id_find(SLICE("X-Forwarded-Hort")), FIELD_OTHER);
    assert_int_equal(field_id_find(SLICE("X-Forwarded-Protocol")), FIELD_OTHER);
}

static struct field room[4];

static struct fields some_fields(void) {
    struct fields f = {.v = room, .room = LG_COUNT(room)};
    assert_true(fields_add(&f, SLICE("Connection"), SLICE("a, Keep-Alive\t,,b")));
    assert_true(fields_add(&f, SLICE("X-One"), SLICE("1")));
    assert_true(fields_add(&f, SLICE("connection"), SLICE("close")));
    assert_true(fields_add(&f, SLICE("x-one"), SLICE("2")));
    return f;
}

static void test_find(void **state) {
    (void)state;
    struct fields f = some_fields();
    assert_ptr_equal(fields_find(&f, FIELD_CONNECTION), &room[0]);
    assert_ptr_equal(fields_find_name(&f, SLICE("CONNECTION")), &room[0]);
    assert_ptr_equal(fields_find_name(&f, SLICE("X-ONE")), &room[1]);
    assert_null(fields_find_name(&f, SLICE("X-On")));
    assert_null(fields_find(&f, FIELD_HOST));
    room[0].drop = true;
    assert_ptr_equal(fields_find(&f, FIELD_CONNECTION), &room[2]);
}

static void test_add_until_full(void **state) {
    (void)state;
    struct fields f = some_fields();
    assert_false(fields_add(&f, SLICE("A"), SLICE("b")));
    assert_int_equal(f.count, 4);
}

static void test_drop(void **state) {
    (void)state;
    struct fields f = some_fields();
    assert_int_equal(fields_drop(&f, FIELD_CONNECTION), 2);
    assert_int_equal(fields_drop(&f, FIELD_CONNECTION), 0);
    assert_int_equal(fields_drop_name(&f, SLICE("X-one")), 2);
    assert_int_equal(fields_drop_name(&f, SLICE("X-one")), 0);
    f = some_fields();
    assert_int_equal(fields_drop_name(&f, SLICE("coNNection")), 2);
    assert_false(room[1].drop);
}

static void test_lists(void **state) {
    (void)state;
    struct fields f = some_fields();
    assert_true(fields_list_has(&f, FIELD_CONNECTION, SLICE("A")));
    assert_true(fields_list_has(&f, FIELD_CONNECTION, SLICE("keep-alive")));
    assert_true(fields_list_has(&f, FIELD_CONNECTION, SLICE("b")));
    assert_true(fields_list_has(&f, FIELD_CONNECTION, SLICE("CLOSE")));
    assert_false(fields_list_has(&f, FIELD_CONNECTION, SLICE("clos")));
    assert_false(fields_list_has(&f, FIELD_CONNECTION, SLICE("closed")));
    assert_false(fields_list_has(&f, FIELD_TE, SLICE("a")));
    room[2].drop = true;
    assert_false(fields_list_has(&f, FIELD_CONNECTION, SLICE("close")));
}

static void test_trailers(void **state) {
    (void)state;
    static const char *const never[] = {"Host",
                                        "content-length",
                                        "Transfer-Encoding",
                                        "Connection",
                                        "TE",
                                        "Trailer",
                                        "Upgrade",
                                        "Keep-Alive",
                                        "Cookie",
                                        "Content-Type",
                                        "content-range",
                                        "Authorization",
                                        "Set-Cookie",
                                        "Expect",
                                        "X-Forwarded-For",
                                        "Proxy-Authorization",
                                        "Cache-Control",
                                        "Range",
                                        "Max-Forwards",
                                        "Location"};
    static const char *const fine[] = {"X-Checksum", "grpc-status",   "grpc-message", "Digest",
                                       "ETag",       "Server-Timing", "Content"};
    for (size_t i = 0; i < LG_COUNT(never); i++) assert_false(field_may_trail(slice_of(never[i])));
    for (size_t i = 0; i < LG_COUNT(fine); i++) assert_true(field_may_trail(slice_of(fine[i])));
}

static void test_characters(void **state) {
    (void)state;
    static const char token[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (int c = 0; c < 256; c++) {
        char text[3] = {'a', (char)c, 'b'};
        bool is_token = c != 0 && strchr(token, c) != NULL;
        assert_int_equal(slice_is_token(slice_from(text, 3)), is_token);
        assert_int_equal(slice_is_field_value(slice_from(text, 3)), c == '\t' || (c >= ' ' && c != 0x7f));
    }
    assert_false(slice_is_token(SLICE("")));
    assert_true(slice_is_field_value(SLICE("")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_name_is_found),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_add_until_full),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
