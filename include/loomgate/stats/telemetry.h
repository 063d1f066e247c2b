/* telemetry.h: the control thread's side of the analytics: which series there are, and what they were like lately.
 *
 *   workers: recorder_add() --shards--> telemetry_tick(), once a second: differences --> slices of time (window.h)
 *   commands: telemetry_next(), telemetry_find() --> window_read(): the last 10 s ... , telemetry_totals(): ever
 *
 * A series is a frontend, route, backend or server by its name. It lives as long as a snapshot refers to it, so it
 * outlives a reload that keeps the name. Everything here belongs to the control thread, but for `id`, `kind` and the
 * names, which never change while a worker can see them. */
#ifndef LOOMGATE_STATS_TELEMETRY_H
#define LOOMGATE_STATS_TELEMETRY_H

#include "loomgate/base/facts.h"
#include "loomgate/base/list.h"
#include "loomgate/base/map.h"
#include "loomgate/stats/recorder.h"
#include "loomgate/stats/window.h"

#include <stdbool.h>

enum series_kind { SERIES_FRONTEND, SERIES_ROUTE, SERIES_BACKEND, SERIES_SERVER, SERIES_KINDS };

struct series {
    uint32_t id; /* dense, below SERIES_MAX; where each worker has its shard. Another series' after this one's end */
    enum series_kind kind;
    const char *owner; /* of a route its frontend, of a server its backend; else "" */
    const char *name;
    unsigned refs;
    struct list node;        /* among those of its kind, the eldest first */
    struct slice key;        /* in the map */
    struct history *history; /* NULL: no traffic yet */
};

/* "frontend", "route", "backend", "server". */
const char *series_kind_name(enum series_kind kind);

struct telemetry {
    struct list kinds[SERIES_KINDS];
    struct map map;
    uint32_t *free_ids; /* of series that have ended */
    uint32_t free_count, free_room, id_limit;
    const struct recorder **recorders;
    unsigned recorder_count;
    struct timeline timeline;
    struct telemetry_scratch *scratch; /* NULL until it is first needed */
    size_t series_bytes, history_bytes;
};

void telemetry_init(struct telemetry *t);
/* All series must have been released. */
void telemetry_fini(struct telemetry *t);
/* Once for each worker, before it records. Borrowed: nothing may be asked of `t` once a recorder has ended, but for
 * telemetry_release() and telemetry_fini(). */
void telemetry_add_recorder(struct telemetry *t, const struct recorder *r);
/* Up to WINDOWS_MAX lengths, ascending, at least 1 s each; none: as before. Other ones than before begin anew at
 * `now_us` (CLOCK_MONOTONIC). Without any, ticks do nothing. */
void telemetry_set_windows(struct telemetry *t, const uint64_t *lengths_us, unsigned count, uint64_t now_us);

/* --- series ----------------------------------------------------------------------------------------------------- */

/* The series of that name, made when there is none, with a reference for the caller. Names are copied. */
struct series *telemetry_acquire(struct telemetry *t, enum series_kind kind, const char *owner, const char *name);
/* After the last reference it is gone, with its windows. No worker may still know it. NULL is fine. */
void telemetry_release(struct telemetry *t, struct series *s);
struct series *telemetry_find(const struct telemetry *t, enum series_kind kind, const char *owner, const char *name);
/* Walks all series: frontends, routes, backends, servers, each in the order in which they came (the configuration's).
 * Begin with NULL; NULL at the end. */
struct series *telemetry_next(const struct telemetry *t, const struct series *after);

/* --- time ------------------------------------------------------------------------------------------------------- */

/* Takes what has come since the last tick. Once a second, give or take; a late one only makes a longer slice. More
 * often does no harm and makes readings fresher. */
void telemetry_tick(struct telemetry *t, uint64_t now_us);

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* The last `length_us` up to the last tick. Where `exchanges` is 0 there is no error rate, and where a measure's count
 * is 0 there are no percentiles: null, not 0. */
struct stats_view {
    uint64_t length_us; /* of the window */
    uint64_t span_us;   /* what it covers now: its length, give or take half a slice; less soon after the start */
    uint64_t exchanges, errors, tries, retries, bytes_in, bytes_out;
    double rps, error_rate, retries_per_s, bytes_in_per_s, bytes_out_per_s; /* over span_us */
    /* Of QUEUE: over all exchanges, 0 for who did not wait. */
    struct histogram_summary measures[MEASURE_COUNT];
};
/* `window`: index into t->timeline.windows. False, with everything 0, before the first tick. */
bool window_read(const struct telemetry *t, const struct series *s, unsigned window, struct stats_view *out);
/* The window of that length, or the next longer one, or the longest. */
unsigned telemetry_window_find(const struct telemetry *t, uint64_t length_us);

/* Everything since the series came, to this moment (not only to the last tick). */
struct stats_totals {
    uint64_t tallies[TALLY_COUNT];
    uint64_t causes[FAILURE_COUNT]; /* errors by cause; their sum is TALLY_ERRORS but for what moves meanwhile */
};
void telemetry_totals(const struct telemetry *t, const struct series *s, struct stats_totals *out);

/* What is now, over all workers; momentarily off by what moves meanwhile. */
uint64_t telemetry_gauge(const struct telemetry *t, const struct series *s, enum gauge g);

/* A cumulative histogram since the series came, to the last tick; for Prometheus. below[i] durations were less than
 * histogram_block_limit_us(i); `count` is the last of them. QUEUE: only those who waited. */
struct stats_distribution {
    uint64_t count, sum_us;
    uint64_t below[HISTOGRAM_BLOCKS];
};
void telemetry_distribution(const struct series *s, enum measure m, struct stats_distribution *out);

/* --- over to another process (telemetry_carry.c) ----------------------------------------------------------------- */

/* Lines of facts: the totals and distributions of a series since it came, up to the last tick. */
void telemetry_print(const struct telemetry *t, const struct series *s, FILE *out);
/* Such a line: its series, if there is one of that name, has had this before. Windows are not meant: they begin anew.
 * False: the line is of another kind. */
bool telemetry_take(struct telemetry *t, const struct facts *f);

/* --- memory ------------------------------------------------------------------------------------------------------ */

/* Bytes of the heap, for `show memory`. */
struct telemetry_memory {
    size_t shards;  /* of all workers */
    size_t windows; /* slices, and what differences are taken against */
    size_t series;  /* names and registry */
};
struct telemetry_memory telemetry_memory(const struct telemetry *t);

#endif
