/* telemetry_read.c: what a series was like: windows, totals, distributions. */
#include <string.h>

#include "telemetry_internal.h"

static double per_second(uint64_t n, uint64_t span_us) {
    return span_us ? (double)n * 1e6 / (double)span_us : 0;
}

/* Who did not wait has waited for no time. */
static void add_unqueued(struct digest_sum *sum) {
    uint64_t waited = 0, all = sum->tallies[TALLY_EXCHANGES];
    for (unsigned i = 0; i < sum->end[MEASURE_QUEUE]; i++) waited += sum->buckets[MEASURE_QUEUE][i];
    if (waited >= all) return;
    sum->buckets[MEASURE_QUEUE][0] += all - waited;
    if (!sum->end[MEASURE_QUEUE]) sum->end[MEASURE_QUEUE] = 1;
}

static void show(const struct digest_sum *sum, struct stats_view *out) {
    const uint64_t *n = sum->tallies;
    out->exchanges = n[TALLY_EXCHANGES];
    out->errors = n[TALLY_ERRORS];
    out->tries = n[TALLY_TRIES];
    out->retries = n[TALLY_RETRIES];
    out->bytes_in = n[TALLY_BYTES_IN];
    out->bytes_out = n[TALLY_BYTES_OUT];
    out->rps = per_second(out->exchanges, out->span_us);
    out->error_rate = out->exchanges ? (double)out->errors / (double)out->exchanges : 0;
    out->retries_per_s = per_second(out->retries, out->span_us);
    out->bytes_in_per_s = per_second(out->bytes_in, out->span_us);
    out->bytes_out_per_s = per_second(out->bytes_out, out->span_us);
    for (unsigned m = 0; m < MEASURE_COUNT; m++) histogram_summarise(sum->buckets[m], sum->end[m], &out->measures[m]);
}

bool window_read(const struct telemetry *t, const struct series *s, unsigned window, struct stats_view *out) {
    const struct timeline *l = &t->timeline;
    *out = (struct stats_view){0};
    if (!l->slice_count) return false;
    struct digest_sum *sum = &t->scratch->sum;
    unsigned count = timeline_reach(l, window, &out->span_us);
    out->length_us = l->windows[window];
    digest_sum_clear(sum);
    for (unsigned i = l->slice_count - count; i < l->slice_count; i++) {
        const struct digest *d = s->history && s->history->slots ? s->history->slots[l->slices[i].slot] : NULL;
        if (d) digest_add_to(d, sum);
    }
    add_unqueued(sum);
    show(sum, out);
    return true;
}

static void add_causes(const struct shard *shard, uint64_t causes[FAILURE_COUNT]) {
    _Atomic uint64_t *kept = atomic_load_explicit(&shard->causes, memory_order_acquire);
    for (unsigned f = 0; kept && f < FAILURE_COUNT; f++)
        causes[f] += atomic_load_explicit(&kept[f], memory_order_relaxed);
}

void telemetry_totals(const struct telemetry *t, const struct series *s, struct stats_totals *out) {
    const struct history *h = s->history;
    *out = (struct stats_totals){0};
    for (unsigned i = 0; i < t->recorder_count; i++) {
        const struct shard *shard = recorder_find(t->recorders[i], s->id);
        if (!shard) continue;
        for (unsigned k = 0; k < TALLY_COUNT; k++)
            out->tallies[k] += atomic_load_explicit(&shard->tallies[k], memory_order_relaxed);
        add_causes(shard, out->causes);
    }
    if (!h || !h->base_causes) return;
    for (unsigned k = 0; k < TALLY_COUNT; k++) out->tallies[k] -= h->base_tallies[k];
    for (unsigned f = 0; f < FAILURE_COUNT; f++) out->causes[f] -= h->base_causes[f];
}

uint64_t telemetry_gauge(const struct telemetry *t, const struct series *s, enum gauge g) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < t->recorder_count; i++) {
        const struct shard *shard = recorder_find(t->recorders[i], s->id);
        if (shard) sum += atomic_load_explicit(&shard->gauges[g], memory_order_relaxed);
    }
    return sum;
}

void telemetry_distribution(const struct series *s, enum measure m, struct stats_distribution *out) {
    const struct history *h = s->history;
    *out = (struct stats_distribution){0};
    if (!h) return;
    for (unsigned b = 0; b < HISTOGRAM_BLOCKS; b++) {
        out->count += h->passed[m][b];
        out->below[b] = out->count;
    }
    out->sum_us = h->tallies[TALLY_SUM_US + m] - h->base_tallies[TALLY_SUM_US + m];
}
