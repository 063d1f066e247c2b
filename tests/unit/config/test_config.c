/* test_config.c: whole configurations to structs: values, defaults, merging, what is not supported yet, the round trip.
 */
#include "config_text.h"

#include "loomgate/base/macros.h"

#include <sched.h>

static const char full[] =
    "version: 1\n"
    "global:\n"
    "  workers: 3\n"
    "  max_connections: 500\n"
    "  user: nobody\n"
    "  group: nogroup\n"
    "  chroot: /var/empty\n"
    "  log: {level: debug, to: 'file:/var/log/l.log', format: text, queue: 128}\n"
    "  shutdown: {grace: 1m}\n"
    "  control: [{socket: /run/c.sock}, {socket: /run/d.sock, mode: '660', owner: u, group: '7', level: operator}]\n"
    "  reload: {watch: true}\n"
    "  telemetry: {windows: [1s, 15s, 2m]}\n"
    "defaults:\n"
    "  timeouts: {client: 7s, connect: 3s}\n"
    "  limits: {uri_size: 1KiB, body_size: 1MiB}\n"
    "  forwarded: {trusted: [10.0.0.0/8]}\n"
    "  access_log: {to: stderr}\n"
    "  pool: {max_idle: 5}\n"
    "  breaker: off\n"
    "  drain: {timeout: 0}\n"
    "frontends:\n"
    "  web:\n"
    "    bind:\n"
    "      - \"*:80\"\n"
    "      - {address: '[::1]:81', backlog: 9, accept_proxy: yes}\n"
    "      - unix:/run/l.sock\n"
    "    max_connections: 100\n"
    "    timeouts: {header: 4s}\n"
    "    limits: {uri_size: 2KiB}\n"
    "    request_id: {header: X-Id, trust: true}\n"
    "    forwarded: {x_forwarded: replace}\n"
    "    access_log: {format: text}\n"
    "    routes:\n"
    "      - {match: {path: /x, method: GET}, respond: {status: 404, body: \"no\\n\", headers: {X-A: b}}}\n"
    "      - {name: old, match: {host: [OLD.Example.com, '*.Example.org'], header: {X-T: '*'}, query: {a: ''},\n"
    "         cookie: {c: d}, source: 127.0.0.1}, redirect: {to: 'https://%{host}%{uri}'}}\n"
    "      - {match: {path_prefix: /api}, backend: api, timeouts: {connect: 9s}, retry: {non_idempotent: true}}\n"
    "      - {name: m, match: {path: /metrics, source: [127.0.0.0/8, '::1']}, metrics: true}\n"
    "    default_backend: app\n"
    "  quiet: {bind: ['localhost:82'], access_log: off, default_backend: app}\n"
    "  db: {mode: tcp, bind: [':83'], timeouts: {client: 1h}, default_backend: api}\n"
    "backends:\n"
    "  app:\n"
    "    servers: ['127.0.0.1:9001', {name: b, address: 'unix:/b.sock', weight: 0, backup: true, maint: true,\n"
    "              send_proxy: v2, max_connections: 0}]\n"
    "    timeouts: {response: 11s}\n"
    "    pool: {idle_timeout: 0, max_requests: 77}\n"
    "    slow_start: 0\n"
    "    retry: {max: 5, on: [connect_failed, 503], backoff: {base: 5ms}, budget: {ratio: 12.5%}, buffer: 1MiB}\n"
    "  api: {servers: ['[::1]:9002'], balance: round_robin, retry: {max: 1, on: [], per_try_timeout: 3s}}\n";

static void check_controls(const struct global_settings *g) {
    assert_int_equal(g->control_count, 2);
    const struct control_settings *c = g->controls;
    assert_string_equal(c[0].socket, "/run/c.sock");
    assert_string_equal(c[0].mode, "0600");
    assert_null(c[0].owner);
    assert_null(c[0].group);
    assert_int_equal(c[0].level, CONTROL_USER);
    assert_string_equal(c[1].mode, "660");
    assert_string_equal(c[1].owner, "u");
    assert_string_equal(c[1].group, "7");
    assert_int_equal(c[1].level, CONTROL_OPERATOR);
}

static void check_global(const struct global_settings *g) {
    assert_int_equal(g->workers, 3);
    assert_int_equal(g->max_connections, 500);
    assert_string_equal(g->user, "nobody");
    assert_string_equal(g->group, "nogroup");
    assert_string_equal(g->chroot, "/var/empty");
    assert_int_equal(g->log.level, LEVEL_DEBUG);
    assert_int_equal(g->log.target, LOG_TO_FILE);
    assert_string_equal(g->log.path, "/var/log/l.log");
    assert_int_equal(g->log.format, FORMAT_TEXT);
    assert_int_equal(g->log.queue, 128);
    assert_true(g->log.on);
    assert_int_equal(g->shutdown_grace_us, 60000000);
    assert_int_equal(g->window_count, 3);
    assert_int_equal(g->windows_us[0], 1000000);
    assert_int_equal(g->windows_us[1], 15000000);
    assert_int_equal(g->windows_us[2], 120000000);
    assert_true(g->reload_watch);
    check_controls(g);
}

static void check_web(const struct frontend_settings *f) {
    assert_string_equal(f->name, "web");
    assert_int_equal(f->mode, MODE_HTTP);
    assert_int_equal(f->listener_count, 3);
    assert_int_equal(f->listeners[0].address.kind, ADDRESS_ANY);
    assert_int_equal(f->listeners[0].backlog, 4096);
    assert_int_equal(f->listeners[1].backlog, 9);
    assert_true(f->listeners[1].accept_proxy);
    assert_string_equal(f->listeners[2].address.host, "/run/l.sock");
    assert_int_equal(f->max_connections, 100);
    assert_int_equal(f->timeouts.header_us, 4000000);
    assert_int_equal(f->timeouts.client_us, 7000000);
    assert_int_equal(f->timeouts.keep_alive_us, 60000000);
    assert_int_equal(f->timeouts.request_us, 0);
    assert_int_equal(f->limits.header_size, 16384);
    assert_int_equal(f->limits.header_count, 100);
    assert_int_equal(f->limits.uri_size, 2048);
    assert_int_equal(f->limits.body_size, 1 << 20);
    assert_string_equal(f->request_id.header, "X-Id");
    assert_true(f->request_id.trust);
    assert_int_equal(f->forwarded.x_forwarded, X_FORWARDED_REPLACE);
    assert_int_equal(f->forwarded.trusted.count, 1);
    assert_int_equal(f->forwarded.trusted.v[0].bits, 104);
    assert_true(f->access_log.on);
    assert_int_equal(f->access_log.target, LOG_TO_STDERR);
    assert_int_equal(f->access_log.format, FORMAT_TEXT);
    assert_int_equal(f->default_backend, 0);
}

static void check_routes(const struct frontend_settings *f) {
    assert_int_equal(f->route_count, 4);
    const struct route_settings *r = f->routes;
    assert_string_equal(r[0].name, "route-1");
    assert_int_equal(r[0].action, ROUTE_RESPOND);
    assert_int_equal(r[0].respond.status, 404);
    assert_true(slice_is(r[0].respond.body, "no\n"));
    assert_string_equal(r[0].respond.headers.v[0].name, "X-A");
    assert_string_equal(r[0].respond.headers.v[0].value, "b");
    assert_string_equal(r[0].match.path, "/x");
    assert_int_equal(r[0].match.methods.count, 1);
    assert_string_equal(r[0].match.methods.v[0], "GET");
    assert_true(r[0].timeouts.connect_us == SETTING_UNSET && r[0].timeouts.queue_us == SETTING_UNSET);
    assert_string_equal(r[1].name, "old");
    assert_int_equal(r[1].action, ROUTE_REDIRECT);
    assert_int_equal(r[1].redirect.status, 308);
    assert_string_equal(r[1].redirect.to, "https://%{host}%{uri}");
    assert_string_equal(r[1].match.hosts.v[0], "old.example.com");
    assert_string_equal(r[1].match.hosts.v[1], "*.example.org");
    assert_string_equal(r[1].match.headers.v[0].value, "*");
    assert_string_equal(r[1].match.queries.v[0].value, "");
    assert_string_equal(r[1].match.cookies.v[0].name, "c");
    assert_int_equal(r[1].match.sources.v[0].bits, 128);
    assert_string_equal(r[2].name, "route-3");
    assert_int_equal(r[2].action, ROUTE_BACKEND);
    assert_int_equal(r[2].backend, 1);
    assert_int_equal(r[2].timeouts.connect_us, 9000000);
    assert_int_equal(r[3].action, ROUTE_METRICS);
    assert_int_equal(r[3].match.sources.count, 2);
    assert_false(r[0].has_retry || r[1].has_retry);
    assert_true(r[2].has_retry && r[2].retry.on && r[2].retry.non_idempotent);
    assert_int_equal(r[2].retry.max, 1); /* the rest is its backend's */
    assert_int_equal(r[2].retry.per_try_us, 3000000);
}

static void check_retry(const struct retry_settings *r) {
    assert_true(r->on);
    assert_int_equal(r->max, 5);
    assert_int_equal(r->cause_count, 2);
    assert_int_equal(r->causes[0], RETRY_ON_CONNECT_FAILED);
    assert_int_equal(r->causes[1], 503);
    assert_int_equal(r->backoff_base_us, 5000);
    assert_int_equal(r->backoff_max_us, 1000000);
    assert_true(r->budget_ratio > 0.1249999 && r->budget_ratio < 0.1250001);
    assert_int_equal(r->budget_min_per_second, 10);
    assert_false(r->non_idempotent);
    assert_int_equal(r->buffer, 1 << 20);
    assert_int_equal(r->per_try_us, 0);
}

static void check_backends(const struct config *c) {
    const struct backend_settings *b = c->backends;
    assert_int_equal(c->backend_count, 2);
    assert_string_equal(b[0].name, "app");
    assert_int_equal(b[0].server_count, 2);
    assert_string_equal(b[0].servers[0].name, "127.0.0.1:9001");
    assert_int_equal(b[0].servers[0].weight, 1);
    assert_false(b[0].servers[0].backup || b[0].servers[0].maint);
    assert_string_equal(b[0].servers[1].name, "b");
    assert_int_equal(b[0].servers[1].address.kind, ADDRESS_UNIX);
    assert_int_equal(b[0].servers[1].weight, 0);
    assert_true(b[0].servers[1].backup && b[0].servers[1].maint);
    assert_int_equal(b[0].servers[1].send_proxy, SEND_PROXY_V2);
    assert_int_equal(b[0].timeouts.connect_us, 3000000);
    assert_int_equal(b[0].timeouts.response_us, 11000000);
    assert_int_equal(b[0].timeouts.server_us, 30000000);
    assert_int_equal(b[0].timeouts.queue_us, 5000000);
    assert_int_equal(b[0].timeouts.tunnel_us, 3600000000);
    check_retry(&b[0].retry);
    assert_true(b[1].retry.on);
    assert_int_equal(b[1].retry.cause_count, 0);
    assert_int_equal(b[1].retry.per_try_us, 3000000);
    assert_int_equal(b[0].pool.max_idle, 5);
    assert_int_equal(b[0].pool.idle_timeout_us, 0);
    assert_int_equal(b[0].pool.max_requests, 77);
    assert_int_equal(b[1].pool.idle_timeout_us, 30000000);
}

static void check_full(const struct config *c) {
    assert_int_equal(c->frontend_count, 3);
    check_global(&c->global);
    check_web(&c->frontends[0]);
    check_routes(&c->frontends[0]);
    assert_false(c->frontends[1].access_log.on);
    assert_int_equal(c->frontends[1].limits.uri_size, 1024);
    assert_int_equal(c->frontends[2].mode, MODE_TCP);
    assert_int_equal(c->frontends[2].timeouts.client_us, 3600000000);
    assert_int_equal(c->frontends[2].default_backend, 1);
    assert_true(c->frontends[2].access_log.on);
    check_backends(c);
}

static void test_full(void **state) {
    (void)state;
    struct config *c = load_good(full);
    check_full(c);
    config_free(c);
}

/* What is printed loads again, means the same and prints the same. */
static void test_round_trip(void **state) {
    (void)state;
    struct config *c = load_good(full);
    char *first = printed(c);
    config_free(c);
    c = load_good(first);
    check_full(c);
    char *second = printed(c);
    assert_string_equal(first, second);
    free(first);
    free(second);
    config_free(c);
}

static void test_round_trip_of_texts(void **state) {
    static const char text[] =
        "version: 1\n"
        "frontends: {f: {bind: [':80'], routes: [{match: {query: {\"${q\\u2028 \": 'a: b # c'}},\n"
        "  respond: {body: \"\\0\\x01\\x7f\\x85\\u2029\\uFEFF\\U0001F600 $${A} \\\" \\\\ \\t\\r\\n\\n x \"}}]}}\n";
    (void)state;
    setenv("q", "v", 1);
    char copy[sizeof text];
    memcpy(copy, text, sizeof text);
    memcpy(strstr(copy, "${q\\"), "$$q\\", 4); /* a dollar in a key too */
    struct config *c = load_good(copy);
    const struct route_settings *r = c->frontends[0].routes;
    struct slice body = r->respond.body;
    static const char wanted[] = "\0\x01\x7f\xc2\x85\xe2\x80\xa9\xef\xbb\xbf\xf0\x9f\x98\x80 ${A} \" \\ \t\r\n\n x ";
    assert_int_equal(body.n, sizeof wanted - 1);
    assert_memory_equal(body.p, wanted, body.n);
    assert_string_equal(r->match.queries.v[0].name, "$q\xe2\x80\xa8 ");
    char *first = printed(c);
    config_free(c);
    c = load_good(first);
    r = c->frontends[0].routes;
    assert_int_equal(r->respond.body.n, sizeof wanted - 1);
    assert_memory_equal(r->respond.body.p, wanted, sizeof wanted - 1);
    assert_string_equal(r->match.queries.v[0].name, "$q\xe2\x80\xa8 ");
    free(first);
    config_free(c);
}

static void test_smallest(void **state) {
    (void)state;
    struct config *c = load_good("version: 1\nfrontends: {f: {bind: [':80'], default_backend: b}}\n"
                                 "backends: {b: {servers: ['127.0.0.1:81']}}\n");
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    assert_int_equal(c->global.workers, CPU_COUNT(&set));
    assert_int_equal(c->global.max_connections, 10000);
    assert_null(c->global.user);
    assert_int_equal(c->global.log.target, LOG_TO_STDERR);
    assert_int_equal(c->global.log.format, FORMAT_JSON);
    assert_int_equal(c->global.log.level, LEVEL_INFO);
    assert_int_equal(c->global.shutdown_grace_us, 30000000);
    assert_false(c->frontends[0].access_log.on);
    assert_string_equal(c->frontends[0].request_id.header, "X-Request-Id");
    config_free(c);
    c = load_good("version: 1\nfrontends: {f: {bind: [':80'], access_log: {}, default_backend: b}}\n"
                  "backends: {b: {servers: ['127.0.0.1:81']}}\n");
    assert_true(c->frontends[0].access_log.on);
    assert_int_equal(c->frontends[0].access_log.target, LOG_TO_STDOUT);
    assert_int_equal(c->frontends[0].access_log.format, FORMAT_JSON);
    config_free(c);
}

/* --- what is not built yet -------------------------------------------------------------------------------------- */

static void test_later(void **state) {
    static const struct {
        const char *where, *text, *told;
    } rows[] = {
        {"frontend", "bind: [{address: ':80', tls: {cert: x}}]", "'tls' is"},
        {"route", "split: [{backend: b, weight: 1}]", "'split' is"},
        {"route", "backend: b, rewrite: {path_prefix: /}", "'rewrite' is"},
        {"route", "backend: b, match: {path_regex: '^/'}", "'path_regex' is"},
        {"route", "backend: b, request_headers: {set: {A: b}, add: {C: d}, remove: [E]}", "'request_headers' is"},
        {"route", "backend: b, response_headers: {}", "'response_headers' is"},
        {"server", "tls: {}", "'tls' is"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        const char *where = rows[i].where, *text = rows[i].text;
        bool is_bind = strncmp(text, "bind", 4) == 0;
        char all[1000], wanted[200];
#define AT(place, before) strcmp(where, place) == 0 ? before : "", strcmp(where, place) == 0 ? text : ""
        snprintf(all, sizeof all,
                 "version: 1\nglobal: {%s%s}\ndefaults: {%s%s}\n"
                 "frontends: {f: {%s%s%s, routes: [%s%s%s], default_backend: b}}\n"
                 "backends: {b: {servers: [{address: '1.2.3.4:5'%s%s}]%s%s}}\n",
                 AT("global", ""), AT("defaults", ""), is_bind ? "" : "bind: [':80']", AT("frontend", ""),
                 AT("route", "{"), strcmp(where, "route") == 0 ? "}" : "", AT("server", ", "), AT("backend", ", "));
        snprintf(wanted, sizeof wanted, "error: %s|not supported yet", rows[i].told);
        must_fail(all, wanted);
    }
}

/* Settings whose work is not built yet are checked all the same, and then that is what is told. */
static void test_later_is_checked(void **state) {
    static const char head[] = "version: 1\nfrontends: {f: {bind: [':80'], routes: [%s], default_backend: b}}\n"
                               "backends: {b: {servers: ['1.2.3.4:5']}}\n";
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"{backend: b, split: []}", "'split' needs at least one"},
        {"{split: [{backend: b, weight: -1}]}", "'weight': '-1' is not a whole number"},
        {"{split: [{backend: c, weight: 1}]}", "'backend': there is no backend 'c'"},
        {"{backend: b, rewrite: {path_prefix: a}}", "'path_prefix': 'a' is not a path"},
        {"{backend: b, request_headers: {sett: {A: b}}}",
         "unknown key 'sett' in an edit of fields|did you mean 'set'?"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char all[600];
        snprintf(all, sizeof all, head, rows[i].text);
        must_fail(all, rows[i].told);
    }
}

/* tests/unit/config/data, beside this file. */
static void data_path(char out[512], const char *name) {
    const char *slash = strrchr(__FILE__, '/');
    snprintf(out, 512, "%.*s/data/%s", slash ? (int)(slash - __FILE__) : 1, slash ? __FILE__ : ".", name);
}

static struct retry_settings retry_of(const char *backend, const char *route) {
    char text[600];
    snprintf(text, sizeof text,
             "version: 1\ndefaults: {retry: {max: 7}}\n"
             "frontends: {f: {bind: [':80'], routes: [{backend: b%s}]}}\nbackends: {b: {servers: ['1.2.3.4:5']%s}}\n",
             route, backend);
    struct config *c = load_good(text);
    const struct route_settings *r = &c->frontends[0].routes[0];
    struct retry_settings s = r->has_retry ? r->retry : c->backends[0].retry;
    config_free(c);
    return s; /* without its list, which is gone */
}

/* Key by key: a route's over its backend's over defaults'; `off` turns off, a map on again. */
static void test_retry_is_folded(void **state) {
    (void)state;
    struct retry_settings s = retry_of("", "");
    assert_true(s.on && s.max == 7 && s.cause_count == 8 && s.buffer == 65536 && s.backoff_base_us == 25000);
    s = retry_of(", retry: {buffer: 1KiB}", "");
    assert_true(s.on && s.max == 7 && s.buffer == 1024);
    s = retry_of(", retry: {buffer: 1KiB}", ", retry: {on: [502]}");
    assert_true(s.on && s.max == 7 && s.buffer == 1024 && s.cause_count == 1);
    s = retry_of(", retry: off", "");
    assert_true(!s.on && s.buffer == 65536);
    s = retry_of(", retry: off", ", retry: {max: 1}");
    assert_true(s.on && s.max == 1);
    s = retry_of("", ", retry: off");
    assert_true(!s.on && s.max == 7);
    must_fail("version: 1\nfrontends: {f: {bind: [':80'], routes: [{backend: b, retry: {max: x}}]}}\n"
              "backends: {b: {servers: ['1.2.3.4:5']}}\n",
              "'max': 'x' is not a whole number");
}

/* The design's example of every key: what is told of it is only that parts are not supported yet. */
static void test_example(void **state) {
    char path[512];
    struct diagnostics d;
    (void)state;
    data_path(path, "example.yaml");
    diagnostics_init(&d);
    assert_null(config_load(path, NULL, 0, &d));
    const struct diagnostic *one;
    size_t count = 0;
    for (; (one = diagnostics_find(&d, count)) != NULL; count++)
        if (!strstr(one->text, "not supported yet")) fail_msg("%u: %s", one->place.line, one->text);
    assert_int_equal(count, 4);
    diagnostics_fini(&d);
}

static void test_reference(void **state) {
    static const char *const wanted[] = {
        "<!-- settings: top level -->\n",
        "<!-- settings: backends.NAME.servers -->\n",
        "| `header_size` | size, 1KiB to 1MiB | `16KiB` | live |",
        "| `workers` | number, 1 to 1024, or `auto` | `auto` | restart |",
        "| `bind` | list of address or map | required | live |",
        "| `bounded_load` | factor, 1 to 100 | `1.25` | live |",
        "**Not supported yet** |",
    };
    char *text = NULL;
    size_t len;
    (void)state;
    FILE *out = open_memstream(&text, &len);
    config_print_reference(out);
    fclose(out);
    for (size_t i = 0; i < LG_COUNT(wanted); i++)
        if (!strstr(text, wanted[i])) fail_msg("not there: %s", wanted[i]);
    assert_null(strstr(text, "(null)"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_of_texts),
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_later_is_checked),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_retry_is_folded),
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
