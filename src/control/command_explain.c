/* command_explain.c: what would be done with a request, without sending anything: each step by the code that does it.
 *
 *   words -> frontend, head as a client would send it (command_explain_request.c)
 *     -> read by the codec -> routes -> answer of our own | backend, rewrites -> pick (command_explain_pick.c) */
#include "command_internal.h"

#include "loomgate/config/values.h"
#include "loomgate/http/rewrite.h"
#include "loomgate/proxy/answer.h"
#include "loomgate/proxy/prepare.h"

/* --- routes ----------------------------------------------------------------------------------------------------- */

static void put_texts(struct view_node *row, const char *const *texts, uint32_t count) {
    struct view_node *list = view_list(row, "wanted");
    for (uint32_t i = 0; i < count; i++) view_text(list, NULL, texts[i]);
}

static void put_networks(struct view_node *row, const struct cidr_list *nets) {
    struct view_node *list = view_list(row, "wanted");
    char text[VALUE_TEXT_MAX];
    for (uint32_t i = 0; i < nets->count; i++) {
        cidr_print(&nets->v[i], text);
        view_text(list, NULL, text);
    }
}

static void put_found(struct view_node *row, struct slice found) {
    if (found.n)
        view_slice(row, "found", found);
    else
        view_null(row, "found");
}

static void put_found_field(struct view_node *row, const struct message *m, const char *name) {
    const struct field *f = fields_find_name(&m->fields, slice_of(name));
    put_found(row, f ? f->value : slice_from(NULL, 0));
}

/* A header, query or cookie: "header X-Tenant", wanted "blue". */
static void put_wanted(struct view_node *row, const char *kind, const struct name_values *wanted, uint32_t index) {
    view_printf(row, "condition", "%s %s", kind, wanted->v[index].name);
    put_texts(row, &wanted->v[index].value, 1);
}

static void put_found_client(struct view_node *row, const struct addr *client) {
    char ip[ADDR_TEXT_MAX];
    size_t n = client->len ? addr_print_ip(client, ip) : 0;
    put_found(row, slice_from(ip, n));
}

/* The first condition that does not hold: what it is, what it wants, what there is. */
static void put_miss(struct view_node *row, const struct question *q, const struct match_settings *m,
                     struct router_miss miss) {
    const struct message *r = &q->request;
    switch (miss.condition) {
    case ROUTER_NOTHING:
        break;
    case ROUTER_HOST:
        view_text(row, "condition", "host");
        put_texts(row, m->hosts.v, m->hosts.count);
        put_found(row, r->host);
        break;
    case ROUTER_PATH:
    case ROUTER_PATH_PREFIX:
        view_text(row, "condition", miss.condition == ROUTER_PATH ? "path" : "path_prefix");
        put_texts(row, miss.condition == ROUTER_PATH ? &m->path : &m->path_prefix, 1);
        put_found(row, r->path);
        break;
    case ROUTER_METHOD:
        view_text(row, "condition", "method");
        put_texts(row, m->methods.v, m->methods.count);
        put_found(row, r->method_name);
        break;
    case ROUTER_HEADER:
        put_wanted(row, "header", &m->headers, miss.index);
        put_found_field(row, r, m->headers.v[miss.index].name);
        break;
    case ROUTER_QUERY:
        put_wanted(row, "query", &m->queries, miss.index);
        put_found(row, r->query);
        break;
    case ROUTER_COOKIE:
        put_wanted(row, "cookie", &m->cookies, miss.index);
        put_found_field(row, r, "Cookie");
        break;
    case ROUTER_SOURCE:
        view_text(row, "condition", "source");
        put_networks(row, &m->sources);
        put_found_client(row, &q->client);
        break;
    }
}

/* Up to the one that matches; all when none does. */
static void put_routes(const struct question *q, const struct route *found) {
    const struct frontend *f = q->frontend;
    struct view_node *list = view_list(&q->call->view.root, "routes");
    for (uint32_t i = 0; i < f->settings->route_count; i++) {
        const struct route *route = &f->routes[i];
        struct view_node *row = view_object(list, NULL);
        view_text(row, "route", route->name);
        view_bool(row, "matches", route == found);
        put_miss(row, q, &route->settings->match, router_explain(f->router, i, &q->request, &q->client));
        if (route == found) return;
    }
}

/* --- what is done ----------------------------------------------------------------------------------------------- */

static void put_failure(struct view_node *root, enum failure f) {
    const struct failure_row *row = failure_get(f);
    struct view_node *in = view_object(root, "answer");
    view_number(in, "status", row->status);
    view_text(in, "cause", row->name);
    view_text(in, "message", row->sentence);
}

static void put_redirect(const struct question *q, const struct route *route) {
    struct arena *arena = &q->call->arena;
    struct answer_facts facts = {.scheme = SLICE("http"), .port = prepare_port(q->port, arena)};
    struct answer a;
    answer_redirect(&a, route->settings, &q->request, &facts, arena);
    struct view_node *in = view_object(&q->call->view.root, "answer");
    view_number(in, "status", a.head.status);
    view_slice(in, "location", fields_find_name(&a.head.fields, SLICE("Location"))->value);
}

static void put_respond(const struct question *q, const struct route *route) {
    struct answer a;
    answer_respond(&a, route->settings, &q->call->arena);
    struct view_node *in = view_object(&q->call->view.root, "answer");
    view_number(in, "status", a.head.status);
    view_bytes(in, "body_size", a.body.n);
}

/* With every head that is sent, and says the same. */
static bool is_written_anew(const struct field *f) {
    return f->id == FIELD_HOST || f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_TRANSFER_ENCODING;
}

/* What is sent to a server of other fields than came. */
static void put_rewrites(const struct question *q) {
    struct message m;
    struct arena *arena = &q->call->arena;
    struct slice id = prepare_id(q->frontend, &q->request);
    message_copy(&m, &q->request, arena, REWRITE_SPARE_FIELDS);
    uint32_t count = m.fields.count;
    prepare_request(&m, q->frontend, &q->client, q->port, id.n ? id : SLICE("(a new one)"), arena);
    struct view_node *list = view_list(&q->call->view.root, "rewrites");
    for (uint32_t i = 0; i < m.fields.count; i++) {
        const struct field *f = &m.fields.v[i];
        if (i < count ? !f->drop || is_written_anew(f) : f->drop) continue;
        struct view_node *row = view_object(list, NULL);
        view_text(row, "change", f->drop ? "dropped" : "added");
        view_slice(row, "field", f->name);
        view_slice(row, "value", f->value);
    }
}

static void put_backend(const struct question *q, const struct route *route) {
    struct view_node *root = &q->call->view.root;
    view_text(root, "backend", route->backend->settings->name);
    if (q->frontend->settings->mode == MODE_HTTP) put_rewrites(q);
    explain_pick(q, route->backend);
}

static void put_metrics(const struct question *q, const struct route *route) {
    struct view_node *in = view_object(&q->call->view.root, "answer");
    (void)route;
    view_number(in, "status", 200);
    view_text(in, "body", "metrics");
}

static void put_action(const struct question *q, const struct route *route) {
    static void (*const puts[])(const struct question *q, const struct route *route) = {
        [ROUTE_BACKEND] = put_backend,
        [ROUTE_REDIRECT] = put_redirect,
        [ROUTE_RESPOND] = put_respond,
        [ROUTE_METRICS] = put_metrics,
    };
    view_text(&q->call->view.root, "route", route->name);
    puts[route->settings ? route->settings->action : ROUTE_BACKEND](q, route);
}

static void put_request(const struct question *q) {
    struct view_node *in = view_object(&q->call->view.root, "request");
    view_slice(in, "method", q->request.method_name);
    view_slice(in, "host", q->request.host);
    view_slice(in, "path", q->request.uri);
    view_text(in, "protocol", q->request.minor ? "HTTP/1.1" : "HTTP/1.0");
}

static void explain_http(struct question *q) {
    struct view_node *root = &q->call->view.root;
    enum failure f = question_read(q);
    if (q->request.raw.n) put_request(q);
    if (f != FAILURE_NONE) {
        put_failure(root, f);
        return;
    }
    const struct route *route = frontend_find_route(q->frontend, &q->request, &q->client);
    put_routes(q, route);
    if (route)
        put_action(q, route);
    else
        put_failure(root, FAILURE_no_route);
}

static void run_explain(struct call *c) {
    struct question q;
    if (!question_take(&q, c)) return;
    view_text(&c->view.root, "frontend", q.frontend->settings->name);
    if (q.frontend->settings->mode == MODE_HTTP)
        explain_http(&q);
    else
        put_action(&q, &q.frontend->fallback);
    call_show(c);
}

const struct command commands_explain[] = {
    {.words = "explain",
     .arguments = "METHOD URL [NAME: VALUE]... [from ADDRESS] [frontend FRONTEND]",
     .min = 2,
     .max = CONTROL_WORDS_MAX,
     .run = run_explain,
     .help = "what would be done with a request now, and why: its route, answer or backend, each server's standing",
     .example = "explain GET /v1 \"Cookie: a=b\" from 192.0.2.7"},
    {.words = NULL},
};
