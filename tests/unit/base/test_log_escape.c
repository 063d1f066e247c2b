/* test_log_escape.c: strings in records: nothing a peer sends can forge one; times. */
#include "log_tools.h"

struct escape_case {
    struct slice in;
    const char *json, *text;
};

static const struct escape_case cases[] = {
    {{"", 0}, "", ""},
    {{"plain/Path?a=b&c", 16}, "plain/Path?a=b&c", "plain/Path?a=b&c"},
    {{"a b\"c'", 6}, "a b\\\"c'", "a\\x20b\\x22c\\x27"},
    {{"\\n", 2}, "\\\\n", "\\x5cn"},
    {{"x\r\ny\tz", 6}, "x\\r\\ny\\tz", "x\\x0d\\x0ay\\x09z"},
    {{"\0\x1b[2J\x7f", 6}, "\\u0000\\u001b[2J\\u007f", "\\x00\\x1b[2J\\x7f"},
    {{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 15},
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
     "gr\xc3\xbc\xc3\x9f\\x20\xe2\x82\xac\\x20\xf0\x9f\x98\x80"},
    /* not UTF-8: a lone continuation, a cut character, overlong forms, a surrogate, past the last code point */
    {{"\x80z\xff", 3}, "\\u0080z\\u00ff", "\\x80z\\xff"},
    {{"\xe2\x82", 2}, "\\u00e2\\u0082", "\\xe2\\x82"},
    {{"\xc0\xaf", 2}, "\\u00c0\\u00af", "\\xc0\\xaf"},
    {{"\xe0\x9f\xbf", 3}, "\\u00e0\\u009f\\u00bf", "\\xe0\\x9f\\xbf"},
    {{"\xed\xa0\x80", 3}, "\\u00ed\\u00a0\\u0080", "\\xed\\xa0\\x80"},
    {{"\xf0\x8f\xbf\xbf", 4}, "\\u00f0\\u008f\\u00bf\\u00bf", "\\xf0\\x8f\\xbf\\xbf"},
    {{"\xf4\x90\x80\x80", 4}, "\\u00f4\\u0090\\u0080\\u0080", "\\xf4\\x90\\x80\\x80"},
    {{"\xc3(", 2}, "\\u00c3(", "\\xc3("},
    /* UTF-8 that terminals and line splitters act on: CSI, NEL, line separator, right-to-left override */
    {{"\xc2\x9b\xc2\x85", 4}, "\\u009b\\u0085", "\\xc2\\x9b\\xc2\\x85"},
    {{"\xe2\x80\xa8\xe2\x80\xae", 6}, "\\u2028\\u202e", "\\xe2\\x80\\xa8\\xe2\\x80\\xae"},
    {{"\xe2\x80\xa7\xe2\x80\xaf", 6}, "\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf"},
};

static void check(char *(*escape)(char *, const char *, struct slice), struct slice in, const char *want) {
    char out[256];
    char *end = escape(out, out + sizeof out, in);
    assert_int_equal(end - out, strlen(want));
    assert_memory_equal(out, want, strlen(want));
}

static void test_escape(void **state) {
    (void)state;
    for (size_t i = 0; i < LG_COUNT(cases); i++) {
        check(log_escape_json, cases[i].in, cases[i].json);
        check(log_escape_text, cases[i].in, cases[i].text);
    }
}

/* Whatever the room, what is written is a beginning of the whole and ends between characters. */
static void test_cut(void **state) {
    (void)state;
    struct slice in = SLICE("ab\xe2\x82\xac\n\x01q\xff\"");
    const char *json = "ab\xe2\x82\xac\\n\\u0001q\\u00ff\\\"";
    const size_t ends[] = {0, 1, 2, 5, 7, 13, 14, 20, 22};
    assert_int_equal(strlen(json), ends[LG_COUNT(ends) - 1]);
    for (size_t room = 0; room <= strlen(json) + 1; room++) {
        char out[64];
        memset(out, '#', sizeof out);
        size_t n = (size_t)(log_escape_json(out, out + room, in) - out), most = 0;
        for (size_t i = 0; i < LG_COUNT(ends); i++)
            if (ends[i] <= room) most = ends[i];
        assert_int_equal(n, most);
        assert_memory_equal(out, json, n);
        assert_int_equal(out[n], '#');
    }
}

/* Every byte in every style: printable ASCII, nothing that ends a string or a line. */
static void test_every_byte(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c, out[16];
        char *end = log_escape_json(out, out + sizeof out, slice_from(&byte, 1));
        assert_true(end > out);
        for (char *p = out; p < end; p++) assert_in_range(*p, ' ', '~');
        if (end == out + 1) assert_true(out[0] != '"' && out[0] != '\\');
        end = log_escape_text(out, out + sizeof out, slice_from(&byte, 1));
        assert_true(end > out);
        for (char *p = out; p < end; p++) assert_in_range(*p, '!', '~');
        if (end == out + 1) assert_true(out[0] != '"' && out[0] != '\'' && out[0] != '\\');
    }
}

static void check_time(uint64_t s, unsigned ms) {
    char want[32], got[25] = "";
    time_t t = (time_t)s;
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(want + n, sizeof want - n, ".%03uZ", ms);
    log_time(got, (s * 1000 + ms) * 1000 + s % 1000);
    assert_string_equal(got, want);
}

static void test_time(void **state) {
    (void)state;
    const uint64_t edges[] = {0,          86399,      86400,      68169599,    68169600,  68255999,
                              951782399,  951782400,  951868800,  978307199,   978307200, 1767225599,
                              1767225600, 4107542399, 4107542400, 253402300799};
    for (size_t i = 0; i < LG_COUNT(edges); i++) check_time(edges[i], (unsigned)i * 66);
    check_time(1767225600, 999);
    check_time(1767225600, 0); /* the clock may step back within a second */
    check_time(1767225599, 999);
    uint64_t x = 88172645463325252U; /* xorshift64: Marsaglia 2003 */
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        check_time(x % 253402300800U, (unsigned)(x >> 40) % 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_time),
    };
    return cmocka_run_group_tests_name("log_escape", tests, NULL, NULL);
}
