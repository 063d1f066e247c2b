/* upgrade_state.c: the state of everything as lines of facts, from the old process to the new one.
 *
 *   loomgate-state version=1
 *   process   counters   series, causes, passed   override   server       each is told by the area that it belongs to
 *   end                                                                   all of it has been written
 *
 * A reader passes over what it does not know, and leaves as it was what it does not find. Times travel as how long ago,
 * or how long still. */
#include "loomgate/base/event.h"

#include <stdlib.h>

#include "runtime_internal.h"

static const char head[] = "loomgate-state", end[] = "end";
enum { STATE_VERSION = 1 };

/* --- printing --------------------------------------------------------------------------------------------------- */

static void print_process(struct runtime *r, FILE *out) {
    facts_begin(out, "process");
    facts_number(out, "uptime_us", r->loop.now_us - r->start_us);
    facts_number(out, "reloads", r->snapshot->number);
    facts_number(out, "reloads_failed", r->reloads_failed);
    if (r->reloaded_us) facts_number(out, "reloaded_us", r->loop.now_us - r->reloaded_us);
    facts_number(out, "upgrades", r->upgrades + 1);
    facts_end(out);
}

static void print_counters(const struct runtime *r, FILE *out) {
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = metric_get((enum metric)m);
        uint64_t value = row->kind == METRIC_COUNTER ? runtime_metric(r, (enum metric)m) : 0;
        if (!value) continue;
        facts_begin(out, "counter");
        facts_text(out, "name", row->name);
        facts_number(out, "value", value);
        facts_end(out);
    }
}

static void print_servers(const struct runtime *r, FILE *out) {
    for (uint32_t i = 0; i < r->snapshot->backend_count; i++) {
        const struct backend *b = &r->snapshot->backends[i];
        for (uint32_t k = 0; k < b->member_count; k++)
            server_print(b->members[k].server, b->members[k].breaker, r->loop.now_us, out);
        for (uint32_t k = 0; k < b->backup_count; k++)
            server_print(b->backups[k].server, b->backups[k].breaker, r->loop.now_us, out);
    }
}

void upgrade_print(struct runtime *r, FILE *out) {
    const struct telemetry *t = &r->registry.telemetry;
    loop_update_clock(&r->loop);
    telemetry_tick(&r->registry.telemetry, r->loop.now_us);
    facts_begin(out, head);
    facts_number(out, "version", STATE_VERSION);
    facts_text(out, "program", LG_VERSION);
    facts_end(out);
    print_process(r, out);
    print_counters(r, out);
    for (const struct series *s = NULL; (s = telemetry_next(t, s));) telemetry_print(t, s, out);
    overrides_print(r, out);
    print_servers(r, out);
    facts_begin(out, end);
    facts_end(out);
}

/* --- taking ----------------------------------------------------------------------------------------------------- */

static void take_process(struct runtime *r, const struct facts *f) {
    uint64_t uptime_us, reloaded_us, now_us = r->loop.now_us;
    if (facts_find_number(f, "uptime_us", now_us - 1, &uptime_us)) r->start_us = now_us - uptime_us;
    if (facts_find_number(f, "reloaded_us", now_us - 1, &reloaded_us)) r->reloaded_us = now_us - reloaded_us;
    facts_find_number(f, "reloads", UINT64_MAX, &r->snapshot->number);
    facts_find_number(f, "reloads_failed", UINT64_MAX, &r->reloads_failed);
    facts_find_number(f, "upgrades", UINT64_MAX, &r->upgrades);
}

static void take_counter(struct runtime *r, const struct facts *f) {
    const char *name = facts_find(f, "name");
    for (unsigned m = 0; name && m < METRIC_COUNT; m++) {
        const struct metric_row *row = metric_get((enum metric)m);
        if (row->kind == METRIC_COUNTER && strcmp(row->name, name) == 0)
            metrics_add(&r->metrics, (enum metric)m, facts_get_number(f, "value"));
    }
}

static void take_line(struct runtime *r, const struct facts *f) {
    if (strcmp(f->kind, "process") == 0)
        take_process(r, f);
    else if (strcmp(f->kind, "counter") == 0)
        take_counter(r, f);
    else if (strcmp(f->kind, "override") == 0)
        override_take(r, f);
    else
        telemetry_take(&r->registry.telemetry, f);
}

static const struct balance_member *find_member(const struct backend *b, const char *name) {
    for (uint32_t i = 0; i < b->member_count; i++)
        if (strcmp(b->members[i].server->name, name) == 0) return &b->members[i];
    for (uint32_t i = 0; i < b->backup_count; i++)
        if (strcmp(b->backups[i].server->name, name) == 0) return &b->backups[i];
    return NULL;
}

/* Servers come in the order of their backends, so the one at hand is mostly the one before. */
static void take_server(struct runtime *r, const struct backend **at, const struct facts *f) {
    const char *backend = facts_find(f, "backend"), *name = facts_find(f, "name");
    if (!backend || !name) return;
    if (!*at || strcmp((*at)->settings->name, backend) != 0) *at = backend_find(r, backend);
    const struct balance_member *m = *at ? find_member(*at, name) : NULL;
    if (m) server_take(m->server, m->breaker, r->loop.now_us, f);
}

/* What operators have set comes before what else is known of servers, wherever the lines stand: `servers` tells which
 * of both. */
static void take_pass(struct runtime *r, char *const *lines, size_t count, bool servers) {
    const struct backend *at = NULL;
    struct facts f;
    for (size_t i = 0; i < count; i++) {
        bool is_server = slice_has_prefix(slice_of(lines[i]), SLICE("server "));
        if (is_server != servers || !facts_read(&f, lines[i])) continue;
        if (servers)
            take_server(r, &at, &f);
        else
            take_line(r, &f);
    }
}

/* All lines without their ends, on the heap. */
static char **read_lines(FILE *in, size_t *count) {
    char **lines = NULL, *line = NULL;
    size_t room = 0;
    ssize_t n;
    *count = 0;
    while ((n = getline(&line, &room, in)) > 0) {
        if (line[n - 1] == '\n') line[n - 1] = '\0';
        if (*count % 256 == 0) lines = xrealloc(lines, (*count + 256) * sizeof *lines);
        lines[(*count)++] = xstrdup(line);
    }
    free(line);
    return lines;
}

/* The first line and the last one are as they were written. */
static bool is_whole(char *const *lines, size_t count) {
    return count >= 2 && slice_has_prefix(slice_of(lines[0]), slice_of(head)) && strcmp(lines[count - 1], end) == 0;
}

bool upgrade_take(struct runtime *r, FILE *in) {
    size_t count;
    char **lines = read_lines(in, &count);
    bool ok = is_whole(lines, count);
    loop_update_clock(&r->loop);
    if (ok) {
        take_pass(r, lines, count, false);
        overrides_apply(r);
        take_pass(r, lines, count, true);
    }
    for (size_t i = 0; i < count; i++) free(lines[i]);
    free(lines);
    return ok;
}
