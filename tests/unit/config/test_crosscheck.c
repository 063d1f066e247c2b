/* test_crosscheck.c: what is wrong with configurations that are good YAML: each with its sentence, place and hint. */
#include "config_text.h"

#include "loomgate/base/macros.h"

#define HEAD     "version: 1\n"
#define BACKENDS "backends: {app: {servers: ['1.2.3.4:5']}, api: {servers: ['1.2.3.4:6']}}\n"
#define USED     "frontends: {f: {bind: [':80'], routes: [{match: {path: /a}, backend: api}], default_backend: app}}\n"

#define NAME_40   "0123456789012345678901234567890123456789"
#define LONG_NAME NAME_40 NAME_40 NAME_40

struct wrong {
    const char *text, *told;
};

static void check_all(const struct wrong *v, size_t count) {
    for (size_t i = 0; i < count; i++) must_fail(v[i].text, v[i].told);
}

static void test_root(void **state) {
    static const struct wrong wrong[] = {
        {"frontends: {}\n", "t:1:1: error: 'version' is missing in the file"},
        {"version: 2\n", "t:1:10: error: 'version': 2 is too large|hint: allowed: 1 to 1"},
        {"version: x\n", "'version': 'x' is not a whole number"},
        {"version:\n", "'version' has no value; it takes a number"},
        {"verson: 1\n",
         "t:1:1: error: unknown key 'verson' in the file\nverson: 1\n^\n  hint: did you mean 'version'?"},
        {HEAD "zzzzzz: 1\n", "unknown key 'zzzzzz'|hint: known keys: version, include, global, defaults"},
        {"", "t:1:1: error: the file is empty"},
        {"# only a comment\n", "the file is empty"},
        {"---\n", "the file is empty"},
        {"hello\n", "t:1:1: error: a configuration is a map of keys, not a scalar"},
        {"- a\n", "a configuration is a map of keys, not a list"},
        {HEAD "frontends: [a]\nbackends: 7\n", "t:2:12: error: 'frontends' takes a map of names, not a list|"
                                               "t:3:11: error: 'backends' takes a map of names, not a scalar"},
        {HEAD "global: []\ndefaults: x\n", "'global' takes a map, not a list|'defaults' takes a map, not a scalar"},
        {HEAD "include: a.yaml\n", "'include' needs a file to start from"},
        {HEAD "frontends: {'a b': {bind: [':80']}}\n", "the name of a frontend: 'a b' is not a name"},
        {HEAD "backends: {a: 7, b: , c: {}}\n", "t:2:15: error: a backend is a map of keys, not a scalar|"
                                                "t:2:18: error: 'servers' is missing in a backend|"
                                                "t:2:23: error: 'servers' is missing in a backend"},
    };
    (void)state;
    check_all(wrong, LG_COUNT(wrong));
}

static void test_values(void **state) {
    static const struct wrong wrong[] = {
        {HEAD "global: {workers: 0}\n", "'workers': 0 is too small|hint: allowed: 1 to 1024"},
        {HEAD "global: {workers: many}\n", "t:2:19: error: 'workers': 'many' is not a whole number"},
        {HEAD "global: {log: {level: wran}}\n",
         "'level': 'wran' is not known here|did you mean 'warn'?|allowed: debug"},
        {HEAD "global: {log: {to: file}}\n", "'to': 'file' is not known here|hint: allowed: stderr, stdout, file:PATH"},
        {HEAD "global: {log: {to: 'file:'}}\n", "'to': 'file:' is not known here"},
        {HEAD "global: {log: {to: [a]}}\n", "'to' takes a text, not a list"},
        {HEAD "global: {user: ''}\n", "'user': an empty text"},
        {HEAD "global: {user: \"a\\0b\"}\n", "a text with a NUL"},
        {HEAD "global: {chroot: here}\n", "the path is not absolute"},
        {HEAD "global: {shutdown: {grace: 5}}\n", "'grace': the duration '5' has no unit|hint: write 5s, 5ms or 5m"},
        {HEAD "global: {shutdown: {grace: 9000h}}\n", "is too large|allowed: 0 to 8760h"},
        {HEAD "global: {control: [{level: root}]}\n", "'level': 'root' is not known|'socket' is missing in a control"},
        {HEAD "global: {control: [{socket: /s, mode: '0999'}]}\n", "is not a file's mode"},
        {HEAD "global: {control: [{socket: /s}, {socket: /s}]}\n",
         "t:2:34: error: the address /s is listened on twice|at t:2:20"},
        {HEAD "global: {control: [{socket: /s}]}\nfrontends: {f: {bind: ['unix:/s']}}\n",
         "the address unix:/s is listened on twice, first at t:2:20"},
        {HEAD "global: {control: [{socket: /" LONG_NAME "}]}\n",
         "UNIX socket is 121 bytes long; the system allows 107"},
        {HEAD "global: {telemetry: {windows: [x]}}\n", "'windows': 'x' is not a duration"},
        {HEAD "global: {telemetry: {windows: []}}\n", "'windows' needs at least one"},
        {HEAD "global: {telemetry: {windows: [999ms]}}\n", "'windows': 999ms is too small"},
        {HEAD "global: {telemetry: {windows: [25h]}}\n", "'windows': 25h is too large"},
        {HEAD "global: {telemetry: {windows: [10s, 10s]}}\n", "t:2:31: error: 'windows' must be in rising order"},
        {HEAD "global: {telemetry: {windows: [1s, 2s, 3s, 4s, 5s, 6s, 7s, 8s, 9s]}}\n",
         "'windows' has 9 of them; no more than 8 are kept"},
        {HEAD "defaults: {limits: {header_size: 16k}}\n", "t:2:34: error: 'header_size': '16k' is not a size|"
                                                          "hint: write 16KiB or 16KB"},
        {HEAD "defaults: {limits: {header_size: 10}}\n", "'header_size': 10 is too small|allowed: 1KiB to 1MiB"},
        {HEAD "defaults: {limits: {header_count: [1]}}\n", "'header_count' takes a number, not a list"},
        {HEAD "defaults: {access_log: 7}\n", "'access_log' takes a map, 'on' or 'off', not a scalar"},
        {HEAD "defaults: {access_log: }\n", "'access_log' has no value"},
        {HEAD "defaults: {servers: []}\n", "unknown key 'servers' in defaults"},
        {HEAD "defaults: {forwarded: {trusted: [10.1.1.1/8]}}\n", "hint: the network is 10.0.0.0/8"},
        {HEAD "defaults: {forwarded: {trusted: 10.0.0.0/8}}\n",
         "'trusted' takes a list, not a scalar|hint: write a list"},
        {HEAD "defaults: {request_id: {header: 'X Id'}}\n", "'header': 'X Id' is not a name of a field"},
        {HEAD "defaults: {request_id: {trust: 1}}\n", "'trust': '1' is neither true nor false"},
    };
    (void)state;
    check_all(wrong, LG_COUNT(wrong));
}

static void test_frontends(void **state) {
    static const struct wrong wrong[] = {
        {HEAD "frontends: {f: {}}\n", "t:2:13: error: 'bind' is missing in a frontend"},
        {HEAD "frontends: {f: {bind: []}}\n", "'bind' needs at least one"},
        {HEAD "frontends: {f: {bind: ':80'}}\n", "'bind' takes a list, not a scalar"},
        {HEAD "frontends: {f: {bind: [[::1]:80]}}\n", "error: "},
        {HEAD "frontends: {f: {bind: [[a]]}}\n", "'bind' takes a map, not a list"},
        {HEAD "frontends: {f: {bind: [{backlog: 5}]}}\n", "'address' is missing in a bind"},
        {HEAD "frontends: {f: {bind: [{address: [a]}]}}\n", "'address' takes an address, not a list|hint: quote"},
        {HEAD "frontends: {f: {bind: ['127.0.0.1']}}\n",
         "t:2:24: error: 'address': the address '127.0.0.1' has no port"},
        {HEAD "frontends: {f: {bind: [':80', '*:80']}}\n",
         "t:2:31: error: the address *:80 is listened on twice, first at t:2:24"},
        {HEAD "frontends: {f: {bind: ['[::1]:80']}, g: {bind: ['[0:0::1]:80']}}\n", "is listened on twice"},
        {HEAD "frontends: {f: {bind: ['Local:80', 'local:80']}}\n", "is listened on twice"},
        {HEAD "frontends: {f: {bind: ['unix:/a', 'unix:/a']}}\n", "is listened on twice"},
        {HEAD "frontends: {f: {bind: [{address: 'unix:/a', defer_accept: yes}]}}\n",
         "'defer_accept' is not for UNIX sockets"},
        {HEAD "frontends: {f: {bind: [':80'], default_backend: ap}}\n" BACKENDS,
         "t:2:49: error: 'default_backend': there is no backend 'ap'|hint: did you mean 'app'? there are: app, api"},
        {HEAD "frontends: {f: {bind: [':80'], default_backend: app}}\n", "hint: there are no backends at all"},
        {HEAD "frontends: {f: {bind: [':80'], mode: udp}}\n", "'mode': 'udp' is not known here|allowed: http, tcp"},
        {HEAD "frontends: {f: {bind: [':80'], mode: tcp}}\n",
         "t:2:13: error: 'default_backend' is missing: with 'mode: tcp'"},
        {HEAD
         "frontends: {f: {bind: [':80'], mode: tcp, default_backend: app, routes: [], limits: {}, request_id: {},\n"
         "  forwarded: {}, timeouts: {keep_alive: 1s, request: 1s, header: 1s}}}\n" BACKENDS,
         "'routes' makes sense only with 'mode: http'|'limits' makes sense only|'request_id' makes sense only|"
         "'forwarded' makes sense only|'keep_alive' makes sense only|'request' makes sense only"},
    };
    (void)state;
    check_all(wrong, LG_COUNT(wrong));
}

#define ROUTE(text) HEAD "frontends: {f: {bind: [':80'], routes: [" text "]}}\n" BACKENDS
static void test_routes(void **state) {
    static const struct wrong wrong[] = {
        {ROUTE("{match: {path: /a}}"), "t:2:41: error: a route needs an action"},
        {ROUTE("{backend: app, respond: {}}"), "a route has one action: 'backend' and 'respond' exclude each other"},
        {ROUTE("{backend: app, metrics: true}"), "a route has one action: 'backend' and 'metrics' exclude each other"},
        {ROUTE("{metrics: yes, redirect: {to: /}}"), "'redirect' and 'metrics' exclude each other"},
        {ROUTE("{metrics: on, respond: {}}"), "'respond' and 'metrics' exclude each other"},
        {ROUTE("{metrics: true, split: [{backend: app, weight: 1}]}"), "'metrics' and 'split' exclude each other"},
        {ROUTE("{metrics: false}"), "t:2:51: error: 'metrics': 'false' is not known here|hint: allowed: true"},
        {ROUTE("{metrics: /metrics}"), "'metrics': '/metrics' is not known here|hint: allowed: true"},
        {ROUTE("{metrics: {path: /}}"), "'metrics' takes a word, not a map"},
        {ROUTE("{metric: true}"), "did you mean 'metrics'?"},
        {ROUTE("{name: a, backend: app, match: {path: /}}, {name: a, backend: app}"),
         "the route 'a' is given twice, first at t:2:41"},
        {ROUTE("{backend: nobody}"), "'backend': there is no backend 'nobody'"},
        {ROUTE("{match: {host: 'a.b:80'}, backend: app}"), "'host': 'a.b:80' is not a host|without scheme and port"},
        {ROUTE("{match: {host: 'a*.b'}, backend: app}"), "is not a host"},
        {ROUTE("{match: {host: []}, backend: app}"), "'host' needs at least one"},
        {ROUTE("{match: {path: a}, backend: app}"), "'path': 'a' is not a path|hint: a path begins with /"},
        {ROUTE("{match: {path: '/a?b'}, backend: app}"), "a path ends before '?'"},
        {ROUTE("{match: {path_prefix: '/a b'}, backend: app}"), "a path has no spaces"},
        {ROUTE("{match: {method: [get]}, backend: app}"), "write GET"},
        {ROUTE("{match: {method: 'G T'}, backend: app}"), "is not a method"},
        {ROUTE("{match: {header: {'X T': a}}, backend: app}"), "'header': 'X T' is not a name of a field"},
        {ROUTE("{match: {header: {X: \"a\\nb\"}}, backend: app}"), "'X': a field's value has no line breaks"},
        {ROUTE("{match: {header: [X]}, backend: app}"), "'header' takes a map of names to texts, not a list"},
        {ROUTE("{match: {header: {X: [a]}}, backend: app}"), "'X' takes text, not a list"},
        {ROUTE("{match: {source: 300.0.0.1}, backend: app}"), "'source': '300.0.0.1' is not a network"},
        {ROUTE("{match: {hots: a}, backend: app}"), "unknown key 'hots' in a match|did you mean 'host'?"},
        {ROUTE("{redirect: {to: 'https://%{hots}/'}}"),
         "'%{hots}' is not known here|did you mean 'host'?|known in %{...}"},
        {ROUTE("{redirect: {to: 'https://%{host'}}"), "'%{' has no '}'"},
        {ROUTE("{redirect: {to: 'a b'}}"), "a URL has no spaces"},
        {ROUTE("{redirect: {to: /, status: 200}}"), "'status': '200' is not known here|allowed: 301"},
        {ROUTE("{redirect: {}}"), "'to' is missing in a redirect"},
        {ROUTE("{respond: {status: 100}}"), "'status': 100 is too small|allowed: 200 to 599"},
        {ROUTE("{respond: {status: 204, body: a}}"), "an answer with status 204 has no body"},
        {ROUTE("{respond: {headers: {content-length: 5}}}"),
         "'headers': 'Content-Length' is written by LoomGate itself"},
        {ROUTE("{respond: {headers: {A: ' b'}}}"), "'A': a field's value has no spaces around it"},
        {ROUTE("{backend: app, timeouts: {header: 1s}}"), "unknown key 'header' in a route's timeouts"},
        {ROUTE("x"), "'routes' takes a map, not a scalar"},
        {HEAD "frontends: {f: {bind: [':80'], routes: {a: b}}}\n", "'routes' takes a list, not a map"},
    };
    (void)state;
    check_all(wrong, LG_COUNT(wrong));
}

#define SERVERS(text) HEAD "backends: {b: {servers: [" text "]}}\n"
static void test_backends(void **state) {
    static const struct wrong wrong[] = {
        {SERVERS(""), "'servers' needs at least one"},
        {SERVERS("'*:80'"), "'*:80' names no host"},
        {SERVERS("'a:0'"), "nobody can connect to port 0"},
        {SERVERS("{name: a}"), "t:2:26: error: 'address' is missing in a server"},
        {SERVERS("'a:1', 'a:1'"), "t:2:33: error: the server 'a:1' is given twice, first at t:2:26"},
        {SERVERS("{name: x, address: 'a:1'}, {name: x, address: 'a:2'}"),
         "the server 'x' is given twice, first at t:2:26"},
        {SERVERS("{name: 'x y', address: 'a:1'}"), "'name': 'x y' is not a name"},
        {SERVERS("{address: 'a:1', weight: 257}"), "'weight': 257 is too large|allowed: 0 to 256"},
        {SERVERS("{address: 'a:1', wieght: 1}"), "did you mean 'weight'?"},
        {SERVERS("{address: 'a:1', send_proxy: v3}"), "'send_proxy': 'v3' is not known here"},
        {HEAD "backends: {b: {servers: {a: b}}}\n", "'servers' takes a list, not a map"},
        {HEAD "backends: {b: {servers: ['a:1'], balence: first}}\n",
         "unknown key 'balence' in a backend|did you mean 'balance'?"},
        {HEAD "backends: {b: {servers: ['a:1'], timeouts: {client: 1s}}}\n",
         "unknown key 'client' in a backend's timeouts"},
    };
    (void)state;
    check_all(wrong, LG_COUNT(wrong));
}

/* One mistake behind an anchor is told once, however many use it. */
static void test_shared_mistake(void **state) {
    char *messages;
    static const char text[] = HEAD "backends: {a: &a {servers: ['x']}, b: *a, c: {<<: *a}}\n";
    (void)state;
    assert_null(load_with(text, strlen(text), NULL, 0, &messages));
    size_t count = 0;
    for (const char *p = messages; (p = strstr(p, "has no port")) != NULL; p++) count++;
    assert_int_equal(count, 1);
    free(messages);
}

static void test_all_at_once(void **state) {
    char *messages;
    static const char text[] = HEAD "global: {workers: x}\nfrontends: {f: {bind: [x], default_backend: y}}\n"
                                    "backends: {b: {servers: [z]}}\nfoo: 1\n";
    (void)state;
    assert_null(load_with(text, strlen(text), NULL, 0, &messages));
    const char *last = messages;
    for (unsigned line = 2; line <= 5; line++) {
        char start[16];
        snprintf(start, sizeof start, "t:%u:", line);
        last = strstr(last, start);
        assert_non_null(last);
    }
    free(messages);
}

static void test_warnings(void **state) {
    static const struct wrong rows[] = {
        {HEAD, "t:1:1: warning: there are no frontends: nobody can connect"},
        {HEAD "frontends: {f: {bind: [':80'], default_backend: app}}\n" BACKENDS,
         "t:3:43: warning: nobody uses the backend 'api'"},
        {HEAD "frontends: {f: {bind: [':80']}}\n", "this frontend has no routes and no default_backend"},
        {HEAD "global: {max_connections: 5}\nfrontends: {f: {bind: [':80'], max_connections: 6, default_backend: "
              "api}}\n" BACKENDS,
         "'max_connections' is larger here than in global"},
        {HEAD "defaults: {limits: {header_size: 2KiB}}\n",
         "t:2:20: warning: 'uri_size' (8192) is larger than 'header_size' (2048)"},
        {ROUTE("{name: all, backend: app}, {match: {path: /a}, backend: api}"),
         "t:2:68: warning: this route can never match: the route at line 2 takes every request"},
        {ROUTE("{match: {path_prefix: /}, backend: app}, {match: {path: /a}, backend: api}"), "takes every request"},
        {ROUTE("{match: {path: /a, host: [A.b]}, backend: app}, {match: {host: a.b, path: /a}, backend: api}"),
         "this route can never match: the route at line 2 has the same conditions"},
        {SERVERS("{address: 'a:1', weight: 0}, {address: 'a:2', maint: true}"),
         "t:2:25: warning: no server of this backend can be picked"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) must_warn(rows[i].text, rows[i].told);
    config_free(load_good(HEAD USED BACKENDS));
    /* What was wrong may be the cause of what one would warn of. */
    char *messages;
    assert_null(load_with(SERVERS("x"), strlen(SERVERS("x")), NULL, 0, &messages));
    assert_null(strstr(messages, "warning"));
    free(messages);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root),        cmocka_unit_test(test_values),   cmocka_unit_test(test_frontends),
        cmocka_unit_test(test_routes),      cmocka_unit_test(test_backends), cmocka_unit_test(test_shared_mistake),
        cmocka_unit_test(test_all_at_once), cmocka_unit_test(test_warnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
