/* test_values.c: durations, sizes, ratios, numbers, names, addresses and networks, read, refused and printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/macros.h"
#include "loomgate/config/values.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

struct refusal {
    const char *text, *why, *hint; /* parts of what is said; hint NULL: any */
};

static void check_refusal(const struct refusal *r, const struct complaint *c) {
    if (!strstr(c->text, r->why)) fail_msg("%s: %s", r->text, c->text);
    if (r->hint && !strstr(c->hint, r->hint)) fail_msg("%s: hint: %s", r->text, c->hint);
}

static void test_durations(void **state) {
    static const struct {
        const char *text;
        uint64_t us;
        const char *printed;
    } good[] = {
        {"0", 0, "0"},
        {"0s", 0, "0"},
        {"250us", 250, "250us"},
        {"25ms", 25000, "25ms"},
        {"2s", 2000000, "2s"},
        {"1m30s", 90000000, "1m30s"},
        {"90s", 90000000, "1m30s"},
        {"1h", 3600000000, "1h"},
        {"1h1m1s1ms1us", 3661001001, "1h1m1s1ms1us"},
        {"1500ms", 1500000, "1s500ms"},
    };
    static const struct refusal bad[] = {
        {"5", "has no unit", "write 5s, 5ms or 5m"},
        {"", "not a duration", NULL},
        {"s", "not a duration", NULL},
        {"1.5s", "not a duration", "1s500ms"},
        {"-1s", "not a duration", NULL},
        {"1d", "not a duration", NULL},
        {"1 s", "not a duration", NULL},
        {"30s1m", "not a duration", NULL},
        {"1s1s", "not a duration", NULL},
        {"1s5", "not a duration", NULL},
        {"99999999999999999999s", "not a duration", NULL},
        {"9999999999999h", "too long", NULL},
        {"18446744073709551615us", "too long", NULL},
    };
    struct complaint c;
    char printed[VALUE_TEXT_MAX];
    uint64_t us;
    (void)state;
    for (size_t i = 0; i < LG_COUNT(good); i++) {
        assert_true(duration_parse(slice_of(good[i].text), &us, &c));
        assert_int_equal(us, good[i].us);
        duration_print(us, printed);
        assert_string_equal(printed, good[i].printed);
    }
    for (size_t i = 0; i < LG_COUNT(bad); i++) {
        assert_false(duration_parse(slice_of(bad[i].text), &us, &c));
        check_refusal(&bad[i], &c);
    }
}

static void test_sizes(void **state) {
    static const struct {
        const char *text;
        uint64_t bytes;
        const char *printed;
    } good[] = {
        {"0", 0, "0"},
        {"4096", 4096, "4KiB"},
        {"16KiB", 16384, "16KiB"},
        {"1MiB", 1 << 20, "1MiB"},
        {"16KB", 16000, "16000"},
        {"3GiB", 3ULL << 30, "3GiB"},
        {"100B", 100, "100"},
        {"1TB", 1000000000000, "976562500KiB"},
    };
    static const struct refusal bad[] = {
        {"16k", "not a size", "write 16KiB or 16KB"},
        {"16K", "not a size", "write 16KiB or 16KB"},
        {"2m", "not a size", "write 2MiB or 2MB"},
        {"2mb", "not a size", "write 2MiB or 2MB"},
        {"", "not a size", NULL},
        {"x", "not a size", "16KiB"},
        {"-1", "not a size", NULL},
        {"1.5MiB", "not a size", NULL},
        {"99999999999TiB", "too large", NULL},
    };
    struct complaint c;
    char printed[VALUE_TEXT_MAX];
    uint64_t bytes;
    (void)state;
    for (size_t i = 0; i < LG_COUNT(good); i++) {
        assert_true(size_parse(slice_of(good[i].text), &bytes, &c));
        assert_int_equal(bytes, good[i].bytes);
        size_print(bytes, printed);
        if (strcmp(good[i].text, "1TB") != 0) assert_string_equal(printed, good[i].printed);
        assert_true(size_parse(slice_of(printed), &bytes, &c));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < LG_COUNT(bad); i++) {
        assert_false(size_parse(slice_of(bad[i].text), &bytes, &c));
        check_refusal(&bad[i], &c);
    }
}

static void test_ratios(void **state) {
    static const struct {
        const char *text;
        double ratio;
    } good[] = {{"50%", .5}, {"0.5", .5}, {"0", 0}, {"1", 1}, {"100%", 1}, {"2.5%", .025}, {"0.125", .125}};
    static const char *const bad[] = {"", "x", "1.1", "101%", "-1%", ".5", "5.%", "0.", "50 %", "0.12345678901", "%"};
    struct complaint c;
    double ratio;
    (void)state;
    for (size_t i = 0; i < LG_COUNT(good); i++) {
        assert_true(ratio_parse(slice_of(good[i].text), &ratio, &c));
        assert_true(ratio > good[i].ratio - 1e-9 && ratio < good[i].ratio + 1e-9);
    }
    for (size_t i = 0; i < LG_COUNT(bad); i++) assert_false(ratio_parse(slice_of(bad[i]), &ratio, &c));
}

static void test_small_values(void **state) {
    static const char *const yes[] = {"true", "yes", "on", "True", "ON"}, *const no[] = {"false", "no", "off", "FALSE"};
    static const char *const names[] = {"a", "A-b_c.d:1", "127.0.0.1:80"};
    static const char *const no_names[] = {
        "", "a b", "[::1]:80", "a/b", "\xc3\xa4", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct complaint c;
    bool value;
    uint64_t number;
    (void)state;
    for (size_t i = 0; i < LG_COUNT(yes); i++) assert_true(boolean_parse(slice_of(yes[i]), &value, &c) && value);
    for (size_t i = 0; i < LG_COUNT(no); i++) assert_true(boolean_parse(slice_of(no[i]), &value, &c) && !value);
    assert_false(boolean_parse(slice_of("1"), &value, &c));
    assert_true(number_parse(slice_of("18446744073709551615"), &number, &c) && number == UINT64_MAX);
    assert_true(number_parse(slice_of("0"), &number, &c) && number == 0);
    assert_false(number_parse(slice_of("010"), &number, &c));
    assert_false(number_parse(slice_of("1e3"), &number, &c));
    assert_false(number_parse(slice_of("18446744073709551616"), &number, &c));
    for (size_t i = 0; i < LG_COUNT(names); i++) assert_true(name_check(slice_of(names[i]), &c));
    for (size_t i = 0; i < LG_COUNT(no_names); i++) assert_false(name_check(slice_of(no_names[i]), &c));
    assert_false(name_check(slice_from("a\0b", 3), &c));
}

static void test_addresses(void **state) {
    static const struct {
        const char *text;
        enum address_kind kind;
        const char *host;
        unsigned port;
    } good[] = {
        {"127.0.0.1:80", ADDRESS_IP, "127.0.0.1", 80},
        {"[::1]:65535", ADDRESS_IP, "::1", 65535},
        {"[fe80::1%eth0]:80", ADDRESS_IP, "fe80::1%eth0", 80},
        {"*:80", ADDRESS_ANY, NULL, 80},
        {":80", ADDRESS_ANY, NULL, 80},
        {"*:0", ADDRESS_ANY, NULL, 0},
        {"localhost:80", ADDRESS_NAME, "localhost", 80},
        {"a-1.example.com:8080", ADDRESS_NAME, "a-1.example.com", 8080},
        {"unix:/run/app.sock", ADDRESS_UNIX, "/run/app.sock", 0},
        {"unix:rel", ADDRESS_UNIX, "rel", 0},
    };
    static const struct refusal bad[] = {
        {"", "no port", "127.0.0.1:80"},
        {"127.0.0.1", "no port", NULL},
        {"80", "no port", NULL},
        {"::1", "no brackets", "[::1]:80"},
        {"2001:db8::1:80", "no brackets", NULL},
        {"[::1]", "no port", NULL},
        {"[::1:80", "no ']'", NULL},
        {"[::1]80", "no port", NULL},
        {"[1.2.3.4]:80", "neither", NULL},
        {"127.0.0:80", "neither", NULL},
        {"256.0.0.1:80", "neither", NULL},
        {"a b:80", "neither", NULL},
        {"-a:80", "neither", NULL},
        {"a..b:80", "neither", NULL},
        {"http://x:80", "not a port", NULL},
        {"a:65536", "not a port", NULL},
        {"a:", "not a port", NULL},
        {"a:http", "not a port", NULL},
        {"a:-1", "not a port", NULL},
        {"[fe80::1%]:80", "neither", NULL},
        {"unix:", "needs a path", NULL},
        {"unix:/"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "a",
         "the system allows 107", NULL},
    };
    struct arena a;
    struct complaint c;
    struct address_setting address;
    (void)state;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < LG_COUNT(good); i++) {
        assert_true(address_parse(slice_of(good[i].text), true, &a, &address, &c));
        assert_int_equal(address.kind, good[i].kind);
        assert_int_equal(address.port, good[i].port);
        assert_string_equal(address.text, good[i].text);
        assert_true(good[i].host ? strcmp(address.host, good[i].host) == 0 : address.host == NULL);
    }
    for (size_t i = 0; i < LG_COUNT(bad); i++) {
        assert_false(address_parse(slice_of(bad[i].text), true, &a, &address, &c));
        check_refusal(&bad[i], &c);
    }
    assert_false(address_parse(slice_of("127.0.0.1:0"), false, &a, &address, &c));
    assert_false(address_parse(slice_of("*:80"), false, &a, &address, &c));
    assert_false(address_parse(slice_from("127.0.0.1\0:80", 13), true, &a, &address, &c));
    arena_fini(&a);
}

static void test_networks(void **state) {
    static const struct {
        const char *text, *printed;
        unsigned bits;
    } good[] = {
        {"10.0.0.0/8", "10.0.0.0/8", 104},
        {"192.0.2.7", "192.0.2.7/32", 128},
        {"0.0.0.0/0", "0.0.0.0/0", 96},
        {"::1/128", "::1/128", 128},
        {"::/0", "::/0", 0},
        {"2001:db8::/32", "2001:db8::/32", 32},
        {"2001:db8::1", "2001:db8::1/128", 128},
    };
    static const struct refusal bad[] = {
        {"10.1.0.0/8", "beyond its prefix", "the network is 10.0.0.0/8"},
        {"2001:db8::1/32", "beyond its prefix", "the network is 2001:db8::/32"},
        {"10.0.0.0/33", "0 to 32", NULL},
        {"::/129", "0 to 128", NULL},
        {"10.0.0.0/", "prefix", NULL},
        {"10.0.0.0/a", "prefix", NULL},
        {"10.0.0/8", "not a network", NULL},
        {"", "not a network", NULL},
        {"localhost", "not a network", NULL},
        {"[::1]/128", "not a network", NULL},
    };
    struct complaint c;
    struct cidr net;
    char printed[VALUE_TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < LG_COUNT(good); i++) {
        assert_true(cidr_parse(slice_of(good[i].text), &net, &c));
        assert_int_equal(net.bits, good[i].bits);
        cidr_print(&net, printed);
        assert_string_equal(printed, good[i].printed);
    }
    for (size_t i = 0; i < LG_COUNT(bad); i++) {
        assert_false(cidr_parse(slice_of(bad[i].text), &net, &c));
        check_refusal(&bad[i], &c);
    }
    assert_true(cidr_parse(slice_of("10.0.0.0/8"), &net, &c));
    struct in6_addr mapped;
    assert_int_equal(inet_pton(AF_INET6, "::ffff:10.0.0.0", &mapped), 1);
    assert_memory_equal(&mapped, &net.ip, sizeof mapped);
}

static void test_status_lists(void **state) {
    static const struct {
        const char *list;
        unsigned has[4], has_not[4];
    } good[] = {
        {"200-399", {200, 204, 301, 399}, {199, 400, 503, 100}},
        {"200,204,300-302", {200, 204, 300, 302}, {201, 203, 299, 303}},
        {"404", {404, 404, 404, 404}, {403, 405, 0, 4040}},
        {" 200 , 204 - 205 ", {200, 204, 205, 200}, {201, 203, 206, 20}},
        {"100-599", {100, 200, 500, 599}, {99, 600, 0, 1000}},
        {"200-200", {200, 200, 200, 200}, {199, 201, 2, 0}},
    };
    static const char *const bad[] = {
        "",        ",",   "200,",    ",200",  "200,,204",    "99",   "600",       "200-", "-200", "300-200",
        "200-600", "2xx", "200 204", "0x200", "200-300-400", "200;", "200-299,x", "+200", "200.0"};
    struct complaint c;
    (void)state;
    for (size_t i = 0; i < LG_COUNT(good); i++) {
        assert_true(status_list_check(slice_of(good[i].list), &c));
        for (size_t k = 0; k < LG_COUNT(good[i].has); k++) {
            assert_true(status_list_has(good[i].list, good[i].has[k]));
            assert_false(status_list_has(good[i].list, good[i].has_not[k]));
        }
    }
    for (size_t i = 0; i < LG_COUNT(bad); i++) {
        if (status_list_check(slice_of(bad[i]), &c)) fail_msg("taken: '%s'", bad[i]);
        assert_non_null(strstr(c.text, "are no status codes"));
        assert_non_null(strstr(c.hint, "200-399"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),    cmocka_unit_test(test_sizes),     cmocka_unit_test(test_ratios),
        cmocka_unit_test(test_small_values), cmocka_unit_test(test_addresses), cmocka_unit_test(test_networks),
        cmocka_unit_test(test_status_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
