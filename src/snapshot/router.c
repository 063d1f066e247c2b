/* router.c: a request's host, path and fields to the first route that matches; built once, immutable.
 *
 *   host "a.x.org"   ->  a.x.org -> *.x.org -> (any)      each name that some route gives is a node, linked to the next
 *   path "/v1/users" ->  /v1/users -> /v1 -> (any)        wider one; a request enters at its narrowest node
 *                            \         /
 *                        (host node, path node) -> routes in the order of the file -> the remaining conditions
 *
 * Every route hangs at one pair of nodes for each of its hosts, so a request only sees routes whose host and path
 * hold, and the lowest index wins. Wider names are looked up only by lengths that some route has: neither thousands of
 * labels or segments in a request nor thousands of routes make that more. */
#include "loomgate/snapshot/router.h"

#include "loomgate/base/macros.h"
#include "loomgate/base/map.h"
#include "loomgate/http/params.h"

#include <stdlib.h>

enum { HOST_MAX = 255 }; /* RFC 1035 section 2.3.4; a longer name in a route never matches */

struct name {
    struct slice text;
    const struct name *wider; /* NULL: this is "any" */
    uint32_t id;
};

/* All hosts, or all paths. */
struct names {
    struct map exact;   /* "a.x.org", "/v1/users" */
    struct map partial; /* ".x.org", a suffix behind a label; "/v1" or "/v1/", a prefix */
    uint32_t *lengths;  /* of the partial ones: each once, longest first */
    uint32_t length_count;
    size_t longest_exact;
    struct name any;
    uint32_t count;
};

struct link {
    struct link *next;
    uint32_t route;
};
struct pair {
    uint32_t key[2]; /* ids of the host's and the path's name */
    struct link *first, *last;
};

struct router {
    const struct route_settings *routes;
    struct arena arena;
    struct names hosts, paths;
    struct map pairs;
    const struct name **places; /* each route's path */
};

/* --- names ------------------------------------------------------------------------------------------------------ */

/* The longest suffix that has at least a byte in front of it. */
static const struct name *find_suffix(const struct names *hosts, struct slice host) {
    for (uint32_t i = 0; i < hosts->length_count; i++) {
        size_t n = hosts->lengths[i];
        if (n >= host.n || host.p[host.n - n] != '.') continue;
        const struct name *found = map_find(&hosts->partial, slice_from(host.p + host.n - n, n));
        if (found) return found;
    }
    return &hosts->any;
}

/* The longest prefix of at most `limit` bytes that ends where a segment does. */
static const struct name *find_prefix(const struct names *paths, struct slice path, size_t limit) {
    for (uint32_t i = 0; i < paths->length_count; i++) {
        size_t n = paths->lengths[i];
        if (n > limit || !(n == path.n || path.p[n] == '/' || path.p[n - 1] == '/')) continue;
        const struct name *found = map_find(&paths->partial, slice_from(path.p, n));
        if (found) return found;
    }
    return &paths->any;
}

static const struct name *find_exact(const struct names *names, struct slice text) {
    return text.n <= names->longest_exact ? map_find(&names->exact, text) : NULL;
}

static const struct name *find_path(const struct names *paths, struct slice path) {
    const struct name *exact = find_exact(paths, path);
    return exact ? exact : find_prefix(paths, path, path.n);
}

/* The name of the authority, without its port. */
static struct slice host_name(struct slice authority) {
    size_t from = authority.n && authority.p[0] == '[' ? slice_find(authority, ']') : 0;
    struct slice rest = slice_from(authority.p + from, authority.n - from);
    return slice_from(authority.p, from + slice_find(rest, ':'));
}

static const struct name *find_host(const struct names *hosts, struct slice authority) {
    char lower[HOST_MAX + 1];
    struct slice host = host_name(authority);
    bool whole = host.n <= HOST_MAX;
    /* Of a longer one the tail is enough for the suffixes. */
    if (!whole) host = slice_from(host.p + host.n - sizeof lower, sizeof lower);
    for (size_t i = 0; i < host.n; i++) lower[i] = ascii_lower(host.p[i]);
    host.p = lower;
    const struct name *exact = whole ? find_exact(hosts, host) : NULL;
    return exact ? exact : find_suffix(hosts, host);
}

static void names_init(struct names *names) {
    *names = (struct names){0};
    map_init(&names->exact);
    map_init(&names->partial);
}

static void names_fini(struct names *names) {
    map_fini(&names->exact);
    map_fini(&names->partial);
    free(names->lengths);
}

static const struct name *names_add(struct names *names, struct arena *arena, struct map *where, struct slice text) {
    struct name *name = map_find(where, text);
    if (name) return name;
    name = arena_calloc(arena, sizeof *name);
    name->text = text;
    name->id = ++names->count;
    map_put(where, text, name);
    if (where == &names->exact && text.n > names->longest_exact) names->longest_exact = text.n;
    return name;
}

static int longer_first(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

static void names_set_lengths(struct names *names) {
    uint32_t n = 0;
    size_t at = 0;
    names->lengths = xcalloc(names->partial.count, sizeof *names->lengths);
    for (struct map_entry *e; (e = map_next(&names->partial, &at));) names->lengths[n++] = (uint32_t)e->key.n;
    qsort(names->lengths, n, sizeof *names->lengths, longer_first);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || names->lengths[i] != names->lengths[names->length_count - 1])
            names->lengths[names->length_count++] = names->lengths[i];
}

static void link_hosts(struct names *hosts) {
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&hosts->exact, &at));)
        ((struct name *)e->value)->wider = find_suffix(hosts, e->key);
    at = 0;
    for (struct map_entry *e; (e = map_next(&hosts->partial, &at));)
        ((struct name *)e->value)->wider = find_suffix(hosts, e->key);
}

static void link_paths(struct names *paths) {
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&paths->exact, &at));)
        ((struct name *)e->value)->wider = find_prefix(paths, e->key, e->key.n);
    at = 0;
    for (struct map_entry *e; (e = map_next(&paths->partial, &at));)
        ((struct name *)e->value)->wider = find_prefix(paths, e->key, e->key.n - 1);
}

/* --- building --------------------------------------------------------------------------------------------------- */

static struct slice pair_key(const uint32_t key[2]) {
    return slice_from((const char *)key, 2 * sizeof *key);
}

static void router_link(struct router *r, const struct name *host, const struct name *path, uint32_t route) {
    uint32_t key[2] = {host->id, path->id};
    struct pair *pair = map_find(&r->pairs, pair_key(key));
    if (!pair) {
        pair = arena_calloc(&r->arena, sizeof *pair);
        memcpy(pair->key, key, sizeof key);
        map_put(&r->pairs, pair_key(pair->key), pair);
    }
    if (pair->last && pair->last->route == route) return; /* a host given twice */
    struct link *link = arena_calloc(&r->arena, sizeof *link);
    link->route = route;
    *(pair->last ? &pair->last->next : &pair->first) = link;
    pair->last = link;
}

static const struct name *add_host(struct router *r, struct slice host) {
    if (host.n == 0 || slice_is(host, "*")) return &r->hosts.any;
    if (!slice_has_prefix(host, SLICE("*."))) return names_add(&r->hosts, &r->arena, &r->hosts.exact, host);
    return names_add(&r->hosts, &r->arena, &r->hosts.partial, slice_from(host.p + 1, host.n - 1));
}

/* An exact path beside a prefix decides the place; the prefix is then one of the remaining conditions. */
static const struct name *add_path(struct router *r, const struct match_settings *m) {
    if (m->path) return names_add(&r->paths, &r->arena, &r->paths.exact, slice_of(m->path));
    struct slice prefix = slice_of(m->path_prefix);
    if (prefix.n == 0 || slice_is(prefix, "/")) return &r->paths.any;
    return names_add(&r->paths, &r->arena, &r->paths.partial, prefix);
}

struct router *router_new(const struct route_settings *routes, uint32_t count) {
    struct router *r = xcalloc(1, sizeof *r);
    r->routes = routes;
    arena_init(&r->arena, NULL, 0);
    names_init(&r->hosts);
    names_init(&r->paths);
    map_init(&r->pairs);
    r->places = arena_calloc(&r->arena, count * sizeof *r->places);
    for (uint32_t i = 0; i < count; i++) {
        const struct match_settings *m = &routes[i].match;
        const struct name *path = r->places[i] = add_path(r, m);
        if (m->hosts.count == 0) router_link(r, &r->hosts.any, path, i);
        for (uint32_t k = 0; k < m->hosts.count; k++) router_link(r, add_host(r, slice_of(m->hosts.v[k])), path, i);
    }
    names_set_lengths(&r->hosts);
    names_set_lengths(&r->paths);
    link_hosts(&r->hosts);
    link_paths(&r->paths);
    return r;
}

void router_free(struct router *r) {
    if (!r) return;
    names_fini(&r->hosts);
    names_fini(&r->paths);
    map_fini(&r->pairs);
    arena_fini(&r->arena);
    free(r);
}

/* --- the remaining conditions ----------------------------------------------------------------------------------- */

static bool is_any(const char *value) {
    return value[0] == '*' && value[1] == '\0';
}

static bool method_holds(const struct texts *methods, struct slice method) {
    for (uint32_t i = 0; i < methods->count; i++)
        if (slice_is(method, methods->v[i])) return true;
    return methods->count == 0;
}

static bool prefix_holds(const char *text, struct slice path) {
    struct slice prefix = slice_of(text);
    if (prefix.n == 0 || slice_is(prefix, "/")) return true;
    if (!slice_has_prefix(path, prefix)) return false;
    return path.n == prefix.n || path.p[prefix.n] == '/' || prefix.p[prefix.n - 1] == '/';
}

static bool header_holds(const struct name_value *want, const struct message *request) {
    struct slice name = slice_of(want->name);
    for (uint32_t i = 0; i < request->fields.count; i++) {
        const struct field *f = &request->fields.v[i];
        if (f->drop || !slice_eq_nocase(f->name, name)) continue;
        if (is_any(want->value) || slice_is(f->value, want->value)) return true;
    }
    return false;
}

static bool query_holds(const struct name_value *want, const struct message *request) {
    struct slice rest = request->has_query ? request->query : (struct slice){NULL, 0}, value;
    while (query_next(&rest, slice_of(want->name), &value))
        if (is_any(want->value) || percent_decodes_to(value, slice_of(want->value))) return true;
    return false;
}

static bool cookie_field_holds(const struct name_value *want, struct slice rest) {
    struct slice value;
    while (cookie_next(&rest, slice_of(want->name), &value))
        if (is_any(want->value) || slice_is(value, want->value)) return true;
    return false;
}

static bool cookie_holds(const struct name_value *want, const struct message *request) {
    for (uint32_t i = 0; i < request->fields.count; i++) {
        const struct field *f = &request->fields.v[i];
        if (f->id == FIELD_COOKIE && !f->drop && cookie_field_holds(want, f->value)) return true;
    }
    return false;
}

typedef bool condition(const struct name_value *want, const struct message *request);

/* The first that does not hold; wanted->count: all do. */
static uint32_t find_missing(const struct name_values *wanted, condition *holds, const struct message *request) {
    uint32_t i = 0;
    while (i < wanted->count && holds(&wanted->v[i], request)) i++;
    return i;
}

/* Of all but host and path. */
static struct router_miss find_miss(const struct match_settings *m, const struct message *request,
                                    const struct addr *client) {
    uint32_t i;
    if (!method_holds(&m->methods, request->method_name)) return (struct router_miss){ROUTER_METHOD, 0};
    if (m->path && m->path_prefix && !prefix_holds(m->path_prefix, request->path))
        return (struct router_miss){ROUTER_PATH_PREFIX, 0};
    if ((i = find_missing(&m->headers, header_holds, request)) < m->headers.count)
        return (struct router_miss){ROUTER_HEADER, i};
    if ((i = find_missing(&m->queries, query_holds, request)) < m->queries.count)
        return (struct router_miss){ROUTER_QUERY, i};
    if ((i = find_missing(&m->cookies, cookie_holds, request)) < m->cookies.count)
        return (struct router_miss){ROUTER_COOKIE, i};
    if (m->sources.count && !cidr_list_has(&m->sources, client)) return (struct router_miss){ROUTER_SOURCE, 0};
    return (struct router_miss){ROUTER_NOTHING, 0};
}

/* --- finding ---------------------------------------------------------------------------------------------------- */

int router_find(const struct router *r, const struct message *request, const struct addr *client) {
    uint32_t best = UINT32_MAX;
    const struct name *paths = find_path(&r->paths, request->path);
    for (const struct name *host = find_host(&r->hosts, request->host); host; host = host->wider) {
        for (const struct name *path = paths; path; path = path->wider) {
            uint32_t key[2] = {host->id, path->id};
            const struct pair *pair = map_find(&r->pairs, pair_key(key));
            for (struct link *l = pair ? pair->first : NULL; l && l->route < best; l = l->next)
                if (find_miss(&r->routes[l->route].match, request, client).condition == ROUTER_NOTHING) best = l->route;
        }
    }
    return best == UINT32_MAX ? -1 : (int)best;
}

/* Whether the route hangs at this pair of names. */
static bool hangs_at(const struct router *r, const struct name *host, const struct name *path, uint32_t route) {
    uint32_t key[2] = {host->id, path->id};
    const struct pair *pair = map_find(&r->pairs, pair_key(key));
    const struct link *l = pair ? pair->first : NULL;
    while (l && l->route < route) l = l->next;
    return l && l->route == route;
}

struct router_miss router_explain(const struct router *r, uint32_t route, const struct message *request,
                                  const struct addr *client) {
    const struct match_settings *m = &r->routes[route].match;
    const struct name *host = find_host(&r->hosts, request->host), *path = find_path(&r->paths, request->path);
    while (host && !hangs_at(r, host, r->places[route], route)) host = host->wider;
    if (!host) return (struct router_miss){ROUTER_HOST, 0};
    while (path && path != r->places[route]) path = path->wider;
    if (!path) return (struct router_miss){m->path ? ROUTER_PATH : ROUTER_PATH_PREFIX, 0};
    return find_miss(m, request, client);
}
