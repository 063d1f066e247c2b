/* test_health.c: `health`: defaults, values, what `defaults` gives on, what is refused or warned of, the round trip. */
#include "config_text.h"

#include "loomgate/base/macros.h"
#include "loomgate/config/values.h"

static char text[1500];

static const char *with(const char *defaults, const char *backend) {
    snprintf(text, sizeof text,
             "version: 1\ndefaults: {%s}\nfrontends: {f: {bind: [':80'], default_backend: b}}\n"
             "backends: {b: {servers: ['1.2.3.4:5']%s%s}}\n",
             defaults, backend[0] ? ", " : "", backend);
    return text;
}

static bool is_near(double a, double b) {
    return a > b - 1e-8 && a < b + 1e-8;
}

static void assert_bytes(struct slice is, const char *wanted, size_t len) {
    assert_int_equal(is.n, len);
    if (len) assert_memory_equal(is.p, wanted, len);
}

static void only_the_kind(void **state) {
    struct config *c;
    (void)state;
    const struct health_settings *h = &through_printer(with("", "health: {http: {}}"), &c)->health;
    assert_true(h->on);
    assert_int_equal(h->kind, HEALTH_HTTP);
    assert_string_equal(h->path, "/");
    assert_string_equal(h->method, "GET");
    assert_null(h->host);
    assert_string_equal(h->expect_status, "200-399");
    assert_int_equal(h->interval_us, 2000000);
    assert_int_equal(h->timeout_us, 1000000);
    assert_int_equal(h->fast_interval_us, 500000);
    assert_int_equal(h->rise, 2);
    assert_int_equal(h->fall, 3);
    assert_true(is_near(h->jitter, 0.1));
    assert_false(h->starts_down);
    config_free(c);
    h = &through_printer(with("", "health: {tcp: }"), &c)->health;
    assert_true(h->on);
    assert_int_equal(h->kind, HEALTH_TCP);
    assert_bytes(h->send, "", 0);
    assert_bytes(h->expect, "", 0);
    config_free(c);
}

static void values(void **state) {
    struct config *c;
    (void)state;
    const struct health_settings *h =
        &through_printer(with("", "health: {http: {path: '/up?deep=1', method: HEAD, host: 'app:8080', expect: '200, "
                                  "204-206'}, interval: 3s, timeout: 250ms, fast_interval: 1s, rise: 4, fall: 1, "
                                  "jitter: 0.25, initial: down}"),
                         &c)
             ->health;
    assert_int_equal(h->kind, HEALTH_HTTP);
    assert_string_equal(h->path, "/up?deep=1");
    assert_string_equal(h->method, "HEAD");
    assert_string_equal(h->host, "app:8080");
    assert_true(status_list_has(h->expect_status, 205) && !status_list_has(h->expect_status, 201));
    assert_int_equal(h->interval_us, 3000000);
    assert_int_equal(h->timeout_us, 250000);
    assert_int_equal(h->fast_interval_us, 1000000);
    assert_int_equal(h->rise, 4);
    assert_int_equal(h->fall, 1);
    assert_true(is_near(h->jitter, 0.25));
    assert_true(h->starts_down);
    config_free(c);
    h = &through_printer(with("", "health: {tcp: {send: \"PING\\r\\n\\0$$\\t\", expect: \"+PONG\\x01\"}}"), &c)->health;
    assert_int_equal(h->kind, HEALTH_TCP);
    assert_bytes(h->send, "PING\r\n\0$\t", 9);
    assert_bytes(h->expect, "+PONG\x01", 6);
    config_free(c);
}

static void over_defaults(void **state) {
    static const char http[] = "health: {http: {path: /up, host: h}, interval: 9s, initial: down}";
    struct config *c;
    (void)state;
    const struct health_settings *h = &through_printer(with(http, ""), &c)->health;
    assert_true(h->on && h->kind == HEALTH_HTTP && h->starts_down);
    assert_string_equal(h->path, "/up");
    config_free(c);

    h = &through_printer(with(http, "health: {interval: 1s}"), &c)->health;
    assert_true(h->on && h->kind == HEALTH_HTTP && h->starts_down && h->interval_us == 1000000);
    assert_string_equal(h->path, "/up");
    config_free(c);

    h = &through_printer(with(http, "health: {http: {path: /other}}"), &c)->health;
    assert_string_equal(h->path, "/other");
    assert_string_equal(h->host, "h");
    assert_int_equal(h->interval_us, 9000000);
    config_free(c);

    h = &through_printer(with(http, "health: {tcp: {send: x}}"), &c)->health;
    assert_true(h->on && h->kind == HEALTH_TCP && h->interval_us == 9000000);
    assert_bytes(h->send, "x", 1);
    config_free(c);

    h = &through_printer(with("health: {tcp: {send: x, expect: y}}", "health: {tcp: {send: ''}}"), &c)->health;
    assert_bytes(h->send, "", 0);
    assert_bytes(h->expect, "y", 1);
    config_free(c);

    h = &through_printer(with("health: {tcp: {send: x}}", "health: {http: {}}"), &c)->health;
    assert_true(h->on && h->kind == HEALTH_HTTP);
    assert_string_equal(h->path, "/");
    config_free(c);

    h = &through_printer(with("health: off", "health: {http: {}}"), &c)->health;
    assert_true(h->on && h->kind == HEALTH_HTTP);
    config_free(c);
}

struct wrong {
    const char *text, *told;
};

static void refused(void **state) {
    static const struct wrong rows[] = {
        {"health: on", "health needs 'http' or 'tcp'"},
        {"health: ", "'health' has no value"},
        {"health: {}", "health needs 'http' or 'tcp'|hint: write health: {http: {path: /}}"},
        {"health: {interval: 1s}", "health needs 'http' or 'tcp'"},
        {"health: {http: {}, tcp: {}}", "'http' and 'tcp' exclude each other"},
        {"health: {htp: {}}", "unknown key 'htp' in health|did you mean 'http'?"},
        {"health: {http: {method: GET, paht: /}}", "unknown key 'paht' in health.http|did you mean 'path'?"},
        {"health: {http: {path: up}}", "'path': 'up' is not a path|a path begins with /"},
        {"health: {http: {path: '/a b'}}", "'path': a path has no spaces"},
        {"health: {http: {path: \"/ HTTP/1.1\\r\\nX: y\"}}", "'path': a path has no spaces"},
        {"health: {http: {path: \"/\\r\\n\"}}", "'path': a path has no spaces, controls"},
        {"health: {http: {path: '/a#b'}}", "'path': a path ends before '#'"},
        {"health: {http: {method: get}}", "write GET"},
        {"health: {http: {method: 'G T'}}", "is not a method"},
        {"health: {http: {method: \"GET\\r\\n\"}}", "is not a method"},
        {"health: {http: {method: CONNECT}}", "'method': a check cannot be a tunnel"},
        {"health: {http: {host: 'a b'}}", "'host': 'a b' is not what a Host field says"},
        {"health: {http: {host: \"a\\r\\nX: y\"}}", "is not what a Host field says"},
        {"health: {http: {host: '*.a.b'}}", "is not what a Host field says"},
        {"health: {http: {host: 'a:0'}}", "is not what a Host field says"},
        {"health: {http: {host: 'a:'}}", "is not what a Host field says"},
        {"health: {http: {host: 'a:65536'}}", "is not what a Host field says"},
        {"health: {http: {host: ''}}", "'host': an empty text"},
        {"health: {http: {expect: '700'}}", "'expect': '700' are no status codes|write \"200-399\" or \"200,204\""},
        {"health: {http: {expect: '300-200'}}", "are no status codes"},
        {"health: {http: {expect: '200,'}}", "are no status codes"},
        {"health: {http: {expect: [200]}}", "'expect' takes text, not a list"},
        {"health: {tcp: {send: [a]}}", "'send' takes text, not a list"},
        {"health: {tcp: {}, interval: 0}", "'interval': 0 is too small|allowed: 1ms to 8760h"},
        {"health: {tcp: {}, timeout: 5}", "'timeout': the duration '5' has no unit"},
        {"health: {tcp: {}, rise: 0}", "'rise': 0 is too small|allowed: 1 to 1000"},
        {"health: {tcp: {}, fall: 1001}", "'fall': 1001 is too large"},
        {"health: {tcp: {}, jitter: 101%}", "'jitter': '101%' is not a ratio"},
        {"health: {tcp: {}, initial: dwon}", "'initial': 'dwon' is not known here|did you mean 'down'?"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        must_fail(with("", rows[i].text), rows[i].told);
        must_fail(with(rows[i].text, ""), rows[i].told);
    }
}

static void what_is_sent_is_bounded(void **state) {
    char bytes[4100], all[6000];
    (void)state;
    memset(bytes, 'x', sizeof bytes);
    static const char *const keys[] = {"tcp: {send", "tcp: {expect"};
    for (size_t i = 0; i < LG_COUNT(keys); i++) {
        for (int n = 4096; n <= 4097; n++) {
            snprintf(all, sizeof all,
                     "version: 1\nfrontends: {f: {bind: [':80'], default_backend: b}}\n"
                     "backends: {b: {servers: ['1.2.3.4:5'], health: {%s: %.*s}}}}\n",
                     keys[i], n, bytes);
            if (n == 4096)
                config_free(load_good(all));
            else
                must_fail(all, "a text of 4097 bytes; at most 4096 are allowed");
        }
    }
}

static void warned_of(void **state) {
    static const struct wrong rows[] = {
        {"health: {http: {}, timeout: 3s}", "warning: a check may take longer ('timeout') than the time to the next "
                                            "('interval')|hint: write timeout: 2s or less"},
        {"health: {tcp: {}, interval: 600ms}", "warning: a check may take longer|write timeout: 600ms or less"},
        {"health: {tcp: {}, fast_interval: 3s}",
         "warning: 'fast_interval' is slower than 'interval' (2s)|hint: write fast_interval: 2s or less"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        must_warn(with("", rows[i].text), rows[i].told);
        must_warn(with(rows[i].text, ""), rows[i].told);
    }
    must_warn(with("health: {tcp: {}, timeout: 2s}", "health: {interval: 1s}"),
              "t:4:59: warning: a check may take longer");
    config_free(load_good("version: 1\nfrontends: {f: {mode: tcp, bind: [':80'], default_backend: b}}\n"
                          "backends: {b: {servers: ['1.2.3.4:5'], health: {http: {}}, slow_start: 1s}}\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_kind),           cmocka_unit_test(values),
        cmocka_unit_test(over_defaults),           cmocka_unit_test(refused),
        cmocka_unit_test(what_is_sent_is_bounded), cmocka_unit_test(warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
