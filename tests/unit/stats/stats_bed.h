/* stats_bed.h: durations of known distributions, and their percentiles from the sorted sample. */
#ifndef TESTS_UNIT_STATS_BED_H
#define TESTS_UNIT_STATS_BED_H

#include "../../support/random.h"

#include "loomgate/stats/histogram.h"

#include <math.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HOUR_US 3600e6

/* In (0, 1). */
static inline double random_unit(struct random *r) {
    return ((double)(random_next(r) >> 12) + 0.5) / 4503599627370496.0;
}

static inline double draw_constant(struct random *r) {
    (void)r;
    return 4321;
}
static inline double draw_uniform(struct random *r) {
    return 1000 + 9000 * random_unit(r);
}
static inline double draw_exponential(struct random *r) {
    return -20000 * log(random_unit(r));
}
static inline double draw_bimodal(struct random *r) {
    double middle = random_once_in(r, 20) ? 2e6 : 800;
    return middle * (0.9 + 0.2 * random_unit(r));
}
/* Pareto with alpha 1.1: its variance is infinite. */
static inline double draw_heavy_tail(struct random *r) {
    return 300 / pow(random_unit(r), 1 / 1.1);
}
/* 1 us to 1 h, each octave as often as any other. */
static inline double draw_all_octaves(struct random *r) {
    return exp(log(HOUR_US) * random_unit(r));
}
/* 1 to 60 us. */
static inline double draw_tiny(struct random *r) {
    return 1 + 60 * random_unit(r);
}
/* A server: median 5 ms, P99 about 51 ms. */
static inline double draw_lognormal(struct random *r) {
    double normal = sqrt(-2 * log(random_unit(r))) * cos(6.283185307179586 * random_unit(r));
    return 5000 * exp(normal);
}

static const struct distribution {
    const char *name;
    double (*draw)(struct random *r);
} distributions[] = {
    {"constant", draw_constant},       {"uniform", draw_uniform},       {"exponential", draw_exponential},
    {"bimodal", draw_bimodal},         {"heavy tail", draw_heavy_tail}, {"1 us to 1 h", draw_all_octaves},
    {"a few microseconds", draw_tiny}, {"lognormal", draw_lognormal},
};

static inline uint64_t draw_us(const struct distribution *d, struct random *r) {
    double us = d->draw(r);
    return us < 1 ? 1 : us > HOUR_US ? (uint64_t)HOUR_US : (uint64_t)us;
}

static inline int compare_us(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static inline void assert_near(const char *what, double permille, double got, uint64_t exact) {
    if (fabs(got - (double)exact) > (double)exact / 100)
        fail_msg("%s: P%g is %g us, not %g", what, permille / 10, got, (double)exact);
}

/* Sorts the sample. All percentiles of the summary are within 1 % of the sample's own, by nearest rank. */
static inline void assert_summary(const char *what, const struct histogram_summary *s, uint64_t *sample, size_t n) {
    const struct {
        unsigned permille;
        double got;
    } rows[] = {{500, s->p50_us}, {900, s->p90_us},  {950, s->p95_us},
                {990, s->p99_us}, {999, s->p999_us}, {1000, s->max_us}};
    qsort(sample, n, sizeof *sample, compare_us);
    assert_int_equal(s->count, n);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t rank = (n * rows[i].permille + 999) / 1000;
        assert_near(what, rows[i].permille, rows[i].got, sample[rank - 1]);
    }
}

#endif
