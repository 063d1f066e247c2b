/* command_drift.c: what operators set against the configuration: weights, pinned health and breakers; and all of it. */
#include "command_internal.h"

#include "loomgate/runtime/override.h"

#include <stdarg.h>

/* --- who, how long ---------------------------------------------------------------------------------------------- */

void view_peer(struct view_node *in, const char *name, const struct socket_peer *peer, bool json) {
    if (!json) {
        view_printf(in, name, "uid %u pid %d", (unsigned)peer->uid, (int)peer->pid);
        return;
    }
    struct view_node *who = view_object(in, name);
    view_number(who, "uid", peer->uid);
    view_number(who, "gid", peer->gid);
    view_signed(who, "pid", peer->pid);
}

/* " for 5m00s", or nothing. */
static const char *limit_text(uint64_t for_us, char out[VIEW_VALUE_MAX + 8]) {
    char length[VIEW_VALUE_MAX];
    view_format_duration(length, for_us);
    out[0] = '\0';
    if (for_us) snprintf(out, VIEW_VALUE_MAX + 8, " for %s", length);
    return out;
}

/* --- overrides of one server ------------------------------------------------------------------------------------ */

/* What the answer will say, when every worker heeds the change. */
static void set_sentence(struct call *c, const char *format, ...) LG_PRINTF(2, 3);
static void set_sentence(struct call *c, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->state = arena_strndup(&c->arena, text, strlen(text));
}

static void on_heeded(void *arg) {
    struct call *c = arg;
    call_ok(c, "%s", (const char *)c->state);
}

static void set(struct call *c, const struct target *t, enum override_setting setting, uint32_t value,
                uint64_t for_us) {
    runtime_override(c->control->runtime, t->only->server, setting, value, &c->peer, for_us, on_heeded, c);
}

static bool is_set(const struct call *c, const struct target *t, enum override_setting setting) {
    return override_find(c->control->runtime, t->only->server, setting) != NULL;
}

static void restore(struct call *c, const struct target *t, enum override_setting setting) {
    runtime_restore(c->control->runtime, t->only->server, setting, on_heeded, c);
}

/* --- weight ----------------------------------------------------------------------------------------------------- */

/* Word 1: N, or P% of the configuration's weight; false: the call has failed. */
static bool take_weight(struct call *c, uint32_t of_config, uint32_t *weight) {
    struct slice word = c->words.v[1].text;
    uint64_t number;
    bool is_part = word.n && word.p[word.n - 1] == '%';
    if (!slice_to_u64(slice_from(word.p, word.n - is_part), is_part ? WEIGHT_MAX * 100 : WEIGHT_MAX, &number)) {
        call_fail(c, COMMAND_USAGE, "'%.*s' is no weight; write 0 to %d, 0%% to %d%% of the configuration's, or config",
                  (int)(word.n < 60 ? word.n : 60), word.p, WEIGHT_MAX, WEIGHT_MAX * 100);
        return false;
    }
    number = is_part ? number * of_config * WEIGHT_ONE / 100 : number * WEIGHT_ONE;
    *weight = (uint32_t)number;
    if (number <= WEIGHT_MAX * WEIGHT_ONE) return true;
    call_fail(c, COMMAND_USAGE, "%.*s of %u is more than the largest weight, %d", (int)word.n, word.p, of_config,
              WEIGHT_MAX);
    return false;
}

static void run_weight(struct call *c) {
    char text[OVERRIDE_TEXT_MAX], limit[VIEW_VALUE_MAX + 8];
    bool is_config = call_word_is(c, 1, "config");
    uint64_t for_us;
    uint32_t weight;
    unsigned i = 2;
    struct target t;
    if (!call_take_for(c, &i, &for_us)) return;
    if (i < c->words.count || (is_config && for_us)) {
        call_fail_usage(c);
        return;
    }
    if (!call_take_target(c, 0, TARGET_SERVER, &t)) return;
    const struct server *s = t.only->server;
    if (is_config) {
        set_sentence(c, "the weight of %s/%s %s that of the configuration: %u", s->backend, s->name,
                     is_set(c, &t, OVERRIDE_WEIGHT) ? "is again" : "was", t.only->weight);
        restore(c, &t, OVERRIDE_WEIGHT);
    } else if (take_weight(c, t.only->weight, &weight)) {
        override_print(OVERRIDE_WEIGHT, weight, text);
        set_sentence(c, "the weight of %s/%s is %s%s; in the configuration %u", s->backend, s->name, text,
                     limit_text(for_us, limit), t.only->weight);
        set(c, &t, OVERRIDE_WEIGHT, weight, for_us);
    }
}

/* --- health ----------------------------------------------------------------------------------------------------- */

static void run_health(struct call *c) {
    struct target t;
    bool up = call_word_is(c, 1, "up");
    if (!up && !call_word_is(c, 1, "down") && !call_word_is(c, 1, "auto")) {
        call_fail_usage(c);
        return;
    }
    if (!call_take_target(c, 0, TARGET_SERVER, &t)) return;
    const struct server *s = t.only->server;
    if (call_word_is(c, 1, "auto")) {
        set_sentence(c, "the health of %s/%s is %s%s", s->backend, s->name,
                     s->health.checked ? "what its checks say: " : "not checked: ",
                     s->health.found == SERVER_UP ? "up" : "down");
        restore(c, &t, OVERRIDE_HEALTH);
    } else {
        set_sentence(c, "%s/%s is taken for %s, whatever checks say", s->backend, s->name, up ? "up" : "down");
        set(c, &t, OVERRIDE_HEALTH, up ? SERVER_UP : SERVER_DOWN, 0);
    }
}

/* --- breakers --------------------------------------------------------------------------------------------------- */

static void run_hold(struct call *c) {
    bool open = call_word_is(c, 1, "open");
    struct target t;
    if (!open && !call_word_is(c, 1, "closed")) {
        call_fail_usage(c);
        return;
    }
    if (!call_take_target(c, 0, TARGET_SERVER, &t) || !target_has_breaker(c, &t)) return;
    set_sentence(c, "the breaker of %s/%s is held %s", t.only->server->backend, t.only->server->name,
                 open ? "open" : "closed");
    set(c, &t, OVERRIDE_BREAKER, open ? BREAKER_OPEN : BREAKER_CLOSED, 0);
}

static void run_release(struct call *c) {
    struct target t;
    if (!call_take_target(c, 0, TARGET_SERVER, &t) || !target_has_breaker(c, &t)) return;
    const struct server *s = t.only->server;
    if (!is_set(c, &t, OVERRIDE_BREAKER))
        set_sentence(c, "the breaker of %s/%s was not held", s->backend, s->name);
    else if (breaker_is_closed(&s->shared.breaker))
        set_sentence(c, "the breaker of %s/%s is released; it is closed", s->backend, s->name);
    else
        set_sentence(c, "the breaker of %s/%s is released; it lets probes through", s->backend, s->name);
    restore(c, &t, OVERRIDE_BREAKER);
}

/* --- show drift ------------------------------------------------------------------------------------------------- */

static void put_mark(struct view_node *row, const struct override_mark *mark, bool json) {
    view_peer(row, "by", &mark->by, json);
    view_time(row, "since", mark->unix_us);
    if (mark->until_unix_us)
        view_time(row, "until", mark->until_unix_us);
    else
        view_null(row, "until");
}

static void put_value(struct view_node *row, const char *name, enum override_setting setting, uint32_t value,
                      bool json) {
    char text[OVERRIDE_TEXT_MAX];
    override_print(setting, value, text);
    if (json && setting == OVERRIDE_WEIGHT)
        view_real(row, name, (double)value / WEIGHT_ONE);
    else
        view_text(row, name, text);
}

static void put_values(struct view_node *row, const struct override *o, const struct balance_member *m, bool json) {
    if (o->setting == OVERRIDE_WEIGHT)
        put_value(row, "file", o->setting, m->weight * WEIGHT_ONE, json);
    else if (o->setting == OVERRIDE_ADMIN)
        put_value(row, "file", o->setting, m->settings->maint ? SERVER_MAINT : SERVER_READY, json);
    else
        view_text(row, "file", "auto");
    put_value(row, "in_force", o->setting, override_mark(o)->value, json);
}

/* Those of servers that the configuration in force does not have say nothing now. */
static void put_override(struct view_node *list, const struct override *o, const struct call *c) {
    const struct snapshot *s = runtime_snapshot(c->control->runtime);
    for (uint32_t i = 0; i < s->backend_count; i++) {
        struct target all = {&s->backends[i], NULL};
        const struct balance_member *m;
        for (uint32_t at = 0; (m = target_next(&all, &at));) {
            if (strcmp(m->server->backend, o->backend) != 0 || strcmp(m->server->name, o->server) != 0) continue;
            struct view_node *row = view_object(list, NULL);
            view_text(row, "backend", o->backend);
            view_text(row, "server", o->server);
            view_text(row, "setting", override_setting_name(o->setting));
            put_values(row, o, m, c->json);
            put_mark(row, override_mark(o), c->json);
        }
    }
}

static void put_log_level(struct view_node *list, const struct call *c) {
    enum log_level of_config = runtime_snapshot(c->control->runtime)->config->global.log.level;
    if (log_get_level() == of_config) return;
    struct view_node *row = view_object(list, NULL);
    view_null(row, "backend");
    view_null(row, "server");
    view_text(row, "setting", "log level");
    view_text(row, "file", log_level_name(of_config));
    view_text(row, "in_force", log_level_name(log_get_level()));
    put_mark(row, &c->control->log_level, c->json);
}

static void run_drift(struct call *c) {
    struct view_node *list = view_begin_list(&c->view);
    const struct override *o = NULL;
    put_log_level(list, c);
    while ((o = override_next(c->control->runtime, o))) put_override(list, o, c);
    call_show(c);
}

const struct command commands_drift[] = {
    {.words = "show drift",
     .arguments = "",
     .run = run_drift,
     .help =
         "what is set at run time against the file: the file's value, the one in force, by whom, since and until when",
     .example = "show drift"},
    {.words = "weight",
     .arguments = "BACKEND/SERVER N|P%|config [for DURATION]",
     .min = 2,
     .max = 4,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_weight,
     .help =
         "another weight: a number, or a part of the configuration's; `config` takes it back, `for` does it by itself",
     .example = "weight app/a2 50% for 10m"},
    {.words = "health",
     .arguments = "BACKEND/SERVER up|down|auto",
     .min = 2,
     .max = 2,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_health,
     .help = "pins its health, whatever its checks say; `auto` gives it back to them",
     .example = "health app/a2 up"},
    {.words = "breaker hold",
     .arguments = "BACKEND/SERVER open|closed",
     .min = 2,
     .max = 2,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_hold,
     .help = "pins its breaker; requests and errors are still counted",
     .example = "breaker hold app/a2 closed"},
    {.words = "breaker release",
     .arguments = "BACKEND/SERVER",
     .min = 1,
     .max = 1,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_release,
     .help = "unpins it: closed it may open again, open it lets probes through",
     .example = "breaker release app/a2"},
    {.words = NULL},
};
