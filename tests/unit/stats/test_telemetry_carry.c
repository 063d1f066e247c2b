/* test_telemetry_carry.c: totals and distributions go over to another process and go on there; windows begin anew. */
#include "telemetry_bed.h"

#include <stdlib.h>

static char *text;

static int tear_down(void **state) {
    free(text);
    text = NULL;
    return bed_tear_down(state);
}

static void print(const struct series *s) {
    size_t len;
    FILE *out = open_memstream(&text, &len);
    telemetry_print(&tb.t, s, out);
    fclose(out);
}

/* Each line of `lines`; how many were of a kind that is known. */
static unsigned take(const char *lines) {
    char *copy = strdup(lines), *rest = copy, *line;
    struct facts f;
    unsigned known = 0;
    while ((line = strsep(&rest, "\n")))
        if (facts_read(&f, line)) known += telemetry_take(&tb.t, &f);
    free(copy);
    return known;
}

/* The other process. */
static void begin_anew(void) {
    void *none = NULL;
    bed_tear_down(&none);
    bed_set_up(&none);
}

static void add_some(void) {
    struct sample good = {.us = {4000, 3000, 120, SAMPLE_NONE}, .bytes_in = 100, .bytes_out = 5000, .tries = 1};
    struct sample bad = {.us = {9000, SAMPLE_NONE, SAMPLE_NONE, 500}, .tries = 3, .retries = 2};
    bad.error = FAILURE_connect_timeout;
    for (unsigned i = 0; i < 19; i++) bed_add(i % BED_WORKERS, tb.server, &good);
    bed_add(0, tb.server, &bad);
    bed_tick(1 * S);
}

static void totals_and_distributions_go_on(void **state) {
    (void)state;
    struct stats_distribution d[MEASURE_COUNT], later;
    add_some();
    struct stats_totals before = bed_totals(tb.server);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) telemetry_distribution(tb.server, (enum measure)m, &d[m]);
    print(tb.server);
    begin_anew();
    assert_int_equal(take(text), 2 + MEASURE_COUNT);
    struct stats_totals after = bed_totals(tb.server);
    assert_memory_equal(&before, &after, sizeof after);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        telemetry_distribution(tb.server, (enum measure)m, &later);
        assert_memory_equal(&later, &d[m], sizeof later);
    }
    bed_tick(1 * S);
    assert_int_equal(bed_count(tb.server, LAST_10S), 0); /* not in this process */
    add_some();
    after = bed_totals(tb.server);
    for (unsigned k = 0; k < TALLY_COUNT; k++) assert_true(after.tallies[k] == 2 * before.tallies[k]);
    assert_int_equal(after.causes[FAILURE_connect_timeout], 2);
    assert_int_equal(bed_count(tb.server, LAST_10S), 20);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) {
        telemetry_distribution(tb.server, (enum measure)m, &later);
        assert_true(later.count == 2 * d[m].count && later.sum_us == 2 * d[m].sum_us);
        for (unsigned b = 0; b < HISTOGRAM_BLOCKS; b++) assert_true(later.below[b] == 2 * d[m].below[b]);
    }
}

static void a_series_without_traffic_is_nothing(void **state) {
    (void)state;
    print(tb.server);
    assert_string_equal(text, "");
}

/* What comes before the first tick of the new process is not lost, nor counted twice. */
static void an_upgrade_of_an_upgrade(void **state) {
    (void)state;
    for (unsigned n = 1; n <= 3; n++) {
        add_some();
        assert_int_equal(bed_totals(tb.server).tallies[TALLY_EXCHANGES], 20 * n);
        free(text);
        print(tb.server);
        begin_anew();
        take(text);
    }
    assert_int_equal(bed_totals(tb.server).causes[FAILURE_connect_timeout], 3);
}

static void what_is_unknown_or_broken_does_no_harm(void **state) {
    (void)state;
    struct stats_distribution d;
    assert_int_equal(take("later kind=server owner=app name=a1\nserver backend=app name=a1"), 0);
    assert_int_equal(take("series kind=server owner=app name=gone exchanges=5\n"
                          "series kind=planet owner=app name=a1 exchanges=5\n"
                          "series owner=app name=a1 exchanges=5\nseries\n"
                          "series kind=server owner=app name=a1 exchanges=-5 errors=x later=9\n"
                          "causes kind=server owner=app name=a1 no_such_failure=3 ok=1e9\n"
                          "passed kind=server owner=app name=a1 below_64=3\n"
                          "passed kind=server owner=app name=a1 measure=mood below_64=3\n"
                          "passed kind=server owner=app name=a1 measure=total_us below_64=x below_65=9"),
                     9);
    struct stats_totals totals = bed_totals(tb.server), nothing = {0};
    assert_memory_equal(&totals, &nothing, sizeof nothing);
    telemetry_distribution(tb.server, MEASURE_TOTAL, &d);
    assert_true(d.count == 0 && d.sum_us == 0);
}

int main(void) {
#define CARRY(test) cmocka_unit_test_setup_teardown(test, bed_set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CARRY(totals_and_distributions_go_on),
        CARRY(a_series_without_traffic_is_nothing),
        CARRY(an_upgrade_of_an_upgrade),
        CARRY(what_is_unknown_or_broken_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
