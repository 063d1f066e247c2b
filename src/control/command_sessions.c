/* command_sessions.c: exchanges in flight over all workers: shown, and ended by hand. */
#include "command_internal.h"

#include "loomgate/base/log.h"
#include "loomgate/proxy/roster.h"

#include <stdlib.h>

/* --- show sessions ---------------------------------------------------------------------------------------------- */

struct survey {
    struct call *call;
    struct roster_filter filter; /* its texts are the call's */
    unsigned count;
    struct roster v[]; /* one a worker */
};

static void take(struct env *env, unsigned worker, void *arg) {
    struct survey *s = arg;
    roster_take(&s->v[worker], env, &s->filter);
}

static int older_first(const void *a, const void *b) {
    const struct roster_entry *x = *(const struct roster_entry *const *)a, *y = *(const struct roster_entry *const *)b;
    return (x->age_us < y->age_us) - (x->age_us > y->age_us);
}

static void put_text(struct view_node *row, const char *name, struct slice text) {
    if (text.n)
        view_slice(row, name, text);
    else
        view_null(row, name);
}

static void put_session(struct view_node *row, const struct roster_entry *e) {
    char client[ADDR_TEXT_MAX];
    addr_print(&e->client, client);
    view_slice(row, "id", e->id);
    view_duration(row, "age", e->age_us);
    view_slice(row, "frontend", e->frontend);
    view_text(row, "client", client);
    put_text(row, "method", e->method);
    put_text(row, "host", e->host);
    put_text(row, "path", e->target);
    view_text(row, "phase", e->phase);
    view_number(row, "tries", e->tries);
    put_text(row, "backend", e->backend);
    put_text(row, "server", e->server);
    view_bytes(row, "bytes_in", e->bytes_in);
    view_bytes(row, "bytes_out", e->bytes_out);
}

/* Of each worker's oldest the oldest; returns how many are shown. */
static uint32_t put_sessions(struct view_node *list, const struct survey *s) {
    uint32_t count = 0;
    for (unsigned i = 0; i < s->count; i++) count += s->v[i].count;
    const struct roster_entry **rows = xcalloc(count, sizeof *rows);
    count = 0;
    for (unsigned i = 0; i < s->count; i++)
        for (uint32_t k = 0; k < s->v[i].count; k++) rows[count++] = &s->v[i].v[k];
    qsort(rows, count, sizeof *rows, older_first);
    if (count > ROSTER_MAX) count = ROSTER_MAX;
    for (uint32_t i = 0; i < count; i++) put_session(view_object(list, NULL), rows[i]);
    free(rows);
    return count;
}

static void on_taken(void *arg) {
    struct survey *s = arg;
    struct call *c = s->call;
    uint64_t matches = 0;
    uint32_t shown = put_sessions(view_list(&c->view.root, "sessions"), s);
    for (unsigned i = 0; i < s->count; i++) {
        matches += s->v[i].matches;
        roster_fini(&s->v[i]);
    }
    view_number(&c->view.root, "left_out", matches - shown);
    free(s);
    call_show(c);
}

static const char *server_name(const struct target *t) {
    return t->only->server->name;
}

/* False: the call has failed. */
static bool take_filter(struct call *c, struct roster_filter *f) {
    *f = (struct roster_filter){0};
    for (unsigned i = 0; i < c->words.count; i += 2) {
        struct target t;
        const struct frontend *frontend;
        if (i + 1 == c->words.count) {
            call_fail_usage(c);
            return false;
        }
        if (call_word_is(c, i, "frontend")) {
            if (!(frontend = call_take_frontend(c, i + 1))) return false;
            f->frontend = frontend->settings->name;
        } else if (call_word_is(c, i, "server")) {
            if (!call_take_target(c, i + 1, TARGET_SERVER, &t)) return false;
            f->backend = t.backend->settings->name;
            f->server = server_name(&t);
        } else if (call_word_is(c, i, "older")) {
            if (!call_take_duration(c, i + 1, &f->older_us)) return false;
        } else {
            call_fail_usage(c);
            return false;
        }
    }
    return true;
}

/* The configuration may be another one before all workers have answered. */
static const char *keep(struct call *c, const char *text) {
    return text ? arena_strndup(&c->arena, text, strlen(text)) : NULL;
}

static void keep_names(struct call *c, struct roster_filter *f) {
    f->frontend = keep(c, f->frontend);
    f->backend = keep(c, f->backend);
    f->server = keep(c, f->server);
}

static void survey(struct call *c, const struct roster_filter *filter, void (*done)(void *arg)) {
    struct runtime *r = c->control->runtime;
    unsigned count = runtime_worker_count(r);
    struct survey *s = xcalloc(1, sizeof *s + count * sizeof s->v[0]);
    s->call = c;
    s->count = count;
    s->filter = *filter;
    keep_names(c, &s->filter);
    for (unsigned i = 0; i < count; i++) roster_init(&s->v[i]);
    runtime_broadcast(r, take, done, s);
}

static void run_show(struct call *c) {
    struct roster_filter filter;
    if (take_filter(c, &filter)) survey(c, &filter, on_taken);
}

/* --- kill ------------------------------------------------------------------------------------------------------- */

struct kill {
    struct call *call;
    struct roster_filter filter;
    unsigned workers;
    uint32_t counts[]; /* ended by each worker */
};

static void kill_matches(struct env *env, unsigned worker, void *arg) {
    struct kill *k = arg;
    k->counts[worker] = roster_kill(env, &k->filter);
}

static void broadcast_kill(struct call *c, const struct roster_filter *filter, void (*done)(void *arg)) {
    unsigned workers = runtime_worker_count(c->control->runtime);
    struct kill *k = xcalloc(1, sizeof *k + workers * sizeof k->counts[0]);
    k->call = c;
    k->workers = workers;
    k->filter = *filter;
    keep_names(c, &k->filter);
    runtime_broadcast(c->control->runtime, kill_matches, done, k);
}

static uint32_t killed(const struct kill *k) {
    uint32_t sum = 0;
    for (unsigned i = 0; i < k->workers; i++) sum += k->counts[i];
    return sum;
}

static void on_killed(void *arg) {
    struct kill *k = arg;
    struct call *c = k->call;
    uint32_t count = killed(k);
    if (c->json) view_number(&c->view.root, "killed", count);
    free(k);
    call_ok(c, "%u session%s ended", count, count == 1 ? "" : "s");
}

static void run_kill_server(struct call *c) {
    struct target t;
    if (!call_take_target(c, 0, TARGET_SERVER, &t)) return;
    struct roster_filter filter = {.backend = t.backend->settings->name, .server = server_name(&t)};
    broadcast_kill(c, &filter, on_killed);
}

static void run_kill_frontend(struct call *c) {
    const struct frontend *f = call_take_frontend(c, 0);
    if (f) broadcast_kill(c, &(struct roster_filter){.frontend = f->settings->name}, on_killed);
}

/* --- kill session ID: which one it is comes first --------------------------------------------------------------- */

static void on_one_killed(void *arg) {
    struct kill *k = arg;
    struct call *c = k->call;
    if (killed(k)) {
        on_killed(k);
        return;
    }
    free(k);
    call_fail(c, COMMAND_CONFLICT, "the session has ended by itself meanwhile");
}

/* The whole id where it is one, else the only one that begins so; empty: the call has failed. Several that have the
 * same id (given by a client that is trusted) are one. */
static struct slice choose(struct call *c, const struct survey *s) {
    struct slice asked = s->filter.id, found = {NULL, 0};
    unsigned others = 0;
    for (unsigned i = 0; i < s->count; i++) {
        for (uint32_t k = 0; k < s->v[i].count; k++) {
            struct slice id = s->v[i].v[k].id;
            if (slice_eq(id, asked)) return asked;
            others += found.n && !slice_eq(found, id);
            if (!found.n) found = id;
        }
    }
    if (found.n && !others) return slice_from(arena_strndup(&c->arena, found.p, found.n), found.n);
    int shown = (int)(asked.n < 60 ? asked.n : 60);
    if (found.n)
        call_fail(c, COMMAND_CONFLICT, "several sessions have an id that begins with '%.*s'", shown, asked.p);
    else
        call_fail(c, COMMAND_CONFLICT, "no session has an id that begins with '%.*s'", shown, asked.p);
    return slice_from(NULL, 0);
}

static void on_found(void *arg) {
    struct survey *s = arg;
    struct call *c = s->call;
    struct slice id = choose(c, s);
    for (unsigned i = 0; i < s->count; i++) roster_fini(&s->v[i]);
    free(s);
    if (id.n) broadcast_kill(c, &(struct roster_filter){.id = id, .whole_id = true}, on_one_killed);
}

static void run_kill(struct call *c) {
    struct slice id = c->words.v[0].text;
    if (!id.n || id.n > REQUEST_ID_MAX)
        call_fail_usage(c);
    else
        survey(c, &(struct roster_filter){.id = id}, on_found);
}

const struct command commands_sessions[] = {
    {.words = "show sessions",
     .arguments = "[frontend FRONTEND] [server BACKEND/SERVER] [older DURATION]",
     .max = 6,
     .run = run_show,
     .help = "exchanges in flight, the oldest first, at most 1000: client, request, phase, tries, server, bytes",
     .example = "show sessions older 10s"},
    {.words = "kill session",
     .arguments = "ID",
     .min = 1,
     .max = 1,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_kill,
     .help = "ends the exchange with this id, or the only one whose id begins so",
     .example = "kill session 019ab3c4-d2f0"},
    {.words = "kill sessions server",
     .arguments = "BACKEND/SERVER",
     .min = 1,
     .max = 1,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_kill_server,
     .help = "ends all exchanges that use the server now",
     .example = "kill sessions server app/a2"},
    {.words = "kill sessions frontend",
     .arguments = "FRONTEND",
     .min = 1,
     .max = 1,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_kill_frontend,
     .help = "ends all exchanges of the frontend",
     .example = "kill sessions frontend web"},
    {.words = NULL},
};
