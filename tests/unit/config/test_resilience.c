/* test_resilience.c: breaker, queue, slow_start, drain, max_connections of a server, timeouts.queue: defaults, values,
 * what `defaults` gives on, what is refused, the round trip. */
#include "config_text.h"

#include "loomgate/base/macros.h"

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

/* --- defaults --------------------------------------------------------------------------------------------------- */

static void what_holds_when_nothing_is_said(void **state) {
    struct config *c;
    (void)state;
    const struct backend_settings *b = through_printer(with("", ""), &c);
    assert_false(b->health.on);
    assert_int_equal(b->health.kind, HEALTH_OFF);
    assert_true(b->breaker.on);
    assert_true(is_near(b->breaker.error_rate, 0.5));
    assert_int_equal(b->breaker.window_us, 10000000);
    assert_int_equal(b->breaker.min_requests, 20);
    assert_int_equal(b->breaker.open_us, 5000000);
    assert_int_equal(b->breaker.max_open_us, 60000000);
    assert_int_equal(b->breaker.probes, 3);
    assert_int_equal(b->breaker.ramp_us, 10000000);
    assert_false(b->breaker.observe);
    assert_int_equal(b->queue_max, 1024);
    assert_int_equal(b->timeouts.queue_us, 5000000);
    assert_int_equal(b->slow_start_us, 0);
    assert_int_equal(b->drain_timeout_us, 0);
    assert_int_equal(b->servers[0].max_connections, 0);
    config_free(c);
}

/* --- values ----------------------------------------------------------------------------------------------------- */

static void values(void **state) {
    struct config *c;
    (void)state;
    const struct backend_settings *b =
        through_printer(with("", "breaker: {error_rate: 12.5%, window: 1ms, min_requests: 1, open: 90s, max_open: 90s, "
                                 "probes: 100, ramp: 0, observe: true}, queue: {max: 0}, slow_start: 10s, "
                                 "drain: {timeout: 1m30s}, timeouts: {queue: 0}"),
                        &c);
    assert_true(b->breaker.on && b->breaker.observe);
    assert_true(is_near(b->breaker.error_rate, 0.125));
    assert_int_equal(b->breaker.window_us, 1000);
    assert_int_equal(b->breaker.min_requests, 1);
    assert_int_equal(b->breaker.open_us, 90000000);
    assert_int_equal(b->breaker.max_open_us, 90000000);
    assert_int_equal(b->breaker.probes, 100);
    assert_int_equal(b->breaker.ramp_us, 0);
    assert_int_equal(b->queue_max, 0);
    assert_int_equal(b->slow_start_us, 10000000);
    assert_int_equal(b->drain_timeout_us, 90000000);
    assert_int_equal(b->timeouts.queue_us, 0);
    config_free(c);
    b = through_printer("version: 1\nfrontends: {f: {bind: [':80'], default_backend: b}}\n"
                        "backends: {b: {servers: [{address: 'h:1', max_connections: 1000000}, 'h:2']}}\n",
                        &c);
    assert_int_equal(b->servers[0].max_connections, 1000000);
    assert_int_equal(b->servers[1].max_connections, 0);
    config_free(c);
}

static void a_route_has_its_own_time_in_the_queue(void **state) {
    static const char source[] =
        "version: 1\nfrontends: {f: {bind: [':80'], routes: [{backend: b, timeouts: {queue: 250ms}, match: {path: /a}},"
        " {backend: b}]}}\nbackends: {b: {servers: ['1.2.3.4:5'], timeouts: {queue: 3s}}}\n";
    struct config *c;
    (void)state;
    assert_int_equal(through_printer(source, &c)->timeouts.queue_us, 3000000);
    assert_int_equal(c->frontends[0].routes[0].timeouts.queue_us, 250000);
    assert_true(c->frontends[0].routes[1].timeouts.queue_us == SETTING_UNSET);
    config_free(c);
}

static void off_is_printed_as_off(void **state) {
    (void)state;
    struct config *c = load_good(with("health: {tcp: {}}", "health: off, breaker: off"));
    assert_false(c->backends[0].health.on || c->backends[0].breaker.on);
    assert_int_equal(c->backends[0].health.kind, HEALTH_OFF);
    char *out = printed_twice(c);
    config_free(c);
    assert_non_null(strstr(out, "    health: off\n"));
    assert_non_null(strstr(out, "    breaker: off\n"));
    c = load_good(out);
    free(out);
    assert_false(c->backends[0].health.on || c->backends[0].breaker.on);
    config_free(c);
}

/* --- over `defaults`, key by key -------------------------------------------------------------------------------- */

static void over_defaults(void **state) {
    static const char defaults[] =
        "breaker: {open: 1s, observe: true}, queue: {max: 7}, slow_start: 2s, drain: {timeout: 3s}, "
        "timeouts: {queue: 4s}";
    struct config *c;
    (void)state;
    const struct backend_settings *b = through_printer(with(defaults, ""), &c);
    assert_true(b->breaker.on && b->breaker.observe && b->breaker.open_us == 1000000 && b->breaker.probes == 3);
    assert_true(b->queue_max == 7 && b->slow_start_us == 2000000 && b->drain_timeout_us == 3000000);
    assert_int_equal(b->timeouts.queue_us, 4000000);
    config_free(c);
    b = through_printer(with(defaults, "breaker: {probes: 1}, queue: {}, slow_start: 0, drain: {timeout: 0}, "
                                       "timeouts: {connect: 1s}"),
                        &c);
    assert_true(b->breaker.on && b->breaker.observe && b->breaker.open_us == 1000000 && b->breaker.probes == 1);
    assert_true(b->queue_max == 7 && b->slow_start_us == 0 && b->drain_timeout_us == 0);
    assert_int_equal(b->timeouts.queue_us, 4000000);
    config_free(c);
    b = through_printer(with("breaker: off", "queue: {max: 8}"), &c);
    assert_true(!b->breaker.on && b->queue_max == 8);
    config_free(c);
    b = through_printer(with("breaker: off", "breaker: {}"), &c);
    assert_true(b->breaker.on && b->breaker.open_us == 5000000);
    config_free(c);
}

/* --- what is refused -------------------------------------------------------------------------------------------- */

struct wrong {
    const char *text, *told;
};

static void refused(void **state) {
    static const struct wrong rows[] = {
        {"breaker: perhaps", "'breaker' takes a map, 'on' or 'off', not a scalar"},
        {"breaker: {error_rate: 150%}", "'error_rate': '150%' is not a ratio"},
        {"breaker: {probs: 3}", "unknown key 'probs' in breaker|did you mean 'probes'?"},
        {"breaker: {probes: 0}", "'probes': 0 is too small|allowed: 1 to 100"},
        {"breaker: {probes: 101}", "'probes': 101 is too large|allowed: 1 to 100"},
        {"breaker: {window: 999us}", "'window': 999us is too small|allowed: 1ms to 8760h"},
        {"breaker: {min_requests: 0}", "'min_requests': 0 is too small"},
        {"breaker: {open: 0}", "'open': 0 is too small"},
        {"breaker: {ramp: 1}", "'ramp': the duration '1' has no unit"},
        {"breaker: {observe: maybe}", "'observe': 'maybe' is neither true nor false"},
        {"breaker: {open: 10s, max_open: 9s}",
         "'max_open' (9s) is shorter than 'open' (10s)|hint: write max_open: 10s or more"},
        {"breaker: {open: 2m}", "'max_open' (1m) is shorter than 'open' (2m)"},
        {"queue: 5", "'queue' takes a map, not a scalar"},
        {"queue: {max: -1}", "'max': '-1' is not a whole number"},
        {"queue: {max: 10000001}", "'max': 10000001 is too large|allowed: 0 to 10000000"},
        {"queue: {mx: 1}", "unknown key 'mx' in queue|did you mean 'max'?"},
        {"slow_start: 10", "'slow_start': the duration '10' has no unit"},
        {"slow_start: 9000h", "'slow_start': 9000h is too large"},
        {"drain: 10s", "'drain' takes a map, not a scalar"},
        {"drain: {timeout: x}", "'timeout': 'x' is not a duration"},
        {"timeouts: {queue: x}", "'queue': 'x' is not a duration"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        must_fail(with("", rows[i].text), rows[i].told);
        must_fail(with(rows[i].text, ""), rows[i].told);
    }
    must_fail("version: 1\nbackends: {b: {servers: [{address: 'h:1', max_connections: 1000001}]}}\n",
              "'max_connections': 1000001 is too large|allowed: 0 to 1000000");
    /* Neither alone is wrong, and the place is the one that was written last. */
    must_fail(with("breaker: {open: 30s}", "breaker: {max_open: 20s}"),
              "t:4:60: error: 'max_open' (20s) is shorter than 'open' (30s)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_holds_when_nothing_is_said),
        cmocka_unit_test(values),
        cmocka_unit_test(a_route_has_its_own_time_in_the_queue),
        cmocka_unit_test(off_is_printed_as_off),
        cmocka_unit_test(over_defaults),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
