/* entity.c: the frontends, backends and servers of a configuration: one after the other, by name, in words. */
#include "loomgate/control/entity.h"

static const char *const admin_words[] = {[SERVER_READY] = "ready", [SERVER_DRAIN] = "drain", [SERVER_MAINT] = "maint"};
static const char *const health_words[] = {[SERVER_UP] = "up", [SERVER_DOWN] = "down"};
static const char *const breaker_words[] = {
    [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};

/* --- the walk --------------------------------------------------------------------------------------------------- */

static void become_frontend(struct entity *e, const struct frontend *f) {
    e->kind = SERIES_FRONTEND;
    e->owner = "";
    e->name = f->settings->name;
    e->series = f->series;
    e->frontend = f;
}

static void become_backend(struct entity *e, const struct backend *b) {
    e->kind = SERIES_BACKEND;
    e->owner = "";
    e->name = b->settings->name;
    e->series = b->series;
    e->frontend = NULL;
    e->backend = b;
    e->member = NULL;
    e->next_member = 0;
}

static void become_server(struct entity *e, const struct balance_member *m) {
    e->kind = SERIES_SERVER;
    e->owner = m->server->backend;
    e->name = m->server->name;
    e->series = m->server->series;
    e->member = m;
}

/* Backups last. */
static const struct balance_member *member_at(const struct backend *b, uint32_t i) {
    if (i < b->member_count) return &b->members[i];
    i -= b->member_count;
    return i < b->backup_count ? &b->backups[i] : NULL;
}

bool entity_next(const struct snapshot *s, struct entity *e) {
    const struct balance_member *m = e->backend ? member_at(e->backend, e->next_member++) : NULL;
    if (m)
        become_server(e, m);
    else if (e->next_frontend < s->frontend_count)
        become_frontend(e, &s->frontends[e->next_frontend++]);
    else if (e->next_backend < s->backend_count)
        become_backend(e, &s->backends[e->next_backend++]);
    else
        return false;
    return true;
}

bool entity_is(const struct entity *e, struct slice name) {
    if (e->kind != SERIES_SERVER) return slice_is(name, e->name);
    size_t n = strlen(e->owner);
    if (name.n < n || memcmp(name.p, e->owner, n) != 0) return false;
    return name.n == n || (name.p[n] == '/' && slice_is(slice_from(name.p + n + 1, name.n - n - 1), e->name));
}

/* --- words ------------------------------------------------------------------------------------------------------ */

const char *member_admin_word(const struct balance_member *m) {
    return admin_words[server_admin_get(m->server)];
}

const char *member_health_word(const struct balance_member *m) {
    const struct health_state *h = &m->server->health;
    return h->checked || h->pinned ? health_words[server_health_get(m->server)] : "unchecked";
}

const char *member_breaker_word(const struct balance_member *m) {
    return m->breaker->on ? breaker_words[breaker_state_get(&m->server->shared.breaker)] : "off";
}

double member_weight(const struct balance_member *m, uint64_t now_us) {
    return (double)member_base_weight(m) * server_share(m->server, now_us) / SHARE_ONE / WEIGHT_ONE;
}
