/* telemetry_carry.c: what series have had so far, as facts, for the process that takes over.
 *
 *   series   kind owner name, each tally that is not 0
 *   causes   kind owner name, errors by cause
 *   passed   kind owner name, measure, sum, durations by block of the histogram */
#include <inttypes.h>
#include <string.h>

#include "telemetry_internal.h"

static const char *const tally_names[TALLY_COUNT] = {
    [TALLY_EXCHANGES] = "exchanges",
    [TALLY_ERRORS] = "errors",
    [TALLY_TRIES] = "tries",
    [TALLY_RETRIES] = "retries",
    [TALLY_BYTES_IN] = "bytes_in",
    [TALLY_BYTES_OUT] = "bytes_out",
    [TALLY_SUM_US + MEASURE_TOTAL] = "total_us",
    [TALLY_SUM_US + MEASURE_FIRST_BYTE] = "first_byte_us",
    [TALLY_SUM_US + MEASURE_CONNECT] = "connect_us",
    [TALLY_SUM_US + MEASURE_QUEUE] = "queue_us",
};

/* --- printing --------------------------------------------------------------------------------------------------- */

static void begin(const struct series *s, const char *kind, FILE *out) {
    facts_begin(out, kind);
    facts_text(out, "kind", series_kind_name(s->kind));
    facts_text(out, "owner", s->owner);
    facts_text(out, "name", s->name);
}

static void print_passed(const struct series *s, unsigned m, FILE *out) {
    const struct history *h = s->history;
    char key[24];
    begin(s, "passed", out);
    facts_text(out, "measure", tally_names[TALLY_SUM_US + m]);
    for (unsigned b = 0; b < HISTOGRAM_BLOCKS; b++) {
        if (!h->passed[m][b]) continue;
        snprintf(key, sizeof key, "below_%" PRIu64, histogram_block_limit_us(b));
        facts_number(out, key, h->passed[m][b]);
    }
    facts_end(out);
}

void telemetry_print(const struct telemetry *t, const struct series *s, FILE *out) {
    struct stats_totals totals;
    telemetry_totals(t, s, &totals);
    if (!totals.tallies[TALLY_EXCHANGES]) return;
    begin(s, "series", out);
    for (unsigned k = 0; k < TALLY_COUNT; k++)
        if (totals.tallies[k]) facts_number(out, tally_names[k], totals.tallies[k]);
    facts_end(out);
    if (totals.tallies[TALLY_ERRORS]) {
        begin(s, "causes", out);
        for (unsigned f = 0; f < FAILURE_COUNT; f++)
            if (totals.causes[f]) facts_number(out, failure_get((enum failure)f)->name, totals.causes[f]);
        facts_end(out);
    }
    for (unsigned m = 0; s->history && m < MEASURE_COUNT; m++) print_passed(s, m, out);
}

/* --- taking ----------------------------------------------------------------------------------------------------- */

static struct series *find_series(const struct telemetry *t, const struct facts *f) {
    const char *kind = facts_find(f, "kind"), *owner = facts_find(f, "owner"), *name = facts_find(f, "name");
    for (unsigned k = 0; kind && owner && name && k < SERIES_KINDS; k++)
        if (strcmp(kind, series_kind_name((enum series_kind)k)) == 0)
            return telemetry_find(t, (enum series_kind)k, owner, name);
    return NULL;
}

static void take_tallies(struct history *h, const struct facts *f) {
    for (unsigned k = 0; k < TALLY_COUNT; k++) h->base_tallies[k] -= facts_get_number(f, tally_names[k]);
}

static void take_causes(struct history *h, const struct facts *f) {
    for (unsigned i = 0; i < FAILURE_COUNT; i++)
        h->base_causes[i] -= facts_get_number(f, failure_get((enum failure)i)->name);
}

static void take_passed(struct history *h, const struct facts *f) {
    const char *measure = facts_find(f, "measure");
    char key[24];
    unsigned m = 0;
    while (m < MEASURE_COUNT && !(measure && strcmp(measure, tally_names[TALLY_SUM_US + m]) == 0)) m++;
    for (unsigned b = 0; m < MEASURE_COUNT && b < HISTOGRAM_BLOCKS; b++) {
        snprintf(key, sizeof key, "below_%" PRIu64, histogram_block_limit_us(b));
        h->passed[m][b] += facts_get_number(f, key);
    }
}

bool telemetry_take(struct telemetry *t, const struct facts *f) {
    static const struct {
        const char *kind;
        void (*take)(struct history *h, const struct facts *f);
    } rows[] = {{"series", take_tallies}, {"causes", take_causes}, {"passed", take_passed}};
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        if (strcmp(f->kind, rows[i].kind) != 0) continue;
        struct series *s = find_series(t, f);
        if (s) rows[i].take(history_need_base(t, s), f);
        return true;
    }
    return false;
}
