/* test_exposition.c: metrics as text: exactly as the format wants it, escaped, in pieces, shared. */
#include "loomgate/stats/exposition.h"

#include "loomgate/base/macros.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct exposition *e;
static struct exposition_labels none;

static int set_up(void **state) {
    (void)state;
    e = exposition_new();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    exposition_unref(e);
    return 0;
}

/* The whole text; from malloc. */
static char *whole(void) {
    char *text = malloc(e->bytes + 1), *at = text;
    assert_non_null(text);
    for (const struct exposition_piece *p = e->first; p; p = p->next) {
        assert_in_range(p->size, 1, EXPOSITION_PIECE);
        memcpy(at, p->text, p->size);
        at += p->size;
    }
    assert_int_equal(at - text, e->bytes);
    *at = '\0';
    return text;
}

static void expect(const char *wanted) {
    char *text = whole();
    assert_string_equal(text, wanted);
    free(text);
}

static struct exposition_labels labels_of(const char *name, const char *value) {
    struct exposition_labels l = {.n = 0};
    exposition_label(&l, name, value);
    return l;
}

/* --- lines ------------------------------------------------------------------------------------------------------ */

static void counters_and_gauges(void **state) {
    (void)state;
    struct exposition_labels l = labels_of("backend", "app");
    exposition_family(e, "", "workers", "Worker threads", EXPOSITION_GAUGE);
    exposition_put(e, &none, 4);
    exposition_family(e, "server_", "tries_total", "Tries", EXPOSITION_COUNTER);
    exposition_label(&l, "server", "a1");
    exposition_put(e, &l, 0);
    exposition_put(e, &l, UINT64_MAX);
    expect("# HELP loomgate_workers Worker threads\n"
           "# TYPE loomgate_workers gauge\n"
           "loomgate_workers 4\n"
           "# HELP loomgate_server_tries_total Tries\n"
           "# TYPE loomgate_server_tries_total counter\n"
           "loomgate_server_tries_total{backend=\"app\",server=\"a1\"} 0\n"
           "loomgate_server_tries_total{backend=\"app\",server=\"a1\"} 18446744073709551615\n");
}

static void a_family_without_samples_is_not_told(void **state) {
    (void)state;
    expect("");
    exposition_family(e, "", "a", "A", EXPOSITION_GAUGE);
    exposition_family(e, "", "b", "B", EXPOSITION_GAUGE);
    expect("");
    exposition_put(e, &none, 1);
    expect("# HELP loomgate_b B\n# TYPE loomgate_b gauge\nloomgate_b 1\n");
}

static void fractions_have_no_zeros_behind(void **state) {
    static const struct {
        uint64_t millionths;
        const char *text;
    } rows[] = {
        {0, "0"},
        {1, "0.000001"},
        {10, "0.00001"},
        {120000, "0.12"},
        {1000000, "1"},
        {1500000, "1.5"},
        {60000001, "60.000001"},
        {999999, "0.999999"},
        {10000000, "10"},
        {UINT64_MAX, "18446744073709.551615"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char wanted[200];
        exposition_family(e, "", "t", "T", EXPOSITION_GAUGE);
        exposition_put_millionths(e, &none, rows[i].millionths);
        snprintf(wanted, sizeof wanted, "# HELP loomgate_t T\n# TYPE loomgate_t gauge\nloomgate_t %s\n", rows[i].text);
        expect(wanted);
        tear_down(NULL);
        set_up(NULL);
    }
}

/* Values of labels and help texts have rules of their own. */
static void what_would_break_a_line_is_escaped(void **state) {
    (void)state;
    struct exposition_labels l = labels_of("server", "unix:/a\\b\"c\nd\xc3\xa4{}=,");
    exposition_family(e, "", "t", "Says \"hi\" \\ and\nbye", EXPOSITION_GAUGE);
    exposition_label(&l, "empty", "");
    exposition_put(e, &l, 1);
    expect("# HELP loomgate_t Says \"hi\" \\\\ and\\nbye\n"
           "# TYPE loomgate_t gauge\n"
           "loomgate_t{server=\"unix:/a\\\\b\\\"c\\nd\xc3\xa4{}=,\",empty=\"\"} 1\n");
}

/* --- histograms ------------------------------------------------------------------------------------------------- */

static void histograms_are_cumulative_and_end_with_inf(void **state) {
    static const uint64_t limits_us[] = {256, 1024, 1048576}, below[] = {0, 2, 2};
    const struct exposition_histogram h = {limits_us, below, LG_COUNT(limits_us), 3, 2500001};
    struct exposition_labels l = labels_of("backend", "app");
    (void)state;
    exposition_family(e, "backend_", "t_seconds", "T", EXPOSITION_HISTOGRAM);
    exposition_put_histogram(e, &l, &h);
    expect("# HELP loomgate_backend_t_seconds T\n"
           "# TYPE loomgate_backend_t_seconds histogram\n"
           "loomgate_backend_t_seconds_bucket{backend=\"app\",le=\"0.000256\"} 0\n"
           "loomgate_backend_t_seconds_bucket{backend=\"app\",le=\"0.001024\"} 2\n"
           "loomgate_backend_t_seconds_bucket{backend=\"app\",le=\"1.048576\"} 2\n"
           "loomgate_backend_t_seconds_bucket{backend=\"app\",le=\"+Inf\"} 3\n"
           "loomgate_backend_t_seconds_sum{backend=\"app\"} 2.500001\n"
           "loomgate_backend_t_seconds_count{backend=\"app\"} 3\n");
}

static void a_histogram_needs_no_labels(void **state) {
    const struct exposition_histogram h = {NULL, NULL, 0, 1, 5};
    (void)state;
    exposition_family(e, "", "t_seconds", "T", EXPOSITION_HISTOGRAM);
    exposition_put_histogram(e, &none, &h);
    expect("# HELP loomgate_t_seconds T\n"
           "# TYPE loomgate_t_seconds histogram\n"
           "loomgate_t_seconds_bucket{le=\"+Inf\"} 1\n"
           "loomgate_t_seconds_sum 0.000005\n"
           "loomgate_t_seconds_count 1\n");
}

/* --- pieces ----------------------------------------------------------------------------------------------------- */

/* Lines are never cut; what is left of a piece is less than the longest line. */
static void a_long_text_is_in_pieces(void **state) {
    enum { LINES = 20000 };
    (void)state;
    exposition_family(e, "", "t", "T", EXPOSITION_GAUGE);
    size_t bytes = strlen("# HELP loomgate_t T\n# TYPE loomgate_t gauge\n");
    for (unsigned i = 0; i < LINES; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        struct exposition_labels l = labels_of("n", text);
        exposition_put(e, &l, i);
        bytes += strlen("loomgate_t{n=\"\"} \n") + 2 * strlen(text);
    }
    assert_int_equal(e->bytes, bytes);
    unsigned pieces = 0;
    for (const struct exposition_piece *p = e->first; p; p = p->next, pieces++) {
        assert_int_equal(p->text[p->size - 1], '\n');
        if (p->next) assert_true(p->size > EXPOSITION_PIECE - 2048);
    }
    assert_true(pieces >= bytes / EXPOSITION_PIECE);
    char *text = whole();
    assert_non_null(strstr(text, "\nloomgate_t{n=\"0\"} 0\nloomgate_t{n=\"1\"} 1\n"));
    assert_non_null(strstr(text, "\nloomgate_t{n=\"19999\"} 19999\n"));
    free(text);
}

static void the_last_reference_frees_it(void **state) {
    (void)state;
    exposition_family(e, "", "t", "T", EXPOSITION_GAUGE);
    exposition_put(e, &none, 1);
    exposition_ref(e);
    exposition_unref(e);
    expect("# HELP loomgate_t T\n# TYPE loomgate_t gauge\nloomgate_t 1\n");
    exposition_unref(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(counters_and_gauges),
        TEST(a_family_without_samples_is_not_told),
        TEST(fractions_have_no_zeros_behind),
        TEST(what_would_break_a_line_is_escaped),
        TEST(histograms_are_cumulative_and_end_with_inf),
        TEST(a_histogram_needs_no_labels),
        TEST(a_long_text_is_in_pieces),
        TEST(the_last_reference_frees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
