/* test_balance.c: `balance` as words and as a map: defaults, merging, what is refused, the round trip. */
#include "config_text.h"

#include "loomgate/base/macros.h"

static char text[1000];

static const char *with(const char *defaults, const char *backend) {
    snprintf(text, sizeof text,
             "version: 1\ndefaults: {%s}\nfrontends: {f: {bind: [':80'], default_backend: b}}\n"
             "backends: {b: {servers: ['1.2.3.4:5']%s%s}}\n",
             defaults, backend[0] ? ", " : "", backend);
    return text;
}

static void words(void **state) {
    static const struct {
        const char *text;
        enum balance_kind kind;
    } rows[] = {{"", BALANCE_ROUND_ROBIN},
                {"balance: round_robin", BALANCE_ROUND_ROBIN},
                {"balance: least_requests", BALANCE_LEAST_REQUESTS},
                {"balance: random_two", BALANCE_RANDOM_TWO},
                {"balance: peak_ewma", BALANCE_PEAK_EWMA},
                {"balance: first", BALANCE_FIRST}};
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        struct config *c = load_good(with("", rows[i].text));
        assert_int_equal(c->backends[0].balance.kind, rows[i].kind);
        config_free(c);
    }
}

static void keys(void **state) {
    static const struct {
        const char *text, *name;
        enum hash_key key;
    } rows[] = {{"source", NULL, HASH_SOURCE},
                {"host", NULL, HASH_HOST},
                {"path", NULL, HASH_PATH},
                {"uri", NULL, HASH_URI},
                {"'header:X-Tenant'", "X-Tenant", HASH_HEADER},
                {"'cookie:sid'", "sid", HASH_COOKIE},
                {"'query:user'", "user", HASH_QUERY}};
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char map[100];
        snprintf(map, sizeof map, "balance: {hash: %s}", rows[i].text);
        struct config *c = load_good(with("", map));
        const struct balance_settings *b = &c->backends[0].balance;
        assert_int_equal(b->kind, BALANCE_HASH);
        assert_int_equal(b->key, rows[i].key);
        assert_true(b->bounded_load == 1.25);
        if (rows[i].name)
            assert_string_equal(b->key_name, rows[i].name);
        else
            assert_null(b->key_name);
        config_free(c);
    }
}

static void assert_hash(const struct config *c, enum hash_key key, double bound) {
    const struct balance_settings *b = &c->backends[0].balance;
    assert_int_equal(b->kind, BALANCE_HASH);
    assert_int_equal(b->key, key);
    assert_true(b->bounded_load > bound - 1e-9 && b->bounded_load < bound + 1e-9);
}

static void defaults_are_merged(void **state) {
    (void)state;
    struct config *c = load_good(with("balance: {hash: uri, bounded_load: 2}", ""));
    assert_hash(c, HASH_URI, 2);
    config_free(c);
    c = load_good(with("balance: {hash: uri, bounded_load: 2}", "balance: {hash: source}"));
    assert_hash(c, HASH_SOURCE, 2);
    config_free(c);
    c = load_good(with("balance: {hash: uri}", "balance: first"));
    assert_int_equal(c->backends[0].balance.kind, BALANCE_FIRST);
    config_free(c);
    c = load_good(with("balance: first", ""));
    assert_int_equal(c->backends[0].balance.kind, BALANCE_FIRST);
    config_free(c);
}

static void what_is_printed_loads_again(void **state) {
    (void)state;
    struct config *c = load_good(with("", "balance: {hash: 'header:X-T', bounded_load: 1.5}"));
    char *out = printed(c);
    config_free(c);
    assert_non_null(strstr(out, "balance:\n"));
    c = load_good(out);
    assert_hash(c, HASH_HEADER, 1.5);
    assert_string_equal(c->backends[0].balance.key_name, "X-T");
    config_free(c);
    free(out);
    c = load_good(with("", "balance: peak_ewma"));
    out = printed(c);
    config_free(c);
    assert_non_null(strstr(out, "balance: peak_ewma\n"));
    free(out);
}

static void refused(void **state) {
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"balance: round_robbin", "error: 'balance': 'round_robbin' is not known here|did you mean 'round_robin'?"},
        {"balance: hash", "'hash' is not known here"},
        {"balance: {hash: nothing}", "'hash': 'nothing' is not known here|allowed: source, host"},
        {"balance: {hash: 'header:'}", "is not a name of a field"},
        {"balance: {hash: 'cookie:a b'}", "is not a name of a field"},
        {"balance: {bounded_load: 2}", "'hash' is missing in balance"},
        {"balance: {bounded_load: 0.5, hash: uri}", "not such a factor"},
        {"balance: {bounded_load: 101, hash: uri}", "not such a factor"},
        {"balance: {bounded_load: 1.2.3, hash: uri}", "not such a factor"},
        {"balance: {hash: uri, bound: 2}", "unknown key 'bound' in balance"},
        {"balance: {}", "'hash' is missing in balance"},
        {"balance: [first]", "'balance' takes"},
        {"balance: null", "'balance' has no value"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        must_fail(with("", rows[i].text), rows[i].told);
        must_fail(with(rows[i].text, ""), rows[i].told);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(keys),
        cmocka_unit_test(defaults_are_merged),
        cmocka_unit_test(what_is_printed_loads_again),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
