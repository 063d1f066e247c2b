/* test_diagnose.c: problems at their places: the exact print, order, limits, and what must not reach a terminal. */
#include "config_text.h"

#include "loomgate/base/macros.h"

static const struct source *add_text(struct diagnostics *d, const char *name, const char *text) {
    return diagnostics_add_source(d, name, strdup(text), strlen(text));
}

static void check_told(struct diagnostics *d, const char *wanted) {
    char *text = told(d);
    assert_string_equal(text, wanted);
    free(text);
    diagnostics_fini(d);
}

static void test_print(void **state) {
    struct diagnostics d;
    (void)state;
    diagnostics_init(&d);
    const struct source *s = add_text(&d, "a.yaml", "one: 1\ntwo: x\n");
    struct place at = {s, 2, 6}, whole = {s, 0, 0};
    assert_false(diagnostics_add(&d, SEVERITY_ERROR, at, "write %d", "'%s' is no number", "x"));
    diagnostics_add(&d, SEVERITY_WARNING, whole, NULL, "all of it");
    assert_int_equal(diagnostics_count(&d, SEVERITY_ERROR), 1);
    assert_int_equal(diagnostics_count(&d, SEVERITY_WARNING), 1);
    check_told(&d, "a.yaml: warning: all of it\n"
                   "a.yaml:2:6: error: 'x' is no number\n"
                   "two: x\n"
                   "     ^\n"
                   "  hint: write %d\n");
}

static void test_order(void **state) {
    struct diagnostics d;
    (void)state;
    diagnostics_init(&d);
    const struct source *a = add_text(&d, "a", "x\ny\n"), *b = add_text(&d, "b", "z\n");
    diagnostics_add(&d, SEVERITY_ERROR, (struct place){b, 1, 1}, NULL, "5");
    diagnostics_add(&d, SEVERITY_ERROR, (struct place){a, 2, 1}, NULL, "3");
    diagnostics_add(&d, SEVERITY_WARNING, (struct place){a, 2, 1}, NULL, "4");
    diagnostics_add(&d, SEVERITY_ERROR, (struct place){a, 1, 9}, NULL, "2");
    diagnostics_add(&d, SEVERITY_ERROR, (struct place){a, 1, 1}, NULL, "1");
    diagnostics_add(&d, SEVERITY_ERROR, (struct place){a, 1, 1}, NULL, "1"); /* told once */
    for (size_t i = 0; i < 5; i++) {
        const struct diagnostic *one = diagnostics_find(&d, i);
        assert_non_null(one);
        assert_int_equal(one->text[0], '1' + (int)i);
    }
    assert_null(diagnostics_find(&d, 5));
    diagnostics_fini(&d);
}

static void test_limit(void **state) {
    struct diagnostics d;
    (void)state;
    diagnostics_init(&d);
    const struct source *s = add_text(&d, "a", "");
    for (unsigned i = 1; i <= 3000; i++) diagnostics_add(&d, SEVERITY_ERROR, (struct place){s, i, 1}, NULL, "no");
    for (unsigned i = 1; i <= 21; i++) diagnostics_add(&d, SEVERITY_WARNING, (struct place){s, i, 1}, NULL, "hm");
    assert_true(diagnostics_is_full(&d, SEVERITY_ERROR));
    assert_false(diagnostics_is_full(&d, SEVERITY_WARNING));
    assert_int_equal(diagnostics_count(&d, SEVERITY_ERROR), 3000);
    char *text = told(&d);
    size_t errors = 0, warnings = 0;
    for (const char *p = text; (p = strstr(p, "error: no")) != NULL; p++) errors++;
    for (const char *p = text; (p = strstr(p, "warning: hm")) != NULL; p++) warnings++;
    assert_int_equal(errors, 20);
    assert_int_equal(warnings, 20);
    assert_non_null(strstr(text, "\n2980 more errors\n1 more warning\n"));
    free(text);
    diagnostics_fini(&d);
}

static void test_harmless(void **state) {
    struct diagnostics d;
    (void)state;
    diagnostics_init(&d);
    const struct source *s = add_text(&d, "a\x1b[1m\n",
                                      "\ta\x1b[31m\xff\xc2\x9b\xe2\x80\xae\xc3\xa4"
                                      "b\n");
    diagnostics_add(&d, SEVERITY_ERROR, (struct place){s, 1, 12}, "\x07hint", "bad \x1b '%s'", "\xff\n");
    check_told(&d, "a?[1m?:1:12: error: bad ? '?\?'\n"
                   " a [31m   \xc3\xa4"
                   "b\n"
                   "           ^\n"
                   "  hint: ?hint\n");
}

static void test_long_line(void **state) {
    struct diagnostics d;
    char line[1001];
    (void)state;
    memset(line, 'x', 1000);
    line[1000] = '\0';
    line[499] = 'Y';
    diagnostics_init(&d);
    const struct source *s = add_text(&d, "a", line);
    diagnostics_add(&d, SEVERITY_ERROR, (struct place){s, 1, 500}, NULL, "here");
    char *text = told(&d);
    char *shown = strchr(text, '\n') + 1, *caret = strchr(shown, '\n') + 1;
    assert_memory_equal(shown, "...xx", 5);
    assert_memory_equal(caret - 4, "...", 3);
    assert_true(caret - shown < 140);
    assert_int_equal(shown[strcspn(caret, "^")], 'Y');
    free(text);
    diagnostics_fini(&d);
}

/* A place behind the end, a last line without a line break, all kinds of line breaks. */
static void test_lines(void **state) {
    struct diagnostics d;
    (void)state;
    diagnostics_init(&d);
    const struct source *s = add_text(&d, "a",
                                      "1\r\n2\r3\xc2\x85"
                                      "4\xe2\x80\xa8"
                                      "5");
    for (unsigned line = 1; line <= 6; line++)
        diagnostics_add(&d, SEVERITY_ERROR, (struct place){s, line, 1}, NULL, "at %u", line);
    check_told(&d, "a:1:1: error: at 1\n1\n^\n"
                   "a:2:1: error: at 2\n2\n^\n"
                   "a:3:1: error: at 3\n3\n^\n"
                   "a:4:1: error: at 4\n4\n^\n"
                   "a:5:1: error: at 5\n5\n^\n"
                   "a:6:1: error: at 6\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),    cmocka_unit_test(test_order),     cmocka_unit_test(test_limit),
        cmocka_unit_test(test_harmless), cmocka_unit_test(test_long_line), cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
