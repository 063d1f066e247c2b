/* crosscheck.c: what must hold between several keys of a listener, a server, a backend and their parts. */
#include "crosscheck_internal.h"
#include "schema_internal.h"

#include <inttypes.h>
#include <stdio.h>

#define FAIL(l, place, hint, ...) diagnostics_add((l)->d, SEVERITY_ERROR, place, hint, __VA_ARGS__)
#define WARN(l, place, hint, ...) diagnostics_add((l)->d, SEVERITY_WARNING, place, hint, __VA_ARGS__)

void crosscheck_start(struct loader *l) {
    map_fini(&l->names);
    map_init(&l->names);
    l->number = 0;
}

/* Notes a key in a map; tells when it is there already. */
static bool note_once(struct loader *l, struct map *known, struct slice key, const struct node *node,
                      const char *what) {
    const struct node *first = map_put(known, key, (void *)(uintptr_t)node);
    if (!first) return true;
    return FAIL(l, node->place, NULL, "%s '%.*s' is given twice, first at %s:%u:%u", what, shown_len(key), key.p,
                first->place.source->name, first->place.line, first->place.column);
}

/* --- listeners -------------------------------------------------------------------------------------------------- */

static bool note_listener(struct loader *l, const struct address_setting *address, const struct node *map) {
    char text[ADDRESS_KEY_MAX];
    size_t len = address_key(address, text);
    struct slice key = slice_from(arena_strndup(l->arena, text, len), len);
    const struct node *first = map_put(&l->listeners, key, (void *)(uintptr_t)map);
    if (!first) return true;
    return FAIL(l, map->place, NULL, "the address %.200s is listened on twice, first at %s:%u:%u", address->text,
                first->place.source->name, first->place.line, first->place.column);
}

bool finish_listener(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const struct listener_settings *listener = base;
    const struct address_setting *address = &listener->address;
    bool is_any_port = address->kind != ADDRESS_UNIX && address->port == 0;
    (void)table;
    if (listener->defer_accept && address->kind == ADDRESS_UNIX)
        return FAIL(l, node_find(map, "defer_accept")->place, "only clients over TCP can be kept waiting by the kernel",
                    "'defer_accept' is not for UNIX sockets");
    return !address->text || is_any_port || note_listener(l, address, map);
}

bool finish_control(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const char *path = ((struct control_settings *)base)->socket;
    (void)table;
    return !path || note_listener(l, &(struct address_setting){ADDRESS_UNIX, path, path, 0}, map);
}

/* After an error there may be fewer than stand there. */
bool finish_telemetry(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const struct global_settings *g = base;
    const struct node *windows = node_find(map, "windows");
    struct place place = windows ? windows->place : map->place;
    (void)table;
    if (g->window_count > TELEMETRY_WINDOWS_MAX)
        return FAIL(l, place, NULL, "'windows' has %" PRIu32 " of them; no more than %d are kept", g->window_count,
                    TELEMETRY_WINDOWS_MAX);
    for (uint32_t i = 1; i < g->window_count; i++)
        if (g->windows_us[i] <= g->windows_us[i - 1])
            return FAIL(l, place, NULL, "'windows' must be in rising order, each longer than the one before");
    return true;
}

bool finish_limits(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const struct limit_settings *limits = base;
    (void)table;
    if (limits->uri_size > limits->header_size)
        WARN(l, map->place, NULL, "'uri_size' (%" PRIu32 ") is larger than 'header_size' (%" PRIu32 "), which ends it",
             limits->uri_size, limits->header_size);
    return true;
}

/* --- servers and backends --------------------------------------------------------------------------------------- */

/* The key's form was checked when it was read; after an error there may be none. */
bool finish_balance(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    static const char *const words[] = {
        [HASH_SOURCE] = "source", [HASH_HOST] = "host",     [HASH_PATH] = "path",  [HASH_URI] = "uri",
        [HASH_HEADER] = "header", [HASH_COOKIE] = "cookie", [HASH_QUERY] = "query"};
    struct balance_settings *b = base;
    (void)l, (void)table, (void)map;
    b->kind = BALANCE_HASH;
    if (!b->key_text || !b->bound_text) return true;
    struct slice text = slice_of(b->key_text);
    size_t colon = slice_find(text, ':');
    b->key_name = colon < text.n ? b->key_text + colon + 1 : NULL;
    for (size_t i = 0; i < LG_COUNT(words); i++)
        if (slice_is(slice_from(text.p, colon), words[i])) b->key = (enum hash_key)i;
    b->bounded_load = strtod(b->bound_text, NULL);
    return true;
}

bool finish_server(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    struct server_settings *s = base;
    (void)table;
    if (!s->name) s->name = s->address.text;
    return !s->name || note_once(l, &l->names, slice_of(s->name), map, "the server");
}

/* Where to point when two keys of a map contradict each other: the first of them that stands there. */
static struct place place_of(const struct node *map, const char *key, const char *other) {
    const struct node *n = node_find(map, key);
    if (!n) n = node_find(map, other);
    return n ? n->place : map->place;
}

static void warn_of_intervals(struct loader *l, const struct node *map, const struct health_settings *h) {
    char interval[VALUE_TEXT_MAX], hint[VALUE_TEXT_MAX + 40];
    duration_print(h->interval_us, interval);
    if (h->timeout_us > h->interval_us) {
        snprintf(hint, sizeof hint, "write timeout: %s or less", interval);
        WARN(l, place_of(map, "timeout", "interval"), hint,
             "a check may take longer ('timeout') than the time to the next ('interval')");
    }
    if (h->fast_interval_us > h->interval_us) {
        snprintf(hint, sizeof hint, "write fast_interval: %s or less", interval);
        WARN(l, place_of(map, "fast_interval", "interval"), hint, "'fast_interval' is slower than 'interval' (%s)",
             interval);
    }
}

/* What is not given is as in `defaults`; one way of checking replaces the other. */
bool finish_health(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const struct node *http = node_find(map, "http"), *tcp = node_find(map, "tcp");
    struct health_settings *h = base;
    (void)table;
    warn_of_intervals(l, map, h);
    if (http && tcp) return FAIL(l, tcp->place, NULL, "'http' and 'tcp' exclude each other");
    if (http || tcp) h->kind = http ? HEALTH_HTTP : HEALTH_TCP;
    if (h->kind != HEALTH_OFF) return true;
    return FAIL(l, map->place, "write health: {http: {path: /}}", "health needs 'http' or 'tcp'");
}

bool finish_breaker(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    const struct breaker_settings *b = base;
    char open[VALUE_TEXT_MAX], max_open[VALUE_TEXT_MAX], hint[VALUE_TEXT_MAX + 40];
    (void)table;
    if (b->max_open_us >= b->open_us) return true;
    duration_print(b->open_us, open);
    duration_print(b->max_open_us, max_open);
    snprintf(hint, sizeof hint, "write max_open: %s or more", open);
    return FAIL(l, place_of(map, "max_open", "open"), hint, "'max_open' (%s) is shorter than 'open' (%s)", max_open,
                open);
}

bool finish_backend(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    struct backend_settings *b = base;
    const struct node *servers = node_find(map, "servers");
    (void)table;
    if (!b->health.on) b->health.kind = HEALTH_OFF; /* it may have been on in `defaults` */
    if (!servers || servers->kind != NODE_LIST || servers->count != b->server_count) return true;
    for (uint32_t i = 0; i < b->server_count; i++)
        if (b->servers[i].weight > 0 && !b->servers[i].maint) return true;
    if (b->server_count)
        WARN(l, servers->place, NULL,
             "no server of this backend can be picked: all are in maintenance or have weight 0");
    return true;
}
