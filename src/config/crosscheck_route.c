/* crosscheck_route.c: what must hold between the keys of a route and a frontend; routes that can never match. */
#include "crosscheck_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define FAIL(l, place, hint, ...) diagnostics_add((l)->d, SEVERITY_ERROR, place, hint, __VA_ARGS__)
#define WARN(l, place, hint, ...) diagnostics_add((l)->d, SEVERITY_WARNING, place, hint, __VA_ARGS__)

bool finish_match(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const struct match_settings *m = base;
    (void)l, (void)table, (void)map;
    for (uint32_t i = 0; i < m->hosts.count; i++) /* the texts are the arena's, and nobody else has them yet */
        for (char *p = (char *)(uintptr_t)m->hosts.v[i]; *p; p++) *p = ascii_lower(*p);
    return true;
}

bool finish_respond(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const struct route_settings *r = base;
    unsigned status = r->respond.status;
    (void)table;
    if (r->respond.body.n == 0 || (status != 204 && status != 205 && status != 304)) return true;
    return FAIL(l, map->place, NULL, "an answer with status %u has no body", status);
}

/* --- routes ----------------------------------------------------------------------------------------------------- */

static bool name_route(struct loader *l, const struct node *map, struct route_settings *r) {
    char text[32];
    int n = snprintf(text, sizeof text, "route-%u", ++l->number);
    if (!r->name) r->name = arena_strndup(l->arena, text, (size_t)n);
    const struct node *first = map_put(&l->names, slice_of(r->name), (void *)(uintptr_t)map);
    if (!first) return true;
    return FAIL(l, map->place, NULL, "the route '%s' is given twice, first at %s:%u:%u", r->name,
                first->place.source->name, first->place.line, first->place.column);
}

/* What a route says of retries is read once more over what its backend says, which is known only now. */
static bool fold_retry(struct loader *l, const struct settings_table *table, const struct node *map,
                       struct route_settings *r) {
    const struct node *retry = node_find(map, "retry");
    r->has_retry = retry != NULL;
    if (!retry || r->action != ROUTE_BACKEND || r->backend >= l->backend_count) return true;
    r->retry = l->backends[r->backend].retry;
    return setting_read(l, schema_find(table, SLICE("retry")), NULL, retry, r);
}

bool finish_route(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    static const char *const keys[] = {"backend", "redirect", "respond", "metrics", "split"};
    static const enum route_action actions[] = {ROUTE_BACKEND, ROUTE_REDIRECT, ROUTE_RESPOND, ROUTE_METRICS,
                                                ROUTE_BACKEND};
    struct route_settings *r = base;
    const char *given = NULL;
    bool ok = name_route(l, map, r);
    for (size_t i = 0; i < LG_COUNT(keys); i++) {
        const struct node *action = node_find(map, keys[i]);
        if (!action) continue;
        if (given)
            ok = FAIL(l, action->place, NULL, "a route has one action: '%s' and '%s' exclude each other", given,
                      keys[i]);
        given = keys[i];
        r->action = actions[i];
    }
    if (!given)
        ok = FAIL(l, map->place, "add one of backend: NAME, redirect: {...}, respond: {...}, metrics: true",
                  "a route needs an action");
    return fold_retry(l, table, map, r) && ok;
}

/* A match written one way, so that equal ones are equal texts. From malloc. */
static char *print_match(const struct settings_table *table, const struct match_settings *match, size_t *len) {
    char *text = NULL;
    struct match_settings plain = *match;
    if (plain.path_prefix && strcmp(plain.path_prefix, "/") == 0) plain.path_prefix = NULL; /* holds always */
    struct printer p = {.out = open_memstream(&text, len)};
    LG_ASSERT(p.out != NULL);
    schema_print(&p, table, &plain);
    fclose(p.out);
    LG_ASSERT(text != NULL);
    return text;
}

static void warn_of_shadowed(struct loader *l, const struct node *later, const struct node *earlier, bool is_same) {
    WARN(l, later->place, NULL, "this route can never match: the route at line %u %s", earlier->place.line,
         is_same ? "has the same conditions" : "takes every request");
}

/* A route behind one that takes everything, or behind its twin. */
static void find_shadowed_routes(struct loader *l, const struct settings_table *table,
                                 const struct frontend_settings *f, const struct node *routes) {
    const struct settings_table *route = schema_find(table, SLICE("routes"))->item->table;
    const struct settings_table *match = schema_find(route, SLICE("match"))->table;
    struct map known;
    map_init(&known);
    const struct node *catch_all = NULL;
    const struct node_entry *e = routes->first;
    for (uint32_t i = 0; i < f->route_count; i++, e = e->next) {
        size_t len;
        char *text = print_match(match, &f->routes[i].match, &len);
        struct slice key = slice_from(arena_strndup(l->arena, text, len), len);
        free(text);
        const struct node *twin = map_put(&known, key, (void *)(uintptr_t)e->value);
        if (catch_all || (twin && twin != e->value))
            warn_of_shadowed(l, e->value, catch_all ? catch_all : twin, !catch_all);
        if (len == 0 && !catch_all) catch_all = e->value;
    }
    map_fini(&known);
}

/* --- frontends -------------------------------------------------------------------------------------------------- */

static bool finish_tcp(struct loader *l, const struct settings_table *table, const struct node *map,
                       const struct frontend_settings *f) {
    bool ok = schema_refuse_flagged(l, table, map, HTTP_ONLY, "makes sense only with 'mode: http'");
    if (f->default_backend < 0 && !node_find(map, "default_backend"))
        ok = FAIL(l, map->place, NULL, "'default_backend' is missing: with 'mode: tcp' everything goes there");
    return ok;
}

bool finish_frontend(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const struct frontend_settings *f = base;
    const struct node *routes = node_find(map, "routes");
    if (f->mode == MODE_TCP) return finish_tcp(l, table, map, f);
    if (routes && routes->kind == NODE_LIST && routes->count == f->route_count)
        find_shadowed_routes(l, table, f, routes);
    if (!f->route_count && !routes && f->default_backend < 0 && !node_find(map, "default_backend"))
        WARN(l, map->place, "add default_backend: NAME",
             "this frontend has no routes and no default_backend: it answers 404");
    return true;
}
