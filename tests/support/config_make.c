/* config_make.c: configurations made in C. */
#include "config_make.h"

#include <string.h>

/* The lists of a configuration are const to everybody else. */
#define EDITABLE(list, type) ((type *)(uintptr_t)(list))

static const struct timeout_settings unset = {SETTING_UNSET, SETTING_UNSET, SETTING_UNSET, SETTING_UNSET, SETTING_UNSET,
                                              SETTING_UNSET, SETTING_UNSET, SETTING_UNSET, SETTING_UNSET};

struct config *config_make(void) {
    struct config *c = xcalloc(1, sizeof *c);
    arena_init(&c->arena, NULL, 0);
    c->global.workers = 1;
    c->frontends = arena_calloc(&c->arena, CONFIG_ROOM * sizeof *c->frontends);
    c->backends = arena_calloc(&c->arena, CONFIG_ROOM * sizeof *c->backends);
    return c;
}

struct frontend_settings *config_add_frontend(struct config *c, const char *name) {
    LG_ASSERT(c->frontend_count < CONFIG_ROOM);
    struct frontend_settings *f = &EDITABLE(c->frontends, struct frontend_settings)[c->frontend_count++];
    f->name = name;
    f->limits = (struct limit_settings){.header_size = 32768, .header_count = 100, .uri_size = 8192};
    f->request_id.header = "X-Request-Id";
    f->routes = arena_calloc(&c->arena, CONFIG_ROOM * sizeof *f->routes);
    f->default_backend = -1;
    return f;
}

struct route_settings *config_add_route(struct config *c, struct frontend_settings *f, const char *name,
                                        const char *path_prefix) {
    (void)c;
    LG_ASSERT(f->route_count < CONFIG_ROOM);
    struct route_settings *r = &EDITABLE(f->routes, struct route_settings)[f->route_count++];
    r->name = name;
    r->match.path_prefix = path_prefix;
    r->action = ROUTE_RESPOND;
    r->respond.status = 200;
    r->timeouts = unset;
    return r;
}

struct backend_settings *config_add_backend(struct config *c, const char *name) {
    LG_ASSERT(c->backend_count < CONFIG_ROOM);
    struct backend_settings *b = &EDITABLE(c->backends, struct backend_settings)[c->backend_count++];
    b->name = name;
    b->servers = arena_calloc(&c->arena, CONFIG_ROOM * sizeof *b->servers);
    b->pool = (struct pool_settings){.max_idle = 16};
    b->retry.buffer = 65536;
    return b;
}

struct server_settings *config_add_server(struct config *c, struct backend_settings *b, const char *name,
                                          const struct addr *at) {
    LG_ASSERT(b->server_count < CONFIG_ROOM);
    struct server_settings *s = &EDITABLE(b->servers, struct server_settings)[b->server_count++];
    s->name = name;
    s->address = address_make(&c->arena, at);
    s->weight = 1;
    return s;
}

struct address_setting address_make(struct arena *a, const struct addr *at) {
    char text[ADDR_TEXT_MAX], ip[ADDR_TEXT_MAX];
    size_t n = addr_print(at, text), ip_len = addr_print_ip(at, ip);
    struct address_setting s = {.text = arena_strndup(a, text, n), .port = addr_port(at)};
    s.kind = addr_is_unix(at) ? ADDRESS_UNIX : ADDRESS_IP;
    s.host = addr_is_unix(at) ? s.text + strlen("unix:") : arena_strndup(a, ip, ip_len);
    return s;
}

void route_to(struct route_settings *r, uint32_t backend) {
    r->action = ROUTE_BACKEND;
    r->backend = backend;
}
