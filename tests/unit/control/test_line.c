/* test_line.c: lines to commands to words: separators, quotes, escapes, and what is wrong. */
#include "loomgate/control/line.h"

#include "loomgate/base/macros.h"

#include "../../support/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* "a|b\nc" stands for a command of the words a and b, then one of c; words that are not plain have a ' in front. */
static const char *parsed(struct slice line) {
    static char out[4096];
    struct arena a;
    struct words words;
    const char *problem = NULL;
    enum line_result r;
    size_t n = 0;
    out[0] = '\0';
    arena_init(&a, NULL, 0);
    while ((r = line_take(&line, &a, &words, NULL, &problem)) == LINE_COMMAND) {
        assert_null(problem);
        n += (size_t)snprintf(out + n, sizeof out - n, "%s", n ? "\n" : "");
        for (unsigned i = 0; i < words.count; i++) {
            struct word *w = &words.v[i];
            assert_int_equal(w->text.p[w->text.n], '\0');
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%s%.*s", i ? "|" : "", w->is_plain ? "" : "'",
                                  SLICE_ARG(w->text));
        }
    }
    assert_int_equal(line.n, 0);
    if (r == LINE_BAD) snprintf(out + n, sizeof out - n, "%s!%s", n ? "\n" : "", problem);
    arena_fini(&a);
    return out;
}

static void words_and_commands(void **state) {
    static const struct {
        const char *line, *parsed;
    } rows[] = {
        {"", ""},
        {"   \t ", ""},
        {";;; ;", ""},
        {"help", "help"},
        {"  show \t servers  app ", "show|servers|app"},
        {"a;b c;;d", "a\nb|c\nd"},
        {"a ; b", "a\nb"},
        {"\"a b\" c", "'a b|c"},
        {"a\"b c\"d", "'ab cd"},
        {"\"\"", "'"},
        {"a \"\" b", "a|'|b"},
        {"\"a;b\";c", "'a;b\nc"},
        {"a\\ b", "'a b"},
        {"a\\;b", "'a;b"},
        {"\\\"a", "'\"a"},
        {"\\\\", "'\\"},
        {"\"a\\\"b\"", "'a\"b"},
        {"\"a\\\\\"", "'a\\"},
        {"\\n", "'n"},
        {"show \"json\" json", "show|'json|json"},
        {"a'b c'd", "a'b|c'd"},
        {"\"a", "!a quote is not closed"},
        {"\"a;b", "!a quote is not closed"},
        {"x ; a\" b ; y", "x\n!a quote is not closed"},
        {"a \\", "!a backslash at the end of the line"},
        {"\"a\\", "!a backslash at the end of the line"},
        {"a\rb\x01", "a\rb\x01"},
        {"\xff\xfe", "\xff\xfe"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) assert_string_equal(parsed(slice_of(rows[i].line)), rows[i].parsed);
}

static void too_many_words(void **state) {
    char line[2 * CONTROL_WORDS_MAX + 2];
    (void)state;
    for (size_t i = 0; i < sizeof line; i++) line[i] = i % 2 ? ' ' : 'x';
    assert_non_null(strchr(parsed(slice_from(line, 2 * CONTROL_WORDS_MAX - 1)), '|'));
    assert_string_equal(parsed(slice_from(line, sizeof line)), "!more than 256 words in a command");
}

static void the_text_of_a_command(void **state) {
    struct arena a;
    struct words words;
    struct slice raw, line = SLICE("  drain  \"app\"/a1 ; help;  "), whole = line;
    const char *problem;
    (void)state;
    arena_init(&a, NULL, 0);
    assert_int_equal(line_take(&line, &a, &words, &raw, &problem), LINE_COMMAND);
    assert_true(slice_is(raw, "drain  \"app\"/a1"));
    assert_true(slice_is(words.v[1].text, "app/a1"));
    assert_int_equal(line_take(&line, &a, &words, &raw, &problem), LINE_COMMAND);
    assert_true(slice_is(raw, "help"));
    assert_int_equal(line_take(&line, &a, &words, &raw, &problem), LINE_END);
    assert_int_equal(line_take(&line, &a, &words, &raw, &problem), LINE_END);
    assert_ptr_equal(line.p, whole.p + whole.n);
    arena_fini(&a);
}

/* Whatever comes, it ends, and stays inside: each line has a heap block of its own for the sanitizer to watch. */
static void any_bytes(void **state) {
    static const char bytes[] = "ab \t;;\"\"\\\\\0\xff\r{}";
    (void)state;
    struct random seed = {7};
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = random_below(&seed, 24);
        char *line = malloc(n + 1);
        for (size_t i = 0; i < n; i++) line[i] = bytes[random_below(&seed, sizeof bytes - 1)];
        parsed(slice_from(line, n));
        free(line);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_commands),
        cmocka_unit_test(too_many_words),
        cmocka_unit_test(the_text_of_a_command),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
