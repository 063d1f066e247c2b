/* test_config_diff.c: what is told of the difference between two configurations. */
#include "config_text.h"

#include "loomgate/base/macros.h"
#include "loomgate/config/config_diff.h"

/* What is appended to a file of a version, and what must be told of the change from one to the other, in lines. */
struct row {
    const char *name, *before, *after, *told;
};

static struct config *load_any(const char *text) {
    char whole[8192], *messages;
    snprintf(whole, sizeof whole, "version: 1\n%s", text);
    struct config *c = load_with(whole, strlen(whole), NULL, 0, &messages);
    if (!c) fail_msg("did not load: %s\n%s", messages, whole);
    free(messages);
    return c;
}

static char *print_diff(const struct config_diff *d) {
    static char *text; /* static: gcc 12 takes it for a dangling pointer otherwise */
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    config_diff_print(d, out);
    fclose(out);
    return text;
}

static void check_row(const struct row *row) {
    struct config *before = load_any(row->before), *after = load_any(row->after);
    struct config_diff d;
    config_diff_init(&d, before, after);
    config_free(before);
    config_free(after); /* nothing of them is needed any more */
    char *text = print_diff(&d);
    if (strcmp(text, row->told) != 0) fail_msg("%s:\n%s\nbut wanted:\n%s", row->name, text, row->told);
    free(text);
    config_diff_fini(&d);
}

#define CHECK_ROWS(rows) \
    for (size_t i = 0; i < LG_COUNT(rows); i++) check_row(&(rows)[i])

/* A backend `a` with what follows, and a frontend that uses it. */
#define BACKEND(keys)  "backends: {a: {servers: ['h:1'], " keys "}}\n"
#define SERVERS(list)  "backends: {a: {servers: [" list "]}}\n"
#define FRONTEND(keys) SERVERS("'h:1'") "frontends: {f: {bind: [':80'], default_backend: a, " keys "}}\n"
#define ROUTES(list)   FRONTEND("routes: [" list "]")
#define GLOBAL(keys)   SERVERS("'h:1'") "global: {" keys "}\n"

static void test_scalars(void **state) {
    static const struct row rows[] = {
        {"duration", BACKEND("timeouts: {connect: 1s}"), BACKEND("timeouts: {connect: 1m30s}"),
         "changed backends.a.timeouts.connect: 1s -> 1m30s\n"},
        {"from its default", BACKEND(""), BACKEND("slow_start: 10s"), "changed backends.a.slow_start: 0 -> 10s\n"},
        {"size", FRONTEND("limits: {body_size: 0}"), FRONTEND("limits: {body_size: 1MiB}"),
         "changed frontends.f.limits.body_size: 0 -> 1MiB\n"},
        {"bool and text", FRONTEND(""), FRONTEND("request_id: {trust: true, header: 'X-A'}"),
         "changed frontends.f.request_id.header: X-Request-Id -> X-A\n"
         "changed frontends.f.request_id.trust: false -> true\n"},
        {"ratio", BACKEND("breaker: {error_rate: 50%}"), BACKEND("breaker: {error_rate: 0.125}"),
         "changed backends.a.breaker.error_rate: 50% -> 12.5%\n"},
        {"log target", GLOBAL("log: {to: stderr}"), GLOBAL("log: {to: 'file:/x y'}"),
         "changed global.log.to: stderr -> \"file:/x y\"\n"},
        {"text that was not there", GLOBAL(""), GLOBAL("user: nobody"),
         "added   global.user: nobody (needs a restart)\n"},
        {"text that is gone", GLOBAL("chroot: /x"), GLOBAL(""), "removed global.chroot: \"/x\" (needs a restart)\n"},
        {"bytes", BACKEND("health: {tcp: {send: 'a'}}"), BACKEND("health: {tcp: {send: \"a\\n\"}}"),
         "changed backends.a.health.tcp.send: a -> \"a\\n\"\n"},
        {"list", BACKEND("retry: {on: [502]}"), BACKEND("retry: {on: [502, connect_failed]}"),
         "changed backends.a.retry.on: [502] -> [502, connect_failed]\n"},
        {"networks", FRONTEND("forwarded: {trusted: []}"), FRONTEND("forwarded: {trusted: [10.0.0.0/8, '::1']}"),
         "added   frontends.f.forwarded.trusted: [10.0.0.0/8, \"::1/128\"]\n"},
        {"restart", GLOBAL("workers: 2, log: {queue: 100}"), GLOBAL("workers: 3, log: {queue: 64, level: warn}"),
         "changed global.workers: 2 -> 3 (needs a restart)\nchanged global.log.level: info -> warn\n"
         "changed global.log.queue: 100 -> 64 (needs a restart)\n"},
        {"a control socket", GLOBAL("control: [{socket: /a}, {socket: /b}]"),
         GLOBAL("control: [{socket: /b, level: admin}, {socket: '/c d'}]"),
         "removed global.control./a: {socket: \"/a\"} (needs a restart)\n"
         "changed global.control./b.level: user -> admin (needs a restart)\n"
         "added   global.control.\"/c d\": {socket: \"/c d\"} (needs a restart)\n"},
    };
    (void)state;
    CHECK_ROWS(rows);
}

static void test_nothing_changes(void **state) {
    static const char written_out[] =
        "global: {max_connections: 10000, log: {level: info, to: stderr, format: json, queue: 8192},"
        " shutdown: {grace: 30s}}\n"
        "frontends:\n"
        "  f: {bind: [{address: '*:80', backlog: 4096, accept_proxy: no}], default_backend: a, mode: http,\n"
        "      timeouts: {header: 10000ms, keep_alive: 1m, client: 30s, request: 0s}, access_log: off,\n"
        "      limits: {header_size: 16384, header_count: 100}, request_id: {trust: false}, routes: [],\n"
        "      forwarded: {x_forwarded: append, trusted: []}}\n"
        "backends:\n"
        "  a: {servers: [{address: 'h:1', weight: 1, backup: false}], balance: round_robin, health: off,\n"
        "      breaker: {error_rate: 0.5}, retry: {max: 2, on: [connect_failed, connect_timeout, closed_idle,\n"
        "      reset_before_response, response_timeout, 502, 503, 504]}, queue: {max: 1024}, slow_start: 0}\n";
    static const struct row rows[] = {
        {"nothing at all", "", "", ""},
        {"twice the same", ROUTES("{match: {path: /x}, backend: a}"), ROUTES("{match: {path: /x}, backend: a}"), ""},
        {"defaults written out", FRONTEND(""), written_out, ""},
        {"in defaults or in place", FRONTEND("timeouts: {client: 5s}"),
         FRONTEND("") "defaults: {timeouts: {client: 5s}}\n", ""},
        {"by an anchor", FRONTEND("limits: {uri_size: 64}"),
         "defaults: {limits: &l {uri_size: 64}}\n" FRONTEND("limits: *l"), ""},
        {"sections in another order", FRONTEND(""),
         "frontends: {f: {default_backend: a, bind: [':80']}}\n" SERVERS("'h:1'"), ""},
        {"backends in another order",
         "backends: {a: {servers: ['h:1']}, b: {servers: ['h:1']}}\n"
         "frontends: {f: {bind: [':80'], default_backend: a}}\n",
         "backends: {b: {servers: ['h:1']}, a: {servers: ['h:1']}}\n"
         "frontends: {f: {bind: [':80'], default_backend: a}}\n",
         ""},
        {"addresses in other words", FRONTEND(""),
         "frontends: {f: {bind: ['*:80'], default_backend: a}}\n" SERVERS("'h:1'"), ""},
        {"off and off", BACKEND("health: off, breaker: off"), BACKEND("health: off, breaker: no"), ""},
        {"what tcp has not", "frontends: {f: {mode: tcp, bind: [':80'], default_backend: a}}\n" SERVERS("'h:1'"),
         "defaults: {limits: {uri_size: 64}}\n"
         "frontends: {f: {mode: tcp, bind: [':80'], default_backend: a}}\n" SERVERS("'h:1'"),
         ""},
    };
    (void)state;
    CHECK_ROWS(rows);
}

static void test_maps(void **state) {
    static const struct row rows[] = {
        {"off to on", BACKEND(""), BACKEND("health: {http: {path: /up}, rise: 5}"),
         "changed backends.a.health: off -> {http: {path: \"/up\"}, rise: 5}\n"},
        {"on to off", BACKEND("breaker: {open: 1s}"), BACKEND("breaker: off"),
         "changed backends.a.breaker: {open: 1s} -> off\n"},
        {"on with nothing but defaults", BACKEND("retry: off"), BACKEND(""), "changed backends.a.retry: off -> {}\n"},
        {"one way to another", BACKEND("health: {http: {}}"), BACKEND("health: {tcp: {send: x}}"),
         "removed backends.a.health.http: {}\nadded   backends.a.health.tcp: {send: x}\n"},
        {"a word to a map", BACKEND("balance: first"), BACKEND("balance: {hash: source}"),
         "changed backends.a.balance: first -> {hash: source}\n"},
        {"in such a map", BACKEND("balance: {hash: host}"), BACKEND("balance: {hash: 'header:X', bounded_load: 2}"),
         "changed backends.a.balance.hash: host -> \"header:X\"\n"
         "changed backends.a.balance.bounded_load: 1.25 -> 2\n"},
        {"a log", FRONTEND(""), FRONTEND("access_log: {to: 'file:/a', format: text}"),
         "changed frontends.f.access_log: off -> {to: \"file:/a\", format: text}\n"},
        {"http to tcp", ROUTES("{match: {path: /x}, backend: a}"), FRONTEND("mode: tcp, timeouts: {client: 1s}"),
         "changed frontends.f.mode: http -> tcp\nchanged frontends.f.timeouts.client: 30s -> 1s\n"
         "removed frontends.f.routes.route-1: {name: route-1, match: {path: \"/x\"}, backend: a}\n"},
    };
    (void)state;
    CHECK_ROWS(rows);
}

static void test_servers(void **state) {
    static const struct row rows[] = {
        {"a key", SERVERS("{name: a2, address: 'h:1'}"), SERVERS("{name: a2, address: 'h:1', weight: 7, maint: true}"),
         "changed backends.a.servers.a2.weight: 1 -> 7\nchanged backends.a.servers.a2.maint: false -> true\n"},
        {"added and removed", SERVERS("'h:1', 'h:2', 'h:3'"),
         SERVERS("'h:1', {name: new, address: 'h:2', backup: true}, 'h:4'"),
         "added   backends.a.servers.new: {name: new, address: \"h:2\", backup: true}\n"
         "added   backends.a.servers.h:4: \"h:4\"\n"
         "removed backends.a.servers.h:2: \"h:2\"\nremoved backends.a.servers.h:3: \"h:3\"\n"},
        {"renamed", SERVERS("{name: x, address: 'h:1'}, 'h:9'"), SERVERS("{name: z, address: 'h:1'}, 'h:9'"),
         "added   backends.a.servers.z: {name: z, address: \"h:1\"}\n"
         "removed backends.a.servers.x: {name: x, address: \"h:1\"}\n"},
        {"moved house", SERVERS("{name: x, address: 'h:1'}"), SERVERS("{name: x, address: 'h:2'}"),
         "changed backends.a.servers.x.address: \"h:1\" -> \"h:2\"\n"},
        {"an address in other words", SERVERS("{name: x, address: 'Host:1'}, {name: y, address: '[::1]:1'}"),
         SERVERS("{name: x, address: 'host:1'}, {name: y, address: '[0::1]:1'}"), ""},
        {"the order", SERVERS("'h:1', 'h:2', 'h:3'"), SERVERS("'h:3', 'h:1', 'h:2'"),
         "moved   backends.a.servers.h:3: 3 -> 1\n"},
        {"at its place", SERVERS("'h:1', 'h:2', 'h:3'"), SERVERS("'h:1', {address: 'h:3', weight: 2}"),
         "removed backends.a.servers.h:2: \"h:2\"\nchanged backends.a.servers.h:3.weight: 1 -> 2\n"},
    };
    (void)state;
    CHECK_ROWS(rows);
}

static void test_listeners(void **state) {
#define BIND(list) "frontends: {f: {bind: [" list "], routes: []}}\n"
    static const struct row rows[] = {
        {"a key", BIND("':80', '[::1]:81'"), BIND("'*:80', {address: '[0::1]:81', backlog: 9}"),
         "changed frontends.f.bind.[0::1]:81.backlog: 4096 -> 9\n"},
        {"opened and closed", BIND("':80'"), BIND("'unix:/a', {address: ':81', accept_proxy: yes}"),
         "added   frontends.f.bind.unix:/a: \"unix:/a\"\n"
         "added   frontends.f.bind.:81: {address: \":81\", accept_proxy: true}\n"
         "removed frontends.f.bind.:80: \":80\"\n"},
        {"the order means nothing", BIND("':80', ':81'"), BIND("':81', ':80'"), ""},
        {"any port twice", BIND("':0', ':0'"), BIND("':0', '*:0'"), ""},
        {"any port, one more", BIND("':0', ':0'"), BIND("':0', {address: ':0', backlog: 7}, ':0'"),
         "changed frontends.f.bind.:0.backlog: 4096 -> 7\nadded   frontends.f.bind.:0: \":0\"\n"},
    };
    (void)state;
    CHECK_ROWS(rows);
}

static void test_routes(void **state) {
#define A "{name: a, match: {path: /a}, backend: a}"
#define B "{name: b, match: {path: /b}, backend: a}"
#define C "{name: c, match: {path: /c}, backend: a}"
#define D "{name: d, match: {path: /d}, backend: a}"
    static const struct row rows[] = {
        {"two change places", ROUTES(A "," B), ROUTES(B "," A), "moved   frontends.f.routes.b: 2 -> 1\n"},
        {"the fewest that moved are told", ROUTES(A "," B "," C "," D), ROUTES(B "," C "," D "," A),
         "moved   frontends.f.routes.a: 1 -> 4\n"},
        {"moved and changed", ROUTES(A "," B "," C), ROUTES("{name: c, match: {path: /x}, backend: a}," A "," B),
         "moved   frontends.f.routes.c: 3 -> 1\nchanged frontends.f.routes.c.match.path: \"/c\" -> \"/x\"\n"},
        {"put in between", ROUTES(A "," C), ROUTES(A "," B "," C),
         "added   frontends.f.routes.b: {name: b, match: {path: \"/b\"}, backend: a}\n"},
        {"taken out", ROUTES(A "," B "," C), ROUTES(A "," C),
         "removed frontends.f.routes.b: {name: b, match: {path: \"/b\"}, backend: a}\n"},
        {"match", ROUTES("{backend: a}"), ROUTES("{match: {host: [x, '*.y'], header: {X-A: '*'}}, backend: a}"),
         "added   frontends.f.routes.route-1.match: {host: [x, \"*.y\"], header: {X-A: \"*\"}}\n"},
        {"pairs", ROUTES("{match: {query: {a: '1', b: '2', 'c d': ''}}, backend: a}"),
         ROUTES("{match: {query: {d: '4', b: '3', 'c d': ''}}, backend: a}"),
         "removed frontends.f.routes.route-1.match.query.a: 1\nadded   frontends.f.routes.route-1.match.query.d: 4\n"
         "changed frontends.f.routes.route-1.match.query.b: 2 -> 3\n"},
        {"a name with a space", ROUTES("{match: {query: {'c \"d': ''}}, backend: a}"),
         ROUTES("{match: {query: {'c \"d': 'e$$'}}, backend: a}"),
         "changed frontends.f.routes.route-1.match.query.\"c \\\"d\": \"\" -> \"e$$\"\n"},
        {"one of one or many", ROUTES("{match: {method: GET}, backend: a}"),
         ROUTES("{match: {method: [GET, PUT]}, backend: a}"),
         "changed frontends.f.routes.route-1.match.method: GET -> [GET, PUT]\n"},
        {"action", ROUTES("{name: r, redirect: {to: /x}}"), ROUTES("{name: r, respond: {status: 503, body: no}}"),
         "removed frontends.f.routes.r.redirect: {to: \"/x\"}\n"
         "added   frontends.f.routes.r.respond: {status: 503, body: \"no\"}\n"},
        {"timeouts", ROUTES("{name: r, backend: a, timeouts: {client: 1s}}"),
         ROUTES("{name: r, backend: a, timeouts: {client: 2s, server: 0}}"),
         "changed frontends.f.routes.r.timeouts.client: 1s -> 2s\n"
         "added   frontends.f.routes.r.timeouts.server: 0\n"},
        {"retry", ROUTES("{name: r, backend: a}"), ROUTES("{name: r, backend: a, retry: {max: 5}}"),
         "added   frontends.f.routes.r.retry: {max: 5}\n"},
    };
    (void)state;
    CHECK_ROWS(rows);
}

static void test_sections(void **state) {
    static const struct row rows[] = {
        {"added", FRONTEND(""),
         "frontends: {f: {bind: [':80'], default_backend: a},\n"
         "            g: {bind: [':81'], timeouts: {client: 1s}, routes: [{backend: b}]},\n"
         "            t: {mode: tcp, bind: [':82', ':83'], default_backend: b}}\n"
         "backends: {a: {servers: ['h:1']}, b: {servers: ['h:1', {address: 'h:2', weight: 0}], retry: {max: 9}}}\n",
         "added   frontends.g: {bind: [\":81\"], timeouts: {client: 1s}, routes: [{name: route-1, backend: b}]}\n"
         "added   frontends.t: {mode: tcp, bind: [\":82\", \":83\"], default_backend: b}\n"
         "added   backends.b: {servers: [\"h:1\", {address: \"h:2\", weight: 0}], retry: {max: 9}}\n"},
        {"removed", FRONTEND("access_log: {}"), "", /* with all that is in it */
         "removed frontends.f: {bind: [\":80\"], access_log: {}, default_backend: a}\n"
         "removed backends.a: {servers: [\"h:1\"]}\n"},
        {"where they stood", "backends: {a: {servers: ['h:1']}, b: {servers: ['h:1']}, c: {servers: ['h:1']}}\n",
         "backends: {a: {servers: ['h:2']}, c: {servers: ['h:3']}}\n",
         "added   backends.a.servers.h:2: \"h:2\"\nremoved backends.a.servers.h:1: \"h:1\"\n"
         "removed backends.b: {servers: [\"h:1\"]}\n"
         "added   backends.c.servers.h:3: \"h:3\"\nremoved backends.c.servers.h:1: \"h:1\"\n"},
        {"another backend of the same name's place",
         "backends: {a: {servers: ['h:1']}, b: {servers: ['h:1']}}\n"
         "frontends: {f: {bind: [':80'], default_backend: b}}\n",
         "backends: {c: {servers: ['h:1']}, a: {servers: ['h:1']}, b: {servers: ['h:1']}}\n"
         "frontends: {f: {bind: [':80'], default_backend: a}}\n",
         "changed frontends.f.default_backend: b -> a\nadded   backends.c: {servers: [\"h:1\"]}\n"},
        {"no default backend any more", FRONTEND("routes: []"),
         "frontends: {f: {bind: [':80'], routes: []}}\n" SERVERS("'h:1'"), "removed frontends.f.default_backend: a\n"},
    };
    (void)state;
    CHECK_ROWS(rows);
}

/* One change of the file, each place that it hits. */
static void test_shared_settings(void **state) {
#define SHARED(value)                                                                          \
    "defaults: {timeouts: {client: " value "}, pool: &p {max_idle: 3}}\n"                      \
    "frontends: {f: {bind: [':80'], default_backend: a},\n"                                    \
    "            g: {bind: [':81'], default_backend: a, timeouts: &t {request: " value "}},\n" \
    "            h: {bind: [':82'], default_backend: a, timeouts: {<<: *t, client: 4s}}}\n"    \
    "backends: {a: {servers: ['h:1'], pool: *p}}\n"
    static const struct row rows[] = {
        {"by defaults and by an anchor", SHARED("1s"), SHARED("2s"),
         "changed frontends.f.timeouts.client: 1s -> 2s\nchanged frontends.g.timeouts.client: 1s -> 2s\n"
         "changed frontends.g.timeouts.request: 1s -> 2s\nchanged frontends.h.timeouts.request: 1s -> 2s\n"},
    };
    (void)state;
    CHECK_ROWS(rows);
}

/* What programs read. */
static void test_fields(void **state) {
    (void)state;
    struct config *before = load_any(GLOBAL("workers: 2")), *after = load_any(GLOBAL("workers: 2, user: u"));
    struct config_diff d;
    config_diff_init(&d, before, before);
    assert_int_equal(d.count, 0);
    config_diff_fini(&d);
    config_diff_init(&d, before, after);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.restart_count, 1);
    assert_int_equal(d.v[0].kind, CHANGE_ADDED);
    assert_string_equal(change_kind_name(d.v[0].kind), "added");
    assert_int_equal(d.v[0].reload, RELOAD_RESTART);
    assert_string_equal(d.v[0].path, "global.user");
    assert_null(d.v[0].before);
    assert_string_equal(d.v[0].after, "u");
    config_diff_fini(&d);
    config_free(before);
    config_free(after);
}

/* For eyes long values are cut, between characters; programs get all. */
static void test_long_values(void **state) {
    char text[1000] = GLOBAL("user: \"\\u00e9xxx"), wanted[400];
    (void)state;
    text[strlen(text) - 2] = '\0'; /* the brace comes again */
    for (int i = 0; i < 200; i++) strcat(text, "\xc3\xa9");
    strcat(text, "\"}\n");
    struct config *before = load_any(""), *after = load_any(text);
    struct config_diff d;
    config_diff_init(&d, before, after);
    char *shown = print_diff(&d);
    const char *end = strstr(shown, "... (needs a restart)");
    assert_non_null(end);
    snprintf(wanted, sizeof wanted, "\xc3\xa9...");
    assert_int_equal(strncmp(end - 2, wanted, strlen(wanted)), 0);
    free(shown);
    const struct config_change *last = NULL;
    for (uint32_t i = 0; i < d.count; i++)
        if (strcmp(d.v[i].path, "global.user") == 0) last = &d.v[i];
    assert_non_null(last);
    assert_int_equal(strlen(last->after), 2 + 2 + 3 + 400);
    config_diff_fini(&d);
    config_free(before);
    config_free(after);
}

/* A server for each turn: moved ones are found without looking at all pairs. */
static void test_many(void **state) {
    enum { COUNT = 20000 };
    char *text[2], *messages;
    size_t len[2];
    struct config *c[2];
    (void)state;
    for (int side = 0; side < 2; side++) {
        FILE *out = open_memstream(&text[side], &len[side]);
        assert_non_null(out);
        fputs("version: 1\nbackends:\n  a:\n    servers:\n", out);
        for (unsigned i = 0; i < COUNT; i++)
            fprintf(out, "    - {name: s%u, address: 'h:1'}\n", side ? COUNT - 1 - i : i);
        fclose(out);
        c[side] = load_with(text[side], len[side], NULL, 0, &messages);
        assert_non_null(c[side]);
        free(messages);
        free(text[side]);
    }
    struct config_diff d;
    config_diff_init(&d, c[0], c[1]);
    assert_int_equal(d.count, COUNT - 1); /* one of all that turned round stays */
    config_diff_fini(&d);
    config_free(c[0]);
    config_free(c[1]);
}

/* What only a restart changes becomes what runs, and is told again by the next comparison. */
static void test_fixed(void **state) {
    struct config *first = load_any(GLOBAL("workers: 2, control: [{socket: /a}], log: {queue: 128, level: warn}"));
    struct config *second = load_any(GLOBAL("workers: 3, user: nobody, log: {queue: 64}, max_connections: 7"));
    struct config_diff d;
    (void)state;
    config_keep_fixed(second, first);
    assert_int_equal(second->global.workers, 2);
    assert_null(second->global.user);
    assert_true(second->global.control_count == 1 && strcmp(second->global.controls[0].socket, "/a") == 0);
    assert_int_equal(second->global.log.queue, 128);
    assert_int_equal(second->global.log.level, LEVEL_INFO);
    assert_int_equal(second->global.max_connections, 7);
    config_diff_init(&d, first, second);
    assert_int_equal(d.count, 2);
    assert_int_equal(d.restart_count, 0);
    config_diff_fini(&d);
    config_free(second);
    config_free(first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),   cmocka_unit_test(test_nothing_changes),
        cmocka_unit_test(test_maps),      cmocka_unit_test(test_servers),
        cmocka_unit_test(test_listeners), cmocka_unit_test(test_routes),
        cmocka_unit_test(test_sections),  cmocka_unit_test(test_shared_settings),
        cmocka_unit_test(test_fields),    cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_many),      cmocka_unit_test(test_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
