/* test_view.c: one tree, two renderings: columns with units for eyes, one line of JSON for programs. */
#include "loomgate/control/view.h"

#include "../../support/json_check.h"

#include "loomgate/base/macros.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct view v;
static char *printed;

static int set_up(void **state) {
    (void)state;
    view_init(&v);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    view_fini(&v);
    free(printed);
    printed = NULL;
    return 0;
}

static const char *print(void (*how)(const struct view_node *node, FILE *out)) {
    size_t len;
    free(printed);
    FILE *out = open_memstream(&printed, &len);
    how(&v.root, out);
    fclose(out);
    assert_int_equal(strlen(printed), len);
    return printed;
}

static void check(const char *text, const char *json) {
    assert_string_equal(print(view_print_text), text);
    assert_string_equal(print(view_print_json), json);
    assert_true(json_is_valid(slice_of(printed)));
}

static void values_have_units_for_eyes_only(void **state) {
    (void)state;
    struct view_node *o = &v.root;
    view_text(o, "name", "a1");
    view_text(o, "nobody", NULL);
    view_number(o, "large", UINT64_MAX);
    view_real(o, "rps", 812.44);
    view_ratio(o, "errors", 0.125);
    view_duration(o, "wait", 90000000);
    view_duration(o, "short", 1500);
    view_bytes(o, "size", 1468006);
    view_time(o, "since", 1769860800123000);
    view_bool(o, "on", true);
    view_null(o, "not");
    view_printf(o, "made", "%d of %d", 1, 2);
    check("name    a1\n"
          "nobody  -\n"
          "large   18446744073709551615\n"
          "rps     812.4\n"
          "errors  12.5%\n"
          "wait    1m30s\n"
          "short   1.5ms\n"
          "size    1.4 MiB\n"
          "since   2026-01-31T12:00:00.123Z\n"
          "on      yes\n"
          "not     -\n"
          "made    1 of 2\n",
          "{\"name\":\"a1\",\"nobody\":null,\"large\":18446744073709551615,\"rps\":812.44,\"errors\":0.125,\"wait\":90,"
          "\"short\":0.0015,\"size\":1468006,\"since\":\"2026-01-31T12:00:00.123Z\",\"on\":true,\"not\":null,"
          "\"made\":\"1 of 2\"}");
}

static void tables_are_aligned(void **state) {
    (void)state;
    struct view_node *list = view_begin_list(&v);
    struct view_node *row = view_object(list, NULL);
    view_text(row, "server", "a1");
    view_number(row, "active", 7);
    struct view_node *check_ = view_object(row, "check");
    view_text(check_, "reason", "status 503");
    view_duration(check_, "took", 250);
    row = view_object(list, NULL);
    view_text(row, "server", "\xc3\xa4-long-name");
    view_number(row, "active", 12345);
    view_text(row, "extra", "only here");
    check("server       active  check_reason  check_took  extra\n"
          "a1                7  status 503         250us  -\n"
          "\xc3\xa4-long-name   12345  -                      -  only here\n",
          "[{\"server\":\"a1\",\"active\":7,\"check\":{\"reason\":\"status 503\",\"took\":0.00025}},"
          "{\"server\":\"\xc3\xa4-long-name\",\"active\":12345,\"extra\":\"only here\"}]");
}

static void trees_are_indented(void **state) {
    (void)state;
    view_text(&v.root, "version", "1");
    struct view_node *in = view_object(&v.root, "libraries");
    view_text(in, "libev", "4.33");
    in = view_list(&v.root, "bind");
    view_text(in, NULL, ":80");
    view_text(in, NULL, ":81");
    view_list(&v.root, "nothing");
    in = view_object(view_list(&v.root, "rows"), NULL);
    view_number(in, "n", 1);
    check("version  1\n"
          "libraries:\n"
          "  libev  4.33\n"
          "bind     :80, :81\n"
          "nothing  -\n"
          "rows:\n"
          "  n\n"
          "  1\n",
          "{\"version\":\"1\",\"libraries\":{\"libev\":\"4.33\"},\"bind\":[\":80\",\":81\"],\"nothing\":[],"
          "\"rows\":[{\"n\":1}]}");
}

static void what_is_empty_says_so(void **state) {
    (void)state;
    check("none\n", "{}");
    view_begin_list(&v);
    check("none\n", "[]");
    view_text(&v.root, NULL, "one");
    view_text(&v.root, NULL, "");
    check("one\n-\n", "[\"one\",\"\"]");
}

/* Nothing that a client sent can end an answer, move the cursor, or break the JSON. */
static void texts_cannot_break_out(void **state) {
    (void)state;
    static const char nasty[] = "a\n\nb\x1b[2J\xff\"\\\0z";
    view_slice(&v.root, "t", slice_from(nasty, sizeof nasty - 1));
    assert_string_equal(print(view_print_text), "t  a\\x0a\\x0ab\\x1b[2J\\xff\"\\x5c\\x00z\n");
    assert_string_equal(print(view_print_json), "{\"t\":\"a\\n\\nb\\u001b[2J\\u00ff\\\"\\\\\\u0000z\"}");
    assert_true(json_is_valid(slice_of(printed)));
}

static void documents_keep_their_lines(void **state) {
    (void)state;
    view_lines(&v.root, "yaml", SLICE("a: 1\n\n  b: \"\\\\\"\n"));
    view_number(&v.root, "n", 3);
    check("a: 1\n  b: \"\\\\\"\nn  3\n", "{\"yaml\":\"a: 1\\n\\n  b: \\\"\\\\\\\\\\\"\\n\",\"n\":3}");
}

static void odd_numbers(void **state) {
    (void)state;
    view_real(&v.root, "nan", NAN);
    view_real(&v.root, "huge", 1e300);
    view_real(&v.root, "tiny", 0.0000001);
    view_real(&v.root, "below", -2.5);
    view_signed(&v.root, "least", INT64_MIN);
    assert_string_equal(
        print(view_print_json),
        "{\"nan\":null,\"huge\":1.0000000000000001e+300,\"tiny\":0,\"below\":-2.5,\"least\":-9223372036854775808}");
}

static void durations_and_sizes(void **state) {
    static const struct {
        uint64_t us;
        const char *text;
    } durations[] = {
        {0, "0us"},
        {999, "999us"},
        {1000, "1ms"},
        {12345, "12.35ms"},
        {1500000, "1.5s"},
        {59000000, "59s"},
        {60000000, "1m00s"},
        {3599000000, "59m59s"},
        {3600000000, "1h00m"},
        {86399000000, "23h59m"},
        {86400000000, "1d00h"},
        {864000000000, "10d00h"},
    };
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {
        {0, "0 B"},           {1023, "1023 B"},     {1024, "1.0 KiB"},
        {1048575, "1.0 MiB"}, {1048576, "1.0 MiB"}, {UINT64_MAX, "16.0 EiB"},
    };
    char out[VIEW_VALUE_MAX];
    (void)state;
    for (size_t i = 0; i < LG_COUNT(durations); i++) {
        view_format_duration(out, durations[i].us);
        assert_string_equal(out, durations[i].text);
    }
    for (size_t i = 0; i < LG_COUNT(sizes); i++) {
        view_format_bytes(out, sizes[i].bytes);
        assert_string_equal(out, sizes[i].text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(values_have_units_for_eyes_only),
        TEST(tables_are_aligned),
        TEST(trees_are_indented),
        TEST(what_is_empty_says_so),
        TEST(texts_cannot_break_out),
        TEST(documents_keep_their_lines),
        TEST(odd_numbers),
        TEST(durations_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
