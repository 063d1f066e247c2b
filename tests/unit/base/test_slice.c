/* test_slice.c: borrowed bytes: comparing, trimming, splitting, numbers, distances. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/macros.h"
#include "loomgate/base/slice.h"

static const struct slice none = {NULL, 0};

static void test_equal(void **state) {
    (void)state;
    assert_true(slice_eq(SLICE("ab"), slice_from("abc", 2)));
    assert_false(slice_eq(SLICE("ab"), SLICE("aB")));
    assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
    assert_true(slice_eq(none, SLICE("")));
    assert_true(slice_eq(slice_of(NULL), none));
    assert_true(slice_is(SLICE("x"), "x"));
    assert_false(slice_is(SLICE("x"), "xy"));
    assert_true(slice_eq_nocase(SLICE("Content-LENGTH"), SLICE("content-length")));
    assert_false(slice_eq_nocase(SLICE("a@"), SLICE("a`"))); /* 0x40 and 0x60: not letters */
    assert_false(slice_eq_nocase(SLICE("["), SLICE("{")));
    assert_false(slice_eq_nocase(SLICE("\xc4"), SLICE("\xe4")));
    assert_true(slice_eq_nocase(none, none));
}

/* Every two bytes at every place of words of every length up to some: they are compared several at a time. */
static void test_equal_in_any_case(void **state) {
    (void)state;
    for (size_t n = 1; n <= 19; n++)
        for (size_t at = 0; at < n; at++)
            for (unsigned pair = 0; pair < 256 * 256; pair++) {
                char a[] = "abcXYZ-09_@[`{~\xff\x80\xdfq", b[] = "ABCxyz-09_@[`{~\xff\x80\xdfQ";
                a[at] = (char)(pair >> 8);
                b[at] = (char)(pair & 0xff);
                bool same = ascii_lower(a[at]) == ascii_lower(b[at]);
                if (slice_eq_nocase(slice_from(a, n), slice_from(b, n)) != same)
                    fail_msg("%02x and %02x at %zu of %zu", pair >> 8, pair & 0xff, at, n);
            }
}

static void test_ends(void **state) {
    (void)state;
    assert_true(slice_has_prefix(SLICE("abc"), SLICE("ab")));
    assert_true(slice_has_prefix(SLICE("abc"), SLICE("")));
    assert_true(slice_has_prefix(none, none));
    assert_false(slice_has_prefix(SLICE("ab"), SLICE("abc")));
    assert_true(slice_has_suffix(SLICE("abc"), SLICE("bc")));
    assert_true(slice_has_suffix(SLICE("abc"), none));
    assert_false(slice_has_suffix(SLICE("abc"), SLICE("b")));
    assert_false(slice_has_suffix(SLICE("c"), SLICE("bc")));
}

static void test_trim(void **state) {
    (void)state;
    assert_true(slice_is(slice_trim(SLICE(" \t a b\t ")), "a b"));
    assert_true(slice_is(slice_trim(SLICE("\r\na\n")), "\r\na\n")); /* spaces and tabs only */
    assert_true(slice_is(slice_trim(SLICE(" \t ")), ""));
    assert_true(slice_is(slice_trim(none), ""));
}

static void test_find(void **state) {
    (void)state;
    assert_int_equal(slice_find(SLICE("a,b,c"), ','), 1);
    assert_int_equal(slice_find(SLICE("abc"), ','), 3);
    assert_int_equal(slice_find(slice_from("ab,", 2), ','), 2);
    assert_int_equal(slice_find(none, ','), 0);
}

static void check_split(const char *text, const char *const *want, size_t count) {
    struct slice rest = slice_of(text), part;
    for (size_t i = 0; i < count; i++) {
        assert_true(slice_split(&rest, ',', &part));
        assert_true(slice_is(part, want[i]));
    }
    assert_false(slice_split(&rest, ',', &part));
    assert_false(slice_split(&rest, ',', &part));
}

static void test_split(void **state) {
    (void)state;
    check_split("a,bc,", (const char *[]){"a", "bc", ""}, 3);
    check_split(",", (const char *[]){"", ""}, 2);
    check_split("abc", (const char *[]){"abc"}, 1);
    check_split("", (const char *[]){""}, 1);
    struct slice rest = none, part;
    assert_false(slice_split(&rest, ',', &part));
}

struct number_case {
    const char *text;
    uint64_t max;
    bool ok;
    uint64_t value;
};

static void test_numbers(void **state) {
    (void)state;
    const struct number_case cases[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"5", 5, true, 5},
        {"6", 5, false, 0},
        {"9", 5, false, 0},
        {"10", 9, false, 0},
        {"255", 255, true, 255},
        {"256", 255, false, 0},
        {"260", 255, false, 0},
        {"00000000000000000000000000255", 255, true, 255},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"18446744073709551620", UINT64_MAX, false, 0},
        {"99999999999999999999", UINT64_MAX, false, 0},
        {"184467440737095516150", UINT64_MAX, false, 0},
        {"9223372036854775808", INT64_MAX, false, 0},
        {"9223372036854775807", INT64_MAX, true, INT64_MAX},
        {"", 9, false, 0},
        {"-1", 9, false, 0},
        {"+1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"0x1", 99, false, 0},
        {"1_0", 99, false, 0},
        {"\xb2", 9, false, 0},
    };
    for (size_t i = 0; i < LG_COUNT(cases); i++) {
        uint64_t value = 4711;
        assert_int_equal(slice_to_u64(slice_of(cases[i].text), cases[i].max, &value), cases[i].ok);
        assert_int_equal(value, cases[i].ok ? cases[i].value : 4711);
    }
    /* Every small number against every small limit. */
    for (uint64_t max = 0; max < 130; max++)
        for (uint64_t n = 0; n < 130; n++) {
            char text[4] = {(char)('0' + n / 100), (char)('0' + n / 10 % 10), (char)('0' + n % 10), 0};
            uint64_t value;
            assert_int_equal(slice_to_u64(slice_of(text), max, &value), n <= max);
        }
}

static void test_distance(void **state) {
    (void)state;
    assert_int_equal(slice_distance(none, none), 0);
    assert_int_equal(slice_distance(SLICE("abc"), SLICE("abc")), 0);
    assert_int_equal(slice_distance(none, SLICE("abc")), 3);
    assert_int_equal(slice_distance(SLICE("abc"), none), 3);
    assert_int_equal(slice_distance(SLICE("timeouts"), SLICE("timeout")), 1);
    assert_int_equal(slice_distance(SLICE("wieght"), SLICE("weight")), 1); /* a swap */
    assert_int_equal(slice_distance(SLICE("kitten"), SLICE("sitting")), 3);
    assert_int_equal(slice_distance(SLICE("ab"), SLICE("ba")), 1);
    assert_int_equal(slice_distance(SLICE("abcd"), SLICE("wxyz")), 4);
    char word[65];
    memset(word, 'a', sizeof word);
    assert_int_equal(slice_distance(slice_from(word, 64), slice_from(word, 60)), 4);
    assert_int_equal(slice_distance(slice_from(word, 64), slice_from(word, 64)), 0);
    assert_int_equal(slice_distance(slice_from(word, 65), SLICE("a")), UINT32_MAX);
    assert_int_equal(slice_distance(SLICE("a"), slice_from(word, 65)), UINT32_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),   cmocka_unit_test(test_equal_in_any_case),
        cmocka_unit_test(test_ends),    cmocka_unit_test(test_trim),
        cmocka_unit_test(test_find),    cmocka_unit_test(test_split),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}
