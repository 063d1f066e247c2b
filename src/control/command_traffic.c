/* command_traffic.c: servers in and out of rotation: drain, ready, maint, and waiting until nothing runs on them.
 *
 *   words --> runtime_override of each server --all workers heed all of them--> the answer
 *                                                     \--wait: LOOKING: a look each LOOK_US, a line each TELL_US
 *                                                          nothing runs | too late | ready again | gone --> the answer
 */
#include "command_internal.h"

#include "loomgate/runtime/override.h"

#include <inttypes.h>
#include <stdlib.h>

enum { LOOK_US = 20000, TELL_US = 1000000, NAME_MAX = 200 };

/* A call under way. */
struct traffic {
    struct call *call;
    enum server_admin to;
    uint64_t for_us;
    unsigned pending; /* servers whose change not all workers heed yet */
    unsigned changed; /* servers that were in another state */
    bool waits, is_abandoned;
    uint64_t patience_us; /* how long to wait at most; UINT64_MAX: for ever */
    uint64_t began_us, told_us;
    struct deadline look;
};

/* --- what is seen ----------------------------------------------------------------------------------------------- */

struct survey {
    unsigned servers, ready, active;
    bool is_last;             /* no server of the backend can be used */
    char name[NAME_MAX];      /* "app/a2", "the 3 servers of app" */
    const char *is, *takes;   /* in the number of the name */
    enum standing standing;   /* of the only server */
    const struct server *one; /* NULL: several are meant */
};

static bool is_out(const struct backend *b, uint64_t now_us) {
    struct target all = {b, NULL};
    const struct balance_member *m;
    for (uint32_t at = 0; (m = target_next(&all, &at));)
        if (member_standing(m, now_us) != STANDING_OUT) return false;
    return true;
}

static void survey(const struct target *t, uint64_t now_us, struct survey *s) {
    const struct balance_member *m;
    *s = (struct survey){.is = "is", .takes = "takes", .is_last = is_out(t->backend, now_us)};
    for (uint32_t at = 0; (m = target_next(t, &at)); s->servers++) {
        s->ready += server_admin_get(m->server) == SERVER_READY;
        s->active += server_active(m->server);
    }
    if (t->only) {
        s->one = t->only->server;
        s->standing = member_standing(t->only, now_us);
        snprintf(s->name, sizeof s->name, "%s/%s", s->one->backend, s->one->name);
    } else {
        snprintf(s->name, sizeof s->name, "the %u servers of %s", s->servers, t->backend->settings->name);
        if (s->servers > 1) s->is = "are", s->takes = "take";
    }
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void put_data(struct call *c, const struct survey *s) {
    if (!c->json) return;
    view_number(&c->view.root, "servers", s->servers);
    view_number(&c->view.root, "active", s->active);
}

static const char *last_note(const struct survey *s) {
    return s->is_last ? "; no server of the backend can be used now" : "";
}

static void traffic_free(struct traffic *w) {
    deadline_cancel(&w->look);
    free(w);
}

static void answer_ready(struct traffic *w, const struct target *t, const struct survey *s) {
    struct call *c = w->call;
    char ramp[80] = "", length[VIEW_VALUE_MAX];
    const char *but = !s->one || s->standing <= STANDING_FULL    ? ""
                      : s->standing == STANDING_OPEN             ? "; but its breaker is open"
                      : server_health_get(s->one) == SERVER_DOWN ? "; but its health is down"
                                                                 : "; but its weight is 0";
    if (w->changed && t->backend->settings->slow_start_us) {
        view_format_duration(length, t->backend->settings->slow_start_us);
        snprintf(ramp, sizeof ramp, "; back to the whole weight in %s", length);
    }
    if (s->one)
        call_ok(c, "%s %s ready%s%s", s->name, w->changed ? "is" : "was", ramp, but);
    else
        call_ok(c, "%s are ready; %u of them were not%s", s->name, w->changed, ramp);
}

static void answer_out(struct traffic *w, const struct survey *s) {
    struct call *c = w->call;
    char limit[60] = "", length[VIEW_VALUE_MAX];
    if (w->for_us) {
        view_format_duration(length, w->for_us);
        snprintf(limit, sizeof limit, " for %s", length);
    }
    if (w->to == SERVER_MAINT)
        call_ok(c, "%s %s in maintenance: no new exchanges, no checks; %u still running%s", s->name, s->is, s->active,
                last_note(s));
    else
        call_ok(c, "%s %s no new exchanges%s; %u still running%s", s->name, s->takes, limit, s->active, last_note(s));
}

/* Ends the call; nobody waits any more. */
static void answer(struct traffic *w, const struct target *t, const struct survey *s) {
    put_data(w->call, s);
    if (w->to == SERVER_READY)
        answer_ready(w, t, s);
    else
        answer_out(w, s);
    traffic_free(w);
}

/* --- waiting ---------------------------------------------------------------------------------------------------- */

static void fail_ready(struct call *c, const struct survey *s) {
    if (s->one)
        call_fail(c, COMMAND_CONFLICT, "%s was made ready meanwhile; %u still running", s->name, s->active);
    else
        call_fail(c, COMMAND_CONFLICT, "%u of %s were made ready meanwhile; %u still running", s->ready, s->name,
                  s->active);
}

/* What has come of it; false: wait on. */
static bool try_end(struct traffic *w, const struct survey *s, uint64_t now_us) {
    struct call *c = w->call;
    if (s->ready) {
        put_data(c, s);
        fail_ready(c, s);
    } else if (!s->active) {
        put_data(c, s);
        call_ok(c, "%s %s drained: no exchange runs there any more%s", s->name, s->is, last_note(s));
    } else if (now_us - w->began_us >= w->patience_us) {
        put_data(c, s);
        call_fail(c, COMMAND_TIMEOUT, "%u exchange%s still run%s on %s", s->active, s->active > 1 ? "s" : "",
                  s->active > 1 ? "" : "s", s->name);
    } else {
        return false;
    }
    return true;
}

/* The names are looked up anew each time: the configuration may be another one by now. */
static void look(struct traffic *w) {
    struct call *c = w->call;
    struct loop *loop = runtime_loop(c->control->runtime);
    struct target t;
    struct survey s;
    if (!target_find(c, 0, &t)) {
        struct slice word = c->words.v[0].text;
        call_fail(c, COMMAND_CONFLICT, "%.*s is in the configuration no more", SLICE_ARG(word));
        traffic_free(w);
        return;
    }
    survey(&t, loop->now_us, &s);
    if (w->is_abandoned || !w->waits) {
        answer(w, &t, &s);
        return;
    }
    if (try_end(w, &s, loop->now_us)) {
        traffic_free(w);
        return;
    }
    if (!w->told_us || loop->now_us - w->told_us >= TELL_US) {
        w->told_us = loop->now_us;
        call_tell(c, "%u exchange%s on %s", s.active, s.active > 1 ? "s run" : " runs", s.name);
    }
    deadline_set(loop, &w->look, LOOK_US);
}

static void on_look(struct deadline *d) {
    look(LG_CONTAINER_OF(d, struct traffic, look));
}

static void on_heeded(void *arg) {
    struct traffic *w = arg;
    if (--w->pending == 0) look(w);
}

/* What was begun stands; only nobody waits for the end of it. */
static void on_gone(struct call *c) {
    struct traffic *w = c->state;
    w->is_abandoned = true;
    if (!w->pending) look(w);
}

/* --- words ------------------------------------------------------------------------------------------------------ */

/* Behind the name: [for DURATION] [wait [DURATION]]. */
static bool take_words(struct call *c, struct traffic *w) {
    unsigned i = 1;
    w->patience_us = UINT64_MAX;
    if (!call_take_for(c, &i, &w->for_us)) return false;
    if (call_word_is(c, i, "wait")) {
        w->waits = true;
        if (++i < c->words.count && !call_take_duration(c, i++, &w->patience_us)) return false;
    }
    if (i >= c->words.count) return true;
    call_fail_usage(c);
    return false;
}

/* Changes all of them; `given` was filled in from the words. */
static void run(struct call *c, struct traffic given) {
    struct runtime *r = c->control->runtime;
    const struct balance_member *m;
    struct target t;
    if (!call_take_target(c, 0, TARGET_EITHER, &t)) return;
    struct traffic *w = xmalloc(sizeof *w);
    *w = given;
    w->call = c;
    w->began_us = runtime_loop(r)->now_us;
    deadline_init(&w->look, on_look);
    c->state = w;
    c->on_gone = on_gone;
    for (uint32_t at = 0; (m = target_next(&t, &at)); w->pending++) {
        w->changed += server_admin_get(m->server) != w->to;
        runtime_override(r, m->server, OVERRIDE_ADMIN, w->to, &c->peer, w->for_us, on_heeded, w);
    }
}

static void run_drain(struct call *c) {
    struct traffic given = {.to = SERVER_DRAIN};
    if (take_words(c, &given)) run(c, given);
}

static void run_ready(struct call *c) {
    run(c, (struct traffic){.to = SERVER_READY});
}

static void run_maint(struct call *c) {
    run(c, (struct traffic){.to = SERVER_MAINT});
}

const struct command commands_traffic[] = {
    {.words = "drain",
     .arguments = "BACKEND[/SERVER] [for DURATION] [wait [DURATION]]",
     .min = 1,
     .max = 5,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_drain,
     .help = "no new exchanges, those that run may finish; `for` undoes it by itself, `wait` answers when none is left",
     .example = "drain app/a2 wait 30s"},
    {.words = "ready",
     .arguments = "BACKEND[/SERVER]",
     .min = 1,
     .max = 1,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_ready,
     .help = "back in rotation, with the backend's `slow_start`",
     .example = "ready app/a2"},
    {.words = "maint",
     .arguments = "BACKEND[/SERVER]",
     .min = 1,
     .max = 1,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_maint,
     .help = "out at once: no new exchanges and no checks; those that run may finish",
     .example = "maint app/a2"},
    {.words = NULL},
};
