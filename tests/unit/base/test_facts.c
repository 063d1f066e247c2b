/* test_facts.c: lines of facts: what is written is read again; what is unknown, missing or broken does no harm. */
#include "loomgate/base/facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

static char line[4096];

static void read_line(struct facts *f, const char *text) {
    snprintf(line, sizeof line, "%s", text);
    assert_true(facts_read(f, line));
}

static void what_is_written_is_read(void **state) {
    (void)state;
    static const char odd[] = "a b%\n=\x7f\x01\xc3\xa9";
    char *text;
    size_t len;
    struct facts f;
    FILE *out = open_memstream(&text, &len);
    facts_begin(out, "server");
    facts_text(out, "name", odd);
    facts_text(out, "empty", "");
    facts_number(out, "most", UINT64_MAX);
    facts_end(out);
    fclose(out);
    assert_int_equal(text[len - 1], '\n');
    assert_null(memchr(text, '\n', len - 1));
    text[len - 1] = '\0';
    assert_true(facts_read(&f, text));
    assert_string_equal(f.kind, "server");
    assert_int_equal(f.count, 3);
    assert_string_equal(facts_find(&f, "name"), odd);
    assert_string_equal(facts_find(&f, "empty"), "");
    assert_true(facts_get_number(&f, "most") == UINT64_MAX);
    free(text);
}

static void what_is_unknown_or_missing_leaves_what_was_there(void **state) {
    (void)state;
    struct facts f;
    uint64_t number = 7;
    read_line(&f, "kind later=thing  n=12 n=13 bad=1x big=300");
    assert_null(facts_find(&f, "missing"));
    assert_false(facts_find_number(&f, "missing", 99, &number));
    assert_false(facts_find_number(&f, "bad", 99, &number));
    assert_false(facts_find_number(&f, "big", 255, &number));
    assert_int_equal(number, 7);
    assert_true(facts_find_number(&f, "n", 99, &number));
    assert_int_equal(number, 12); /* the first one */
    assert_int_equal(facts_get_number(&f, "missing"), 0);
}

static void what_is_broken_does_no_harm(void **state) {
    (void)state;
    static const char *const broken[] = {"", " a=1", "  "};
    struct facts f;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        snprintf(line, sizeof line, "%s", broken[i]);
        assert_false(facts_read(&f, line));
    }
    read_line(&f, "kind =1 alone a= b=% c=%4 d=%zz e=%00 f=%41%");
    assert_int_equal(f.count, 6);
    assert_string_equal(facts_find(&f, "a"), "");
    assert_string_equal(facts_find(&f, "b"), "%");
    assert_string_equal(facts_find(&f, "c"), "%4");
    assert_string_equal(facts_find(&f, "d"), "%zz");
    assert_string_equal(facts_find(&f, "e"), "%00");
    assert_string_equal(facts_find(&f, "f"), "A%");
}

static void too_many_are_passed_over(void **state) {
    (void)state;
    struct facts f;
    size_t n = 1;
    strcpy(line, "k");
    for (unsigned i = 0; i < FACTS_MAX + 9; i++) n += (size_t)snprintf(line + n, sizeof line - n, " k%u=%u", i, i);
    assert_true(facts_read(&f, line));
    assert_int_equal(f.count, FACTS_MAX);
    assert_string_equal(facts_find(&f, "k63"), "63");
    assert_null(facts_find(&f, "k64"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_unknown_or_missing_leaves_what_was_there),
        cmocka_unit_test(what_is_broken_does_no_harm),
        cmocka_unit_test(too_many_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
