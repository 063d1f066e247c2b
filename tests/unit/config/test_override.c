/* test_override.c: -D KEY=VALUE: one scalar by its path, and errors that name the option. */
#include "config_text.h"

#include "loomgate/base/macros.h"

static const char text[] = "version: 1\n"
                           "global: {workers: 2}\n"
                           "defaults: {timeouts: &t {client: 3s}}\n"
                           "frontends:\n"
                           "  web.example: {bind: [':80', {address: ':81'}], timeouts: *t, default_backend: a}\n"
                           "  web: {bind: [':82'], default_backend: a, routes: }\n"
                           "backends: {a: {servers: ['a:1', 'a:2']}}\n";

static struct config *load(const char *key, const char *value, char **messages) {
    struct config_override one = {key, value};
    return load_with(text, strlen(text), &one, 1, messages);
}

static struct config *load_fine(const char *key, const char *value) {
    char *messages;
    struct config *c = load(key, value, &messages);
    if (!c || messages[0]) fail_msg("-D %s=%s: %s", key, value, messages);
    free(messages);
    return c;
}

static void test_sets(void **state) {
    (void)state;
    struct config *c = load_fine("global.workers", "7");
    assert_int_equal(c->global.workers, 7);
    config_free(c);
    c = load_fine("global.reload.watch", "yes");
    assert_true(c->global.reload_watch);
    config_free(c);
    c = load_fine("global.shutdown.grace", "9s"); /* what is not there yet is made */
    assert_int_equal(c->global.shutdown_grace_us, 9000000);
    config_free(c);
    c = load_fine("frontends.web.bind.0", "[::1]:99"); /* never read as YAML */
    assert_string_equal(c->frontends[1].listeners[0].address.text, "[::1]:99");
    config_free(c);
    c = load_fine("frontends.web.example.bind.1.address", ":99"); /* the longest name is meant */
    assert_string_equal(c->frontends[0].listeners[1].address.text, ":99");
    config_free(c);
    c = load_fine("defaults.timeouts.client", "8s"); /* not what the alias means elsewhere */
    assert_int_equal(c->frontends[1].timeouts.client_us, 8000000);
    assert_int_equal(c->frontends[0].timeouts.client_us, 3000000);
    config_free(c);
    c = load_fine("global.log.to", "file:/x/${y}$");
    assert_string_equal(c->global.log.path, "/x/${y}$");
    config_free(c);
}

static void test_last_one_wins(void **state) {
    static const struct config_override two[] = {{"global.workers", "3"}, {"global.workers", "4"}};
    char *messages;
    (void)state;
    struct config *c = load_with(text, strlen(text), two, 2, &messages);
    assert_non_null(c);
    assert_int_equal(c->global.workers, 4);
    config_free(c);
    free(messages);
}

static void test_refused(void **state) {
    static const struct {
        const char *key, *value, *told;
    } rows[] = {
        {"global.workers", "x", "-D global.workers=x: error: 'workers': 'x' is not a whole number\n"},
        {"global.workers", "", "-D global.workers=: error: 'workers' has no value"},
        {"global.wokers", "1",
         "-D global.wokers=1: error: unknown key 'wokers' in global\n  hint: did you mean 'workers'?\n"},
        {"global", "1", "-D global=1: error: -D sets one scalar, and this is a map\n  hint: "},
        {"frontends.web.bind", "1", "-D sets one scalar, and this is a list"},
        {"frontends.web.bind.1", "1", "error: there is no item '1' in the list\n"},
        {"frontends.web.bind.x", "1", "error: there is no item 'x' in the list\n"},
        {"frontends.web.bind.0.backlog", "1", "error: there is a scalar above 'backlog': it has no keys"},
        {"version.x", "1", "error: there is a scalar above 'x'"},
        {"", "1", "is not a path to a key"},
        {".", "1", "is not a path to a key"},
        {"global.", "1", "unknown key ''|is not a path to a key"},
        {"include", "a.yaml", "-D include=a.yaml: error: 'include' cannot be set from the command line\n"},
        {"include.0", "a.yaml", "cannot be set from the command line"},
        {"backends.a.queue", "first", "-D backends.a.queue=first: error: 'queue' takes a map, not "},
        {"global.reload.watch", "maybe", "-D global.reload.watch=maybe: error: 'watch': 'maybe' is neither true"},
        {"frontends.web.default_backend", "b", "there is no backend 'b'"},
    };
    char deep[400] = "global";
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char *messages, *copy = strdup(rows[i].told), *rest = copy, *part;
        bool heard = false;
        assert_null(load(rows[i].key, rows[i].value, &messages));
        while ((part = strsep(&rest, "|")) != NULL) heard = heard || strstr(messages, part);
        if (!heard) fail_msg("not told: %s\nbut: %s", rows[i].told, messages);
        free(copy);
        free(messages);
    }
    for (unsigned i = 0; i < 100; i++) strcat(deep, ".a");
    char *messages;
    assert_null(load(deep, "1", &messages));
    assert_non_null(strstr(messages, "is too deep"));
    free(messages);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_last_one_wins),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
