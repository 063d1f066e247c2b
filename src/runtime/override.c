/* override.c: what operators have set against the configuration, of one server each. */
#include "loomgate/runtime/override.h"

#include "loomgate/base/event.h"
#include "loomgate/runtime/drain.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime_internal.h"

/* --- what there is ---------------------------------------------------------------------------------------------- */

const char *override_setting_name(enum override_setting setting) {
    static const char *const names[OVERRIDE_SETTINGS] = {[OVERRIDE_ADMIN] = "admin",
                                                         [OVERRIDE_HEALTH] = "health",
                                                         [OVERRIDE_BREAKER] = "breaker",
                                                         [OVERRIDE_WEIGHT] = "weight"};
    LG_ASSERT((unsigned)setting < OVERRIDE_SETTINGS);
    return names[setting];
}

enum { WORDS_MAX = 3 };
static const char *const words[OVERRIDE_SETTINGS][WORDS_MAX] = {
    [OVERRIDE_ADMIN] = {[SERVER_READY] = "ready", [SERVER_DRAIN] = "drain", [SERVER_MAINT] = "maint"},
    [OVERRIDE_HEALTH] = {[SERVER_UP] = "up", [SERVER_DOWN] = "down"},
    [OVERRIDE_BREAKER] = {[BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open"}};

void override_print(enum override_setting setting, uint32_t value, char out[OVERRIDE_TEXT_MAX]) {
    if (setting == OVERRIDE_WEIGHT) {
        snprintf(out, OVERRIDE_TEXT_MAX, "%.6g", (double)value / WEIGHT_ONE);
    } else {
        LG_ASSERT(value < WORDS_MAX && words[setting][value]);
        snprintf(out, OVERRIDE_TEXT_MAX, "%s", words[setting][value]);
    }
}

const struct override_mark *override_mark(const struct override *o) {
    return timer_is_set(&o->timer) ? &o->limited : &o->lasting;
}

static struct override *find(const struct runtime *r, const struct server *s, enum override_setting setting) {
    LIST_FOR (node, &r->overrides) {
        struct override *o = LIST_ENTRY(node, struct override, node);
        if (o->setting == setting && strcmp(o->server, s->name) == 0 && strcmp(o->backend, s->backend) == 0) return o;
    }
    return NULL;
}

const struct override *override_find(const struct runtime *r, const struct server *server,
                                     enum override_setting setting) {
    return find(r, server, setting);
}

const struct override *override_next(const struct runtime *r, const struct override *before) {
    const struct list *next = before ? before->node.next : r->overrides.next;
    return next == &r->overrides ? NULL : LIST_ENTRY(next, const struct override, node);
}

static void override_free(struct override *o) {
    timer_cancel(&o->timer);
    list_remove(&o->node);
    free(o);
}

void overrides_fini(struct runtime *r) {
    LIST_FOR (node, &r->overrides) override_free(LIST_ENTRY(node, struct override, node));
}

/* --- carrying it out -------------------------------------------------------------------------------------------- */

/* What is to be done when every worker heeds it. */
struct change {
    struct balancers old;
    void (*done)(void *arg);
    void *arg;
};

static void pass_by(struct env *env, unsigned worker, void *arg) {
    (void)env, (void)worker, (void)arg;
}

/* No worker is in the middle of a pick that it began before. */
static void on_heeded(void *arg) {
    struct change *c = arg;
    balancers_free(&c->old);
    if (c->done) c->done(c->arg);
    free(c);
}

static const struct balance_member *member_of(const struct backend *b, const char *server) {
    for (uint32_t i = 0; i < b->member_count; i++)
        if (strcmp(b->members[i].server->name, server) == 0) return &b->members[i];
    for (uint32_t i = 0; i < b->backup_count; i++)
        if (strcmp(b->backups[i].server->name, server) == 0) return &b->backups[i];
    return NULL;
}

static void set_health(struct runtime *r, const struct backend *b, struct server *s, const uint32_t *value) {
    enum server_health before = server_health_get(s);
    if (value)
        health_pin(s, (enum server_health) * value);
    else
        health_unpin(s);
    if (before == SERVER_DOWN && server_health_get(s) == SERVER_UP)
        server_begin_ramp(s, r->loop.now_us, b->settings->slow_start_us);
}

static void set_breaker(struct runtime *r, struct server *s, const uint32_t *value) {
    struct breaker_change change;
    if (value)
        breaker_hold(&s->shared.breaker, (enum breaker_state) * value, r->loop.now_us, &change);
    else
        breaker_release(&s->shared.breaker, r->loop.now_us);
}

static uint32_t admin_of_config(const struct balance_member *m) {
    return m->settings->maint ? SERVER_MAINT : SERVER_READY;
}

/* `value` NULL: the configuration's. */
static void carry_out(struct runtime *r, struct backend *b, const struct balance_member *m,
                      enum override_setting setting, const uint32_t *value, void (*done)(void *arg), void *arg) {
    struct server *s = m->server;
    if (setting == OVERRIDE_ADMIN) {
        runtime_set_admin(r, s, (enum server_admin)(value ? *value : admin_of_config(m)), done, arg);
        return;
    }
    struct change *c = xcalloc(1, sizeof *c);
    *c = (struct change){.done = done, .arg = arg};
    if (setting == OVERRIDE_HEALTH) set_health(r, b, s, value);
    if (setting == OVERRIDE_BREAKER) set_breaker(r, s, value);
    if (setting == OVERRIDE_WEIGHT) {
        server_set_weight(s, value ? *value : WEIGHT_OF_CONFIG);
        c->old = backend_reweigh(b);
    }
    queue_pump(&b->group->queue, r->loop.now_us); /* who waits may go, or has one less to wait for */
    runtime_broadcast(r, pass_by, on_heeded, c);
}

/* The admin state is told by drain.c, whoever changes it. */
static void tell(enum override_setting setting, const struct server *s, uint32_t value, uint64_t for_us) {
    char text[OVERRIDE_TEXT_MAX];
    if (setting == OVERRIDE_ADMIN) return;
    override_print(setting, value, text);
    event_info("override_set", "by an operator", LOG_STR("backend", s->backend), LOG_STR("server", s->name),
               LOG_STR("setting", override_setting_name(setting)), LOG_STR("to", text),
               LOG_INT("for_s", for_us / 1000000));
}

static void tell_end(const struct override *o, const char *why) {
    char text[OVERRIDE_TEXT_MAX] = "config";
    if (o->has_lasting) override_print(o->setting, o->lasting.value, text);
    event_info("override_ended", why, LOG_STR("backend", o->backend), LOG_STR("server", o->server),
               LOG_STR("setting", override_setting_name(o->setting)), LOG_STR("to", text));
}

/* --- another configuration -------------------------------------------------------------------------------------- */

/* `value` NULL: as the configuration has it. */
static bool is_so(const struct balance_member *m, enum override_setting setting, const uint32_t *value) {
    const struct server *s = m->server;
    const struct breaker *b = &s->shared.breaker;
    switch (setting) {
    case OVERRIDE_ADMIN:
        return server_admin_get(s) == (value ? *value : admin_of_config(m));
    case OVERRIDE_HEALTH:
        return s->health.pinned == (value != NULL) && (!value || server_health_get(s) == *value);
    case OVERRIDE_BREAKER:
        return breaker_is_held(b) == (value != NULL) && (!value || breaker_state_get(b) == *value);
    default:
        return server_has_weight(s) == (value != NULL) && (!value || member_base_weight(m) == *value);
    }
}

/* What the file has come to say, too, is no override any more. */
static struct override *keep(struct override *o, const struct balance_member *m) {
    if (!o || o->setting != OVERRIDE_ADMIN || !o->has_lasting || o->lasting.value != admin_of_config(m)) return o;
    o->has_lasting = false;
    if (timer_is_set(&o->timer)) return o;
    override_free(o);
    return NULL;
}

/* However many servers go out of service, or come back: it is no word to the workers for each. */
static void apply(struct runtime *r, struct backend *b, const struct balance_member *m) {
    for (unsigned i = 0; i < OVERRIDE_SETTINGS; i++) {
        const struct override *o = keep(find(r, m->server, (enum override_setting)i), m);
        const uint32_t *value = o ? &override_mark(o)->value : NULL;
        if (is_so(m, (enum override_setting)i, value)) continue;
        if (i == OVERRIDE_ADMIN)
            drain_set_admin(r, b, m->server, (enum server_admin)(value ? *value : admin_of_config(m)));
        else
            carry_out(r, b, m, (enum override_setting)i, value, NULL, NULL);
    }
}

void overrides_apply(struct runtime *r) {
    for (uint32_t i = 0; i < r->snapshot->backend_count; i++) {
        struct backend *b = &r->snapshot->backends[i];
        for (uint32_t k = 0; k < b->member_count; k++) apply(r, b, &b->members[k]);
        for (uint32_t k = 0; k < b->backup_count; k++) apply(r, b, &b->backups[k]);
    }
}

/* --- setting, taking back, running out -------------------------------------------------------------------------- */

static void on_time_over(struct loop_timer *timer) {
    struct override *o = LG_CONTAINER_OF(timer, struct override, timer);
    struct runtime *r = o->runtime;
    struct backend *b = backend_find(r, o->backend);
    const struct balance_member *m = b ? member_of(b, o->server) : NULL;
    tell_end(o, "its time is over");
    if (m) carry_out(r, b, m, o->setting, o->has_lasting ? &o->lasting.value : NULL, NULL, NULL);
    if (!o->has_lasting) override_free(o);
}

static struct override *override_new(struct runtime *r, const struct server *s, enum override_setting setting) {
    size_t backend = strlen(s->backend) + 1, server = strlen(s->name) + 1;
    struct override *o = xcalloc(1, sizeof *o + backend + server);
    char *names = (char *)(o + 1);
    *o = (struct override){.runtime = r, .setting = setting};
    o->backend = memcpy(names, s->backend, backend);
    o->server = memcpy(names + backend, s->name, server);
    timer_init(&o->timer, on_time_over);
    list_push_back(&r->overrides, &o->node);
    return o;
}

void runtime_override(struct runtime *r, struct server *server, enum override_setting setting, uint32_t value,
                      const struct socket_peer *by, uint64_t for_us, void (*done)(void *arg), void *arg) {
    struct backend *b = backend_find(r, server->backend);
    const struct balance_member *m = b ? member_of(b, server->name) : NULL;
    LG_ASSERT(m != NULL);
    if (setting == OVERRIDE_ADMIN && !for_us && value == admin_of_config(m)) {
        runtime_restore(r, server, setting, done, arg);
        return;
    }
    struct override *o = find(r, server, setting);
    if (!o) o = override_new(r, server, setting);
    struct override_mark mark = {value, *by, r->loop.unix_us, for_us ? r->loop.unix_us + for_us : 0};
    timer_cancel(&o->timer);
    if (for_us) {
        o->limited = mark;
        timer_set(&r->loop, &o->timer, for_us);
    } else {
        o->lasting = mark;
        o->has_lasting = true;
    }
    tell(setting, server, value, for_us);
    carry_out(r, b, m, setting, &value, done, arg);
}

void runtime_restore(struct runtime *r, struct server *server, enum override_setting setting, void (*done)(void *arg),
                     void *arg) {
    struct backend *b = backend_find(r, server->backend);
    const struct balance_member *m = b ? member_of(b, server->name) : NULL;
    struct override *o = find(r, server, setting);
    LG_ASSERT(m != NULL);
    if (o) {
        o->has_lasting = false;
        if (setting != OVERRIDE_ADMIN) tell_end(o, "taken back by an operator");
        override_free(o);
    }
    carry_out(r, b, m, setting, NULL, done, arg);
}

/* --- over to another process ------------------------------------------------------------------------------------ */

static void print_mark(const struct override *o, const char *lasts, const struct override_mark *mark, FILE *out) {
    uint64_t now_us = o->runtime->loop.unix_us;
    facts_begin(out, "override");
    facts_text(out, "backend", o->backend);
    facts_text(out, "server", o->server);
    facts_text(out, "setting", override_setting_name(o->setting));
    facts_text(out, "lasts", lasts);
    if (o->setting == OVERRIDE_WEIGHT)
        facts_number(out, "value", mark->value);
    else
        facts_text(out, "value", words[o->setting][mark->value]);
    facts_number(out, "uid", mark->by.uid);
    facts_number(out, "gid", mark->by.gid);
    facts_number(out, "pid", (uint32_t)mark->by.pid);
    facts_number(out, "unix_us", mark->unix_us);
    if (mark->until_unix_us)
        facts_number(out, "left_us", mark->until_unix_us > now_us ? mark->until_unix_us - now_us : 0);
    facts_end(out);
}

void overrides_print(const struct runtime *r, FILE *out) {
    LIST_FOR (node, &r->overrides) {
        const struct override *o = LIST_ENTRY(node, struct override, node);
        if (o->has_lasting) print_mark(o, "for-ever", &o->lasting, out);
        if (timer_is_set(&o->timer)) print_mark(o, "for-a-time", &o->limited, out);
    }
}

static bool take_value(enum override_setting setting, const char *text, uint32_t *value) {
    uint64_t number;
    for (uint32_t i = 0; i < WORDS_MAX; i++)
        if (words[setting][i] && strcmp(words[setting][i], text) == 0) return *value = i, true;
    if (setting != OVERRIDE_WEIGHT || !slice_to_u64(slice_of(text), WEIGHT_MAX * WEIGHT_ONE, &number)) return false;
    *value = (uint32_t)number;
    return true;
}

static bool take_setting(const char *text, enum override_setting *setting) {
    for (unsigned i = 0; i < OVERRIDE_SETTINGS; i++)
        if (strcmp(override_setting_name((enum override_setting)i), text) == 0)
            return *setting = (enum override_setting)i, true;
    return false;
}

void override_take(struct runtime *r, const struct facts *f) {
    const char *backend = facts_find(f, "backend"), *server = facts_find(f, "server");
    const char *name = facts_find(f, "setting"), *value = facts_find(f, "value");
    struct override_mark mark = {
        .by = {(pid_t)facts_get_number(f, "pid"), (uid_t)facts_get_number(f, "uid"), (gid_t)facts_get_number(f, "gid")},
        .unix_us = facts_get_number(f, "unix_us")};
    enum override_setting setting;
    uint64_t left_us;
    if (!backend || !server || !name || !value) return;
    if (!take_setting(name, &setting) || !take_value(setting, value, &mark.value)) return;
    const struct server known = {.backend = backend, .name = server};
    struct override *o = find(r, &known, setting);
    if (!o) o = override_new(r, &known, setting);
    if (facts_find_number(f, "left_us", UINT64_MAX, &left_us)) {
        mark.until_unix_us = r->loop.unix_us + left_us;
        o->limited = mark;
        timer_set(&r->loop, &o->timer, left_us);
    } else {
        o->lasting = mark;
        o->has_lasting = true;
    }
}
