/* test_params.c: named parts of queries and Cookie fields. */
#include "loomgate/http/params.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef bool next_part(struct slice *rest, struct slice name, struct slice *value);

/* The values, each with a "|" behind it. */
static void expect(next_part *next, const char *text, const char *name, const char *wanted) {
    char got[100] = "";
    struct slice rest = slice_of(text), value;
    while (next(&rest, slice_of(name), &value)) {
        strncat(got, value.p, value.n);
        strcat(got, "|");
    }
    assert_string_equal(got, wanted);
}

static void parts_of_a_query(void **state) {
    (void)state;
    expect(query_next, "a=1&b=2&a=3", "a", "1|3|");
    expect(query_next, "a=1&b=2&a=3", "b", "2|");
    expect(query_next, "a=1&b=2", "c", "");
    expect(query_next, "aa=1&Aa=2", "a", "");
    expect(query_next, "a=x=y&a=&a", "a", "x=y|||");
    expect(query_next, "%61=1&a%20b=2", "a", "1|");
    expect(query_next, "%61=1&a%20b=%32", "a b", "%32|");
    expect(query_next, "a+b=1", "a b", "");
    expect(query_next, "", "a", "");
    expect(query_next, "&&a=1&", "a", "1|");
}

static void parts_of_a_cookie(void **state) {
    (void)state;
    expect(cookie_next, "sid=1; theme=dark;sid=2", "sid", "1|2|");
    expect(cookie_next, "sid=1; theme=dark;sid=2", "theme", "dark|");
    expect(cookie_next, "%73id=1; SID=2", "sid", "");
    expect(cookie_next, "a=b=c; a", "a", "b=c||");
    expect(cookie_next, " ; ;", "a", "");
}

static void nothing_at_all(void **state) {
    (void)state;
    struct slice rest = {NULL, 0}, value;
    assert_false(query_next(&rest, SLICE("a"), &value));
    assert_false(cookie_next(&rest, SLICE("a"), &value));
}

static void percent_signs(void **state) {
    (void)state;
    assert_true(percent_decodes_to(SLICE("a%2Fb%2f"), SLICE("a/b/")));
    assert_true(percent_decodes_to(SLICE("100%"), SLICE("100%")));
    assert_true(percent_decodes_to(SLICE("%4"), SLICE("%4")));
    assert_true(percent_decodes_to(SLICE("%zz"), SLICE("%zz")));
    assert_false(percent_decodes_to(SLICE("%41"), SLICE("AB")));
    assert_false(percent_decodes_to(SLICE("ABC"), SLICE("AB")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_a_query),
        cmocka_unit_test(parts_of_a_cookie),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(percent_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
