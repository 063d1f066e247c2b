/* command_target.c: the backend, server or frontend that a word of a command names, with the nearest one to a misspelt
 * name. */
#include "command_internal.h"

#include "loomgate/config/schema.h"
#include "loomgate/control/entity.h"

enum { NAMES_SHOWN = 16, HINT_MAX = 400 };

const struct balance_member *target_next(const struct target *t, uint32_t *at) {
    const struct backend *b = t->backend;
    uint32_t i = (*at)++;
    if (t->only) return i == 0 ? t->only : NULL;
    if (i < b->member_count) return &b->members[i];
    i -= b->member_count;
    return i < b->backup_count ? &b->backups[i] : NULL;
}

/* "did you mean 'a'?", or "there are a, b, c". */
static void hint_names(struct slice word, const char *const *names, size_t count, char out[HINT_MAX]) {
    if (nearest_word(word, names, count, out, HINT_MAX)) return;
    size_t n = (size_t)snprintf(out, HINT_MAX, "there %s", count > 1 ? "are" : count == 1 ? "is" : "is none");
    for (size_t i = 0; i < count && i < NAMES_SHOWN && n + 80 < HINT_MAX; i++)
        n += (size_t)snprintf(out + n, HINT_MAX - n, "%s %.64s", i ? "," : "", names[i]);
    if (count > NAMES_SHOWN) snprintf(out + n, HINT_MAX - n, ", ...");
}

/* --- finding ---------------------------------------------------------------------------------------------------- */

static const struct backend *find_backend(const struct snapshot *s, struct slice name) {
    for (uint32_t i = 0; i < s->backend_count; i++)
        if (slice_is(name, s->backends[i].settings->name)) return &s->backends[i];
    return NULL;
}

static bool find_member(struct target *t, struct slice name) {
    const struct balance_member *m;
    for (uint32_t at = 0; (m = target_next(t, &at));)
        if (slice_is(name, m->server->name)) return t->only = m, true;
    return false;
}

/* "backend/server"; `server` is NULL without the slash. Names of backends have none. */
static struct slice split(struct slice word, struct slice *server) {
    size_t slash = slice_find(word, '/');
    *server = slash < word.n ? slice_from(word.p + slash + 1, word.n - slash - 1) : slice_from(NULL, 0);
    return slice_from(word.p, slash);
}

bool target_find(const struct call *c, unsigned i, struct target *t) {
    struct slice server, backend = split(c->words.v[i].text, &server);
    *t = (struct target){find_backend(runtime_snapshot(c->control->runtime), backend), NULL};
    return t->backend && (!server.p || find_member(t, server));
}

/* --- failing ---------------------------------------------------------------------------------------------------- */

static void fail_backend(struct call *c, struct slice name) {
    const struct snapshot *s = runtime_snapshot(c->control->runtime);
    const char **names = arena_alloc(&c->arena, s->backend_count * sizeof *names);
    char hint[HINT_MAX];
    for (uint32_t i = 0; i < s->backend_count; i++) names[i] = s->backends[i].settings->name;
    hint_names(name, names, s->backend_count, hint);
    call_fail(c, COMMAND_NO_SUCH_BACKEND, "there is no backend '%.*s'; %s", (int)(name.n < 64 ? name.n : 64), name.p,
              hint);
}

static void fail_member(struct call *c, const struct target *t, struct slice name) {
    const struct balance_member *m;
    uint32_t at = 0, count = 0;
    while (target_next(t, &at)) {}
    const char **names = arena_alloc(&c->arena, at * sizeof *names);
    char hint[HINT_MAX];
    for (at = 0; (m = target_next(t, &at));) names[count++] = m->server->name;
    hint_names(name, names, count, hint);
    call_fail(c, COMMAND_NO_SUCH_SERVER, "the backend '%s' has no server '%.*s'; %s", t->backend->settings->name,
              (int)(name.n < 64 ? name.n : 64), name.p, hint);
}

const struct frontend *call_take_frontend(struct call *c, unsigned i) {
    LG_ASSERT(i < c->words.count);
    const struct snapshot *s = runtime_snapshot(c->control->runtime);
    struct slice name = c->words.v[i].text;
    for (uint32_t k = 0; k < s->frontend_count; k++)
        if (slice_is(name, s->frontends[k].settings->name)) return &s->frontends[k];
    const char **names = arena_alloc(&c->arena, s->frontend_count * sizeof *names);
    char hint[HINT_MAX];
    for (uint32_t k = 0; k < s->frontend_count; k++) names[k] = s->frontends[k].settings->name;
    hint_names(name, names, s->frontend_count, hint);
    call_fail(c, COMMAND_USAGE, "there is no frontend '%.*s'; %s", (int)(name.n < 64 ? name.n : 64), name.p, hint);
    return NULL;
}

bool call_take_target(struct call *c, unsigned i, enum target_form form, struct target *t) {
    LG_ASSERT(i < c->words.count);
    struct slice server, backend = split(c->words.v[i].text, &server);
    *t = (struct target){NULL, NULL};
    if (form != TARGET_EITHER && (server.p != NULL) != (form == TARGET_SERVER))
        call_fail_usage(c);
    else if (target_find(c, i, t))
        return true;
    else if (!t->backend)
        fail_backend(c, backend);
    else
        fail_member(c, t, server);
    return false;
}

/* Not a server: of those the backend tells. */
static void fail_unknown_entity(struct call *c, struct slice name) {
    const struct snapshot *s = runtime_snapshot(c->control->runtime);
    const char **names = arena_alloc(&c->arena, (s->frontend_count + s->backend_count) * sizeof *names);
    char hint[HINT_MAX];
    size_t count = 0;
    for (struct entity e = {0}; entity_next(s, &e);)
        if (e.kind != SERIES_SERVER) names[count++] = e.name;
    hint_names(name, names, count, hint);
    call_fail(c, COMMAND_NO_SUCH_BACKEND, "there is no frontend or backend '%.*s'; %s",
              (int)(name.n < 64 ? name.n : 64), name.p, hint);
}

bool call_take_entity(struct call *c, unsigned i) {
    LG_ASSERT(i < c->words.count);
    struct slice name = c->words.v[i].text;
    struct target t;
    for (struct entity e = {0}; entity_next(runtime_snapshot(c->control->runtime), &e);)
        if (entity_is(&e, name)) return true;
    if (slice_find(name, '/') < name.n) return call_take_target(c, i, TARGET_SERVER, &t);
    fail_unknown_entity(c, name);
    return false;
}
