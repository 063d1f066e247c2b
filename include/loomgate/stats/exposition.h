/* exposition.h: metrics as text, in Prometheus' exposition format 0.0.4: one thread writes it, then any may read it.
 *
 *   # HELP loomgate_server_tries_total Tries ended            a family: a name, what it means, its type,
 *   # TYPE loomgate_server_tries_total counter
 *   loomgate_server_tries_total{backend="app",server="a1"} 7  and its samples, told apart by labels
 *
 * A family without a sample leaves no line. The caller writes each family and each sample of it once. */
#ifndef LOOMGATE_STATS_EXPOSITION_H
#define LOOMGATE_STATS_EXPOSITION_H

#include "loomgate/base/slice.h"

#include <stdatomic.h>

#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum {
    EXPOSITION_PIECE = 65536, /* bytes of text that a piece has room for */
    EXPOSITION_NAME_MAX = 128,
    EXPOSITION_LABELS_MAX = 1024,
};

struct exposition_piece {
    struct exposition_piece *next;
    uint32_t size;
    char text[EXPOSITION_PIECE];
};

enum exposition_type { EXPOSITION_COUNTER, EXPOSITION_GAUGE, EXPOSITION_HISTOGRAM };

struct exposition {
    _Atomic unsigned refs;
    struct exposition_piece *first, *last;
    size_t bytes;
    struct { /* the family at hand */
        char name[EXPOSITION_NAME_MAX];
        const char *help;
        enum exposition_type type;
        bool is_told;
    } family;
};

/* Empty, with one reference. Nobody but its writer may have it until the last line is written. */
struct exposition *exposition_new(void);
/* Any thread. */
void exposition_ref(struct exposition *e);
/* Any thread; the last one frees it. NULL is fine. */
void exposition_unref(struct exposition *e);

/* What tells samples of a family apart; escaped here. */
struct exposition_labels {
    size_t n;
    char text[EXPOSITION_LABELS_MAX];
};
/* Names and values together have at most a few hundred bytes, which the configuration sees to. */
void exposition_label(struct exposition_labels *l, const char *name, const char *value);

/* The samples that follow are of the family "loomgate_" prefix name (in all less than EXPOSITION_NAME_MAX). `help` is
 * borrowed until the next family. */
void exposition_family(struct exposition *e, const char *prefix, const char *name, const char *help,
                       enum exposition_type type);
/* One sample. */
void exposition_put(struct exposition *e, const struct exposition_labels *l, uint64_t value);
/* The same, of a number of millionths: seconds, say, from microseconds. */
void exposition_put_millionths(struct exposition *e, const struct exposition_labels *l, uint64_t value);

/* Cumulative: below[i] of `count` are less than limits_us[i] microseconds; ascending. */
struct exposition_histogram {
    const uint64_t *limits_us, *below;
    unsigned buckets;
    uint64_t count, sum_us;
};
/* All samples of one histogram, in seconds. */
void exposition_put_histogram(struct exposition *e, const struct exposition_labels *l,
                              const struct exposition_histogram *h);

#endif
